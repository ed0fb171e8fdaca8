"""`series`: rows in the order of time, windows that see the past alone, and a file of new rows for a trained network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dlx.config.series_data import Series
from dlx.data import Dataset, Part, Preparation, load, read_labelled, stream
from dlx.data.series_rows import read_series
from dlx.errors import ConfigError, DataError
from dlx.evaluation.forecasts import forecasts, season_ago

N = 100
VALUES = 100 + np.random.default_rng(0).permutation(N) / 4
TIMES = pd.date_range("2020-03-01", periods=N, freq="h")


def table(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"time": TIMES.astype(str), "load": VALUES, **columns})


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[..., Dataset]:
    """Writes a table and loads it: windows of 5 rows, 60 training, 20 validation and 20 test rows."""

    def write_and_load(frame: pd.DataFrame, **keys: Any) -> Dataset:
        frame.to_csv(tmp_path / "load.csv", index=False)
        tree = {
            "path": str(tmp_path / "load.csv"),
            "time": "time",
            "target": "load",
            "window": 5,
            "validation": 0.25,
            "test": 0.2,
        }
        return load(Series.model_validate(tree | keys))

    return write_and_load


def rows_of(values: np.ndarray) -> np.ndarray:
    """Where the values, none of which occurs twice in this file, are in it."""
    return np.array([int(np.flatnonzero(np.isclose(VALUES, value, rtol=1e-6))[0]) for value in values.ravel()]).reshape(
        values.shape
    )


@pytest.mark.parametrize("horizon", [1, 3])
def test_each_part_predicts_its_own_rows_from_the_rows_before_them(loaded, horizon):
    dataset = loaded(table(), horizon=horizon)
    assert (dataset.spec.input_shape, dataset.spec.outputs, dataset.spec.target) == ((5, 1), horizon, "number")
    expected = {"train": (5, 60), "validation": (60, 80), "test": (80, 100)}
    for part, (first, end) in zip((dataset.train, dataset.validation, dataset.test), expected.values(), strict=True):
        predicted = rows_of(part.targets)
        np.testing.assert_array_equal(predicted[:, 0], np.arange(first, end - horizon + 1))
        np.testing.assert_array_equal(predicted, predicted[:, :1] + np.arange(horizon))
        np.testing.assert_array_equal(rows_of(part.inputs[..., 0]), predicted[:, :1] + np.arange(-5, 0))
        assert predicted.max() == end - 1, "nothing of a part is left out, and nothing of the next one is predicted"


def test_rows_are_sorted_and_of_two_with_one_time_the_first_stays(loaded):
    frame = table()
    twice = frame.iloc[[7]].assign(load=999.0)
    shuffled = pd.concat([frame, twice]).iloc[np.argsort(np.r_[np.random.default_rng(1).random(N), 2.0], kind="stable")]
    dataset, plain = loaded(shuffled), loaded(frame)
    np.testing.assert_array_equal(dataset.train.inputs, plain.train.inputs)
    np.testing.assert_array_equal(dataset.test.targets, plain.test.targets)
    said = " ".join(dataset.report)
    assert "were sorted" in said
    assert "left out: 1" in said
    assert not any("sorted" in sentence for sentence in plain.report)


@pytest.mark.parametrize("horizon", [1, 3])
def test_what_is_missing_is_looked_at_as_the_last_value_before_it_and_is_no_truth(loaded, horizon):
    missing = VALUES.copy()
    missing[[0, 30, 31]] = np.nan
    dataset = loaded(table(load=missing), validation=0, test=0, horizon=horizon)
    filled = np.where(np.isin(np.arange(N), (30, 31)), VALUES[29], VALUES)
    first = np.array([row for row in range(6, N - horizon + 1) if not {30, 31} & set(range(row, row + horizon))])
    np.testing.assert_allclose(dataset.train.targets, VALUES[first[:, None] + np.arange(horizon)], rtol=1e-6)
    np.testing.assert_allclose(dataset.train.inputs[..., 0], filled[first[:, None] + np.arange(-5, 0)], rtol=1e-6)
    said = " ".join(dataset.report)
    assert f"windows left out because the load to predict is missing: {horizon + 1} of {N - 6 - horizon + 1}" in said
    assert "first 1 rows were left out" in said
    assert "missing values of load became the last one before them: 2 of 99" in said


def test_other_columns_and_the_calendar_are_looked_at_too(loaded):
    heat = np.arange(N) * 0.5
    dataset = loaded(table(heat=heat), inputs=["heat"], calendar=["hour", "weekday"], stride=2)
    assert dataset.preprocessing["series"]["features"] == ["load", "heat", "hour sin", "hour cos", "weekday sin", "weekday cos"]
    first = dataset.train.inputs[0]  # rows 0 to 4; 2020-03-01 was a Sunday
    np.testing.assert_allclose(first[:, 1], heat[:5])
    np.testing.assert_allclose(first[:, 2], np.sin(2 * np.pi * np.arange(5) / 24), atol=1e-6)
    np.testing.assert_allclose(first[:, 4:], np.tile([np.sin(12 * np.pi / 7), np.cos(12 * np.pi / 7)], (5, 1)), atol=1e-6)
    np.testing.assert_array_equal(rows_of(dataset.train.targets[:, 0]), np.arange(5, 60, 2))


def test_inputs_are_standardized_by_the_training_part(loaded):
    dataset = loaded(table())
    seen = dataset.train.inputs.astype(np.float64)
    assert dataset.scaling.mean == pytest.approx([seen.mean()], rel=1e-6)
    assert dataset.scaling.inverse_std == pytest.approx([1 / seen.std()], rel=1e-6)
    assert dataset.spec.target_mean == pytest.approx([dataset.train.targets.mean()], rel=1e-6)


@pytest.mark.parametrize(
    ("frequency", "season"), [("30min", 48), ("h", 24), ("D", 7), ("W", 52), ("MS", 12), ("QS", 4), ("YS", 1)]
)
def test_the_season_is_a_day_a_week_or_a_year(loaded, frequency, season):
    times = pd.date_range("1950-01-01", periods=N, freq=frequency)
    dataset = loaded(table().assign(time=times.astype(str)))
    assert dataset.preprocessing["series"]["season"] == season
    assert not any("rows are missing" in sentence for sentence in dataset.report), "months are of unequal lengths"


def test_gaps_in_the_times_are_told(loaded):
    dataset = loaded(table().drop(index=[40, 41, 70]))
    assert "rows are 1 hour apart, but at 2 places" in " ".join(dataset.report)


def test_times_in_several_columns_and_of_other_formats(loaded):
    split = table(year=TIMES.year, month=TIMES.month, day=TIMES.day, hour=TIMES.hour)
    together = loaded(table())
    for dataset in (
        loaded(split.iloc[::-1], time=["year", "month", "day", "hour"]),
        loaded(table().assign(time=TIMES.strftime("%d.%m.%Y %H:%M"))),
    ):
        np.testing.assert_array_equal(dataset.test.inputs, together.test.inputs)


@pytest.mark.parametrize(
    ("frequency", "written", "season"),
    [("MS", "%d/%m/%Y", 12), ("MS", "%m/%d/%Y", 12), ("D", "%d/%m/%Y", 7), ("D", "%m/%d/%Y", 7)],
)
def test_of_day_first_and_month_first_the_more_even_one_is_taken_and_told(tmp_path, frequency, written, season):
    times = pd.date_range("2024-01-01", periods=36 if frequency == "MS" else 12, freq=frequency)
    frame = pd.DataFrame({"time": times.strftime(written), "load": 1.0})
    frame.iloc[::-1].to_csv(tmp_path / "load.csv", index=False)
    rows = read_series(tmp_path / "load.csv", "time", ["load"], [""])
    assert rows.times.tz_localize(None).tolist() == times.tolist()
    assert rows.season == season
    [said] = [sentence for sentence in rows.report if "day first or month first" in sentence]
    last = times[-1]
    assert f"'time' may be day first or month first: {last.strftime(written)!r} is taken for {last:%Y-%m-%d} and not" in said


def test_days_that_are_no_months_say_what_is_first(tmp_path):
    pd.DataFrame({"time": ["1/12/2024", "1/13/2024"], "load": 1.0}).to_csv(tmp_path / "load.csv", index=False)
    rows = read_series(tmp_path / "load.csv", "time", ["load"], [""])
    assert (rows.times.tolist()[-1].day, rows.report) == (13, ())


def test_the_limit_keeps_the_latest_training_windows(loaded):
    np.testing.assert_array_equal(rows_of(loaded(table(), limit=10).train.targets[:, 0]), np.arange(50, 60))


@pytest.mark.parametrize(
    ("changes", "keys", "said"),
    [
        ({}, {"target": "lode"}, "no column 'lode': did you mean 'load'"),
        ({"load": ["much"] + ["1"] * 99}, {}, r"no numbers, such as 'much' \(1 in all\)"),
        ({"time": ["soon"] * 100}, {}, r"no times, such as 'soon' \(100 in all\)"),
        ({"time": range(1704067200, 1704067300)}, {}, "such as '1704067200' .*: write them as 2024-01-31 13:00"),
        ({"load": [3.0] * 100}, {}, "nothing to learn"),
        ({}, {"window": 60}, "train part has 60 of 100 rows"),
        ({}, {"horizon": 21}, "validation part has 20 of 100 rows"),
    ],
)
def test_what_cannot_be_used_is_told(loaded, changes, keys, said):
    with pytest.raises(DataError, match=said):
        loaded(table(**changes), **keys)


def test_a_series_has_numbers_to_predict(tmp_path):
    table().to_csv(tmp_path / "load.csv", index=False)
    with pytest.raises(ConfigError, match=r"task\.kind=regress"):
        load(Series(path=str(tmp_path / "load.csv"), time="time", target="load"), "class")


@pytest.mark.parametrize("keys", [{"inputs": ["load"]}, {"time": []}, {"calendar": ["hour", "hour"]}, {"window": 0}])
def test_a_config_that_says_nothing_sensible(keys):
    with pytest.raises(ValueError, match="validation error"):
        Series.model_validate({"path": "x.csv", "time": "time", "target": "load", **keys})


# ------------------------------------------------------------------------------------------------------------- new rows


def test_new_rows_become_the_windows_of_training_and_the_last_one_looks_into_the_future(loaded, tmp_path):
    dataset = loaded(table(), calendar=["hour"], horizon=2)
    preparation = Preparation.from_json(dataset.preprocessing)
    config = Series(path="load.csv", time="time", target="load", calendar=("hour",), window=5, horizon=2)
    path = str(tmp_path / "load.csv")
    chunks = list(stream(preparation, path, config, rows_per_chunk=30))
    inputs, lines = np.concatenate([c.inputs for c in chunks]), np.concatenate([c.rows for c in chunks])
    assert lines.tolist() == list(range(6, N + 2)), "the line of the last row that is looked at"
    np.testing.assert_array_equal(rows_of(inputs[-1, :, 0]), np.arange(95, 100))
    part, _ = read_labelled(preparation, path, config)
    assert len(part) == N - 5 - 2 + 1
    np.testing.assert_array_equal(part.inputs[80 - 5 : 80 - 5 + len(dataset.test)], dataset.test.inputs)
    np.testing.assert_array_equal(part.targets[80 - 5 :], dataset.test.targets)


def test_too_few_new_rows(loaded, tmp_path):
    preparation = Preparation.from_json(loaded(table()).preprocessing)
    config = Series(path="load.csv", time="time", target="load", window=5)
    table().head(4).to_csv(tmp_path / "few.csv", index=False)
    with pytest.raises(DataError, match="4 rows and the network looks at 5"):
        list(stream(preparation, str(tmp_path / "few.csv"), config))


# ------------------------------------------------------------------------------------------------------ simple forecasts


def windows(values: np.ndarray, window: int, horizon: int) -> Part:
    first = np.arange(window, len(values) - horizon + 1)
    return Part(
        np.stack([values[row - window : row] for row in first])[..., None].astype(np.float32),
        np.stack([values[row : row + horizon] for row in first]).astype(np.float32),
    )


def test_a_season_ago_is_whole_seasons_before_each_row():
    assert season_ago(window=7, horizon=5, season=3).tolist() == [4, 5, 6, 4, 5]
    wave = np.tile([5.0, 1.0, 3.0], 20)
    part = windows(wave, 7, 5)
    np.testing.assert_array_equal(forecasts(part, part, 3)["a season ago"], part.targets)
    assert "a season ago" not in forecasts(part, part, 8), "the window does not reach so far back"


def test_the_linear_forecast_is_least_squares():
    train, judged = windows(1e4 + VALUES[:70], 4, 2), windows(1e4 + VALUES[70:], 4, 2)
    found = forecasts(train, judged, 1)
    assert list(found) == ["persistence", "linear AR(4)"]
    design = np.column_stack([train.inputs[..., 0].astype(np.float64), np.ones(len(train))])
    weights = np.linalg.lstsq(design, train.targets.astype(np.float64), rcond=None)[0]
    np.testing.assert_allclose(found["linear AR(4)"], judged.inputs[..., 0] @ weights[:-1] + weights[-1], rtol=1e-6)
    np.testing.assert_array_equal(found["persistence"], np.repeat(judged.inputs[:, -1], 2, axis=1))


def test_the_figures_that_others_measured_on_the_energy_data(real_data):
    """Persistence 2.84 %, the same hour yesterday 6.14 %, and AR(24) 0.99 % with RMSE 191 MW, on the last tenth."""
    path = str(real_data("pjm-energy/AEP_hourly.csv.gz"))
    dataset = load(Series(path=path, time="Datetime", target="AEP_MW", validation=0, test=0.1))
    assert (len(dataset.train), len(dataset.test)) == (121_269 - 12_127 - 24, 12_127)
    found, truth = forecasts(dataset.train, dataset.test, dataset.preprocessing["series"]["season"]), dataset.test.targets
    error = {name: 100 * np.mean(np.abs(said - truth) / truth) for name, said in found.items()}
    assert error == pytest.approx({"persistence": 2.84, "a season ago": 6.14, "linear AR(24)": 0.99}, abs=0.005)
    assert np.sqrt(np.mean((found["linear AR(24)"] - truth) ** 2)) == pytest.approx(191, abs=0.5)
