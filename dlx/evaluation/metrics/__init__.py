"""How good predictions are: every metric of a kind of target, with bootstrap intervals. Formulas: `classes`, `labels`, `numbers`.

Outputs are logits (n, classes) or (n, labels), or predictions (n, numbers) in the data's own units; log-probabilities are logits too,
-inf included. Targets are (n,) classes, (n, labels) of 0 and 1, (n, numbers). All arithmetic is in float64, and agrees with
scikit-learn's on the softmax or sigmoid of the logits. Every metric is a function of example weights: the value itself has weights
of 1, and each resample of the interval has as weights how often it drew each example (`bootstrap`). NumPy does it in
blocks, without compiling: it is as fast here as a program of XLA, for any number of examples, and needs no device.

All raise `DataError` when there is no example, and `RunFailedError` for outputs that are not finite.
"""

from collections.abc import Mapping, Sequence
from typing import assert_never

import numpy as np

from dlx.data.dataset import Supervision
from dlx.errors import DataError, RunFailedError, UsageError
from dlx.evaluation import bootstrap
from dlx.evaluation.metrics.calibration import sigmoid, softmax
from dlx.evaluation.metrics.classes import Classes
from dlx.evaluation.metrics.labels import Labels
from dlx.evaluation.metrics.numbers import Numbers
from dlx.evaluation.metrics.weighted import Judged, Ordered, ordered_statistics, term_sums
from dlx.evaluation.results import Measure, Scores

ORDERED = 1_000_000_000
"""Items times resamples of what goes through the examples in order (ROC-AUC, average precision, medians): some seconds."""


def headline(target: Supervision) -> tuple[str, bool]:
    """The metric to judge by, and whether more of it is better."""
    match target:
        case "class":
            return "accuracy", True
        case "labels":
            return "f1", True
        case "number":
            return "rmse", False
        case _:
            assert_never(target)


def probabilities(target: Supervision, outputs: np.ndarray) -> np.ndarray:
    """float64 of the shape of the outputs: those of the classes or labels; numbers are returned as they are."""
    match target:
        case "class":
            return softmax(outputs)
        case "labels":
            return sigmoid(outputs)
        case "number":
            return outputs.astype(np.float64)
        case _:
            assert_never(target)


def measure(
    target: Supervision,
    outputs: np.ndarray,
    targets: np.ndarray,
    *,
    resamples: int = 1000,
    seed: int = 0,
    top_k: Sequence[int] = (),
) -> Scores:
    """All metrics with their 95 % intervals, and what pictures need; `top_k` empty: 5 where there are more than 5 classes.

    Draws `bootstrap.affordable` of the resamples; 0 for no intervals, which fewer than 10 examples do not have either. Metrics that need the examples in order have their intervals
    from fewer where the examples times classes are very many, and none (None) where fewer than 100 could be afforded.
    """
    judged = _judged(target, outputs, targets, top_k)
    ordered = judged.ordered
    point = _point(judged, ordered)
    overall, each = judged.metrics(point)
    resampled = (
        ({}, {})
        if resamples <= 0 or len(targets) < bootstrap.LEAST
        else judged.metrics(_resampled(judged, ordered, resamples, seed))
    )
    limits = {name: interval(name, values, overall[name]) for name, values in resampled[0].items()}
    limits_each = {name: bootstrap.interval(values) for name, values in resampled[1].items()}
    whole, whole_each = judged.whole()
    confusion, reliability, residuals = judged.pictures(seed)
    return Scores(
        overall={name: _measures(values, limits.get(name))[0] for name, values in overall.items()}
        | {name: Measure(value) for name, value in whole.items()},
        each={name: _measures(values[0], limits_each.get(name)) for name, values in each.items()}
        | {name: _measures(values, None) for name, values in whole_each.items()},
        confusion=confusion,
        reliability=reliability,
        residuals=residuals,
    )


