"""Several processes at work on one sweep: every trial once, whoever is killed, on this machine and as if from two."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dlx.errors import Status, UsageError
from dlx.store import Store, SweepRecord, find_run, find_sweep, list_runs, open_store
from dlx.sweep.crew import Crew

_spec = importlib.util.spec_from_file_location("store_conftest", Path(__file__).parents[1] / "store" / "conftest.py")
_servers = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_servers)
postgres_server, postgres_url = _servers.postgres_server, _servers.postgres_url

pytestmark = pytest.mark.optimized
"""The trainings are long, and each program of theirs is compiled but once."""

TINY = ["model.hidden=[8]", "data.limit=300"]
LR = "optimizer.lr=tag(log, interval(1e-4, 1e-1))"
SLOW = "train.duration=200 epochs"
"""Some seconds of a cohort: long enough to be killed in."""

# Trains from the moment on that there is a file `go`: its trials are begun and, however fast this machine is, not yet over.
HELD = """
import sys, time
from pathlib import Path
from dlx.engine import Program
def held(program, *arguments, train=Program.train):
    while not Path("go").exists():
        time.sleep(0.05)
    return train(program, *arguments)
Program.train = held
"""
MAIN = """
sys.argv = ["dlx", *sys.argv[1:]]
from dlx.cli.app import main
main()
"""

# What cannot be had on one machine is another one: to this process its own boot id is another than to all others, so that it
# judges them by their heartbeats, as they judge it. Its processes share the disk; only the results folder must.
ELSEWHERE = """
import sys
from dlx.store import holding, process
process._space = lambda own=sys.argv.pop(1): own
holding.LOST_SECONDS = 4.0
from dlx.experiment import session
session.HEARTBEAT_SECONDS = 1.0
from dlx.sweep import bench
bench.Bench.most_lanes = lambda self, config: 4
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(str(tmp_path / "results" / "dlx.db")) as opened:
        yield opened


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    """Those that a test starts: dead when it ends."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def command(*more: str, trials: int, duration: str = "train.duration=2 epochs", name: str = "shared") -> list[str]:
    words = [*TINY, duration, LR, "--trials", str(trials), "--sampler", "random", "--name", name]
    return [sys.executable, "-m", "dlx", "sweep", "digits-mlp", *words, *more]


def started(processes: list[subprocess.Popen[str]], line: list[str]) -> subprocess.Popen[str]:
    processes.append(subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    return processes[-1]


def until(condition: Callable[[], Any], seconds: float = 90.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def record(store: Store, name: str = "shared") -> SweepRecord | None:
    try:
        return find_sweep(store, name)
    except UsageError:
        return None


def at_work(store: Store, pid: int) -> list[int]:
    """The trials that this process trains at this moment."""
    found = record(store)
    if found is None:
        return []
    mine = {worker.number for worker in found.workers if worker.pid == pid and worker.alive}
    begun = [t for t in found.trials if t.status is None and t.run_id is not None and t.trainings[0].worker in mine]
    return [trial.number for trial in begun]


def all_once(store: Store, trials: int) -> None:
    """Every trial completed, of one run each, and every run of a trial."""
    found = find_sweep(store, "shared")
    assert [trial.number for trial in found.trials] == list(range(trials))
    assert Counter(trial.status for trial in found.trials) == {Status.COMPLETED: trials}
    runs = [str(trial.run_id) for trial in found.trials]
    assert len(set(runs)) == trials
    assert sorted(run.id for run in list_runs(store)) == sorted(runs)
    assert {find_run(store, run).status for run in runs} == {Status.COMPLETED}
    for trial in found.trials:
        run = find_run(store, str(trial.run_id))
        assert run.metrics["validation/accuracy"] == trial.value
        assert [segment.outcome for segment in run.segments].count(Status.COMPLETED) == 1
    assert len({tuple(trial.params.items()) for trial in found.trials}) == trials, "proposed twice"


needs_two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two workers need two cores")


@needs_two_cores
@pytest.mark.slow
def test_two_workers_train_every_trial_once_and_both_of_them_some(store: Store) -> None:
    done = subprocess.run(
        command("--workers", "2", "--json", trials=64, duration="train.duration=100 epochs"),
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.count("\n") == 1
    assert '"status": "completed"' in done.stdout
    assert '{"completed": 64}' in done.stdout
    all_once(store, 64)
    found = find_sweep(store, "shared")
    assert {trial.trainings[0].worker for trial in found.trials} == {0, 1}
    assert (found.status, len(found.workers)) == (Status.COMPLETED, 2)
    assert not any(worker.alive for worker in found.workers)
    kept = {path.parts[-3] for path in (store.folder / "runs").glob("*/checkpoints/*.safetensors")}
    assert kept == {found.ranked[0].run_id}


@needs_two_cores
def test_a_process_has_all_its_cores_again_when_its_crew_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sweeps in their own process goes on in it."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    cores = os.sched_getaffinity(0)
    with Crew(["--version"], 2):
        assert len(os.sched_getaffinity(0)) == len(cores) // 2 + len(cores) % 2
    assert os.sched_getaffinity(0) == cores


@pytest.mark.parametrize(("size", "memory"), [(2, None), (4, "0.45")])
def test_a_process_has_all_its_gpus_again_when_its_crew_has_gone(
    monkeypatch: pytest.MonkeyPatch, size: int, memory: str | None
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION", raising=False)
    with Crew(["--version"], size):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
        assert os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION") == memory
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION" not in os.environ


@needs_two_cores
@pytest.mark.slow
def test_what_a_killed_child_left_is_taken_up_by_its_parent(store: Store, processes: list[subprocess.Popen[str]]) -> None:
    # Held, or the parent could have done all there is before the child has imported what it needs.
    parent = started(processes, [sys.executable, "-c", HELD + MAIN, *command("--workers", "2", trials=32, duration=SLOW)[3:]])

    def child() -> int | None:
        found = record(store)
        others = [worker.pid for worker in found.workers if worker.pid != parent.pid] if found else []
        return others[0] if others and at_work(store, others[0]) else None

    killed = until(child)
    mine = at_work(store, killed)
    os.kill(killed, signal.SIGKILL)
    Path("go").touch()
    assert parent.wait(timeout=120) == 0, parent.communicate()[1]
    all_once(store, 32)
    found = find_sweep(store, "shared")
    (survivor,) = {worker.number for worker in found.workers if worker.pid == parent.pid}
    assert {found.trials[number].trainings[0].worker for number in mine} == {survivor}


@needs_two_cores
@pytest.mark.slow
def test_when_all_workers_are_killed_the_next_command_has_their_trials(
    store: Store, processes: list[subprocess.Popen[str]]
) -> None:
    # Held for ever, or it could have done all there is before the other worker has joined: both would be waited for in vain.
    parent = started(processes, [sys.executable, "-c", HELD + MAIN, *command("--workers", "2", trials=32, duration=SLOW)[3:]])
    until(lambda: (found := record(store)) and len(found.workers) == 2 and at_work(store, parent.pid))
    pids = [worker.pid for worker in find_sweep(store, "shared").workers]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    until(lambda: find_sweep(store, "shared").status is Status.LOST)
    before = len(find_sweep(store, "shared").trials)
    subprocess.run(command("-q", trials=32, duration=SLOW), check=True)
    assert 0 < before <= 32
    all_once(store, 32)


@needs_two_cores
@pytest.mark.slow
def test_ctrl_c_at_the_parent_ends_all_workers_and_loses_nothing(store: Store, processes: list[subprocess.Popen[str]]) -> None:
    parent = started(processes, command("--workers", "2", trials=32, duration=SLOW))
    until(lambda: at_work(store, parent.pid))
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(timeout=60) == 75
    assert find_sweep(store, "shared").status is Status.INTERRUPTED
    assert not any(worker.alive for worker in find_sweep(store, "shared").workers)
    assert all(run.status in (Status.INTERRUPTED, Status.COMPLETED) for run in list_runs(store))
    subprocess.run(command("-q", trials=32, duration=SLOW), check=True)
    all_once(store, 32)


@pytest.mark.slow
def test_two_machines_on_a_postgres_server_share_a_sweep_and_one_may_die(
    tmp_path: Path, postgres_url: str, processes: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody says --join: to each the other is on another machine. The other's trials are taken once its heartbeat is old."""
    monkeypatch.setenv("DLX_STORE", postgres_url)
    words = command("-q", trials=12, duration=SLOW)[3:]
    with open_store(postgres_url) as store:
        one = started(processes, [sys.executable, "-c", ELSEWHERE + HELD + MAIN, "machine-one", *words])
        until(lambda: at_work_of(store, "machine-one"))
        two = started(processes, [sys.executable, "-c", ELSEWHERE + MAIN, "machine-two", *words])
        until(lambda: at_work_of(store, "machine-two"))
        left = at_work_of(store, "machine-two")
        two.kill()
        Path("go").touch()
        assert one.wait(timeout=150) == 0, one.communicate()[1]
        # The first goes when there is nothing to take; what the killed one held is lost only some seconds later.
        time.sleep(4.5)
        subprocess.run([sys.executable, "-c", ELSEWHERE + MAIN, "machine-one", *words], check=True)
        all_once(store, 12)
        found = find_sweep(store, "shared")
        spaces = {worker.number: worker.space for worker in found.workers}
        assert set(spaces.values()) == {"machine-one", "machine-two"}
        assert {spaces[found.trials[number].trainings[0].worker] for number in left} == {"machine-one"}


