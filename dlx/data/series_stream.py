"""New rows of a series for a trained network: windows of a file, with or without what followed them."""

from collections.abc import Generator
from pathlib import Path

import numpy as np

from dlx.config.series_data import Series
from dlx.data.chunks import Chunk
from dlx.data.dataset import Part
from dlx.data.series import features_of, left_out, looked_at, measured_ahead
from dlx.data.series_rows import SeriesRows, read_series
from dlx.errors import DataError


def stream_series(config: Series, path: Path | None, rows_per_chunk: int) -> Generator[Chunk]:
    """A window for every row that has enough rows before it: what follows that row is to be predicted, of the last one the future.

    `Chunk.rows` is that row's line in the file. The file is read whole, because its rows are sorted by their times.
    """
    if path is None:
        raise DataError("stdin (--data -): a series is sorted by its times, which takes a file: name one with --data PATH")
    rows = _read(config, path)
    windows = looked_at(features_of(config, rows), config.window)
    lines = rows.frame.index.to_numpy()[config.window - 1 :] + 2  # the first line has the names
    for start in range(0, len(windows), rows_per_chunk):
        stop = start + rows_per_chunk
        notes = () if start else rows.report
        yield Chunk(np.ascontiguousarray(windows[start:stop]), lines[start:stop], notes=notes)


def read_judging_series(config: Series, path: Path) -> tuple[Part, tuple[str, ...]]:
    """All windows of a file with the rows that follow them, and a sentence for each thing worth telling."""
    rows = _read(config, path)
    count = len(rows.values) - config.window - config.horizon + 1
    if count < 1:
        raise DataError(
            f"{path} has {len(rows.values):,} rows, and a window has {config.window} and {config.horizon} to predict: bring more"
        )
    origins = config.window + np.flatnonzero(measured_ahead(config, rows)[config.window :])
    if not len(origins):
        raise DataError(f"{path}: each window has a missing {config.target} to predict: bring rows that have it")
    windows = looked_at(features_of(config, rows), config.window)[origins - config.window]
    targets = np.stack([rows.values[origins + ahead, 0] for ahead in range(config.horizon)], axis=1)
    return Part(np.ascontiguousarray(windows), targets.astype(np.float32), rows.frame.iloc[origins]), (
        *rows.report,
        *left_out(config, len(origins), count),
    )


def _read(config: Series, path: Path) -> SeriesRows:
    rows = read_series(path, config.time, (config.target, *config.inputs), config.missing)
    if len(rows.values) < config.window:
        raise DataError(f"{path} has {len(rows.values):,} rows and the network looks at {config.window}: bring more")
    return rows
