"""A CSV file of any length as encoded rows: blocks are read one after the other, and parsed on all cores at once.

Each value becomes what the training encoder makes of it. Two things differ from training on purpose: text where training
had numbers or dates is a bad row here and not a missing value, and so is a row with too few fields.
"""

import csv
import io
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from itertools import chain

import pandas as pd

from dlx.data.arrow_rows import Style
from dlx.data.chunks import Chunk
from dlx.data.csv_rows import Fields, RowParser, missing_words
from dlx.data.differences import missing_columns
from dlx.data.encoder import TableEncoder
from dlx.data.parallel import in_order
from dlx.data.read_table import SAMPLE, find_form
from dlx.data.records import BLOCK, Block, Readable, Records, find_records, read_blocks
from dlx.errors import DataError


@dataclass(frozen=True)
class Layout:
    """What is known of a CSV file before it is opened."""

    missing: tuple[str, ...]
    """The words for a missing value."""
    header: bool = True
    columns: tuple[str, ...] = ()
    """Those of the training file in order, which name the fields where there is no header; empty if they are not known."""
    targets: tuple[str, ...] = ()
    """Columns that need not be there."""
    separator: str | None = None
    """Found if None."""
    comment: str | None = None
    """What a line begins with that is no row."""


@dataclass(frozen=True)
class OpenCsv:
    """A CSV file of which the header was read."""

    where: str
    """What begins the messages."""
    fields: Fields
    comment: str | None
    pieces: Iterator[Block | Records]
    """All records, in order; to be read once."""

    def records(self, piece: Block | Records) -> Records:
        """Those of a piece."""
        return find_records(piece, self.where, self.fields.separator, self.comment) if isinstance(piece, Block) else piece


def open_csv(file: Readable, where: str, layout: Layout, block: int = BLOCK) -> OpenCsv:
    """Reads the first records; the others are read `block` bytes at a time, as they are asked for.

    Raises `DataError` for a file without records, and with the pieces for a row of more than 64 MiB.
    """
    sample = file.read(SAMPLE)
    form = find_form(sample, where, layout.separator)
    blocks = read_blocks(_Rewound(sample, file), where, form.separator, block)
    found = (find_records(first, where, form.separator, layout.comment) for first in blocks)
    first = next((records for records in found if len(records.lines)), None)
    if first is None:
        raise DataError(f"{where} is empty")
    names, rest = _names(first, form.separator, layout, where)
    fields = Fields(names, form.separator, Style(missing_words(layout.missing), form.decimal))
    return OpenCsv(where, fields, layout.comment, chain([rest], blocks))


def stream_csv(encoder: TableEncoder, file: Readable, where: str, layout: Layout, block: int = BLOCK) -> Generator[Chunk]:
    """The encoded rows of `file`, a chunk for each `block` bytes. `where` begins the messages.

    Raises `DataError` for a file without rows, with other columns, or with a row of more than 64 MiB.
    """
    opened = open_csv(file, where, layout, block)
    if said := missing_columns((column.name for column in encoder.columns), opened.fields.names):
        raise DataError(f"{where} differs from the training data: {said}")
    parser = RowParser(encoder, opened.fields)
    empty = True
    for chunk in in_order(lambda piece: parser.encode(opened.records(piece)), opened.pieces):
        empty = empty and not len(chunk) and not chunk.bad
        yield chunk
    if empty:
        raise DataError(f"{where} has column names but no rows")


class _Rewound:
    """A file whose first bytes were read already."""

    def __init__(self, start: bytes, file: Readable) -> None:
        self._start, self._file = start, file

    def read(self, size: int, /) -> bytes:
        """As a file's, but never 0 bytes before the end."""
        start, self._start = self._start, b""
        return start + self._file.read(size - len(start)) if len(start) < size else self._split(start, size)

    def _split(self, start: bytes, size: int) -> bytes:
        self._start = start[size:]
        return start[:size]


def _names(first: Records, separator: str, layout: Layout, where: str) -> tuple[tuple[str, ...], Records]:
    """The names of the fields, and the records without the header."""
    content = first.content.lstrip(b"\r\n")
    end = content.index(b"\n") + 1
    while content.count(b'"', 0, end) % 2:
        end = content.index(b"\n", end) + 1
    if layout.header:
        if first.bad and first.bad[0].line < first.lines[0]:
            raise DataError(f"{where}, line {first.bad[0].line:,}: the names of the columns cannot be read: {first.bad[0].why}")
        header = pd.read_csv(io.BytesIO(content[:end]), sep=separator, skipinitialspace=True, nrows=0)
        return tuple(str(name) for name in header.columns), replace(first, content=content[end:], lines=first.lines[1:])
    [fields] = csv.reader(io.StringIO(content[:end].decode(), newline=""), delimiter=separator)
    return _numbered(len(fields), layout, where), first


def _numbered(fields: int, layout: Layout, where: str) -> tuple[str, ...]:
    """The names of the fields of a file without a header, which may lack the targets."""
    inputs = tuple(name for name in layout.columns if name not in layout.targets)
    if not layout.columns:
        return tuple(str(number) for number in range(fields))
    for names in (layout.columns, inputs):
        if len(names) == fields:
            return names
    raise DataError(
        f"{where} has rows of {fields:,} fields and no header, the training data had {len(layout.columns):,} columns "
        f"({len(inputs):,} without the target): bring the same columns in the same order"
    )
