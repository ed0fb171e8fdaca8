"""`har` from small files of our own in UCI's layout, packed in every way; and the real archive."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dlx.config.series_data import Har
from dlx.data import load
from dlx.data.har import CHANNELS, STEPS
from dlx.errors import DataError, MissingInputError

COUNTS = {"train": 24, "test": 12}


def files() -> dict[str, bytes]:
    """Channel c of window w at step s is c + w / 100 + s / 100000; the activities go round."""
    found = {}
    for part, count in COUNTS.items():
        for place, name in enumerate(CHANNELS):
            values = place + np.arange(count)[:, None] / 100 + np.arange(STEPS) / 100_000
            lines = [" ".join(f" {value: .7e}" for value in row) for row in values]
            found[f"UCI HAR Dataset/{part}/Inertial Signals/{name}_{part}.txt"] = "\n".join(lines).encode()
        found[f"UCI HAR Dataset/{part}/y_{part}.txt"] = "\n".join(str(row % 6 + 1) for row in range(count)).encode()
        found[f"UCI HAR Dataset/{part}/X_{part}.txt"] = b"features of the paper, which are not looked at"
    return found


def zipped(content: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return file.getvalue()


def write(folder: Path, packing: str, content: dict[str, bytes]) -> Path:
    """The path to give: of a folder, an archive, or the folder with the archive in it."""
    match packing:
        case "folder":
            for name, data in content.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(data)
            return folder
        case "zip in zip":
            path = folder / "human+activity+recognition.zip"
            path.write_bytes(zipped({"UCI HAR Dataset.names": b"", "UCI HAR Dataset.zip": zipped(content)}))
            return path
        case _:
            with tarfile.open(folder / "uci-har.tar.xz", "w:xz") as archive:
                for name, data in content.items():
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
            return folder


@pytest.mark.parametrize("packing", ["folder", "zip in zip", "tar in a folder"])
def test_however_it_is_packed(tmp_path, packing):
    dataset = load(Har(path=str(write(tmp_path, packing, files())), validation=0.25, test=0.9))
    assert dataset.spec.input_shape == (STEPS, 9)
    assert dataset.spec.classes == ("walking", "walking upstairs", "walking downstairs", "sitting", "standing", "laying")
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (17, 6, 12), "the test part is its own"
    window, step, channel = 7, 100, 4
    assert dataset.test.inputs[window, step, channel] == pytest.approx(channel + window / 100 + step / 100_000)
    assert dataset.test.targets.tolist() == [row % 6 for row in range(12)]
    assert dataset.scaling.mean.shape == (9,)


@pytest.mark.parametrize(
    ("people", "last", "first"),
    [(None, 16, 18), ([1] * 9 + [3] * 6 + [5] * 9, 14, 15), ([7] * 24, 16, 18)],
    ids=["nobody is named: a window is left out", "a person's windows stay together", "one person"],
)
def test_the_last_windows_validate(tmp_path, people, last, first):
    """Window w of 24 begins with w / 100; a quarter is asked for."""
    found = files()
    if people is not None:
        found["UCI HAR Dataset/train/subject_train.txt"] = "\n".join(map(str, people)).encode()
    dataset = load(Har(path=str(write(tmp_path, "folder", found)), validation=0.25, standardize=False))
    ends = [dataset.train.inputs[-1, 0, 0], *dataset.validation.inputs[[0, -1], 0, 0]]
    assert ends == pytest.approx([last / 100, first / 100, 0.23])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("train/Inertial Signals/body_gyro_y_train.txt", None, "no body_gyro_y_train.txt"),
        ("train/Inertial Signals/body_gyro_y_train.txt", b"1 2 3\n4 5 6", "has 2 lines of 3 numbers and not 24 of 128"),
        ("test/Inertial Signals/total_acc_z_test.txt", b"1 2 three", "not a table of numbers"),
        ("test/y_test.txt", b"\n".join([b"7"] * 12), "activities other than 1 to 6"),
        ("test/y_test.txt", b"", "is empty"),
    ],
)
def test_damaged_files_are_told(tmp_path, name, content, said):
    found = files()
    if content is None:
        del found[f"UCI HAR Dataset/{name}"]
    else:
        found[f"UCI HAR Dataset/{name}"] = content
    with pytest.raises((DataError, MissingInputError), match=said):
        load(Har(path=str(write(tmp_path, "folder", found))))


def test_what_is_no_archive(tmp_path):
    (tmp_path / "har.zip").write_text("nothing of the kind")
    with pytest.raises(DataError, match="not a readable tar or zip archive"):
        load(Har(path=str(tmp_path / "har.zip")))
    with pytest.raises(MissingInputError, match="not downloaded by itself"):
        load(Har())


def test_the_real_archive(real_data):
    dataset = load(Har(path=str(real_data("uci-har"))))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (2159, 240, 950), "nobody is named there"
    assert min(np.bincount(dataset.test.targets).tolist()) > 100
    gravity = dataset.test.inputs[..., 6].mean(axis=1)  # along the phone's length: 1 g upright, about 0 for somebody lying
    assert gravity[dataset.test.targets != 5].min() > gravity[dataset.test.targets == 5].max()
