"""A task's objective as a function of one vector in float64: all parameters, then the inputs of a few training examples."""

import math
from dataclasses import dataclass
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

from dlx import engine
from dlx.config import Experiment
from dlx.data import Dataset, some_rows
from dlx.diagnose.gradients import Dtype
from dlx.diagnose.rewriting import Loss, Vector
from dlx.errors import ConfigError
from dlx.experiment.assemble import plan_for
from dlx.tasks import Batch, Task

INPUTS = "inputs"
"""The name of the leaf that is the batch of examples."""
EMPTY = 0.01
"""A leaf whose root mean square is less is taken for one of zeros."""
FROM_ZERO = 0.5
"""The scale of a leaf of zeros is what changes its output by so much where its input is around 1."""
BESIDE = 0.1
"""How far the second point is from the first, in units of each leaf's scale; leaves of zeros move by their whole scale."""

_TYPES: Final = {"float64": jnp.float64, "float32": jnp.float32, "bfloat16": jnp.bfloat16}


@dataclass(frozen=True)
class Leaf:
    """One parameter, or the inputs, and where it lies in the vector."""

    name: str
    shape: tuple[int, ...]
    at: slice
    empty: bool
    """Whether its values are all (nearly) zero."""
    scale: float
    """The root mean square of its values; of an empty one a step that matters."""


@dataclass(frozen=True)
class LossFunction:
    """An experiment's loss around its initial parameters. To be made and used with `jax.enable_x64(True)`."""

    task: Task
    config: Experiment
    rest: Any
    """Running statistics, moved once by the batch."""
    batch: Batch
    key: jax.Array
    """Decides dropout and augmentation, the same at every call."""
    start: np.ndarray
    """The initial parameters and the inputs (N,)."""
    params: Any
    """The structure of the parameters."""
    leaves: tuple[Leaf, ...]
    """In the order of the vector; the inputs come last."""
    dtype: Dtype
    """What can hold the points."""
    single: bool = False
    """Whether losses are in float32 after all, for a network that raises when it is given float64."""

    @property
    def parameters(self) -> int:
        """Trained numbers."""
        return self.leaves[-1].at.start

    @property
    def scales(self) -> np.ndarray:
        """The scale of the leaf that each number belongs to (N,)."""
        return np.concatenate([np.full(leaf.at.stop - leaf.at.start, leaf.scale) for leaf in self.leaves])

    def loss(self, *, train: bool, dtype: Dtype = "float64") -> Loss:
        """What training minimizes, of a vector (N,); computed in `dtype`: as `train.precision` of that name does it."""
        precision = "bfloat16" if dtype == "bfloat16" else "float32"
        config = self.config.model_copy(update={"train": self.config.train.model_copy(update={"precision": precision})})

        def loss(vector: Vector) -> jax.Array:
            numbers = jnp.asarray(vector, jnp.float64 if dtype == "float64" and not self.single else jnp.float32)
            *leaves, inputs = (numbers[leaf.at].reshape(leaf.shape) for leaf in self.leaves)
            params, batch = self.params.unflatten(leaves), self.batch._replace(inputs=inputs)
            value, _ = self.task.objective(config, params, self.rest, batch, self.key, train=train)
            return value.astype(jnp.float64)

        return loss

    def beside(self, gradient: np.ndarray, part: float) -> np.ndarray:
        """A point (N,) a little beside the first, where no bias is zero and no units are alike; `gradient` (N,) is that of the first.

        `part` of the usual distance; inputs that are whole numbers without a gradient are indices, which stay.
        """
        moved = self.normals(1, seed=2)[0]
        for leaf in self.leaves:
            moved[leaf.at] *= 1.0 if leaf.empty else BESIDE
        inputs = self.leaves[-1].at
        if not gradient[inputs].any() and (self.start[inputs] == np.round(self.start[inputs])).all():
            moved[inputs] = 0
        return held(self.start + part * moved, self.dtype)

    def normals(self, count: int, seed: int) -> np.ndarray:
        """Random vectors (count, N), normal with each leaf's scale."""
        generator = np.random.Generator(np.random.Philox(seed))
        return self.scales * generator.normal(size=(count, self.start.size))


def loss_function(config: Experiment, dataset: Dataset, examples: int, dtype: Dtype) -> LossFunction:
    """The loss of a resolved experiment on a few of its training examples, at a point that `dtype` can hold.

    Raises `ConfigError` for a network without parameters, or with some that are no floating-point numbers.
    """
    task, _ = plan_for(config, dataset)
    part, scaling = dataset.train.take(some_rows(len(dataset.train), examples)), dataset.scaling
    count = len(part)
    data = engine.DeviceData(part.inputs, part.targets, scaling.mean, scaling.inverse_std)
    seed = config.train.seed

    def initial(data: engine.DeviceData) -> tuple[Any, Any, Batch, jax.Array]:
        batch, key = engine.take(data, jnp.arange(count), jnp.ones(count)), engine.step_key(seed, "update", 0)
        state = task.init(config, batch, engine.step_key(seed, "init", 0))
        return state.params, task.statistics(config, state, batch, key), batch, key

    with jax.enable_x64(False):  # as training does it: initializers without a type of their own make float32
        params, rest, batch, key = jax.jit(initial)(data)
    named = [
        (jax.tree_util.keystr(path, simple=True, separator="/"), leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    ]
    if not named:
        model = vars(config.model).get("target", config.model.kind)
        raise ConfigError(f"model {model} has no parameters: there is no gradient to check")
    leaves, values, begin = [], [], 0
    for name, leaf in (*named, (INPUTS, batch.inputs)):
        if not jnp.issubdtype(leaf.dtype, jnp.floating) and name != INPUTS:  # tokens are looked at as whole numbers
            raise ConfigError(f"parameter {name} holds {leaf.dtype}: only floating-point numbers have a gradient")
        value = np.asarray(leaf, np.float64)
        size = float(np.sqrt(np.mean(value**2))) if value.size else 0.0
        scale = FROM_ZERO / math.sqrt(math.prod(leaf.shape[:-1])) if size < EMPTY else size
        leaves.append(Leaf(name, leaf.shape, slice(begin, begin + leaf.size), size < EMPTY, scale))
        values.append(value.ravel())
        begin += leaf.size
    start, structure = held(np.concatenate(values), dtype), jax.tree.structure(params)
    return LossFunction(task, config, jax.tree.map(_widened, rest), batch, key, start, structure, tuple(leaves), dtype)


def held(vector: np.ndarray, dtype: Dtype) -> np.ndarray:
    """The nearest vector that `dtype` can hold, in float64: a gradient and the losses beside it are taken at the same point."""
    return vector.astype(_TYPES[dtype]).astype(np.float64)


def _widened(x: jax.Array) -> jax.Array:
    return jnp.asarray(np.asarray(x, np.float64)) if jnp.issubdtype(x.dtype, jnp.floating) else x
