"""npz and python sources, and what both check."""

from pathlib import Path

import numpy as np
import pytest

from dlx.config.data import Digits, Npz, PythonData
from dlx.data import load
from dlx.errors import DataError, MissingInputError, RunFailedError


def rows(n: int = 100) -> np.ndarray:
    return np.arange(n * 3, dtype=np.float64).reshape(n, 3)


def save(folder: Path, **arrays: np.ndarray) -> Npz:
    np.savez(folder / "data.npz", **arrays)
    return Npz(path=str(folder / "data.npz"))


def test_digits_need_no_file():
    dataset = load(Digits(validation=0.15, test=0.15))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (1298, 229, 270)
    assert dataset.train.inputs.shape == (1298, 8, 8, 1)
    assert dataset.train.inputs.max() == 16
    assert load(Digits(standardize=False)).scaling.inverse_std.tolist() == [1 / 16]


def test_x_and_y_are_split(tmp_path):
    dataset = load(save(tmp_path, x=rows(), y=np.arange(100) % 4))
    assert dataset.spec.target == "class"
    assert dataset.spec.outputs == 4
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (77, 8, 15)
    assert dataset.train.inputs.dtype == np.float32
    standardized = (dataset.train.inputs - dataset.scaling.mean) * dataset.scaling.inverse_std
    assert standardized.mean(axis=0) == pytest.approx([0] * 3, abs=1e-5)
    assert standardized.std(axis=0) == pytest.approx([1] * 3, abs=1e-5)


def test_the_keras_layout_keeps_its_test_part(tmp_path):
    images = np.zeros((40, 5, 5), np.uint8)
    config = save(tmp_path, x_train=images, y_train=np.arange(40) % 2, x_test=images[:8], y_test=np.arange(8) % 2)
    dataset = load(config)
    assert dataset.spec.input_shape == (5, 5, 1)
    assert len(dataset.test) == 8


def test_channels_first_images_are_turned(tmp_path):
    images = np.zeros((40, 3, 9, 7), np.uint8)
    images[:, 1, 2, 3] = 77
    dataset = load(save(tmp_path, x=images, y=np.arange(40) % 2))
    assert dataset.spec.input_shape == (9, 7, 3)
    assert (dataset.train.inputs[:, 2, 3, 1] == 77).all()
    assert any("channels first" in line for line in dataset.report)


def test_constant_columns_are_only_centred(tmp_path):
    x = rows()
    x[:, 1] = 7e6
    dataset = load(save(tmp_path, x=x, y=np.arange(100) % 2))
    assert dataset.scaling.inverse_std[1] == 1
    assert dataset.scaling.mean[1] == 7e6


@pytest.mark.parametrize(
    ("y", "kind", "outputs"),
    [
        (np.linspace(0, 1, 100), "number", 1),
        (np.linspace(0, 1, 200).reshape(100, 2), "number", 2),
        (np.arange(100), "number", 1),
        (np.eye(4)[np.arange(100) % 4], "class", 4),
        ((np.arange(300).reshape(100, 3) % 4 > 1).astype(int), "labels", 3),
        (np.array(["b", "a"] * 50), "class", 2),
        (np.array([0.0, 1.0] * 50), "class", 2),
        ((np.arange(100) % 2 == 0)[:, None], "class", 2),
    ],
)
def test_the_target_is_inferred(tmp_path, y, kind, outputs):
    spec = load(save(tmp_path, x=rows(), y=y)).spec
    assert (spec.target, spec.outputs) == (kind, outputs)
    assert len(spec.class_counts) == len(spec.classes) == (0 if kind == "number" else outputs)
    assert len(spec.target_mean) == len(spec.target_std) == (outputs if kind == "number" else 0)


def test_classes_are_sorted_by_value(tmp_path):
    assert load(save(tmp_path, x=rows(), y=np.array([10, 9, -1, 2] * 25))).spec.classes == ("-1", "2", "9", "10")
    assert load(save(tmp_path, x=rows(), y=np.array(["10", "9", "b", "a"] * 25))).spec.classes == ("9", "10", "a", "b")


def test_nan_is_told_with_its_place(tmp_path):
    x = rows()
    x[7, 1] = np.nan
    x[9] = np.inf
    with pytest.raises(DataError, match="have 4 values that are NaN or infinite, in 2 rows, the first in row 7"):
        load(save(tmp_path, x=x, y=np.arange(100) % 2))
    y = np.arange(100.0)
    y[3] = np.nan
    with pytest.raises(DataError, match="target has NaN or infinite values in 1 of 100 rows"):
        load(save(tmp_path, x=rows(), y=y))


