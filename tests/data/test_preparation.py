"""What a run stores of its data is enough to make the same inputs again, and rows are kept when asked."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dlx.config.data import Csv, Digits, Npz
from dlx.data import Dataset, Preparation, load
from dlx.errors import DataError

N = 200


def shop(folder: Path) -> str:
    rows = np.arange(N)
    table = pd.DataFrame(
        {
            "id": rows,
            "size": np.cos(rows) * 10 + 50,
            "colour": np.where(rows % 3 == 0, "red", "blue"),
            "same": 1,
            "kind": np.where(rows % 2 == 0, "cat", "dog"),
        }
    )
    table.loc[7, "kind"] = None
    table.to_csv(folder / "shop.csv", index=False)
    return str(folder / "shop.csv")


def stored(dataset: Dataset) -> dict[str, object]:
    return json.loads(json.dumps(dict(dataset.preprocessing)))


def test_a_preparation_is_what_the_data_set_was(tmp_path):
    dataset = load(Csv(path=shop(tmp_path), target="kind"))
    preparation = Preparation.from_json(stored(dataset))
    assert preparation.spec == dataset.spec
    assert np.array_equal(preparation.scaling.mean, dataset.scaling.mean)
    assert np.array_equal(preparation.scaling.inverse_std, dataset.scaling.inverse_std)
    assert preparation.scaling.mean.dtype == np.float32
    assert preparation.columns == ("size", "colour=blue", "colour=red")
    assert preparation.file_columns == ("id", "size", "colour", "same", "kind")
    assert preparation.moments is not None
    assert preparation.moments.mean == pytest.approx(dataset.train.inputs.mean(axis=0), rel=1e-5)
    assert preparation.moments.std == pytest.approx(dataset.train.inputs.std(axis=0), rel=1e-5)


@pytest.mark.parametrize("standardize", [True, False])
def test_images_have_moments_in_pixels(standardize):
    dataset = load(Digits(standardize=standardize))
    preparation = Preparation.from_json(stored(dataset))
    assert (preparation.dtype, preparation.size, preparation.color, preparation.pixel_range) == (np.uint8, (8, 8), "grey", 16)
    assert preparation.moments is not None
    assert preparation.moments.mean == pytest.approx([dataset.train.inputs.mean()])
    assert preparation.moments.std == pytest.approx([dataset.train.inputs.std()])
    assert preparation.columns == ("grey",)


def test_a_run_stored_before_there_were_counts_is_read(tmp_path):
    tree = stored(load(Csv(path=shop(tmp_path), target="kind")))
    for name in ("class_counts", "examples", "input_dtype", "input_mean", "input_std", "columns"):
        del tree[name]
    preparation = Preparation.from_json(tree)
    assert (preparation.spec.class_counts, preparation.spec.examples) == ((0, 0), 0)
    assert (preparation.moments, preparation.dtype, preparation.file_columns) == (None, np.float32, ())


def test_arrays_keep_their_type(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (40, 5, 5, 3)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", x=values, y=np.arange(40) % 2)
    preparation = Preparation.from_json(stored(load(Npz(path=str(tmp_path / "a.npz")))))
    assert (preparation.kind, preparation.dtype, preparation.spec.input_shape) == ("arrays", np.uint8, (5, 5, 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "cubes"}, "its kind is 'cubes'"),
        ({"target": "all"}, "its target is 'all'"),
        ({"mean": None}, "cannot be used"),
        ({"encoder": {"columns": [{"kind": "odd"}], "report": []}}, "unknown kind of column 'odd'"),
    ],
)
def test_a_preparation_that_was_tampered_with_is_one_sentence(tmp_path, change, message):
    tree = stored(load(Csv(path=shop(tmp_path), target="kind")))
    with pytest.raises(DataError, match=message):
        Preparation.from_json(tree | change)
    del tree["classes"]
    with pytest.raises(DataError, match="it has no 'classes'"):
        Preparation.from_json(tree)


def test_rows_are_kept_when_asked_with_their_number_in_the_file(tmp_path):
    config = Csv(path=shop(tmp_path), target="kind", drop=("colour",))
    assert load(config).train.rows is None
    dataset = load(config, keep_rows=True)
    file = pd.read_csv(config.path)
    for part in (dataset.train, dataset.validation, dataset.test):
        assert part.rows is not None
        assert list(part.rows.columns) == list(file.columns)
        assert part.rows["size"].to_numpy(np.float32).tolist() == part.inputs[:, 0].tolist()
        assert part.rows["id"].tolist() == part.rows.index.tolist()
    some = dataset.test.take(np.array([3, 1]))
    assert some.rows is not None
    assert some.rows["size"].to_numpy(np.float32).tolist() == some.inputs[:, 0].tolist()
