"""The work of one lane: initialize, take a chunk of steps, score a part. Every entry point of dlx runs these three."""

from typing import Any

import jax
import jax.numpy as jnp

from dlx.config import Experiment
from dlx.engine.plateau import reduced, start_plateau
from dlx.engine.state import DeviceData, LaneState, judged, select, step_key
from dlx.optim import needs_statistics
from dlx.tasks import Batch, LearnerState, Sums, Task


def take(data: DeviceData, rows: jax.Array, weight: jax.Array) -> Batch:
    """The examples of the given row numbers (b,), standardized."""
    return Batch(standardized(data.inputs[rows], data.mean, data.inverse_std), data.targets[rows], weight)


def standardized(inputs: jax.Array, mean: jax.Array, inverse_std: jax.Array) -> jax.Array:
    """Raw inputs (b, ...) as a network sees them, float32. `mean` and `inverse_std` are of the last axis. Tokens stay what they are."""
    if inputs.dtype == jnp.int32:
        return inputs
    return (inputs.astype(jnp.float32) - mean) * inverse_std


@jax.custom_batching.custom_vmap
def a_copy_each(inputs: jax.Array, lane: jax.Array) -> jax.Array:
    """The inputs (b, ...), which all lanes share, as an array of each lane's own. `lane` is any value that differs between lanes.

    From shared inputs vmap makes one product with the weights of all lanes side by side, (b, features) x (features, K * units),
    and XLA:CPU transposes its results back and forth. K small products are faster: a step of 32 lanes of digits-mlp takes two
    thirds of the time.
    """
    del lane
    return inputs


@a_copy_each.def_vmap
def _copy_to_lanes(size: int, batched: list[bool], inputs: jax.Array, lane: jax.Array) -> tuple[jax.Array, bool]:
    del lane
    if batched[0] or jax.default_backend() != "cpu":
        return inputs, batched[0]
    return jnp.broadcast_to(inputs, (size, *inputs.shape)), True  # (K, b, ...)


def init_lane(task: Task, config: Experiment, data: DeviceData, rows: jax.Array) -> LaneState:
    """A fresh lane. The seed alone decides its parameters."""
    example = take(data, rows, jnp.ones(rows.shape, jnp.float32))
    learner = task.init(config, example, step_key(config.train.seed, "init", 0))
    return LaneState(learner, jnp.full((), -1, jnp.int32), start_plateau(config.schedule))


def train_lane(
    task: Task, config: Experiment, lane: LaneState, data: DeviceData, rows: jax.Array, start: jax.Array, count: jax.Array
) -> tuple[LaneState, Sums, Sums]:
    """`count` steps from step number `start` on the batches `rows[:count]`; `rows` is (chunk, batch).

    Returns the lane, the sums of every step, each (chunk, ...) with zeros past `count`, and the rates at the last step.
    The count is a traced number, so that one program serves every length up to the chunk.
    """
    weight = jnp.ones(rows.shape[1:], jnp.float32)
    config = reduced(config, lane.plateau)

    def advance(lane: LaneState, index: jax.Array) -> tuple[LaneState, Sums]:
        step = start + index
        batch = take(data, rows[index], weight)
        batch = batch._replace(inputs=a_copy_each(batch.inputs, lane.diverged_at))
        learner, sums = task.update(config, lane.learner, batch, step_key(config.train.seed, "update", step))
        healthy = lane.diverged_at < 0
        finite = jnp.isfinite(sums["loss"])
        # A lane whose loss is not finite stays as it was before this step, for ever. (The loss is that of the weights before
        # the step. A step that ruins them shows in the next one, or in the evaluation: looking at every weight in every step
        # costs a small network a quarter of its time.)
        frozen = LaneState(
            select(healthy & finite, learner, lane.learner),
            jnp.where(healthy & ~finite, step, lane.diverged_at),
            lane.plateau,
        )
        return frozen, jax.tree.map(lambda s: jnp.where(healthy & finite, s, 0), sums)

    def body(index: jax.Array, carry: tuple[LaneState, Sums]) -> tuple[LaneState, Sums]:
        lane, history = carry
        lane, sums = advance(lane, index)
        return lane, jax.tree.map(lambda h, s: h.at[index].set(s), history, sums)

    shapes = jax.eval_shape(advance, lane, jnp.zeros((), jnp.int32))[1]
    history = jax.tree.map(lambda s: jnp.zeros((rows.shape[0], *s.shape), s.dtype), shapes)
    lane, history = jax.lax.fori_loop(0, count, body, (lane, history))
    return lane, history, task.rates(config, start + count - 1)


