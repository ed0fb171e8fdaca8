"""A NumPy file of any length as inputs: a member of an archive is read in slices as it is unpacked."""

import zipfile
from collections.abc import Generator
from pathlib import Path
from typing import IO

import numpy as np

from dlx.data.arrays import shape_inputs, unusable_rows
from dlx.data.chunks import BadRow, Chunk
from dlx.data.files import reading
from dlx.data.preparation import Preparation
from dlx.errors import DataError

_NAMES = ("x", "x_test")


def stream_arrays(preparation: Preparation, path: Path, rows: int) -> Generator[Chunk]:
    """The inputs in a `.npy` file, or those called `x` or `x_test` in a `.npz` archive, or its only array.

    Constant memory, unless the array was saved in Fortran's order. Raises `DataError` for what does not fit the network.
    """
    require_arrays(preparation, str(path))
    with reading(path):
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                yield from _slices(preparation, file, str(path), rows)
            return
        with zipfile.ZipFile(path) as archive:
            members = [name.removesuffix(".npy") for name in archive.namelist()]
            name = next((name for name in _NAMES if name in members), members[0] if len(members) == 1 else None)
            if name is None:
                raise DataError(f"{path} holds {', '.join(members) or 'nothing'}: inputs called x are needed")
            with archive.open(f"{name}.npy") as member:
                yield from _slices(preparation, member, f"{path}: {name}", rows)


def require_arrays(preparation: Preparation, where: str) -> None:
    """Raise `DataError` where the network learned from a table."""
    if preparation.kind == "table":
        raise DataError(
            f"{where} holds arrays and the network learned from a table: bring a CSV or Parquet file of its columns"
        )


def fit_inputs(preparation: Preparation, x: np.ndarray, where: str) -> np.ndarray:
    """`x` (n, ...) in the shape and type of the training inputs; values may be NaN or infinite. `where` begins the messages.

    Raises `DataError` when examples have another shape, or are no bytes where training had bytes.
    """
    shape = preparation.spec.input_shape
    if (*x.shape[1:], 1) == shape:
        x = x[..., None]
    if x.shape[1:] != shape or x.dtype.kind not in "biuf":
        x = shape_inputs(x, where, [])
    if x.shape[1:] != shape:
        if len(shape) == len(x.shape[1:]) == 1:
            raise DataError(f"{where} have {x.shape[1]:,} features and the training data had {shape[0]:,}: bring the same ones")
        raise DataError(f"{where} have shape {x.shape[1:]} and the training data had {shape}: bring them in that shape")
    if preparation.dtype != np.uint8:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
            return x.astype(np.float32, copy=False)
    if x.dtype != np.uint8 and not ((x >= 0) & (x <= 255) & (x == np.round(x))).all():
        raise DataError(f"{where} are {x.dtype} and not all whole numbers from 0 to 255, as the training pixels were")
    return x.astype(np.uint8, copy=False)


def _slices(preparation: Preparation, file: IO[bytes], where: str, rows: int) -> Generator[Chunk]:
    row = 1
    for x in _read(file, where, rows):
        inputs = fit_inputs(preparation, x, f"{where} inputs")
        lines = np.arange(row, row + len(x))
        row += len(x)
        if len(unusable := unusable_rows(inputs)):
            bad = tuple(BadRow(int(lines[number]), "it has values that are NaN or infinite") for number in unusable)
            yield Chunk(np.delete(inputs, unusable, axis=0), np.delete(lines, unusable), None, bad)
        else:
            yield Chunk(inputs, lines)


def _read(file: IO[bytes], where: str, rows: int) -> Generator[np.ndarray]:
    """The array in slices of `rows` along its first axis."""
    try:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = header(file)
    except ValueError as error:
        raise DataError(f"{where} is not a readable NumPy array ({error}): save it again with numpy.savez") from error
    if dtype.hasobject:
        raise DataError(f"{where} holds pickled objects, which are not loaded: save it as an array of numbers")
    if len(shape) < 2 or not all(shape):
        raise DataError(f"{where} has shape {shape}: it must be (examples, features) or (examples, height, width, channels)")
    if fortran:
        whole = np.frombuffer(file.read(), dtype).reshape(shape[::-1]).T
        yield from (whole[start : start + rows] for start in range(0, shape[0], rows))
        return
    size = dtype.itemsize * int(np.prod(shape[1:]))
    for start in range(0, shape[0], rows):
        count = min(rows, shape[0] - start)
        content = file.read(count * size)
        if len(content) < count * size:
            raise DataError(f"{where} is cut off after {start + len(content) // size:,} of {shape[0]:,} examples: get it again")
        yield np.frombuffer(content, dtype).reshape(count, *shape[1:])
