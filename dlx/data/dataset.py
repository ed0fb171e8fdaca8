"""What every source ends in: three parts of arrays, how to standardize them, and what a model must know of them.

Nothing here knows where the data came from, and nothing later needs to.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dlx.data.order import SHUFFLED, Order
from dlx.errors import UsageError

if TYPE_CHECKING:  # pandas takes as long to import as a digits run takes
    import pandas as pd

Supervision = Literal["class", "labels", "number"]
"""What is predicted of one example: one class of several, any number of 0/1 labels, or one or several numbers."""
TargetKind = Supervision | Literal["tokens", "none"]
"""What comes with an example: what is predicted of it, or a sequence of tokens, or nothing."""


@dataclass(frozen=True)
class Part:
    """Examples and what is to be predicted of them, row by row.

    `inputs` is (n, height, width, channels) uint8 for images, (n, columns) float32 for rows, (n, length) int32 for tokens, (n, ...)
    float32 else. `targets` is (n,) int32 for classes, (n, labels) float32 of 0 and 1, (n, numbers) float32 in the data's own
    units, (n, length) int32 for tokens, or (n, 0) float32 for nothing. Shorter sequences of tokens end in zeros.
    """

    inputs: np.ndarray
    targets: np.ndarray
    rows: "pd.DataFrame | None" = None
    """The rows as they were read, targets and dropped columns too, for tables that were asked to keep them; the index is
    the row's number in its file, from 0."""
    names: np.ndarray | None = None
    """(n,) text: for a folder of images, or an archive of one, the path of each in it."""

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, rows: np.ndarray) -> "Part":
        """The part made of these rows, in this order. Shares memory when `rows` are simply all of them."""
        if len(rows) == len(self) and np.array_equal(rows, np.arange(len(self))):
            return self
        return Part(
            self.inputs[rows],
            self.targets[rows],
            None if self.rows is None else self.rows.iloc[rows],
            None if self.names is None else self.names[rows],
        )


@dataclass(frozen=True)
class Scaling:
    """`standardized = (inputs - mean) * inverse_std`, both float32 of one example's last axis: (channels,) or (columns,).

    For images the mean is in raw units of 0..255, so that pixels stay uint8 until they are on the device.
    """

    mean: np.ndarray
    inverse_std: np.ndarray

    def apply(self, inputs: np.ndarray) -> np.ndarray:
        """Standardized inputs (n, ...) float32, on the host. Training does the same on the device."""
        return (inputs.astype(np.float32) - self.mean) * self.inverse_std


@dataclass(frozen=True)
class Spec:
    """All a model or a task must know of the data: plain, hashable, and fit for JSON."""

    input_shape: tuple[int, ...]
    """The shape of one example: (height, width, channels), (columns,), or what the source has."""
    target: TargetKind
    outputs: int
    """How many classes, labels or numbers; of tokens how many different ones there are; 0 for nothing."""
    classes: tuple[str, ...]
    """The names of the classes or labels; empty for numbers."""
    class_counts: tuple[int, ...]
    """Training examples of each class, or positives of each label; empty for numbers."""
    target_names: tuple[str, ...]
    """The names of the target columns."""
    target_mean: tuple[float, ...]
    """Mean of each number over the training part, in its own units; empty for classes and labels."""
    target_std: tuple[float, ...]
    """Standard deviation of each number over the training part, never 0; empty for classes and labels."""
    examples: int
    """Rows of the training part."""
    tokens: int = 0
    """How many different tokens the inputs are made of; 0 for inputs that are numbers."""
    target_length: int = 0
    """Tokens of one target; 0 for other targets."""

    @property
    def supervision(self) -> Supervision:
        """What is predicted of one example. Raises `UsageError` for data in which nothing is, but a sequence."""
        if self.target in ("tokens", "none"):
            what = "sequences of tokens" if self.target == "tokens" else "nothing"
            raise UsageError(f"the data has {what} to predict: this needs a class, labels or numbers of each example")
        return self.target

    @property
    def target_shape(self) -> tuple[int, ...]:
        """The shape of one example's target."""
        match self.target:
            case "class":
                return ()
            case "tokens":
                return (self.target_length,)
            case "labels" | "number" | "none":
                return (self.outputs,)


@dataclass(frozen=True)
class Dataset:
    """A source after it was read, divided and prepared."""

    name: str
    spec: Spec
    train: Part
    validation: Part
    """May have no rows, if `data.validation` is 0 and the source brings none."""
    test: Part
    """May have no rows, if `data.test` is 0 and the source brings none."""
    scaling: Scaling
    preprocessing: Mapping[str, Any]
    """Fit for JSON: everything that turns new raw data into the same inputs, and outputs into names."""
    report: tuple[str, ...]
    """One plain sentence for each thing that was inferred, left out or filled in."""
    order: Order = SHUFFLED
    """In which order the training examples come."""
