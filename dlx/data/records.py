"""A CSV file in blocks of whole records, each record with the number of its line: constant memory, order kept.

A record is a line, unless it has newlines in quotes. Where every quote stands as it should (a quoted field is quoted from
end to end) the counts of quotes tell which newlines end a record, for a whole block at once. Blocks with other quotes, or
with spaces before them, are read record by record with Python's `csv` and written anew, which is slower.
"""

import codecs
import csv
import io
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dlx.data.chunks import BadRow
from dlx.errors import DataError

BLOCK = 1 << 22  # bytes read at a time: 4 MiB are some 40,000 rows of a dozen columns
LONGEST = 1 << 26  # bytes a single record may have
_LONE_RETURN = re.compile(rb"\r(?!\n)")
_NEWLINE, _RETURN, _QUOTE, _SPACE, _TAB = b'\n\r" \t'


class Readable(Protocol):
    """A binary file, a pipe, or a decompressor of either."""

    def read(self, size: int, /) -> bytes:
        """The next `size` bytes; fewer at the end, none after it."""
        ...


@dataclass(frozen=True)
class Block:
    """Whole records, as bytes. `line` is the number of the first one's line, from 1."""

    content: bytes
    line: int


@dataclass(frozen=True)
class Records:
    """The records of a block. `content` has them in UTF-8 with every quote where it should be, and perhaps empty lines."""

    content: bytes
    lines: np.ndarray
    """(n,) int64: the number of the line that each record which is not blank begins in."""
    bad: tuple[BadRow, ...]
    """Records that were taken out of `content`."""


def read_blocks(file: Readable, where: str, separator: str, size: int = BLOCK) -> Iterator[Block]:
    """Cut what `file` has into blocks of about `size` bytes. `where` begins the messages.

    Raises `DataError` for a record of more than `LONGEST` bytes, which a quote that is never closed makes of all the rest.
    """
    line, rest, ended = 1, b"", False
    while not ended:
        content = file.read(size)
        ended = not content
        rest = _with_newlines(rest + content, ended)
        rest = rest.removeprefix(codecs.BOM_UTF8) if line == 1 else rest
        with _telling(where, line):
            end = len(rest) if ended else end_of_records(rest, separator)
        if end:
            yield Block(rest[:end], line)
            line += rest.count(b"\n", 0, end)
            rest = rest[end:]
        elif len(rest) > LONGEST:
            raise DataError(f"{where}, line {line:,}: a row of more than {LONGEST >> 20} MiB: is there a quote never closed?")


def end_of_records(content: bytes, separator: str) -> int:
    """The length of the whole records that `content` begins with; it may end inside one."""
    if b'"' not in content:
        return content.rfind(b"\n") + 1
    ends = _record_ends(np.frombuffer(content, np.uint8), separator)
    if ends is not None:
        return int(ends[-1]) + 1 if len(ends) else 0
    lines = content[: content.rfind(b"\n") + 1].splitlines(keepends=True)
    closed = [after for _, after, fields in _parse(lines, separator) if fields is not None]
    return sum(map(len, lines[: closed[-1]])) if closed else 0


def find_records(block: Block, where: str, separator: str, comment: str | None = None) -> Records:
    """The records of a block. Blank lines, and lines that begin with `comment`, are none. `where` begins the messages."""
    content = block.content if block.content.endswith(b"\n") else block.content + b"\n"
    if comment is not None and comment.encode() in content:
        content = re.sub(rb"(?m)^" + re.escape(comment.encode()) + rb"[^\n]*", b"", content)
    array = np.frombuffer(content, np.uint8)
    newlines = np.flatnonzero(array == _NEWLINE)
    ends = newlines
    if b'"' in content:
        ends = _record_ends(array, separator)
        if ends is None or not len(ends) or ends[-1] != len(content) - 1:
            with _telling(where, block.line):
                return _rewritten(content, block.line, separator)
    starts = np.append(0, ends[:-1] + 1)
    lines = block.line + (np.arange(len(starts)) if ends is newlines else np.searchsorted(newlines, starts))
    empty = (ends == starts) | ((ends == starts + 1) & (array[starts] == _RETURN))
    left_out = _blank(content, array, starts, ends, separator)
    bad: list[BadRow] = []
    if not content.isascii() and _undecodable(content):
        for number, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            if why := _undecodable(content[start:end]):
                left_out[number] = True
                bad.append(BadRow(int(lines[number]), why))
    if left_out.any():
        kept = zip(starts[~left_out].tolist(), ends[~left_out].tolist(), strict=True)
        content = b"".join(content[start : end + 1] for start, end in kept)
    return Records(content, lines[~(left_out | empty)], tuple(bad))


