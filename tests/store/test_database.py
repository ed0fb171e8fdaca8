"""Opening a store: where it is, how its schema grows, and what is said when it cannot be used."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, text

from dlx.errors import BusyError, CannotWriteError, DataError, MissingInputError, UsageError
from dlx.store import (
    NewRun,
    Store,
    database,
    list_runs,
    migrations,
    open_store,
    sqlite,
    start_run,
)
from dlx.store.tables import METRICS, RUNS, SEGMENTS, SWEEPS, TRIALS

MakeRun = Callable[..., NewRun]


def one_sentence(message: str) -> bool:
    return "\n" not in message and len(message) < 400


class TestWhere:
    def test_the_default_is_a_file_below_the_current_folder(self, tmp_path: Path) -> None:
        with open_store() as store:
            assert store.place == str(tmp_path / "results" / "dlx.db")
            assert store.folder == tmp_path / "results"
            assert store.run_folder("0123abcd") == tmp_path / "results" / "runs" / "0123abcd"

    def test_the_environment_moves_it_and_an_argument_wins(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DLX_STORE", "sqlite:///elsewhere/a.db")
        with open_store() as store:
            assert store.folder == tmp_path / "elsewhere"
        with open_store("other/b.db") as store:
            assert store.folder == tmp_path / "other"

    def test_a_path_is_a_url(self, tmp_path: Path) -> None:
        folder = tmp_path / "with space ? % #"
        with open_store(str(folder / "x.db")) as store:
            assert (folder / "x.db").is_file()
            assert store.place == str(folder / "x.db")

    def test_changing_folder_does_not_move_an_open_store(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_run: MakeRun
    ) -> None:
        with open_store("x.db") as store:
            monkeypatch.chdir("/")
            run_id = start_run(store, new_run())
        assert (tmp_path / "runs" / run_id).is_dir()

    def test_a_server_keeps_run_folders_in_results(self, postgres_url: str, tmp_path: Path) -> None:
        with open_store(postgres_url) as store:
            assert store.folder == tmp_path / "results"

    @pytest.mark.parametrize(
        ("url", "advice"),
        [
            ("sqlite://", "in memory"),
            (":memory:", "in memory"),
            ("sqlite:///x.db?mode=ro", "without options"),
            ("mysql://host/x", "not in 'mysql'"),
            ("postgresql://host:port/x", "cannot read"),
            (".", "is a folder"),
            ("~nobody-of-that-name/x.db", "is no path"),
            ("nul\0.db", "is no path"),
        ],
    )
    def test_a_url_that_names_no_store_is_refused(self, url: str, advice: str) -> None:
        with pytest.raises(UsageError, match=advice):
            open_store(url)

    def test_a_password_is_never_shown(self) -> None:
        with pytest.raises(CannotWriteError, match="cannot be reached") as raised:
            open_store("postgresql://me:secret@127.0.0.1:1/runs")
        assert "secret" not in str(raised.value)
        assert one_sentence(str(raised.value))


class TestReaders:
    def test_a_reader_makes_no_store(self, tmp_path: Path) -> None:
        with pytest.raises(MissingInputError, match=r"no store at .*`dlx train` makes one"):
            open_store("results/dlx.db", create=False)
        assert list(tmp_path.iterdir()) == []

    def test_a_reader_adds_no_tables_to_a_strange_database(self, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "photos.db")) as connection:
            connection.execute("CREATE TABLE photos (id INTEGER)")
        with pytest.raises(MissingInputError, match="database without runs"):
            open_store("photos.db", create=False)
        with closing(sqlite3.connect(tmp_path / "photos.db")) as connection:
            assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("photos",)]

    def test_what_a_foreign_table_holds_stays(self, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "optuna.db")) as connection:
            connection.execute("CREATE TABLE studies (id INTEGER)")
        with open_store("optuna.db") as store, store.read() as connection:
            assert "studies" in inspect(connection).get_table_names()


class TestSchema:
    def test_queries_see_the_tables_that_migrations_make(self, any_store: Store) -> None:
        with any_store.read() as connection:
            for table in (RUNS, METRICS, SEGMENTS, SWEEPS, TRIALS):
                assert {column["name"] for column in inspect(connection).get_columns(table.name)} == set(table.c.keys())

    def test_the_big_columns_lie_last_where_sqlite_can_skip_them(self, store: Store) -> None:
        with store.read() as connection:
            columns = [column["name"] for column in inspect(connection).get_columns("dlx_runs")]
        assert columns[-3:] == ["config", "command", "environment"]

    def test_a_newer_store_is_left_alone(self, any_url: str) -> None:
        with open_store(any_url) as store, store.write() as connection:
            connection.execute(text("INSERT INTO dlx_migrations VALUES (7, 0)"))
        with pytest.raises(DataError, match=rf"schema version 7.*knows {migrations.NEWEST}: upgrade dlx .* or .*--store"):
            open_store(any_url)

    def test_an_older_store_is_upgraded_and_keeps_its_rows(
        self, any_url: str, new_run: MakeRun, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with open_store(any_url) as store:
            run_id = start_run(store, new_run())
        newer(monkeypatch, lambda connection: connection.execute(text("ALTER TABLE dlx_runs ADD COLUMN mood TEXT")))
        with open_store(any_url, create=False) as store, store.read() as connection:
            assert connection.execute(text("SELECT id, mood FROM dlx_runs")).all() == [(run_id, None)]
            assert migrations.schema_version(connection) == migrations.NEWEST

    def test_a_migration_happens_whole_or_not_at_all(self, any_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        open_store(any_url).close()

        def fails_halfway(connection: Connection) -> None:
            connection.execute(text("CREATE TABLE dlx_half (id BIGINT)"))
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            newer(patch, fails_halfway)
            with pytest.raises(KeyboardInterrupt):
                open_store(any_url)
        with open_store(any_url) as store, store.read() as connection:
            assert not inspect(connection).has_table("dlx_half")


def newer(patch: pytest.MonkeyPatch, migration: Callable[[Connection], object]) -> None:
    """Makes this dlx one version newer than it is."""
    patch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, migration))
    newest = migrations.NEWEST + 1
    patch.setattr(migrations, "NEWEST", newest)
    patch.setattr(database, "NEWEST", newest)


class TestTrouble:
    def test_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        (tmp_path / "notes.db").write_text("my notes, which are long enough to be read as a header" * 20)
        with pytest.raises(DataError, match=r"notes\.db: the file is not an SQLite database"):
            open_store("notes.db")
        assert (tmp_path / "notes.db").read_text().startswith("my notes")

    def test_a_damaged_file(self, sqlite_url: str, tmp_path: Path, new_run: MakeRun) -> None:
        with open_store(sqlite_url) as store:
            start_run(store, new_run())
        file = tmp_path / "results" / "dlx.db"
        content = bytearray(file.read_bytes())
        content[4096:] = b"\xff" * (len(content) - 4096)
        file.write_bytes(content)
        with pytest.raises(DataError, match="damaged"), open_store(sqlite_url) as store:
            list_runs(store)

    def test_a_locked_file(self, sqlite_url: str, store: Store, new_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
        with open_store(sqlite_url) as impatient, store.write():
            with pytest.raises(BusyError, match="another process holds it; try again"):
                start_run(impatient, new_run())
            assert list_runs(impatient) == []  # reading goes on
        assert list(store.folder.glob("runs/*")) == []

    def test_a_folder_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "results").write_text("")
        with pytest.raises(CannotWriteError, match=r"cannot write .*results"):
            open_store()

    def test_a_missing_driver(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def without_driver(*_: object, **__: object) -> None:
            raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")

        monkeypatch.setattr(database, "create_engine", without_driver)
        with pytest.raises(MissingInputError, match=r"pip install 'dlx\[postgres\]'"):
            open_store("postgresql://host/x")

    def test_a_missing_server_database(self, postgres_server: str) -> None:
        with pytest.raises(CannotWriteError, match="does not exist") as raised:
            open_store(f"postgresql://tester@/nowhere?host={postgres_server}")
        assert one_sentence(str(raised.value))

    def test_a_server_without_the_right_to_write(self, postgres_url: str, postgres_server: str) -> None:
        with open_store(postgres_url) as store, store.write() as connection:
            connection.execute(text("CREATE ROLE guest LOGIN"))
        with pytest.raises(CannotWriteError, match="lacks the right"):
            open_store(f"postgresql://guest@/postgres?host={postgres_server}")

    def test_a_bug_keeps_its_traceback(self, any_store: Store) -> None:
        with pytest.raises(Exception, match="nonsense") as raised, any_store.read() as connection:
            connection.execute(text("SELECT nonsense FROM dlx_runs"))
        assert "DlxError" not in [kind.__name__ for kind in type(raised.value).__mro__]
