"""A folder with any number of images as inputs, decoded on all cores."""

from collections.abc import Generator
from pathlib import Path

import numpy as np

from dlx.config.data import DataConfig, ImageFolder
from dlx.data.chunks import BadRow, Chunk
from dlx.data.images import Color, Size, decode, image_files
from dlx.data.parallel import in_order
from dlx.data.preparation import Preparation
from dlx.errors import DataError, DlxError

_PIECE = 32  # images a thread decodes at a time


def stream_images(preparation: Preparation, path: Path, config: DataConfig) -> Generator[Chunk]:
    """All images in a folder, in whatever folders in it, sorted by path; or a single one. Names are paths in the folder.

    Raises `DataError` where there is no image, or where the network did not learn from images.
    """
    size, color = picture(preparation, str(path))
    one_size = trained_on_one_size(config)
    paths = image_files(path)
    if not paths:
        raise DataError(f"{path} has no images: .png, .jpg, .bmp, .gif, .webp, .ppm or .pgm files are needed")
    root = path if path.is_dir() else path.parent

    def read(start: int) -> Chunk:
        names: list[str] = []
        images: list[np.ndarray] = []
        rows: list[int] = []
        bad: list[BadRow] = []
        fitted = 0
        for row, file in enumerate(paths[start : start + _PIECE], start + 1):
            name = file.relative_to(root).as_posix()
            try:
                image, other_size = decode(file.read_bytes(), name, size, color)
            except (DlxError, OSError) as error:
                why = f"{name} does not decode as an image" if isinstance(error, DlxError) else f"{name}: {error.strerror}"
                bad.append(BadRow(row, why))
                continue
            images.append(image)
            fitted += other_size and one_size
            names.append(name)
            rows.append(row)
        inputs = np.stack(images) if images else np.empty((0, *preparation.spec.input_shape), np.uint8)
        return Chunk(rescale(preparation, inputs), np.array(rows, np.int64), tuple(names), tuple(bad), fitted=fitted)

    yield from in_order(read, range(0, len(paths), _PIECE))


def picture(preparation: Preparation, where: str) -> tuple[Size, Color]:
    """The size and the color that images are brought to. Raises `DataError` where the network did not learn from images."""
    shape = preparation.spec.input_shape
    if preparation.dtype != np.uint8 or len(shape) != 3 or shape[2] not in (1, 3):
        what = "a table" if preparation.kind == "table" else f"arrays of shape {shape}"
        raise DataError(f"{where} is a folder of images or an image, and the network learned from {what}")
    return (shape[0], shape[1]), "rgb" if shape[2] == 3 else "grey"


def trained_on_one_size(config: DataConfig) -> bool:
    """Whether the images of training all had one size, so that another one is worth telling."""
    return not (isinstance(config, ImageFolder) and config.size is not None)


def rescale(preparation: Preparation, images: np.ndarray) -> np.ndarray:
    """Pixels of 0..255 in the range of the training pixels, which is another for digits."""
    if preparation.pixel_range == 255:
        return images
    return np.round(images * (preparation.pixel_range / 255)).astype(np.uint8)
