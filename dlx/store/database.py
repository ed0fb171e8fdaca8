"""One store behind one URL: a file beside the run folders, or a PostgreSQL server that several machines share."""

import os
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

from sqlalchemy import URL, Connection, Engine, NullPool, QueuePool, create_engine, make_url
from sqlalchemy.exc import ArgumentError

from dlx.errors import CannotWriteError, DataError, MissingInputError, UsageError
from dlx.store import sqlite
from dlx.store.failures import database_errors
from dlx.store.migrations import NEWEST, migrate_once, schema_version

DEFAULT_URL: Final = "sqlite:///results/dlx.db"
_CONNECT_SECONDS: Final = 10
"""How long a PostgreSQL server may take to answer before it counts as unreachable."""


@dataclass(frozen=True)
class Store:
    """An open store, at the newest schema. Threads may share it; a forked process must open its own.

    `url` is absolute and may hold a password: show `place` instead. `folder` is where run folders live: the folder of
    the database file, or `./results` for a server. A `read_only` store can be read and refuses every write.
    """

    url: str = field(repr=False)
    engine: Engine = field(repr=False)
    folder: Path
    read_only: bool = False

    @property
    def place(self) -> str:
        """The store for people: the path of the file, or the URL without its password."""
        return _place(self.engine.url)

    @cached_property
    def runs_folder(self) -> Path:
        """Where each run has a folder by its id. Made with the first run."""
        return self.folder / "runs"

    def run_folder(self, run_id: str) -> Path:
        """Where that run's config, checkpoints and plots are."""
        return self.runs_folder / run_id

    def shared_url(self) -> str:
        """`url`, for a library that opens this database too and may do so in a thread of its own, as Optuna does.

        Such libraries import SQLAlchemy's mapper. It changes how statements are built before it is whole, so those of other threads
        (the heartbeat's) fail meanwhile. Hence it is imported here, by the caller, who has no such threads yet.
        """
        import sqlalchemy.orm  # noqa: F401

        return self.url

    @contextmanager
    def read(self) -> Generator[Connection]:
        """A transaction that sees one state of the store and blocks nobody. Raises `DlxError`s."""
        with database_errors(self.place), self.engine.begin() as connection:
            sqlite_file = self.engine.dialect.name == "sqlite"
            connection.exec_driver_sql("BEGIN" if sqlite_file else "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield connection

    @contextmanager
    def write(self) -> Generator[Connection]:
        """A transaction that happens whole or, when anything is raised inside, not at all. Raises `DlxError`s."""
        if self.read_only:
            raise CannotWriteError(
                f"the store {self.place}: it is read-only; change its permissions, or use another one with --store"
            )
        with database_errors(self.place), self.engine.begin() as connection:
            if self.engine.dialect.name == "sqlite":
                # Takes the write lock now: a transaction that has read first cannot wait for it, SQLite would fail at once.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    def close(self) -> None:
        """Closes the connections; SQLite then folds its log back into the file. The store opens new ones when used again."""
        self.engine.dispose()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def open_store(url: str | None = None, *, create: bool = True) -> Store:
    """Opens the store at a URL or path (default: `DLX_STORE`, else `results/dlx.db`) and brings its schema up to date.

    `create=True` is for a caller that will write: the store is made where there is none, and one that cannot be
    written is refused at once. `create=False` is for readers: it makes nothing, and opens a read-only store as such.
    Raises `UsageError` for a URL that names no store, `MissingInputError` where there is no store (or no driver for
    one), `CannotWriteError` for a folder, disk or server that refuses, `BusyError` when another process holds it for
    longer than 30 s, `DataError` for a file that is no database or a store made by a newer dlx.
    """
    parsed = _parse(url or os.environ.get("DLX_STORE") or DEFAULT_URL)
    place = _place(parsed)
    with database_errors(place):
        store = _open_file(parsed, create=create) if parsed.get_backend_name() == "sqlite" else _open_server(parsed)
        try:
            _bring_up_to_date(store, create=create)
        except BaseException:
            store.close()
            raise
    return store


def _parse(text: str) -> URL:
    """The URL in SQLAlchemy's own form, with an absolute path. Raises `UsageError`."""
    if "://" not in text:
        return URL.create("sqlite", database=str(_file(text)))
    try:
        parsed = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise UsageError(
            f"--store: cannot read that URL; write sqlite:///results/dlx.db or postgresql://user@host/name ({error})"
        ) from None
    match parsed.drivername.partition("+")[0]:
        case "sqlite" if parsed.query:
            raise UsageError("--store: an SQLite URL is sqlite:/// and a path, without options after a question mark")
        case "sqlite":
            return URL.create("sqlite", database=str(_file(parsed.database or "")))
        case "postgresql" | "postgres":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise UsageError(f"--store: dlx keeps runs in SQLite or PostgreSQL, not in {other!r}")


def _file(text: str) -> Path:
    if text in ("", ":memory:"):
        raise UsageError(
            "--store: a store in memory is lost when the process ends; name a file, such as sqlite:///results/dlx.db"
        )
    try:
        return Path(text).expanduser().resolve()
    except (RuntimeError, ValueError) as error:  # ~somebody without a home, a loop of links, a NUL
        raise UsageError(f"--store: {text!r} is no path: {error}") from None


def _place(url: URL) -> str:
    return url.database or "" if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)


def _open_file(url: URL, *, create: bool) -> Store:
    path = Path(url.database or "")
    if path.is_dir():
        raise UsageError(f"--store: {path} is a folder; name a file in it, such as {path / 'dlx.db'}")
    if not path.exists():
        if not create:
            raise MissingInputError(f"no store at {path}; `dlx train` makes one, --store names another")
        path.parent.mkdir(parents=True, exist_ok=True)
    read_only = path.exists() and not sqlite.is_writable(path)
    if read_only and create:
        raise CannotWriteError(
            f"the store {path}: it is read-only; change its permissions, or keep runs elsewhere with --store"
        )
    engine = create_engine(
        url,
        creator=lambda: sqlite.connect(path, read_only=read_only),
        # A read-only connection decides how to open by what lies beside the file at that moment, so it is not kept.
        poolclass=NullPool if read_only else QueuePool,
    )
    if not read_only:
        with closing(sqlite.connect(path, read_only=False)) as connection:
            sqlite.choose_journal(connection, path)
    return Store(url=url.render_as_string(hide_password=False), engine=engine, folder=path.parent, read_only=read_only)


def _open_server(url: URL) -> Store:
    try:
        engine = create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": _CONNECT_SECONDS})
    except ModuleNotFoundError as error:
        raise MissingInputError(f"a PostgreSQL store needs the driver {error.name!r}: pip install 'dlx[postgres]'") from error
    return Store(url=url.render_as_string(hide_password=False), engine=engine, folder=Path("results").absolute())


def _bring_up_to_date(store: Store, *, create: bool) -> None:
    with store.read() as connection:
        version = schema_version(connection)
    if version > NEWEST:
        raise DataError(
            f"the store {store.place} has schema version {version}, made by a newer dlx; this one knows {NEWEST}: "
            "upgrade dlx (pip install -U dlx), or keep runs elsewhere with --store"
        )
    if version == 0 and not create:
        raise MissingInputError(f"{store.place} is a database without runs; `dlx train` adds them, --store names another")
    if version < NEWEST and store.read_only:
        raise DataError(
            f"the store {store.place} has schema version {version}, this dlx needs {NEWEST}, and the store is read-only: "
            "make it writable once, or copy it"
        )
    for _ in range(version, NEWEST):
        with store.write() as connection:
            migrate_once(connection)
