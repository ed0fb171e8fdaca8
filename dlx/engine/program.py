"""The compiled functions of one treedef and lane count: init, train, evaluate, keep.

Each is compiled once, ahead of time, from shapes alone. A learning rate, a dropout rate or a seed is an argument: changing
one never compiles anything, in this process or, through the persistent cache, in the next.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Final, Literal

import jax
import jax.numpy as jnp
import numpy as np

from dlx.config import Experiment
from dlx.data import Dataset, evaluation_rows
from dlx.engine.feed import Feed
from dlx.engine.lanes import register_configs
from dlx.engine.placement import Placement, has_convolution, host
from dlx.engine.state import DeviceData, LaneState, judged, select
from dlx.engine.step import average_lane, evaluate_lane, init_lane, train_lane
from dlx.optim import averages
from dlx.tasks import LearnerState, Task

Name = Literal["init", "train", "evaluate", "keep", "average"]

# LLVM spends most of the start-up on the random numbers of `init`; at level 1 that costs a fifth and nothing is slower.
_QUICK: Final = {"xla_backend_optimization_level": 1}


@dataclass(frozen=True)
class Shapes:
    """The sizes a program is compiled for."""

    batch: int
    chunk: int
    """The most training steps of one call."""
    eval_batch: int
    eval_batches: int
    """Batches of one call to evaluate."""
    statistics: int
    """Batches from which running statistics of averaged weights are measured."""


class Program:
    """Compiled functions over the stacked lanes of one treedef. Compilation happens in `compile`, and only there."""

    def __init__(self, task: Task, configs: Experiment, placement: Placement, feed: Feed, shapes: Shapes) -> None:
        self.task, self.placement, self.feed, self.shapes = task, placement, feed, shapes
        self._compiled: dict[Name, Any] = {}
        self.configs = jax.device_put(configs, placement.laned)
        shapes_of_lanes = jax.eval_shape(self._spread_init, configs, *self._init_shapes())
        self.lane_state: LaneState = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=placement.laned), shapes_of_lanes
        )

    def with_configs(self, configs: Experiment) -> "Program":
        """The same compiled functions for other lanes: K stacked configs of the same treedef. Compiles nothing."""
        other = copy(self)  # shares what is compiled, now and later
        other.configs = jax.device_put(configs, self.placement.laned)
        return other

    def with_feed(self, feed: Feed) -> "Program":
        """The same compiled functions for other examples, of the same shapes and numbers. Compiles nothing."""
        other = copy(self)
        other.feed = feed
        return other

    def compile(self, name: Name) -> Any:
        """The compiled function of that name; compiled at the first call, remembered after it."""
        if name not in self._compiled:
            function, shapes, donated = self._functions(name)
            options = _QUICK if name in ("init", "keep") and jax.default_backend() == "cpu" else None
            jitted = jax.jit(function, donate_argnums=donated, compiler_options=options)
            self._compiled[name] = jitted.lower(*shapes).compile()
        return self._compiled[name]

    def is_compiled(self, name: Name) -> bool:
        """Whether `compile` has already made this function."""
        return name in self._compiled

    def init(self) -> LaneState:
        """Fresh lanes, stacked (K, ...)."""
        data, rows = self.feed.place(np.zeros((1, self.shapes.batch), np.int32))
        return self.compile("init")(self.configs, data, rows[0])

    def train(self, lanes: LaneState, rows: np.ndarray, start: int) -> tuple[LaneState, Any, Any]:
        """Takes the steps of `rows` (steps <= chunk, batch). Donates `lanes`. Returns lanes, sums per step, last rates."""
        padded = np.zeros((self.shapes.chunk, self.shapes.batch), np.int32)
        padded[: len(rows)] = rows
        data, padded = self.feed.place(padded)
        return self.compile("train")(self.configs, lanes, data, padded, np.int32(start), np.int32(len(rows)))

    def evaluate(self, learner: Any, split: str, limit: int | None = None) -> list[dict[str, np.ndarray]]:
        """The merged sums of each lane over a part of the data, or over `limit` rows of it, float64."""
        shapes, total = (self.shapes.eval_batches, self.shapes.eval_batch), dict[str, np.ndarray]()
        for call, (rows, counts) in enumerate(evaluation_rows(self.feed.sizes[split], limit, *shapes, self.feed.order)):
            data, placed = self.feed.place(self.feed.rows(split, rows))
            first, batches = np.int32(call * len(rows)), np.int32(counts.any(1).sum())
            sums = self.compile("evaluate")(self.configs, learner, data, placed, counts, first, batches)
            merged = {name: np.asarray(s, np.float64).sum(1) for name, s in sums.items()}  # (K, batches, ...) -> (K, ...)
            total = {name: total[name] + s for name, s in merged.items()} if total else merged
        return [{name: s[lane] for name, s in total.items()} for lane in range(self.placement.lanes)]

    @property
    def averages(self) -> bool:
        """Whether other weights than the raw ones are judged."""
        return averages(self.configs.averaging, self.configs.schedule)

    def average(self, learner: LearnerState, rows: np.ndarray) -> LearnerState:
        """The learners as they are judged, (K, ...); `rows` (statistics, batch) are training examples for running statistics."""
        data, rows = self.feed.place(rows)
        return self.compile("average")(self.configs, learner, data, rows)

    def keep(self, mask: np.ndarray, new: Any, old: Any) -> Any:
        """Lane by lane `new` where `mask` (K,) holds, else `old`. Donates `old`."""
        return self.compile("keep")(mask, new, old)

    def copy(self, tree: Any) -> Any:
        """A second set of buffers with the same values: donation of the one leaves the other alone."""
        return self.spread(host(tree))

    def spread(self, tree: Any) -> Any:
        """Host arrays with a leading lane axis (K, ...), laid on the devices."""
        return jax.device_put(tree, self.placement.laned)

    def join(self, lanes: Sequence[Any]) -> Any:
        """The host arrays of single lanes stacked (K, ...) and on the devices."""
        return self.spread(jax.tree.map(lambda *leaves: np.stack(leaves), *lanes))

    def memory_bytes(self) -> int:
        """What the train program needs on one device beside nothing else: arguments, results and workspace."""
        analysis = self.compile("train").memory_analysis()
        return (
            analysis.temp_size_in_bytes
            + analysis.argument_size_in_bytes
            + analysis.output_size_in_bytes
            - analysis.alias_size_in_bytes
        )

    def parameters(self) -> int:
        """Trained numbers of one lane."""
        leaves = jax.tree.leaves(self.lane_state.learner.params)
        return sum(leaf.size for leaf in leaves) // self.placement.lanes

    def _functions(self, name: Name) -> tuple[Callable[..., Any], tuple[Any, ...], tuple[int, ...]]:
        """The function, the shapes of its arguments, and which of them it may overwrite."""
        integer = jax.ShapeDtypeStruct((), jnp.int32)
        shapes = self.shapes
        match name:
            case "init":
                return self._spread_init, (self.configs, *self._init_shapes()), ()
            case "train":
                data = self.feed.shapes(shapes.chunk, shapes.batch)
                rows = jax.ShapeDtypeStruct((shapes.chunk, shapes.batch), jnp.int32)
                return self._spread_train, (self.configs, self.lane_state, data, rows, integer, integer), (1,)
            case "evaluate":
                data = self.feed.shapes(shapes.eval_batches, shapes.eval_batch)
                rows = jax.ShapeDtypeStruct((shapes.eval_batches, shapes.eval_batch), jnp.int32)
                counts = jax.ShapeDtypeStruct(rows.shape, jnp.bool_)
                learner = judged(self.lane_state.learner)
                return self._spread_evaluate, (self.configs, learner, data, rows, counts, integer, integer), ()
            case "average":
                data = self.feed.shapes(shapes.statistics, shapes.batch)
                rows = jax.ShapeDtypeStruct((shapes.statistics, shapes.batch), jnp.int32)
                return self._spread_average, (self.configs, self.lane_state.learner, data, rows), ()
            case "keep":
                learner = judged(self.lane_state.learner)
                return select, (jax.ShapeDtypeStruct((self.placement.lanes,), jnp.bool_), learner, learner), (2,)

    def _init_shapes(self) -> tuple[Any, Any]:
        return self.feed.shapes(1, self.shapes.batch), jax.ShapeDtypeStruct((self.shapes.batch,), jnp.int32)

    def _spread_init(self, configs: Any, data: Any, rows: Any) -> LaneState:
        return self.placement.spread(lambda config, shared: init_lane(self.task, config, *shared))(configs, (data, rows))

    def _spread_train(self, configs: Any, lanes: Any, data: Any, rows: Any, start: Any, count: Any) -> Any:
        one = self.placement.spread(lambda laned, shared: train_lane(self.task, *laned, *shared))
        return one((configs, lanes), (data, rows, start, count))

    def _spread_average(self, configs: Any, learner: Any, data: Any, rows: Any) -> Any:
        one = self.placement.spread(lambda laned, shared: average_lane(self.task, *laned, *shared))
        return one((configs, learner), (data, rows))

    def _spread_evaluate(self, configs: Any, learner: Any, data: Any, rows: Any, counts: Any, first: Any, batches: Any) -> Any:
        one = self.placement.spread(lambda laned, shared: evaluate_lane(self.task, *laned, *shared))
        return one((configs, learner), (data, rows, counts, first, batches))


def convolves(task: Task, config: Experiment, dataset: Dataset, batch: int) -> bool:
    """Whether this config's program convolves. Its forward pass tells, in a quarter of the time that a whole step takes to trace."""
    part, scaling = dataset.train, dataset.scaling
    data = DeviceData(part.inputs[:1], part.targets[:1], scaling.mean, scaling.inverse_std)

    register_configs()

    def forward(config: Experiment, data: DeviceData, rows: jax.Array) -> Any:
        learner = init_lane(task, config, data, rows).learner
        counts, first = jnp.ones((1, batch), bool), jnp.zeros((), jnp.int32)
        return evaluate_lane(task, config, judged(learner), data, rows[None], counts, first, first + 1)

    return has_convolution(forward, config, data, np.zeros(batch, np.int32))
