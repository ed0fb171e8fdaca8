"""Tables from file to data set: targets, parts, scaling, and what is told when something is wrong."""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from dlx.config.data import Adult, Csv, Parquet
from dlx.data import load
from dlx.data.encoder import TableEncoder
from dlx.data.scaling import fit_scaling
from dlx.errors import DataError, MissingInputError

N = 200


def frame() -> pd.DataFrame:
    rows = np.arange(N)
    return pd.DataFrame(
        {
            "id": rows,
            "size": np.cos(rows) * 10 + 50,
            "colour": np.where(rows % 3 == 0, "red", "blue"),
            "price": np.sin(rows) * 1000 + 0.5,
            "kind": np.where(rows % 2 == 0, "cat", "dog"),
            "stars": rows % 5,
            "hot": (rows % 4 > 1).astype(int),
            "new": (rows % 7 > 2).astype(int),
        }
    )


def csv(folder: Path, table: pd.DataFrame, name: str = "shop.csv") -> str:
    table.to_csv(folder / name, index=False)
    return str(folder / name)


@pytest.mark.parametrize(
    ("target", "kind", "outputs"),
    [
        ("kind", "class", 2),
        ("stars", "class", 5),
        ("hot", "class", 2),
        ("price", "number", 1),
        ("id", "number", 1),
        (("hot", "new"), "labels", 2),
        (("price", "stars"), "number", 2),
    ],
)
def test_the_target_is_inferred_and_told(tmp_path, target, kind, outputs):
    dataset = load(Csv(path=csv(tmp_path, frame()), target=target))
    assert (dataset.spec.target, dataset.spec.outputs) == (kind, outputs)
    assert "taken for" in dataset.report[0]
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (153, 17, 30)
    json.dumps(dict(dataset.preprocessing))


def test_quantities_are_standardized_and_categories_are_not(tmp_path):
    dataset = load(Csv(path=csv(tmp_path, frame()), target="price", drop=("id", "kind", "stars", "hot", "new")))
    assert dataset.preprocessing["mean"][1:] == [0, 0]
    assert dataset.preprocessing["inverse_std"][1:] == [1, 1]
    standardized = (dataset.train.inputs - dataset.scaling.mean) * dataset.scaling.inverse_std
    assert standardized[:, 0].mean() == pytest.approx(0, abs=1e-5)
    assert standardized[:, 0].std() == pytest.approx(1, abs=1e-4)
    assert dataset.spec.target_mean == pytest.approx([dataset.train.targets.mean()])
    assert dataset.spec.target_std == pytest.approx([dataset.train.targets.std()])
    plain = load(Csv(path=csv(tmp_path, frame()), target="price", standardize=False))
    assert set(plain.scaling.mean.tolist()) == {0}
    assert set(plain.scaling.inverse_std.tolist()) == {1}


def test_the_stored_encoder_gives_the_same_inputs(tmp_path):
    dataset = load(Csv(path=csv(tmp_path, frame()), target="kind", validation=0, test=0))
    stored = json.loads(json.dumps(dict(dataset.preprocessing)))
    assert np.array_equal(TableEncoder.from_json(stored["encoder"]).transform(frame()), dataset.train.inputs)


def test_only_training_rows_decide(tmp_path):
    table = frame()
    first = load(Csv(path=csv(tmp_path, table), target="kind"))
    train_sizes = {float(v) for v in first.train.inputs[:, 0]}
    held_out = ~table["size"].astype(np.float32).isin(train_sizes)
    table.loc[held_out, "size"] = 1e6
    second = load(Csv(path=csv(tmp_path, table), target="kind"))
    assert np.array_equal(first.scaling.mean, second.scaling.mean)
    assert first.preprocessing["encoder"] == second.preprocessing["encoder"]


def test_rows_without_a_target_are_left_out_and_told(tmp_path):
    table = frame().astype({"stars": float})
    table.loc[:9, "stars"] = np.nan
    dataset = load(Csv(path=csv(tmp_path, table), target="stars"))
    assert dataset.spec.classes == ("0", "1", "2", "3", "4")
    assert "10 of 200 rows of shop were left out because their target is missing" in dataset.report


def test_huge_whole_targets_stay_numbers_when_some_are_missing(tmp_path):
    table = frame().assign(price=2.0**70 * (1 + np.arange(N)))
    table.loc[:9, "price"] = np.nan
    dataset = load(Csv(path=csv(tmp_path, table), target="price"))
    assert dataset.spec.target == "number"
    assert min(part.targets.min() for part in (dataset.train, dataset.validation, dataset.test)) == 11 * 2.0**70


def test_row_numbers_are_left_out_though_rows_are_drawn_and_lost(tmp_path):
    table = frame().astype({"stars": float}).assign(even=2 * np.arange(N))
    table.loc[[3, 50], "stars"] = np.nan
    for more in ({}, {"test_path": csv(tmp_path, frame()[:50].assign(even=0), "test.csv")}):
        columns = load(Csv(path=csv(tmp_path, table), target="stars", **more)).preprocessing["encoder"]["columns"]
        names = [column["name"] for column in columns]
        assert "id" not in names
        assert "even" in names
    table[["id", "stars"]].to_csv(tmp_path / "two.csv", index=False)
    assert load(Csv(path=str(tmp_path / "two.csv"), target="stars")).spec.input_shape == (1,)