@pytest.mark.slow
def test_a_machine_that_was_away_for_too_long_stops_when_it_comes_back(
    tmp_path: Path, postgres_url: str, processes: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a suspended laptop: another has taken over its trials, and it must not report them too."""
    monkeypatch.setenv("DLX_STORE", postgres_url)
    words = command("-q", trials=4, duration=SLOW)[3:]
    with open_store(postgres_url) as store:
        away = started(processes, [sys.executable, "-c", ELSEWHERE + MAIN, "machine-one", *words])
        until(lambda: at_work_of(store, "machine-one"))
        away.send_signal(signal.SIGSTOP)
        time.sleep(5)
        subprocess.run([sys.executable, "-c", ELSEWHERE + MAIN, "machine-two", *words], check=True)
        all_once(store, 4)
        away.send_signal(signal.SIGCONT)
        _, told = away.communicate(timeout=60)
        assert away.returncode == 75
        assert "this process has lost it and must stop" in told
        assert told.count("\n") == 1
        all_once(store, 4)
        assert find_sweep(store, "shared").status is Status.COMPLETED


def at_work_of(store: Store, space: str) -> list[int]:
    """The trials that a process elsewhere trains at this moment."""
    found = record(store)
    if found is None:
        return []
    mine = {worker.number for worker in found.workers if worker.space == space}
    begun = [t for t in found.trials if t.status is None and t.run_id is not None and t.trainings[0].worker in mine]
    return [trial.number for trial in begun]


@pytest.mark.slow
def test_a_second_process_of_this_machine_is_refused(store: Store, processes: list[subprocess.Popen[str]]) -> None:
    endless = "train.duration=100000 epochs"
    first = started(processes, command("-q", trials=32, duration=endless))
    until(lambda: at_work(store, first.pid))
    refused = subprocess.run(command("-q", trials=32, duration=endless), capture_output=True, text=True)
    assert refused.returncode == 75
    assert f"is running: process {first.pid} on " in refused.stderr
    assert "start several with --workers" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_second_process_of_this_machine_may_join(store: Store, processes: list[subprocess.Popen[str]]) -> None:
    first = started(processes, command("-q", trials=32, duration=SLOW))
    until(lambda: at_work(store, first.pid))
    joined = subprocess.run(command("-q", "--join", trials=32, duration=SLOW), capture_output=True, text=True)
    assert (joined.returncode, joined.stderr) == (0, "")
    assert first.wait(timeout=120) == 0
    all_once(store, 32)


def test_more_workers_than_cores_are_refused_in_a_sentence(store: Store) -> None:
    cores = len(os.sched_getaffinity(0))
    refused = subprocess.run(
        command("--workers", str(cores + 1), trials=1),
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"} | {"CUDA_VISIBLE_DEVICES": ""},
    )
    assert refused.returncode == 2
    assert refused.stderr == f"error: --workers {cores + 1}: this machine has {cores} cores for them; give {cores} or less\n"
    assert record(store) is None
