"""Probabilities, and whether they hold what they say.

The expected calibration error (Guo et al. 2017) is the sum over bins of (share of examples in the bin) * |share that is right -
mean confidence|, with 15 equally wide bins; what is on an edge is in the lower bin. Its
interval is turned about its value (`bootstrap.reflected`), as noise only adds to it.
"""

import numpy as np

from dlx.evaluation.results import Reliability

BINS = 15


def softmax(logits: np.ndarray) -> np.ndarray:
    """(n, classes) float64. A logit of -inf is a probability of 0."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(1, keepdims=True)
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum(1, keepdims=True)
    return shifted


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """(n, labels) float64."""
    small = np.abs(logits, dtype=np.float64)
    np.negative(small, out=small)
    np.exp(small, out=small)
    found = np.where(logits >= 0, 1.0, small)
    small += 1.0
    found /= small
    return found


def negative_log(probabilities: np.ndarray) -> np.ndarray:
    """-log, of at least the smallest float64 above 1 less 1, and at most 1 less that: so is scikit-learn's log loss, and finite."""
    epsilon = np.finfo(np.float64).eps
    return -np.log(np.clip(probabilities, epsilon, 1 - epsilon))


def bins(confidence: np.ndarray) -> np.ndarray:
    """The bin of each confidence (...,), from 0."""
    return np.searchsorted(_edges()[1:-1], confidence, side="left")


def reliability(confidence: np.ndarray, right: np.ndarray) -> Reliability:
    """Of confidences (items,) and what was right (items,)."""
    codes = bins(confidence)
    count = np.bincount(codes, minlength=BINS)
    means = [np.bincount(codes, values, BINS) for values in (confidence, right)]
    with np.errstate(invalid="ignore"):  # an empty bin has no mean
        sure, true = (sums / count for sums in means)
    return Reliability(_edges(), sure, true, count)


def _edges() -> np.ndarray:
    return np.linspace(0.0, 1.0, BINS + 1)
