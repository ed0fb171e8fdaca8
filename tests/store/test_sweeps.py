"""Sweeps as the store has them: what a trial is worth, which are the best, what outlives its run."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from dlx.errors import Status, UsageError
from dlx.store import (
    Ending,
    Goal,
    NewRun,
    NewSweep,
    Proposal,
    Result,
    Store,
    SweepRecord,
    Training,
    TrialRecord,
    delete_run,
    find_sweep,
    finish_runs,
    holding,
    join_sweep,
    leave_sweep,
    list_sweeps,
    report_results,
    start_runs,
    start_sweep,
    take_trials,
)

MakeRun = Callable[..., NewRun]

SWEEP = NewSweep({"search": {}}, "validation/accuracy", "maximize", trials_total=3, name="first")
MINIMIZE = {"metric": "parameters", "direction": "minimize"}
MAXIMIZE = {"metric": "test/accuracy", "direction": "maximize"}


def propose(*params: dict[str, Any]) -> Callable[[SweepRecord, int], list[Proposal]]:
    """A sampler that knows what it wants: these, in order."""
    return lambda record, count: [Proposal(each, {}) for each in params[len(record.trials) :][:count]]


def begin(store: Store, count: int, new: NewSweep = SWEEP, *, seeds: int = 1) -> str:
    """A sweep of this process with so many trials waiting."""
    sweep, worker = start_sweep(store, replace(new, trials_total=None))
    assert worker == 0
    wanted = propose(*({"optimizer.lr": 0.1 * (n + 1)} for n in range(count)))
    assert len(take_trials(store, sweep, 0, count, seeds, wanted)) == count
    return sweep


def completed(*values: float | Sequence[float]) -> list[Result]:
    """The trials' results, in order of number."""
    each = [value if isinstance(value, Sequence) else (value,) for value in values]
    return [Result(number, 0, Status.COMPLETED, tuple(value)) for number, value in enumerate(each)]


def everybody_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "is_alive", lambda _: False)


def test_a_sweep_from_its_start_to_its_end(any_store: Store, new_run: MakeRun) -> None:
    sweep, worker = start_sweep(any_store, SWEEP)
    assert worker == 0
    params = [{"optimizer.lr": 0.1}, {"optimizer.lr": 0.2}, {"model.hidden": [8, 4]}]
    taken = take_trials(any_store, sweep, 0, 3, 1, propose(*params))
    assert [(t.number, t.params, t.status) for t in taken] == [(n, p, None) for n, p in enumerate(params)]
    lanes = [new_run(lanes=2, lane=lane) for lane in range(2)]
    one, two = start_runs(any_store, lanes, sweep=sweep, worker=0, trials=[(0, 0), (1, 0)])
    said = [Result(0, 0, Status.COMPLETED, (0.5,)), Result(1, 0, Status.DIVERGED, None, "not finite")]
    assert report_results(any_store, sweep, 0, said) == find_sweep(any_store, sweep)
    leave_sweep(any_store, sweep, 0, Status.INTERRUPTED, "SIGTERM", {"train": 1.5})

    found = find_sweep(any_store, "first")
    assert (found.id, found.status, found.message, found.seconds) == (sweep, Status.INTERRUPTED, "SIGTERM", {"train": 1.5})
    assert found.finished is not None
    assert [(t.number, t.run_id, t.status, t.value, t.message) for t in found.trials] == [
        (0, one, Status.COMPLETED, 0.5, ""),
        (1, two, Status.DIVERGED, None, "not finite"),
        (2, None, None, None, ""),
    ]
    assert found.trials[2].params == {"model.hidden": [8, 4]}
    assert [t.number for t in found.ranked] == [0]
    assert [s.id for s in list_sweeps(any_store)] == [sweep]


def test_a_trial_outlives_its_run(store: Store, new_run: MakeRun) -> None:
    sweep = begin(store, 1)
    (run,) = start_runs(store, [new_run()], sweep=sweep, worker=0, trials=[(0, 0)])
    report_results(store, sweep, 0, [Result(0, 0, Status.COMPLETED, (0.9,), curve={1: 0.8, 2: 0.9})])
    finish_runs(store, [Ending(run, Status.COMPLETED, "", 100, 10)])
    delete_run(store, run)
    (trial,) = find_sweep(store, sweep).trials
    assert (trial.run_id, trial.status, trial.value, trial.curve) == (None, Status.COMPLETED, 0.9, {1: 0.8, 2: 0.9})


