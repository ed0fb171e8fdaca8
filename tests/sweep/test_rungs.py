"""Rungs: where trials are compared, and who goes on. A rung is judged as a whole, and one trial at a time as Optuna does."""

import math
import random
from collections import Counter

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlx.config.pruner import (
    HalvingPruner,
    HyperbandPruner,
    MedianPruner,
    NoPruner,
    PatientPruner,
    PercentilePruner,
    PrunerConfig,
    ThresholdPruner,
)
from dlx.sweep.rungs import bracket, prune, rungs

NAN = float("nan")
INF = float("inf")
EVERY: tuple[PrunerConfig, ...] = (
    NoPruner(),
    MedianPruner(startup_trials=1),
    PercentilePruner(startup_trials=3, percentile=40, warmup_steps=1, interval_steps=2),
    HalvingPruner(),
    HalvingPruner(min_resource=2, reduction_factor=2, min_early_stopping_rate=1),
    HyperbandPruner(),
    HyperbandPruner(reduction_factor=2),
    ThresholdPruner(lower=-1, upper=1),
    PatientPruner(patience=2),
    PatientPruner(patience=1, wrapped=MedianPruner(startup_trials=1), min_delta=0.5),
    PatientPruner(patience=0, wrapped=HyperbandPruner(reduction_factor=2)),
)
exact = settings(derandomize=True, deadline=None)


def at_rung(*values: float, at: int = 1) -> dict[int, dict[int, float]]:
    """Trials 0, 1, ... that all have just a value at this evaluation."""
    return {number: {at: value} for number, value in enumerate(values)}


def best_so_far(values: list[float], maximize: bool) -> list[float]:
    """NaN until the first number."""
    found: list[float] = []
    for value in values:
        known = [v for v in (*found[-1:], value) if not math.isnan(v)]
        found.append((max if maximize else min)(known, default=NAN))
    return found


@st.composite
def scenes(draw: st.DrawFn) -> tuple[dict[int, dict[int, float]], list[int], int, int]:
    """Curves of best values so far (smaller is better), the trials at a point, the point, and the length."""
    total = draw(st.integers(2, 30))
    at = draw(st.integers(1, total))
    # Multiples of 1/4 add and compare exactly; few of them make ties.
    value = st.one_of(st.integers(-8, 8).map(lambda n: n / 4), st.just(NAN))
    curves, here = {}, []
    for number in draw(st.lists(st.integers(0, 60), max_size=14, unique=True)):
        length = at if draw(st.booleans()) else draw(st.integers(0, total))
        curve = best_so_far(draw(st.lists(value, min_size=length, max_size=length)), maximize=False)
        curves[number] = dict(enumerate(curve, start=1))
        if length == at and draw(st.booleans()):
            here.append(number)
    return curves, here, at, total


# -------------------------------------------------------------------------------------------------------------- rungs


@pytest.mark.parametrize(
    ("pruner", "total", "expected"),
    [
        (NoPruner(), 9, ()),
        (MedianPruner(), 5, (1, 2, 3, 4)),
        (MedianPruner(), 1, ()),
        (MedianPruner(warmup_steps=2), 6, (3, 4, 5)),
        (PercentilePruner(warmup_steps=1, interval_steps=3), 9, (2, 5, 8)),
        (ThresholdPruner(upper=1, interval_steps=2), 7, (1, 3, 5)),
        (MedianPruner(warmup_steps=9), 9, ()),
        (HalvingPruner(), 27, (1, 3, 9)),  # 27 is the end
        (HalvingPruner(), 28, (1, 3, 9, 27)),
        (HalvingPruner(), 5, (1, 3)),
        (HalvingPruner(), 1, ()),
        (HalvingPruner(), 100, (3, 9, 27, 81)),
        (HalvingPruner(min_resource=2, reduction_factor=4), 100, (2, 8, 32)),
        (HalvingPruner(min_resource=1, min_early_stopping_rate=2), 81, (9, 27)),
        (HyperbandPruner(), 27, (1, 3, 9)),
        (HyperbandPruner(min_resource=2, reduction_factor=2), 16, (2, 4, 8)),
        (HyperbandPruner(min_resource=50), 16, ()),
        (PatientPruner(patience=2), 6, (3, 4, 5)),
        (PatientPruner(patience=0), 4, (2, 3)),
        (PatientPruner(patience=2, wrapped=HalvingPruner()), 27, (1, 3, 9)),
    ],
)
def test_where_trials_are_compared(pruner: PrunerConfig, total: int, expected: tuple[int, ...]) -> None:
    assert rungs(pruner, total) == expected


