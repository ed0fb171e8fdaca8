"""image-folder: layouts, sizes, colours, and images that do not decode."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlx.config.data import ImageFolder
from dlx.data import load
from dlx.errors import DataError, MissingInputError


def paint(path: Path, value: int, size: tuple[int, int] = (8, 6), mode: str = "RGB") -> None:
    """A plain image of (width, height); its red (or its grey) is `value`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, (value, 0, 0) if mode == "RGB" else value).save(path)


def write_classes(root: Path, n: int) -> None:
    for value, name in ((50, "cat"), (200, "dog")):
        for i in range(n):
            paint(root / name / f"{i}.png", value + i)


def test_class_folders_are_split(tmp_path):
    write_classes(tmp_path, 10)
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / "cat" / ".hidden.png").write_text("not an image")
    paint(tmp_path / "cover.png", 0)
    dataset = load(ImageFolder(path=str(tmp_path), validation=0.25, test=0.2))
    assert (dataset.spec.classes, dataset.spec.input_shape) == (("cat", "dog"), (6, 8, 3))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (12, 4, 4)
    assert dataset.spec.class_counts == (6, 6)
    assert np.array_equal(dataset.train.inputs[:, 0, 0, 0] >= 200, dataset.train.targets == 1)
    assert dataset.test.names is not None
    assert [name.split("/")[0] for name in dataset.test.names] == [("cat", "dog")[code] for code in dataset.test.targets]
    assert "20 images of 2 classes: cat, dog" in dataset.report
    assert "images in no class folder were left out: 1" in dataset.report
    assert dataset.preprocessing["size"] == [6, 8]
    assert dataset.preprocessing["classes"] == ["cat", "dog"]


def test_own_parts_are_used_instead_of_shares(tmp_path):
    write_classes(tmp_path / "train", 5)
    write_classes(tmp_path / "val", 2)
    write_classes(tmp_path / "test", 3)
    dataset = load(ImageFolder(path=str(tmp_path), validation=0.5, test=0.5))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (10, 4, 6)


def test_an_archive_with_a_wrapper_folder(tmp_path):
    write_classes(tmp_path / "pets" / "train", 5)
    write_classes(tmp_path / "pets" / "val", 2)
    with tarfile.open(tmp_path / "pets.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "pets", "pets")
    dataset = load(ImageFolder(path=str(tmp_path / "pets.tar.gz"), test=0.2))
    folder = load(ImageFolder(path=str(tmp_path / "pets"), test=0.2))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (8, 4, 2)
    assert np.array_equal(dataset.train.inputs, folder.train.inputs)


def test_a_wrapper_without_parts(tmp_path):
    write_classes(tmp_path / "outer" / "pets", 5)
    dataset = load(ImageFolder(path=str(tmp_path / "outer"), validation=0.2, test=0))
    assert dataset.spec.classes == ("cat", "dog")


def test_sizes_and_grey(tmp_path):
    write_classes(tmp_path, 5)
    paint(tmp_path / "dog" / "big.jpg", 100, (300, 100))
    paint(tmp_path / "dog" / "grey.bmp", 100, (9, 9), "L")
    Image.fromarray(np.full((9, 9), 25_600, np.uint16)).save(tmp_path / "dog" / "deep.png")
    with pytest.raises(DataError, match=r"images of 3 sizes \(such as 6x8, 100x300\): set data.size"):
        load(ImageFolder(path=str(tmp_path)))
    dataset = load(ImageFolder(path=str(tmp_path), size=(4, 5), color="grey", validation=0, test=0))
    assert dataset.spec.input_shape == (4, 5, 1)
    assert sorted(dataset.train.inputs[dataset.train.targets == 1, 0, 0, 0].tolist())[-2:] == [100, 100]


def test_an_image_that_does_not_decode_is_named(tmp_path):
    write_classes(tmp_path, 5)
    noise = np.random.Generator(np.random.Philox(key=0)).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "cat" / "3.png")
    whole = (tmp_path / "cat" / "3.png").read_bytes()
    for content in (b"", b"text", whole[:20], whole[: len(whole) // 2]):
        (tmp_path / "cat" / "3.png").write_bytes(content)
        with pytest.raises(DataError, match=r"cat/3.png does not decode as an image"):
            load(ImageFolder(path=str(tmp_path)))


def test_what_has_no_classes_is_told(tmp_path):
    with pytest.raises(MissingInputError, match="no file or folder"):
        load(ImageFolder(path=str(tmp_path / "gone")))
    with pytest.raises(DataError, match="no class folders with images"):
        load(ImageFolder(path=str(tmp_path)))
    paint(tmp_path / "cat" / "1.png", 1)
    with pytest.raises(DataError, match=r"one class folder with images \(cat\)"):
        load(ImageFolder(path=str(tmp_path)))
    write_classes(tmp_path / "val", 1)
    with pytest.raises(DataError, match="but none for train"):
        load(ImageFolder(path=str(tmp_path)))
    (tmp_path / "a.tar.gz").write_bytes(b"no archive")
    with pytest.raises(DataError, match="not a readable tar archive"):
        load(ImageFolder(path=str(tmp_path / "a.tar.gz")))
