"""Images on disk or in a tar archive: found, decoded, brought to one size."""

import io
import os
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Literal

import numpy as np

from dlx.data.arrays import Pair
from dlx.data.files import reading
from dlx.errors import DataError

_EXTENSIONS = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm"))
_PARTS = MappingProxyType(
    {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
)
_BLOCK = 1024  # images whose compressed bytes are held while they are decoded
_PIECE = 32  # images a thread decodes at a time: small ones take less time than handing them over

Color = Literal["rgb", "grey"]
Size = tuple[int, int]


@dataclass(frozen=True)
class Tree:
    """Images by part. `parts` maps "train", "validation", "test" (those there are) to uint8 NHWC images and (n,) codes."""

    parts: dict[str, Pair]
    names: dict[str, np.ndarray]
    """By part, the path of each image in the folder or the archive."""
    classes: tuple[str, ...]
    report: tuple[str, ...]


def read_tree(path: Path, size: Size | None, color: Color) -> Tree:
    """Read `<path>/<class>/*` or `<path>/<part>/<class>/*`, from a folder or a tar archive of one.

    `size` is (height, width): the shorter side is fitted and the middle cut out. Without it all images must be equal.
    Raises `DataError` for an image that does not decode, for different sizes, for fewer than two classes.
    """
    found = read_images(path, size, color)
    return _assemble(path, [image for image in found if image is not None], found.count(None))


@dataclass(frozen=True)
class Placed:
    """An image in a class folder."""

    part: str
    label: str
    """The name of its class."""
    name: str
    """Its path in the folder or the archive."""
    pixels: np.ndarray
    fitted: bool
    """Whether it had another size."""


def read_images(path: Path, size: Size | None, color: Color) -> list[Placed | None]:
    """All images of a folder or a tar archive; None for one in no class folder. Raises `DataError` for one that does not decode."""
    entries = _in_tar(path) if path.is_file() else _in_folder(path)
    names: list[PurePosixPath] = []
    images: list[tuple[np.ndarray, bool]] = []
    with reading(path), ThreadPoolExecutor(os.cpu_count()) as threads:
        while block := list(islice(entries, _BLOCK)):
            names.extend(relative for relative, _ in block)
            pieces = [block[start : start + _PIECE] for start in range(0, len(block), _PIECE)]
            decoded = threads.map(
                lambda piece: [decode(content, f"{path}/{name}", size, color) for name, content in piece], pieces
            )
            images.extend(image for piece in decoded for image in piece)
    places = _layout([name.parts[:-1] for name in names])
    found = zip(places, names, images, strict=True)
    return [None if place is None else Placed(*place, name.as_posix(), *image) for place, name, image in found]


def decode(content: bytes, where: str, size: Size | None, color: Color) -> tuple[np.ndarray, bool]:
    """One image as uint8 (height, width, channels), and whether it had another size.

    Raises `DataError`, beginning with `where`, if it does not decode.
    """
    from PIL import Image, ImageOps

    mode = "RGB" if color == "rgb" else "L"
    try:
        with Image.open(io.BytesIO(content)) as image:
            if size is not None:
                image.draft(mode, (2 * size[1], 2 * size[0]))  # lets libjpeg decode a big photo at a fraction of its size
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I;16"):
                upright = upright.point(lambda value: value / 256)  # Pillow would clip 16-bit pixels at 255
            flat = upright.convert(mode)
            fitted = flat if size is None else ImageOps.fit(flat, (size[1], size[0]), Image.Resampling.BILINEAR)
            pixels = np.asarray(fitted, np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what Pillow raises for a bad file
        raise DataError(f"{where} does not decode as an image: replace or remove it") from error
    return pixels if color == "rgb" else pixels[..., None], flat.size != fitted.size


def image_files(root: Path) -> list[Path]:
    """All images in a folder and its folders, by path; of hidden files and folders none. An image by itself is the only one."""
    if root.is_file():
        return [root]
    with reading(root):
        found = [Path(folder, name) for folder, names in _walk(root) for name in names if is_image(name)]
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def _in_folder(root: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    for folder, names in _walk(root):
        for name in names:
            path = Path(folder, name)
            if is_image(name):
                with reading(path):
                    yield PurePosixPath(path.relative_to(root).as_posix()), path.read_bytes()


def _walk(root: Path) -> Iterator[tuple[str, list[str]]]:
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield folder, sorted(names)


def _in_tar(path: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                relative = PurePosixPath(member.name)
                if member.isfile() and is_image(relative.name) and (file := archive.extractfile(member)):
                    yield relative, file.read()
    except tarfile.TarError as error:
        raise DataError(
            f"{path} is not a readable tar archive ({error}): get it again, or unpack it and name the folder"
        ) from error


def is_image(name: str) -> bool:
    """Whether it is called as images are."""
    return not name.startswith(".") and PurePosixPath(name).suffix.lower() in _EXTENSIONS


def _layout(folders: list[tuple[str, ...]]) -> list[tuple[str, str] | None]:
    """The part and the class of each image, from the folders it lies in; None for one in no class folder.

    An archive often wraps everything in one more folder, so part names are looked for on the first two levels.
    """
    for depth in (0, 1):
        parts = [_PARTS.get(f[depth].lower()) if len(f) > depth + 1 else None for f in folders]
        if any(parts):
            return [None if part is None else (part, f[depth + 1]) for part, f in zip(parts, folders, strict=True)]
    deep = [f for f in folders if f]
    wrapped = bool(deep) and len({f[0] for f in deep}) == 1 and all(len(f) > 1 for f in deep)
    return [("train", f[wrapped]) if len(f) > wrapped else None for f in folders]


def _assemble(path: Path, placed: list[Placed], left: int) -> Tree:
    classes = tuple(sorted({image.label for image in placed}))
    if len(classes) < 2:
        found = f"one class folder with images ({classes[0]})" if classes else "no class folders with images"
        raise DataError(f"{path} has {found}: <class>/*.png or train/<class>/*.png with two classes or more are needed")
    sizes = sorted({image.pixels.shape[:2] for image in placed})
    if len(sizes) > 1:
        shown = ", ".join(f"{height}x{width}" for height, width in (sizes[0], sizes[-1]))
        raise DataError(
            f"{path} has images of {len(sizes):,} sizes (such as {shown}): set data.size, for instance data.size=64"
        )
    by_part = {part: [image for image in placed if image.part == part] for part in dict.fromkeys(i.part for i in placed)}
    parts = {
        part: (
            np.stack([image.pixels for image in images]),
            np.array([classes.index(image.label) for image in images], np.int32),
        )
        for part, images in by_part.items()
    }
    if "train" not in parts:
        raise DataError(f"{path} has images for {' and '.join(parts)} but none for train")
    report = [f"{len(placed):,} images of {len(classes)} classes: {', '.join(classes[:10])}"]
    if left:
        report.append(f"images in no class folder were left out: {left:,}")
    names = {part: np.array([image.name for image in images]) for part, images in by_part.items()}
    return Tree(parts, names, classes, tuple(report))
