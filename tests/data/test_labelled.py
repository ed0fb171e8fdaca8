"""New data with its targets: the same inputs and classes as in training, and everything that differs told at once."""

import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dlx.config.data import Adult, Csv, DataConfig, Digits, ImageFolder, Npz, Parquet
from dlx.data import Dataset, Preparation, load, read_labelled, stream
from dlx.errors import DataError, MissingInputError

N = 120
ROW = np.arange(N)


def shop() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "size": np.round(np.cos(ROW) * 10 + 50, 3),
            "colour": np.where(ROW % 3 == 0, "red", "blue"),
            "made": pd.date_range("2020-01-05", periods=N, freq="11D").strftime("%Y-%m-%d"),
            "kind": np.where(ROW % 2 == 0, "cat", "dog"),
            "stars": ROW % 5,
            "price": np.sin(ROW) * 1000 + 0.5,
            "hot": (ROW % 4 > 1).astype(int),
            "new": (ROW % 7 > 2).astype(int),
        }
    )


def learn(folder: Path, **settings: object) -> tuple[Dataset, Preparation, Csv]:
    shop().to_csv(folder / "shop.csv", index=False)
    config = Csv(**{"path": str(folder / "shop.csv"), "target": "kind", "validation": 0, "test": 0, **settings})
    dataset = load(config)
    return dataset, Preparation.from_json(dataset.preprocessing), config


@pytest.mark.parametrize("target", ["kind", "stars", "price", ("hot", "new"), ("price", "stars")])
@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_the_training_table_read_again_gives_the_training_part(tmp_path, target, format):
    dataset, preparation, config = learn(tmp_path, target=target)
    path = tmp_path / f"again.{format}"
    shop().to_csv(path, index=False) if format == "csv" else shop().to_parquet(path)
    part, notes = read_labelled(preparation, str(path), config)
    assert part.inputs.tobytes() == dataset.train.inputs.tobytes()
    assert part.targets.tobytes() == dataset.train.targets.tobytes()
    assert (part.targets.dtype, notes) == (dataset.train.targets.dtype, ())
    assert part.rows is not None
    assert list(part.rows.columns) == list(shop().columns)


def test_a_run_on_csv_is_judged_on_parquet_and_the_other_way_round(tmp_path):
    shop().to_parquet(tmp_path / "shop.parquet")
    config = Parquet(path=str(tmp_path / "shop.parquet"), target="kind", validation=0, test=0)
    dataset = load(config)
    shop().to_csv(tmp_path / "again.csv", index=False)
    part, _ = read_labelled(Preparation.from_json(dataset.preprocessing), str(tmp_path / "again.csv"), config)
    assert part.inputs.tobytes() == dataset.train.inputs.tobytes()


def test_rows_without_a_target_are_left_out_and_keep_their_numbers(tmp_path):
    dataset, preparation, config = learn(tmp_path, target="stars")
    shop().assign(stars=np.where(ROW % 10 == 3, np.nan, ROW % 5), more=1).to_csv(tmp_path / "new.csv", index=False)
    part, notes = read_labelled(preparation, str(tmp_path / "new.csv"), config)
    assert notes == (
        "12 of 120 rows of new.csv were left out because their target is missing",
        "columns of new.csv that the training data did not have are not used: more",
    )
    assert part.rows is not None
    assert part.rows.index.tolist() == ROW[ROW % 10 != 3].tolist()
    assert part.targets.tolist() == dataset.train.targets[ROW % 10 != 3].tolist()


def test_words_that_were_categories_stay_so_in_a_file_where_all_look_like_numbers(tmp_path):
    table = shop().assign(colour=np.where(ROW % 3 == 0, "01", np.where(ROW % 3 == 1, "02", "x")))
    table.to_csv(tmp_path / "shop.csv", index=False)
    config = Csv(path=str(tmp_path / "shop.csv"), target="kind", validation=0, test=0)
    dataset = load(config)
    table[ROW % 3 < 2].to_csv(tmp_path / "new.csv", index=False)
    part, _ = read_labelled(Preparation.from_json(dataset.preprocessing), str(tmp_path / "new.csv"), config)
    assert part.inputs.tobytes() == dataset.train.inputs[ROW % 3 < 2].tobytes()


