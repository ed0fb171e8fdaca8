"""New text for a trained network: lines, JSON lines or files, encoded as the training texts were."""

import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np

from dlx.config.data import DataConfig
from dlx.config.text_data import LabelledText, TextPairs
from dlx.data.chunks import BadRow, Chunk
from dlx.data.files import is_pipe, open_binary, reading
from dlx.data.preparation import Preparation
from dlx.data.records import Readable
from dlx.data.text_encoder import TextEncoder
from dlx.data.text_files import decode_text, parse_object, without_surrogates
from dlx.data.text_labels import JSON_ENDINGS, TABLE_ENDINGS, file_ending, require_column, texts_in
from dlx.data.tokens import UNKNOWN
from dlx.errors import DataError, DlxError

_BLOCK = 4096  # texts encoded at once

Row = tuple[int, str, str | BadRow]
"""The line or the number of the file, its name if it is one, and its text, or why it has none."""


def stream_text(preparation: Preparation, path: Path | None, format: str, config: DataConfig, rows: int) -> Generator[Chunk]:
    """The tokens of each text in a file, a folder of .txt files (all of them, in whatever folders in it), or stdin if `path` is None.

    Lines without text are no rows; of sentence pairs the source is taken. All is read as it is needed. `format` is what
    `find_format` says. Raises `DataError` for what holds no text.
    """
    encoder = preparation.text_encoder("stdin" if path is None else str(path))
    if format not in ("csv", "images") or (path is not None and path.is_file() and format == "images"):
        raise DataError(f"{path} is no text, and the network learned from text: bring a file with one text a line")
    ending = "" if path is None else file_ending(path)
    if path is None:
        yield from _chunks(encoder, _lines(sys.stdin.buffer, "stdin", _text_of(config, "")), rows, named=False)
    elif path.is_dir():
        if isinstance(config, TextPairs):
            raise DataError(f"{path} is a folder: bring a file with a sentence a line")
        files = texts_in(path, deep=True)
        if not files:
            raise DataError(f"{path} has no .txt files")
        yield from _chunks(encoder, _of_files(path, files), rows, named=True)
    else:
        with reading(path), path.open("rb") if is_pipe(str(path)) else open_binary(path) as file:
            table = ending in TABLE_ENDINGS and not isinstance(config, TextPairs)
            found = (
                _of_table(file, str(path), _field_of(config)) if table else _lines(file, str(path), _text_of(config, ending))
            )
            yield from _chunks(encoder, found, rows, named=False)


def _text_of(config: DataConfig, ending: str) -> Callable[[str], str]:
    """What takes the text from a line of a file whose name ends so."""
    if isinstance(config, TextPairs):
        return partial(_source, columns=config.columns, tabs=ending in {*TABLE_ENDINGS, *JSON_ENDINGS})
    if ending in JSON_ENDINGS:
        return partial(_in_json, field=_field_of(config))
    return str


def _field_of(config: DataConfig) -> str:
    """What holds the text in a table or a JSON object."""
    return config.text if isinstance(config, LabelledText) else "text"


def _lines(file: Iterable[bytes] | IO[bytes], where: str, take: Callable[[str], str]) -> Iterator[Row]:
    """The text that `take` finds in each line; a `DataError` of it says what is wrong with the row."""
    for number, line in enumerate(file, 1):
        try:
            text = decode_text(line, where).rstrip("\n")
            text = take(text) if text.strip() else text
        except DataError as error:
            yield number, "", BadRow(number, _reason(error))
        else:
            yield number, "", text


def _of_table(file: Readable, where: str, field: str) -> Iterator[Row]:
    """That column of each record of a CSV file."""
    import pyarrow as pa  # like pandas, for CSV only

    from dlx.data.csv_stream import Layout, open_csv

    opened = open_csv(file, where, Layout(missing=()))
    require_column(where, field, opened.fields.names)
    for records in map(opened.records, opened.pieces):
        found = {bad.line: bad for bad in records.bad}
        if len(records.lines):
            table, misfits = opened.fields.parse(records, {field: pa.string()})
            bad = {int(records.lines[number]): why for number, why in misfits.items()}
            found |= {line: BadRow(line, why) for line, why in bad.items()}
            good = (line for line in records.lines.tolist() if line not in bad)
            # Training leaves out spaces after a separator, and so does `find_records` where quotes stand behind them.
            texts = (text.lstrip(" ") for text in table[field].to_pylist())
            found |= dict(zip(good, texts, strict=True))
        yield from ((line, "", found[line]) for line in sorted(found))


def _in_json(line: str, field: str) -> str:
    found = parse_object(line, "the line").get(field)
    if not isinstance(found, str):
        raise DataError(f"it has no text in the field {field!r}")
    return without_surrogates(found)


def _source(line: str, columns: tuple[int, int], *, tabs: bool) -> str:
    """The sentence to be translated, of a pair or alone; with `tabs` there have to be some, as in a table."""
    fields = line.split("\t")
    if len(fields) == 1 and not tabs:
        return line
    if len(fields) <= max(columns[0], 1 if tabs else 0):
        raise DataError(f"it has {len(fields)} columns with tabs between, and data.columns={list(columns)}")
    return fields[columns[0]]


def _reason(error: DataError) -> str:
    return "it is not UTF-8 text" if isinstance(error.__cause__, UnicodeDecodeError) else str(error)


def _of_files(root: Path, files: list[Path]) -> Iterator[Row]:
    for number, file in enumerate(files, 1):
        name = file.relative_to(root).as_posix()
        try:
            with reading(file), open_binary(file) as content:
                yield number, name, decode_text(content.read(), name)
        except DlxError as error:
            yield number, name, BadRow(number, str(error))


def _chunks(encoder: TextEncoder, found: Iterator[Row], rows: int, *, named: bool) -> Generator[Chunk]:
    while block := list(islice(found, min(rows, _BLOCK))):
        said = [(number, name, text) for number, name, text in block if isinstance(text, str) and text.strip()]
        tokens = encoder.tokens([text for _, _, text in said])
        refused = [encoder.refusal(each) for each in tokens]
        bad = [text for _, _, text in block if isinstance(text, BadRow)]
        bad += [
            BadRow(number, f"{name}: {why}" if named else why)
            for (number, name, _), why in zip(said, refused, strict=True)
            if why is not None
        ]
        good = [row for row, why in enumerate(refused) if why is None]
        yield Chunk(
            encoder.rows([tokens[row] for row in good]),
            np.array([said[row][0] for row in good], np.int64),
            tuple(said[row][1] for row in good) if named else None,
            tuple(sorted(bad, key=lambda row: row.line)),
            unknown=sum(int((tokens[row] == UNKNOWN).sum()) for row in good),
        )
