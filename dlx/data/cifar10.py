"""`cifar10`: the official binary batches, or a copy as images in class folders.

A binary batch is a row of records of 3,073 bytes: the label, then 32x32 red, green and blue bytes, plane after plane.
"""

import re
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import numpy as np

from dlx.config.data import Cifar10
from dlx.data.arrays import Arrays, Pair, from_arrays
from dlx.data.dataset import Dataset, TargetKind
from dlx.data.download import RemoteFile, fetch
from dlx.data.files import existing, read_bytes, reading
from dlx.data.images import read_tree
from dlx.errors import DataError, MissingInputError
from dlx.places import cache_folder

_ARCHIVE = RemoteFile("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", "md5")
_BASE_URLS = ("https://www.cs.toronto.edu/~kriz",)
_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_RECORD = 1 + 3 * 32 * 32
_BATCH = re.compile(r"(?P<part>data_batch|train|test)\w*\.bin(\.xz|\.gz|\.bz2)?")

_PIXELS = MappingProxyType({"kind": "images", "size": [32, 32], "color": "rgb"})

Batches = dict[str, bytes]
"""File name -> its decompressed content."""


def load_cifar10(config: Cifar10, target: TargetKind | None, base_urls: Sequence[str] = ()) -> Dataset:
    """Read `data.path`, or the cache folder, where the archive is downloaded to (from `base_urls` if given)."""
    if config.path is None:
        path = fetch(_ARCHIVE, cache_folder("data") / "cifar10", base_urls or _BASE_URLS)
    else:
        path = _inside(existing(config.path, "data.path"))
    batches = _batches_in_tar(path) if path.is_file() else _batches_in_folder(path)
    arrays = _from_batches(path, batches) if batches else _from_images(path)
    return from_arrays(arrays, config, target)


def _inside(path: Path) -> Path:
    """The folder with the batches or the part folders, or the archive, that `data.path` leads to."""
    if path.is_file() or any(_BATCH.fullmatch(child.name) for child in path.iterdir()) or (path / "train").is_dir():
        return path
    for inner in (path / "cifar-10-batches-bin", path / "cifar10", path / _ARCHIVE.name, path / "cifar10-jpeg.tar.gz"):
        if inner.exists():
            return inner
    if (path / "cifar-10-batches-py").is_dir() or (path / "data_batch_1").is_file():
        raise DataError(
            f"{path} has the Python version of CIFAR-10, which is pickled: get {_ARCHIVE.name} from {_BASE_URLS[0]}"
        )
    return path


def _batches_in_folder(folder: Path) -> Batches:
    paths = sorted(path for path in folder.iterdir() if _BATCH.fullmatch(path.name))
    names = folder / "batches.meta.txt"
    return {path.name: read_bytes(path) for path in (*paths, *([names] if paths and names.is_file() else []))}


def _batches_in_tar(path: Path) -> Batches:
    """The batches in the official archive; nothing if it holds something else first (a copy as images)."""
    found: Batches = {}
    try:
        with reading(path), tarfile.open(path, "r:*") as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if name.lower().endswith((".jpg", ".jpeg", ".png")):
                    return {}
                if (_BATCH.fullmatch(name) or name == "batches.meta.txt") and (file := archive.extractfile(member)):
                    found[name] = file.read()
    except tarfile.TarError as error:
        raise DataError(f"{path} is not a readable tar archive ({error}): get it again") from error
    return found


def _from_batches(path: Path, batches: Batches) -> Arrays:
    names = tuple(batches.get("batches.meta.txt", b"").decode("utf-8", "replace").split()) or _CLASSES
    parts: dict[bool, list[bytes]] = {False: [], True: []}  # is it the test part? -> its batches
    for name, content in sorted(batches.items()):
        if not _BATCH.fullmatch(name):
            continue
        if not content or len(content) % _RECORD:
            raise DataError(
                f"{path}: {name} has {len(content):,} bytes, not a multiple of {_RECORD:,}: it is cut off, get it again"
            )
        parts[name.startswith("test")].append(content)
    train, test = (_decode(b"".join(parts[is_test])) for is_test in (False, True))
    if not len(train[1]):
        raise MissingInputError(f"{path} has a test batch but no data_batch_1.bin")
    if (worst := max(train[1].max(), test[1].max(initial=0))) >= len(names):
        raise DataError(f"{path} has the label {worst}: CIFAR-10 has 0 to {len(names) - 1}; is this CIFAR-100?")
    report = f"CIFAR-10 from binary batches: {len(train[1]):,} training and {len(test[1]):,} test images"
    return Arrays("cifar10", train, test=test if len(test[1]) else None, classes=names, preprocessing=_PIXELS, report=(report,))


def _decode(content: bytes) -> Pair:
    """Images (n, 32, 32, 3) and labels (n,), both uint8, of the records in `content`."""
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    planes = records[:, 1:].reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), records[:, 0]


def _from_images(path: Path) -> Arrays:
    tree = read_tree(path, None, "rgb")
    train = tree.parts["train"]
    if train[0].shape[1:] != (32, 32, 3) or len(tree.classes) != len(_CLASSES):
        raise DataError(
            f"{path} has {train[0].shape[1]}x{train[0].shape[2]} images of {len(tree.classes)} classes, "
            "CIFAR-10 has 32x32 of ten: use data.kind=image-folder"
        )
    return Arrays(
        "cifar10",
        train,
        tree.parts.get("validation"),
        tree.parts.get("test"),
        classes=tree.classes,
        preprocessing=_PIXELS,
        report=tree.report,
    )
