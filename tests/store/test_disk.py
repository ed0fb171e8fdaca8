"""The file system under an SQLite store: local or shared, full or read-only."""

import os
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dlx.errors import CannotWriteError, DataError
from dlx.store import NewRun, RunUpdate, Store, curves, database, find_run, list_runs, open_store, record, sqlite, start_run

MakeRun = Callable[..., NewRun]

FILL = """
import resource
store = open_store(sys.argv[1])
run_id = start_run(store, NEW)
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
try:
    for step in range(10_000):
        record(store, [RunUpdate(run_id, step, 0, {f"train/metric{i}": 1.0 for i in range(500)})])
except CannotWriteError as error:
    print(step - 1, error)
"""


class TestJournal:
    def test_a_write_ahead_log_on_a_local_disk(self, store: Store) -> None:
        with store.read() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 30_000

    def test_another_process_that_sets_the_journal_is_waited_for(self, tmp_path: Path) -> None:
        # SQLite's own waiting does not cover this change: 6 of 600 processes that opened fresh files at once were refused.
        path = tmp_path / "x.db"
        with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as holder:
            holder.execute("BEGIN EXCLUSIVE")
            threading.Timer(0.2, holder.execute, ["COMMIT"]).start()
            with closing(sqlite3.connect(path, timeout=0)) as connection:
                sqlite.choose_journal(connection, path)
                assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    def test_a_plain_journal_on_a_network_drive(
        self, sqlite_url: str, monkeypatch: pytest.MonkeyPatch, new_run: MakeRun
    ) -> None:
        monkeypatch.setattr(sqlite, "is_network_drive", lambda _: True)
        with open_store(sqlite_url) as store:
            start_run(store, new_run())
            with store.read() as connection:
                assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "delete"
                assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2

    @pytest.mark.parametrize(
        ("path", "network"), [("/home/me/x.db", True), ("/home/me too/x.db", False), ("/x.db", False), ("/home/x.db", False)]
    )
    def test_the_nearest_mount_decides(self, path: str, network: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        mounts = "/dev/sda / ext4 rw 0 0\nserver:/me /home/me nfs4 rw 0 0\n/dev/sdb /home/me\\040too xfs rw 0 0\n"
        monkeypatch.setattr(Path, "read_text", lambda *_, **__: mounts)
        assert sqlite.is_network_drive(Path(path)) is network


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB, which is writable or not as the test remounts it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.getuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "small", folder], capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("only root can mount a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", folder], check=True)


class TestDisk:
    def test_a_limit_on_the_size_of_files(self, sqlite_url: str, spawn: Callable[..., subprocess.Popen[str]]) -> None:
        process = spawn(FILL, sqlite_url)
        output, _ = process.communicate(timeout=60)
        assert "the disk failed, is full" in output or "the disk is full" in output
        with open_store(sqlite_url, create=False) as store:
            (run,) = list_runs(store)
            assert len(curves(store, run.id)["train/metric0"]) == run.step + 1 == int(output.split()[0]) + 1

    def test_a_full_disk_loses_nothing(self, small_disk: Path, new_run: MakeRun) -> None:
        with open_store(str(small_disk / "dlx.db")) as store:
            run_id = start_run(store, new_run())

            def fill() -> None:
                for step in range(10_000):
                    record(store, [RunUpdate(run_id, step, 0, {f"train/metric{i}": 1.0 for i in range(500)})])

            with pytest.raises(CannotWriteError, match=r"dlx\.db: the disk (is full|failed, is full)") as raised:
                fill()
            stored = find_run(store, run_id).step
            assert stored > 0
            assert "\n" not in str(raised.value)
            assert [step for step, _ in curves(store, run_id)["train/metric0"]] == list(range(stored + 1))
        with open_store(str(small_disk / "dlx.db"), create=False) as store:
            assert len(curves(store, run_id)["train/metric499"]) == stored + 1

    def test_a_disk_that_is_full_from_the_start(self, small_disk: Path) -> None:
        with pytest.raises(OSError, match="No space"):
            (small_disk / "ballast").write_bytes(bytes(2**21))
        with pytest.raises(CannotWriteError, match="full"):
            open_store(str(small_disk / "results" / "dlx.db"))

    def test_a_read_only_store_is_read_and_refuses_writes(self, small_disk: Path, new_run: MakeRun) -> None:
        url = str(small_disk / "dlx.db")
        with open_store(url) as store:
            run_id = start_run(store, new_run())
            record(store, [RunUpdate(run_id, 1, 0, {"train/loss": 0.5})])
        remount(small_disk, "ro")
        with open_store(url, create=False) as store:
            assert store.read_only
            assert [run.id for run in list_runs(store)] == [run_id]
            assert curves(store, run_id) == {"train/loss": [(1, 0.5)]}
            with pytest.raises(CannotWriteError, match="read-only"):
                start_run(store, new_run())
        with pytest.raises(CannotWriteError, match="read-only"):
            open_store(url)

    def test_a_log_left_by_a_killed_process_is_read_on_a_read_only_disk(
        self, small_disk: Path, spawn: Callable[..., subprocess.Popen[str]]
    ) -> None:
        url = str(small_disk / "dlx.db")
        killed = spawn("store = open_store(sys.argv[1]); print(start_run(store, NEW), flush=True); time.sleep(60)", url)
        assert killed.stdout is not None
        run_id = killed.stdout.readline().strip()
        killed.kill()
        killed.wait()
        assert (small_disk / "dlx.db-wal").stat().st_size > 0
        remount(small_disk, "ro")
        with open_store(url, create=False) as store:
            assert [run.id for run in list_runs(store)] == [run_id]

    def test_an_old_schema_on_a_read_only_disk(self, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        open_store(str(small_disk / "dlx.db")).close()
        remount(small_disk, "ro")
        monkeypatch.setattr(database, "NEWEST", database.NEWEST + 1)
        with pytest.raises(DataError, match="make it writable once"):
            open_store(str(small_disk / "dlx.db"), create=False)

    def test_a_store_made_read_only_while_open(self, small_disk: Path, new_run: MakeRun) -> None:
        with open_store(str(small_disk / "dlx.db")) as store:
            start_run(store, new_run())
            store.close()
            remount(small_disk, "ro")
            with pytest.raises(CannotWriteError):
                start_run(store, new_run())
