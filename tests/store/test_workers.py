"""Several processes on one sweep: each training is one worker's, and what a dead one left is done by another."""

import subprocess
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import text

from dlx.errors import BusyError, Status, UsageError
from dlx.store import (
    Ending,
    NewRun,
    NewSweep,
    Proposal,
    Result,
    Store,
    SweepRecord,
    find_run,
    find_sweep,
    finish_runs,
    heartbeat,
    holding,
    join_sweep,
    leave_sweep,
    list_runs,
    list_sweeps,
    open_store,
    reload_sweep,
    report_results,
    start_run,
    start_runs,
    start_sweep,
    take_trials,
)

MakeRun = Callable[..., NewRun]
Spawn = Callable[..., "subprocess.Popen[str]"]

SWEEP = NewSweep({"search": {}}, "validation/accuracy", "maximize", trials_total=10)

WORK = """
store = open_store(sys.argv[1])
def propose(record, count):
    time.sleep(0.02)
    return [Proposal({"optimizer.lr": len(record.trials) + i}, {"by": os.getpid()}) for i in range(count)]
print("ready", flush=True)
input()
new = NewSweep({"search": {}}, "validation/accuracy", "maximize", 12, "together")
sweep, worker = start_sweep(store, new)
if worker is None:
    worker = join_sweep(store, sweep, 12, beside=True)
while taken := take_trials(store, sweep, worker, 2, 2, propose):
    keys = [(trial.number, each.seed) for trial in taken for each in trial.trainings]
    for run, (number, seed) in zip(start_runs(store, [NEW] * len(keys), sweep=sweep, worker=worker, trials=keys), keys):
        report_results(store, sweep, worker, [Result(number, seed, Status.COMPLETED, (number + seed / 10,))])
        finish_runs(store, [Ending(run, Status.COMPLETED, "", 100, 10)])
leave_sweep(store, sweep, worker, Status.COMPLETED, f"by {worker}", {"train": 1.0})
"""
TAKE_AND_WAIT = """
store = open_store(sys.argv[1])
worker = join_sweep(store, sys.argv[2], 10, beside=True)
taken = take_trials(store, sys.argv[2], worker, 3, 1, lambda record, count: [Proposal({"a": 1}, {})] * count)
print(*(trial.number for trial in taken), flush=True)
time.sleep(60)
"""


def propose(record: SweepRecord, count: int) -> list[Proposal]:
    """New values for every trial."""
    return [Proposal({"optimizer.lr": len(record.trials) + i}, {"seen": len(record.trials)}) for i in range(count)]


def never(record: SweepRecord, count: int) -> list[Proposal]:
    pytest.fail("nothing is to be proposed")


def elsewhere(store: Store, sweep: str, worker: int, seconds_ago: float) -> None:
    """Makes the worker look like a process on another machine, whose last sign of life is that old."""
    with store.write() as connection:
        connection.execute(
            text(
                "UPDATE dlx_workers SET host = 'node7', process_space = 'node7', heartbeat = heartbeat - :ago "
                "WHERE sweep = :sweep AND number = :number"
            ),
            {"ago": seconds_ago, "sweep": sweep, "number": worker},
        )


def heartbeats(store: Store, sweep: str) -> list[float]:
    with store.read() as connection:
        found = connection.execute(text("SELECT heartbeat FROM dlx_workers WHERE sweep = :id ORDER BY number"), {"id": sweep})
        return list(found.scalars())


def numbers(trials: Iterable[Any]) -> list[int]:
    return [trial.number for trial in trials]


def completed(*trials: int, seeds: int = 1) -> list[Result]:
    return [Result(number, seed, Status.COMPLETED, (0.5,)) for number in trials for seed in range(seeds)]


def two_workers(store: Store, new: NewSweep = SWEEP) -> str:
    sweep, first = start_sweep(store, new)
    assert (first, join_sweep(store, sweep, new.trials_total, beside=True)) == (0, 1)
    return sweep


