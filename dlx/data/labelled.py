"""New data with its targets, for judging a trained network: what differs from the training data is told all at once."""

from pathlib import Path

import numpy as np

from dlx.config.data import DataConfig
from dlx.config.series_data import Series
from dlx.data.dataset import Part
from dlx.data.files import existing
from dlx.data.incoming import find_format
from dlx.data.preparation import Preparation
from dlx.errors import DataError


def read_labelled(preparation: Preparation, source: str, config: DataConfig) -> tuple[Part, tuple[str, ...]]:
    """All examples of a file or folder, as the network needs them, and a sentence for each thing worth telling.

    CSV and Parquet files need the training columns and the targets, NPZ files `x` and `y` (or `x_test` and `y_test`),
    images a folder for each class, text what its source needs. Tables keep their rows. Raises `MissingInputError` for what is not there, `DataError`
    for what cannot be used, saying everything that differs from the training data in one sentence.
    """
    path = existing(source, "--data")
    if preparation.kind == "text":
        from dlx.data.text_judging import read_judging_text

        return read_judging_text(preparation, path, config)
    match find_format(source):
        case "csv" if isinstance(config, Series):
            from dlx.data.series_stream import read_judging_series

            return read_judging_series(config, path)
        case "csv" | "parquet" as format:
            from dlx.data.labelled_table import read_labelled_table

            return read_labelled_table(preparation, path, config, format)
        case "npz" | "npy":
            return _arrays(preparation, path)
        case "images" | "tar":
            return _images(preparation, path, config)


def _arrays(preparation: Preparation, path: Path) -> tuple[Part, tuple[str, ...]]:
    from dlx.data.array_stream import fit_inputs, require_arrays
    from dlx.data.arrays import unusable_rows
    from dlx.data.known_targets import array_targets
    from dlx.data.npz import read_archive

    require_arrays(preparation, str(path))
    found = read_archive(path)
    x, y = next(((x, y) for x, y in (("x", "y"), ("x_test", "y_test")) if {x, y} <= found.keys()), ("", ""))
    if not x:
        raise DataError(f"{path} holds {', '.join(found) or 'nothing'}: x and y, or x_test and y_test, are needed")
    if not found[y].ndim or len(found[x]) != len(found[y]):
        count = len(found[y]) if found[y].ndim else 1
        raise DataError(f"{path}: {x} has {len(found[x]):,} examples and {y} has {count:,}: they must agree")
    inputs = fit_inputs(preparation, found[x], f"{path}: {x}")
    if len(bad := unusable_rows(inputs)):
        raise DataError(
            f"{path}: {x} has values that are NaN or infinite in {len(bad):,} rows, the first in row {bad[0]:,}: "
            "fill them in or take the rows out"
        )
    part = Part(inputs, array_targets(preparation.spec, found[y], f"{path}: {y}"))
    left = sorted(found.keys() - {x, y})
    return part, (f"of the arrays in {path.name} only {x} and {y} are used, not {', '.join(left)}",) if left else ()


def _images(preparation: Preparation, path: Path, config: DataConfig) -> tuple[Part, tuple[str, ...]]:
    from dlx.data.image_stream import picture, rescale, trained_on_one_size
    from dlx.data.images import read_images
    from dlx.data.known_targets import class_codes

    size, color = picture(preparation, str(path))
    images = read_images(path, size, color)
    parts = {image.part for image in images if image is not None}
    wanted = {"test"} if "test" in parts else parts
    chosen = [image for image in images if image is not None and image.part in wanted]
    if not chosen:
        raise DataError(f"{path} has no images in class folders: <class>/*.png are needed")
    notes: list[str] = []
    if parts - wanted:
        notes.append(f"of {path.name} only the test part is used")
    if alone := images.count(None):
        notes.append(f"images in no class folder were left out: {alone:,}")
    if trained_on_one_size(config) and (fitted := sum(image.fitted for image in chosen)):
        notes.append(f"images of another size than training's {size[0]}x{size[1]} were scaled and cut: {fitted:,}")
    codes, said = class_codes(preparation.spec, np.array([image.label for image in chosen]))
    if said:
        raise DataError(f"{path} differs from the training data: {said}")
    inputs = rescale(preparation, np.stack([image.pixels for image in chosen]))
    return Part(inputs, codes, names=np.array([image.name for image in chosen])), tuple(notes)
