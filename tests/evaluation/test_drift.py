"""Drift: new data that cannot be of the kind that was learned from is told in a sentence; samples of the same kind never are."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dlx.config.data import Adult, Csv, Digits, PythonData
from dlx.data import Dataset, Preparation, load
from dlx.data.arrays import Arrays, from_arrays
from dlx.evaluation.drift import drift

RANDOM = np.random.Generator(np.random.Philox(key=11))


def of(dataset: Dataset) -> Preparation:
    """As a run stores it."""
    return Preparation.from_json(json.loads(json.dumps(dict(dataset.preprocessing))))


def frame(count: int) -> pd.DataFrame:
    age = RANDOM.normal(40, 12, count)
    return pd.DataFrame(
        {
            "age": np.where(RANDOM.random(count) < 0.05, np.nan, age),
            "income": np.exp(RANDOM.normal(9, 1.2, count)),
            "gain": np.where(RANDOM.random(count) < 0.04, RANDOM.normal(5000, 900, count), 0),
            "sex": RANDOM.choice(["f", "m"], count, p=[0.3, 0.7]),
            "day": pd.date_range("2020-01-01", periods=count, freq="7h").strftime("%Y-%m-%d"),
            "member": RANDOM.random(count) < 0.2,
            "y": RANDOM.integers(0, 2, count),
        }
    )


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path: Path = tmp_path_factory.mktemp("table") / "people.csv"
    frame(3000).to_csv(path, index=False)
    return load(Csv.model_validate({"kind": "csv", "path": str(path), "target": "y"}), keep_rows=True)


def changed(table: Dataset, **columns: object) -> tuple[str, ...]:
    """What is said of 500 test rows, some columns of which are others."""
    preparation = of(table)
    assert table.test.rows is not None
    assert preparation.encoder is not None
    rows = table.test.rows.iloc[:400].assign(**columns)
    return drift(preparation, preparation.encoder.transform(rows))


def test_what_was_held_out_is_no_drift(table: Dataset) -> None:
    assert drift(of(table), table.test.inputs) == ()
    assert changed(table) == ()


@pytest.mark.parametrize(
    ("column", "change", "said"),
    [
        ("age", lambda x: x + 18, "age: mean 5"),
        ("age", lambda x: x * 1000, "% of the values are above "),
        ("age", lambda x: x / 1000, "age: mean 2."),
        ("age", lambda x: x * np.nan, "age: missing 100%, 5% in training"),
        ("income", lambda x: x * 50, "income: mean of log(1 + x) 12.9, 9"),
        ("sex", lambda x: x.where(x == "m", "m"), "sex: f 0%, 3"),
        ("sex", lambda x: x.where(x == "m", "w"), "% of the values were not in training"),
        ("member", lambda x: ~x, "member: true 8"),
        ("day", lambda x: x.str.replace("202", "208"), "day year: mean 2.08e+03, 2.02e+03 in training"),
    ],
)
def test_columns_that_are_far_from_training(table: Dataset, column: str, change: object, said: str) -> None:
    assert table.test.rows is not None
    assert callable(change)
    found = changed(table, **{column: change(table.test.rows[column].iloc[:400])})
    assert len(found) == 1
    assert found[0].startswith(f"{column}")
    assert said in found[0]


def test_the_sentence_has_both_figures_and_the_distance(table: Dataset) -> None:
    assert table.test.rows is not None
    moments = of(table).moments
    assert moments is not None
    (said,) = changed(table, age=61.25)
    away = (61.25 - moments.mean[0]) / moments.std[0]
    assert said == f"age: mean 61.2, {moments.mean[0]:.3g} in training ({away:.1f} standard deviations away)"


def test_the_farthest_comes_first_and_a_column_once(table: Dataset) -> None:
    assert table.test.rows is not None
    rows = table.test.rows
    found = changed(table, sex="x", age=rows["age"] + 8, income=rows["income"] * 5)
    assert [said.partition(":")[0] for said in found] == ["sex", "income", "age"]


def test_more_than_five_are_counted() -> None:
    x = RANDOM.standard_normal((500, 9)).astype(np.float32)
    config = PythonData.model_validate({"kind": "python", "target": "data.py:load"})
    dataset = from_arrays(Arrays("rows", (x, np.arange(500) % 2), preprocessing={"kind": "arrays"}), config, "class")
    found = drift(of(dataset), dataset.test.inputs + np.arange(9, dtype=np.float32))
    assert [said.partition(":")[0] for said in found[:5]] == [f"input {place}" for place in (8, 7, 6, 5, 4)]
    assert found[5:] == ("and 3 more inputs differ from training's",)
    assert drift(of(dataset), dataset.test.inputs) == ()


def test_a_few_rows_by_chance_are_no_drift(table: Dataset) -> None:
    preparation = of(table)
    for count in (10, 30, 100, 300):
        for _ in range(50):
            assert drift(preparation, table.train.inputs[RANDOM.choice(len(table.train), count)]) == ()


def test_equal_values_of_a_small_sample_are_no_certainty() -> None:
    x = RANDOM.standard_normal((500, 2)).astype(np.float32)
    config = PythonData.model_validate({"kind": "python", "target": "data.py:load"})
    dataset = from_arrays(Arrays("rows", (x, np.arange(500) % 2), preprocessing={"kind": "arrays"}), config, "class")
    assert drift(of(dataset), np.ones((12, 2), np.float32)) == ()
    assert len(drift(of(dataset), np.ones((60, 2), np.float32))) == 2


def test_two_rare_values_in_a_small_sample_are_no_certainty() -> None:
    x = np.stack([100.0 * (np.arange(4000) % 1000 == 7), RANDOM.standard_normal(4000)], 1).astype(np.float32)
    config = PythonData.model_validate({"kind": "python", "target": "data.py:load"})
    dataset = from_arrays(Arrays("rows", (x, np.arange(4000) % 2), preprocessing={"kind": "arrays"}), config, "class")
    few = np.stack([100.0 * (np.arange(100) % 50 == 7), RANDOM.standard_normal(100)], 1).astype(np.float32)
    assert drift(of(dataset), few) == ()


def test_samples_of_many_columns_of_rare_values_are_no_drift() -> None:
    x = (RANDOM.random((4000, 80)) < 0.001) * RANDOM.exponential(100, (4000, 80))
    config = PythonData.model_validate({"kind": "python", "target": "data.py:load"})
    arrays = Arrays("rows", (x.astype(np.float32), np.arange(4000) % 2), preprocessing={"kind": "arrays"})
    dataset = from_arrays(arrays, config, "class")
    for count in (10, 100, 300, 600):
        for _ in range(10):
            assert drift(of(dataset), dataset.test.inputs[RANDOM.choice(len(dataset.test), count)]) == ()


def test_rare_large_values_that_a_small_sample_misses_are_no_drift(table: Dataset) -> None:
    assert changed(table, gain=0.0) == ()  # 400 rows of a column that is 0 in 96 % of training's


@pytest.mark.parametrize("standardize", [True, False])
def test_columns_in_another_order(table: Dataset, standardize: bool) -> None:
    x = (RANDOM.standard_normal((600, 3)) * [1, 4, 0.1] + [3, 0, 50]).astype(np.float32)
    config = PythonData.model_validate({"kind": "python", "target": "data.py:load", "standardize": standardize})
    dataset = from_arrays(Arrays("rows", (x, np.arange(600) % 2), preprocessing={"kind": "arrays"}), config, "class")
    assert len(drift(of(dataset), dataset.test.inputs[:, [2, 0, 1]])) == 3
    assert drift(of(dataset), dataset.test.inputs) == ()


def digits() -> Dataset:
    return load(Digits.model_validate({"kind": "digits"}))


def test_digits_of_its_own_test_part_are_no_drift() -> None:
    dataset = digits()
    assert drift(of(dataset), dataset.test.inputs) == ()
    assert drift(of(dataset), dataset.validation.inputs) == ()
    assert all(drift(of(dataset), dataset.train.inputs[start : start + 10]) == () for start in range(0, 1000, 10))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: 16 - x, "pixels: mean 11.1, 4.89 in training (1.0 standard deviations away)"),
        (lambda x: x / np.float32(16), "pixels: standard deviation 0.37"),
        (lambda x: np.full_like(x, 7), "(all are equal)"),
    ],
)
def test_images_inverted_rescaled_or_blank(change: object, said: str) -> None:
    dataset = digits()
    assert callable(change)
    found = drift(of(dataset), change(dataset.test.inputs))
    assert len(found) == 1
    assert said in found[0]


def test_channels_have_names() -> None:
    images = RANDOM.integers(0, 120, (200, 6, 6, 3)).astype(np.uint8)
    config = PythonData.model_validate({"kind": "python", "target": "data.py:load"})
    arrays = Arrays("photographs", (images, np.arange(200) % 2), preprocessing={"kind": "images"})
    dataset = from_arrays(arrays, config, "class")
    bluer = dataset.test.inputs + np.array([0, 0, 60], np.uint8)
    (said,) = drift(of(dataset), bluer)
    assert said.startswith("blue channel: mean 1")


def test_nothing_is_said_of_few_rows_or_of_runs_without_statistics(table: Dataset) -> None:
    far = table.test.inputs + 1000
    assert drift(of(table), far[:9]) == ()
    assert drift(of(table), far[:30]) != ()
    assert drift(replace(of(table), moments=None), far) == ()


def test_real_test_parts_are_no_drift(real_data) -> None:
    adult = load(Adult.model_validate({"kind": "adult", "path": str(real_data("adult"))}))
    assert drift(of(adult), adult.test.inputs) == ()
    path = str(real_data("titanic/titanic.csv"))
    titanic = load(Csv.model_validate({"kind": "csv", "path": path, "target": "Survived"}))
    assert drift(of(titanic), titanic.test.inputs) == ()
