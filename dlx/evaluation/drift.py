"""Inputs that are far from those of training: other units, shuffled columns, inverted or rescaled images, unknown categories.

New examples always differ a little. A difference is told if it is large (in standard deviations of training, or as Cohen's h for
shares: Cohen 1988, chapter 6) and also far beyond what chance makes of so few examples. Mostly equal columns tell little, since few
rare values decide their mean and spread. No false alarm was found on the test and validation parts of digits, mnist and
fashion-mnist (also as 784 columns), cifar10, adult, california-housing, wine-quality, titanic, pjm-energy and beijing-pm25, nor on
40 to 200 samples of 10 to 1,000 rows of each.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dlx.data import Preparation, some_rows
from dlx.data.columns import Category, Column, Number

FAR, FAR_IMAGES = 0.5, 0.25
"""Standard deviations between the means, or Cohen's h between the shares, that are worth a warning: a medium effect, and for the mean
of whole images half of it, because it hardly differs between two samples of images."""
BEYOND = 5.0
"""Standard errors by which a mean or a standard deviation must differ."""
WIDER, WIDER_IMAGES = 4.0, 2.0
"""How many times larger or smaller the standard deviation must be."""
KURTOSIS = 100.0
"""A small sample misses rare large values, and its spread is then no sign of anything. So much is assumed of every column, and a
spread that is too small is told of 2,500 examples or more."""
CHANCE = 1e-6
"""The probability, in a sample of training's own examples, below which a share is no chance."""
FEWEST = 10
"""Examples of which anything is said."""
MOST, MOST_VALUES = 20_000, 5_000_000
"""Examples, and values of examples, that are looked at."""
MOST_NAMED = 5
CUT = 0.5
"""The share of values beyond the encoder's limits above which their mean says nothing."""


@dataclass(frozen=True)
class _Shift:
    """One input that is far from training's."""

    strength: float
    """In multiples of what is worth a warning."""
    said: str


