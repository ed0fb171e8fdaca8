"""The rows of a series: a CSV file in the order of its times, without gaps in its columns of numbers."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import assert_never

import numpy as np
import pandas as pd
from pandas.tseries.api import guess_datetime_format

from dlx.config.series_data import CalendarPart
from dlx.data.columns import as_numbers
from dlx.data.encoder import nearest
from dlx.data.read_table import read_csv
from dlx.errors import DataError

_DAY = 86_400.0  # seconds
_YEAR = 365.25 * _DAY
_GAP = 1.5
"""Rows that are so many usual distances apart have a gap between them: months are of unequal lengths and have none."""


@dataclass(frozen=True)
class SeriesRows:
    """Rows of numbers in the order of their times."""

    frame: pd.DataFrame
    """As they were read; the index is the row's number in the file, from 0."""
    times: pd.DatetimeIndex
    """In UTC, ascending, each once."""
    values: np.ndarray
    """(n, columns) float64, finite."""
    known: np.ndarray
    """(n,): whether the first column's value was there, and is not the last one before it."""
    report: tuple[str, ...]

    @property
    def distance(self) -> float:
        """The usual time between two rows, in seconds."""
        return float(np.median(np.diff(self.times.asi8))) / _units_of_second(self.times)

    @property
    def season(self) -> int:
        """Rows of a day; of a week, where rows are a day apart or more; of a year, where they are a week apart or more."""
        distance = self.distance
        length = _DAY if distance < _DAY else 7 * _DAY if distance < 7 * _DAY else _YEAR
        return max(1, round(length / distance))


def read_series(path: Path, time: str | Sequence[str], columns: Sequence[str], missing: Sequence[str]) -> SeriesRows:
    """The rows with a time, sorted by it; of two with one time the first. What is missing is the last value before it.

    Raises `DataError` for a column that is not there or holds words, times that cannot be read, or fewer than two rows.
    """
    frame = read_csv(path, missing)
    time = (time,) if isinstance(time, str) else tuple(time)
    for name in (*time, *columns):
        if name not in frame.columns:
            raise DataError(f"{path} has no column {name!r}{nearest(name, frame.columns)}")
    report: list[str] = []
    times = read_times(frame[list(time)], str(path), report)
    frame = frame[times.notna().to_numpy()]
    if left := len(times) - len(frame):
        report.append(f"rows without a time were left out: {left:,}")
    times = times.dropna()
    order = np.argsort(times.to_numpy(), kind="stable")
    if (order != np.arange(len(order))).any():
        report.append("the rows were not in the order of their times and were sorted")
    frame, times = frame.iloc[order], times.iloc[order]
    first = ~times.duplicated().to_numpy()
    if twice := int((~first).sum()):
        report.append(f"of rows with the same time the first is used; left out: {twice:,}")
    frame, times = frame[first], times[first]
    values = _numbers(frame, columns, path)
    known = ~np.isnan(values[:, 0])
    values, begin = _filled(values, columns, report)
    if len(values) < 2:
        raise DataError(f"{path} has {len(values)} rows that can be used: a series needs two or more")
    rows = SeriesRows(frame.iloc[begin:], pd.DatetimeIndex(times.iloc[begin:]), values, known[begin:], tuple(report))
    return _with_gaps(rows)


def read_times(columns: pd.DataFrame, where: str, report: list[str]) -> pd.Series:
    """The times (n,) in UTC of one column of any usual format, or of columns called year, month, day, and perhaps hour and so on.

    NaT where a value is missing. Where all may be day first or month first, they are what makes the rows more evenly apart, and
    `report` gets a sentence. Raises `DataError`, beginning with `where`, for words that are no times.
    """
    names = ", ".join(map(repr, columns.columns))
    if len(columns.columns) > 1:
        try:
            return pd.to_datetime(columns, utc=True)
        except (ValueError, TypeError) as error:
            raise DataError(
                f"{where}: the columns {names} make no times ({error}): call them year, month, day, hour, minute, second"
            ) from error
    column = columns.iloc[:, 0]
    if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")  # years, which a missing one had made floats
    text = column.astype("string")
    present = text.dropna()
    best = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True)
    if best.notna().sum() == len(present):  # where the year is first there is no doubt
        return best
    whole: list[pd.Series] = []
    for format in _formats(present):
        times = pd.to_datetime(text, format=format, errors="coerce", utc=True)
        if times.notna().sum() == len(present):
            whole.append(times)
        best = times if times.notna().sum() > best.notna().sum() else best
    if whole:
        return _more_even(text, whole, names, report)
    odd = text[(text.notna() & best.isna()).to_numpy()]
    raise DataError(
        f"{where}: the column {names} has values that are no times, such as {odd.iloc[0]!r} ({len(odd):,} in all): "
        "write them as 2024-01-31 13:00"
    )


