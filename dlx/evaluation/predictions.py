"""What a run's network said of every example of a part, kept beside the run, so that runs are compared without computing again.

`<run folder>/evaluations/<split>.npz` is a copy of what the checkpoint and the data determine: a file that is absent, damaged
or of other weights is no loss, and counts as absent. No JAX is needed to read one.
"""

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast, get_args

import numpy as np

from dlx.data.dataset import Supervision

FORMAT: Final = "dlx-predictions-1"
_TARGET_TYPES: Final = ("int32", "float32")


@dataclass(frozen=True)
class Predictions:
    """The outputs of one run's best weights for every example of one part, in the part's order."""

    outputs: np.ndarray
    """(n, classes) or (n, labels) logits, or (n, numbers) in the data's own units; float32."""
    targets: np.ndarray
    """(n,) int32 classes, (n, labels) float32 of 0 and 1, or (n, numbers) float32."""
    target: Supervision
    classes: tuple[str, ...]
    """The names of classes or labels; for numbers the names of the targets."""
    split: str
    fingerprint: str
    """Of the judged examples: see `fingerprint_of`."""
    checkpoint: str
    """The digest of the weights."""
    step: int
    """At which those weights were reached."""


def fingerprint_of(inputs: np.ndarray, targets: np.ndarray) -> str:
    """A hex digest of the values, types and shapes of examples, in order: equal for equal data, wherever it was read."""
    digest = hashlib.blake2b(digest_size=16)
    for array in (inputs, targets):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    return digest.hexdigest()


def predictions_file(folder: Path, split: str) -> Path:
    """Where the run of this folder keeps its predictions for a split."""
    return folder / "evaluations" / f"{split}.npz"


def write_predictions(folder: Path, predictions: Predictions) -> Path:
    """Writes the file of a run's folder, whole or not at all. Raises `CannotWriteError`."""
    from dlx.engine import write_atomically  # imports JAX, which reading does without

    outputs, targets = predictions.outputs.astype(np.float32), predictions.targets
    about = {
        "format": FORMAT,
        "target": predictions.target,
        "classes": list(predictions.classes),
        "split": predictions.split,
        "fingerprint": predictions.fingerprint,
        "checkpoint": predictions.checkpoint,
        "step": predictions.step,
    }
    header = np.frombuffer(json.dumps(about).encode(), np.uint8)
    content = io.BytesIO()
    np.savez(content, about=header, outputs=outputs, targets=targets, digest=_digest(header, outputs, targets))
    path = predictions_file(folder, predictions.split)
    write_atomically(path, content.getvalue())
    return path


def read_predictions(folder: Path, split: str, checkpoint: str | None = None) -> Predictions | None:
    """What is kept for a split; None where there is nothing, or nothing usable: it is then to be computed anew.

    Unusable is a file that is damaged, was changed, is of another version of dlx, or, where `checkpoint` is given, of
    weights with another digest.
    """
    path = predictions_file(folder, split)
    if not path.is_file():
        return None
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            header, outputs, targets, digest = (file[name] for name in ("about", "outputs", "targets", "digest"))
        intact = np.array_equal(digest, _digest(header, outputs, targets))
        about: dict[str, Any] = json.loads(header.tobytes()) if intact else {}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # torn or damaged; what it held can be computed again
    if about.get("format") != FORMAT or about["split"] != split or checkpoint not in (None, about["checkpoint"]):
        return None
    if about["target"] not in get_args(Supervision) or targets.dtype not in _TARGET_TYPES:
        return None
    return Predictions(
        outputs=outputs,
        targets=targets,
        target=cast(Supervision, about["target"]),
        classes=tuple(about["classes"]),
        split=split,
        fingerprint=about["fingerprint"],
        checkpoint=about["checkpoint"],
        step=about["step"],
    )


def _digest(*arrays: np.ndarray) -> np.ndarray:
    """(16,) uint8 over the contents, so that what was changed by hand is not taken for what the network said."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return np.frombuffer(digest.digest(), np.uint8)
