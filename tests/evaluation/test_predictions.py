"""Predictions beside a run: what is written is read back, and what cannot be trusted counts as absent."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dlx.evaluation.predictions import Predictions, fingerprint_of, predictions_file, read_predictions, write_predictions

CLASSES = Predictions(
    outputs=np.array([[1.5, -2.0], [0.25, 1e6]], np.float32),
    targets=np.array([0, 1], np.int32),
    target="class",
    classes=("cat", "dög"),
    split="test",
    fingerprint="ab",
    checkpoint="cd",
    step=40,
)


def same(one: Predictions, two: Predictions) -> bool:
    arrays = all(
        a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)
        for a, b in ((one.outputs, two.outputs), (one.targets, two.targets))
    )
    plain = [{k: v for k, v in vars(each).items() if k not in ("outputs", "targets")} for each in (one, two)]
    return arrays and plain[0] == plain[1]


@pytest.mark.parametrize(
    "predictions",
    [
        CLASSES,
        replace(CLASSES, target="labels", targets=np.eye(2, dtype=np.float32), split="validation"),
        replace(CLASSES, target="number", targets=np.array([[0.1, 2e30], [-1, 0]], np.float32), classes=("a", "b")),
        replace(CLASSES, outputs=np.array([[np.nan, np.inf], [0, -np.inf]], np.float32)),
        replace(CLASSES, outputs=np.zeros((0, 2), np.float32), targets=np.zeros(0, np.int32)),
    ],
    ids=["classes", "labels", "numbers", "not finite", "no examples"],
)
def test_what_is_written_is_read_back(predictions: Predictions, tmp_path: Path) -> None:
    path = write_predictions(tmp_path, predictions)
    assert path == tmp_path / "evaluations" / f"{predictions.split}.npz"
    found = read_predictions(tmp_path, predictions.split)
    assert found is not None
    assert same(found, predictions)
    assert [each.name for each in path.parent.iterdir()] == [path.name], "nothing temporary stays"


def test_outputs_are_kept_in_single_precision(tmp_path: Path) -> None:
    write_predictions(tmp_path, replace(CLASSES, outputs=CLASSES.outputs.astype(np.float64)))
    found = read_predictions(tmp_path, "test")
    assert found is not None
    assert found.outputs.dtype == np.float32


def test_nothing_kept(tmp_path: Path) -> None:
    assert read_predictions(tmp_path, "test") is None


def test_predictions_of_other_weights_count_as_absent(tmp_path: Path) -> None:
    write_predictions(tmp_path, CLASSES)
    assert read_predictions(tmp_path, "test", "cd") is not None
    assert read_predictions(tmp_path, "test", "another") is None


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_a_torn_file_counts_as_absent(keep: int, tmp_path: Path) -> None:
    path = write_predictions(tmp_path, CLASSES)
    path.write_bytes(path.read_bytes()[:keep])
    assert read_predictions(tmp_path, "test") is None


def test_outputs_that_were_changed_by_hand_count_as_absent(tmp_path: Path) -> None:
    path = write_predictions(tmp_path, CLASSES)
    with np.load(path) as file:
        arrays = dict(file)
    arrays["outputs"] = arrays["outputs"][:, ::-1]
    np.savez(path, **arrays)
    assert read_predictions(tmp_path, "test") is None


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    path = predictions_file(tmp_path, "test")
    path.parent.mkdir()
    np.savez(path, about=np.array([{}], object), outputs=np.zeros(1), targets=np.zeros(1), digest=np.zeros(1))
    assert read_predictions(tmp_path, "test") is None


def test_fingerprints_know_values_types_shapes_and_order() -> None:
    inputs, targets = np.arange(12, dtype=np.float32).reshape(6, 2), np.arange(6, dtype=np.int32)
    known = fingerprint_of(inputs, targets)
    assert known == fingerprint_of(inputs.copy(order="F"), targets.copy())
    others = [(inputs[::-1], targets), (inputs.astype(np.float64), targets), (inputs.reshape(6, 1, 2), targets)]
    others += [(inputs, targets[::-1]), (inputs[:0], targets[:0])]
    assert len({known, *(fingerprint_of(*other) for other in others)}) == 6


def test_reading_needs_no_jax(tmp_path: Path) -> None:
    write_predictions(tmp_path, CLASSES)
    script = (
        "import sys, pathlib; from dlx.evaluation.predictions import read_predictions; import dlx.report.compare;"
        "assert read_predictions(pathlib.Path(sys.argv[1]), 'test').step == 40; assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=60)
