"""Which run is better, and is it more than luck? Judged on the same examples, from stored predictions.

Runs of one configuration that differ in nothing but the seed are one candidate with several seeds. Without such repeats a
comparison tells about the networks at hand: shares of right examples go by McNemar's test, every other metric by the paired
bootstrap. With repeats examples and seeds both count (`significance` has the arithmetic). The best candidate is chosen by
looking, so that p values are corrected for all pairs, not only for those with the best one: among ten equal candidates the
best and the worst lie farther apart than any two drawn beforehand.
"""

import difflib
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from dlx.errors import DataError, RunFailedError, UsageError
from dlx.evaluation.bootstrap import RESAMPLES, affordable
from dlx.evaluation.comparison import Candidate, Comparison, Difference, Verdict
from dlx.evaluation.metrics import headline, interval, overall, paired, score
from dlx.evaluation.predictions import Predictions
from dlx.evaluation.results import Measure
from dlx.evaluation.same_examples import check_same_examples
from dlx.evaluation.significance import LEVEL, Estimate, Figure, SeedSpread, differ, holm, level, mcnemar, seed_spread
from dlx.store import RunSummary

SMALLER_IS_BETTER: Final = frozenset(
    {
        "log_loss",
        "brier",
        "ece",
        "hamming_loss",
        "coverage_error",
        "label_ranking_loss",
        "rmse",
        "mae",
        "median_absolute_error",
    }
)
NOT_COMPARED: Final = frozenset({"bias", "max_error"})
"""More or less of the one is neither better nor worse; of the other, an extreme, no bootstrap tells the error."""
_FEW: Final = 30


@dataclass(frozen=True)
class Entry:
    """A run, and what it said of the examples."""

    run: RunSummary
    predictions: Predictions
    notices: tuple[str, ...] = ()
    """One sentence for each thing that is not as it was in training."""


def compare(entries: Sequence[Entry], metric: str | None = None, *, resamples: int = RESAMPLES, seed: int = 0) -> Comparison:
    """Judges runs by one metric (the task's headline by default), the best first. `seed` draws the resamples.

    Raises `DataError` for runs that were not judged on the same examples, `UsageError` for fewer than two runs and for a
    metric that is unknown or ranks nothing.
    """
    if len(entries) < 2:
        raise UsageError("a comparison needs two different runs or more")
    notes = [notice for entry in entries for notice in entry.notices]
    notes += check_same_examples([(entry.run, entry.predictions) for entry in entries])
    groups, found = _candidates(entries)
    notes += found
    first = entries[0].predictions
    metric = metric or headline(first.target)[0]
    if len(first.targets) < 2:
        raise DataError(f"the {first.split} part has {len(first.targets)} examples: a comparison needs two or more")
    _check_metric(first, metric)
    resamples = affordable(len(first.targets), resamples)
    figures, left_out = _figures(groups, metric, resamples, seed)
    maximize = metric not in SMALLER_IS_BETTER
    order = sorted(range(len(groups)), key=lambda i: figures[i].mean, reverse=maximize)  # stable: as typed among equals
    groups, figures = [groups[i] for i in order], [figures[i] for i in order]
    spread = seed_spread(figures)
    differences = _differences(groups, figures, metric, spread)
    names = _names(groups)
    return Comparison(
        metric=metric,
        maximize=maximize,
        split=first.split,
        examples=len(first.targets),
        resamples=resamples,
        candidates=tuple(
            _candidate(metric, name, group, figure, difference, verdict, spread)
            for name, group, figure, difference, verdict in zip(
                names, groups, figures, differences, _verdicts(differences), strict=True
            )
        ),
        seeds_matter=spread is not None,
        notes=(*notes, *left_out, *_warnings(names, groups, spread, len(first.targets))),
    )


