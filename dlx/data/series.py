"""`series`: a CSV file with times, as windows to look at and the rows that follow them to predict."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from dlx.config.series_data import Series
from dlx.data.dataset import Dataset, Part, TargetKind
from dlx.data.files import existing
from dlx.data.finish import finish
from dlx.data.scaling import fixed_scaling, measure, scaling_from
from dlx.data.series_rows import SeriesRows, calendar, read_series
from dlx.data.target import Targets
from dlx.errors import ConfigError, DataError


def load_series(config: Series, target: TargetKind | None, *, keep_rows: bool = False) -> Dataset:
    """Read the file, divide its rows in the order of time, and cut windows. `keep_rows` keeps the first row that each one predicts.

    Inputs are (n, window, features) float32: the target first, then the other columns, then the calendar. Targets are (n, horizon).
    """
    path = existing(config.path, "data.path")
    name = path.name.split(".")[0]
    if target not in (None, "number"):
        raise ConfigError(f"task: {name} is a series, whose next values are numbers: leave task out, or set task.kind=regress")
    rows = read_series(path, config.time, (config.target, *config.inputs), config.missing)
    origins, left = _origins(config, rows, str(path))
    windows = looked_at(features_of(config, rows), config.window)
    predicted = sliding_window_view(rows.values[:, 0], config.horizon)  # (places, horizon)

    def part(first: np.ndarray) -> Part:
        # A window ends before the first row that it predicts.
        inputs = np.ascontiguousarray(windows[first - config.window])
        return Part(inputs, predicted[first], rows.frame.iloc[first] if keep_rows else None)

    parts = part(origins[0]), part(origins[1]), part(origins[2])
    targets = Targets(parts[0].targets, "number", (), target_names(config), ())
    if (parts[0].targets == parts[0].targets[0]).all():
        raise DataError(f"{path}: {config.target!r} is the same in every training row: there is nothing to learn")
    moments = measure(parts[0].inputs)
    scaling = scaling_from(moments) if config.standardize else fixed_scaling(parts[0].inputs, 1.0)
    preprocessing = {
        "kind": "arrays",
        "series": {"features": [config.target, *config.inputs, *_names(config)], "season": config.season or rows.season},
    }
    return finish(name, targets, parts, scaling, moments, preprocessing, (*rows.report, *left, _report(config, rows, origins)))


def features_of(config: Series, rows: SeriesRows) -> np.ndarray:
    """What is looked at of each row: (n, features) float32, the target first, then the other columns, then the calendar."""
    return np.column_stack([rows.values, calendar(rows.times, config.calendar)]).astype(np.float32)


def looked_at(features: np.ndarray, window: int) -> np.ndarray:
    """All windows of (n, features), one row after the other: (n - window + 1, window, features), a view."""
    return sliding_window_view(features, window, axis=0).transpose(0, 2, 1)


def measured_ahead(config: Series, rows: SeriesRows) -> np.ndarray:
    """Whether all that is to be predicted from each row on was measured: (n - horizon + 1,)."""
    return np.all(sliding_window_view(rows.known, config.horizon), axis=-1)


def left_out(config: Series, kept: int, whole: int) -> tuple[str, ...]:
    """A sentence about windows without a truth, if there are any."""
    if kept == whole:
        return ()
    return (f"windows left out because the {config.target} to predict is missing: {whole - kept:,} of {whole:,}",)


def _names(config: Series) -> tuple[str, ...]:
    return tuple(f"{part} {function}" for part in config.calendar for function in ("sin", "cos"))


def target_names(config: Series) -> tuple[str, ...]:
    """Of one row that is predicted the target's own, of several each with its distance."""
    if config.horizon == 1:
        return (config.target,)
    return tuple(f"{config.target} +{ahead}" for ahead in range(1, config.horizon + 1))


def _origins(config: Series, rows: SeriesRows, where: str) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], tuple[str, ...]]:
    """Of each part the first row (n,) that each window predicts, all of it in its part and measured; what there is to tell."""
    count, measured = len(rows.values), measured_ahead(config, rows)
    test = round(count * config.test)
    validation = round((count - test) * config.validation)
    ends = (count - test - validation, count - test, count)
    found, whole = [], 0
    for part, begin, end in zip(("train", "validation", "test"), (0, *ends[:2]), ends, strict=True):
        first, last = max(begin, config.window), end - config.horizon
        wanted = part == "train" or vars(config)[part] > 0
        if wanted and first > last:
            raise DataError(
                f"{where}: the {part} part has {end - begin:,} of {count:,} rows, which hold no window of {config.window} rows and "
                f"{config.horizon} after it: lower data.window or data.horizon, or change the shares data.validation and data.test"
            )
        origins = np.arange(first, last + 1, config.stride) if wanted else np.arange(0)
        found.append(origins[measured[origins]])
        whole += len(origins)
        if wanted and not len(found[-1]):
            raise DataError(
                f"{where}: in the {part} part each window has a missing {config.target} to predict: change the shares of the parts"
            )
    train, validated, tested = found
    told = left_out(config, sum(map(len, found)), whole)
    return (train[-config.limit :] if config.limit else train, validated, tested), told


def _report(config: Series, rows: SeriesRows, origins: tuple[np.ndarray, np.ndarray, np.ndarray]) -> str:
    """Where in time the parts are."""
    spans = []
    for part, first in zip(("train", "validation", "test"), origins, strict=True):
        if len(first):
            begin, end = rows.times[first[0]], rows.times[first[-1] + config.horizon - 1]
            spans.append(f"{part} {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}")
    return f"what is predicted, in the order of time: {', '.join(spans)}"
