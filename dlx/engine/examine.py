"""What each example adds to a task's sums: for tasks that are not judged against a class, labels or numbers of each example."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlx.config import Experiment
from dlx.data import Order, Part, Scaling, evaluation_rows
from dlx.engine.state import step_key
from dlx.engine.step import standardized
from dlx.tasks import Batch, Examined, LearnerState, Sums

EXAMINED, STREAMS = 512, 32
"""Examples that are scored together, in training too, so that what is drawn or compared within a batch is the same here and there.
Of streams fewer, since each place of a batch begins without a memory."""


@dataclass(frozen=True)
class Contributions:
    """Of n examples, the sums of each, laid side by side, so that sums of any of them are one product of matrices."""

    table: np.ndarray
    """(n, k) float64."""
    shapes: Mapping[str, tuple[int, ...]]
    """The name and shape of each sum, in the order of the table's columns."""

    def sums(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """The sums (r, ...) of the examples by weights (r, n), and their `count` (r,)."""
        flat = weights.astype(np.float64) @ self.table  # (r, k)
        found, at = {"count": weights.sum(1, dtype=np.float64)}, 0
        for name, shape in self.shapes.items():
            size = int(np.prod(shape))
            found[name] = flat[:, at : at + size].reshape(len(weights), *shape)
            at += size
        return found


def examine(
    task: Examined, config: Experiment, learner: LearnerState, scaling: Scaling, part: Part, order: Order
) -> Contributions:
    """What each example of a part adds to the sums, in the part's order. Examples of a stream are read in its order."""
    batch = min(STREAMS if order.kind == "streams" else EXAMINED, len(part))
    ((rows, counts),) = evaluation_rows(len(part), None, -(-len(part) // batch), batch, order)

    @jax.jit
    def call(learner: LearnerState, memory: Any, raw: Batch, number: jax.Array) -> tuple[Any, Sums]:
        ready = standardized(raw.inputs, jnp.asarray(scaling.mean), jnp.asarray(scaling.inverse_std))
        key = step_key(config.train.seed, "evaluate", number)
        return task.examine(config, learner._replace(memory=memory), raw._replace(inputs=ready), key)

    memory, found = task.memory(config, batch), dict[str, np.ndarray]()
    for number, (row, count) in enumerate(zip(rows, counts, strict=True)):
        raw = Batch(part.inputs[row], part.targets[row], count.astype(np.float32))
        memory, each = call(learner, memory, raw, np.int32(number))
        for name, values in each.items():
            found.setdefault(name, np.empty((len(part), *values.shape[1:])))[row[count]] = np.asarray(values, np.float64)[count]
    table = np.concatenate([values.reshape(len(part), -1) for values in found.values()], 1)
    return Contributions(table, {name: values.shape[1:] for name, values in found.items()})
