"""Autoencoders: the example again, through a code; from noisy inputs too, and with sparse codes."""

import math
from collections.abc import Mapping
from typing import Any, assert_never

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dlx.config import Experiment
from dlx.config import autoencoder_task as kinds
from dlx.data import Spec
from dlx.data.augment import augment
from dlx.errors import ConfigError
from dlx.models.autoencoder import Encoding
from dlx.optim import penalty
from dlx.tasks.descent import Descent
from dlx.tasks.network import Network, in_features, narrowed, widened
from dlx.tasks.state import Batch, Examined, Key, LearnerState, Sums, summed

LEAST = 1e-6
"""Mean activities are not taken to be nearer to 0 or 1."""


class Reconstruction(Descent, Examined):
    """The task `reconstruct`. Its network is any `dlx.models.autoencoder.Encoding`."""

    def __init__(self, spec: Spec, total_steps: int, steps_per_epoch: int) -> None:
        super().__init__(Network(in_features(spec), math.prod(spec.input_shape)), total_steps, steps_per_epoch)
        self.scores = {"loss": False, "mse": False, "rmse": False}
        self.running_scores = ("loss", "mse", "rmse")

    def check(self, config: Experiment, params: Any, rest: Any, example: Batch, key: Key) -> None:
        """Raises `ConfigError` unless the network encodes, decodes to the inputs' shape, and suits loss and sparsity."""
        self.network.check_can(Encoding, config, params, rest, key)
        task, name = _task(config), vars(config.model).get("target", config.model.kind)
        said = jax.eval_shape(lambda: self.apply(config, params, rest, example.inputs, key, train=True)[1]).shape
        if said != example.inputs.shape:
            raise ConfigError(f"model {name} turns {example.inputs.shape} into {said}; an autoencoder must give the same shape")
        code = vars(config.model).get("code_activation", "sigmoid")
        if isinstance(task.sparsity, kinds.KlSparsity) and code != "sigmoid":
            raise ConfigError(
                f"task.sparsity.kind=kl needs a code of numbers in 0..1, and model.code_activation is {code}: "
                "set model.code_activation=sigmoid, or task.sparsity.kind=l1"
            )

    def loss(
        self, config: Experiment, params: Any, rest: Any, memory: Any, batch: Batch, key: Key, *, train: bool
    ) -> tuple[jax.Array, tuple[Any, Any, Sums]]:
        """The mean loss of all numbers, plus the penalties of codes and weights. Also the new statistics, and the sums."""
        change, noise, dropout = jax.random.split(key, 3)
        clean = augment(config.data.augment, batch.inputs, change) if train else batch.inputs
        seen = corrupted(_task(config), clean, noise)
        code, said, rest = self.apply(config, params, rest, seen, dropout, train=train)
        sums = summed(_each(_task(config), clean, said), batch.weight)
        value = sums["loss"] / sums["count"] + sparsity(_task(config), code) + penalty(config.optimizer, params)
        return value, (rest, memory, sums)

    def apply(
        self, config: Experiment, params: Any, rest: Any, inputs: jax.Array, key: Key, *, train: bool
    ) -> tuple[jax.Array, jax.Array, Any]:
        """The codes (b, code) of inputs (b, ...), what the decoder makes of them (b, ...), and the new running statistics."""

        def both(model: Any) -> tuple[jax.Array, jax.Array]:
            code = model.encode(narrowed(config, inputs))
            return code, model.decode(code)

        (code, said), rest = self.network.using(config, params, rest, key, both, train=train)
        return widened(code), widened(said), rest

    def examine(self, config: Experiment, state: LearnerState, batch: Batch, key: Key) -> tuple[Any, Sums]:
        """Each example's loss and squared error (b,), means over its numbers, from inputs with the task's noise."""
        noise, dropout = jax.random.split(key)
        seen = corrupted(_task(config), batch.inputs, noise)
        _, said, _ = self.apply(config, state.params, state.rest, seen, dropout, train=False)
        return state.memory, _each(_task(config), batch.inputs, said)

    def predict(self, config: Experiment, state: LearnerState, inputs: jax.Array, key: Key) -> jax.Array:
        """The inputs (b, ...) again, as the network sees them; of inputs as they are, without noise."""
        _, said, _ = self.apply(config, state.params, state.rest, inputs, key, train=False)
        return _shown(_task(config), said)

    def encode(self, config: Experiment, state: LearnerState, inputs: jax.Array, key: Key) -> jax.Array:
        """The codes (b, code) of inputs (b, ...)."""
        return self.apply(config, state.params, state.rest, inputs, key, train=False)[0]

    def metrics(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """`loss` (without penalties), `mse` and `rmse` of each number, in the units of what the network sees."""
        count = float(sums["count"])
        mse = float(sums["squared"]) / count
        return {"loss": float(sums["loss"]) / count, "mse": mse, "rmse": math.sqrt(mse)}


def corrupted(task: kinds.Reconstruct, inputs: jax.Array, key: Key) -> jax.Array:
    """The inputs (b, ...) with the noise of the task."""
    match task.noise:
        case kinds.NoNoise():
            return inputs
        case kinds.GaussianNoise(std=std):
            # Always float32: in another type the same key gives other numbers.
            return inputs + (std * jax.random.normal(key, inputs.shape, jnp.float32)).astype(inputs.dtype)
        case kinds.MaskingNoise(share=share):
            hidden = jax.random.uniform(key, inputs.shape, jnp.float32) < share
            return jnp.where(hidden, jnp.zeros((), inputs.dtype), inputs)
    assert_never(task.noise)


def sparsity(task: kinds.Reconstruct, code: jax.Array) -> jax.Array:
    """The penalty of the codes (b, code) of a batch."""
    match task.sparsity:
        case kinds.NotSparse():
            return jnp.zeros((), code.dtype)
        case kinds.L1Sparsity(weight=weight):
            return weight * jnp.abs(code).sum(-1).mean()
        case kinds.KlSparsity(target=target, weight=weight):
            active = jnp.clip(code.mean(0), LEAST, 1 - LEAST)  # (code,)
            each = target * (jnp.log(target) - jnp.log(active)) + (1 - target) * (jnp.log1p(-target) - jnp.log1p(-active))
            return weight * each.sum()
    assert_never(task.sparsity)


def _each(task: kinds.Reconstruct, inputs: jax.Array, said: jax.Array) -> Sums:
    """The mean loss and squared error of each example's numbers, (b,) each."""
    flat, outputs = inputs.reshape(len(inputs), -1), said.reshape(len(inputs), -1)
    squared = jnp.square(_shown(task, outputs) - flat).mean(-1)
    loss = squared if task.loss == "mse" else optax.sigmoid_binary_cross_entropy(outputs, flat).mean(-1)
    return {"loss": loss, "squared": squared}


def _shown(task: kinds.Reconstruct, said: jax.Array) -> jax.Array:
    """What the decoder says as inputs are."""
    return said if task.loss == "mse" else jax.nn.sigmoid(said)


def _task(config: Experiment) -> kinds.Reconstruct:
    assert isinstance(config.task, kinds.Reconstruct)
    return config.task
