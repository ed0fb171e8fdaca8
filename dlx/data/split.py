"""Which rows train, which validate, which test: deterministic, disjoint, complete, and stratified where there are classes.

A draw is *systematic*: the rows are laid out class after class, shuffled inside each class, and every 1/share-th one is
taken from a random start. So the draw has exactly the wanted size and each class is in it with its share, give or take
one row, without any rounding per class (Särndal, Swensson, Wretman 1992, section 3.4).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dlx.config.data import DataCommon
from dlx.errors import DataError

# The epochs of `order` count up from 0 in the same key space (seed, stream): splits start where epochs never get.
_SPLIT_STREAM = 2**63
_LIMIT_STREAM = 2**63 + 2**32


@dataclass(frozen=True)
class Division:
    """Sorted, disjoint row numbers (int64) into the examples that were divided."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def divide(
    config: DataCommon, examples: int, labels: np.ndarray | None = None, *, own_validation: bool = False, own_test: bool = False
) -> Division:
    """Divide `examples` rows as the config asks. A part that the source brings itself (`own_...`) is not cut out.

    The test share is one of all rows, the validation share one of what then remains. `limit` shortens only the
    training part, last of all, so that the other two are the same with and without it.
    `labels` is (examples,) int, or None for a plain draw. Raises `DataError` when a wanted part would be empty.
    """
    test_share = 0.0 if own_test else config.test
    validation_share = 0.0 if own_validation else config.validation * (1 - test_share)
    train, test, validation = split_rows(examples, (test_share, validation_share), config.seed, labels)
    if not len(train):
        raise DataError(
            f"no training examples are left of {examples:,}: "
            f"lower data.validation={config.validation:g} and data.test={config.test:g}"
        )
    for name, share, part, own in (
        ("validation", config.validation, validation, own_validation),
        ("test", config.test, test, own_test),
    ):
        if share and not own and not len(part):
            raise DataError(f"data.{name}={share:g} of {examples:,} examples is not one example: raise it, or set it to 0")
    if config.limit is not None and config.limit < len(train):
        kept, _ = _draw(len(train), len(train) - config.limit, (config.seed, _LIMIT_STREAM), _at(labels, train))
        train = train[kept]
    return Division(train, validation, test)


def split_rows(
    examples: int, fractions: Sequence[float], seed: int, labels: np.ndarray | None = None
) -> tuple[np.ndarray, ...]:
    """The rest first, then one part for each fraction of all `examples`: sorted int64 row numbers, disjoint, complete.

    Part sizes are exactly `round(examples * fraction)`. With `labels` (examples,) each class has its share in each
    part, and no class loses its last row to a part other than the rest unless the sizes leave no other way.
    """
    rest = np.arange(examples)
    parts: list[np.ndarray] = []
    for number, fraction in enumerate(fractions):
        count = min(round(examples * fraction), len(rest))
        kept, taken = _draw(len(rest), count, (seed, _SPLIT_STREAM + number), _at(labels, rest))
        parts.append(rest[taken])
        rest = rest[kept]
    return rest, *parts


def rarest_label(labels: np.ndarray) -> np.ndarray:
    """A class for each row of 0/1 `labels` (n, labels): its rarest positive label, or `labels` for a row without any.

    Stratifying by it keeps rare labels in every part (the first step of Sechidis et al. 2011). Returns (n,) int64.
    """
    counts = np.where(labels > 0, labels.sum(axis=0), np.inf)
    return np.where(labels.any(axis=1), counts.argmin(axis=1), labels.shape[1])


def _at(labels: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if labels is None else labels[rows]


def _draw(examples: int, count: int, key: tuple[int, int], labels: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Draw `count` of `examples` rows. Returns the rows left and the rows drawn, each sorted."""
    if not count:
        return np.arange(examples), np.arange(0)
    generator = np.random.Generator(np.random.Philox(key=np.array(key, np.uint64)))
    order = generator.permutation(examples)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
        spare = _spare(labels[order], count)
        order = order[spare] if spare.sum() >= count else order
    start = generator.integers(len(order))
    steps = (np.arange(len(order) + 1) * count + start) // len(order)  # whole numbers, so that the size is exact
    drawn = np.zeros(examples, bool)
    drawn[order[np.diff(steps) > 0]] = True
    return np.flatnonzero(~drawn), np.flatnonzero(drawn)


def _spare(ordered: np.ndarray, count: int) -> np.ndarray:
    """Which rows of the class-ordered labels may be drawn: one of each class that could be drawn whole stays back."""
    _, first, sizes = np.unique(ordered, return_index=True, return_counts=True)
    spare = np.ones(len(ordered), bool)
    # The rate among the rows that may be drawn is at most count / (rows - classes): rounded up, is that all of a class?
    spare[first[sizes * count > (sizes - 1) * (len(ordered) - len(sizes))]] = False
    return spare
