"""Is a gradient right? Read from losses at a ladder of steps to both sides, on the host in float64.

A difference quotient alone cannot tell a wrong gradient from a badly chosen step. Here every quotient comes with the error that
it may have: what the neighbouring steps say otherwise (truncation, kinks), and the rounding of the loss over the step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

RATIO = 8
"""Between neighbouring steps of the ladder."""
LADDER = tuple(float(RATIO) ** -k / 4 for k in range(1, 13))
"""Steps from 1/32 down to 4e-12, in units of a direction's own scale; powers of two, so that dividing by them is exact."""
LEVELS = 3
"""Columns of the extrapolation table: errors of order h^2, h^4, h^6 (Richardson; Ridders 1982)."""
DOUBTS = 10
"""So many times its own uncertainty may a difference be off before it contradicts the gradient."""
RESOLVED = 1e-2
"""Differences that are less certain than this share of the gradient could not show a wrong factor."""
STEEP = 10
"""At a kink any slope up to so many times those to both sides is a convention. (Of a sum of kinks it need not lie between them.)"""
ROUNDED = 10
"""So many units of rounding of the largest gradient may be in a small one, where parts of that size cancel."""
FAINT, NEAR = 5e-3, 0.1
"""Of a wrong gradient: no factor is told where it is so near 1, and no direction."""

Verdict = Literal["right", "wrong", "kink", "zero", "undecidable"]


@dataclass(frozen=True)
class Slopes:
    """What was measured of one leaf along D directions."""

    analytic: np.ndarray
    """The gradient's own slopes <g, v> (D,)."""
    center: float
    """The loss where the gradient was taken."""
    plus: np.ndarray
    """Losses (D, steps) at h v, for the steps of `LADDER`."""
    minus: np.ndarray
    """Losses (D, steps) at -h v."""
    rounded: np.ndarray
    """By how much rounding may change the gradient's slopes (D,): what they move by when the point moves by one unit of it."""


@dataclass(frozen=True)
class LeafReading:
    """What the differences say of one leaf."""

    verdict: Verdict
    why: str
    """In words; empty where the verdict says it all."""
    analytic: float
    """The norm of the gradient's slopes."""
    numeric: float
    """That of the differences."""
    error: float
    """|a - n| / (|a| + |n|), over all directions (Ng); 0 where both are zero."""
    uncertainty: float
    """How far off `error` may be by the differences' own doing."""
    order: float | None
    """With which power of the step the Taylor remainder |f(x + h v) - f(x) - h <g, v>| falls: 2 for a right gradient, 1 for a
    wrong one or a kink. None where nothing remains, as of a linear function."""
    step: float
    """The median of the best steps found."""


def rounding(slopes: Sequence[Slopes], epsilon: float) -> float:
    """The absolute error of one loss that is computed with this unit of rounding: at least the median of what is left of second
    differences where the step is smallest.
    """
    left = np.concatenate([np.abs(s.plus[:, -1] - 2 * s.center + s.minus[:, -1]) for s in slopes])
    return max(float(np.median(left)), epsilon * abs(slopes[0].center))


def tolerance(epsilon: float) -> float:
    """The largest relative error that passes, from the unit of rounding: 5e-7 in float64, 2e-3 in float32, 0.14 in bfloat16."""
    return epsilon**0.4


def read(slopes: Slopes, noise: float, epsilon: float, largest: float) -> LeafReading:
    """Judges one leaf. `noise` is the `rounding` of a loss, `epsilon` the gradient's own unit of rounding, `largest` the greatest
    norm of any leaf's slopes, beside which a leaf counts as zero.
    """
    numeric, doubt, step = _best(slopes, noise)
    analytic = slopes.analytic
    size = float(np.linalg.norm(analytic) + np.linalg.norm(numeric))
    off, unsure = float(np.linalg.norm(analytic - numeric)), float(np.linalg.norm(doubt))
    verdict, why = _verdict(slopes, numeric, doubt, noise, epsilon, largest)
    return LeafReading(
        verdict,
        why,
        float(np.linalg.norm(analytic)),
        float(np.linalg.norm(numeric)),
        off / size if size and verdict != "zero" else 0.0,
        unsure / size if size else 0.0,
        _order(slopes, noise, epsilon),
        float(np.median(step)),
    )


def _verdict(
    slopes: Slopes, numeric: np.ndarray, doubt: np.ndarray, noise: float, epsilon: float, largest: float
) -> tuple[Verdict, str]:
    analytic, bound = slopes.analytic, tolerance(epsilon)
    if not np.isfinite(analytic).all():
        return "wrong", "the gradient is not finite, though the loss is"
    apart = np.abs(analytic - numeric)
    a, n, off, unsure = (float(np.linalg.norm(x)) for x in (analytic, numeric, apart, doubt))
    if unsure <= bound * largest and a <= min(1e3 * epsilon, 0.05) * largest and n <= 1e-12 * largest + DOUBTS * unsure:
        return "zero", "the loss does not depend on it"
    if off <= bound * (a + n) and unsure <= RESOLVED * (a + n):
        return "right", ""
    share = bound * (a + n) / len(analytic) ** 0.5
    kinked, steepest = _kinks(slopes, noise, share)
    if kinked.any() and a > STEEP * steepest:
        return "wrong", "it is many times the slopes to both sides of a kink"
    # Each direction by itself: one in which the loss jumps must not excuse another.
    contradicts = np.isfinite(doubt) & (apart > np.maximum(share, DOUBTS * (doubt + slopes.rounded))) & ~kinked
    if contradicts.any() and off > ROUNDED * epsilon * largest:
        return "wrong", _likeness(analytic[contradicts], numeric[contradicts])
    if kinked[apart > share].all() and (apart > share).any():
        return "kink", "its slopes to both sides differ"
    if not np.isfinite(unsure):
        return "undecidable", f"the loss jumps or is not finite near by: differences settle at no step; the gradient is {a:.1e}"
    rounding = float(np.linalg.norm(slopes.rounded)) + ROUNDED * epsilon * largest
    what, by = ("gradient", rounding) if rounding > unsure else ("loss", unsure)
    much = f"{100 * by / max(a, n):.2g} % of it" if max(a, n) else f"{by:.0e}"
    return "undecidable", f"it is small beside the rounding of the {what}: the comparison is uncertain by {much}"


