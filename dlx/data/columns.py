"""How one column of a table becomes numbers: the four kinds of columns, each frozen, each fit for JSON.

A column is *fitted* in `encoder.py` on the training part and then only applied: `encode` gives the same numbers for the
same value whatever else is in the frame.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

MISSING = "missing"
OTHER = "other"
DatePart = Literal["year", "month", "weekday", "day_sin", "day_cos", "hour"]


@dataclass(frozen=True)
class Number:
    """A quantity: missing values become the median, long tails are drawn in by log1p, outliers are cut at the limits."""

    name: str
    median: float
    marks_missing: bool
    """Whether a second column says 1 where the value was missing."""
    log: bool
    low: float
    """Lowest and highest value that is let through, after the logarithm and the offset."""
    high: float
    offset: float = 0.0
    """Subtracted after the logarithm, before float32 would round away how the values differ; 0 where it would not."""
    kind: Literal["number"] = "number"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the columns made of this one."""
        return (self.name, f"{self.name} is missing") if self.marks_missing else (self.name,)

    @property
    def scaled(self) -> tuple[bool, ...]:
        """Which of `outputs` are quantities, to be standardized; the others are 0 or 1."""
        return (True, False) if self.marks_missing else (True,)

    def encode(self, column: pd.Series) -> np.ndarray:
        """(n, outputs) float32."""
        return self.encode_numbers(as_numbers(column))

    def encode_numbers(self, values: np.ndarray) -> np.ndarray:
        """(n, outputs) float32 of (n,) float64, where what is not finite is missing."""
        missing = ~np.isfinite(values)
        filled = np.where(missing, self.median, values)
        curve = np.log1p(np.maximum(filled, 0)) if self.log else filled
        cut = np.clip(curve - self.offset, self.low, self.high)
        return np.column_stack([cut, missing] if self.marks_missing else [cut]).astype(np.float32)


@dataclass(frozen=True)
class Flag:
    """A yes-or-no column: 1 for true, 0 for false and for missing."""

    name: str
    marks_missing: bool
    kind: Literal["flag"] = "flag"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the columns made of this one."""
        return (self.name, f"{self.name} is missing") if self.marks_missing else (self.name,)

    @property
    def scaled(self) -> tuple[bool, ...]:
        """None of `outputs` is standardized."""
        return (False,) * len(self.outputs)

    def encode(self, column: pd.Series) -> np.ndarray:
        """(n, outputs) float32 of 0 and 1."""
        text = as_text(column).str.lower()
        true = text.isin(("true", "1", "1.0")).to_numpy()
        return np.column_stack([true, column.isna()] if self.marks_missing else [true]).astype(np.float32)


@dataclass(frozen=True)
class Category:
    """One of a few words: a column of 0 and 1 for each. What is in none of them is `other`, or all zeros without one."""

    name: str
    categories: tuple[str, ...]
    has_other: bool
    has_missing: bool
    kind: Literal["category"] = "category"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the columns made of this one."""
        marks = (*self.categories, *([OTHER] if self.has_other else []), *([MISSING] if self.has_missing else []))
        return tuple(f"{self.name}={mark}" for mark in marks)

    @property
    def scaled(self) -> tuple[bool, ...]:
        """None of `outputs` is standardized."""
        return (False,) * len(self.outputs)

    def encode(self, column: pd.Series) -> np.ndarray:
        """(n, outputs) float32 of 0 and 1."""
        known = pd.Index(self.categories).get_indexer(as_text(column))  # -1 where it is none of them
        missing = column.isna().to_numpy()
        other, absent = len(self.categories), len(self.categories) + self.has_other
        place = np.where(known >= 0, known, other if self.has_other else -1)
        if self.has_missing:
            place = np.where(missing, absent, place)
        encoded = np.zeros((len(column), len(self.outputs)), np.float32)
        rows = np.flatnonzero(place >= 0)
        encoded[rows, place[rows]] = 1
        return encoded


@dataclass(frozen=True)
class Date:
    """A date or a time: its parts that vary in the training part. The day of the year is a point on a circle."""

    name: str
    format: str | None
    """What `pandas.to_datetime` reads text with; None for columns that were dates in training. Dates need none."""
    parts: tuple[DatePart, ...]
    medians: tuple[float, ...]
    marks_missing: bool
    kind: Literal["date"] = "date"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the columns made of this one."""
        return tuple(f"{self.name} {part}" for part in self.parts) + (
            (f"{self.name} is missing",) if self.marks_missing else ()
        )

    @property
    def scaled(self) -> tuple[bool, ...]:
        """Which of `outputs` are quantities, to be standardized."""
        return (True,) * len(self.parts) + ((False,) if self.marks_missing else ())

    def encode(self, column: pd.Series) -> np.ndarray:
        """(n, outputs) float32."""
        times = as_times(column, self.format)
        columns = [date_part(times, part).fillna(median) for part, median in zip(self.parts, self.medians, strict=True)]
        return np.column_stack([*columns, times.isna()] if self.marks_missing else columns).astype(np.float32)


Column = Number | Flag | Category | Date


def column_from_json(value: dict[str, Any]) -> Column:
    """The column whose `dataclasses.asdict` this is, possibly after a journey through JSON."""
    fields: dict[str, Any] = {name: tuple(field) if isinstance(field, list) else field for name, field in value.items()}
    match value["kind"]:
        case "number":
            return Number(**fields)
        case "flag":
            return Flag(**fields)
        case "category":
            return Category(**fields)
        case "date":
            return Date(**fields)
        case kind:
            raise ValueError(f"unknown kind of column {kind!r}")


def as_numbers(column: pd.Series) -> np.ndarray:
    """(n,) float64, NaN for everything that is not a number."""
    if pd.api.types.is_timedelta64_dtype(column):
        return column.dt.total_seconds().to_numpy(np.float64)
    return pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)


def as_text(column: pd.Series) -> pd.Series:
    """Each value as text, so that 1, 1.0 and "1" are one category, whatever the others are. Missing ones become "<NA>"."""
    text = column.astype("string")
    if pd.api.types.is_float_dtype(column):
        whole = ((column.abs() < 2**53) & (column == column.round())).fillna(False)
        text = text.mask(whole, column.where(whole).astype("Int64").astype("string"))
    return text.fillna("<NA>").str.strip()


def as_times(column: pd.Series, format: str | None) -> pd.Series:
    """Each value as a time in UTC, NaT where it is none. `format` is that of text; without one it is read as ISO 8601."""
    if pd.api.types.infer_dtype(column) in ("datetime64", "datetime", "date"):
        return pd.to_datetime(column, errors="coerce", utc=True)
    return pd.to_datetime(column.astype("string"), format=format or "ISO8601", errors="coerce", utc=True)


def date_part(times: pd.Series, part: DatePart) -> pd.Series:
    """One part of each time as a number, NaN where the time is missing."""
    match part:
        case "year":
            return times.dt.year.astype(float)
        case "month":
            return times.dt.month.astype(float)
        case "weekday":
            return times.dt.day_of_week.astype(float)
        case "hour":
            return (times.dt.hour + times.dt.minute / 60).astype(float)
        case "day_sin":
            return np.sin(times.dt.day_of_year * (2 * np.pi / 365.25))
        case "day_cos":
            return np.cos(times.dt.day_of_year * (2 * np.pi / 365.25))