class TestTaking:
    def test_two_workers_never_get_the_same_trial(self, any_store: Store) -> None:
        sweep = two_workers(any_store)
        taken = [numbers(take_trials(any_store, sweep, worker, 3, 1, propose)) for worker in (0, 1, 1, 0)]
        assert taken == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
        assert [take_trials(any_store, sweep, worker, 3, 1, never) for worker in (0, 1)] == [[], []]
        found = find_sweep(any_store, sweep)
        assert [trial.trainings[0].worker for trial in found.trials] == [0, 0, 0, 1, 1, 1, 1, 1, 1, 0]
        assert [trial.params["optimizer.lr"] for trial in found.trials] == list(range(10))
        assert [trial.notes["seen"] for trial in found.trials] == [0, 0, 0, 3, 3, 3, 6, 6, 6, 9]

    @pytest.mark.parametrize("total", [7, 8])
    def test_threads_that_ask_at_once_share_exactly_the_total(self, any_store: Store, total: int) -> None:
        sweep, _ = start_sweep(any_store, NewSweep({}, "validation/accuracy", "maximize", total))
        workers = [0, *(join_sweep(any_store, sweep, total, beside=True) for _ in range(3))]
        together = Barrier(len(workers))
        asked: list[tuple[float, float]] = []

        def slow(record: SweepRecord, count: int) -> list[Proposal]:
            began = time.monotonic()
            time.sleep(0.05)
            asked.append((began, time.monotonic()))
            return propose(record, count)

        def work(worker: int) -> list[int]:
            together.wait()
            found: list[int] = []
            while taken := take_trials(any_store, sweep, worker, 2, 1, slow):
                found += numbers(taken)
            return found

        with ThreadPoolExecutor(len(workers)) as pool:
            shares = list(pool.map(work, workers))
        assert sorted(number for share in shares for number in share) == list(range(total))
        assert all(ended <= began for (_, ended), (began, _) in pairwise(asked))  # one at a time
        found = find_sweep(any_store, sweep)
        assert [trial.params["optimizer.lr"] for trial in found.trials] == list(range(total))
        assert {n: t.worker for n, trial in enumerate(found.trials) for t in trial.trainings} == {
            number: worker for worker, share in zip(workers, shares, strict=True) for number in share
        }

    def test_processes_that_work_at_once_share_exactly_the_total(self, any_url: str, spawn: Spawn) -> None:
        with open_store(any_url) as store:
            processes = [spawn(WORK, any_url) for _ in range(3)]
            for process in processes:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            for process in processes:
                output, _ = process.communicate(timeout=60)
                assert process.returncode == 0, output
            (found,) = list_sweeps(store)  # of three that started it one made it
            assert numbers(found.trials) == [trial.params["optimizer.lr"] for trial in found.trials] == list(range(12))
            assert [trial.value for trial in found.trials] == pytest.approx([n + 0.05 for n in range(12)])
            assert len({each.run_id for trial in found.trials for each in trial.trainings}) == 24
            assert [len({each.worker for each in trial.trainings}) for trial in found.trials] == [1] * 12
            assert [worker.number for worker in found.workers] == [0, 1, 2]
            assert (found.status, found.seconds) == (Status.COMPLETED, {"train": 3.0})

    def test_a_killed_worker_leaves_its_trials_to_the_next(self, any_url: str, spawn: Spawn) -> None:
        with open_store(any_url) as store:
            sweep, worker = start_sweep(store, SWEEP)
            assert worker == 0
            process = spawn(TAKE_AND_WAIT, any_url, sweep)
            assert process.stdout is not None
            assert process.stdout.readline() == "0 1 2\n"
            assert numbers(take_trials(store, sweep, 0, 2, 1, propose)) == [3, 4]
            process.kill()
            process.wait()
            assert numbers(take_trials(store, sweep, 0, 2, 1, never)) == [0, 1, 2]
            assert [each.alive for each in find_sweep(store, sweep).workers] == [True, False]

    def test_fewer_proposals_than_wanted_are_the_end(self, any_store: Store) -> None:
        sweep, _ = start_sweep(any_store, SWEEP)
        assert take_trials(any_store, sweep, 0, 5, 1, lambda record, count: propose(record, count)[:2])[1].number == 1
        assert take_trials(any_store, sweep, 0, 5, 1, lambda *_: []) == []
        assert len(find_sweep(any_store, sweep).trials) == 2

    def test_a_sampler_that_fails_leaves_the_sweep_as_it_was(self, any_store: Store) -> None:
        sweep, _ = start_sweep(any_store, SWEEP)
        with pytest.raises(ZeroDivisionError):
            take_trials(any_store, sweep, 0, 5, 1, lambda *_: [Proposal({"a": 1 / 0}, {})])
        assert find_sweep(any_store, sweep).trials == ()
        assert numbers(take_trials(any_store, sweep, 0, 1, 1, propose)) == [0]

    def test_without_a_total_there_is_always_another(self, any_store: Store) -> None:
        sweep, _ = start_sweep(any_store, NewSweep({}, "validation/loss", "minimize", None))
        for _ in range(3):
            assert len(take_trials(any_store, sweep, 0, 4, 1, propose)) == 4

    def test_a_trial_has_a_training_for_each_seed(self, any_store: Store) -> None:
        sweep, _ = start_sweep(any_store, SWEEP)
        (taken,) = take_trials(any_store, sweep, 0, 1, 3, propose)
        assert [(each.seed, each.worker, each.status) for each in taken.trainings] == [(n, 0, None) for n in range(3)]
        assert find_sweep(any_store, sweep).trials == (taken,)

    def test_params_and_notes_come_back_as_they_were(self, any_store: Store) -> None:
        params = {"model.hidden": [8, [4]], "model.dropout": 1 / 3, "data.x": None, "a": True, "optimizer": {"kind": "sgd"}}
        notes = {"cma:optimizer:0": "80045" * 400, "nsga2:generation": 3, "x_for_tell": [0.1, 0.2]}
        sweep, _ = start_sweep(any_store, SWEEP)
        (taken,) = take_trials(any_store, sweep, 0, 1, 1, lambda *_: [Proposal(params, notes)])
        (trial,) = find_sweep(any_store, sweep).trials
        assert (trial.params, trial.notes, taken) == (params, notes, trial)


