"""What an export is, before anybody has written it to a disk."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dlx.errors import RunFailedError

Format = Literal["safetensors", "stablehlo", "onnx"]

EXAMPLES = 64
"""Random examples on which an export is compared with dlx itself."""
_TOLERATED = 1e-2
"""Relative to the largest value of each output. On a CPU 1e-6 is usual; accelerators multiply with fewer bits (TF32 has 10)."""
_TOLERATED_BFLOAT16 = 0.2


@dataclass(frozen=True)
class Check:
    """How far the outputs of an export are from dlx's own, on the same random examples."""

    by: str
    """What computed the outputs: `onnxruntime 1.31.1 on the CPU`."""
    examples: int
    difference: float
    """The largest absolute difference over the largest absolute value of the same output (class, label, number)."""


@dataclass(frozen=True)
class Export:
    """A trained network in another format: the contents of its files, compared with the network as dlx runs it."""

    format: Format
    files: Mapping[str, bytes]
    """By a suffix or a file name, the main file first: see `folder`."""
    folder: bool
    """Whether the keys of `files` are names in a folder; else they are what follows the name of the main file."""
    check: Check | None
    """None where nothing here can run the format; a note then says so."""
    notes: tuple[str, ...]
    """One sentence for each thing that the user should know."""


def compared(by: str, outputs: np.ndarray, own: np.ndarray, *, precision: str) -> Check:
    """The check of outputs (n, outputs) against dlx's own. Raises `RunFailedError` where they are not those of one network."""
    largest = np.abs(own).max(axis=0)  # (outputs,): numbers may have different units
    difference = float((np.abs(outputs - own) / np.where(largest > 0, largest, 1)).max())
    tolerated = _TOLERATED_BFLOAT16 if precision == "bfloat16" else _TOLERATED
    if not difference <= tolerated:  # NaN too
        raise RunFailedError(
            f"the exported network computes something else: by {by} its outputs differ by {difference:.2g} of the largest one, "
            "so nothing was written; --format safetensors keeps the weights alone"
        )
    return Check(by, len(own), difference)
