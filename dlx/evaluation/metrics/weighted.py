"""What metrics are computed from: sums over examples, and what takes the examples in the order of their scores.

Everything here is a function of example weights (b, examples): ones for the set as it is, counts for bootstrap resamples.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from dlx.evaluation.results import Reliability, Residuals

Item = TypeVar("Item")
Found = TypeVar("Found")

BLOCK = 2**20
"""Numbers of a block of weights: a few MB, that stay in the cache."""

Sums = Mapping[str, np.ndarray]
"""By name, one value or row for each row of weights: (b,), (b, k), and `examples` (b,)."""


@dataclass(frozen=True)
class Groups:
    """A value of each example, summed within its group."""

    codes: np.ndarray
    """(examples,) the group of each, from 0; `size` for those that belong to none."""
    size: int
    values: np.ndarray | None = None
    """(examples,); None: each counts 1."""


Term = np.ndarray | Groups
"""(examples,) or (examples, k) numbers to be summed, or those of groups."""


class Ordered(Protocol):
    """What is computed of the examples in a fixed order."""

    @property
    def rows(self) -> np.ndarray:
        """The example of each item (items,), in order."""
        ...

    def statistics(self, drawn: np.ndarray) -> np.ndarray:
        """(b, k) float64 from the items' weights (b, items), in order."""
        ...


class Judged(Protocol):
    """Predictions beside the truth, made ready for any weights."""

    @property
    def examples(self) -> int: ...

    @property
    def terms(self) -> Mapping[str, Term]: ...

    @property
    def ordered(self) -> Mapping[str, Sequence[Ordered]]: ...

    def metrics(self, sums: Sums) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Overall (b,) and of each class, label or number (b, k). Those that need an absent sum of `ordered` are left out."""
        ...

    def whole(self) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """What has no interval: overall, and of each (k,)."""
        ...

    def pictures(self, seed: int) -> tuple[np.ndarray | None, Reliability | None, Residuals | None]:
        """The confusion matrix, the reliability and the residuals; None where there is none."""
        ...


def term_sums(terms: Mapping[str, Term], weights: np.ndarray) -> dict[str, np.ndarray]:
    """The weighted sums (b,) or (b, k) of every term, under their names, and the sum of the weights as `examples`."""
    sums = {"examples": weights.sum(1, dtype=np.float64)}
    for name, term in terms.items():
        if isinstance(term, Groups):
            sums[name] = np.stack([_grouped(term, row) for row in weights])
    numbers = {name: term for name, term in terms.items() if isinstance(term, np.ndarray)}
    if not numbers:
        return sums
    # One product for all of them: a product of a few columns is over before the threads of the BLAS have found each other.
    width = sum(term[:1].size for term in numbers.values())
    step = max(1, BLOCK // max(len(weights), width))
    total = np.zeros((len(weights), width))
    for start in range(0, weights.shape[1], step):
        rows = slice(start, start + step)
        columns = [term[rows].reshape(len(term[rows]), -1) for term in numbers.values()]
        total += weights[:, rows].astype(np.float64) @ np.concatenate(columns, axis=1, dtype=np.float64)
    first = 0
    for name, term in numbers.items():
        width = term[:1].size
        sums[name] = total[:, first : first + width].reshape(len(weights), *term.shape[1:])
        first += width
    return sums


def _grouped(term: Groups, row: np.ndarray) -> np.ndarray:
    values = row if term.values is None else row * term.values
    return np.bincount(term.codes, values, term.size + 1)[: term.size]


def ordered_statistics(ordered: Mapping[str, Sequence[Ordered]], weights: np.ndarray) -> dict[str, np.ndarray]:
    """(b, items of the name, k) by name."""
    flat = [each for several in ordered.values() for each in several]
    found = on_all_cores(lambda each: _statistics(each, weights), flat)
    statistics, start = {}, 0
    for name, several in ordered.items():
        statistics[name] = np.stack(found[start : start + len(several)], axis=1)
        start += len(several)
    return statistics


def _statistics(ordered: Ordered, weights: np.ndarray) -> np.ndarray:
    step = max(1, BLOCK // len(ordered.rows))
    blocks = (weights[start : start + step] for start in range(0, len(weights), step))
    # The rows are in range; "clip" says so, and NumPy gathers without a check of each.
    return np.concatenate([ordered.statistics(np.take(block, ordered.rows, axis=1, mode="clip")) for block in blocks])


def on_all_cores(function: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
    """What the function makes of each, in their order. NumPy sorts, gathers and adds up without holding the interpreter."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, items))


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The quotient; NaN where the denominator is 0: not defined."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator != 0)


def mean_of_defined(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """The mean (b,) of (b, k), weighted by (b, k), without what is NaN; NaN where nothing is left."""
    defined = ~np.isnan(values)
    shares = defined if weights is None else defined * weights
    return ratio((np.where(defined, values, 0.0) * shares).sum(-1), shares.sum(-1))


def of_counts(right: np.ndarray, positive: np.ndarray, guessed: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall and F1 of each class or label, from its true positives, positives and guesses (b, k)."""
    return {
        "precision": ratio(right, guessed),
        "recall": ratio(right, positive),
        "f1": ratio(2 * right, positive + guessed),
    }