def test_classes_of_true_and_false_are_written_in_any_way(tmp_path):
    table = shop().assign(kind=np.where(ROW % 2 == 0, "TRUE", "FALSE"))
    table.to_csv(tmp_path / "shop.csv", index=False)
    config = Csv(path=str(tmp_path / "shop.csv"), target="kind", validation=0, test=0)
    dataset = load(config)
    preparation = Preparation.from_json(dataset.preprocessing)
    for words in (["TRUE", "FALSE"], ["true", "false"], ["True", "False"]):
        table.assign(kind=np.where(ROW % 2 == 0, *words)).to_csv(tmp_path / "new.csv", index=False)
        part, _ = read_labelled(preparation, str(tmp_path / "new.csv"), config)
        assert part.targets.tobytes() == dataset.train.targets.tobytes()


def test_everything_that_differs_is_told_at_once(tmp_path):
    _, preparation, config = learn(tmp_path)
    words = np.where(ROW % 4 == 0, "about 50", "51")
    other = shop().assign(size=words, made=np.where(ROW % 2, "soon", "2020-01-01"), kind=np.where(ROW % 3, "cat", "cow"))
    other.drop(columns=["stars"]).rename(columns={"colour": "Color"}).to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(DataError) as caught:
        read_labelled(preparation, str(tmp_path / "new.csv"), config)
    message = str(caught.value)
    for part in (
        "new.csv differs from the training data: it has no columns 'colour' (did you mean 'Color'?), 'stars'",
        "the column 'size' had numbers and now 25.0% of its values are none, such as 'about 50'",
        "the column 'made' had dates and now 50.0% of its values are none, such as 'soon'",
        "the target has classes that the network does not know: 'cow' (40 rows) (it knows cat, dog)",
    ):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("target", "change", "message"),
    [
        ("kind", {"kind": None}, "the target kind is missing in every row"),
        ("price", {"price": "much"}, "the target 'price' has values that are no numbers, such as 'much' .120 in all"),
        (("hot", "new"), {"hot": 2}, "the target hot, new has values other than 0 and 1"),
        ("stars", {"stars": 7.5}, r"does not know: '7.5' \(120 rows\) \(it knows 0, 1, 2, 3, 4\)"),
    ],
)
def test_other_targets_are_told(tmp_path, target, change, message):
    _, preparation, config = learn(tmp_path, target=target)
    shop().assign(**change).to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(DataError, match=message):
        read_labelled(preparation, str(tmp_path / "new.csv"), config)
    shop().drop(columns=list(change)).to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(DataError, match=f"it has no column '{next(iter(change))}'"):
        read_labelled(preparation, str(tmp_path / "new.csv"), config)


def test_a_few_words_among_numbers_count_as_missing_and_are_told(tmp_path):
    _, preparation, config = learn(tmp_path)
    shop().assign(size=["unknown", *shop()["size"][1:]]).to_csv(tmp_path / "new.csv", index=False)
    part, notes = read_labelled(preparation, str(tmp_path / "new.csv"), config)
    assert notes == ("values of size that are no numbers, such as 'unknown' (1 in all), count as missing",)
    assert part.inputs[0, 0] == np.float32(shop()["size"].median())


def test_an_empty_or_missing_file(tmp_path):
    _, preparation, config = learn(tmp_path)
    (tmp_path / "new.csv").write_text("")
    with pytest.raises(DataError, match=r"new.csv is empty"):
        read_labelled(preparation, str(tmp_path / "new.csv"), config)
    with pytest.raises(MissingInputError, match="--data: there is no file or folder"):
        read_labelled(preparation, str(tmp_path / "gone.csv"), config)


# --------------------------------------------------------------------------------------------------------- arrays and images


def prepared(config: DataConfig) -> tuple[Dataset, Preparation]:
    dataset = load(config)
    return dataset, Preparation.from_json(dataset.preprocessing)


