"""What a learning-rate range test says: smoothing, the rules by which people read its curve, and what to recommend.

Pure functions of (rates, losses), so that a stored test can be read again by other rules. Slopes are against log10 of the rate,
where the usual ladder is even: a slope against the rate itself would only find the first steps. `valley` and `slide` count steps.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dlx.errors import UsageError

LEAST_POINTS = 10
"""Fewer say nothing."""
FALL = 0.05
"""A falling region is one in which the loss falls by more than this part of where it stood."""
NOISE = 4.0
"""And by more than so many standard errors of the smoothed loss: the lowest of a hundred that only scatter is 2.5 below them."""
AGREED, LOOSE = 3.0, 10.0
"""The two rules that recommend agree within this factor, or roughly do."""


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


Rules = Callable[[np.ndarray, np.ndarray, int], Reading]
"""From rates (n,), losses (n,) and the number of the lowest to what they say."""


def smooth(losses: ArrayLike, beta: float) -> np.ndarray:
    """The exponential moving average of losses (steps,), unbiased from the first step on (Kingma and Ba 2015, section 3).

    beta * s_{t-1} + (1 - beta) * loss_t from s_0 = 0, divided by 1 - beta**t with t counted from 1, which is s_t below: written
    so, a constant loss is its own average at every step to the last bit. What is not finite ends the average: it stays infinite.
    """
    values = np.asarray(losses, np.float64)
    found = np.full(len(values), np.inf)
    average = 0.0
    for index, value in enumerate(values):
        if not math.isfinite(value):
            break
        average += (1 - beta) / (1 - beta ** (index + 1)) * (value - average)
        found[index] = average
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


def read(
    rates: ArrayLike,
    smoothed: ArrayLike,
    noise: float = 0.0,
    rules: Rules | None = None,
    *,
    skip_start: int = 0,
    skip_end: int = 0,
) -> Reading:
    """Reads the curve of smoothed losses (steps,) at rates (steps,). `noise` is the standard error of the smoothed loss.

    `rules` read a curve that falls: `ramp_rules` unless told, `constant_rules` where every rate has trained by itself.
    The first and last points can be skipped. Raises `UsageError` when that leaves fewer than `LEAST_POINTS`.
    """
    x, y = np.asarray(rates, np.float64), np.asarray(smoothed, np.float64)
    stop = len(x) - skip_end
    x, y = x[skip_start:stop], y[skip_start:stop]
    if len(x) < LEAST_POINTS:
        raise UsageError(
            f"--skip-start {skip_start} --skip-end {skip_end} leave {len(x)} points of the curve, and it takes {LEAST_POINTS}: "
            "skip fewer"
        )
    finite = np.isfinite(y)
    if finite.sum() < LEAST_POINTS:
        return Reading((), None, None, None, "none", _no_points(x, finite))
    x, y = x[finite], y[finite]
    lowest = int(np.argmin(y))
    start = _start(y, lowest)
    fall = start - y[lowest]
    if fall <= max(FALL * abs(start), NOISE * noise):
        return Reading((), None, None, None, "none", _no_fall(x, y, lowest, fall, noise))
    return (rules or ramp_rules)(x, y, lowest)


def ramp_rules(x: np.ndarray, y: np.ndarray, lowest: int) -> Reading:
    """What people read of a ramp's smoothed losses y (n,) at rates x (n,), whose minimum is number `lowest`.

    Recommended is the geometric mean of two rules that look at no slope: `descent` and `minimum/10`. Of some 45 rules and
    combinations it came nearest to the best rate for 1cycle, over eleven problems (`benchmarks/lrfind_vs_peers.py` measures three).
    The others are for those who know them: they lie low, and move with the noise of single steps.
    """
    suggestions = _suggestions(x, y, lowest)
    rates = {each.rule: each.rate for each in suggestions}
    between = sorted((rates["descent"], rates["minimum/10"]))
    spread = between[1] / between[0]
    return Reading(
        suggestions,
        recommended=math.sqrt(between[0] * between[1]),
        base=_done(x, y, lowest, 0.1),
        peak=_done(x, y, lowest, 0.9),
        confidence="high" if spread <= AGREED else "fair" if spread <= LOOSE else "low",
        why=f"between descent and minimum/10, which are a factor of {spread:.2g} apart",
    )


def constant_rules(x: np.ndarray, y: np.ndarray, lowest: int) -> Reading:
    """What losses y (n,) after some steps at each of the rates x (n,) say: the lowest is the best, and nothing has to be inferred."""
    top = int(np.argmax(y[: lowest + 1]))
    good = y <= y[lowest] + 0.1 * (y[top] - y[lowest])
    first, last = (int(each) for each in np.flatnonzero(good)[[0, -1]])
    width = float(x[last] / x[first])
    return Reading(
        (Suggestion("minimum", float(x[lowest]), "the rate with the lowest loss after these steps"),),
        recommended=float(x[lowest]),
        base=float(x[first]),
        peak=float(x[last]),
        confidence="high" if width <= 3 * AGREED else "fair" if width <= 3 * LOOSE else "low",
        why=f"the lowest loss; rates within a factor of {width:.2g} come within a tenth of the fall to it",
    )


def steepest(rates: np.ndarray, losses: np.ndarray, lowest: int) -> float:
    """In the middle of the decade in which the loss falls most, before its minimum (of a quarter of the range, if that is less)."""
    x = np.log10(rates)
    half = min(1.0, (x[-1] - x[0]) / 4) / 2
    inside = np.flatnonzero((x >= x[0] + half) & (x <= x[lowest]))
    fall = np.interp(x[inside] - half, x, losses) - np.interp(x[inside] + half, x, losses)
    return float(rates[inside[int(np.argmax(fall))]]) if len(inside) else float(rates[lowest])


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
        "descent": (_done(x, y, lowest, 0.7), "where 70 % of the fall to the lowest loss is done"),
        "minimum/10": (float(x[lowest]) / 10, "a tenth of the rate with the lowest loss"),
        "valley": (valley(x, y), "in the middle third of the longest run of falling losses"),
        "steepest": (steepest(x, y, lowest), "in the middle of the decade in which the loss falls most"),
        "slide": (slide(x, y), "from the right, where the slopes at both ends of 15 steps become the same"),
        "knee": (knee(x, y, top, lowest), "where the curve bends down, farthest from its chord"),
    }
    return tuple(Suggestion(rule, rate, why) for rule, (rate, why) in found.items())


def _start(y: np.ndarray, lowest: int) -> float:
    """The loss that a fall begins at: the median of the curve's first tenth, none of it behind the minimum."""
    return float(np.median(y[: lowest + 1][: max(3, len(y) // 10)]))


def _done(x: np.ndarray, y: np.ndarray, lowest: int, share: float) -> float:
    """The last rate before the minimum at which so much of the fall from the start is still not done."""
    level = _start(y, lowest) - share * (_start(y, lowest) - y[lowest])
    above = np.flatnonzero(y[: lowest + 1] > level)
    return float(x[above[-1]] if len(above) else x[0])


def _no_points(x: np.ndarray, finite: np.ndarray) -> str:
    return (
        f"no falling region: the loss explodes, or is no number, at all but {finite.sum()} of the {len(x)} rates from {x[0]:.2g} "
        "on: lower --max-lr, or look at the data"
    )


def _no_fall(x: np.ndarray, y: np.ndarray, lowest: int, fall: float, noise: float) -> str:
    seen = f"from {x[0]:.2g} on the smoothed loss falls by {max(fall, 0.0):.2g}, to {y[lowest]:.4g}"
    if 0 < fall <= NOISE * noise:
        return f"no falling region: {seen}, less than {NOISE:g} times its noise ({noise:.2g})"
    return f"no falling region: {seen}, no more. Is the network trained already, or the range too high?"