def _best(slopes: Slopes, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each direction the extrapolated difference that is most certain, its uncertainty, and its smallest step: (D,) each."""
    steps = np.asarray(LADDER)
    column = (slopes.plus - slopes.minus) / (2 * steps)  # (D, steps)
    # Losses that are all the same say nothing at a step that may be too small for them, unless no step at all changes them.
    flat = (slopes.plus == slopes.center) & (slopes.minus == slopes.center)
    visible = np.abs(slopes.analytic)[:, None] * steps > 32 * noise
    column = np.where(flat & ~visible & ~flat.all(1, keepdims=True), np.nan, column)
    values, doubts, used = [], [], []
    for level in range(LEVELS):
        smallest = steps[level:]
        change = np.abs(np.diff(column, axis=1))  # (D, steps - level - 1)
        # Both neighbours have to agree: one alone may do so by chance, in the noise or across a kink.
        doubt = np.full(column.shape, np.inf)
        doubt[:, 1:-1] = np.maximum(change[:, :-1], change[:, 1:])
        doubts.append(doubt + noise / smallest)
        values.append(column)
        used.append(np.broadcast_to(smallest, column.shape))
        power = float(RATIO) ** (2 * level + 2)
        column = (power * column[:, 1:] - column[:, :-1]) / (power - 1)
    doubt = np.concatenate(doubts, axis=1)
    doubt = np.where(np.isfinite(doubt), doubt, np.inf)
    best = doubt.argmin(1)[:, None]
    value, step = (np.take_along_axis(np.concatenate(x, axis=1), best, 1)[:, 0] for x in (values, used))
    return np.where(np.isfinite(value), value, 0.0), np.take_along_axis(doubt, best, 1)[:, 0], step


def _kinks(slopes: Slopes, noise: float, least: float) -> tuple[np.ndarray, float]:
    """In which directions the slopes to both sides differ by more than `least` however small the step, and not by curvature or
    rounding (D,); and the norm of the steeper ones of the two.

    Of a smooth function |f(h) - 2 f(0) + f(-h)| / h falls with h until it is rounding; at a kink it stays.
    """
    steps = np.asarray(LADDER)
    ahead, behind = (slopes.plus - slopes.center) / steps, (slopes.center - slopes.minus) / steps  # (D, steps)
    gap, rounded = np.abs(ahead - behind), 4 * noise / steps
    at = (gap + rounded).argmin(1)[:, None]
    gap, ahead, behind = (np.take_along_axis(x, at, 1)[:, 0] for x in (gap, ahead, behind))
    rounded = rounded[at[:, 0]]
    steepest = np.maximum(np.abs(ahead), np.abs(behind)) + rounded
    return (gap > 100 * rounded) & (gap > least), float(np.linalg.norm(steepest))


def _order(slopes: Slopes, noise: float, epsilon: float) -> float | None:
    """The median order of the Taylor remainder between neighbouring steps, where it is more than rounding (which in bfloat16 it
    never is: the gradient's own rounding leaves a remainder of order 1).
    """
    if epsilon > np.finfo(np.float32).eps:
        return None
    steps = np.asarray(LADDER)
    linear = slopes.analytic[:, None] * steps
    remainder = np.maximum(
        np.abs(slopes.plus - slopes.center - linear), np.abs(slopes.minus - slopes.center + linear)
    )  # (D, steps)
    seen = remainder > 100 * (noise + epsilon * np.abs(linear))
    both = seen[:, :-1] & seen[:, 1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        orders = np.log(remainder[:, :-1] / remainder[:, 1:]) / np.log(RATIO)
    # The smallest steps tell most: what is left there is the lowest order, and most kinks are farther away.
    last = [direction[there][-3:] for direction, there in zip(orders, both, strict=True) if there.any()]
    return float(np.median(np.concatenate(last))) if last else None


def _likeness(analytic: np.ndarray, numeric: np.ndarray) -> str:
    """What a wrong gradient looks like."""
    a, n = np.linalg.norm(analytic), np.linalg.norm(numeric)
    if a <= 1e-6 * n:
        return "it is zero, but the loss depends on it: detached (stop_gradient), or forgotten in a backward pass"
    if n <= 1e-6 * a:
        return (
            "it is not zero, but the loss does not change: something is rounded or compared on the way "
            "(an estimator on purpose is declared with dlx.nn.straight_through)"
        )
    factor, cosine = float(analytic @ numeric) / float(n * n), float(analytic @ numeric) / float(a * n)
    off = float(np.linalg.norm(analytic - numeric)) / float(n)
    if len(analytic) > 1 and off > FAINT and np.linalg.norm(analytic - factor * numeric) <= 1e-3 * a:
        return f"it is {factor:.4g} times what it should be"
    if off < NEAR:
        return f"it is off by {off:.1e} of its size"
    return f"it points elsewhere: the cosine with the true slopes is {cosine:.2f}"
