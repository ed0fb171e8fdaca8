"""Checkpoints: whole or not at all, checked when read, and of the right architecture."""

import os
from pathlib import Path

import numpy as np
import pytest

from dlx.engine.checkpoint import KEPT, Checkpoint, read_checkpoint, write_atomically, write_checkpoint
from dlx.errors import CannotWriteError, DataError


def tree(value: float, width: int = 3):
    return {
        "w": np.full((2, width), value, np.float32),
        "empty": (),
        "n": np.asarray(7, np.int32),
        "z": np.zeros((0, 4), np.float32),
    }


TEMPLATE = {
    "w": np.zeros((1, 2, 3), np.float32),
    "empty": (),
    "n": np.zeros(1, np.int32),
    "z": np.zeros((1, 0, 4), np.float32),
}


def write(folder: Path, step: int, width: int = 3) -> Path:
    return write_checkpoint(folder, Checkpoint(step, tree(step, width), {"best_value": 0.5, "stopped": False}, {"loss": 1.25}))


def test_what_was_written_is_read_bit_for_bit(tmp_path):
    write(tmp_path, 5)
    found = read_checkpoint(tmp_path, TEMPLATE)
    assert (found.step, found.numbers, found.pending) == (5, {"best_value": 0.5, "stopped": False}, {"loss": 1.25})
    np.testing.assert_array_equal(found.tree["w"], tree(5)["w"])
    assert found.tree["n"] == 7
    assert found.tree["z"].shape == (0, 4)


def test_infinity_survives_in_the_numbers(tmp_path):
    write_checkpoint(tmp_path, Checkpoint(1, tree(1), {"best_value": float("-inf")}, {}))
    assert read_checkpoint(tmp_path, TEMPLATE).numbers["best_value"] == float("-inf")


def test_the_newest_two_are_kept(tmp_path):
    for step in (5, 10, 15, 20):
        write(tmp_path, step)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000015.safetensors", "step-00000020.safetensors"]
    assert KEPT == 2


@pytest.mark.parametrize("damage", ["torn", "flipped", "empty", "other format"])
def test_a_damaged_file_is_detected_and_the_previous_one_used(tmp_path, damage):
    write(tmp_path, 5)
    newest = write(tmp_path, 10)
    content = bytearray(newest.read_bytes())
    match damage:
        case "torn":
            content = content[: len(content) // 2]
        case "flipped":
            content[-3] ^= 1
        case "empty":
            content = bytearray()
        case "other format":
            content = content.replace(b"dlx-checkpoint-1", b"dlx-checkpoint-9")
    newest.write_bytes(content)
    found = read_checkpoint(tmp_path, TEMPLATE)
    assert found.step == 5
    assert found.damaged[0].startswith("step-00000010.safetensors (")


def test_when_every_file_is_damaged_the_error_names_them(tmp_path):
    write(tmp_path, 5).write_bytes(b"torn")
    with pytest.raises(DataError, match=r"every checkpoint in .* is damaged: step-00000005.safetensors"):
        read_checkpoint(tmp_path, TEMPLATE)
    with pytest.raises(DataError, match="there is no checkpoint"):
        read_checkpoint(tmp_path / "nothing", TEMPLATE)


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        (
            TEMPLATE | {"w": np.zeros((1, 2, 4), np.float32)},
            r"this config's w is float32 \(2, 4\), the checkpoint has float32 \(2, 3\)",
        ),
        (TEMPLATE | {"n": np.zeros(1)}, r"this config's n is float64 \(\), the checkpoint has int32 \(\)"),
        (TEMPLATE | {"more": np.zeros((1, 2))}, r"this config's more is float64 \(2,\), the checkpoint has none"),
        ({"w": TEMPLATE["w"]}, "this config has no n"),
    ],
)
def test_a_checkpoint_of_another_architecture_is_refused(tmp_path, template, complaint):
    write(tmp_path, 5)
    with pytest.raises(DataError, match=f"another architecture: {complaint}"):
        read_checkpoint(tmp_path, template)


def test_a_leftover_temporary_file_is_no_checkpoint(tmp_path):
    """What a kill -9 in the middle of writing leaves behind."""
    write(tmp_path, 5)
    (tmp_path / ".step-00000010.safetensors.123.tmp").write_bytes(b"half")
    assert read_checkpoint(tmp_path, TEMPLATE).step == 5
    write(tmp_path, 10)
    assert not list(tmp_path.glob(".*")), "the next checkpoint clears it away"


def test_a_folder_that_cannot_be_written_is_told_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CannotWriteError, match="cannot be written"):
        write_atomically(tmp_path / "file" / "x", b"content")


def test_the_old_file_stays_when_the_new_one_cannot_be_written(tmp_path, monkeypatch):
    path = tmp_path / "x"
    write_atomically(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CannotWriteError, match="No space left on device"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
