"""Bootstrap intervals (Efron 1979): how would a metric vary if the examples had been drawn anew?

A resample of n examples draws n times with replacement. What a metric needs of it is how often each example was drawn: a metric
that is a function of example weights is computed for many resamples at once, from their counts, without copying an example.
"""

from collections.abc import Iterator

import numpy as np

DRAWS = 200_000_000
"""What a thousand resamples of 200,000 examples draw: about a second's work."""
RESAMPLES = 1000
"""Enough for a standard error that is right to 2 % (one over the root of twice as many)."""
FEWEST = 100
"""Fewer resamples than this tell no 2.5 % quantile."""
LEAST = 10
"""Examples without which there is no interval: resamples of one are all alike."""
BLOCK_BYTES = 2**26
TAILS = (0.025, 0.975)


def affordable(examples: int, resamples: int) -> int:
    """How many of `resamples` are drawn of so many examples: all of up to 200,000 examples, fewer of more, never below 100."""
    return min(resamples, max(FEWEST, DRAWS // max(examples, 1)))


def counts(examples: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each example is in each resample: blocks (b, examples) uint8 of bounded memory, `resamples` rows in all.

    The first rows are the same however many follow. A count above 255 takes more than 255 examples and luck of one in 10^500.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    size = max(1, BLOCK_BYTES // examples)
    for start in range(0, resamples, size):
        block = np.empty((min(size, resamples - start), examples), np.uint8)
        for row in block:
            row[:] = np.bincount(generator.integers(examples, size=examples), minlength=examples)
        yield block


def interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 2.5 % and 97.5 % quantiles over the first axis of (resamples, ...): two arrays (...).

    Resamples in which the metric is not defined (NaN) are left out; NaN where it is in none.
    """
    flat = values.reshape(len(values), -1)
    limits = np.full((2, flat.shape[1]), np.nan)
    undefined = np.isnan(flat)
    whole = ~undefined.any(0)
    limits[:, whole] = np.quantile(flat[:, whole], TAILS, axis=0)
    for column in np.flatnonzero(~whole & ~undefined.all(0)):
        limits[:, column] = np.quantile(flat[~undefined[:, column], column], TAILS)
    low, high = limits.reshape(2, *values.shape[1:])
    return low, high


def reflected(values: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The basic interval (Davison and Hinkley 1997) of what cannot be negative and grows with noise, about its value (...).

    Resampling adds noise once more: of a calibrated network every resample may have a greater calibration error than its
    examples, and those a greater one than the truth. Turned about the value, the quantiles hold the truth; the value itself
    is kept inside.
    """
    low, high = interval(values)
    return np.maximum(2 * value - high, 0.0), np.maximum(2 * value - low, value)