def interval(metric: str, resampled: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The limits of a metric's 95 % interval, from (resamples, ...) about its values (...): percentiles; of `ece` reflected."""
    return bootstrap.reflected(resampled, values) if metric == "ece" else bootstrap.interval(resampled)


def overall(target: Supervision, outputs: np.ndarray, targets: np.ndarray, *, top_k: Sequence[int] = ()) -> dict[str, float]:
    """The metrics of all examples and classes alone, without intervals."""
    judged = _judged(target, outputs, targets, top_k)
    found, _ = judged.metrics(_point(judged, judged.ordered))
    return {name: float(values[0]) for name, values in found.items()} | judged.whole()[0]


def paired(
    target: Supervision,
    outputs_by_run: Sequence[np.ndarray],
    targets: np.ndarray,
    metric: str,
    *,
    resamples: int,
    seed: int,
) -> np.ndarray:
    """(runs, resamples): one metric of each run's outputs for the same examples, on the same resamples.

    The resamples are those of `measure` with this seed. All that are asked for are drawn: `bootstrap.affordable` says how many are
    sensible. Raises `UsageError` for a metric that the target does not have.
    """
    found = [np.empty(resamples) for _ in outputs_by_run]
    runs = [_judged(target, outputs, targets, _top(metric)) for outputs in outputs_by_run]
    ordered = [_needed(judged, metric) for judged in runs]
    start = 0
    for weights in bootstrap.counts(len(targets), resamples, seed):
        for values, judged, order in zip(found, runs, ordered, strict=True):
            values[start : start + len(weights)] = judged.metrics(_sums(judged, order, weights))[0][metric]
        start += len(weights)
    return np.stack(found)


def score(target: Supervision, outputs: np.ndarray, targets: np.ndarray, metric: str) -> float:
    """One metric of `overall`, in less time where it needs no order. Raises `UsageError` for one that the target does not have."""
    judged = _judged(target, outputs, targets, _top(metric))
    return float(judged.metrics(_point(judged, _needed(judged, metric)))[0][metric][0])


def _judged(target: Supervision, outputs: np.ndarray, targets: np.ndarray, top_k: Sequence[int]) -> Judged:
    outputs, targets = np.asarray(outputs), np.asarray(targets)
    if not len(targets):
        raise DataError("there is no example to judge")
    # A probability of 0 is a logit of -inf; a row of nothing else, an infinite certainty of a class, or NaN is no answer.
    finite = np.isfinite(outputs) if target == "number" else ~np.isnan(outputs)
    if target == "class":
        finite = finite & np.isfinite(outputs.max(1, keepdims=True))
    if not finite.all():
        bad = (~finite.all(1)).sum()
        raise RunFailedError(
            f"the outputs of {bad} of {len(outputs)} examples are not finite: look for missing or huge values among the inputs"
        )
    match target:
        case "class":
            return Classes(outputs, targets, top_k)
        case "labels":
            return Labels(outputs, targets)
        case "number":
            return Numbers(outputs, targets)
        case _:
            assert_never(target)


def _sums(judged: Judged, ordered: Mapping[str, Sequence[Ordered]], weights: np.ndarray) -> dict[str, np.ndarray]:
    return term_sums(judged.terms, weights) | ordered_statistics(ordered, weights)


def _point(judged: Judged, ordered: Mapping[str, Sequence[Ordered]]) -> dict[str, np.ndarray]:
    return _sums(judged, ordered, np.ones((1, judged.examples), np.uint8))


def _resampled(judged: Judged, ordered: Mapping[str, Sequence[Ordered]], resamples: int, seed: int) -> dict[str, np.ndarray]:
    """The sums of every resample; those of what is ordered are of the first of them, or absent."""
    items = sum(len(each.rows) for several in ordered.values() for each in several)
    resamples = bootstrap.affordable(judged.examples, resamples)
    left = min(resamples, ORDERED // max(items, 1))
    if left < min(bootstrap.FEWEST, resamples):
        left = 0
    blocks: dict[str, list[np.ndarray]] = {}
    for weights in bootstrap.counts(judged.examples, resamples, seed):
        sums = term_sums(judged.terms, weights)
        if left:
            sums |= ordered_statistics(ordered, weights[:left])
            left -= min(left, len(weights))
        for name, values in sums.items():
            blocks.setdefault(name, []).append(values)
    return {name: np.concatenate(several) for name, several in blocks.items()}


def _needed(judged: Judged, metric: str) -> Mapping[str, Sequence[Ordered]]:
    """What must be put in order for this metric: nothing, for most."""
    if metric in judged.metrics(_point(judged, {}))[0]:
        return {}
    names = judged.metrics(_point(judged, ordered := judged.ordered))[0]
    if metric not in names:
        raise UsageError(f"there is no metric {metric!r} for these targets: choose among {', '.join(names)}")
    return ordered


def _top(metric: str) -> tuple[int, ...]:
    k = metric.removeprefix("accuracy_top")
    return (int(k),) if k != metric and k.isdecimal() and int(k) > 0 else ()


def _measures(values: np.ndarray, limits: tuple[np.ndarray, np.ndarray] | None) -> tuple[Measure, ...]:
    if limits is None:
        return tuple(Measure(float(value)) for value in values)
    pairs = zip(values, *(np.ravel(each) for each in limits), strict=True)
    return tuple(
        Measure(float(value)) if np.isnan(value) or np.isnan(low) else Measure(float(value), float(low), float(high))
        for value, low, high in pairs
    )