@exact
@given(st.sampled_from(EVERY), st.integers(1, 300))
def test_rungs_ascend_and_end_before_the_training_does(pruner: PrunerConfig, total: int) -> None:
    found = rungs(pruner, total)
    assert list(found) == sorted(set(found))
    assert all(1 <= rung < total for rung in found)


# ------------------------------------------------------------------------------------------------------- every pruner


@exact
@given(st.sampled_from(EVERY), scenes())
def test_only_trials_at_a_rung_stop(pruner: PrunerConfig, scene) -> None:
    curves, here, at, total = scene
    doomed = prune(pruner, curves, here, at, total, maximize=False)
    assert doomed <= set(here)
    assert not doomed or at in rungs(pruner, total)


@exact
@given(st.sampled_from([p for p in EVERY if not isinstance(p, ThresholdPruner)]), scenes())
def test_to_minimize_is_to_maximize_the_negative(pruner: PrunerConfig, scene) -> None:
    curves, here, at, total = scene
    negative = {number: {e: -value for e, value in curve.items()} for number, curve in curves.items()}
    assert prune(pruner, curves, here, at, total, maximize=False) == prune(pruner, negative, here, at, total, maximize=True)


@exact
@given(st.sampled_from(EVERY), scenes(), st.randoms(use_true_random=False))
def test_the_order_of_the_history_does_not_matter(pruner: PrunerConfig, scene, shuffle: random.Random) -> None:
    curves, here, at, total = scene
    numbers = list(curves)
    shuffle.shuffle(numbers)
    mixed = {n: curves[n] for n in numbers}
    again = [n for n in numbers if n in here]
    assert prune(pruner, mixed, again, at, total, maximize=False) == prune(pruner, curves, here, at, total, maximize=False)


@exact
@given(st.sampled_from([MedianPruner(startup_trials=0), PercentilePruner(startup_trials=0), HalvingPruner()]), scenes())
def test_nobody_stops_while_a_worse_one_goes_on(pruner: PrunerConfig, scene) -> None:
    curves, here, at, total = scene
    doomed = prune(pruner, curves, here, at, total, maximize=False)
    values = {n: curves[n][at] for n in here}
    numbers = {n: v for n, v in values.items() if not math.isnan(v)}
    for n in doomed & numbers.keys():
        assert all(values[other] <= numbers[n] for other in set(here) - doomed)
    if numbers and at in rungs(pruner, total):
        assert values.keys() - numbers.keys() <= doomed


@pytest.mark.parametrize("pruner", EVERY, ids=lambda p: p.kind)
def test_an_empty_rung(pruner: PrunerConfig) -> None:
    assert prune(pruner, {}, [], 3, 9, maximize=True) == set()


# -------------------------------------------------------------------------------------------- the median and percentile


@pytest.mark.parametrize(("lanes", "survivors"), [(1, 1), (2, 1), (4, 2), (5, 3), (16, 8), (17, 9)])
def test_the_better_half_of_a_batch_passes_the_median(lanes: int, survivors: int) -> None:
    curves = at_rung(*range(lanes))
    doomed = prune(MedianPruner(startup_trials=1), curves, range(lanes), 1, 2, maximize=False)
    assert doomed == set(range(survivors, lanes))


