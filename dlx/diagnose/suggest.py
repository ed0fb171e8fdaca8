"""What a learning-rate range test says: smoothing, the rules by which people read its curve, and what to recommend.

Pure functions of (rates, losses), so that a stored test can be read again by other rules. All slopes are against log10 of the
rate: the ladder is even there, and a slope against the rate itself would only find the first steps.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

LEAST_POINTS = 10
"""Fewer say nothing."""
FALL = 0.05
"""A falling region is one in which the loss falls by more than this part of where it stood."""
NOISE = 4.0
"""And by more than so many standard errors of the smoothed loss: the lowest of a hundred that only scatter is 2.5 below them."""
AGREED, LOOSE = 3.0, 10.0
"""Rules that lie within this factor of one another agree, or roughly do."""


@dataclass(frozen=True)
class Suggestion:
    """One rule's rate, and the rule in words."""

    rule: str
    rate: float
    why: str


@dataclass(frozen=True)
class Reading:
    """What a range test says. Without a falling region there are no suggestions, and `why` says what was seen."""

    suggestions: tuple[Suggestion, ...]
    recommended: float | None
    base: float | None
    """The lower rate of a cyclical schedule: where the loss begins to fall."""
    peak: float | None
    """The upper one: just before the loss stops falling."""
    confidence: str
    why: str


def smooth(losses: ArrayLike, beta: float) -> np.ndarray:
    """The exponential moving average of losses (steps,), unbiased from the first step on (Kingma and Ba 2015, section 3).

    s_t = beta * s_{t-1} + (1 - beta) * loss_t from s_0 = 0, divided by 1 - beta**t with t counted from 1: a constant loss is
    its own average at every step. What is not finite ends the average: it stays infinite.
    """
    values = np.asarray(losses, np.float64)
    found = np.full(len(values), np.inf)
    total = 0.0
    for index, value in enumerate(values):
        if not math.isfinite(value):
            break
        total = beta * total + (1 - beta) * value
        found[index] = total / (1 - beta ** (index + 1))
    return found


def ladder(lowest: float, highest: float, steps: int, *, linear: bool = False) -> np.ndarray:
    """`steps` rates from `lowest` to `highest`, both included, each the same factor (or, `linear`, distance) after the one before."""
    return np.linspace(lowest, highest, steps) if linear else np.geomspace(lowest, highest, steps)


def end_of(smoothed: ArrayLike, factor: float) -> int:
    """How many steps a test lasts: to the first whose smoothed loss is above `factor` times the best so far, or not finite."""
    values = np.asarray(smoothed, np.float64)
    best = np.minimum.accumulate(np.where(np.isfinite(values), values, np.inf))
    over = ~np.isfinite(values) | (values > factor * best)
    return int(np.argmax(over)) if over.any() else len(values)