@contextmanager
def _telling(where: str, line: int) -> Generator[None]:
    """Name the file where Python's `csv` gives up: on fields above its limit of 131,072 characters."""
    try:
        yield
    except csv.Error as error:
        raise DataError(f"{where}, after line {line:,}: {error}") from error


def _with_newlines(content: bytes, ended: bool) -> bytes:
    """With a newline for each return that stands alone (old Macs); one at the end may be half of a pair if more is to come."""
    if content.count(b"\r") == content.count(b"\r\n"):
        return content
    if content.endswith(b"\r") and not ended:
        return _LONE_RETURN.sub(b"\n", content[:-1]) + b"\r"
    return _LONE_RETURN.sub(b"\n", content)


def _record_ends(array: np.ndarray, separator: str) -> np.ndarray | None:
    """Where the newlines are that end a record; None if a quote is neither at the end of a field nor doubled."""
    quotes = np.flatnonzero(array == _QUOTE)
    opening, closing = quotes[::2], quotes[1::2]
    before = array[opening[opening > 0] - 1]
    after = array[closing[closing < len(array) - 1] + 1]
    cut = ord(separator)
    if not np.isin(before, (cut, _NEWLINE, _QUOTE)).all() or not np.isin(after, (cut, _NEWLINE, _RETURN, _QUOTE)).all():
        return None
    newlines = np.flatnonzero(array == _NEWLINE)
    return newlines[np.searchsorted(quotes, newlines) % 2 == 0]


def _blank(content: bytes, array: np.ndarray, starts: np.ndarray, ends: np.ndarray, separator: str) -> np.ndarray:
    """(records,) bool: those of nothing but spaces, which are no rows."""
    spaces = b" \t\r".replace(separator.encode(), b"")
    blank = np.zeros(len(starts), bool)
    first = array[starts]
    for number in np.flatnonzero((first == _SPACE) | (first == _TAB)).tolist():
        blank[number] = not content[starts[number] : ends[number]].strip(spaces)
    return blank


def _undecodable(content: bytes) -> str:
    """Why this is not UTF-8; nothing if it is."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return f"it is not UTF-8 text ({error.reason})"
    return ""


def _parse(lines: list[bytes], separator: str) -> Iterator[tuple[int, int, list[str] | None]]:
    """Record by record, wherever the quotes are: its first line, the line after it, and its fields in Latin-1.

    Of a last record whose quote is not closed there are no fields, but None.
    """
    mark = "\0end of the lines"
    texts = [line.decode("latin-1") for line in lines]
    reader = csv.reader([*texts, mark], delimiter=separator, skipinitialspace=True)
    first = 0
    for fields in reader:
        if reader.line_num > len(lines):  # the mark is a record of its own unless a quote is open
            if first < len(lines):
                yield first, len(lines), None
            return
        yield first, reader.line_num, fields
        first = reader.line_num


def _rewritten(content: bytes, line: int, separator: str) -> Records:
    """The records with each field in quotes."""
    lines = content.splitlines(keepends=True)
    spaces = b" \t\r\n".replace(separator.encode(), b"")
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator="\n")
    places: list[int] = []
    bad: list[BadRow] = []
    for first, after, fields in _parse(lines, separator):
        if fields is None:
            bad.append(BadRow(line + first, "a quote is never closed"))
        elif why := _undecodable(b"".join(lines[first:after])):
            bad.append(BadRow(line + first, why))
        elif after > first + 1 or lines[first].strip(spaces):
            writer.writerow(fields)
            places.append(line + first)
    return Records(text.getvalue().encode("latin-1"), np.array(places, np.int64), tuple(bad))