def average_lane(task: Task, config: Experiment, learner: LearnerState, data: DeviceData, rows: jax.Array) -> LearnerState:
    """The learner as it is judged: its averaged weights, with running statistics that fit them.

    Those that nobody has averaged become the means over batches `rows` (batches, b) in training. A batch moves a statistic from s
    to m * s + (1 - m) * x, where its own x and the momentum m do not depend on s: that is (1 - m) * (x - s) away, and the same
    batch once more m times as far, which tells m. What a batch does not move stays as it is.
    """
    state = judged(task.averaged(learner))
    if not needs_statistics(config.averaging, config.schedule) or not jax.tree.leaves(state.rest):
        return state
    weight, key = jnp.ones(rows.shape[1:], jnp.float32), step_key(config.train.seed, "statistics", 0)

    def after(rest: Any, index: jax.Array | int) -> Any:
        batch = take(data, rows[index], weight)
        return task.statistics(config, state._replace(rest=rest), batch, jax.random.fold_in(key, index))

    def body(index: jax.Array, total: Any) -> Any:
        return jax.tree.map(lambda t, new, old: t + (new - old), total, after(state.rest, index), state.rest)

    def mean(old: jax.Array, total: jax.Array, once: jax.Array, twice: jax.Array) -> jax.Array:
        if not jnp.issubdtype(old.dtype, jnp.floating):
            return old
        away = jnp.sum(jnp.abs(once - old))
        momentum = jnp.sum(jnp.abs(twice - once)) / jnp.where(away > 0, away, 1.0)
        moves = (away > 0) & (momentum < 1)
        return jnp.where(moves, old + total / rows.shape[0] / jnp.where(moves, 1 - momentum, 1.0), old).astype(old.dtype)

    once = after(state.rest, 0)
    total = jax.lax.fori_loop(0, rows.shape[0], body, jax.tree.map(jnp.zeros_like, state.rest))
    return state._replace(rest=jax.tree.map(mean, state.rest, total, once, after(once, 0)))


def evaluate_lane(
    task: Task,
    config: Experiment,
    learner: LearnerState,
    data: DeviceData,
    rows: jax.Array,
    counts: jax.Array,
    first: jax.Array,
    batches: jax.Array,
) -> Sums:
    """Scores the first so many `batches` of the row numbers `rows` (batches, b), of which those count that `counts` (batches, b) says.

    Sums per batch, (batches, ...). What the task remembers goes from each batch to the next. Each batch has a key of its own, by its
    number in the part, of which `first` is that of the first row of `rows`.
    """

    def score(memory: Any, index: jax.Array) -> tuple[Any, Sums]:
        batch = take(data, rows[index], counts[index].astype(jnp.float32))
        key = step_key(config.train.seed, "evaluate", first + index)
        return task.evaluate(config, learner._replace(memory=memory), batch, key)

    def body(index: jax.Array, carry: tuple[Any, Sums]) -> tuple[Any, Sums]:
        memory, sums = score(carry[0], index)
        return memory, jax.tree.map(lambda h, s: h.at[index].set(s), carry[1], sums)

    memory = task.memory(config, rows.shape[1])
    _, shapes = jax.eval_shape(score, memory, jnp.zeros((), jnp.int32))
    empty = jax.tree.map(lambda s: jnp.zeros((rows.shape[0], *s.shape), s.dtype), shapes)
    return jax.lax.fori_loop(0, batches, body, (memory, empty))[1]
