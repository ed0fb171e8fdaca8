"""`csv` and `parquet`: a table with mixed columns, and the way from any table to a `Dataset`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dlx.config.data import Csv, DataCommon, Parquet
from dlx.data.dataset import Dataset, Part, Scaling, TargetKind
from dlx.data.encoder import TableEncoder, nearest
from dlx.data.files import existing
from dlx.data.finish import finish, strata
from dlx.data.read_table import read_csv, read_parquet
from dlx.data.scaling import Moments, fixed_scaling, measure, scaling_from
from dlx.data.split import divide
from dlx.data.target import TABLE_CLASSES, Targets, encode_targets
from dlx.errors import DataError


@dataclass(frozen=True)
class Table:
    """A table as it was read. `test` has the same columns and is used as the test part."""

    name: str
    frame: pd.DataFrame
    test: pd.DataFrame | None
    targets: tuple[str, ...]
    drop: tuple[str, ...]
    max_categories: int


def load_table(config: Csv | Parquet, target: TargetKind | None, *, keep_rows: bool = False) -> Dataset:
    """Read the file, and the test file if there is one. `keep_rows` keeps the rows as they were read."""
    path = existing(config.path, "data.path")
    table = Table(
        path.name.split(".")[0],
        _read(config, path),
        None if config.test_path is None else _read(config, existing(config.test_path, "data.test_path")),
        (config.target,) if isinstance(config.target, str) else config.target,
        config.drop,
        config.max_categories,
    )
    return from_table(table, config, target, keep_rows=keep_rows)


def from_table(table: Table, config: DataCommon, kind: TargetKind | None, *, keep_rows: bool = False) -> Dataset:
    """Divide the rows, then fit the encoder and the scaling on the training rows alone.

    `keep_rows` keeps the rows as they were read, with every column, in `Part.rows`.

    Raises `DataError` for a missing column, a target that cannot be predicted, or an empty part.
    """
    _require(table.name, table.frame, (*table.targets, *table.drop))
    if table.test is not None:
        _require(f"{table.name}: data.test_path", table.test, table.targets)
    report: list[str] = []
    frame = _with_target(table.frame, table.targets, table.name, report)
    test = None if table.test is None else _with_target(table.test, table.targets, f"the test part of {table.name}", report)
    whole = frame if test is None else pd.concat([frame, test])
    targets = _targets(table, whole, kind)
    labels = strata(targets)
    division = divide(config, len(frame), None if labels is None else labels[: len(frame)], own_test=test is not None)
    test_rows = division.test if test is None else np.arange(len(frame), len(whole))

    columns = whole.drop(columns=[*table.targets, *table.drop], errors="ignore")
    encoder = TableEncoder.fit(columns.iloc[division.train], table.max_categories, tame=config.standardize)
    parts = tuple(
        Part(encoder.transform(columns.iloc[rows]), targets.values[rows], whole.iloc[rows] if keep_rows else None)
        for rows in (division.train, division.validation, test_rows)
    )
    moments = measure(parts[0].inputs)
    scaling = _scaling(moments, encoder) if config.standardize else fixed_scaling(parts[0].inputs, 1.0)
    said = f"{_count(len(encoder.columns), 'column')} {'becomes' if len(encoder.columns) == 1 else 'become'} {_count(len(encoder.outputs), 'input')}"
    preprocessing = {"kind": "table", "columns": list(table.frame.columns), "encoder": encoder.to_json()}
    return finish(
        table.name,
        targets,
        (parts[0], parts[1], parts[2]),
        scaling,
        moments,
        preprocessing,
        (*targets.report, *report, said, *encoder.report),
    )


def _read(config: Csv | Parquet, path: Path) -> pd.DataFrame:
    if isinstance(config, Parquet):
        return read_parquet(path)
    return read_csv(path, config.missing, names=None if config.header else ())


def _require(where: str, frame: pd.DataFrame, names: Sequence[str]) -> None:
    for name in names:
        if name not in frame.columns:
            raise DataError(f"{where} has no column {name!r}{nearest(name, frame.columns)}")


def _with_target(frame: pd.DataFrame, targets: Sequence[str], where: str, report: list[str]) -> pd.DataFrame:
    """The rows that have every target; the index is their number in the file. What was left out is added to `report`."""
    kept = frame.reset_index(drop=True).dropna(subset=list(targets))
    left = len(frame) - len(kept)
    if not len(kept):
        raise DataError(f"{where}: the target {', '.join(targets)} is missing in every row")
    if not left:
        return kept
    report.append(f"{left:,} of {len(frame):,} rows of {where} were left out because their target is missing")
    made_floats = [name for name in targets if pd.api.types.is_float_dtype(kept[name]) and _are_whole(kept[name])]
    return kept.astype(dict.fromkeys(made_floats, np.int64))  # whole numbers that the missing ones had made floats


def _are_whole(column: pd.Series) -> bool:
    """Whether all are whole numbers that a float holds exactly."""
    return bool(((column % 1 == 0) & (column.abs() < 2**53)).all())


def _targets(table: Table, frame: pd.DataFrame, kind: TargetKind | None) -> Targets:
    columns = frame[list(table.targets)]
    if len(table.targets) == 1:
        raw = _values(columns.iloc[:, 0], table.name)
    elif text := [name for name in columns if not pd.api.types.is_numeric_dtype(columns[name])]:
        raise DataError(
            f"{table.name}: the target {text[0]!r} is not a number: several targets must all be numbers, or all 0 and 1"
        )
    else:
        raw = columns.to_numpy(np.float64)
    return encode_targets(raw, table.targets, kind, table.name, most_classes=TABLE_CLASSES)


def _values(column: pd.Series, where: str) -> np.ndarray:
    """The target, which has no missing values, as an array of numbers or of objects."""
    column = column.infer_objects()
    if pd.api.types.is_datetime64_any_dtype(column):
        raise DataError(f"{where}: the target {column.name!r} is a date: predict a number or a class made from it")
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy()
    return column.astype(object).to_numpy()


def _scaling(moments: Moments, encoder: TableEncoder) -> Scaling:
    """Standardizes the quantities; columns of 0 and 1 keep mean 0 and factor 1."""
    fitted = scaling_from(moments)
    return Scaling(
        np.where(encoder.scaled, fitted.mean, 0).astype(np.float32),
        np.where(encoder.scaled, fitted.inverse_std, 1).astype(np.float32),
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
