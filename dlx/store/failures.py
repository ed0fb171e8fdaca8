"""What goes wrong in a database, as one sentence each: the only place that knows the error codes of SQLite and PostgreSQL."""

import sqlite3
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from sqlalchemy.exc import DBAPIError

from dlx.errors import BusyError, CannotWriteError, DataError, DlxError

_ELSEWHERE: Final = "or keep runs elsewhere with --store"

# By the primary result code of SQLite.
_SQLITE: Final[Mapping[int, tuple[type[DlxError], str]]] = MappingProxyType(
    {
        sqlite3.SQLITE_PERM: (CannotWriteError, f"access is denied; change its permissions, {_ELSEWHERE}"),
        sqlite3.SQLITE_BUSY: (BusyError, "another process holds it; try again when that one is done"),
        sqlite3.SQLITE_LOCKED: (BusyError, "another process holds it; try again when that one is done"),
        sqlite3.SQLITE_READONLY: (
            CannotWriteError,
            f"it is read-only; change its permissions or those of its folder, {_ELSEWHERE}",
        ),
        sqlite3.SQLITE_IOERR: (
            CannotWriteError,
            f"the disk failed, is full, or is a network drive that went away; check it, {_ELSEWHERE}",
        ),
        sqlite3.SQLITE_CORRUPT: (DataError, "the file is damaged; rescue it with `sqlite3 FILE .recover`, or restore a copy"),
        sqlite3.SQLITE_FULL: (CannotWriteError, f"the disk is full; free some space, {_ELSEWHERE}"),
        sqlite3.SQLITE_CANTOPEN: (
            CannotWriteError,
            f"the file cannot be opened; check its permissions and its folder's, {_ELSEWHERE}",
        ),
        sqlite3.SQLITE_NOTADB: (DataError, "the file is not an SQLite database; name another one with --store"),
    }
)

# By SQLSTATE: the whole code, or its class in two characters.
_POSTGRES: Final[Mapping[str, tuple[type[DlxError], str]]] = MappingProxyType(
    {
        "08": (CannotWriteError, "the server cannot be reached; check that it runs, and the host and port in the URL"),
        "25006": (CannotWriteError, f"the server accepts no writes (a standby?); name the primary, {_ELSEWHERE}"),
        "28": (CannotWriteError, "the server refuses this user or password; check both in the URL"),
        "3D000": (CannotWriteError, "the server has no database of that name; make it with `createdb`"),
        "40": (BusyError, "another process changed the same rows; try again"),
        "42501": (CannotWriteError, "this user lacks the right to do that; ask for CREATE and write rights in the schema"),
        "53100": (CannotWriteError, "the server's disk is full; free some space there"),
        "53": (BusyError, "the server is out of connections or memory; try again later"),
        "55P03": (BusyError, "another process holds it; try again when that one is done"),
        "57": (BusyError, "the server is starting, stopping or was told to cancel; try again later"),
    }
)


def translate(error: Exception, place: str) -> DlxError | None:
    """The sentence for an error of the database or the file system at `place` (a path, or a URL without its password).

    None for what no user can cause, such as malformed SQL: that is a bug, and deserves its traceback.
    """
    match error:
        case DlxError():
            return error
        case OSError():
            return CannotWriteError(
                f"the store {place}: cannot write {error.filename or 'there'}: {error.strerror or error}; {_ELSEWHERE[3:]}"
            )
        case DBAPIError(orig=sqlite3.Error() as origin):
            return _from_sqlite(origin, place)
        case sqlite3.Error():
            return _from_sqlite(error, place)
        case DBAPIError():
            return _from_postgres(error, place)
        case _:
            return None


@contextmanager
def database_errors(place: str) -> Generator[None]:
    """Turns the errors of a database and its files, raised inside, into `DlxError`s that name `place`."""
    try:
        yield
    except (DBAPIError, sqlite3.Error, OSError) as error:
        told = translate(error, place)
        if told is None:
            raise
        raise told from error


def _from_sqlite(origin: sqlite3.Error | BaseException, place: str) -> DlxError | None:
    code = vars(origin).get("sqlite_errorcode", 0) & 0xFF  # set only on errors that SQLite itself reported
    return _told(_SQLITE.get(code), place, origin)


def _from_postgres(error: DBAPIError, place: str) -> DlxError | None:
    from psycopg import Error, OperationalError  # the driver is optional; the error came from it, so it is here

    origin = error.orig
    if not isinstance(origin, Error):
        return None
    code = origin.sqlstate or ""
    told = _POSTGRES.get(code) or _POSTGRES.get(code[:2])
    if told is None and isinstance(origin, OperationalError):
        told = _POSTGRES["08"]  # psycopg has no code for a server that never answered
    return _told(told, place, origin)


def _told(entry: tuple[type[DlxError], str] | None, place: str, origin: BaseException) -> DlxError | None:
    if entry is None:
        return None
    kind, advice = entry
    reason = str(origin).strip().partition("\n")[0]
    return kind(f"the store {place}: {advice} ({reason})")
