"""New data for a trained network: any file, folder or pipe as chunks of ready inputs, in constant memory and in its order."""

import math
import sys
import tarfile
import zipfile
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dlx.config.data import Adult, Csv, DataConfig
from dlx.config.series_data import Series
from dlx.data.chunks import Chunk, OnBad, in_chunks, stop_at_bad
from dlx.data.files import existing, is_pipe, open_binary, reading
from dlx.data.preparation import Preparation
from dlx.errors import DataError

if TYPE_CHECKING:  # it imports pandas and Arrow
    from dlx.data.csv_stream import Layout

Format = Literal["csv", "parquet", "npz", "npy", "images", "tar"]
_CHUNK = 1 << 24  # bytes of inputs in a chunk
_MOST_ROWS = 1 << 16
_STDIN = "stdin (--data -)"


def stream(
    preparation: Preparation,
    source: str,
    config: DataConfig,
    *,
    rows_per_chunk: int | None = None,
    on_bad: OnBad = "stop",
) -> Generator[Chunk]:
    """The inputs that the network needs, of `source`: CSV, Parquet, NPZ, a folder of images, one image, `-` for CSV from stdin.

    A network that learned from text takes files with one text a line, JSON lines, CSV, folders of .txt files, `-` for lines from stdin.
    A pipe by its name (`/dev/stdin`, `<(command)`) is CSV, or lines of text, too. `config` is the run's: how its CSV file was written is how a new one is read. Targets may be there and are not looked at.
    Without `rows_per_chunk` a chunk has some 16 MiB. Missing values are no errors: they become what they became in training.
    Raises `MissingInputError` for what is not there, `DataError` for what cannot be used, and with `on_bad="stop"` for a bad
    row: one with other than the right number of fields, that is not UTF-8, or has text where training had a number or a date.
    """
    size = preparation.dtype.itemsize * math.prod(preparation.spec.input_shape)
    rows = rows_per_chunk or max(1, min(_MOST_ROWS, _CHUNK // size))
    format = find_format(source)
    where = _STDIN if source == "-" else source
    pieces = _pieces(preparation, source, format, config, rows)
    numbers = {"csv": "line", "images": "file" if preparation.kind == "text" else "image"}.get(format, "row")
    empty = True
    with closing(pieces):
        for chunk in in_chunks(stop_at_bad(pieces, where, numbers) if on_bad == "stop" else pieces, rows):
            empty = False
            yield chunk
    if empty:
        raise DataError(f"{where} is empty: bring new data, or name it with --data")


def find_format(source: str) -> Format:
    """What new data is, by its first bytes. What is nothing else is CSV, compressed or not; so is what comes from a pipe.

    Raises `MissingInputError` for what is not there, or may not be read.
    """
    from dlx.data.images import is_image

    if source == "-" or is_pipe(source):
        return "csv"
    path = existing(source, "--data")
    if path.is_dir() or is_image(path.name):
        return "images"
    with reading(path):
        with path.open("rb") as file:
            head = file.read(6)
        if head.startswith(b"PK\x03\x04") and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return "npz" if all(name.endswith(".npy") for name in archive.namelist()) else "csv"
        if tarfile.is_tarfile(path):
            return "tar"
    if head.startswith(b"PAR1"):
        return "parquet"
    return "npy" if head == b"\x93NUMPY" else "csv"


def layout_of(preparation: Preparation, config: DataConfig) -> "Layout":
    """How a CSV file is read for a network whose data were described so."""
    from dlx.data.csv_stream import Layout

    targets = preparation.spec.target_names
    match config:
        case Adult():
            from dlx.data.adult import COLUMNS

            return Layout(("?", ""), False, COLUMNS, targets, separator=",", comment="|")
        case Csv():
            return Layout(config.missing, config.header, preparation.file_columns, targets)
        case _:
            return Layout(Csv.model_fields["missing"].default)


def _pieces(preparation: Preparation, source: str, format: Format, config: DataConfig, rows: int) -> Generator[Chunk]:
    path = Path(source).expanduser()
    if preparation.kind == "text":
        from dlx.data.text_stream import stream_text

        return stream_text(preparation, None if source == "-" else path, format, config, rows)
    match format:
        case "csv" if isinstance(config, Series):
            from dlx.data.series_stream import stream_series

            return stream_series(config, None if source == "-" else path, rows)
        case "csv":
            return _csv(preparation, None if source == "-" else path, config)
        case "parquet":
            from dlx.data.parquet_stream import stream_parquet

            return stream_parquet(preparation.table_encoder(str(path)), path, rows)
        case "npz" | "npy":
            from dlx.data.array_stream import stream_arrays

            return stream_arrays(preparation, path, rows)
        case "images":
            from dlx.data.image_stream import stream_images

            return stream_images(preparation, path, config)
        case "tar":
            raise DataError(f"{path} is a tar archive: unpack it, and name the folder or the file")


def _csv(preparation: Preparation, path: Path | None, config: DataConfig) -> Generator[Chunk]:
    """Of the file, or of stdin."""
    where = _STDIN if path is None else str(path)
    encoder = preparation.table_encoder(where)
    from dlx.data.csv_stream import stream_csv

    layout = layout_of(preparation, config)
    if path is None:
        yield from stream_csv(encoder, sys.stdin.buffer, where, layout)
        return
    with reading(path), path.open("rb") if is_pipe(str(path)) else open_binary(path) as file:
        yield from stream_csv(encoder, file, where, layout)
