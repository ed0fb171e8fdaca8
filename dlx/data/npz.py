"""`npz`: a NumPy archive with `x` and `y`, or with the Keras names `x_train`, `y_train`, `x_test`, `y_test`."""

from pathlib import Path

import numpy as np

from dlx.config.data import Npz
from dlx.data.arrays import Arrays, Pair, from_arrays
from dlx.data.dataset import Dataset, TargetKind
from dlx.data.files import existing, reading
from dlx.errors import DataError


def load_npz(config: Npz, target: TargetKind | None) -> Dataset:
    """Read the archive. Pickled objects in it are refused: loading them would run code."""
    path = existing(config.path, "data.path")
    found = read_archive(path)
    if {"x", "y"} <= found.keys():
        train, validation, test = (found["x"], found["y"]), None, None
    elif {"x_train", "y_train"} <= found.keys():
        train = (found["x_train"], found["y_train"])
        validation, test = _pair(path, found, "val") or _pair(path, found, "validation"), _pair(path, found, "test")
    else:
        raise DataError(f"{path} holds {', '.join(found) or 'nothing'}: x and y, or x_train and y_train, are needed")
    arrays = Arrays(path.stem, train, validation, test, preprocessing={"kind": "arrays"})
    return from_arrays(arrays, config, target)


def _pair(path: Path, found: dict[str, np.ndarray], part: str) -> Pair | None:
    names = f"x_{part}", f"y_{part}"
    if not found.keys() & set(names):
        return None
    if missing := [name for name in names if name not in found]:
        raise DataError(f"{path} has no {missing[0]}, only the other half of that part")
    return found[names[0]], found[names[1]]


def read_archive(path: Path) -> dict[str, np.ndarray]:
    """All arrays by name. Raises `DataError` for what is no archive of numbers."""
    try:
        with reading(path), path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise DataError(f"{path} is a single array: save it with numpy.savez(path, x=..., y=...)")
            with archive:
                return {name: archive[name] for name in archive.files}
    except ValueError as error:
        raise DataError(f"{path} is not a readable NumPy archive ({error}): save it again with numpy.savez") from error