def drift(preparation: Preparation, inputs: np.ndarray) -> tuple[str, ...]:
    """One sentence for each input (raw column, channel, feature) that is far from training's, the farthest first: five of them, then how many more.

    `inputs` are those of a `Part` of new data, not standardized. Empty for runs stored before training inputs were described.
    """
    if preparation.moments is None or len(inputs) < FEWEST:
        return ()
    columns = max(1, inputs[0].size)
    part = inputs[some_rows(len(inputs), min(MOST, max(FEWEST, MOST_VALUES // columns)))]
    images = preparation.encoder is None and inputs.ndim == 4
    found = sorted(_shifts(preparation, _moments(part), images=images), key=lambda shift: -shift.strength)
    said = [shift.said for shift in found[:MOST_NAMED]]
    if (more := len(found) - MOST_NAMED) > 0:
        said.append(f"and {more:,} more input{'s differ' if more > 1 else ' differs'} from training's")
    return tuple(said)


@dataclass(frozen=True)
class _Moments:
    """Of new inputs, along their last axis; all (features,) float64. What lies within one example is one observation: pixels depend."""

    examples: int
    mean: np.ndarray
    error: np.ndarray
    """Of the mean."""
    std: np.ndarray
    doubt: np.ndarray
    """The standard error of the logarithm of `std`."""
    values: np.ndarray
    """The inputs themselves (n, ..., features)."""


def _moments(inputs: np.ndarray) -> _Moments:
    n = len(inputs)
    own = inputs.reshape(n, -1, inputs.shape[-1]).astype(np.float64)  # (n, places, features)
    means = own.mean(1)
    mean = means.mean(0)
    squares = np.square(own - mean).mean(1)  # (n, features)
    variance = squares.mean(0)
    with np.errstate(all="ignore"):
        relative = np.where(variance > 0, squares.var(0) / np.square(variance), 0)  # kurtosis - 1 where an example is one value
    doubt = 0.5 * np.sqrt(relative / n)
    return _Moments(n, mean, means.std(0) / math.sqrt(n), np.sqrt(variance), doubt, inputs)


def _shifts(preparation: Preparation, new: _Moments, *, images: bool) -> Iterator[_Shift]:
    encoder = preparation.encoder
    if encoder is None:
        for place, name in enumerate(preparation.columns):
            what = ("pixels" if name == "grey" else f"{name} channel") if images else f"input {name}"
            if shift := _quantity(preparation, new, place, what, images=images):
                yield shift
        return
    first = 0
    for column in encoder.columns:
        places = np.arange(first, first + len(column.outputs))
        first += len(column.outputs)
        shifts = [*_shares(preparation, new, column, places)]
        for place, scaled in zip(places.tolist(), column.scaled, strict=True):
            if scaled:
                what = (
                    column.name if len(column.outputs) == 1 or isinstance(column, Number) else column.outputs[place - places[0]]
                )
                limits = _cut_off(column, new, place, what) if isinstance(column, Number) else None
                shifts.append(
                    limits or _quantity(preparation, new, place, what, column if isinstance(column, Number) else None)
                )
        if known := [shift for shift in shifts if shift]:
            yield max(known, key=lambda shift: shift.strength)


def _quantity(
    preparation: Preparation, new: _Moments, place: int, what: str, column: Number | None = None, *, images: bool = False
) -> _Shift | None:
    """A number whose mean or standard deviation is far from training's: what is farther."""
    assert preparation.moments is not None
    mean, std = float(preparation.moments.mean[place]), float(preparation.moments.std[place])
    own, spread, error = float(new.mean[place]), float(new.std[place]), float(new.error[place])
    unit = std if std > 0 else max(abs(mean), 1e-6)
    error = max(error, 0 if images else std / math.sqrt(new.examples))  # equal values of a small sample are no certainty
    far = FAR_IMAGES if images else FAR
    distance = abs(own - mean)
    offset = column.offset if column else 0.0
    whose = "mean of log(1 + x)" if column and column.log else "mean"
    found: list[_Shift] = []
    if distance > far * unit and distance > BEYOND * error:
        away = f"{distance / unit:,.1f} standard deviations away" if std > 0 else "where it never varied"
        said = f"{what}: {whose} {own + offset:.3g}, {mean + offset:.3g} in training ({away})"
        found.append(_Shift(distance / unit / far, said))
    ratio = abs(math.log(max(spread, 1e-12 * std) / std)) if std > 0 else 0.0
    limit = math.log(WIDER_IMAGES if images else WIDER)
    if ratio > limit and _surely(new, place, std, distance / unit, images=images):
        times = f"{math.exp(ratio):,.1f} times {'larger' if spread > std else 'smaller'}" if spread else "all are equal"
        whose = whose.replace("mean", "standard deviation", 1)
        found.append(_Shift(ratio / limit, f"{what}: {whose} {spread:.3g}, {std:.3g} in training ({times})"))
    return max(found, key=lambda shift: shift.strength, default=None)


def _surely(new: _Moments, place: int, std: float, away: float, *, images: bool) -> bool:
    """Whether the variance differs from `std`'s by more than chance, where the mean is so many standard deviations away."""
    spread, doubt = float(new.std[place]), float(new.doubt[place])
    if spread > std:
        return 0.5 * (1 - (std / spread) ** 2) > BEYOND * doubt
    least = 0.0 if images else 0.5 * math.sqrt((KURTOSIS - 1) / new.examples)
    if 0.5 * (1 - (spread / std) ** 2) <= BEYOND * max(doubt, least):
        return False
    values = new.values[..., place]
    if images or np.mean(values == np.median(values)) <= 0.5:
        return True
    # A column that is mostly one value has its variance from rare others, a share of about `away` squared: none may be here.
    return new.examples * away**2 > -math.log(CHANCE)


def _cut_off(column: Number, new: _Moments, place: int, what: str) -> _Shift | None:
    """A number most of whose values are beyond what the encoder lets through: other units, most often."""
    values = new.values[:, place]
    for limit, where in ((column.high, "above"), (column.low, "below")):
        share = float(np.mean(values >= np.float32(limit) if where == "above" else values <= np.float32(limit)))
        if share > CUT and abs(limit) < 1e38:
            raw = limit + column.offset
            raw = math.expm1(raw) if column.log else raw
            said = (
                f"{what}: {_percent(share)} of the values are {where} {raw:.3g}, 5 standard deviations beyond training's mean"
            )
            return _Shift(10 * share, said)
    return None


def _shares(preparation: Preparation, new: _Moments, column: Column, places: np.ndarray) -> Iterator[_Shift]:
    """Categories, flags and missing values that are more, or less, frequent than in training, and unknown categories."""
    assert preparation.moments is not None
    if isinstance(column, Category) and not column.has_other:
        unknown = 1 - float(new.mean[places].sum())
        before = 1 - float(preparation.moments.mean[places].sum())
        if strength := _apart(unknown, before, new.examples, preparation.spec.examples):
            yield _Shift(strength, f"{column.name}: {_percent(unknown)} of the values were not in training")
            return  # which makes all others rarer
    for place, output, scaled in zip(places.tolist(), column.outputs, column.scaled, strict=True):
        share, before = float(new.mean[place]), float(preparation.moments.mean[place])
        if scaled or not (strength := _apart(share, before, new.examples, preparation.spec.examples)):
            continue
        told = f"{_percent(share)}, {_percent(before)} in training"
        if isinstance(column, Category):
            yield _Shift(strength, f"{column.name}: {output.removeprefix(f'{column.name}=')} {told}")
        else:
            yield _Shift(strength, f"{column.name}: {'missing' if output.endswith(' is missing') else 'true'} {told}")


def _apart(share: float, before: float, examples: int, of: int) -> float:
    """Cohen's h of two shares, in multiples of what is far; 0 where it is not far, or may be chance. `before` is of so many examples."""
    from scipy.stats import binom

    new, old = (2 * math.asin(math.sqrt(min(max(value, 0), 1))) for value in (share, before))
    h, count = abs(new - old), round(share * examples)
    least = 1 / (of + 2)  # what never occurred, or always, may yet (Laplace)
    expected = min(max(before, least), 1 - least)
    tail = binom.cdf(count, examples, expected) if share < before else binom.sf(count - 1, examples, expected)
    return h / FAR if h > FAR and tail < CHANCE else 0.0


def _percent(share: float) -> str:
    return f"{share:.0%}" if share in (0, 1) or 0.01 <= share <= 0.99 else f"{share:.2%}"