@pytest.mark.parametrize(("percentile", "survivors"), [(1, 1), (25, 4), (50, 8), (75, 12), (99, 15)])
def test_the_best_per_cent_pass(percentile: float, survivors: int) -> None:
    pruner = PercentilePruner(percentile=percentile)
    doomed = prune(pruner, at_rung(*range(16)), range(16), 1, 2, maximize=True)
    assert doomed == set(range(16 - survivors))


def test_equals_at_the_median_all_pass() -> None:
    assert prune(MedianPruner(), at_rung(2, 1, 1, 1, 1, 3), range(6), 1, 2, maximize=False) == {0, 5}
    assert prune(MedianPruner(), at_rung(1, 1, 1, 1, 1, 1), range(6), 1, 2, maximize=False) == set()


@pytest.mark.parametrize(("startup", "doomed"), [(0, {2, 3}), (4, {2, 3}), (5, set())])
def test_nothing_stops_before_the_startup_trials(startup: int, doomed: set[int]) -> None:
    assert prune(MedianPruner(startup_trials=startup), at_rung(1, 2, 3, 4), range(4), 1, 2, maximize=False) == doomed


def test_those_that_stopped_stand_with_their_last_value() -> None:
    """Without them the median would halve 8 survivors to 4, 2 and 1, although they beat everything that was stopped."""
    curves = at_rung(*range(16))
    here = set(range(16))
    pruner = MedianPruner()
    here -= prune(pruner, curves, here, 1, 9, maximize=False)
    assert here == set(range(8))
    for at in range(2, 9):
        for number in here:
            curves[number][at] = number - 0.01 * at
        assert prune(pruner, curves, here, at, 9, maximize=False) == set()


def test_a_later_batch_is_compared_with_all_before_at_the_same_point() -> None:
    first = {n: {1: 10.0 + n, 2: 5.0 + n, 3: 0.0} for n in range(5)}
    second = {5: {1: 11.5}, 6: {1: 12.5}}  # worse than all the first have now, not than they had at 1
    assert prune(MedianPruner(), first | second, [5, 6], 1, 4, maximize=False) == {6}
    gaps = {n: {1: curve[1], 3: curve[3]} for n, curve in first.items()}  # unknown at 2: as at 1
    assert prune(MedianPruner(), gaps | {5: {2: 11.5}, 6: {2: 12.5}}, [5, 6], 2, 4, maximize=False) == {6}
    unknown = {n: {3: 0.0} for n in range(5)}  # nothing known up to 1: too few to compare
    assert prune(MedianPruner(), unknown | second, [5, 6], 1, 4, maximize=False) == set()


@pytest.mark.parametrize("pruner", [MedianPruner(), PercentilePruner(percentile=90), HalvingPruner(reduction_factor=2)])
def test_nan_is_worst_and_stops_where_there_is_a_number(pruner: PrunerConfig) -> None:
    values = [NAN, 7.0, NAN, NAN, NAN, NAN, NAN]
    assert prune(pruner, at_rung(*values), range(7), 1, 2, maximize=True) == {0, 2, 3, 4, 5, 6}
    assert prune(pruner, at_rung(*values), [0, 2], 1, 2, maximize=True) == {0, 2}


def test_nan_counts_among_the_worst() -> None:
    values = [NAN, 1.0, 3.0, 2.0, NAN, NAN]
    assert prune(MedianPruner(), at_rung(*values), range(6), 1, 2, maximize=False) == {0, 4, 5}
    assert prune(HalvingPruner(), at_rung(*values), range(6), 1, 2, maximize=False) == {0, 2, 4, 5}
    values = [NAN, 1.0, INF, -INF, NAN, NAN]
    assert prune(MedianPruner(), at_rung(*values), range(6), 1, 2, maximize=False) == {0, 4, 5}


def test_where_all_are_nan_nobody_is_worse() -> None:
    curves = at_rung(*[NAN] * 6)
    assert prune(MedianPruner(), curves, range(6), 1, 2, maximize=True) == set()
    assert prune(HalvingPruner(), curves, range(6), 1, 2, maximize=True) == {2, 3, 4, 5}