def test_inputs_keep_the_differences_of_large_numbers(tmp_path):
    seconds = 1_600_000_000 + np.random.default_rng(0).permutation(N)
    table = pd.DataFrame({"time": seconds, "kind": np.where(np.arange(N) % 2, "cat", "dog")})
    dataset = load(Csv(path=csv(tmp_path, table), target="kind"))
    assert len(np.unique(dataset.train.inputs)) == len(dataset.train)
    standardized = (dataset.train.inputs - dataset.scaling.mean) * dataset.scaling.inverse_std
    assert standardized.std() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("spread", [1, 0.2])
def test_targets_that_float32_cannot_tell_apart_are_an_error(tmp_path, spread):
    table = frame().assign(price=1_600_000_000 + spread * np.arange(N))
    with pytest.raises(DataError, match=r"'price' are too large for their spread in float32: subtract .* mean 16000000\d\d"):
        load(Csv(path=csv(tmp_path, table), target="price"))
    with pytest.raises(DataError, match="'price' are too large"):
        load(Csv(path=csv(tmp_path, table), target=("stars", "price")))
    dataset = load(Csv(path=csv(tmp_path, table.assign(price=table["price"] - 1_600_000_000)), target="price"))
    assert dataset.train.targets.dtype == dataset.test.targets.dtype == np.float32


def test_spreads_whose_inverse_float32_cannot_hold_count_as_constant():
    inputs = np.array([[0, 0], [1e-40, 2]], np.float32)
    assert fit_scaling(inputs).inverse_std.tolist() == [1, 1]


def test_a_second_file_is_the_test_part(tmp_path):
    dataset = load(Csv(path=csv(tmp_path, frame()), test_path=csv(tmp_path, frame()[:50], "test.csv"), target="kind"))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (180, 20, 50)
    without = csv(tmp_path, frame().drop(columns="kind"), "test.csv")
    with pytest.raises(DataError, match=r"data.test_path has no column 'kind'"):
        load(Csv(path=csv(tmp_path, frame()), test_path=without, target="kind"))


def test_parquet_gives_what_csv_gives(tmp_path):
    frame().to_parquet(tmp_path / "shop.parquet")
    parquet = load(Parquet(path=str(tmp_path / "shop.parquet"), target="kind"))
    assert np.array_equal(parquet.train.inputs, load(Csv(path=csv(tmp_path, frame()), target="kind")).train.inputs)


def test_columns_without_a_header_go_by_number(tmp_path):
    frame().to_csv(tmp_path / "t.csv", header=False, index=False)
    assert load(Csv(path=str(tmp_path / "t.csv"), header=False, target="4")).spec.classes == ("cat", "dog")
    assert load(Csv(path=str(tmp_path / "t.csv"), header=False, target=4, drop=[0])).spec.classes == ("cat", "dog")
    assert Csv(path="t.csv", header=False, target=[6, "7"]).target == ("6", "7")


def test_a_target_named_twice_is_refused():
    with pytest.raises(ValidationError, match="'6' is named twice: name each target column once"):
        Csv(path="t.csv", header=False, target=[6, "6"])
    with pytest.raises(ValidationError):
        Csv(path="t.csv", target=True)


def test_limit(tmp_path):
    dataset = load(Csv(path=csv(tmp_path, frame()), target="kind", limit=40))
    assert len(dataset.train) == 40
    assert dataset.spec.class_counts == (20, 20)
    assert len(dataset.validation) == 17


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({}, {"target": "Kinds"}, "shop has no column 'Kinds': did you mean 'kind'"),
        ({}, {"target": "zzzzzz"}, "it has 'id', 'size'"),
        ({}, {"drop": ("sise",)}, "no column 'sise': did you mean 'size'"),
        ({"kind": "cat"}, {}, "is 'cat' in every row"),
        ({"kind": None}, {}, "target kind is missing in every row"),
        ({"kind": [f"name {i}" for i in range(N)]}, {}, "200 different values in 200 rows"),
        ({}, {"target": ("kind", "hot")}, "the target 'kind' is not a number"),
        ({}, {"validation": 0.001}, "data.validation=0.001 of 200 examples"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(tmp_path, changes, settings, message):
    config = Csv(**{"path": csv(tmp_path, frame().assign(**changes)), "target": "kind", **settings})
    with pytest.raises(DataError, match=message):
        load(config)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(MissingInputError, match="no file or folder"):
        load(Csv(path=str(tmp_path / "gone.csv"), target="x"))


def adult_row(age: int, label: str) -> str:
    return f"{age}, Private, {age * 1000 % 777}, HS-grad, 9, Divorced, ?, Husband, White, Male, 0, 0, 40, ?, {label}\n"


@pytest.mark.parametrize("packed", [False, True])
def test_adult_as_uci_publishes_it(tmp_path, packed):
    train = "".join(adult_row(20 + i % 50, ">50K" if i % 4 == 0 else "<=50K") for i in range(100)) + "\n"
    test = "|1x3 Cross validator\n" + "".join(adult_row(20 + i, ">50K." if i % 2 else "<=50K.") for i in range(20)) + "\n"
    for name, text in (("adult.data", train), ("adult.test", test)):
        (tmp_path / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    dataset = load(Adult(path=str(tmp_path)))
    assert dataset.spec.classes == ("<=50K", ">50K")
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (90, 10, 20)


def test_adult_says_where_it_can_be_had(tmp_path):
    with pytest.raises(MissingInputError, match=r"archive.ics.uci.edu.*data.path="):
        load(Adult())
    with pytest.raises(MissingInputError, match=r"has no adult.data"):
        load(Adult(path=str(tmp_path)))
