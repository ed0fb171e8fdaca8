"""What a range test tries and what it finds, as plain data that is written down and read again. Nothing here trains."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dlx.config.schedule import ScheduleConfig, Triangular
from dlx.diagnose.suggest import LEAST_POINTS, Reading, constant_rules, ladder, ramp_rules, read
from dlx.errors import UsageError

FORMAT = "dlx-range-test-1"
WIDEST = 1e30
"""Of rates, and of the highest in terms of the lowest."""


@dataclass(frozen=True)
class RangeTest:
    """What is tried: `rates` rates from `lowest` to `highest`, under so many seeds."""

    lowest: float = 1e-7
    highest: float = 10.0
    rates: int = 100
    steps: int | None = None
    """How many steps each rate has in constant mode; None for a ramp, which takes one step of each."""
    seeds: int = 1
    linear: bool = False
    validation: bool = False
    """Whether the loss of the validation part is read, instead of that of each mini-batch."""
    beta: float = 0.9
    """Of the exponential smoothing of a ramp. Rates of their own are not smoothed: no point knows of the one before."""
    stop: float = 4.0
    """A seed is over when its smoothed loss is so many times its best, or not finite."""

    def check(self) -> None:
        """Raises `UsageError` for what cannot be tried."""
        if not 0 < self.lowest < self.highest < math.inf:
            raise UsageError(
                f"--min-lr {self.lowest:g} --max-lr {self.highest:g}: the first must be above 0, and below the second"
            )
        if self.highest > WIDEST or self.highest / self.lowest > WIDEST:
            raise UsageError(f"--min-lr {self.lowest:g} --max-lr {self.highest:g}: that is more than float32 can hold")
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"--steps {self.steps}: each rate takes at least one step")
        if self.rates < LEAST_POINTS:
            name = "--steps" if self.steps is None else "--rates"
            raise UsageError(f"{name} {self.rates}: fewer than {LEAST_POINTS} rates say nothing")
        if not 0 <= self.beta < 1:
            raise UsageError(f"--smoothing {self.beta:g}: it is at least 0 and below 1; 0 is no smoothing")
        if not self.stop > 1:
            raise UsageError(f"--stop {self.stop:g}: it is how many times its best the loss may become: above 1")

    @property
    def ladder(self) -> np.ndarray:
        """The rates (rates,)."""
        return ladder(self.lowest, self.highest, self.rates, linear=self.linear)

    @property
    def smoothing(self) -> float:
        """The smoothing's beta that holds."""
        return self.beta if self.steps is None else 0.0


@dataclass(frozen=True)
class RangeCurve:
    """What was measured of one experiment. A ramp's training losses are of the weights before the step of that rate, its validation
    losses after it; those of constant mode after all steps. What was not taken, or came to no number, is NaN.
    """

    rates: np.ndarray
    """(rates,)"""
    losses: np.ndarray
    """(seeds, rates)"""
    smoothed: np.ndarray
    """(seeds, rates), infinite from where a seed is over."""

    @property
    def median(self) -> np.ndarray:
        """The middle seed's smoothed loss (rates,); infinite where half of them are over."""
        return np.median(self.smoothed, axis=0)


