"""Which classes are taken for which: what the terminal, the page and its pictures say of a confusion matrix."""

import numpy as np


def confused_pairs(counts: np.ndarray, most: int | None = None) -> list[tuple[int, int, int]]:
    """The errors in counts (true, predicted) as (true, predicted, count), the most frequent first: at most so many, or all."""
    off = counts - np.diag(np.diag(counts))
    order = np.argsort(-off, axis=None, kind="stable")[: np.count_nonzero(off)][:most].tolist()
    return [(at // len(counts), at % len(counts), int(off.flat[at])) for at in order]
