"""mnist and fashion-mnist from small IDX files of our own making, good and bad."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from dlx.config.data import FashionMnist, Mnist
from dlx.data import load
from dlx.data.idx import load_idx, read_idx
from dlx.errors import ConfigError, DataError, MissingInputError


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.astype(np.uint8).tobytes()


def write_set(folder: Path, packed: bool) -> None:
    for part, n in (("train", 60), ("t10k", 20)):
        labels = np.arange(n) % 10
        images = np.broadcast_to(labels[:, None, None], (n, 28, 28))
        for name, values in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            content = idx(values)
            (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content, 1) if packed else content)


@pytest.mark.parametrize("packed", [True, False])
def test_the_official_test_part_is_kept(tmp_path, packed):
    write_set(tmp_path, packed)
    dataset = load(Mnist(path=str(tmp_path), validation=1 / 6, test=0.5))
    assert dataset.spec.input_shape == (28, 28, 1)
    assert dataset.spec.classes == tuple("0123456789")
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (50, 10, 20)
    assert dataset.spec.class_counts == (5,) * 10
    assert dataset.train.inputs.dtype == np.uint8
    assert dataset.train.targets.dtype == np.int32
    for part in (dataset.train, dataset.validation, dataset.test):
        assert np.array_equal(part.inputs[:, 3, 3, 0], part.targets)


def test_scaling_is_that_of_the_training_part(tmp_path):
    write_set(tmp_path, True)
    dataset = load(FashionMnist(path=str(tmp_path), validation=1 / 6))
    pixels = dataset.train.inputs.astype(np.float64)
    assert dataset.scaling.mean == pytest.approx([pixels.mean()])
    assert dataset.scaling.inverse_std == pytest.approx([1 / pixels.std()])
    assert dataset.spec.classes[9] == "Ankle boot"
    plain = load(FashionMnist(path=str(tmp_path), validation=1 / 6, standardize=False))
    assert plain.scaling.mean.tolist() == [0]
    assert plain.scaling.inverse_std == pytest.approx([1 / 255])


def test_torchvisions_folder_is_understood(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    write_set(raw, False)
    assert len(load(Mnist(path=str(tmp_path), validation=0)).train) == 60


def test_only_classes_can_be_predicted(tmp_path):
    write_set(tmp_path, True)
    with pytest.raises(ConfigError, match=r"task.kind=classify"):
        load(Mnist(path=str(tmp_path)), "number")


def test_a_missing_file_is_named(tmp_path):
    write_set(tmp_path, True)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(MissingInputError, match=r"has no t10k-labels-idx1-ubyte.gz"):
        load(Mnist(path=str(tmp_path)))


def test_an_empty_folder_and_no_folder_are_told(tmp_path):
    with pytest.raises(MissingInputError, match="has no train-images"):
        load(Mnist(path=str(tmp_path)))
    with pytest.raises(MissingInputError, match="no file or folder"):
        load(Mnist(path=str(tmp_path / "gone")))


def test_without_a_path_and_a_network_the_address_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("DLX_CACHE", str(tmp_path))
    with pytest.raises(MissingInputError, match=r"127.0.0.1:9/train-images-idx3-ubyte.gz.*data.path="):
        load_idx(Mnist(), None, base_urls=["http://127.0.0.1:9"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx(np.zeros((2, 3)))[:-1], "announces 2 x 3 = 6 bytes but holds 5"),
        (idx(np.zeros((2, 3))) + b"x", "announces 2 x 3 = 6 bytes but holds 7"),
        (idx(np.zeros(3)), "begins with 00000801, not 00000802"),
        (b"<html>not found</html>", "not an IDX file"),
        (b"", "begins with nothing"),
        (idx(np.zeros((0, 3))), "holds no examples"),
        (gzip.compress(idx(np.zeros((200, 30))), mtime=0)[:-12], "truncated or damaged"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path, content, message):
    path = tmp_path / "bad-idx"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path, axes=2)
    assert str(path) in str(caught.value)


def test_images_and_labels_must_match(tmp_path):
    write_set(tmp_path, False)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(59)))
    with pytest.raises(DataError, match="60 images but train-labels-idx1-ubyte has 59 labels"):
        load(Mnist(path=str(tmp_path)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.full(60, 26)))
    with pytest.raises(DataError, match="has the label 26"):
        load(Mnist(path=str(tmp_path)))
