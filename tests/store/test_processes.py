"""Several real processes on one store, some of them killed."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dlx.errors import Status
from dlx.store import (
    Ending,
    NewRun,
    RunUpdate,
    Store,
    curves,
    delete_run,
    find_run,
    finish_runs,
    list_runs,
    open_store,
    record,
    start_run,
)
from dlx.store.process import is_alive, this_process

Spawn = Callable[..., "subprocess.Popen[str]"]
MakeRun = Callable[..., NewRun]

START_AND_WAIT = "store = open_store(sys.argv[1]); print(start_run(store, NEW), flush=True); time.sleep(60)"
WRITE = """
store = open_store(sys.argv[1])
run_id = start_run(store, NEW)
print(run_id, flush=True)
for step in range(int(sys.argv[2])):
    record(store, [RunUpdate(run_id, step, 0, {f"train/m{i}": float(step) for i in range(20)})])
finish_runs(store, [Ending(run_id, Status.COMPLETED, "", step, 0, {}, {})])
"""
OPEN_MANY = """
print("ready", flush=True)
input()
for url in sys.argv[1:]:
    with open_store(url) as store:
        start_run(store, NEW)
"""
CLAIM = """
store = open_store(sys.argv[1])
print("ready", flush=True)
input()
try:
    claim_run(store, sys.argv[2], "cpu")
    print("mine", flush=True)
    time.sleep(60)
except BusyError as error:
    print("busy", flush=True)
"""
START_NAMED = """
from dataclasses import replace
store = open_store(sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:
    try:
        print(start_run(store, replace(NEW, name=line.strip()), unless_named=True), flush=True)
    except BusyError as error:
        print("busy", flush=True)
"""


def go(*processes: "subprocess.Popen[str]") -> None:
    """Lets processes that are ready run, all at once."""
    for process in processes:
        assert first_line(process) == "ready"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def succeed(*processes: "subprocess.Popen[str]") -> None:
    for process in processes:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output


class TestManyProcesses:
    def test_several_open_a_fresh_store_at_once(self, tmp_path: Path, spawn: Spawn) -> None:
        self.open_at_once([f"{tmp_path}/fresh{i}/dlx.db" for i in range(8)], spawn)

    def test_several_open_a_fresh_database_at_once(self, postgres_url: str, spawn: Spawn) -> None:
        self.open_at_once([postgres_url], spawn)

    @staticmethod
    def open_at_once(urls: list[str], spawn: Spawn) -> None:
        processes = [spawn(OPEN_MANY, *urls) for _ in range(3)]
        go(*processes)
        succeed(*processes)
        for url in urls:
            with open_store(url, create=False) as store:
                assert len(list_runs(store)) == 3

    def test_two_write_at_once_while_a_third_reads(self, any_url: str, spawn: Spawn) -> None:
        with open_store(any_url) as store:
            writers = [spawn(WRITE, any_url, "50") for _ in range(2)]
            run_ids = [first_line(writer) for writer in writers]
            while any(writer.poll() is None for writer in writers):
                for run in list_runs(store):  # what a reader sees is whole: all metrics of a step or none
                    assert len({len(points) for points in curves(store, run.id).values()}) <= 1
                time.sleep(0.02)
            succeed(*writers)
            for run_id in run_ids:
                assert find_run(store, run_id).status is Status.COMPLETED
                assert curves(store, run_id)["train/m7"] == [(step, float(step)) for step in range(50)]

    def test_an_open_reader_does_not_hold_up_a_writer(self, any_store: Store, new_run: MakeRun) -> None:
        run_id = start_run(any_store, new_run())
        with any_store.read() as connection:
            before = connection.exec_driver_sql("SELECT count(*) FROM dlx_metrics").scalar_one()
            began = time.monotonic()
            record(any_store, [RunUpdate(run_id, 1, 0, {"train/loss": 1.0})])
            assert time.monotonic() - began < 5
            assert connection.exec_driver_sql("SELECT count(*) FROM dlx_metrics").scalar_one() == before  # one state throughout
        assert curves(any_store, run_id) == {"train/loss": [(1, 1.0)]}

    def test_of_two_that_claim_a_run_one_gets_it(self, any_url: str, spawn: Spawn, new_run: MakeRun) -> None:
        with open_store(any_url) as store:
            run_id = start_run(store, new_run())
            finish_runs(store, [Ending(run_id, Status.INTERRUPTED, "", 0, 0, {}, {})])
            claims = [spawn(CLAIM, any_url, run_id) for _ in range(2)]
            go(*claims)
            assert sorted(first_line(claim) for claim in claims) == ["busy", "mine"]
            assert len(find_run(store, run_id).segments) == 2

    def test_of_two_that_start_a_name_one_does(self, any_url: str, spawn: Spawn) -> None:
        with open_store(any_url) as store:
            starters = [spawn(START_NAMED, any_url) for _ in range(2)]
            assert [first_line(starter) for starter in starters] == ["ready", "ready"]
            names = [f"nightly{i}" for i in range(20)]
            for name in names:
                for starter in starters:
                    assert starter.stdin is not None
                    starter.stdin.write(name + "\n")
                    starter.stdin.flush()
                started = [answer for answer in map(first_line, starters) if answer != "busy"]
                assert started == [run.id for run in list_runs(store, name=name)]
                assert len(started) == 1


class TestKilled:
    def test_a_killed_process_leaves_a_lost_run_that_can_be_deleted(self, any_url: str, spawn: Spawn) -> None:
        process = spawn(START_AND_WAIT, any_url)
        run_id = first_line(process)
        with open_store(any_url) as store:
            assert find_run(store, run_id).status is Status.RUNNING
            os.kill(process.pid, signal.SIGKILL)
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and a zombie: nobody has read its exit code
            assert find_run(store, run_id).status is Status.LOST
            process.wait()
            assert find_run(store, run_id).status is Status.LOST
            delete_run(store, run_id)
            assert list_runs(store) == []

    @pytest.mark.parametrize("milliseconds", [5, 31])
    def test_kill_in_the_middle_of_writing_leaves_whole_steps(self, any_url: str, spawn: Spawn, milliseconds: int) -> None:
        process = spawn(WRITE, any_url, "100000")
        run_id = first_line(process)
        time.sleep(milliseconds / 1000)
        process.kill()
        process.wait()
        with open_store(any_url) as store:
            run = find_run(store, run_id)
            found = curves(store, run_id)
            assert run.status is Status.LOST
            assert {tuple(points) for points in found.values()} <= {tuple((s, float(s)) for s in range(run.step + 1))}
            resumed = start_run(store, NewRun({}, {}, 1, 1, "validation/loss", "minimize"))  # and the store works on
            record(store, [RunUpdate(resumed, 1, 0, {"train/loss": 1.0})])


class TestProcess:
    def test_this_one_lives(self) -> None:
        assert is_alive(this_process()) is True

    def test_a_later_process_with_the_same_number_is_another(self) -> None:
        me = this_process()
        assert is_alive(type(me)(me.host, me.pid, me.space, me.started + 1)) is False

    def test_elsewhere_nothing_can_be_said(self) -> None:
        me = this_process()
        assert is_alive(type(me)(me.host, me.pid, "another boot", me.started)) is None

    def test_a_dead_one_is_dead(self, spawn: Spawn) -> None:
        process = spawn("print(flush=True); time.sleep(60)")
        first_line(process)
        me = this_process()
        other = type(me)(me.host, process.pid, me.space, 0)
        assert is_alive(other) is True
        process.kill()
        process.wait()
        assert is_alive(other) is False
