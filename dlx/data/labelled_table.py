"""A table with its targets, for judging a trained network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from dlx.config.data import Adult, DataConfig
from dlx.data.columns import Category, Column, Date, Flag, Number, as_numbers, as_times
from dlx.data.dataset import Part, Spec
from dlx.data.differences import missing_columns
from dlx.data.encoder import PARSES, TableEncoder
from dlx.data.incoming import layout_of
from dlx.data.known_targets import class_codes, class_names, values_for
from dlx.data.preparation import Preparation
from dlx.data.read_table import read_csv, read_parquet
from dlx.errors import DataError, first_of


def read_labelled_table(
    preparation: Preparation, path: Path, config: DataConfig, format: Literal["csv", "parquet"]
) -> tuple[Part, tuple[str, ...]]:
    """All rows with a target. Columns that the network does not need are told, and kept in `Part.rows`.

    Raises `DataError` for everything that differs: missing columns, text where numbers were, classes never seen.
    """
    encoder, spec = preparation.table_encoder(str(path)), preparation.spec
    whole = read_parquet(path) if format == "parquet" else _csv(preparation, encoder, path, config)
    present = list(whole.columns)
    targets = [name for name in spec.target_names if name in present]
    frame = whole.dropna(subset=targets)
    notes: list[str] = []
    if left := len(whole) - len(frame):
        notes.append(f"{left:,} of {len(whole):,} rows of {path.name} were left out because their target is missing")
    said = [missing_columns((*(column.name for column in encoder.columns), *spec.target_names), present)]
    said.extend(_unreadable(column, frame[column.name], notes) for column in encoder.columns if column.name in present)
    values = np.empty(0)
    if not len(frame):
        said.append(f"the target {', '.join(targets)} is missing in every row")
    elif len(targets) == len(spec.target_names):
        values, wrong = _targets(spec, frame[targets])
        said.append(wrong)
    if differences := "; ".join(part for part in said if part):
        raise DataError(f"{path} differs from the training data: {differences}")
    known = {*(column.name for column in encoder.columns), *spec.target_names, *preparation.file_columns}
    if extra := [name for name in present if name not in known]:
        notes.append(f"columns of {path.name} that the training data did not have are not used: {first_of(extra, 8)}")
    return Part(encoder.transform(frame), values, frame), tuple(notes)


def _csv(preparation: Preparation, encoder: TableEncoder, path: Path, config: DataConfig) -> pd.DataFrame:
    """The file as it is; columns that were text in training are read as text, whatever they look like in this file."""
    layout = layout_of(preparation, config)
    text = [column.name for column in encoder.columns if isinstance(column, Category | Flag | Date)]
    if preparation.spec.target == "class" and _were_text(preparation.spec.classes):
        text.extend(preparation.spec.target_names)
    names = None if layout.header else layout.columns
    frame = read_csv(path, layout.missing, names, layout.separator, layout.comment, text if names is None or names else ())
    if isinstance(config, Adult):
        return frame.assign(**{name: frame[name].str.rstrip(".") for name in preparation.spec.target_names})
    return frame


def _unreadable(column: Column, values: pd.Series, notes: list[str]) -> str:
    """What is wrong with a column of numbers or dates that has words now. A few are told and count as missing."""
    if not isinstance(column, Number | Date):
        return ""
    present = values.dropna()
    read = (
        np.isfinite(as_numbers(present)) if isinstance(column, Number) else as_times(present, column.format).notna().to_numpy()
    )
    infinite = (
        present.isin([np.inf, -np.inf]).to_numpy() if pd.api.types.is_float_dtype(present) else np.zeros(len(present), bool)
    )
    odd = present[~read & ~infinite]
    if not len(odd):
        return ""
    what = "numbers" if isinstance(column, Number) else "dates"
    share = len(odd) / len(present)
    if share > 1 - PARSES:
        return f"the column {column.name!r} had {what} and now {share:.1%} of its values are none, such as {str(odd.iloc[0])!r}"
    notes.append(
        f"values of {column.name} that are no {what}, such as {str(odd.iloc[0])!r} ({len(odd):,} in all), count as missing"
    )
    return ""


def _targets(spec: Spec, columns: pd.DataFrame) -> tuple[np.ndarray, str]:
    """The targets of the rows, none of which misses one, and what is wrong with them."""
    if spec.target == "class" and len(spec.target_names) == 1:
        column = columns.iloc[:, 0].infer_objects()
        numeric = pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)
        return class_codes(spec, class_names(column.to_numpy()) if numeric else column.astype(str).to_numpy(str))
    numbers = np.column_stack(
        [as_numbers(columns[name].astype(float) if columns[name].dtype == bool else columns[name]) for name in columns]
    )
    odd = [(name, columns[name][~np.isfinite(column)]) for name, column in zip(columns, numbers.T, strict=True)]
    wrong = [
        f"the target {name!r} has values that are no numbers, such as {str(bad.iloc[0])!r} ({len(bad):,} in all)"
        for name, bad in odd
        if len(bad)
    ]
    return (numbers, "; ".join(wrong)) if wrong else values_for(spec, numbers)


def _were_text(classes: Sequence[str]) -> bool:
    """Whether training read them as text: a file's numbers and booleans, which it writes in several ways, are read as such."""
    return not (set(classes) <= {"False", "True"} or all(_is_number(name) for name in classes))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
