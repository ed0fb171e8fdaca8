"""CSV and Parquet files as pandas frames, with every way in which that fails told in one sentence."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dlx.data.files import open_binary, reading
from dlx.errors import DataError, MissingInputError

SAMPLE = 1 << 16  # bytes that the separator is found in
_SEPARATORS = ",;\t|"


def read_csv(
    path: Path,
    missing: Sequence[str],
    names: Sequence[str] | None = None,
    separator: str | None = None,
    comment: str | None = None,
    text: Sequence[str] = (),
) -> pd.DataFrame:
    """A CSV file in UTF-8, compressed or not; columns are named by text. The separator is found unless it is given.

    `missing` are the words for a missing value. `names` are the columns of a file without a header row; an empty
    sequence numbers them from the left. `text` are columns that are not to be taken for numbers. Raises `DataError`
    naming the file, and the line where it is known.
    """
    with reading(path), open_binary(path) as file:
        form = find_form(file.read(SAMPLE), str(path), separator)
    try:
        with reading(path), open_binary(path) as file:
            frame = pd.read_csv(
                file,
                sep=form.separator,
                header="infer" if names is None else None,
                names=list(names) if names else None,
                na_values=list(missing),
                keep_default_na=False,
                skipinitialspace=True,
                encoding="utf-8-sig",
                decimal=form.decimal,
                dtype=dict.fromkeys(text, str) or None,
                comment=comment,
                low_memory=False,
            )
    except UnicodeDecodeError as error:
        raise DataError(f"{path}{_undecodable_line(path)} is not UTF-8 text ({error.reason}): save it as UTF-8") from error
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path} is empty") from error
    except (pd.errors.ParserError, ValueError) as error:
        reason = re.sub(r"^.*C error: ", "", str(error).strip())
        line = re.search(r"(?:line|row) (\d+)", reason)
        raise DataError(f"{path}{f', line {line[1]}' if line else ''}: {reason}") from error
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes surplus fields for row names and shifts all columns
        raise DataError(
            f"{path}: the rows have {frame.index.nlevels} more fields than the header has names, separated by {form.separator!r}"
        )
    frame.columns = [str(name) for name in frame.columns]
    return _with_rows(path, frame)


def read_parquet(path: Path) -> pd.DataFrame:
    """A Parquet file; columns are named by text. Raises `DataError` when it is not one, `MissingInputError` without pyarrow."""
    try:
        with reading(path):
            frame = pd.read_parquet(path)
    except ImportError as error:
        raise MissingInputError(f"{path}: reading Parquet needs pyarrow: pip install pyarrow") from error
    except ValueError as error:  # pyarrow.ArrowInvalid is one
        raise DataError(f"{path} is not a readable Parquet file: {error}") from error
    if not isinstance(frame.index, pd.RangeIndex):  # an index with a name was a column before it was saved
        frame = frame.reset_index(drop=frame.index.names == [None])
    frame.columns = [str(name) for name in frame.columns]
    return _with_rows(path, frame)


@dataclass(frozen=True)
class Form:
    """How a CSV file is written."""

    separator: str
    decimal: str


def find_form(sample: bytes, where: str, separator: str | None = None) -> Form:
    """How the file is written that begins with `sample`, of `SAMPLE` bytes or all there are; `where` begins the messages.

    Raises `DataError` if there is nothing in it, or no text.
    """
    if not sample.strip():
        raise DataError(f"{where} is empty")
    if b"\0" in sample:
        raise DataError(f"{where} is not a text file: it contains zero bytes")
    text = sample.decode("utf-8-sig", "replace")
    if len(sample) == SAMPLE:  # it ends inside a line
        text = text.rpartition("\n")[0] or text
    separator = separator or find_separator(text)
    return Form(separator, _decimal(text, separator))


def find_separator(text: str) -> str:
    """The one of `, ; tab |` that cuts the first lines most evenly; a comma if none occurs.

    The header decides a tie: in `a;b` over `1,5;2,5` both `,` and `;` are even, and only `;` is in the header.
    """
    lines = [line for line in text.splitlines()[:200] if line.strip()]
    if not lines:
        return ","

    def evenness(separator: str) -> tuple[float, int]:
        widths = [len(row) for row in csv.reader(lines, delimiter=separator, skipinitialspace=True) if row]
        if widths[0] == 1:  # it does not cut the first line
            return 0.0, 1
        width, count = Counter(widths).most_common(1)[0]
        return (count / len(widths) if width > 1 else 0.0), widths[0]

    best = max(_SEPARATORS, key=evenness)
    return best if evenness(best)[1] > 1 else ","


def _decimal(text: str, separator: str) -> str:
    """The decimal sign: a comma if numbers such as 7,4 occur between other separators, and none such as 7.4."""
    if separator == ",":
        return "."
    fields = re.split(rf"[{re.escape(separator)}\s\"]+", text)
    if any(re.fullmatch(r"-?\d+\.\d+", field) for field in fields):
        return "."
    return "," if any(re.fullmatch(r"-?\d+,\d+", field) for field in fields) else "."


def _undecodable_line(path: Path) -> str:
    with reading(path), open_binary(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return f", line {number:,}"
    return ""


def _with_rows(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    if not len(frame):
        raise DataError(f"{path} has column names but no rows")
    return frame
