"""Runs as rows of plain values: for spreadsheets and data frames, and to see where runs differ.

A run is flat here: `config.optimizer.lr`, `metrics.test/accuracy`, `seconds.train`. Lists are words, in JSON.
"""

import csv
import itertools
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TextIO

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.text import Text

from dlx.errors import UsageError
from dlx.report.files import make_folder, whole_file
from dlx.report.tables import fitted, grid
from dlx.report.words import printable
from dlx.store import RunRecord, RunSummary

FORMATS: Final = ("csv", "json", "parquet")
"""Of tables. Runs are written for TensorBoard too: see `tensorboard`."""
EVENTS: Final = "tensorboard"
Columns = Mapping[str, type | None]
"""The columns of a table in order, each with its type; None where the values tell."""
Row = Mapping[str, Any]

_OF_EVERY_RUN: Final[Columns] = MappingProxyType(
    {
        "run": str,
        "name": str,
        "status": str,
        "message": str,
        "created": str,
        "finished": str,
        "step": int,
        "epoch": int,
        "steps": int,
        "lanes": int,
        "monitor": str,
        "direction": str,
        "host": str,
    }
)
CURVE_COLUMNS: Final[Columns] = MappingProxyType(
    {"run": str, "name": str, "metric": str, "step": int, "epoch": float, "value": float}
)
_EXACT: Final = 2**53
"""Up to here a float holds every integer."""

_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet may take a text for a formula by (OWASP, CSV injection)."""
_BATCH: Final = 50_000
"""Rows in memory at a time, of a table that is read while it is written."""


def run_rows(runs: Sequence[RunSummary]) -> tuple[Columns, list[Row]]:
    """The columns, and one row for each run by column. First what every run has, then config, metrics and seconds by name.

    Times are ISO 8601 in UTC. What a run does not have is not in its row. Without runs the columns are those of every run.
    """
    rows: list[Mapping[str, Any]] = [
        {
            "run": run.id,
            "name": run.name,
            "status": str(run.status),
            "message": run.message,
            "created": _instant(run.created),
            "finished": _instant(run.finished),
            "step": run.step,
            "epoch": run.epoch,
            "steps": run.steps_total,
            "lanes": run.lanes,
            "monitor": run.monitor,
            "direction": run.direction,
            "host": run.host,
            **flattened(run.config, "config."),
            **{f"metrics.{name}": value for name, value in run.metrics.items()},
            **{f"seconds.{phase}": value for phase, value in run.seconds.items()},
        }
        for run in runs
    ]
    names = dict.fromkeys(itertools.chain.from_iterable(rows))
    groups = [sorted(name for name in names if name.startswith(group)) for group in ("config.", "metrics.", "seconds.")]
    return {**_OF_EVERY_RUN, **dict.fromkeys(itertools.chain.from_iterable(groups))}, rows


def curve_rows(runs: Sequence[RunSummary], points: Iterable[tuple[str, str, int, float]]) -> Iterator[Row]:
    """One row of `CURVE_COLUMNS` for each (run, metric, step, value)."""
    by_id = {run.id: run for run in runs}
    for run_id, metric, step, value in points:
        run = by_id[run_id]
        values = (run_id, run.name, metric, step, step / max(1, run.steps_per_epoch), value)
        yield dict(zip(CURVE_COLUMNS, values, strict=True))


def choose_format(name: str | None, out: Path | None) -> str:
    """The format that was asked for, or that the file's name ends with, or CSV. Raises `UsageError`."""
    ending = out.suffix.removeprefix(".").lower() if out else ""
    chosen = name or (ending if ending in FORMATS else "csv")
    if chosen not in (*FORMATS, EVENTS):
        raise UsageError(f"--format {chosen}: write {', '.join(FORMATS)} or {EVENTS}")
    if ending in FORMATS and ending != chosen:
        raise UsageError(f"--format {chosen} and --out {out} name two formats; leave out --format, or name another file")
    if chosen == "parquet" and out is None:
        raise UsageError("--format parquet is no text: name a file with --out runs.parquet")
    return chosen


def write_rows(what: str, columns: Columns, rows: Iterable[Row], chosen: str, out: Path | None) -> None:
    """Writes rows to a file, whole or not at all, or to stdout. `what` they are is the key of the JSON object.

    The file's folder is made where there is none.

    Raises `CannotWriteError`.
    """
    if out is None:
        _write_text(sys.stdout, what, columns, rows, chosen)
        sys.stdout.flush()
        return
    make_folder(out.parent)
    with whole_file(out) as temporary:
        if chosen == "parquet":
            _write_parquet(temporary, columns, rows)
            return
        with temporary.open("w", encoding="utf8", newline="") as file:
            _write_text(file, what, columns, rows, chosen)


