"""`digits`: 1,797 handwritten 8x8 digits with pixels of 0..16, out of the installed scikit-learn."""

import importlib.util
from pathlib import Path

import numpy as np

from dlx.config.data import Digits
from dlx.data.arrays import Arrays, Pair, from_arrays
from dlx.data.dataset import Dataset, TargetKind
from dlx.data.files import open_binary


def load_digits(config: Digits, target: TargetKind | None) -> Dataset:
    """The data set that needs no download."""
    arrays = Arrays(
        "digits",
        _read(),
        classes=tuple("0123456789"),
        pixel_range=16.0,
        preprocessing={"kind": "images", "size": [8, 8], "color": "grey", "pixel_range": 16},
    )
    return from_arrays(arrays, config, target)


def _read() -> Pair:
    # `sklearn.datasets.load_digits` takes 1.3 s, nearly all of it imports; its data file alone takes 0.03 s.
    package = importlib.util.find_spec("sklearn")
    for folder in package.submodule_search_locations or () if package else ():
        path = Path(folder, "datasets", "data", "digits.csv.gz")
        if path.is_file():
            with open_binary(path) as file:
                table = np.loadtxt(file, delimiter=",", dtype=np.uint8)  # (1797, 65): 64 pixels, then the digit
            return table[:, :64].reshape(-1, 8, 8, 1), table[:, 64]
    from sklearn import datasets

    pixels, digits = datasets.load_digits(return_X_y=True)
    return pixels.astype(np.uint8).reshape(-1, 8, 8, 1), digits