# -------------------------------------------------------------------------------------------------- successive halving


def test_27_lanes_leave_9_3_and_1() -> None:
    shuffled = random.Random(0).sample(range(27), 27)
    curves: dict[int, dict[int, float]] = {number: {} for number in range(27)}
    here, left = set(range(27)), []
    for at in rungs(HalvingPruner(), 27):
        for number in here:
            curves[number][at] = shuffled[number] + at
        here -= prune(HalvingPruner(), curves, here, at, 27, maximize=True)
        left.append(len(here))
    assert left == [9, 3, 1]
    assert shuffled[here.pop()] == 26


@exact
@given(scenes(), st.integers(2, 5))
def test_at_most_one_in_eta_passes(scene, eta: int) -> None:
    curves, here, at, total = scene
    pruner = HalvingPruner(reduction_factor=eta)
    reached = [curve[at] for curve in curves.values() if at in curve]
    left = set(here) - prune(pruner, curves, here, at, total, maximize=False)
    if at in rungs(pruner, total):
        room = max(1, len(reached) // eta)
        assert len(left) <= room
        if set(here) == {n for n, curve in curves.items() if at in curve} and not any(map(math.isnan, reached)):
            assert len(left) == min(room, len(here))
    else:
        assert left == set(here)


def test_of_equals_the_first_goes_on() -> None:
    assert prune(HalvingPruner(), at_rung(1, 1, 1, 1, 1, 1), [5, 4, 3, 2, 1, 0], 1, 2, maximize=True) == {2, 3, 4, 5}


def test_a_later_cohort_competes_with_all_that_were_at_its_rung() -> None:
    history = {n: {1: float(n)} for n in range(9)} | {9: {2: 0.0}, 10: {3: 0.0}, 11: {}}  # 9 to 11 are unknown at 1
    assert prune(HalvingPruner(), history | {12: {1: 1.5}, 13: {1: 3.5}, 14: {1: 0.5}}, [12, 13, 14], 1, 9, maximize=False) == {
        13
    }
    assert prune(HalvingPruner(), history | {12: {1: 4.5}, 13: {1: 5.5}, 14: {1: 6.5}}, [12, 13, 14], 1, 9, maximize=False) == {
        12,
        13,
        14,
    }
    assert (
        prune(HalvingPruner(), history | {12: {2: 9.0}, 13: {2: 8.0}}, [12, 13], 2, 9, maximize=False) == set()
    )  # 2 is no rung


# ------------------------------------------------------------------------------------------------------------ hyperband


@pytest.mark.parametrize(
    ("pruner", "total", "sizes"),
    [
        (HyperbandPruner(), 27, [27, 12, 6, 4]),
        (HyperbandPruner(min_resource=1), 81, [81, 34, 15, 8, 5]),
        (HyperbandPruner(min_resource=1), 243, [243, 98, 41, 18, 9, 6]),  # five powers of 3 exactly
        (HyperbandPruner(reduction_factor=4), 64, [64, 22, 8, 4]),
        (HyperbandPruner(min_resource=3), 26, [3, 2]),
        (HyperbandPruner(min_resource=10), 9, [1]),
        (HyperbandPruner(), 1, [1]),
    ],
)
def test_brackets_have_the_proportions_of_hyperbands_budgets(pruner: HyperbandPruner, total: int, sizes: list[int]) -> None:
    period = sum(sizes)
    numbers = [bracket(pruner, n, total) for n in range(2 * period)]
    assert numbers[:period] == numbers[period:]
    assert Counter(numbers[:period]) == dict(enumerate(sizes))
    for index, size in enumerate(sizes):  # no long blocks: never much more than a trial from its share
        for n in range(period):
            assert abs(numbers[: n + 1].count(index) - (n + 1) * size / period) < 1.5


@pytest.mark.parametrize(("total", "brackets", "batch"), [(27, 4, 16), (50, 4, 16), (100, 5, 32), (1000, 5, 32)])
def test_a_batch_has_all_brackets(total: int, brackets: int, batch: int) -> None:
    for first in range(0, 10 * batch, batch):
        assert {bracket(HyperbandPruner(), first + n, total) for n in range(batch)} == set(range(brackets))


def test_each_bracket_is_halved_on_its_own_and_at_its_own_rungs() -> None:
    pruner, total = HyperbandPruner(), 27
    members = {index: [n for n in range(49) if bracket(pruner, n, total) == index] for index in range(4)}
    curves: dict[int, dict[int, float]] = {n: {} for n in range(49)}
    here, left = set(range(49)), {}
    for at in rungs(pruner, total):
        for number in here:
            curves[number][at] = number + 100 * bracket(pruner, number, total)
        here -= prune(pruner, curves, here, at, total, maximize=True)
        left[at] = [len(here.intersection(members[index])) for index in range(4)]
    assert left == {1: [9, 12, 6, 4], 3: [3, 4, 6, 4], 9: [1, 1, 2, 4]}  # the last bracket runs to the end, all of it
    assert max(members[0]) in here


# -------------------------------------------------------------------------------------------------- threshold, patience


def test_what_is_beyond_a_limit_stops() -> None:
    curves = at_rung(-1.5, -1, 0, 1, 1.5, NAN, INF)
    assert prune(ThresholdPruner(lower=-1, upper=1), curves, range(7), 1, 2, maximize=True) == {0, 4, 5, 6}
    assert prune(ThresholdPruner(lower=-1), curves, range(7), 1, 2, maximize=True) == {0, 5}
    assert prune(ThresholdPruner(upper=1), curves, range(4), 1, 2, maximize=False) == set()
    assert prune(ThresholdPruner(upper=1, warmup_steps=1), curves, range(7), 1, 3, maximize=False) == set()


@pytest.mark.parametrize(
    ("curve", "at", "stops"),
    [
        ({1: 3.0, 2: 2.0, 3: 2.0}, 3, False),
        ({1: 3.0, 2: 2.0, 3: 2.0, 4: 2.0}, 4, True),
        ({1: 3.0, 2: 2.0, 3: 2.0, 4: 1.5}, 4, True),  # better by no more than min_delta
        ({1: 3.0, 2: 2.0, 3: 1.75, 4: 1.25}, 4, False),
        ({1: 2.0, 4: 2.0}, 4, True),  # what was at 2 is what was at 1
        ({3: 2.0, 4: 2.0}, 4, False),  # nothing known so long ago
        ({1: NAN, 2: NAN, 3: 5.0, 4: 5.0}, 4, False),
        ({1: NAN, 2: NAN, 3: NAN, 4: NAN}, 4, True),
        ({2: INF, 4: INF}, 4, True),
    ],
)
def test_what_does_not_improve_for_too_long_stops(curve: dict[int, float], at: int, stops: bool) -> None:
    pruner = PatientPruner(patience=2, min_delta=0.5)
    assert prune(pruner, {7: curve}, [7], at, 9, maximize=False) == ({7} if stops else set())


def test_no_patience_asks_each_evaluation_for_an_improvement() -> None:
    pruner = PatientPruner(patience=0)
    assert prune(pruner, {0: {1: 2.0}}, [0], 1, 9, maximize=True) == set()
    assert prune(pruner, {0: {1: 2.0, 2: 2.0}, 1: {1: 2.0, 2: 2.5}}, [0, 1], 2, 9, maximize=True) == {0}


def test_patience_holds_another_pruner_back() -> None:
    flat = {1: 1.0, 2: 1.0, 3: 1.0}
    rising = {1: 0.0, 2: 0.0, 3: 0.5}
    better = {1: 2.0, 2: 2.0, 3: 2.0}
    curves = {0: flat, 1: rising, 2: better, 3: better}
    median = MedianPruner(startup_trials=1)
    assert prune(median, curves, range(4), 3, 9, maximize=True) == {0, 1}
    assert prune(PatientPruner(patience=1, wrapped=median), curves, range(4), 3, 9, maximize=True) == {0}
    halving = PatientPruner(patience=1, wrapped=HalvingPruner(reduction_factor=2))  # whose rungs are 1, 2, 4, ...
    assert prune(halving, curves, range(4), 3, 9, maximize=True) == set()


# --------------------------------------------------------------------------------------------------- Optuna's own rules


def random_curves(seed: int, trials: int, total: int) -> list[list[float]]:
    """Best values so far (greater is better) that rise in turn past each other, no two alike."""
    source = random.Random(seed)
    return [best_so_far([source.random() * (1 + e) for e in range(total)], maximize=True) for _ in range(trials)]


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize(("percentile", "history"), [(50.0, 5), (50.0, 9), (25.0, 5), (25.0, 13), (75.0, 9), (10.0, 11)])
def test_one_trial_against_completed_ones_as_optunas_percentile(percentile: float, history: int, direction: str) -> None:
    """A trial alone at a rung, after others ran to their end.

    Optuna compares it with the others, we with the others and itself. The two are the same wherever the percentile of the
    others falls on one of them, as with 5, 9, 13 others and 25 per cent; between two, Optuna's is their interpolation and
    ours one of the two, of which neither is stricter throughout. `step` is 0 at Optuna where the evaluation is 1.
    """
    total, maximize = 6, direction == "maximize"
    theirs = optuna.pruners.PercentilePruner(percentile, n_startup_trials=5, n_warmup_steps=1, interval_steps=2)
    ours = PercentilePruner(percentile=percentile, startup_trials=5, warmup_steps=1, interval_steps=2)
    decisions = Counter()
    for seed in range(20):
        *past, new = [[v if maximize else -v for v in c] for c in random_curves(seed, history + 1, total)]
        study = optuna.create_study(direction=direction, pruner=theirs)
        for curve in past:
            study.add_trial(optuna.trial.create_trial(value=curve[-1], intermediate_values=dict(enumerate(curve))))
        trial = study.ask()
        curves = {n: dict(enumerate(curve, start=1)) for n, curve in enumerate(past)} | {history: {}}
        for at, value in enumerate(new[:-1], start=1):
            trial.report(value, at - 1)
            curves[history][at] = value
            stops = bool(prune(ours, curves, [history], at, total, maximize))
            assert stops == trial.should_prune()
            decisions[stops] += 1
    assert min(decisions[True], decisions[False]) > 5


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize(("eta", "rate"), [(3, 0), (2, 0), (2, 1), (4, 0)])
def test_one_trial_after_the_other_as_optunas_successive_halving(eta: int, rate: int, direction: str) -> None:
    """Sequentially, with no two values alike and the last evaluation left out, the two decide alike.

    They differ in this: Optuna lets all that tie with the last survivor pass, we the lower number; Optuna stops NaN also
    where there is nothing else, and does not count it among the n; Optuna has a rung at the end too. And a trial of a
    lockstep cohort is judged with the whole cohort, where Optuna passes the first max(1, n // eta) that happen to report.
    """
    total, maximize = 20, direction == "maximize"
    theirs = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=eta, min_early_stopping_rate=rate)
    ours = HalvingPruner(min_resource=1, reduction_factor=eta, min_early_stopping_rate=rate)
    study = optuna.create_study(direction=direction, pruner=theirs)
    curves: dict[int, dict[int, float]] = {}
    lengths = Counter()
    for number, values in enumerate(random_curves(1, 60, total)):
        trial = study.ask()
        curves[number] = {}
        stops = False
        for at, value in enumerate(values[:-1], start=1):
            curves[number][at] = value if maximize else -value
            trial.report(curves[number][at], at)
            stops = bool(prune(ours, curves, [number], at, total, maximize))
            assert stops == trial.should_prune()
            if stops:
                break
        lengths[len(curves[number])] += 1
        study.tell(trial, None if stops else values[-1], state=optuna.trial.TrialState.PRUNED if stops else None)
    assert set(lengths) >= {*rungs(ours, total)[:2], total - 1}