def _more_even(text: pd.Series, readings: Sequence[pd.Series], names: str, report: list[str]) -> pd.Series:
    """Of the ways to read the same words the one with rows more evenly apart; the first, month first, where it makes no difference."""
    taken = min(readings, key=_unevenness)
    for other in readings:
        if (differ := (taken.notna() & (taken != other)).to_numpy()).any():
            word, time, instead = (values[differ].iloc[0] for values in (text, taken, other))
            report.append(
                f"{names} may be day first or month first: {word!r} is taken for {time:%Y-%m-%d} and not for {instead:%Y-%m-%d}, "
                f"{'which makes the rows more evenly apart' if _unevenness(taken) < _unevenness(other) else 'month first'}; "
                "write the year first to be sure"
            )
    return taken


def _unevenness(times: pd.Series) -> float:
    """How much the distances of sorted times differ, in shares of their mean: 0 for rows evenly apart."""
    apart = np.diff(np.unique(pd.DatetimeIndex(times.dropna()).asi8).astype(np.float64))
    return float(apart.std() / apart.mean()) if len(apart) else 0.0


def _formats(words: pd.Series) -> list[str]:
    """In which the first of the words may be written; month first before day first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the order of day and month, where there is no doubt
        guesses = [guess_datetime_format(str(word), dayfirst=first) for word in words[:1] for first in (False, True)]
    return list(dict.fromkeys(guess for guess in guesses if guess))


def calendar(times: pd.DatetimeIndex, parts: Sequence[CalendarPart]) -> np.ndarray:
    """Points on circles, (n, 2 * parts) float64: sine and cosine of each part of the times."""
    turns = np.zeros((len(times), len(parts)))
    for place, part in enumerate(parts):
        match part:
            case "hour":
                turns[:, place] = (times.hour + times.minute / 60) / 24
            case "weekday":
                turns[:, place] = times.day_of_week / 7
            case "month":
                turns[:, place] = (times.month - 1) / 12
            case "year-day":
                turns[:, place] = (times.day_of_year - 1) / 365.25
            case _:
                assert_never(part)
    angles = 2 * np.pi * turns
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(len(times), -1)


def _numbers(frame: pd.DataFrame, columns: Sequence[str], path: Path) -> np.ndarray:
    """(n, columns) float64, NaN where a value is missing."""
    found = []
    for name in columns:
        column = frame[name]
        values = as_numbers(column)
        values = np.where(np.isfinite(values), values, np.nan)
        if len(odd := column[np.isnan(values) & column.notna().to_numpy()]):
            shown = f"{str(odd.iloc[0])!r} ({len(odd):,} in all)"
            raise DataError(
                f"{path}: the column {name!r} has values that are no numbers, such as {shown}: leave it out, or add the word to data.missing"
            )
        found.append(values)
    return np.column_stack(found)


def _filled(values: np.ndarray, columns: Sequence[str], report: list[str]) -> tuple[np.ndarray, int]:
    """The values with the last one before it in place of each missing one, from the first row on that has all; and that row's number."""
    missing = np.isnan(values)
    filled = pd.DataFrame(values).ffill().to_numpy()
    complete = np.flatnonzero(~np.isnan(filled).any(axis=1))
    begin = int(complete[0]) if len(complete) else len(values)
    if begin:
        report.append(f"the first {begin:,} rows were left out: before them nothing is known of a missing value")
    for name, count in zip(columns, missing[begin:].sum(axis=0).tolist(), strict=True):
        if count:
            report.append(f"missing values of {name} became the last one before them: {count:,} of {len(values) - begin:,}")
    return filled[begin:], begin


def _with_gaps(rows: SeriesRows) -> SeriesRows:
    """The rows, with a sentence about the gaps in their times, if there are any."""
    apart = np.diff(rows.times.asi8) / _units_of_second(rows.times)
    gaps = int((apart > _GAP * rows.distance).sum())
    if not gaps:
        return rows
    said = f"rows are {_words(rows.distance)} apart, but at {gaps:,} places, where rows are missing: a window goes on over them"
    return replace(rows, report=(*rows.report, said))


def _units_of_second(times: pd.DatetimeIndex) -> float:
    """How many of what `asi8` counts are a second."""
    return math.pow(10, {"s": 0, "ms": 3, "us": 6, "ns": 9}[times.unit])


def _words(seconds: float) -> str:
    """A length of time for people: `1 hour`, `30 days`."""
    for length, word in ((_DAY, "day"), (3600.0, "hour"), (60.0, "minute"), (1.0, "second")):
        if seconds >= length:
            count = seconds / length
            return f"{count:g} {word}{'' if count == 1 else 's'}"
    return f"{seconds:g} seconds"