@pytest.mark.parametrize(
    "y",
    [ROW % 3, np.eye(3)[ROW % 3], np.array(["a", "b", "c"])[ROW % 3], np.sin(ROW), (np.eye(3)[ROW % 3] + np.eye(3)[ROW % 2])],
)
def test_the_training_arrays_read_again_give_the_training_part(tmp_path, y):
    x = np.random.default_rng(0).normal(size=(N, 4))
    np.savez(tmp_path / "a.npz", x=x, y=np.minimum(y, 1) if y.ndim == 2 else y)
    config = Npz(path=str(tmp_path / "a.npz"), validation=0, test=0)
    dataset, preparation = prepared(config)
    np.savez(tmp_path / "b.npz", x_test=x, y_test=np.minimum(y, 1) if y.ndim == 2 else y, more=1)
    part, notes = read_labelled(preparation, str(tmp_path / "b.npz"), config)
    assert part.inputs.tobytes() == dataset.train.inputs.tobytes()
    assert part.targets.tobytes() == dataset.train.targets.tobytes()
    assert notes == ("of the arrays in b.npz only x_test and y_test are used, not more",)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((3, 4))}, "holds x: x and y, or x_test and y_test, are needed"),
        ({"x": np.zeros((3, 5)), "y": np.zeros(3)}, "have 5 features and the training data had 4"),
        ({"x": np.zeros((3, 4)), "y": np.zeros(2)}, "x has 3 examples and y has 2"),
        ({"x": np.full((3, 4), np.nan), "y": np.zeros(3)}, "NaN or infinite in 3 rows, the first in row 0"),
        ({"x": np.zeros((3, 4)), "y": np.array([0, 1, 9])}, r"classes that the network does not know: '9' \(1 row\)"),
        ({"x": np.zeros((3, 4)), "y": np.zeros((3, 7))}, "the target has 7 columns and not 3"),
    ],
)
def test_other_arrays_are_told(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).normal(size=(N, 4)), y=ROW % 3)
    config = Npz(path=str(tmp_path / "a.npz"))
    _, preparation = prepared(config)
    np.savez(tmp_path / "b.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read_labelled(preparation, str(tmp_path / "b.npz"), config)


def test_images_of_class_folders_are_resized_and_unknown_classes_told(tmp_path):
    def paint(path: Path, value: int, size: tuple[int, int] = (8, 8)) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (value, 0, 0)).save(path)

    for value in range(10):
        paint(tmp_path / "old" / "cat" / f"{value}.png", value)
        paint(tmp_path / "old" / "dog" / f"{value}.png", 200 + value)
    config = ImageFolder(path=str(tmp_path / "old"))
    _, preparation = prepared(config)
    paint(tmp_path / "new" / "dog" / "a.png", 201, (30, 20))
    paint(tmp_path / "new" / "b.png", 0)
    part, notes = read_labelled(preparation, str(tmp_path / "new"), config)
    assert (part.inputs.shape, part.targets.tolist()) == ((1, 8, 8, 3), [1])
    assert part.names is not None
    assert part.names.tolist() == ["dog/a.png"]
    assert notes == (
        "images in no class folder were left out: 1",
        "images of another size than training's 8x8 were scaled and cut: 1",
    )
    with tarfile.open(tmp_path / "new.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "new", ".")
    again, _ = read_labelled(preparation, str(tmp_path / "new.tar.gz"), config)
    assert again.inputs.tobytes() == part.inputs.tobytes()
    with pytest.raises(DataError, match=r"new.tar.gz is a tar archive: unpack it"):
        list(stream(preparation, str(tmp_path / "new.tar.gz"), config))
    paint(tmp_path / "new" / "cow" / "a.png", 1)
    with pytest.raises(DataError, match=r"does not know: 'cow' \(1 row\) \(it knows cat, dog\)"):
        read_labelled(preparation, str(tmp_path / "new"), config)


def test_a_network_for_images_with_named_classes_takes_their_numbers(tmp_path):
    dataset, preparation = prepared(Digits(validation=0))
    np.savez(tmp_path / "d.npz", x=dataset.test.inputs, y=dataset.test.targets)
    part, _ = read_labelled(preparation, str(tmp_path / "d.npz"), Digits())
    assert np.array_equal(part.inputs, dataset.test.inputs)
    assert np.array_equal(part.targets, dataset.test.targets)


def test_the_parts_of_real_tables_read_again(real_data):
    path = str(real_data("titanic/titanic.csv"))
    adult = str(real_data("adult/adult.test.gz"))
    for config, source in (
        (Csv(path=path, target="Survived", validation=0, test=0), path),
        (Adult(path=str(Path(adult).parent), validation=0), adult),
    ):
        dataset, preparation = prepared(config)
        part, _ = read_labelled(preparation, source, config)
        expected = dataset.test if isinstance(config, Adult) else dataset.train
        assert part.inputs.tobytes() == expected.inputs.tobytes()
        assert part.targets.tobytes() == expected.targets.tobytes()
