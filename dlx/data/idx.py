"""`mnist` and `fashion-mnist`: images and labels in IDX files, the format of LeCun's MNIST page.

An IDX file is: two zero bytes, the type of the values (8 = bytes), the number of axes, the length of each axis as a
big-endian 32-bit number, then the values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dlx.config.data import FashionMnist, Mnist
from dlx.data.arrays import Arrays, Pair, from_arrays
from dlx.data.dataset import Dataset, TargetKind
from dlx.data.download import RemoteFile, fetch
from dlx.data.files import existing, read_bytes
from dlx.errors import DataError, MissingInputError
from dlx.places import cache_folder


@dataclass(frozen=True)
class _IdxSet:
    classes: tuple[str, ...]
    base_urls: tuple[str, ...]
    files: tuple[RemoteFile, RemoteFile, RemoteFile, RemoteFile]
    """Training images, training labels, test images, test labels."""


_MNIST = _IdxSet(
    classes=tuple("0123456789"),
    base_urls=("https://ossci-datasets.s3.amazonaws.com/mnist",),
    files=(
        RemoteFile("train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        RemoteFile("train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        RemoteFile("t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        RemoteFile("t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ),
)
_FASHION = _IdxSet(
    classes=("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    base_urls=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",),
    files=(
        RemoteFile("train-images-idx3-ubyte.gz", "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        RemoteFile("train-labels-idx1-ubyte.gz", "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        RemoteFile("t10k-images-idx3-ubyte.gz", "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        RemoteFile("t10k-labels-idx1-ubyte.gz", "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ),
)


def load_idx(config: Mnist | FashionMnist, target: TargetKind | None, base_urls: Sequence[str] = ()) -> Dataset:
    """Read the four files of `data.path`, or of the cache folder, where they are downloaded to (from `base_urls` if given)."""
    known = _MNIST if config.kind == "mnist" else _FASHION
    if config.path is None:
        folder = cache_folder("data") / config.kind
        paths = [fetch(file, folder, base_urls or known.base_urls) for file in known.files]
    else:
        paths = _in_folder(existing(config.path, "data.path"), known.files)
    train, test = read_pair(paths[0], paths[1]), read_pair(paths[2], paths[3])
    for path, (_, labels) in ((paths[1], train), (paths[3], test)):
        if labels.max() >= len(known.classes):
            raise DataError(f"{path} has the label {labels.max()}: {config.kind} has 0 to {len(known.classes) - 1}")
    preprocessing = {"kind": "images", "size": list(train[0].shape[1:3]), "color": "grey"}
    return from_arrays(
        Arrays(config.kind, train, test=test, classes=known.classes, preprocessing=preprocessing), config, target
    )


def read_pair(images_path: Path, labels_path: Path) -> Pair:
    """Images (n, height, width, 1) and labels (n,), both uint8. Raises `DataError` when they do not belong together."""
    images, labels = read_idx(images_path, axes=3), read_idx(labels_path, axes=1)
    if len(images) != len(labels):
        raise DataError(f"{images_path} has {len(images):,} images but {labels_path.name} has {len(labels):,} labels")
    return images[..., None], labels


def read_idx(path: Path, axes: int) -> np.ndarray:
    """The uint8 array of an IDX file with so many axes, gzipped or not. Raises `DataError` naming the file."""
    content = read_bytes(path)
    header = 4 + 4 * axes
    if content[:4] != bytes((0, 0, 8, axes)) or len(content) < header:
        raise DataError(
            f"{path} is not an IDX file of bytes with {axes} axes: "
            f"it begins with {content[:4].hex() or 'nothing'}, not 000008{axes:02x}"
        )
    shape = tuple(np.frombuffer(content, ">u4", axes, offset=4).tolist())
    wanted = int(np.prod(shape, dtype=np.int64))
    if len(content) - header != wanted:
        raise DataError(
            f"{path} announces {' x '.join(map(str, shape))} = {wanted:,} bytes but holds "
            f"{len(content) - header:,}: get it again"
        )
    if not wanted:
        raise DataError(f"{path} holds no examples")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _in_folder(folder: Path, files: Sequence[RemoteFile]) -> list[Path]:
    """The files, gzipped or not, in the folder itself or where torchvision keeps them inside it."""
    if not folder.is_dir():
        raise MissingInputError(
            f"data.path: {folder} is a file: name the folder that holds {files[0].name} and its three siblings"
        )
    for inside in (folder, folder / "raw", folder / "MNIST" / "raw", folder / "FashionMNIST" / "raw"):
        found = [_first_existing(inside, file.name) for file in files]
        paths = [path for path in found if path is not None]
        if len(paths) == len(files):
            return paths
        if paths:
            missing = next(file.name for file, path in zip(files, found, strict=True) if path is None)
            raise MissingInputError(f"data.path: {inside} has no {missing} (gzipped or not)")
    raise MissingInputError(f"data.path: {folder} has no {files[0].name} (gzipped or not)")


def _first_existing(folder: Path, name: str) -> Path | None:
    plain = name.removesuffix(".gz")
    dotted = plain.replace("-idx", ".idx")  # as some unpackers name them
    return next((folder / n for n in (name, plain, dotted, f"{dotted}.gz") if (folder / n).is_file()), None)
