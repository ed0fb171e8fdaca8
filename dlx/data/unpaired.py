"""`unpaired-images`: two folders of images of two kinds, put into pairs at random."""

from pathlib import Path

import numpy as np

from dlx.config.unpaired_data import UnpairedImages
from dlx.data.dataset import Dataset, Part, TargetKind
from dlx.data.files import existing, reading
from dlx.data.finish import finish
from dlx.data.images import decode, image_files
from dlx.data.scaling import fixed_scaling, measure, scaling_from
from dlx.data.split import divide
from dlx.data.target import Targets
from dlx.errors import ConfigError, DataError, MissingInputError

_PAIR_STREAM = 77
"""Beside the seed, so that pairs are not drawn as the parts are."""


def load_unpaired(config: UnpairedImages, target: TargetKind | None) -> Dataset:
    """Pairs (n, 2, height, width, channels) uint8. Each kind is divided by itself, so that no image is in two parts.

    Raises `MissingInputError` for a folder that is not there or empty, `DataError` for images that do not decode or differ in
    size, `ConfigError` for a task that predicts something.
    """
    if target is not None:
        raise ConfigError("data.kind=unpaired-images has images and nothing to predict of them: use task.kind=cycle")
    root = existing(config.path, "data.path")
    kinds = [_read(root / name, config) for name in config.names]
    tests = [_read(root / name, config) for name in config.test_names] if config.test_names else None
    _same_size(root, [*kinds, *(tests or ())])
    divisions = [divide(config, len(images), own_test=tests is not None) for images in kinds]
    train, validation, test = (
        _pairs([images[vars(d)[part]] for images, d in zip(kinds, divisions, strict=True)], config.seed, number)
        for number, part in enumerate(("train", "validation", "test"))
    )
    if tests is not None:
        test = _pairs(tests, config.seed, 2)
    height, width = kinds[0].shape[1:3]
    moments = measure(train.inputs)
    scaling = scaling_from(moments) if config.standardize else fixed_scaling(train.inputs, 255.0)
    report = tuple(
        f"{name}: {len(images):,} images of {height}x{width}" for name, images in zip(config.names, kinds, strict=True)
    )
    nothing = Targets(train.targets, "none", (), (), ())
    preprocessing = {"kind": "arrays", "names": list(config.names), "color": config.color}
    return finish(root.name, nothing, (train, validation, test), scaling, moments, preprocessing, report)


def _read(folder: Path, config: UnpairedImages) -> np.ndarray:
    """All images of a folder (n, height, width, channels), by path."""
    files = image_files(folder) if folder.is_dir() else []
    if not files:
        raise MissingInputError(f"{folder} is not a folder with images: name the two folders with data.names=[...]")
    size = (config.size, config.size) if isinstance(config.size, int) else config.size
    images = []
    for file in files:
        with reading(file):
            images.append(decode(file.read_bytes(), str(file), size, config.color)[0])
    if len(shapes := sorted({image.shape[:2] for image in images})) > 1:
        raise DataError(f"{folder} has images of {len(shapes)} sizes: set data.size, for instance data.size=64")
    return np.stack(images)


def _same_size(root: Path, kinds: list[np.ndarray]) -> None:
    if len(sizes := sorted({images.shape[1:3] for images in kinds})) > 1:
        shown = " and ".join(f"{height}x{width}" for height, width in sizes)
        raise DataError(f"{root} has images of {shown}: set data.size, for instance data.size=64")


def _pairs(kinds: list[np.ndarray], seed: int, part: int) -> Part:
    """Each image of the larger kind beside one of the other, whose images come in a random order again and again."""
    count = max(len(images) for images in kinds) if all(len(images) for images in kinds) else 0
    random = np.random.Generator(np.random.Philox(key=[seed, _PAIR_STREAM + part]))
    sides = []
    for images in kinds:
        rounds = [random.permutation(len(images)) for _ in range(-(-count // max(1, len(images))))]
        sides.append(images[np.concatenate(rounds)[:count]] if rounds else images[:0])
    return Part(np.stack(sides, 1), np.zeros((count, 0), np.float32))
