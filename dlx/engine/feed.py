"""The examples as a program sees them: a table on the device and row numbers into it.

A data set that fits lies on the device whole. One that does not is sent chunk by chunk: the rows of a chunk are gathered on
the host and numbered anew, so that the program and the order of the batches are the same in both cases.
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from dlx.data import Dataset, Order, batch_rows
from dlx.engine.placement import Placement, data_fits
from dlx.engine.state import DeviceData


@dataclass(frozen=True)
class Feed:
    """All examples of a data set: training part first, then validation, then test."""

    inputs: np.ndarray
    targets: np.ndarray
    mean: np.ndarray
    inverse_std: np.ndarray
    order: Order
    starts: dict[str, int]
    sizes: dict[str, int]
    resident: DeviceData | None
    sharding: Any

    def batches(self, seed: int, first_step: int, steps: int, batch_size: int) -> np.ndarray:
        """Row numbers of training batches in the whole table: (steps, batch_size)."""
        rows = batch_rows(seed, first_step, steps, self.sizes["train"], batch_size, self.order)
        return self.rows("train", rows)

    def rows(self, split: str, rows: np.ndarray) -> np.ndarray:
        """Row numbers of one part as row numbers of the whole table."""
        return (rows + self.starts[split]).astype(np.int32)

    def place(self, rows: np.ndarray) -> tuple[DeviceData, np.ndarray]:
        """The data and the row numbers into it that give a program the examples `rows` (batches, batch)."""
        if self.resident is not None:
            return self.resident, rows
        chunk = DeviceData(self.inputs[rows.ravel()], self.targets[rows.ravel()], self.mean, self.inverse_std)
        return jax.device_put(chunk, self.sharding), np.arange(rows.size, dtype=np.int32).reshape(rows.shape)

    def shapes(self, batches: int, batch: int) -> DeviceData:
        """The shapes of what `place` returns for (batches, batch) row numbers."""
        examples = len(self.inputs) if self.resident is not None else batches * batch

        def table(array: np.ndarray) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((examples, *array.shape[1:]), array.dtype, sharding=self.sharding)

        def constant(array: np.ndarray) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=self.sharding)

        return DeviceData(table(self.inputs), table(self.targets), constant(self.mean), constant(self.inverse_std))


def make_feed(dataset: Dataset, placement: Placement, *, stream: bool | None = None) -> Feed:
    """Puts a data set on the devices, or prepares to stream it (`stream=None`: when it does not fit)."""
    parts = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    inputs = np.concatenate([part.inputs for part in parts.values()])
    targets = np.concatenate([part.targets for part in parts.values()])
    sizes = {name: len(part) for name, part in parts.items()}
    ends = np.cumsum(list(sizes.values())).tolist()
    starts = {name: end - size for (name, size), end in zip(sizes.items(), ends, strict=True)}
    mean, inverse_std = dataset.scaling.mean, dataset.scaling.inverse_std
    streamed = not data_fits(inputs.nbytes + targets.nbytes) if stream is None else stream
    sharding = placement.replicated
    resident = None if streamed else jax.device_put(DeviceData(inputs, targets, mean, inverse_std), sharding)
    return Feed(inputs, targets, mean, inverse_std, dataset.order, starts, sizes, resident, sharding)
