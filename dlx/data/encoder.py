"""From a table of mixed columns to float32 rows: what each column is, fitted on the training part, and stored with the run.

Long tails and outliers: a non-negative column with a skewness above `_LONG_TAIL` is replaced by log(1 + x), unless it is
mostly zeros, and every quantity is cut `_CUT` standard deviations from its mean. Measured with scikit-learn's MLP on the
test part: California housing RMSE 53,470 dollars with both, 54,738 without the logarithm, 53,678 without the cut; adult
accuracy 0.855 so, 0.852 where the mostly-zero capital gains too become logarithms.
"""

import re
import warnings
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any, get_args

import numpy as np
import pandas as pd
from pandas.tseries.api import guess_datetime_format

from dlx.data.columns import (
    OTHER,
    Category,
    Column,
    Date,
    DatePart,
    Flag,
    Number,
    as_numbers,
    as_text,
    as_times,
    column_from_json,
    date_part,
)
from dlx.errors import DataError, first_of

_LONG_TAIL = 2.0
_CUT = 5.0
PARSES = 0.95  # share of the values that must read as dates, or numbers, for the column to be taken for such
_TELLING = 0.1  # share of rows that must miss, and have, a free text for its presence to be worth an input
_RARE = 10  # training rows below which a category is folded into `other`
_CONSTANT = "left out, it has the same value in every training row"
_IDENTIFIER = "left out, it numbers the rows (whole numbers in order, one apart)"
_LIMIT = 3.4e38  # what float32 holds
_ROUNDED = 1e-5  # standard deviations by which float32 may change a value before the column is centred
_DATE_LOOK = re.compile(
    r"\s*(?:\d{4}[-/.]\d{1,2}\b|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}\b|\d{1,2}[ -][A-Za-z]{3,9}[ -]\d{2,4}"
    r"|[A-Za-z]{3,9}\.? \d{1,2},? \d{4})"
)


