"""The network as training initializes it, with its dropout off: built once, looked at by several checks.

What it is at step 0 is the program's own `init`. Compiled beside it are its outputs, in training with its insides, and its
gradient.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dlx import engine
from dlx.config import Experiment
from dlx.data import Dataset
from dlx.diagnose.sanity.insides import Seen, looked_at, watch
from dlx.diagnose.sanity.trial import without_dropout
from dlx.engine import Plan, Program, Shapes
from dlx.errors import ConfigError
from dlx.experiment.assemble import plan_for
from dlx.tasks import Batch, LearnerState
from dlx.tasks.supervised import Supervised

EXAMPLES = 256
"""At most so many make a batch here, whatever `train.batch_size` is."""
MOST_BATCHES = 16
"""That are looked at; so many give running statistics."""


@dataclass(frozen=True)
class Forward:
    """What came of a batch."""

    outputs: np.ndarray
    """(b, outputs)."""
    rest: Any
    """The running statistics after it."""
    seen: tuple[Seen, ...]
    """In the order in which modules were called; only in training mode."""
    called: frozenset[str]
    """The paths of the modules that were called, also inside a scan; only in training mode."""


@dataclass(frozen=True)
class Untrained:
    """A network before its first step."""

    config: Experiment
    """With a dropout rate of 0."""
    plan: Plan
    """Of a training on the whole data."""
    learner: LearnerState
    """Fresh, on the host, without a lane axis."""
    batches: Callable[[int], Batch]
    """Training batch number i, standardized; all are of one size."""
    run: Callable[..., Forward]
    """`run(params, rest, inputs, train=..., key=0)`."""
    gradient: Callable[[Any, Batch], Any]
    """The gradient of the loss for these parameters: of what training minimizes, without penalties."""
    loss: Callable[[np.ndarray, jax.Array], float]
    """The mean loss of outputs (b, outputs), weighted as in training, without penalties."""

    @cached_property
    def sample(self) -> tuple[tuple[Batch, Forward], ...]:
        """The first batches, and what comes of each in training mode: `EXAMPLES`, or enough for running statistics."""
        size = len(self.batches(0).targets)
        count = MOST_BATCHES if self.normalizes else max(1, min(MOST_BATCHES, EXAMPLES // size))
        batches = [self.batches(number) for number in range(count)]
        params, rest = self.learner.params, self.learner.rest
        return tuple((batch, self.run(params, rest, batch.inputs, train=True)) for batch in batches)

    @property
    def normalizes(self) -> bool:
        """Whether it keeps running statistics, as batch normalization does."""
        return bool(jax.tree.leaves(self.learner.rest))


def untrained(config: Experiment, whole: Dataset, small: Dataset) -> Untrained:
    """The fresh network of a resolved config.

    Raises `ConfigError`, also for a network without parameters, and what the user's own model raises.
    """
    config = without_dropout(config)
    task, plan = plan_for(config, whole)
    assert isinstance(task, Supervised)  # `checks.examine` refuses others
    size = min(plan.batch_size, len(small.train))
    placement = engine.choose_placement(1, lambda: engine.convolves(task, config, small, size))
    shapes = Shapes(size, chunk=1, eval_batch=1, eval_batches=1, statistics=1)
    program = Program(task, engine.stack([config]), placement, engine.make_feed(small, placement), shapes)
    lane = jax.tree.map(lambda x: x[0], engine.host(program.init()))
    if not jax.tree.leaves(lane.learner.params):
        model = vars(config.model).get("target", config.model.kind)
        raise ConfigError(f"model {model} has no parameters: there is nothing to train")
    fetch = jax.jit(engine.take)
    bare = config.model_copy(update={"optimizer": config.optimizer.model_copy(update={"l1": None, "l2": None})})

    def batch(number: int) -> Batch:
        rows = program.feed.batches(plan.data_seed, number, 1, min(size, EXAMPLES))
        data, rows = program.feed.place(rows)
        return fetch(data, rows[0], jnp.ones(rows.shape[1:], jnp.float32))

    @jax.jit
    @jax.grad
    def gradient(params: Any, rest: Any, batch: Batch) -> jax.Array:
        return task.objective(bare, params, rest, batch, engine.step_key(config.train.seed, "update", 0))[0]

    @jax.jit
    def mean_loss(outputs: jax.Array, targets: jax.Array) -> jax.Array:
        each, weight = task.problem.loss(config.task, outputs, targets)
        return jnp.sum(each * weight) / jnp.sum(weight)

    return Untrained(
        config=config,
        plan=plan,
        learner=lane.learner,
        batches=batch,
        run=_forward(task, config),
        gradient=lambda params, batch: gradient(params, lane.learner.rest, batch),
        loss=lambda outputs, targets: float(mean_loss(outputs, targets)),
    )


def _forward(task: Supervised, config: Experiment) -> Callable[..., Forward]:
    """The network as a function of its state, as `Network.apply`; in training without dropout, and with its insides.

    In evaluation it stays as it is: dropout that is on there is a fault to be found.
    """
    places: list[tuple[str, bool, tuple[int, ...]]] = []
    called: set[str] = set()

    def compute(params: Any, rest: Any, inputs: jax.Array, key: jax.Array, *, train: bool) -> Any:
        model = task.network.build(config, params, rest, key, train=train)
        found: list[tuple[jax.Array, ...]] = []

        def report(path: str, out: bool, y: jax.Array) -> None:
            places.append((path, out, y.shape))
            found.append(looked_at(y))

        if train:
            model.set_attributes(deterministic=True, raise_if_not_found=False)
            model.set_attributes(nnx.Dropout, rate=0.0, raise_if_not_found=False)
            places.clear()
            called.clear()
            watch(model, len(inputs), report, called.add)
        outputs, rest = task.network.run(config, model, inputs, train=train)
        return outputs, rest, found

    compiled = jax.jit(compute, static_argnames="train")

    def run(params: Any, rest: Any, inputs: jax.Array, *, train: bool, key: int = 0) -> Forward:
        outputs, rest, found = engine.host(compiled(params, rest, inputs, jax.random.key(key), train=train))
        seen = tuple(Seen(*place, *values) for place, values in zip(places, found, strict=True)) if train else ()
        return Forward(outputs, rest, seen, frozenset(called) if train else frozenset())

    return run


def advice(config: Experiment, built_in: str, own: str) -> str:
    """What to set in a model that dlx builds, or what to look at in a network of the user's own."""
    return own if config.model.kind == "python" else built_in


def weights(params: Any) -> dict[str, np.ndarray]:
    """Every trained array by its path, such as `hidden/0/linear/kernel`."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}
