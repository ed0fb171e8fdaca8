"""A trained network as one compiled function: raw examples in, outputs out, a chunk of rows at a time on all local devices."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from dlx.config import Experiment
from dlx.data import Scaling
from dlx.engine.state import judged, step_key
from dlx.engine.step import standardized
from dlx.tasks import Batch, LearnerState, Task

ROWS, PICTURES = 8192, 512
"""Examples of one call: of flat rows, and of anything larger, whose activations take more room."""
AHEAD = 2
"""Calls that may wait for the device while the host goes on."""


def predict(task: Task, config: Experiment, learner: LearnerState, scaling: Scaling, inputs: jax.Array) -> jax.Array:
    """What the network says of raw inputs (b, ...): (b, outputs) logits, or numbers in the data's own units. To be traced."""
    prepared = standardized(inputs, jnp.asarray(scaling.mean), jnp.asarray(scaling.inverse_std))
    return predict_prepared(task, config, learner, prepared)


def predict_prepared(task: Task, config: Experiment, learner: LearnerState, inputs: jax.Array) -> jax.Array:
    """`predict` of inputs that are standardized already."""
    return task.predict(config, learner, inputs, step_key(config.train.seed, "evaluate", 0))


def weights_template(task: Task, config: Experiment, input_shape: tuple[int, ...], target: np.ndarray) -> LearnerState:
    """The shapes of one lane's weights (1, ...) that are judged; `target` is that of one example. Computes nothing."""

    def init() -> LearnerState:
        batch = Batch(jnp.zeros((2, *input_shape)), jnp.asarray(np.stack([target, target])), jnp.ones(2))
        return judged(task.init(config, batch, step_key(config.train.seed, "init", 0)))

    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, *x.shape), x.dtype), jax.eval_shape(init))


class Forward:
    """The compiled function. Calls are of one size: the last chunk is filled up, and each device takes an equal part of a call."""

    def __init__(self, task: Task, config: Experiment, learner: LearnerState, scaling: Scaling, example: np.ndarray) -> None:
        """`example` is any raw one: its shape and type are what can be asked."""
        self.devices = jax.local_device_count()
        self.example = jax.ShapeDtypeStruct(example.shape, example.dtype)
        flat = example.ndim == 1 and example.dtype != np.int32  # tokens become a vector each
        self.size = -(-(ROWS if flat else PICTURES) // self.devices) * self.devices
        mesh = jax.make_mesh((self.devices,), ("rows",), axis_types=(AxisType.Auto,), devices=jax.local_devices())
        self._everywhere, self._split = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("rows",)))
        self._learner = jax.device_put(learner, self._everywhere)

        def local(learner: Any, inputs: jax.Array) -> jax.Array:
            return predict(task, config, learner, scaling, inputs)

        rows, everywhere = PartitionSpec("rows"), PartitionSpec()
        self._function: Callable[..., jax.Array] = jax.shard_map(
            local, mesh=mesh, in_specs=(everywhere, rows), out_specs=rows, check_vma=False
        )

    @cached_property
    def _compiled(self) -> Any:
        inputs = jax.ShapeDtypeStruct((self.size, *self.example.shape), self.example.dtype, sharding=self._split)
        return jax.jit(self._function).lower(self._learner, inputs).compile()

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """The outputs (n, outputs) float32, or tokens (n, t) int32, of raw inputs (n, ...), which may be none."""
        return next(self.stream([inputs]))

    def stream(self, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The outputs (n, outputs) of each chunk of raw inputs (n, ...), in order. Reads ahead while the device computes."""
        waiting: deque[list[tuple[jax.Array, int]]] = deque()
        for chunk in chunks:
            waiting.append([self._start(chunk[at : at + self.size]) for at in range(0, max(len(chunk), 1), self.size)])
            if len(waiting) > AHEAD:
                yield _joined(waiting.popleft())
        while waiting:
            yield _joined(waiting.popleft())

    def _start(self, inputs: np.ndarray) -> tuple[jax.Array, int]:
        """One call, not waited for, and how many of its rows count."""
        full = inputs
        if len(inputs) < self.size:
            full = np.zeros((self.size, *self.example.shape), self.example.dtype)
            full[: len(inputs)] = inputs
        return self._compiled(self._learner, jax.device_put(full, self._split)), len(inputs)


def _joined(parts: list[tuple[jax.Array, int]]) -> np.ndarray:
    return np.concatenate([np.asarray(outputs)[:count] for outputs, count in parts])
