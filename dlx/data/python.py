"""`python`: arrays from the user's own function."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dlx.config.data import PythonData
from dlx.data.arrays import Arrays, Pair, from_arrays
from dlx.data.dataset import Dataset, TargetKind
from dlx.errors import DataError, RunFailedError
from dlx.targets import load_target

_PARTS = ("train", "validation", "test")


def load_python(config: PythonData, target: TargetKind | None) -> Dataset:
    """Call the user's loader and check what it returns.

    Raises `RunFailedError` when the loader raises, `DataError` when it returns something else than it should.
    """
    function = load_target(config.target)
    try:
        returned = function(**config.args)
    except Exception as error:
        raise RunFailedError(f"{config.target} raised {type(error).__name__}: {error}") from error
    parts = returned if isinstance(returned, Mapping) else {"train": returned}
    if "train" not in parts or (unknown := [name for name in parts if name not in _PARTS]):
        wrong = "no 'train'" if "train" not in parts else f"{unknown[0]!r}"
        raise DataError(
            f"{config.target} returned a mapping with {wrong}: it must have 'train' and may have 'validation' and 'test'"
        )
    pairs = {name: _pair(parts[name], f"{config.target}: {name}") for name in _PARTS if parts.get(name) is not None}
    arrays = Arrays(config.target, pairs["train"], pairs.get("validation"), pairs.get("test"), preprocessing={"kind": "arrays"})
    return from_arrays(arrays, config, target)


def _pair(value: Any, where: str) -> Pair:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise DataError(f"{where} is a {type(value).__name__}: return (x, y), or a mapping of part names to such pairs")
    try:
        return np.asarray(value[0]), np.asarray(value[1])
    except (ValueError, TypeError) as error:  # ragged lists, tensors on a device that NumPy cannot read
        raise DataError(f"{where} cannot be made into arrays: {error}") from error
