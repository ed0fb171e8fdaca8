"""`adult`: census income, in the two files that UCI publishes."""

from pathlib import Path

import pandas as pd

from dlx.config.data import Adult
from dlx.data.dataset import Dataset, TargetKind
from dlx.data.files import existing
from dlx.data.read_table import read_csv
from dlx.data.table import Table, from_table
from dlx.errors import MissingInputError

_PAGE = "https://archive.ics.uci.edu/dataset/2/adult"
_TARGET = "income"
COLUMNS = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship",
    "race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", _TARGET,
)  # fmt: skip


def load_adult(config: Adult, target: TargetKind | None, *, keep_rows: bool = False) -> Dataset:
    """Read `adult.data` as the training part and `adult.test` as the test part. `keep_rows` keeps the rows as read."""
    if config.path is None:
        raise MissingInputError(
            f"adult is not downloaded by itself: get adult.data and adult.test from {_PAGE} and set data.path= to their folder"
        )
    folder = existing(config.path, "data.path")
    table = Table("adult", _read(folder, "adult.data"), _read(folder, "adult.test"), (_TARGET,), (), max_categories=50)
    return from_table(table, config, target, keep_rows=keep_rows)


def _read(folder: Path, name: str) -> pd.DataFrame:
    path = next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)
    if path is None:
        raise MissingInputError(f"data.path: {folder} has no {name} (gzipped or not); get it from {_PAGE}")
    # The test file begins with a comment, `|1x3 Cross validator`, and its labels end in a full stop.
    frame = read_csv(path, missing=("?", ""), names=COLUMNS, separator=",", comment="|")
    return frame.assign(**{_TARGET: frame[_TARGET].astype("string").str.rstrip(".")})
