"""Records of a CSV file as encoded rows. Arrow parses them: several times as fast as pandas, and to the same numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.csv

from dlx.data.arrow_rows import Style, encode_rows
from dlx.data.chunks import BadRow, Chunk
from dlx.data.columns import Number
from dlx.data.encoder import TableEncoder
from dlx.data.records import Records


@dataclass(frozen=True)
class Fields:
    """How the records of a file are written."""

    names: tuple[str, ...]
    """Of all fields of a record."""
    separator: str
    style: Style

    def parse(self, records: Records, types: Mapping[str, pa.DataType]) -> tuple[pa.Table, dict[int, str]]:
        """The columns in `types`, and why the records with these numbers are not among the rows.

        Raises `pa.ArrowInvalid` where a field is not of its column's type.
        """
        misfits: dict[int, str] = {}

        def misfit(row: pa.csv.InvalidRow) -> str:
            fields = "1 field" if row.actual_columns == 1 else f"{row.actual_columns:,} fields"
            misfits[row.number - 1] = f"it has {fields} and not {row.expected_columns:,}"
            return "skip"

        table = pa.csv.read_csv(
            pa.BufferReader(records.content),
            pa.csv.ReadOptions(use_threads=False, block_size=len(records.content) + 1, column_names=self.names),
            pa.csv.ParseOptions(delimiter=self.separator, newlines_in_values=True, invalid_row_handler=misfit),
            pa.csv.ConvertOptions(
                check_utf8=False,  # `find_records` did
                column_types=types,
                include_columns=list(types),
                null_values=sorted(self.style.missing),
                strings_can_be_null=True,
                decimal_point=self.style.decimal,
            ),
        )
        return table, misfits


@dataclass(frozen=True)
class RowParser:
    """What is the same for all rows of a file."""

    encoder: TableEncoder
    fields: Fields

    def encode(self, records: Records) -> Chunk:
        """The rows that can be used; the others with their reasons."""
        if not len(records.lines):
            return Chunk(np.empty((0, len(self.encoder.outputs)), np.float32), records.lines, None, records.bad)
        table, misfits = self._parse(records)
        kept = np.ones(len(records.lines), bool)
        kept[list(misfits)] = False
        chunk = encode_rows(self.encoder, table, records.lines[kept], self.fields.style)
        left_out = (BadRow(int(records.lines[number]), why) for number, why in misfits.items())
        bad = sorted((*records.bad, *left_out, *chunk.bad), key=lambda row: row.line)
        return replace(chunk, bad=tuple(bad))

    def _parse(self, records: Records) -> tuple[pa.Table, dict[int, str]]:
        """`Fields.parse` of the encoder's columns. Numbers are float64; if one of them cannot be read as such, all columns of
        numbers are words.
        """

        def read(numbers: pa.DataType) -> tuple[pa.Table, dict[int, str]]:
            words = pa.dictionary(pa.int32(), pa.string())
            types = {c.name: numbers if isinstance(c, Number) else words for c in self.encoder.columns}
            return self.fields.parse(records, types)

        try:
            return read(pa.float64())
        except pa.ArrowInvalid:  # text among the numbers: the words tell which, and in which rows
            return read(pa.string())


def missing_words(words: tuple[str, ...]) -> frozenset[str]:
    """All that pandas takes for these words: of a whole number, such as -999, also -999.0."""
    found = set(words)
    for word in words:
        try:
            whole = int(float(word))
        except (ValueError, OverflowError):
            continue
        if whole == float(word):
            found |= {str(whole), f"{whole}.0"}
    return frozenset(found)
