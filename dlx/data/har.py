"""`har`: human activity recognition with smartphones, in the layout that UCI publishes (Anguita et al. 2013).

`{train,test}/Inertial Signals/<signal>_<axis>_<part>.txt` has a window a line, 128 numbers, for each of three signals and three axes;
`{train,test}/y_<part>.txt` has the window's activity, 1 to 6.
"""

import io
import re
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO, Final, Literal

import numpy as np

from dlx.config.series_data import Har
from dlx.data.arrays import Arrays, Pair, from_arrays
from dlx.data.dataset import Dataset, TargetKind
from dlx.data.files import existing, read_bytes, reading
from dlx.errors import DataError, MissingInputError

CHANNELS: Final = (
    "body_acc_x", "body_acc_y", "body_acc_z", "body_gyro_x", "body_gyro_y", "body_gyro_z", "total_acc_x", "total_acc_y", "total_acc_z",
)  # fmt: skip
"""In the order of the inputs' last axis: acceleration without gravity, turning, acceleration."""
CLASSES: Final = ("walking", "walking upstairs", "walking downstairs", "sitting", "standing", "laying")
STEPS: Final = 128
_PAGE = "https://archive.ics.uci.edu/dataset/240/human+activity+recognition+using+smartphones"
_NAME = re.compile(r"(?:(?:body_acc|body_gyro|total_acc)_[xyz]|y|subject)_(?:train|test)\.txt")
_ARCHIVE = re.compile(r".*har.*\.(?:zip|tar|tgz|tar\.(?:gz|bz2|xz))", re.IGNORECASE)


def load_har(config: Har, target: TargetKind | None) -> Dataset:
    """Read the official training and test parts: inputs (n, 128, 9) float32. The people in the test part are not those in training.

    Windows of one person overlap. So the validation part is no draw of the training windows, but the last of them: whole people, where
    the archive says whose they are.
    """
    if config.path is None:
        raise MissingInputError(
            f"har is not downloaded by itself: get its archive from {_PAGE} and set data.path= to it, or to its folder"
        )
    path = existing(config.path, "data.path")
    files = _files(path)
    train, validation = _last_held_out(_pair(files, "train", path), _people(files, path), config.validation)
    arrays = Arrays(
        "har",
        train,
        validation,
        _pair(files, "test", path),
        classes=CLASSES,
        preprocessing={"kind": "arrays"},
    )
    return from_arrays(arrays, config, target)


def _last_held_out(pair: Pair, people: np.ndarray | None, share: float) -> tuple[Pair, Pair | None]:
    """The last windows apart. They follow each other, one person's after another's, each half of the one before it.

    The cut is between two of the `people` (n,), the nearest to the share; where nobody is named, one window between the parts is left out.
    """
    inputs, activities = pair
    first = len(inputs) - round(len(inputs) * share)
    if first == len(inputs):
        return pair, None
    last = first - 1
    if people is not None and len(between := np.flatnonzero(np.diff(people)) + 1):
        first = last = int(between[np.argmin(np.abs(between - first))])
    return (inputs[:last], activities[:last]), (inputs[first:], activities[first:])


def _people(files: dict[str, bytes], path: Path) -> np.ndarray | None:
    """Whose each training window is (n,), if the archive says so."""
    content = files.get("subject_train.txt")
    return None if content is None else _numbers(content, f"{path}: subject_train.txt")[:, 0]


def _files(path: Path) -> dict[str, bytes]:
    """By name the content of the files of numbers, wherever below `path` they are."""
    if path.is_dir():
        with reading(path):
            found = {file.name: file for file in sorted(path.rglob("*.txt")) if _NAME.fullmatch(file.name)}
            archives = sorted(file for file in path.iterdir() if _ARCHIVE.fullmatch(file.name))
        if found or len(archives) != 1:
            return {name: read_bytes(file) for name, file in found.items()}
        path = archives[0]
    try:
        with reading(path):
            if zipfile.is_zipfile(path):
                return _unzipped(path)
            with tarfile.open(path, "r:*") as archive:
                return {
                    PurePosixPath(member.name).name: file.read()
                    for member in archive
                    if _NAME.fullmatch(PurePosixPath(member.name).name) and (file := archive.extractfile(member))
                }
    except tarfile.TarError as error:
        raise DataError(f"{path} is not a readable tar or zip archive ({error}): get it again from {_PAGE}") from error


def _unzipped(path: Path | IO[bytes]) -> dict[str, bytes]:
    """The files in a zip archive. UCI packs its archive into another one."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.startswith("__MACOSX/")]
        found = {PurePosixPath(name).name: archive.read(name) for name in names if _NAME.fullmatch(PurePosixPath(name).name)}
        inner = [name for name in names if name.endswith(".zip")]
        if found or len(inner) != 1:
            return found
        return _unzipped(io.BytesIO(archive.read(inner[0])))


def _pair(files: dict[str, bytes], part: Literal["train", "test"], path: Path) -> Pair:
    """Inputs (n, 128, 9) float32 and activities (n,) from 0."""
    if missing := [name for name in (*CHANNELS, "y") if f"{name}_{part}.txt" not in files]:
        raise MissingInputError(f"data.path: {path} has no {missing[0]}_{part}.txt: get the whole archive from {_PAGE}")
    channels = [_numbers(files[f"{name}_{part}.txt"], f"{path}: {name}_{part}.txt") for name in CHANNELS]
    activities = _numbers(files[f"y_{part}.txt"], f"{path}: y_{part}.txt")
    shape = (len(activities), STEPS)
    for name, channel in zip(CHANNELS, channels, strict=True):
        if channel.shape != shape:
            raise DataError(
                f"{path}: {name}_{part}.txt has {channel.shape[0]:,} lines of {channel.shape[1]} numbers and not {shape[0]:,} of "
                f"{STEPS}: get the archive again from {_PAGE}"
            )
    codes = activities[:, 0].astype(np.int32) - 1
    if activities.shape[1] != 1 or (codes < 0).any() or (codes >= len(CLASSES)).any():
        raise DataError(f"{path}: y_{part}.txt has activities other than 1 to {len(CLASSES)}, one a line")
    return np.stack(channels, axis=-1), codes


def _numbers(content: bytes, where: str) -> np.ndarray:
    """(lines, numbers) float32."""
    if not content.strip():
        raise DataError(f"{where} is empty: get the archive again from {_PAGE}")
    try:
        return np.loadtxt(io.BytesIO(content), np.float32, ndmin=2)
    except ValueError as error:
        raise DataError(f"{where} is not a table of numbers ({error}): get the archive again from {_PAGE}") from error