class TestTakingOver:
    @staticmethod
    def abandoned(store: Store, new_run: MakeRun, *, seconds_ago: float = 1000) -> tuple[str, str, int]:
        """A sweep with four trials of two seeds, the first ended and the second half way, its run, and its second worker."""
        sweep, _ = start_sweep(store, SWEEP)
        take_trials(store, sweep, 0, 4, 2, propose)
        (run,) = start_runs(store, [new_run()], sweep=sweep, worker=0, trials=[(1, 1)])
        half = [Result(1, 0, Status.COMPLETED, (0.7,)), Result(1, 1, None, curve={1: 0.5, 2: 0.6})]
        report_results(store, sweep, 0, [*completed(0, seeds=2), *half])
        elsewhere(store, sweep, 0, seconds_ago)
        return sweep, run, join_sweep(store, sweep, SWEEP.trials_total)

    def test_what_a_dead_worker_left_goes_to_the_next_that_asks(self, any_store: Store, new_run: MakeRun) -> None:
        sweep, run, worker = self.abandoned(any_store, new_run)
        before = find_sweep(any_store, sweep).trials
        taken = take_trials(any_store, sweep, worker, 1, 2, never)  # all of it, however few are asked for
        assert [(t.number, [each.seed for each in t.trainings]) for t in taken] == [(1, [1]), (2, [0, 1]), (3, [0, 1])]
        assert [(t.params, t.notes) for t in taken] == [(t.params, t.notes) for t in before[1:]]
        (half,) = taken[0].trainings
        assert (half.run_id, half.curve) == (run, {1: 0.5, 2: 0.6})
        found = find_sweep(any_store, sweep).trials
        assert [[each.worker for each in t.trainings] for t in found] == [[0, 0], [0, 1], [1, 1], [1, 1]]
        assert numbers(take_trials(any_store, sweep, worker, 2, 2, propose)) == [4, 5]  # and only then new ones
        report_results(any_store, sweep, worker, [Result(1, 1, Status.COMPLETED, (0.9,), curve={1: 0.5, 2: 0.6, 3: 0.9})])
        trial = find_sweep(any_store, sweep).trials[1]
        assert (trial.value, trial.trainings[1].curve) == (pytest.approx(0.8), {1: 0.5, 2: 0.6, 3: 0.9})

    def test_a_worker_elsewhere_keeps_its_trials_while_it_gives_a_sign_of_life(
        self, any_store: Store, new_run: MakeRun
    ) -> None:
        sweep, _, worker = self.abandoned(any_store, new_run, seconds_ago=60)
        assert numbers(take_trials(any_store, sweep, worker, 2, 2, propose)) == [4, 5]

    def test_a_worker_that_left_leaves_its_trials_too(self, any_store: Store) -> None:
        sweep = two_workers(any_store)
        take_trials(any_store, sweep, 0, 2, 1, propose)
        leave_sweep(any_store, sweep, 0, Status.INTERRUPTED, "SIGTERM", {})
        assert numbers(take_trials(any_store, sweep, 1, 5, 1, never)) == [0, 1]

    def test_a_worker_that_lost_a_trial_is_told_so_and_changes_nothing(self, any_store: Store, new_run: MakeRun) -> None:
        sweep, _, worker = self.abandoned(any_store, new_run)
        take_trials(any_store, sweep, worker, 1, 2, never)
        report_results(any_store, sweep, worker, [Result(2, 0, Status.PRUNED)])
        before = find_sweep(any_store, sweep)
        for late in (Result(1, 1, Status.COMPLETED, (0.1,)), Result(2, 0, None, curve={1: 0.1}), Result(9, 0, Status.FAILED)):
            with pytest.raises(BusyError, match=rf"trial {late.trial} of sweep {sweep} was taken over .* must stop"):
                report_results(any_store, sweep, 0, [*completed(0), late])
        assert find_sweep(any_store, sweep) == before

    def test_a_worker_that_lost_a_trial_cannot_start_its_run(self, any_store: Store, new_run: MakeRun) -> None:
        sweep, _, worker = self.abandoned(any_store, new_run)
        take_trials(any_store, sweep, worker, 1, 2, never)
        (run,) = start_runs(any_store, [new_run()], sweep=sweep, worker=worker, trials=[(2, 0)])
        before, runs = find_sweep(any_store, sweep), list_runs(any_store)
        assert before.trials[2].run_id == run
        # The first worker wakes up. One training is still its own, the other has a run, has none, or never was.
        for lost in ((2, 0), (3, 1), (9, 0)):
            with pytest.raises(BusyError, match=rf"trial {lost[0]} of sweep {sweep} was taken over .* must stop"):
                start_runs(any_store, [new_run(), new_run()], sweep=sweep, worker=0, trials=[(0, 0), lost])
        assert find_sweep(any_store, sweep) == before
        assert list_runs(any_store) == runs

    def test_trials_beyond_a_smaller_total_are_left(self, any_store: Store, new_run: MakeRun) -> None:
        sweep, _, worker = self.abandoned(any_store, new_run)
        leave_sweep(any_store, sweep, worker, Status.INTERRUPTED, "", {})
        worker = join_sweep(any_store, sweep, 2)
        assert numbers(take_trials(any_store, sweep, worker, 5, 2, never)) == [1]
        assert take_trials(any_store, sweep, worker, 5, 2, never) == []
        leave_sweep(any_store, sweep, worker, Status.COMPLETED, "", {})
        worker = join_sweep(any_store, sweep, 5)
        assert numbers(take_trials(any_store, sweep, worker, 5, 2, never)) == [1, 2, 3]
        assert numbers(take_trials(any_store, sweep, worker, 5, 2, propose)) == [4]


