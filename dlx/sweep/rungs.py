"""Rungs: the evaluations at which the trials of a sweep are compared, and which of them stop there.

Cohorts train in lockstep, so a whole batch of trials stands at a rung at once. Optuna's own pruners judge one trial after
the other: the median looks only at completed trials, of which a first batch has none, and successive halving lets whoever
reports first pass. Here a rung is judged as a whole, against everything the sweep has seen.

Evaluations are counted from 1 to `total`, the last of which is the end of the training and no rung. A trial's value is the
best of its objective so far. NaN is the worst value, and never survives where another trial has a number.
"""

from collections.abc import Collection, Mapping
from math import isnan
from typing import assert_never

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

Curves = Mapping[int, Mapping[int, float]]
"""Trial number -> evaluation -> best value so far; of any trial some evaluations may be unknown."""


def rungs(pruner: PrunerConfig, total: int) -> tuple[int, ...]:
    """The evaluations below `total` at which trials are compared, in order."""
    match pruner:
        case NoPruner():
            return ()
        case MedianPruner() | PercentilePruner() | ThresholdPruner():
            return tuple(range(pruner.warmup_steps + 1, total, pruner.interval_steps))
        case HalvingPruner():
            eta = pruner.reduction_factor
            return _powers(_min_resource(pruner, total) * eta**pruner.min_early_stopping_rate, eta, total)
        case HyperbandPruner():  # the first bracket's, which all others are the ends of
            return _powers(_min_resource(pruner, total), pruner.reduction_factor, total)
        case PatientPruner(wrapped=NoPruner()):
            return tuple(range(_window(pruner) + 1, total))
        case PatientPruner():
            return rungs(pruner.wrapped, total)
    assert_never(pruner)


def bracket(pruner: HyperbandPruner, number: int, total: int) -> int:
    """The Hyperband bracket of a trial, 0 for the one that stops the earliest. It depends on the number alone.

    Brackets get trials in the proportions of Hyperband's budgets, n_s = ceil((s_max + 1) / (s + 1) * eta**s) with
    s = s_max - bracket and s_max = floor(log_eta(total / min_resource)) (Li et al. 2018, algorithm 1).
    """
    turns = _turns(pruner, total)
    return turns[number % len(turns)]


def prune(pruner: PrunerConfig, curves: Curves, here: Collection[int], at: int, total: int, maximize: bool) -> set[int]:
    """Which of the trials `here`, all at evaluation `at`, stop there. None do where `at` is no rung.

    `curves` holds all trials of the sweep, ended or running, also those in `here`.
    """
    if at not in rungs(pruner, total):
        return set()
    match pruner:
        case MedianPruner():
            return _below(50.0, pruner.startup_trials, curves, here, at, maximize)
        case PercentilePruner():
            return _below(pruner.percentile, pruner.startup_trials, curves, here, at, maximize)
        case HalvingPruner():
            return _halve(pruner.reduction_factor, _reached(curves, at), here, maximize)
        case HyperbandPruner():
            return _hyperband(pruner, _reached(curves, at), here, at, total, maximize)
        case ThresholdPruner():
            return {n for n in here if not _within(pruner, curves[n][at])}
        case PatientPruner():
            stalled = {n for n in here if _stalls(pruner, curves[n], at, maximize)}
            if isinstance(pruner.wrapped, NoPruner):
                return stalled
            return stalled & prune(pruner.wrapped, curves, here, at, total, maximize)
        case NoPruner():
            return set()
    assert_never(pruner)