def test_missing_labels_are_told(tmp_path):
    config = own(tmp_path, "return np.eye(40), ['yes', 'no', None, 'no'] * 10")
    with pytest.raises(DataError, match="target has 10 missing values"):
        load(config)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": rows()}, "x and y, or x_train and y_train, are needed"),
        ({"x": rows(), "y": np.zeros(99)}, "100 inputs but 99 targets"),
        ({"x": rows(), "y": np.zeros(100, int)}, "two classes or more are needed"),
        ({"x": rows(), "y": np.full(100, 0.5)}, "same value in every row"),
        ({"x": np.arange(100), "y": np.arange(100) % 2}, r"have shape \(100,\)"),
        ({"x": np.array([["a"]] * 10), "y": np.arange(10) % 2}, "must be numbers"),
        ({"x_train": rows(), "y_train": np.arange(100) % 2, "x_test": rows()}, "has no y_test"),
        (
            {"x_train": rows(), "y_train": np.arange(100) % 2, "x_test": rows()[:, :2], "y_test": np.zeros(100)},
            "they must agree",
        ),
    ],
)
def test_arrays_that_cannot_be_used(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message):
        load(save(tmp_path, **arrays))


def test_files_that_are_no_archive(tmp_path):
    path = tmp_path / "data.npz"
    with pytest.raises(MissingInputError):
        load(Npz(path=str(path)))
    for content in (b"", b"text", b"PK\x03\x04broken"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"data.npz"):
            load(Npz(path=str(path)))
    with path.open("wb") as file:
        np.save(file, rows())
    with pytest.raises(DataError, match="single array"):
        load(Npz(path=str(path)))
    np.savez(path, x=np.array([{}, {}], object), y=np.arange(2))
    with pytest.raises(DataError, match="not a readable NumPy archive"):
        load(Npz(path=str(path)))


def own(folder: Path, body: str, **args: object) -> PythonData:
    (folder / "own.py").write_text(f"import numpy as np\ndef load(**args):\n    {body}\n")
    return PythonData(target=f"{folder / 'own.py'}:load", args=args)


def test_a_users_function_is_called_with_its_args(tmp_path):
    body = "n = args['n']; x = np.eye(n); y = np.arange(n) % 2; return {'train': (x, y), 'test': (x[:4], y[:4])}"
    dataset = load(own(tmp_path, body, n=40))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (36, 4, 4)
    assert load(own(tmp_path, "return [[1.0, 2.0]] * 40, ['yes', 'no'] * 20")).spec.classes == ("no", "yes")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 3", "is a int: return"),
        ("return {'test': (1, 2)}", "mapping with no 'train'"),
        ("return {'train': (np.eye(4), np.arange(4)), 'valid': 1}", "mapping with 'valid'"),
        ("return [[1], [2, 3]], [0, 1]", "cannot be made into arrays"),
    ],
)
def test_what_a_users_function_must_return(tmp_path, body, message):
    with pytest.raises(DataError, match=message):
        load(own(tmp_path, body))


def test_a_users_function_that_raises_is_told(tmp_path):
    with pytest.raises(RunFailedError, match=r"own.py:load raised KeyError: 'n'"):
        load(own(tmp_path, "return args['n']"))


@pytest.mark.parametrize(
    ("y", "kind", "message"),
    [
        (np.arange(100) % 3, "labels", "labels must be 0 or 1"),
        (np.array(["a", "b"] * 50), "number", "is text"),
        (np.linspace(0, 1, 100), "class", "has fractions"),
        (np.ones((100, 2)), "class", "task.kind=multilabel"),
        (np.arange(100), "class", "names the rows"),
    ],
)
def test_a_task_that_does_not_suit_the_target(tmp_path, y, kind, message):
    with pytest.raises(DataError, match=message):
        load(save(tmp_path, x=rows(), y=y), kind)


def test_a_task_may_overrule_the_inference(tmp_path):
    assert load(save(tmp_path, x=rows(), y=np.arange(100) % 4), "number").spec.target == "number"
    assert load(save(tmp_path, x=rows(), y=np.arange(100) % 2), "labels").spec.outputs == 1