@dataclass(frozen=True)
class TableEncoder:
    """What turns a frame into the inputs of a network. Equal encoders give equal inputs."""

    columns: tuple[Column, ...]
    report: tuple[str, ...]

    @classmethod
    def fit(cls, frame: pd.DataFrame, max_categories: int, tame: bool = True) -> "TableEncoder":
        """Fit on the training part, without its target columns. `tame` allows logarithms and cuts.

        The index of `frame` is the number of each row in the file: a column that only repeats it is left out, unless it
        is all there is. Raises `DataError` when no column is left.
        """
        fitted: dict[str, tuple[Column | None, str]] = {
            name: _fit_column(name, frame[name], max_categories, tame) for name in frame.columns
        }
        identifiers = {name for name, (column, _) in fitted.items() if _is_identifier(column, frame[name])}
        if any(column is not None and name not in identifiers for name, (column, _) in fitted.items()):
            fitted |= dict.fromkeys(identifiers, (None, _IDENTIFIER))
        columns = tuple(column for column, _ in fitted.values() if column is not None)
        names_by_note: dict[str, list[str]] = {}
        for name, (_, said) in fitted.items():
            names_by_note.setdefault(said, []).append(name)
        report = tuple(f"{_listed(names)}: {said}" for said, names in names_by_note.items() if said)
        if not columns:
            raise DataError(
                f"no column is left to learn from ({'; '.join(report) or 'the table has only targets'}): "
                "add a column that varies, take one out of data.drop, or raise data.max_categories"
            )
        return cls(columns, report)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the encoded columns, in order."""
        return tuple(name for column in self.columns for name in column.outputs)

    @property
    def scaled(self) -> np.ndarray:
        """(outputs,) bool: which encoded columns are quantities, to be standardized; the others are 0 or 1."""
        return np.array([scaled for column in self.columns for scaled in column.scaled])

    def transform(self, frame: pd.DataFrame) -> np.ndarray:
        """(n, outputs) float32. Columns the encoder does not know are ignored; raises `DataError` for one that is missing."""
        for column in self.columns:
            if column.name not in frame.columns:
                raise DataError(f"the table has no column {column.name!r}{nearest(column.name, frame.columns)}")
        return np.hstack([column.encode(frame[column.name]) for column in self.columns])

    def to_json(self) -> dict[str, Any]:
        """Plain lists, numbers and text."""
        return {"columns": [asdict(column) for column in self.columns], "report": list(self.report)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "TableEncoder":
        """The encoder whose `to_json` this is, possibly after a journey through a file."""
        return cls(tuple(column_from_json(column) for column in value["columns"]), tuple(value["report"]))


def nearest(name: str, names: Any) -> str:
    """The end of a message about an unknown column: the names most like it, or else the first ones."""
    by_lower = {str(known).lower(): str(known) for known in names}
    close = get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)
    if close:
        return f": did you mean {' or '.join(repr(by_lower[c]) for c in close)}?"
    shown = [repr(str(known)) for known in names]
    return f": it has {', '.join(shown[:10])}{', ...' if len(shown) > 10 else ''}"


def _listed(names: list[str]) -> str:
    return f"column{'s' if len(names) > 1 else ''} {first_of(names, 8)}"


def _fit_column(name: str, column: pd.Series, max_categories: int, tame: bool) -> tuple[Column | None, str]:
    """The fitted column and what is worth telling; None for a column that is left out."""
    column = column.infer_objects()  # a slice of a column of objects may hold numbers only
    present = column.dropna()
    if not len(present):
        return None, "left out, it has no values in the training part"
    if pd.api.types.is_bool_dtype(column.dtype) or (column.dtype == object and present.map(type).eq(bool).all()):
        return (Flag(name, bool(column.isna().any())), "") if column.nunique(dropna=False) > 1 else (None, _CONSTANT)
    if pd.api.types.is_datetime64_any_dtype(column):
        return _fit_date(name, column, None)
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
        return _fit_number(name, column, tame)
    return _fit_text(name, column, max_categories, tame)


def _fit_number(name: str, column: pd.Series, tame: bool, said: str = "") -> tuple[Column | None, str]:
    values = as_numbers(column)
    known = values[np.isfinite(values)]
    absent = len(values) - len(known)
    if not len(known) or (not absent and known.min() == known.max()):
        return None, _CONSTANT
    log = tame and known.min() >= 0 and np.median(known) > 0 and pd.Series(known).skew() > _LONG_TAIL
    curve = np.log1p(known) if log else known
    offset = _offset(curve)
    reach = _CUT * float(curve.std()) if tame and curve.std() > 0 else _LIMIT
    middle = float(curve.mean()) - offset
    low, high = max(middle - reach, -_LIMIT), min(middle + reach, _LIMIT)
    number = Number(name, float(np.median(known)), absent > 0, bool(log), low, high, offset)
    notes = [said] if said else []
    if absent:
        notes.append(f"missing values ({absent:,}) become the median {number.median:.6g}, and a column says where")
    if log:
        notes.append("long-tailed, so log(1 + x) is used")
    if offset:
        notes.append(f"large for its spread, so {offset:.10g} is subtracted")
    return number, "; ".join(notes)


def _offset(curve: np.ndarray) -> float:
    """What to subtract before the cast to float32: the median where the cast would lose the differences, or else 0."""
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
        change = np.abs(curve.astype(np.float32) - curve).max()
    return float(np.median(curve)) if change > _ROUNDED * curve.std() else 0.0


def _is_identifier(fitted: Column | None, column: pd.Series) -> bool:
    """Whether the values number the rows of the file: whole, none missing, each row one more than the row above."""
    if not isinstance(fitted, Number) or len(column) < _RARE:
        return False
    values = as_numbers(column)
    rows = column.index.to_numpy(np.float64)
    return bool((values == np.round(values)).all() and (values - rows == values[0] - rows[0]).all())


def _fit_text(name: str, column: pd.Series, max_categories: int, tame: bool) -> tuple[Column | None, str]:
    text = as_text(column.dropna())
    distinct = text.nunique()
    looks = text.head(1000).str.match(_DATE_LOOK).mean()  # only the first: all of them are read below
    if looks >= PARSES and (format := _date_format(text)):
        return _fit_date(name, column, format)
    if distinct <= max_categories:
        return _fit_category(name, column, text)
    numeric = np.isfinite(as_numbers(text))
    if numeric.mean() >= PARSES:
        bad = text[~numeric]
        said = (
            f"values that are not numbers, such as {bad.iloc[0]!r} ({len(bad):,} in all), count as missing" if len(bad) else ""
        )
        return _fit_number(name, column, tame, said)
    absent = 1 - len(text) / len(column)
    if _TELLING <= absent <= 1 - _TELLING:
        marks = Category(name, (), has_other=True, has_missing=True)
        return marks, f"{distinct:,} different texts, an identifier or free text: only whether there is one is used"
    return None, f"left out, {distinct:,} different texts: an identifier or free text (data.max_categories={max_categories})"


def _fit_category(name: str, column: pd.Series, text: pd.Series) -> tuple[Column | None, str]:
    least = min(_RARE, len(column) / 20)  # a small table can not ask for ten rows of everything
    counts = text.value_counts()
    frequent = tuple(sorted(str(word) for word in counts.index[counts >= least]))
    rare = len(counts) - len(frequent)
    absent = len(column) - len(text)
    has_missing = absent >= least and absent > 0
    category = Category(name, frequent, rare > 0 or (absent > 0 and not has_missing), has_missing)
    if len(category.outputs) < 2:
        return None, _CONSTANT if len(counts) == 1 else f"left out, none of its {len(counts):,} different texts is frequent"
    notes = [f"rare values ({rare:,}) are one category, {OTHER}"] if rare else []
    if absent:
        place = "a category of their own" if has_missing else f"in the category {OTHER}"
        notes.append(f"missing values ({absent:,}) are {place}")
    return category, "; ".join(notes)


def _date_format(text: pd.Series) -> str | None:
    """The format in which nearly all of the text can be read as dates, or None. Month first wins where both orders fit."""
    sample = text.drop_duplicates().head(50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # pandas tells when day_first does not matter
        guesses = [guess_datetime_format(str(value), dayfirst=day_first) for day_first in (False, True) for value in sample]
    for format in (*dict.fromkeys(guess for guess in guesses if guess), "ISO8601"):
        if as_times(text, format).notna().mean() >= PARSES:
            return format
    return None


def _fit_date(name: str, column: pd.Series, format: str | None) -> tuple[Column | None, str]:
    times = as_times(column, format)
    values = {part: date_part(times, part) for part in get_args(DatePart)}
    parts = tuple(part for part, value in values.items() if value.nunique() > 1)
    if not parts:
        return None, _CONSTANT
    medians = tuple(float(values[part].median()) for part in parts)
    date = Date(name, format, parts, medians, bool(times.isna().any()))
    return date, f"a date, used as {', '.join(parts)}"