def _min_resource(pruner: HalvingPruner | HyperbandPruner, total: int) -> int:
    rungs_below_the_end = 4 if isinstance(pruner, HyperbandPruner) else 3
    return pruner.min_resource or max(1, total // pruner.reduction_factor**rungs_below_the_end)


def _powers(first: int, eta: int, total: int) -> tuple[int, ...]:
    """Numbers first * eta**k below `total`, for k = 0, 1, ..."""
    found = []
    while first < total:
        found.append(first)
        first *= eta
    return tuple(found)


def _turns(pruner: HyperbandPruner, total: int) -> list[int]:
    """One period of brackets, each as often as its budget has trials, and as evenly spread as that allows.

    The turns of a bracket with n of them lie at (k + 1/2) / n of the period (Webster's method), so that even a small batch
    has trials of every bracket.
    """
    eta = pruner.reduction_factor
    s_max = len(_powers(_min_resource(pruner, total), eta, total + 1)) - 1  # in whole numbers: log(243, 3) is below 5
    s_max = max(s_max, 0)  # a min_resource beyond the end leaves one bracket, which has no rungs
    sizes = [-(-(s_max + 1) * eta**s // (s + 1)) for s in range(s_max, -1, -1)]
    places = sorted(((2 * k + 1) / size, index) for index, size in enumerate(sizes) for k in range(size))
    return [index for _, index in places]


def _reached(curves: Curves, at: int) -> dict[int, float]:
    """The value of every trial that is known at just this evaluation."""
    return {n: curve[at] for n, curve in curves.items() if at in curve}


def _standing(curves: Curves, at: int) -> dict[int, float]:
    """The value of every trial at this evaluation or, where it has none, the last known one before.

    A trial that ended earlier has to stand in the comparison. Without those that were stopped, each rung would compare the
    survivors with one another alone, and halve them again and again until one is left. A trial elsewhere that is still on its
    way here looks the same as an ended one, and counts with what it has.
    """
    known = {n: [e for e in curve if e <= at] for n, curve in curves.items()}
    return {n: curves[n][max(evaluations)] for n, evaluations in known.items() if evaluations}


def _badness(value: float, maximize: bool) -> tuple[bool, float]:
    """A value in an order where less is better and NaN comes last."""
    return (True, 0.0) if isnan(value) else (False, -value if maximize else value)


def _below(percentile: float, startup: int, curves: Curves, here: Collection[int], at: int, maximize: bool) -> set[int]:
    """Those strictly worse than the percentile of all standing trials.

    NumPy and Optuna interpolate between the values of two ranks, (n - 1) * percentile / 100 rounded down and up. As all
    `here` are among the n, what is worse than the interpolated value is what is worse than the lower of the two.
    """
    standing = {n: _badness(value, maximize) for n, value in _standing(curves, at).items()}
    if not here or len(standing) < startup:
        return set()
    ranked = sorted(standing.values())
    last = ranked[int((len(ranked) - 1) * percentile / 100)]
    if last[0]:  # so many are NaN that the percentile is: a number then still beats them
        last = max((badness for badness in ranked if not badness[0]), default=last)
    return {n for n in here if standing[n] > last}


def _halve(eta: int, values: Mapping[int, float], here: Collection[int], maximize: bool) -> set[int]:
    """All but the best max(1, floor(n / eta)) of the n values at a rung; of equals the lower number goes on.

    This is ASHA's rule (Li et al. 2018, algorithm 2) without its waiting: who is not promotable on arrival stops for good.
    """
    badness = {n: _badness(value, maximize) for n, value in values.items()}
    ranked = sorted(badness, key=lambda n: (badness[n], n))
    kept = set(ranked[: max(1, len(ranked) // eta)])
    return {n for n in here if n not in kept or badness[n][0] > badness[ranked[0]][0]}


def _hyperband(
    pruner: HyperbandPruner, values: Mapping[int, float], here: Collection[int], at: int, total: int, maximize: bool
) -> set[int]:
    """Halves every bracket that has a rung here, on its own."""
    eta, turns = pruner.reduction_factor, _turns(pruner, total)
    first = _min_resource(pruner, total)
    doomed = set()
    for index in range(len(set(turns))):
        if first * eta**index <= at:
            members = {n: value for n, value in values.items() if turns[n % len(turns)] == index}
            doomed |= _halve(eta, members, [n for n in here if n in members], maximize)
    return doomed


def _within(pruner: ThresholdPruner, value: float) -> bool:
    """Whether a value is a number between the limits."""
    lower = float("-inf") if pruner.lower is None else pruner.lower
    upper = float("inf") if pruner.upper is None else pruner.upper
    return lower <= value <= upper


def _window(pruner: PatientPruner) -> int:
    """How far back an improvement is looked for. A value is no improvement over itself: no patience is one evaluation."""
    return max(1, pruner.patience)


def _stalls(pruner: PatientPruner, curve: Mapping[int, float], at: int, maximize: bool) -> bool:
    """Whether the best value improved by at most min_delta over the last `patience` evaluations.

    Optuna instead subtracts min_delta from what came before, so that a curve which stands still goes on; but the best so far
    never gets worse.
    """
    before = [e for e in curve if e <= at - _window(pruner)]
    if not before:
        return False
    (was_nan, was), (is_nan, now) = _badness(curve[max(before)], maximize), _badness(curve[at], maximize)
    return is_nan or not (was_nan or was - now > pruner.min_delta)
