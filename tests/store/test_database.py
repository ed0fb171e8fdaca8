"""Opening a store: where it is, how its schema grows, and what is said when it cannot be used."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, text

from dlx.errors import BusyError, CannotWriteError, DataError, MissingInputError, Status, UsageError
from dlx.store import (
    NewRun,
    Proposal,
    Store,
    Training,
    TrialRecord,
    database,
    find_sweep,
    join_sweep,
    list_runs,
    list_sweeps,
    migrations,
    open_store,
    sqlite,
    start_run,
    take_trials,
)
from dlx.store.tables import METRICS, RUNS, SEGMENTS, SWEEPS, TRIALS, WORKERS

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
            for table in (RUNS, METRICS, SEGMENTS, SWEEPS, WORKERS, TRIALS):
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


def known(patch: pytest.MonkeyPatch, version: int) -> None:
    """Makes this dlx an older one."""
    patch.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:version])
    patch.setattr(migrations, "NEWEST", version)
    patch.setattr(database, "NEWEST", version)


class TestVersion3:
    """Sweeps of one process and one seed become sweeps of several, and nothing is lost."""

    RUN = """INSERT INTO dlx_runs VALUES (:id, 'digits/0', :status, 'as it was', 1.5, NULL, 2.5, 40, 4, 100, 10, 1, 0,
        'validation/accuracy', 'maximize', 'node7', 12, 'node7', 99, '{"validation/accuracy": 0.75}', '{}', '{}', '', '{}')"""
    SWEEP = """INSERT INTO dlx_sweeps VALUES (:id, :name, :status, :message, 10.5, :finished, 20.5, 6, 'validation/accuracy',
        'maximize', 'node7', 12, 'node7', 99, '{"train": 3.5}', '{"search": {"optimizer.lr": [1, 2]}}', 'dlx sweep')"""
    TRIAL = "INSERT INTO dlx_trials VALUES (:sweep, :number, :run, :status, :value, :message, :params)"

    @pytest.fixture
    def old(self, any_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
        """A store of version 2 with a sweep that is complete and one whose process died."""
        with monkeypatch.context() as patch:
            known(patch, 2)
            with open_store(any_url) as store, store.write() as connection:
                for run, status in (("aaaaaaaa", "completed"), ("bbbbbbbb", "running"), ("cccccccc", "completed")):
                    connection.execute(text(self.RUN), {"id": run, "status": status})
                ended = {"id": "00000001", "name": "nightly", "status": "completed", "message": "3 of 6", "finished": 30.5}
                lost = {"id": "00000002", "name": None, "status": "running", "message": "", "finished": None}
                for sweep in (ended, lost):
                    connection.execute(text(self.SWEEP), sweep)
                trials = [
                    ("00000001", 0, "aaaaaaaa", "completed", 0.75, "", '{"optimizer.lr": 0.1}'),
                    ("00000001", 1, None, "diverged", None, "not finite", '{"optimizer.lr": 9}'),
                    ("00000001", 2, None, "completed", None, "", '{"model.hidden": [8, null]}'),  # NaN
                    ("00000002", 0, "bbbbbbbb", None, None, None, '{"optimizer.lr": 0.2}'),
                    ("00000002", 1, None, None, None, None, '{"optimizer.lr": 0.3}'),
                    ("00000002", 2, "cccccccc", None, None, None, '{"optimizer.lr": 0.4}'),
                ]
                names = ("sweep", "number", "run", "status", "value", "message", "params")
                for trial in trials:
                    connection.execute(text(self.TRIAL), dict(zip(names, trial, strict=True)))
                assert migrations.schema_version(connection) == 2
        return any_url

    def test_a_finished_sweep_is_as_it_was(self, old: str) -> None:
        with open_store(old, create=False) as store:
            found = find_sweep(store, "nightly")
            assert {sweep.id for sweep in list_sweeps(store)} == {"00000001", "00000002"}
        assert (found.id, found.status, found.message, found.command) == ("00000001", Status.COMPLETED, "3 of 6", "dlx sweep")
        assert (found.created, found.finished, found.trials_total, found.seconds) == (10.5, 30.5, 6, {"train": 3.5})
        assert (found.monitor, found.direction) == ("validation/accuracy", "maximize")
        assert found.config == {"search": {"optimizer.lr": [1, 2]}}
        first, second, third = found.trials
        assert first == TrialRecord(
            0, {"optimizer.lr": 0.1}, (Training(0, "aaaaaaaa", 0, Status.COMPLETED, (0.75,), {}, ""),), {}
        )
        assert (second.status, second.message, second.params) == (Status.DIVERGED, "not finite", {"optimizer.lr": 9})
        assert (third.status, third.value, third.params) == (Status.COMPLETED, None, {"model.hidden": [8, None]})
        assert [trial.number for trial in found.ranked] == [0]
        assert [(each.number, each.host, each.pid, each.space, each.alive) for each in found.workers] == [
            (0, "node7", 12, "node7", False)
        ]

    def test_a_lost_one_goes_on(self, old: str) -> None:
        with open_store(old) as store:
            found = find_sweep(store, "00000002")
            assert (found.status, [worker.alive for worker in found.workers]) == (Status.LOST, [False])
            assert [(t.run_id, t.status, t.value) for t in found.trials] == [
                ("bbbbbbbb", None, None),
                (None, None, None),
                ("cccccccc", Status.COMPLETED, 0.75),
            ]
            worker = join_sweep(store, found.id, 4)
            taken = take_trials(store, found.id, worker, 4, 1, lambda *_: [])
            assert [(t.number, t.run_id) for t in taken] == [(0, "bbbbbbbb"), (1, None)]
            (new,) = take_trials(store, found.id, worker, 4, 1, lambda *_: [Proposal({"optimizer.lr": 0.5}, {})])
            assert (worker, new.number) == (1, 3)

    def test_a_trial_still_outlives_its_run_and_goes_with_its_sweep(self, old: str) -> None:
        with open_store(old) as store:
            with store.write() as connection:
                connection.execute(text("DELETE FROM dlx_runs WHERE id = 'aaaaaaaa'"))
                connection.execute(text("DELETE FROM dlx_sweeps WHERE id = '00000002'"))
            (found,) = list_sweeps(store)
            assert (found.trials[0].run_id, found.trials[0].value) == (None, 0.75)
            with store.read() as connection:
                for table in ("dlx_trials", "dlx_workers"):
                    assert connection.execute(text(f"SELECT DISTINCT sweep FROM {table}")).scalars().all() == ["00000001"]

    def test_one_that_runs_elsewhere_at_that_moment_keeps_running(self, old: str) -> None:
        with open_store(old) as store:
            with store.write() as connection:
                connection.execute(text("UPDATE dlx_workers SET heartbeat = heartbeat + 1e12 WHERE ended IS NULL"))
            assert find_sweep(store, "00000002").status is Status.RUNNING

    def test_the_tables_are_those_of_a_fresh_store(self, old: str) -> None:
        def shape(store: Store) -> dict[str, list[str]]:
            with store.read() as connection:
                found = inspect(connection)
                return {name: [column["name"] for column in found.get_columns(name)] for name in found.get_table_names()}

        with open_store(old) as upgraded, open_store("fresh.db") as fresh:
            assert shape(upgraded) == shape(fresh)


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
