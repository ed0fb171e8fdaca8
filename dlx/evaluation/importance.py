"""Permutation importance: what a column is worth to a trained network, by what is lost when its values are shuffled.

Breiman 2001, "Random forests"; Fisher, Rudin & Dominici 2019, "All models are wrong, but many are useful". A column whose
information another one also holds loses little: the figures are about this network, not about the data.
"""

from collections.abc import Callable, Mapping

import numpy as np

from dlx.data import Part, Supervision, some_rows
from dlx.data.encoder import TableEncoder
from dlx.evaluation.metrics import headline, score
from dlx.evaluation.results import Importance

SHUFFLES = 5
MOST, FEWEST = 5000, 500
"""Examples that are shuffled: at most, and at least where there are many columns."""
MOST_FORWARD = 3_000_000
"""Rows that go through the network, for which examples are left out down to `FEWEST`."""


def encoded(encoder: TableEncoder) -> dict[str, np.ndarray]:
    """The places (m,) of each raw column among the encoded ones: those of a category, or of a number and its missing values."""
    ends = np.cumsum([len(column.outputs) for column in encoder.columns])
    return {column.name: np.arange(end - len(column.outputs), end) for column, end in zip(encoder.columns, ends, strict=True)}


def importance(
    forward: Callable[[np.ndarray], np.ndarray],
    part: Part,
    target: Supervision,
    columns: Mapping[str, np.ndarray],
    *,
    shuffles: int = SHUFFLES,
    seed: int = 0,
) -> tuple[Importance, ...]:
    """How much worse the headline metric gets by shuffling each of `columns`, the most important first.

    `forward` takes inputs (n, encoded) as `part` has them, always as many, and gives outputs (n, k) as metrics take them. All encoded columns of
    a raw one are shuffled together, so that no row has a value that could not be. At most `MOST` examples are looked at.
    """
    fits = MOST_FORWARD // max(1, shuffles * len(columns))
    part = part.take(some_rows(len(part), min(MOST, max(FEWEST, fits))))
    metric, maximize = headline(target)
    sign = -1.0 if maximize else 1.0

    def error(inputs: np.ndarray) -> float:
        """The metric, signed so that more is worse."""
        return sign * score(target, np.asarray(forward(inputs)), part.targets, metric)

    least = error(part.inputs)
    generator = np.random.Generator(np.random.Philox(key=seed))
    found = []
    for name, places in columns.items():
        losses = []
        for _ in range(shuffles):
            shuffled = part.inputs.copy()
            shuffled[:, places] = part.inputs[generator.permutation(len(part))][:, places]
            losses.append(error(shuffled) - least)
        found.append(Importance(name, float(np.mean(losses)), float(np.std(losses))))
    return tuple(sorted(found, key=lambda each: -each.mean))