@pytest.mark.parametrize("ended", [Status.COMPLETED, Status.DIVERGED, Status.PRUNED])
def test_a_run_that_ended_just_before_a_kill_counts(
    any_store: Store, new_run: MakeRun, monkeypatch: pytest.MonkeyPatch, ended: Status
) -> None:
    sweep = begin(any_store, 1)
    (run,) = start_runs(any_store, [new_run()], sweep=sweep, worker=0, trials=[(0, 0)])
    report_results(any_store, sweep, 0, [Result(0, 0, None, curve={1: 0.6})])
    finish_runs(any_store, [Ending(run, ended, "so it ended", 100, 10, {"validation/accuracy": 0.7})])
    value = 0.7 if ended is Status.COMPLETED else None
    (trial,) = find_sweep(any_store, sweep).trials
    assert (trial.status, trial.value, trial.message) == (ended, value, "so it ended")
    everybody_dies(monkeypatch)
    join_sweep(any_store, sweep, 1)
    delete_run(any_store, run)  # and still, once the sweep was taken up again
    (trial,) = find_sweep(any_store, sweep).trials
    assert (trial.run_id, trial.status, trial.value, trial.message) == (None, ended, value, "so it ended")
    assert trial.curve == {1: 0.6}
    assert take_trials(any_store, sweep, 1, 5, 1, propose()) == []


@pytest.mark.parametrize("ended", [Status.FAILED, Status.INTERRUPTED])
def test_a_run_that_can_go_on_is_no_result(
    store: Store, new_run: MakeRun, monkeypatch: pytest.MonkeyPatch, ended: Status
) -> None:
    sweep = begin(store, 1)
    (run,) = start_runs(store, [new_run()], sweep=sweep, worker=0, trials=[(0, 0)])
    finish_runs(store, [Ending(run, ended, "", 50, 5, {"validation/accuracy": 0.7})])
    everybody_dies(monkeypatch)
    worker = join_sweep(store, sweep, 1)
    (trial,) = take_trials(store, sweep, worker, 1, 1, propose())
    assert (trial.run_id, trial.status, trial.value) == (run, None, None)


