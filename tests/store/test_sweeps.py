"""Sweeps in the store: proposals are kept before they are run, results outlive runs, one process holds a sweep."""

from collections.abc import Callable

import pytest

from dlx.errors import BusyError, Status, UsageError
from dlx.store import (
    Ending,
    NewRun,
    NewSweep,
    Store,
    add_trials,
    claim_sweep,
    delete_run,
    find_sweep,
    finish_runs,
    finish_sweep,
    finish_trials,
    holding,
    list_sweeps,
    start_runs,
    start_sweep,
)

SWEEP = NewSweep({"search": {}}, "validation/accuracy", "maximize", trials_total=3, name="first")


def test_a_sweep_from_its_start_to_its_end(any_store: Store, new_run: Callable[..., NewRun]) -> None:
    sweep, _ = start_sweep(any_store, SWEEP)
    add_trials(any_store, sweep, {0: {"optimizer.lr": 0.1}, 1: {"optimizer.lr": 0.2}, 2: {"model.hidden": [8, 4]}})
    one, two = start_runs(any_store, [new_run(lanes=2, lane=0), new_run(lanes=2, lane=1)], sweep=sweep, trials=[0, 1])
    finish_trials(any_store, sweep, {0: (Status.COMPLETED, 0.5, ""), 1: (Status.DIVERGED, None, "not finite")})
    finish_sweep(any_store, sweep, Status.INTERRUPTED, "SIGTERM", {"train": 1.5})

    found = find_sweep(any_store, "first")
    assert (found.id, found.status, found.message, found.seconds) == (sweep, Status.INTERRUPTED, "SIGTERM", {"train": 1.5})
    assert [(t.number, t.run_id, t.status, t.value) for t in found.trials] == [
        (0, one, Status.COMPLETED, 0.5),
        (1, two, Status.DIVERGED, None),
        (2, None, None, None),
    ]
    assert found.trials[2].params == {"model.hidden": [8, 4]}
    assert [t.number for t in found.ranked] == [0]
    assert [s.id for s in list_sweeps(any_store)] == [sweep]


def test_a_trial_outlives_its_run(store: Store, new_run: Callable[..., NewRun]) -> None:
    sweep, _ = start_sweep(store, SWEEP)
    add_trials(store, sweep, {0: {"optimizer.lr": 0.1}})
    (run,) = start_runs(store, [new_run()], sweep=sweep, trials=[0])
    finish_trials(store, sweep, {0: (Status.COMPLETED, 0.9, "")})
    finish_runs(store, [Ending(run, Status.COMPLETED, "", 100, 10)])
    delete_run(store, run)
    (trial,) = find_sweep(store, sweep).trials
    assert (trial.run_id, trial.status, trial.value) == (None, Status.COMPLETED, 0.9)


def test_a_run_that_ended_just_before_a_kill_counts(
    store: Store, new_run: Callable[..., NewRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, _ = start_sweep(store, SWEEP)
    add_trials(store, sweep, {0: {"optimizer.lr": 0.1}})
    (run,) = start_runs(store, [new_run()], sweep=sweep, trials=[0])
    finish_runs(store, [Ending(run, Status.COMPLETED, "", 100, 10, {"validation/accuracy": 0.7})])
    (trial,) = find_sweep(store, sweep).trials
    assert (trial.status, trial.value) == (Status.COMPLETED, 0.7)
    monkeypatch.setattr(holding, "is_alive", lambda _: False)
    claim_sweep(store, sweep, 3)
    delete_run(store, run)  # and still, once the sweep was taken up again
    (trial,) = find_sweep(store, sweep).trials
    assert (trial.status, trial.value) == (Status.COMPLETED, 0.7)


def test_what_a_diverged_run_measured_is_no_result(store: Store, new_run: Callable[..., NewRun]) -> None:
    sweep, _ = start_sweep(store, SWEEP)
    add_trials(store, sweep, {0: {"optimizer.lr": 9.0}})
    (run,) = start_runs(store, [new_run()], sweep=sweep, trials=[0])
    finish_runs(store, [Ending(run, Status.DIVERGED, "not finite", 3, 0, {"validation/accuracy": 0.9})])
    found = find_sweep(store, sweep)
    assert (found.trials[0].status, found.trials[0].value, found.ranked) == (Status.DIVERGED, None, [])


def test_the_same_description_is_the_same_sweep_and_so_is_the_same_name(store: Store) -> None:
    first = start_sweep(store, NewSweep({"search": {"a": 1}}, "validation/loss", "minimize", 3))
    again = start_sweep(store, NewSweep({"search": {"a": 1}}, "validation/loss", "minimize", 9))
    other = start_sweep(store, NewSweep({"search": {"a": 2}}, "validation/loss", "minimize", 3))
    assert (first[1], again, other[1]) == (True, (first[0], False), True)
    named = start_sweep(store, NewSweep({"search": {"a": 1}}, "validation/loss", "minimize", 3, name="nightly"))
    changed = start_sweep(store, NewSweep({"search": {"a": 3}}, "validation/loss", "minimize", 3, name="nightly"))
    assert (named[1], changed) == (True, (named[0], False))


def test_one_process_holds_a_sweep(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep, _ = start_sweep(store, SWEEP)
    with pytest.raises(BusyError, match=f"sweep {sweep} is running: process"):
        claim_sweep(store, sweep, 3)
    monkeypatch.setattr(holding, "is_alive", lambda _: False)
    assert find_sweep(store, sweep).status is Status.LOST
    claim_sweep(store, sweep, 5)
    assert find_sweep(store, sweep).trials_total == 5


def test_ranks_follow_the_direction_and_ties_the_number(store: Store) -> None:
    sweep, _ = start_sweep(store, NewSweep({}, "validation/loss", "minimize", None))
    add_trials(store, sweep, {n: {"optimizer.lr": n} for n in range(4)})
    values = [0.5, 0.2, 0.2, float("nan")]
    finish_trials(store, sweep, {n: (Status.COMPLETED, value, "") for n, value in enumerate(values)})
    assert [t.number for t in find_sweep(store, sweep).ranked] == [1, 2, 0]


def test_an_unknown_sweep_is_told_with_what_there_is(store: Store) -> None:
    with pytest.raises(UsageError, match="has no sweep 'nightly'; `dlx sweep` makes the first"):
        find_sweep(store, "nightly")
    sweep, _ = start_sweep(store, SWEEP)
    with pytest.raises(UsageError, match=rf"it has {sweep} \(first\)"):
        find_sweep(store, "nightly")
    assert find_sweep(store, "latest").id == find_sweep(store, sweep[:5]).id == sweep
