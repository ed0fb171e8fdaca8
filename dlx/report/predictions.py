"""Predictions as they come, into a file or to stdout: CSV, Parquet or NPZ, whole or not at all."""

import contextlib
import shutil
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
from dlx.report.files import whole_file
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
    rows = skipped = 0
    told: list[str] = []
    unseen: Counter[str] = Counter()
    with contextlib.ExitStack() as stack, people.status("predicting") as status:
        write: Write | None = None
        for each in predicted:
            write = write or stack.enter_context(_open(out, each.table.schema))
            write(each.table)
            place = each.table.column_names[0]
            rows, skipped = rows + len(each.table), skipped + len(each.bad)
            told += [f"{place} {bad.line:,}: {bad.why}" for bad in each.bad[: MOST_TOLD - len(told)]]
            unseen.update(each.unseen)
            status.update(f"predicting: {rows:,} rows")
    return Written(rows, skipped, tuple(told), unseen, out)


def written_lines(written: Written, took: float) -> Iterator[str]:
    """What was done, and what was left out."""
    into = f" into {written.out}" if written.out else ""
    pace = f" ({written.rows / took:,.0f} rows/s)" if took > 0 else ""
    yield f"predicted {plural(written.rows, 'row')}{into} in {seconds(took)}{pace}"
    if written.skipped:
        more = f"; and {written.skipped - len(written.told):,} more" if written.skipped > len(written.told) else ""
        yield f"warning: {plural(written.skipped, 'bad row')} left out: {'; '.join(written.told)}{more}"
    for column, count in written.unseen.items():
        yield f"warning: column {column}: {plural(count, 'value')} of no category that the network has seen"


@contextlib.contextmanager
def _open(path: Path | None, schema: pa.Schema) -> Generator[Write]:
    if path is None:
        with pyarrow.csv.CSVWriter(sys.stdout.buffer, schema) as writer:
            yield writer.write_table
        return
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
    """One array for each column. Numbers wait on the disk: an array's header, which comes before them, says how many there are."""
    texts: dict[str, list[np.ndarray]] = {name: [] for name in schema.names if not _is_number(schema.field(name).type)}
    rows = 0
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".npz-") as folder, contextlib.ExitStack() as files:
        numbers = {
            name: (
                files.enter_context(Path(folder, str(place)).open("w+b")),
                np.dtype(schema.field(name).type.to_pandas_dtype()),
            )
            for place, name in enumerate(schema.names)
            if name not in texts
        }

        def write(table: pa.Table) -> None:
            nonlocal rows
            rows += len(table)
            for name, column in zip(table.column_names, table.columns, strict=True):
                values = column.to_numpy()
                if name in texts:
                    texts[name].append(values.astype(str))
                else:
                    numbers[name][0].write(values.tobytes())

        yield write
        with zipfile.ZipFile(path, "w") as archive:
            for name, (file, dtype) in numbers.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (rows,)}
                    np.lib.format.write_array_header_1_0(member, header)
                    file.seek(0)
                    shutil.copyfileobj(file, member)
            for name, parts in texts.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.concatenate(parts) if parts else np.zeros(0, "<U1"))


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)