def _candidates(entries: Sequence[Entry]) -> tuple[list[list[Entry]], list[str]]:
    """The runs by configuration, in the order in which they came, and what is to be said of that."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(_configuration(entry), []).append(entry)
    if len(groups) == 1:
        alike = all(entry.run.config == entries[0].run.config for entry in entries)
        what = "nothing, not even the seed" if alike else "nothing but the seed"
        return [[entry] for entry in entries], [
            f"the configurations differ in {what}: a difference between these networks says nothing about their configuration"
        ]
    notes = []
    kept: list[list[Entry]] = []
    for group in groups.values():
        kept.append([])
        for entry in group:
            outputs = entry.predictions.outputs
            same = next((other for other in kept[-1] if np.array_equal(other.predictions.outputs, outputs)), None)
            if same is None:
                kept[-1].append(entry)
            else:
                notes.append(f"run {entry.run.id} has the very outputs of run {same.run.id}: the two count as one")
    return kept, notes


def _configuration(entry: Entry) -> str:
    """The config without its seeds. Examples are known to be the same: what `data.seed` still decides is luck as `train.seed` is."""
    tree = {
        section: {key: value for key, value in values.items() if (section, key) not in (("train", "seed"), ("data", "seed"))}
        if isinstance(values, dict)
        else values
        for section, values in entry.run.config.items()
    }
    return json.dumps(tree, sort_keys=True)


def _figures(groups: Sequence[Sequence[Entry]], metric: str, resamples: int, seed: int) -> tuple[list[Figure], list[str]]:
    """The metric of every candidate, on the examples and on resamples of them."""
    every = [entry for group in groups for entry in group]
    first = every[0].predictions
    values = [_value(entry, metric) for entry in every]
    outputs = [entry.predictions.outputs for entry in every]
    drawn = np.asarray(paired(first.target, outputs, first.targets, metric, resamples=resamples, seed=seed), np.float64)
    defined = np.isfinite(drawn).all(axis=0)
    if defined.sum() < max(resamples / 2, 2):
        raise DataError(
            f"{metric} is not defined on {resamples - int(defined.sum()):,} of {resamples:,} resamples of the "
            f"{len(first.targets):,} {first.split} examples: compare by another --metric"
        )
    notes = []
    if left_out := resamples - int(defined.sum()):
        notes.append(f"{metric} is not defined on {left_out:,} of {resamples:,} resamples, which are left out")
    ends = np.cumsum([len(group) for group in groups])
    return [
        Figure(np.array(values[end - len(group) : end]), drawn[end - len(group) : end, defined], len(first.targets))
        for group, end in zip(groups, ends, strict=True)
    ], notes


def _check_metric(predictions: Predictions, metric: str) -> None:
    top = metric.removeprefix("accuracy_top")
    top_k = (int(top),) if top != metric and top.isdecimal() and int(top) > 0 else ()
    known = overall(predictions.target, predictions.outputs, predictions.targets, top_k=top_k)
    if metric not in known or metric in NOT_COMPARED:
        names = [name for name in known if name not in NOT_COMPARED]
        near = difflib.get_close_matches(metric, names, 1)
        what = "ranks no runs" if metric in NOT_COMPARED else "is no metric of this task"
        raise UsageError(f"--metric {metric} {what}; {f'did you mean {near[0]}? ' if near else ''}there are {', '.join(names)}")


def _value(entry: Entry, metric: str) -> float:
    predictions = entry.predictions
    try:
        value = score(predictions.target, predictions.outputs, predictions.targets, metric)
    except RunFailedError as error:
        raise RunFailedError(f"run {entry.run.id}: {error}") from error
    if not math.isfinite(value):
        raise DataError(
            f"{metric} of run {entry.run.id} is not defined on the {len(predictions.targets):,} {predictions.split} examples: "
            "compare by another --metric"
        )
    return value


def _differences(
    groups: Sequence[Sequence[Entry]], figures: Sequence[Figure], metric: str, spread: SeedSpread | None
) -> list[Difference | None]:
    """Of each candidate to the first, with p values corrected for all pairs."""
    right = None if spread else [_right(group[0].predictions, metric) for group in groups]
    found: dict[tuple[int, int], tuple[Estimate, tuple[int, int] | None]] = {}
    for better, worse in itertools.combinations(range(len(groups)), 2):
        if right is not None and (one := right[worse]) is not None and (other := right[better]) is not None:
            counts = (int((one & ~other).sum()), int((other & ~one).sum()))
            found[better, worse] = mcnemar(*counts, figures[0].examples), counts
        else:
            found[better, worse] = differ(figures[worse], figures[better], spread), None
    corrected = dict(zip(found, holm([estimate.p for estimate, _ in found.values()]), strict=True))
    differences: list[Difference | None] = [None]
    for place in range(1, len(groups)):
        estimate, counts = found[0, place]
        method = "mcnemar" if counts is not None else "bootstrap over examples and seeds" if spread else "bootstrap"
        differences.append(
            Difference(
                estimate.value, estimate.low, estimate.high, estimate.p, corrected[0, place], method=method, discordant=counts
            )
        )
    return differences


def _right(predictions: Predictions, metric: str) -> np.ndarray | None:
    """Which examples (n,) are right, for the metrics that are the share of those; None for others."""
    match predictions.target, metric:
        case "class", "accuracy":
            return predictions.outputs.argmax(axis=1) == predictions.targets
        case "labels", "subset_accuracy":
            return ((predictions.outputs > 0) == (predictions.targets > 0)).all(axis=1)
    return None


def _verdicts(differences: Sequence[Difference | None]) -> list[Verdict]:
    others: list[Verdict] = ["worse" if each.p_corrected < 1 - LEVEL else "unclear" for each in differences if each is not None]
    return ["better" if all(each == "worse" for each in others) else "unclear", *others]


def _candidate(
    metric: str,
    name: str,
    group: Sequence[Entry],
    figure: Figure,
    difference: Difference | None,
    verdict: Verdict,
    spread: SeedSpread | None,
) -> Candidate:
    return Candidate(
        name=name,
        runs=tuple(entry.run.id for entry in group),
        values=tuple(figure.values.tolist()),
        measure=Measure(figure.mean, *_limits(metric, figure, spread)),
        deviation=float(figure.values.std(ddof=1)) if len(group) > 1 else None,
        config=group[0].run.config,
        difference=difference,
        verdict=verdict,
    )


def _limits(metric: str, figure: Figure, spread: SeedSpread | None) -> tuple[float, float]:
    """Of the interval of a candidate's metric: for one network the one of `dlx evaluate`."""
    if spread is not None:
        return level(figure, spread)
    low, high = interval(metric, figure.resampled[0], figure.values[0])
    return float(low), float(high)


def _names(groups: Sequence[Sequence[Entry]]) -> list[str]:
    """The first run's name, and how many others there are."""
    names = [(group[0].run.name or group[0].run.id) + (f" +{len(group) - 1}" if len(group) > 1 else "") for group in groups]
    return [f"{name} ({group[0].run.id})" if names.count(name) > 1 else name for name, group in zip(names, groups, strict=True)]


def _warnings(names: Sequence[str], groups: Sequence[Sequence[Entry]], spread: SeedSpread | None, examples: int) -> list[str]:
    found = []
    single = [name for name, group in zip(names, groups, strict=True) if len(group) == 1]
    configurations = {_configuration(group[0]) for group in groups}
    if spread is None and len(configurations) > 1:
        found.append(
            "one seed each: this tells about these trained networks, not about their configurations; repeat them with other "
            "train.seed to tell that (Bouthillier et al. 2021)"
        )
    if spread is not None and single:
        found.append(f"one seed of {', '.join(single)}: the spread over seeds is taken to be that of the others")
    if examples < _FEW:
        found.append(f"{examples} examples are few: the intervals and p values are rough")
    return found