def standard_error(losses: np.ndarray, beta: float) -> float:
    """Of the smoothed loss of raw losses (seeds, steps), from the first quarter, where next to nothing is learned.

    Seeds see the same batches, so their losses are not independent: what is looked at is their mean. Differences of neighbours
    have twice the variance of one loss, and an exponential average of independent losses has (1 - beta) / (1 + beta) of it.
    """
    first = losses[:, : max(3, losses.shape[1] // 4)].mean(axis=0)
    steps = np.diff(np.where(np.isfinite(first), first, np.nan))
    steps = steps[np.isfinite(steps)]
    variance = float(np.mean(np.square(steps))) / 2 if len(steps) else 0.0
    return float(np.sqrt(variance * (1 - beta) / (1 + beta)))


@dataclass(frozen=True)
class Skips:
    """How many points at both ends of a curve are not read."""

    start: int = 0
    end: int = 0


@dataclass(frozen=True)
class Finding:
    """What the test of one experiment says."""

    label: str
    """What sets it apart from the others that were compared with it, such as `optimizer.weight_decay=0.001`; or nothing."""
    curve: RangeCurve
    reading: Reading
    changes: Mapping[str, float]
    """What to set, by dotted key. Nothing without a falling region."""


@dataclass(frozen=True)
class RangeFound:
    """A whole test: its settings, and a finding for each experiment."""

    test: RangeTest
    findings: tuple[Finding, ...]

    @property
    def falls(self) -> bool:
        """Whether every experiment has a falling region."""
        return all(finding.changes for finding in self.findings)


def to_json(found: RangeFound) -> dict[str, Any]:
    """All that was measured, and what was read of it. What is not finite is null."""
    return {
        "format": FORMAT,
        "test": asdict(found.test),
        "curves": [
            {
                "label": finding.label,
                "rates": finding.curve.rates.tolist(),
                "losses": _plain(finding.curve.losses),
                "smoothed": _plain(finding.curve.smoothed),
            }
            for finding in found.findings
        ],
        "findings": findings_json(found),
    }


def from_json(stored: Any) -> tuple[RangeTest, list[str], list[RangeCurve]]:
    """The settings, labels and curves that `to_json` wrote. Raises `ValueError`, `KeyError` or `TypeError` for anything else."""
    if stored["format"] != FORMAT:
        raise ValueError(f"its format is {stored['format']!r}, not {FORMAT!r}")
    curves = [
        RangeCurve(np.array(each["rates"], float), _array(each["losses"], np.nan), _array(each["smoothed"], np.inf))
        for each in stored["curves"]
    ]
    test = RangeTest(**stored["test"])
    shape = (test.seeds, test.rates)
    if any({each.losses.shape, each.smoothed.shape, (test.seeds, *each.rates.shape)} != {shape} for each in curves):
        raise ValueError("its curves are of another size than its test")
    return test, [each["label"] for each in stored["curves"]], curves


def findings_json(found: RangeFound) -> list[dict[str, Any]]:
    """What was read of each curve."""
    return [{"label": each.label, "set": dict(each.changes), **reading_json(each.reading)} for each in found.findings]


def changes(reading: Reading, schedule: ScheduleConfig) -> dict[str, float]:
    """What to set, to three significant digits: the rate, and for triangular schedules the lower one as a part of the upper."""
    if reading.recommended is None or reading.peak is None or reading.base is None:
        return {}
    cyclical = (reading.peak, reading.base / reading.peak)
    values = cyclical if isinstance(schedule, Triangular) else (reading.recommended,)
    return dict(zip(changed_keys(schedule), map(_rounded, values), strict=True))


def changed_keys(schedule: ScheduleConfig) -> tuple[str, ...]:
    """What a range test sets of an experiment under such a schedule."""
    return ("optimizer.lr", "schedule.base") if isinstance(schedule, Triangular) else ("optimizer.lr",)


def read_curves(
    test: RangeTest, labels: Sequence[str], curves: Sequence[RangeCurve], schedule: ScheduleConfig, skips: Skips
) -> RangeFound:
    """Reads the curves of a test. `schedule` is what the experiments train under: it decides what is to be set.

    Raises `UsageError` when too much is skipped.
    """
    findings = []
    for label, curve in zip(labels, curves, strict=True):
        noise = standard_error(curve.losses, test.smoothing)
        rules = ramp_rules if test.steps is None else constant_rules
        reading = read(curve.rates, curve.median, noise, rules, skip_start=skips.start, skip_end=skips.end)
        findings.append(Finding(label, curve, reading, changes(reading, schedule)))
    return RangeFound(test, tuple(findings))


def reading_json(reading: Reading) -> dict[str, Any]:
    """What one curve says."""
    return {
        "recommended": reading.recommended,
        "base": reading.base,
        "peak": reading.peak,
        "confidence": reading.confidence,
        "why": reading.why,
        "suggestions": {each.rule: {"rate": each.rate, "why": each.why} for each in reading.suggestions},
    }


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _plain(values: np.ndarray) -> list[Any]:
    """A table of numbers as JSON has it."""
    return [[float(x) if np.isfinite(x) else None for x in row] for row in values]


def _array(rows: Sequence[Sequence[float | None]], absent: float) -> np.ndarray:
    return np.array([[absent if x is None else x for x in row] for row in rows], float)
