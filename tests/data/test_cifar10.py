"""cifar10 in each of its layouts, from tiny files."""

import io
import lzma
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlx.config.data import Cifar10
from dlx.data import load
from dlx.data.cifar10 import load_cifar10
from dlx.errors import DataError, MissingInputError

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def records(n: int) -> bytes:
    """`n` records whose red plane is the label, green twice, blue three times the label."""
    labels = np.arange(n, dtype=np.uint8) % 10
    planes = [np.repeat(labels[:, None] * factor, 1024, axis=1) for factor in (1, 2, 3)]
    return np.hstack([labels[:, None], *planes]).astype(np.uint8).tobytes()


def check(dataset) -> None:
    assert (dataset.spec.input_shape, dataset.spec.classes) == ((32, 32, 3), NAMES)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (30, 10, 20)
    for part in (dataset.train, dataset.validation, dataset.test):
        assert np.array_equal(part.inputs[:, 5, 7, :], part.targets[:, None] * np.array([1, 2, 3]))


def test_binary_batches_in_a_folder(tmp_path):
    inner = tmp_path / "cifar-10-batches-bin"
    inner.mkdir()
    (inner / "data_batch_1.bin").write_bytes(records(20))
    (inner / "data_batch_2.bin").write_bytes(records(20))
    (inner / "test_batch.bin").write_bytes(records(20))
    (inner / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    check(load(Cifar10(path=str(tmp_path), validation=0.25)))


def test_compressed_batches(tmp_path):
    (tmp_path / "train_40.bin.xz").write_bytes(lzma.compress(records(40)))
    (tmp_path / "test_20.bin.xz").write_bytes(lzma.compress(records(20)))
    check(load(Cifar10(path=str(tmp_path), validation=0.25)))


def archive(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def test_the_official_archive(tmp_path):
    files = {"cifar-10-batches-bin/data_batch_1.bin": records(40), "cifar-10-batches-bin/test_batch.bin": records(20)}
    archive(tmp_path / "cifar-10-binary.tar.gz", files)
    check(load(Cifar10(path=str(tmp_path / "cifar-10-binary.tar.gz"), validation=0.25)))
    check(load(Cifar10(path=str(tmp_path), validation=0.25)))


def test_an_archive_of_images_in_class_folders(tmp_path):
    files = {}
    for part, n in (("train", 4), ("test", 2)):
        for label, name in enumerate(NAMES):
            for i in range(n):
                buffer = io.BytesIO()
                Image.new("RGB", (32, 32), (label, 2 * label, 3 * label)).save(buffer, "PNG")
                files[f"cifar10/{part}/{name}/{i:04}.png"] = buffer.getvalue()
    archive(tmp_path / "images.tar.gz", files)
    check(load(Cifar10(path=str(tmp_path / "images.tar.gz"), validation=0.25)))
    for name, content in files.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    check(load(Cifar10(path=str(tmp_path / "folder"), validation=0.25)))


def test_bad_batches_are_named(tmp_path):
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(records(3)[:-1])
    with pytest.raises(DataError, match=r"data_batch_1.bin has 9,218 bytes, not a multiple of 3,073"):
        load(Cifar10(path=str(tmp_path)))
    path.write_bytes(b"\x63" * 3073)
    with pytest.raises(DataError, match="has the label 99"):
        load(Cifar10(path=str(tmp_path)))
    path.rename(tmp_path / "test_batch.bin")
    with pytest.raises(MissingInputError, match=r"no data_batch_1.bin"):
        load(Cifar10(path=str(tmp_path)))


def test_a_truncated_archive_is_named(tmp_path):
    archive(tmp_path / "a.tar.gz", {"data_batch_1.bin": np.random.Generator(np.random.Philox(key=0)).bytes(3073 * 20)})
    whole = (tmp_path / "a.tar.gz").read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a.tar.gz"):
        load(Cifar10(path=str(tmp_path / "a.tar.gz")))


def test_the_pickled_version_is_refused(tmp_path):
    (tmp_path / "data_batch_1").write_bytes(b"\x80")
    with pytest.raises(DataError, match="pickled"):
        load(Cifar10(path=str(tmp_path)))


def test_without_a_network_the_address_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("DLX_CACHE", str(tmp_path))
    with pytest.raises(MissingInputError, match=r"127.0.0.1:9/cifar-10-binary.tar.gz.*data.path="):
        load_cifar10(Cifar10(), None, base_urls=["http://127.0.0.1:9"])
