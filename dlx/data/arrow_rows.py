"""An Arrow table as encoded rows: each column of the encoder makes of its values what it made of them in training.

Words are looked at once for each that is different and not for each row: what a column makes of a value does not depend on
the others.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dlx.data.chunks import BadRow, Chunk
from dlx.data.columns import Category, Column, Date, Flag, Number, as_numbers, as_times
from dlx.data.encoder import TableEncoder

_PLAIN = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"  # numbers that Arrow reads
_FLAGS = frozenset(("true", "1", "1.0", "false", "0", "0.0"))


@dataclass(frozen=True)
class Style:
    """How a file writes values as words."""

    missing: frozenset[str] = frozenset()
    """The words for a missing value."""
    decimal: str = "."

    @property
    def missing_numbers(self) -> list[float]:
        """The words for a missing value that are numbers: pandas compares these by value, -999.00 is -999."""
        return [float(word) for word in self.missing if _reads_as(word, finite=True)]


def encode_rows(encoder: TableEncoder, table: pa.Table, lines: np.ndarray, style: Style) -> Chunk:
    """The rows of `table`, which has the encoder's columns and the line of each row in `lines` (n,).

    A word is bad where training had numbers or dates, unless it reads as such or stands for a missing value.
    """
    found = _Found(lines)
    inputs = np.empty((len(lines), len(encoder.outputs)), np.float32)
    place = 0
    for column in encoder.columns:
        width = len(column.outputs)
        inputs[:, place : place + width] = _encode(column, table.column(column.name).combine_chunks(), style, found)
        place += width
    bad = tuple(found.bad[line] for line in sorted(found.bad))
    if bad:
        good = ~np.isin(lines, list(found.bad))
        inputs, lines = inputs[good], lines[good]
    return Chunk(inputs, lines, None, bad, dict(found.unseen))


@dataclass(frozen=True)
class _Found:
    """What is found out of the rows, column by column."""

    lines: np.ndarray
    bad: dict[int, BadRow] = field(default_factory=dict)
    """By line; of several reasons the first."""
    unseen: Counter[str] = field(default_factory=Counter)

    def mark(self, column: Column, rows: np.ndarray, words: pa.Array, why: str) -> None:
        """These rows are bad because of their words in a column."""
        for row in rows.tolist():
            line = int(self.lines[row])
            self.bad.setdefault(line, BadRow(line, f"{column.name} is {_short(words[row].as_py())}, {why}"))

    def count_unseen(self, column: Column, unseen: np.ndarray, places: np.ndarray) -> None:
        """Count the rows whose word was unseen in training."""
        if unseen.any():
            self.unseen[column.name] += int(np.count_nonzero(unseen[places]))


def _encode(column: Column, values: pa.Array, style: Style, found: _Found) -> np.ndarray:
    """(n, outputs) float32."""
    kind = values.type
    if isinstance(column, Number) and (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        numbers = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        marks = style.missing_numbers
        return column.encode_numbers(np.where(np.isin(numbers, marks), np.nan, numbers) if marks else numbers)
    if pa.types.is_dictionary(kind) and (values.null_count or isinstance(column, Number)):
        values = values.cast(kind.value_type)
    if isinstance(column, Number) and _is_text(values.type):
        return column.encode_numbers(_read_numbers(column, values, style, found))
    if _is_text(values.type):
        values = values.dictionary_encode("encode")
    if not pa.types.is_dictionary(values.type) or not _is_text(values.type.value_type):
        return column.encode(values.to_pandas())
    return _encode_words(column, values, style, found)


def _read_numbers(column: Number, words: pa.Array, style: Style, found: _Found) -> np.ndarray:
    """(n,) float64 of (n,) words, NaN where they are missing. Those that are no numbers make their rows bad."""
    texts = words
    if style.decimal != ".":
        texts = pc.call_function("replace_substring", [words], pc.ReplaceSubstringOptions(style.decimal, "."))
    plain = pc.call_function("match_substring_regex", [texts], pc.MatchSubstringOptions(_PLAIN)).fill_null(False)
    numbers = (
        pc.call_function("if_else", [plain, texts, pa.scalar(None, texts.type)])
        .cast(pa.float64())
        .to_numpy(zero_copy_only=False)
        .copy()
    )
    rows = np.flatnonzero(~plain.to_numpy(zero_copy_only=False) & words.is_valid().to_numpy(zero_copy_only=False))
    if len(rows):  # some words are to be looked at one by one
        rest = texts.take(pa.array(rows)).dictionary_encode()
        places = rest.indices.to_numpy()
        bare = [word.strip() for word in rest.dictionary.to_pylist()]
        read = as_numbers(pd.Series(bare, dtype="str"))
        missing = np.array([word in style.missing or _reads_as(word, finite=False) for word in bare], bool)
        numbers[rows] = np.where(missing, np.nan, read)[places]
        odd = ~np.isfinite(read) & ~missing
        found.mark(column, rows[odd[places]], words, "not a number")
    return np.where(np.isin(numbers, style.missing_numbers), np.nan, numbers) if style.missing else numbers


def _encode_words(column: Column, values: pa.DictionaryArray, style: Style, found: _Found) -> np.ndarray:
    """(n, outputs) float32 of (n,) words, each different one looked at once."""
    words, places = values.dictionary.to_pylist(), values.indices.to_numpy()
    bare = [None if word is None else word.lstrip(" ") for word in words]  # as pandas reads it: spaces after it are part of it
    texts = pd.Series([None if word in style.missing else word for word in bare], dtype="str")
    encoded = column.encode(texts)
    present = texts.notna().to_numpy()
    match column:
        case Date():
            odd = present & as_times(texts, column.format).isna().to_numpy()
            found.mark(column, np.flatnonzero(odd[places]), values, f"not a date like {column.format or 'ISO 8601'}")
        case Flag():
            found.count_unseen(column, present & ~texts.str.strip().str.lower().isin(_FLAGS).to_numpy(), places)
        case Category():
            found.count_unseen(column, present & ~encoded.any(axis=1), places)
    return encoded[places]


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _reads_as(word: str, *, finite: bool) -> bool:
    """Whether it is a number; with `finite` false whether it is a way to write NaN or an infinity, which count as missing."""
    try:
        return bool(np.isfinite(float(word))) == finite
    except ValueError:
        return False


def _short(word: str) -> str:
    return repr(word if len(word) <= 40 else f"{word[:37]}...")