def read(rates: ArrayLike, smoothed: ArrayLike, noise: float = 0.0, *, skip_start: int = 0, skip_end: int = 0) -> Reading:
    """Reads the curve of smoothed losses (steps,) at rates (steps,). `noise` is the standard error of the smoothed loss.

    The first and last points can be skipped. Raises `ValueError` when fewer than `LEAST_POINTS` are left.
    """
    x, y = np.asarray(rates, np.float64), np.asarray(smoothed, np.float64)
    stop = len(x) - skip_end
    x, y = x[skip_start:stop], y[skip_start:stop]
    finite = np.isfinite(y)
    x, y = x[finite], y[finite]
    if len(x) < LEAST_POINTS:
        raise ValueError(f"{len(x)} points are left of the curve; it takes {LEAST_POINTS}: skip fewer, or take more steps")
    lowest = int(np.argmin(y))
    start = float(np.median(y[: max(3, len(y) // 10)]))
    fall = start - y[lowest]
    if fall <= max(FALL * abs(start), NOISE * noise):
        return Reading((), None, None, None, "none", _no_fall(x, y, lowest, fall, noise))
    suggestions = _suggestions(x, y, lowest)
    logs = sorted(math.log10(each.rate) for each in suggestions)
    spread = 10 ** (logs[-1] - logs[0])
    recommended = 10 ** float(np.median(logs))
    confidence = "high" if spread <= AGREED else "fair" if spread <= LOOSE else "low"
    top = int(np.argmax(y[: lowest + 1]))
    return Reading(
        suggestions,
        recommended,
        base=_crossing(x, y, top, lowest, 0.1),
        peak=_crossing(x, y, top, lowest, 0.9),
        confidence=confidence,
        why=f"the median of {len(suggestions)} rules, which lie within a factor of {spread:.2g}",
    )


def steepest(rates: np.ndarray, losses: np.ndarray, lowest: int) -> float:
    """Where the loss falls fastest per decade, before its minimum."""
    slope = np.gradient(losses, np.log10(rates))
    return float(rates[int(np.argmin(slope[: lowest + 1]))])


def valley(rates: np.ndarray, losses: np.ndarray) -> float:
    """In the middle of the longest run of falling losses (not all of its neighbours need to fall: the longest decreasing
    subsequence), as fastai has it: half way through its middle third.
    """
    length = np.ones(len(losses), int)
    for i in range(1, len(losses)):
        before = length[:i][losses[:i] > losses[i]]
        length[i] = 1 + (before.max() if len(before) else 0)
    end = int(np.argmax(length))
    start = end - int(length[end])
    third = (end - start) / 3
    return float(rates[max(0, start + int(third) + int(third / 2))])


def slide(rates: np.ndarray, losses: np.ndarray, *, width: int = 15, threshold: float = 0.0025) -> float:
    """From the right an interval of `width` steps slides to the left until the slopes at its two ends are nearly the same.

    fastai's interval slide rule, but that the threshold is a part of the losses' span: it knows no unit.
    """
    slope = np.gradient(losses) / np.ptp(losses)
    width = min(width, len(losses) - 1)
    left = len(losses) - 1 - width
    found = left
    while left >= 0 and abs(slope[left + width] - slope[left]) > threshold:
        found, left = left, left - 1
    return float(rates[found])


def knee(rates: np.ndarray, losses: np.ndarray, top: int, lowest: int) -> float:
    """Where the fall begins: the point farthest above the straight line from its top to the minimum (Satopaa et al. 2011)."""
    x = np.log10(rates[top : lowest + 1])
    y = losses[top : lowest + 1]
    chord = y[0] + (y[-1] - y[0]) * (x - x[0]) / (x[-1] - x[0])
    return float(rates[top + int(np.argmax(y - chord))])


def _suggestions(x: np.ndarray, y: np.ndarray, lowest: int) -> tuple[Suggestion, ...]:
    top = int(np.argmax(y[: lowest + 1]))
    found: Mapping[str, tuple[float, str]] = {
        "steepest": (steepest(x, y, lowest), "where the loss falls fastest per decade of the rate"),
        "valley": (valley(x, y), "in the middle third of the longest run of falling losses"),
        "minimum/10": (float(x[lowest]) / 10, "a tenth of the rate with the lowest loss"),
        "slide": (slide(x, y), "from the right, where the slopes at both ends of 15 steps become the same"),
        "knee": (knee(x, y, top, lowest), "where the curve bends down, farthest from its chord"),
    }
    return tuple(Suggestion(rule, rate, why) for rule, (rate, why) in found.items())


def _crossing(x: np.ndarray, y: np.ndarray, top: int, lowest: int, share: float) -> float:
    """The first rate at which so much of the fall from the top to the minimum is done."""
    level = y[top] - share * (y[top] - y[lowest])
    below: Sequence[int] = np.flatnonzero(y[top : lowest + 1] <= level).tolist()
    return float(x[top + below[0]])


def _no_fall(x: np.ndarray, y: np.ndarray, lowest: int, fall: float, noise: float) -> str:
    seen = f"from {x[0]:.2g} on the smoothed loss falls by {fall:.2g}, to {y[lowest]:.4g}"
    if 0 < fall <= NOISE * noise:
        return f"no falling region: {seen}, which is within its noise ({noise:.2g})"
    return f"no falling region: {seen}: it rises, or stays where it is. Is the network trained already, or the range too high?"