class TestJoining:
    def test_a_second_process_of_this_machine_must_ask_for_it(self, any_store: Store) -> None:
        sweep, _ = start_sweep(any_store, SWEEP)
        with pytest.raises(BusyError, match=rf"sweep {sweep} is running: process \d+ on .* works on it; stop that process"):
            join_sweep(any_store, sweep, 99)
        found = find_sweep(any_store, sweep)
        assert (len(found.workers), found.trials_total) == (1, 10)
        assert join_sweep(any_store, sweep, 99, beside=True) == 1
        found = find_sweep(any_store, sweep)
        assert ([worker.alive for worker in found.workers], found.trials_total) == ([True, True], 99)

    def test_a_process_elsewhere_needs_no_word(self, any_store: Store) -> None:
        sweep, _ = start_sweep(any_store, SWEEP)
        elsewhere(any_store, sweep, 0, 0)
        assert join_sweep(any_store, sweep, 10) == 1
        found = find_sweep(any_store, sweep)
        assert [(worker.host == "node7", worker.alive) for worker in found.workers] == [(True, True), (False, True)]
        with pytest.raises(BusyError):  # but this machine has one now
            join_sweep(any_store, sweep, 10)

    @pytest.mark.parametrize("where", ["here", "elsewhere"])
    @pytest.mark.parametrize("beside", [False, True])
    def test_a_description_changes_while_nobody_works(self, any_store: Store, where: str, beside: bool) -> None:
        sweep, _ = start_sweep(any_store, SWEEP)
        take_trials(any_store, sweep, 0, 2, 1, propose)
        if where == "elsewhere":
            elsewhere(any_store, sweep, 0, 0)
        with pytest.raises(BusyError, match="is running"):
            join_sweep(any_store, sweep, 20, beside=beside, config={"search": {"a": 1}})
        assert find_sweep(any_store, sweep).config == SWEEP.config
        leave_sweep(any_store, sweep, 0, Status.INTERRUPTED, "", {})
        assert join_sweep(any_store, sweep, 20, beside=beside, config={"search": {"a": 1}}) == 1
        found = find_sweep(any_store, sweep)
        assert (found.config, len(found.trials)) == ({"search": {"a": 1}}, 2)

    def test_a_sweep_that_ended_runs_again_when_it_is_joined(self, any_store: Store) -> None:
        sweep, _ = start_sweep(any_store, SWEEP)
        leave_sweep(any_store, sweep, 0, Status.FAILED, "no memory", {"train": 1.0})
        assert join_sweep(any_store, sweep, 12) == 1
        found = find_sweep(any_store, sweep)
        assert (found.status, found.message, found.finished, found.trials_total) == (Status.RUNNING, "", None, 12)
        assert (found.config, found.seconds) == (SWEEP.config, {"train": 1.0})

    def test_results_of_a_dead_worker_are_written_when_the_next_joins(
        self, any_store: Store, new_run: MakeRun, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sweep, _ = start_sweep(any_store, SWEEP)
        take_trials(any_store, sweep, 0, 2, 2, propose)
        keys = [(0, 0), (0, 1), (1, 0), (1, 1)]
        runs = start_runs(any_store, [new_run() for _ in keys], sweep=sweep, worker=0, trials=keys)
        reported = Result(0, 0, Status.COMPLETED, (0.1,), "as reported")
        report_results(any_store, sweep, 0, [reported])
        scores = {"validation/accuracy": 0.9}
        finish_runs(any_store, [Ending(run, Status.COMPLETED, "as the run says", 100, 10, scores) for run in runs[:3]])
        monkeypatch.setattr(holding, "is_alive", lambda _: False)
        worker = join_sweep(any_store, sweep, 10)
        with any_store.read() as connection:
            written = connection.execute(text("SELECT value, message FROM dlx_trials ORDER BY number, seed")).all()
        assert written == [(0.1, "as reported"), (0.9, "as the run says"), (0.9, "as the run says"), (None, None)]
        (left,) = take_trials(any_store, sweep, worker, 1, 2, never)
        assert [(each.seed, each.run_id) for each in left.trainings] == [(1, runs[3])]

    def test_a_record_that_is_known_is_the_one_read_anew(self, any_store: Store, new_run: MakeRun) -> None:
        """Also when a trial was read between its run's end and its own result, when only the run tells how it ended."""
        sweep, _ = start_sweep(any_store, SWEEP)
        take_trials(any_store, sweep, 0, 3, 1, propose)
        known = find_sweep(any_store, sweep)
        keys = [(0, 0), (1, 0), (2, 0)]
        runs = start_runs(any_store, [new_run() for _ in keys], sweep=sweep, worker=0, trials=keys)
        report_results(any_store, sweep, 0, [Result(0, 0, Status.COMPLETED, (0.1,), "first", {1: 0.1})])
        finish_runs(any_store, [Ending(runs[1], Status.COMPLETED, "", 100, 10, {"validation/accuracy": 0.9})])
        known = reload_sweep(any_store, known)
        assert known == find_sweep(any_store, sweep)
        assert [trial.status for trial in known.trials] == [Status.COMPLETED, Status.COMPLETED, None]
        report_results(any_store, sweep, 0, [Result(1, 0, Status.COMPLETED, (0.9,), "", {1: 0.5, 2: 0.9})], known)
        take_trials(any_store, sweep, 0, 2, 1, propose)
        known = reload_sweep(any_store, known)
        assert known == find_sweep(any_store, sweep)
        assert (known.trials[1].curve, len(known.trials)) == ({1: 0.5, 2: 0.9}, 5)

    def test_a_sweep_that_is_not_there_is_a_usage_error(self, any_store: Store) -> None:
        with pytest.raises(UsageError, match="has no sweep deadbeef"):
            join_sweep(any_store, "deadbeef", 3)

    def test_a_name_that_cannot_be_shown_is_refused(self, any_store: Store) -> None:
        with pytest.raises(UsageError, match="name"):
            start_sweep(any_store, NewSweep({}, "validation/loss", "minimize", 1, name="two\nlines"))
        assert list_sweeps(any_store) == []


class TestLeaving:
    def test_the_last_to_leave_says_how_the_sweep_ended(self, any_store: Store) -> None:
        sweep = two_workers(any_store)
        leave_sweep(any_store, sweep, 0, Status.INTERRUPTED, "SIGTERM", {"train": 1.0, "store": 0.5})
        found = find_sweep(any_store, sweep)
        assert (found.status, found.message, found.finished) == (Status.RUNNING, "", None)
        assert ([worker.alive for worker in found.workers], found.seconds) == ([False, True], {"train": 1.0, "store": 0.5})
        leave_sweep(any_store, sweep, 1, Status.COMPLETED, "10 of 10 trials", {"train": 2.0, "sampler": 0.25})
        found = find_sweep(any_store, sweep)
        assert (found.status, found.message) == (Status.COMPLETED, "10 of 10 trials")
        assert (found.finished is not None, found.seconds) == (True, {"train": 3.0, "store": 0.5, "sampler": 0.25})

    def test_who_leaves_beside_a_dead_one_is_the_last(self, any_store: Store) -> None:
        sweep = two_workers(any_store)
        elsewhere(any_store, sweep, 0, 1000)
        leave_sweep(any_store, sweep, 1, Status.COMPLETED, "10 of 10 trials", {})
        assert find_sweep(any_store, sweep).status is Status.COMPLETED

    def test_a_worker_that_was_taken_for_dead_does_not_say_how_the_sweep_ended(self, any_store: Store) -> None:
        sweep = two_workers(any_store)
        elsewhere(any_store, sweep, 0, 1000)
        leave_sweep(any_store, sweep, 1, Status.COMPLETED, "10 of 10 trials", {"train": 2.0})
        before = find_sweep(any_store, sweep)
        leave_sweep(any_store, sweep, 0, Status.FAILED, "this one has lost it and must stop", {"train": 1.0})
        after = find_sweep(any_store, sweep)
        assert (after.status, after.message, after.finished) == (Status.COMPLETED, "10 of 10 trials", before.finished)
        assert after.seconds == {"train": 3.0}  # its time was spent all the same

    def test_a_sweep_whose_workers_all_died_is_lost(self, any_store: Store) -> None:
        sweep = two_workers(any_store)
        elsewhere(any_store, sweep, 0, 1000)
        assert find_sweep(any_store, sweep).status is Status.RUNNING
        elsewhere(any_store, sweep, 1, 1000)
        assert find_sweep(any_store, sweep).status is Status.LOST
        assert [worker.alive for worker in find_sweep(any_store, sweep).workers] == [False, False]
        join_sweep(any_store, sweep, 10)
        assert find_sweep(any_store, sweep).status is Status.RUNNING

    def test_a_sweep_whose_last_worker_died_is_lost_although_another_left_it(self, any_store: Store) -> None:
        sweep = two_workers(any_store)
        leave_sweep(any_store, sweep, 0, Status.COMPLETED, "other workers have the rest", {})
        elsewhere(any_store, sweep, 1, 1000)
        assert find_sweep(any_store, sweep).status is Status.LOST


def test_a_heartbeat_is_of_this_process_alone(any_store: Store, new_run: MakeRun) -> None:
    sweep = two_workers(any_store)
    other, _ = start_sweep(any_store, NewSweep({"search": {"other": 1}}, "validation/loss", "minimize", 3))
    third, fourth = (join_sweep(any_store, sweep, 10, beside=True) for _ in range(2))
    elsewhere(any_store, sweep, 1, 60)
    leave_sweep(any_store, sweep, third, Status.COMPLETED, "", {})
    with any_store.write() as connection:  # an earlier process of the same number
        connection.execute(text("UPDATE dlx_workers SET process_started = process_started - 1 WHERE number = 3"))
    run = start_run(any_store, new_run())
    before, others, of_run = heartbeats(any_store, sweep), heartbeats(any_store, other), find_run(any_store, run).heartbeat
    time.sleep(0.01)
    heartbeat(any_store)
    beaten = [late > early for early, late in zip(before, heartbeats(any_store, sweep), strict=True)]
    assert (beaten, fourth) == ([True, False, False, False], 3)
    assert heartbeats(any_store, other) > others
    assert find_run(any_store, run).heartbeat > of_run