def test_several_objectives_are_derived_from_a_run_and_what_it_lacks_is_no_number(
    any_store: Store, new_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = begin(any_store, 4, replace(SWEEP, config={"more": [MAXIMIZE, MINIMIZE]}))
    runs = start_runs(any_store, [new_run()] * 4, sweep=sweep, worker=0, trials=[(number, 0) for number in range(4)])
    metrics = {"validation/accuracy": 0.7, "test/accuracy": 0.6, "parameters": 10.0}
    without = [{name: value for name, value in metrics.items() if name != lacking} for lacking in metrics]
    endings = [
        (Status.COMPLETED, metrics),
        (Status.COMPLETED, without[1]),
        (Status.COMPLETED, without[0]),
        (Status.PRUNED, metrics),
    ]
    finish_runs(
        any_store, [Ending(run, status, "", 100, 10, found) for run, (status, found) in zip(runs, endings, strict=True)]
    )
    values = [(0.7, 0.6, 10.0), (0.7, None, 10.0), (None, 0.6, 10.0), None]

    def check() -> None:
        found = find_sweep(any_store, sweep)
        assert [t.status for t in found.trials] == [status for status, _ in endings]
        numbers = [t.values and tuple(None if math.isnan(value) else value for value in t.values) for t in found.trials]
        assert numbers == values
        assert [t.number for t in found.ranked] == [0, 1]
        assert [t.number for t in found.front] == [0]

    check()
    everybody_dies(monkeypatch)
    worker = join_sweep(any_store, sweep, 4)
    for run in runs:
        delete_run(any_store, run)
    check()  # and still, without the runs
    assert take_trials(any_store, sweep, worker, 4, 1, propose()) == []


def test_what_a_diverged_run_measured_is_no_result(store: Store, new_run: MakeRun) -> None:
    sweep = begin(store, 1)
    (run,) = start_runs(store, [new_run()], sweep=sweep, worker=0, trials=[(0, 0)])
    finish_runs(store, [Ending(run, Status.DIVERGED, "not finite", 3, 0, {"validation/accuracy": 0.9})])
    found = find_sweep(store, sweep)
    assert (found.trials[0].status, found.trials[0].value, found.ranked) == (Status.DIVERGED, None, [])


def test_the_same_description_is_the_same_sweep_and_so_is_the_same_name(any_store: Store) -> None:
    first = start_sweep(any_store, NewSweep({"search": {"a": 1}}, "validation/loss", "minimize", 3))
    again = start_sweep(any_store, NewSweep({"search": {"a": 1}}, "validation/loss", "minimize", 9))
    other = start_sweep(any_store, NewSweep({"search": {"a": 2}}, "validation/loss", "minimize", 3))
    assert (first[1], again, other[1]) == (0, (first[0], None), 0)
    named = start_sweep(any_store, NewSweep({"search": {"a": 1}}, "validation/loss", "minimize", 3, name="nightly"))
    changed = start_sweep(any_store, NewSweep({"search": {"a": 3}}, "validation/loss", "minimize", 3, name="nightly"))
    assert (named[1], changed) == (0, (named[0], None))
    assert find_sweep(any_store, "nightly").config == {"search": {"a": 1}}


def test_ranks_follow_the_direction_and_ties_the_number(any_store: Store) -> None:
    sweep = begin(any_store, 4, NewSweep({}, "validation/loss", "minimize", None))
    found = report_results(any_store, sweep, 0, completed(0.5, 0.2, 0.2, math.nan))
    assert [t.number for t in found.ranked] == [1, 2, 0]
    assert found.trials[3].status is Status.COMPLETED
    assert [t.number for t in replace(found, direction="maximize").ranked] == [0, 1, 2]


def test_values_and_curves_that_are_not_finite_survive(any_store: Store) -> None:
    sweep = begin(any_store, 1, replace(SWEEP, config={"more": [MAXIMIZE, MINIMIZE]}))
    curve = {1: 1 / 3, 10**12: math.inf}
    found = report_results(any_store, sweep, 0, [Result(0, 0, Status.COMPLETED, (5e-324, -math.inf, math.nan), "", curve)])
    tiny, down, nothing = found.trials[0].values or ()
    assert (tiny, down, math.isnan(nothing), found.trials[0].curve) == (5e-324, -math.inf, True, curve)


def test_the_goals_are_the_monitored_metric_and_what_the_description_adds(store: Store) -> None:
    found = find_sweep(store, begin(store, 0, replace(SWEEP, config={"more": [MINIMIZE]})))
    assert found.goals == (Goal("validation/accuracy", "maximize"), Goal("parameters", "minimize"))
    assert find_sweep(store, begin(store, 0, replace(SWEEP, name="other"))).goals == (Goal("validation/accuracy", "maximize"),)


@pytest.mark.parametrize(
    ("more", "values", "front"),
    [
        # More accuracy and fewer parameters: 1 is beaten by 0, 4 is as good as 0 and both stay, 2 and 3 are the ends.
        ([MINIMIZE], [(0.8, 10), (0.7, 10), (0.9, 50), (0.1, 1), (0.8, 10), (0.8, 11)], [2, 0, 4, 3]),
        # More of both: 1 has more of both than all but 3, which has more of the second.
        ([MAXIMIZE], [(0.8, 0.2), (0.9, 0.5), (0.1, 0.1), (0.2, 0.6)], [1, 3]),
        # One objective: the best, and its equals.
        ([], [(0.3,), (0.5,), (0.5,), (0.1,)], [1, 2]),
        ([MINIMIZE], [], []),
    ],
)
def test_the_front_is_what_no_other_beats(
    any_store: Store, more: list[dict[str, str]], values: list[tuple[float, ...]], front: list[int]
) -> None:
    sweep = begin(any_store, len(values) + 2, replace(SWEEP, config={"more": more}))
    failed = [Result(len(values), 0, Status.FAILED, None, "no memory")]
    found = report_results(any_store, sweep, 0, [*completed(*values), *failed])
    assert [trial.number for trial in found.front] == front


def test_what_lacks_an_objective_is_not_on_the_front(store: Store) -> None:
    sweep = begin(store, 2, replace(SWEEP, config={"more": [MINIMIZE]}))
    found = report_results(store, sweep, 0, completed((0.9, 10), (0.1, math.nan)))
    assert [trial.number for trial in found.front] == [0]


def test_with_results_is_the_sweep_with_messages_and_curves_too(store: Store) -> None:
    sweep = begin(store, 2)
    new = [Result(0, 0, Status.DIVERGED, None, "not finite", {1: 0.1}), Result(1, 0, None, curve={1: 0.5})]
    before = find_sweep(store, sweep)
    assert before.with_results(new) == report_results(store, sweep, 0, new)


class TestSeveralSeeds:
    @staticmethod
    def trial(*trainings: Training) -> TrialRecord:
        return TrialRecord(0, {}, tuple(replace(training, seed=seed) for seed, training in enumerate(trainings)))

    def test_a_trial_is_worth_the_mean_of_its_seeds(self, any_store: Store) -> None:
        sweep = begin(any_store, 2, replace(SWEEP, config={"more": [MINIMIZE]}), seeds=3)
        for number, values in enumerate([((0.2, 10), (0.4, 20), (0.9, 30)), ((0.6, 1), (0.6, 1), (0.6, 1))]):
            for seed, value in enumerate(values):
                found = report_results(any_store, sweep, 0, [Result(number, seed, Status.COMPLETED, value)])
        first, second = found.trials
        assert first.values == pytest.approx((0.5, 20))
        assert (first.value, first.deviation) == (pytest.approx(0.5), pytest.approx(0.36055512754639896))
        assert (second.value, second.deviation) == (pytest.approx(0.6), 0)
        assert [t.number for t in found.ranked] == [1, 0]

    def test_a_trial_has_not_ended_before_its_last_seed(self, any_store: Store) -> None:
        sweep = begin(any_store, 1, seeds=3)
        some = [Result(0, 0, Status.COMPLETED, (0.9,), curve={1: 0.9}), Result(0, 2, Status.FAILED, None, "no memory")]
        found = report_results(any_store, sweep, 0, some)
        (trial,) = found.trials
        assert (trial.status, trial.values, trial.value, trial.deviation, trial.message) == (None, None, None, None, "")
        assert [each.status for each in trial.trainings] == [Status.COMPLETED, None, Status.FAILED]
        assert (found.ranked, found.front) == ([], [])

    @pytest.mark.parametrize(
        ("statuses", "status"),
        [
            ("completed completed", Status.COMPLETED),
            ("completed pruned", Status.PRUNED),
            ("diverged pruned", Status.DIVERGED),
            ("diverged failed completed", Status.FAILED),
            ("pruned failed", Status.FAILED),
        ],
    )
    def test_the_worst_seed_says_how_a_trial_ended(self, statuses: str, status: Status) -> None:
        ended = [Training(0, status=Status(s), values=(0.5,), message=f"was {s}") for s in statuses.split()]
        trial = self.trial(*ended)
        assert (trial.status, trial.message) == (status, f"was {status}")
        assert trial.values == ((0.5,) if status is Status.COMPLETED else None)

    def test_one_seed_has_no_deviation(self) -> None:
        trial = self.trial(Training(0, status=Status.COMPLETED, values=(0.5,)))
        assert (trial.value, trial.deviation) == (0.5, None)

    def test_one_seed_without_a_number_leaves_the_trial_without_one(self) -> None:
        ended = [Training(0, status=Status.COMPLETED, values=(value,)) for value in (0.5, math.nan)]
        trial = self.trial(*ended)
        assert (trial.status, trial.value, trial.deviation) == (Status.COMPLETED, None, None)

    def test_the_curve_is_the_mean_where_all_seeds_have_one(self) -> None:
        assert self.trial(Training(0, curve={3: 0.3, 1: 0.1, 2: 0.2}), Training(0, curve={1: 0.3, 3: 0.5})).curve == {
            1: pytest.approx(0.2),
            3: pytest.approx(0.4),
        }
        assert self.trial(Training(0, curve={1: 0.1}), Training(0)).curve == {}

    def test_each_seed_has_its_run(self, any_store: Store, new_run: MakeRun) -> None:
        sweep = begin(any_store, 2, seeds=2)
        keys = [(0, 0), (0, 1), (1, 0), (1, 1)]
        runs = start_runs(any_store, [new_run() for _ in keys], sweep=sweep, worker=0, trials=keys)
        found = find_sweep(any_store, sweep)
        assert [each.run_id for trial in found.trials for each in trial.trainings] == runs
        assert [trial.run_id for trial in found.trials] == [runs[0], runs[2]]


def test_with_results_is_the_sweep_as_it_will_stand(any_store: Store) -> None:
    sweep = begin(any_store, 4, replace(SWEEP, config={"more": [MINIMIZE]}), seeds=2)
    before = report_results(any_store, sweep, 0, [Result(0, seed, Status.COMPLETED, (0.5, 10)) for seed in (0, 1)])
    new = [
        *(Result(1, seed, Status.COMPLETED, (0.9, 50)) for seed in (0, 1)),
        Result(2, 0, Status.DIVERGED),
        Result(2, 1, Status.PRUNED),
        Result(3, 0, Status.COMPLETED, (0.95, 1)),  # and not the other seed
    ]
    expected = before.with_results(new)
    assert [trial.status for trial in before.trials] == [Status.COMPLETED, None, None, None]
    assert [trial.number for trial in expected.front] == [1, 0]
    found = report_results(any_store, sweep, 0, new)
    assert found == expected
    assert (found.ranked, found.front) == (expected.ranked, expected.front)
    assert before.with_results([]) == before


def test_an_unknown_sweep_is_told_with_what_there_is(store: Store) -> None:
    with pytest.raises(UsageError, match="has no sweep 'nightly'; `dlx sweep` makes the first"):
        find_sweep(store, "nightly")
    sweep, _ = start_sweep(store, SWEEP)
    with pytest.raises(UsageError, match=rf"it has {sweep} \(first\)"):
        find_sweep(store, "nightly")
    assert find_sweep(store, "latest").id == find_sweep(store, sweep[:5]).id == sweep
