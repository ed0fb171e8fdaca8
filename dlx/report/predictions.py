"""Predictions as they come, into a file or to stdout: CSV, Parquet or NPZ, whole or not at all."""

import contextlib
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from rich.console import Console

from dlx.errors import UsageError
from dlx.evaluation.results import Predicted
from dlx.report.files import make_folder, whole_file
from dlx.report.words import plural, seconds

Format = Literal["csv", "parquet", "npz"]
Write = Callable[[pa.Table], None]
MOST_TOLD = 5
_ENDINGS = (("csv", (".csv",)), ("parquet", (".parquet", ".pq")), ("npz", (".npz",)))


@dataclass(frozen=True)
class Written:
    """What a prediction came to."""

    rows: int
    skipped: int
    told: tuple[str, ...]
    """Of the first rows that were left out, where they are and why."""
    unseen: Mapping[str, int]
    """By column, how many values are of no category that training had."""
    fitted: int
    """How many images had another size than training's, and were scaled and cut."""
    unknown: int
    """How many tokens of texts are not in the vocabulary."""
    notes: tuple[str, ...]
    """What was done to the data as a whole."""
    out: Path | None


def format_of(path: Path | None) -> Format:
    """What the ending of a file says; CSV for stdout. Raises `UsageError` for another ending."""
    if path is None:
        return "csv"
    for name, endings in _ENDINGS:
        if path.suffix.lower() in endings:
            return name
    raise UsageError(f"--out {path}: the ending says neither csv, parquet nor npz; name the file so")


def write_predictions(predicted: Iterator[Predicted], out: Path | None, people: Console) -> Written:
    """Writes each table as it comes, to stdout without a path. The file is there once all were written, or else not at all.

    Raises `CannotWriteError`, and whatever the prediction raises.
    """
    rows = skipped = fitted = unknown = 0
    told: list[str] = []
    notes: list[str] = []
    unseen: Counter[str] = Counter()
    with contextlib.ExitStack() as stack:
        status = people.status("predicting")
        if out is not None or not sys.stdout.isatty():  # it would be on the lines of the predictions
            stack.enter_context(status)
        write: Write | None = None
        for each in predicted:
            write = write or stack.enter_context(_open(out, each.table.schema))
            write(each.table)
            place = each.table.column_names[0]
            rows, skipped, fitted = rows + len(each.table), skipped + len(each.bad), fitted + each.fitted
            told += [f"{place} {bad.line:,}: {bad.why}" for bad in each.bad[: MOST_TOLD - len(told)]]
            unseen.update(each.unseen)
            unknown += each.unknown
            notes += each.notes
            status.update(f"predicting: {rows:,} rows")
    return Written(rows, skipped, tuple(told), unseen, fitted, unknown, tuple(notes), out)


def written_lines(written: Written, took: float) -> Iterator[str]:
    """What was done, and what was left out."""
    into = f" into {written.out}" if written.out else ""
    pace = f" ({written.rows / took:,.0f} rows/s)" if took > 0 else ""
    yield f"predicted {plural(written.rows, 'row')}{into} in {seconds(took)}{pace}"
    if written.skipped:
        more = f"; and {written.skipped - len(written.told):,} more" if written.skipped > len(written.told) else ""
        yield f"warning: {plural(written.skipped, 'bad row')} left out: {'; '.join(written.told)}{more}"
    if written.fitted:
        yield f"warning: {plural(written.fitted, 'image')} of another size than training's, scaled and cut"
    if written.unknown:
        yield f"warning: tokens that are not in the vocabulary: {written.unknown:,}"
    for column, count in written.unseen.items():
        yield f"warning: column {column}: {plural(count, 'value')} of no category that the network has seen"
    for note in written.notes:
        yield f"warning: {note}"


@contextlib.contextmanager
def _open(path: Path | None, schema: pa.Schema) -> Generator[Write]:
    if path is None:
        with pyarrow.csv.CSVWriter(sys.stdout.buffer, schema) as writer:
            yield writer.write_table
        return
    make_folder(path.parent)
    with whole_file(path) as temporary, _writer(format_of(path), temporary, schema) as write:
        yield write


@contextlib.contextmanager
def _writer(format: Format, path: Path, schema: pa.Schema) -> Generator[Write]:
    match format:
        case "csv":
            with pyarrow.csv.CSVWriter(path, schema) as writer:
                yield writer.write_table
        case "parquet":
            with pyarrow.parquet.ParquetWriter(path, schema) as writer:
                yield writer.write_table
        case "npz":
            with _npz(path, schema) as write:
                yield write


@contextlib.contextmanager
def _npz(path: Path, schema: pa.Schema) -> Generator[Write]:
    """One array for each column. They wait on the disk: what comes before an array's values says how many and how wide they are."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".npz-") as folder, contextlib.ExitStack() as files:
        held = [files.enter_context(Path(folder, str(place)).open("w+b")) for place in range(len(schema))]
        dtypes: list[np.dtype] = [np.dtype("V0")] * len(schema)
        rows = tables = 0

        def write(table: pa.Table) -> None:
            nonlocal rows, tables
            rows, tables = rows + len(table), tables + 1
            for place, column in enumerate(table.columns):
                values = column.to_numpy() if _is_number(column.type) else column.to_numpy().astype(str)
                dtypes[place] = np.promote_types(dtypes[place], values.dtype) if tables > 1 else values.dtype
                np.save(held[place], values)

        yield write
        with zipfile.ZipFile(path, "w") as archive:
            for name, file, dtype in zip(schema.names, held, dtypes, strict=True):
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (rows,)}
                    np.lib.format.write_array_header_1_0(member, header)
                    file.seek(0)
                    for _ in range(tables):
                        member.write(np.load(file).astype(dtype, copy=False).tobytes())


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)
