"""Were runs judged on the same examples? Only then can they be compared example by example."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from dlx.errors import DataError
from dlx.evaluation.predictions import Predictions
from dlx.store import RunSummary

PRESENTATION: Final = frozenset(
    {"standardize", "augment", "drop", "size", "color", "max_categories"}
    | {"unit", "words", "lower", "vocabulary", "min_frequency", "length", "cut", "bucket"}  # of text
)
"""Fields of `data` that decide how an example is shown to the network, and not which examples are judged."""
_OF_TRAINING: Final = MappingProxyType({"test": frozenset({"validation", "limit"}), "validation": frozenset({"limit"})})
"""By split, fields that decide only which other examples train."""
_OWN_TEST: Final = frozenset({"mnist", "fashion-mnist", "cifar10", "adult"})

Judged = tuple[RunSummary, Predictions]


def check_same_examples(judged: Sequence[Judged]) -> list[str]:
    """A sentence for each run that saw the same examples prepared in another way. Raises `DataError`: what differs."""
    first, *others = judged
    return [sentence for other in others if (sentence := _against(first, other))]


def _against(first: Judged, other: Judged) -> str | None:
    (run, one), (another, two) = first, other
    pair = f"runs {run.id} and {another.id} cannot be compared"
    if one.target != two.target:
        raise DataError(f"{pair}: one predicts {_plural(one)}, the other {_plural(two)}")
    if one.classes != two.classes:
        raise DataError(f"{pair}: they predict different {_plural(one)}: {_names(one, two)}")
    if one.fingerprint == two.fingerprint and np.array_equal(one.targets, two.targets):
        return None
    rows, presentation = _differing(run.config["data"], another.config["data"], one.split)
    same_targets = one.targets.shape == two.targets.shape and np.array_equal(one.targets, two.targets)
    if presentation and not rows and same_targets:
        return f"run {another.id} saw the same examples prepared in another way ({', '.join(presentation)})"
    sizes = "" if len(one.targets) == len(two.targets) else f" ({len(one.targets):,} and {len(two.targets):,})"
    why = "; ".join(rows or presentation) or "the data itself has changed between the two"
    raise DataError(f"{pair}: they were judged on different {one.split} examples{sizes}: {why}")


def _differing(one: Mapping[str, Any], two: Mapping[str, Any], split: str) -> tuple[list[str], list[str]]:
    """The fields of `data` that differ, with both values: those that decide which examples are judged, and those that do not."""
    presentation = PRESENTATION | _OF_TRAINING.get(split, frozenset())
    if split == "test" and all(data["kind"] in _OWN_TEST or data.get("test_path") for data in (one, two)):
        presentation |= {"seed", "test"}
    found: tuple[list[str], list[str]] = ([], [])
    for key in sorted(one.keys() | two.keys()):
        if one.get(key) != two.get(key):
            found[key in presentation].append(f"data.{key} is {one.get(key)!r} and {two.get(key)!r}")
    return found


def _plural(predictions: Predictions) -> str:
    return {"class": "classes", "labels": "labels", "number": "numbers"}[predictions.target]


def _names(one: Predictions, two: Predictions) -> str:
    """Which names only one of the two has."""
    parts = []
    for word, names in (
        ("only the first has", [n for n in one.classes if n not in two.classes]),
        ("only the second has", [n for n in two.classes if n not in one.classes]),
    ):
        if names:
            parts.append(f"{word} {', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''}")
    return ", ".join(parts) or "they are in another order"