def differing(runs: Sequence[RunRecord]) -> dict[str, dict[str, dict[str, Any]]]:
    """By `config` and `environment`, the keys that are not the same in all runs, each with its values by run.

    A run that does not have the key has no value. The environment is versions, device, commit, the data's fingerprint and so on.
    """
    return {
        part: {key: values for key, values in _by_key(runs, part).items() if not _equal(values, len(runs))}
        for part in ("config", "environment")
    }


def differing_lines(
    runs: Sequence[RunRecord], found: Mapping[str, Mapping[str, Mapping[str, Any]]], console: Console
) -> Iterator[RenderableType]:
    """What `differing` found, a line for each key with a column for each run; a list where the columns have no room."""
    for part, keys in found.items():
        if not keys:
            yield f"{part}: no difference"
            continue
        table = grid()
        table.add_column(part, no_wrap=True)
        for run in runs:
            table.add_column(Text(f"{run.id} ({run.name})" if run.name else run.id), overflow="fold")
        for key, values in keys.items():
            table.add_row(
                escape(key), *(escape(config_word(values[run.id])) if run.id in values else "[dim]-[/]" for run in runs)
            )
        yield from fitted(table, console)


def flattened(tree: Mapping[str, Any], inside: str = "") -> dict[str, Any]:
    """A tree of mappings by dotted key; lists stay whole, and so do empty mappings."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, f"{inside}{key}.")
        else:
            flat[f"{inside}{key}"] = value
    return flat


def config_word(value: Any) -> str:
    """A value in one line, as YAML and overrides write it."""
    words = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    return printable(words)


def _by_key(runs: Sequence[RunRecord], part: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        tree = run.config if part == "config" else {**run.environment, "lanes": run.lanes}
        for key, value in flattened(tree).items():
            found.setdefault(key, {})[run.id] = value
    return found


def _equal(values: Mapping[str, Any], runs: int) -> bool:
    first, *others = values.values()
    return len(values) == runs and all(type(first) is type(other) and first == other for other in others)


def _instant(timestamp: float | None) -> str | None:
    return None if timestamp is None else datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="seconds")


def _write_text(file: TextIO, what: str, columns: Columns, rows: Iterable[Row], chosen: str) -> None:
    if chosen == "csv":
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(map(_safe, columns))
        writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
        return
    file.write(f"{{{json.dumps(what)}: [")
    objects = (json.dumps({name: _strict(row.get(name)) for name in columns}, allow_nan=False) for row in rows)
    file.writelines(("," if number else "") + "\n" + text for number, text in enumerate(objects))
    file.write("\n]}\n")


def _cell(value: Any) -> Any:
    match value:
        case str():
            return _safe(value)
        case bool() | list() | dict():
            return _safe(json.dumps(value))
    return value


def _safe(text: str) -> str:
    """A text that no spreadsheet runs as a formula: an apostrophe before it keeps it a text."""
    return f"'{_sound(text)}" if text.startswith(_FORMULAS) else _sound(text)


def _sound(text: str) -> str:
    """A text that UTF-8 can write: the name of a file may hold bytes that are no letters."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _strict(value: Any) -> Any:
    """JSON has no word for a number that is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write_parquet(path: Path, columns: Columns, rows: Iterable[Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    batches = _batches(rows)
    first = next(batches, [])
    schema = pa.schema([(column, _kind(known, [row.get(column) for row in first])) for column, known in columns.items()])
    with pq.ParquetWriter(path, schema) as writer:
        for batch in itertools.chain([first], batches):
            arrays = [
                pa.array([_fitting(row.get(field.name), text=field.type == pa.string()) for row in batch], field.type)
                for field in schema
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Runs have all their rows in one batch, whose types then hold for all; the types of curves do not change."""
    if isinstance(rows, Sequence):
        yield list(rows)
        return
    rows = iter(rows)
    while batch := list(itertools.islice(rows, _BATCH)):
        yield batch


def _kind(known: type | None, values: Sequence[Any]) -> Any:
    """The type of a column: the one that is known or that all its values are, numbers where all are numbers, or else text."""
    import pyarrow as pa

    kinds = {known} if known else {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pa.bool_()
    lowest, highest = (-_EXACT, _EXACT) if float in kinds else (-(2**63), 2**63 - 1)
    fits = all(lowest <= value <= highest for value in values if type(value) is int)
    if not kinds or not kinds <= {int, float} or not fits:
        return pa.string()
    return pa.int64() if kinds == {int} else pa.float64()


def _fitting(value: Any, *, text: bool) -> Any:
    if value is None or not text:
        return value
    return _sound(value) if isinstance(value, str) else json.dumps(value)
