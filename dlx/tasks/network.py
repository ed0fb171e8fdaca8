"""A network as two pure functions of (config, arrays). Modules are rebuilt from the config inside every trace.

Rebuilding is what makes a trial a value: the dropout rate (a `Rate` in the module's state) comes from the config, which
may hold tracers, and the random streams come from the step's key, so neither is carried or checkpointed. The rebuilt
initial parameters are never used; XLA removes them.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from dlx import models
from dlx.config import Experiment
from dlx.errors import ConfigError
from dlx.nn import Rate


class Network:
    """The config's model for a given input shape and number of outputs."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int) -> None:
        self.in_features = input_shape[0] if len(input_shape) == 1 else input_shape
        self.outputs = outputs

    def init(self, config: Experiment, key: jax.Array) -> tuple[Any, Any]:
        """Fresh (parameters, running statistics), both float32."""
        _, params, _, rest = self._split(config, key, train=True)
        return params, rest

    def apply(
        self, config: Experiment, params: Any, rest: Any, inputs: jax.Array, key: jax.Array, *, train: bool
    ) -> tuple[jax.Array, Any]:
        """Outputs (b, outputs) in float32 or wider, and the new running statistics."""
        return self.run(config, self.build(config, params, rest, key, train=train), inputs, train=train)

    def build(self, config: Experiment, params: Any, rest: Any, key: jax.Array, *, train: bool) -> nnx.Module:
        """The module with this state, in training or evaluation mode."""
        graph, _, fresh, _ = self._split(config, key, train=train)
        if config.train.precision == "bfloat16":
            params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
        return nnx.merge(graph, params, fresh, rest)

    def run(self, config: Experiment, model: nnx.Module, inputs: jax.Array, *, train: bool) -> tuple[jax.Array, Any]:
        """What `apply` returns, of a module that `build` made."""
        if config.train.precision == "bfloat16":
            inputs = inputs.astype(jnp.bfloat16)
        outputs = models.call(model, inputs, train=train)
        rest = nnx.as_pure(nnx.state(model, nnx.Not(nnx.Any(nnx.Param, Rate, nnx.RngState, nnx.Intermediate))))
        return outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32)), rest

    def check(self, config: Experiment, params: Any, rest: Any, inputs: jax.Array, key: jax.Array) -> None:
        """Raises `ConfigError` unless the network turns inputs (b, ...) into outputs (b, outputs). Computes nothing."""
        shape = jax.eval_shape(lambda: self.apply(config, params, rest, inputs, key, train=True)[0]).shape
        wanted = (len(inputs), self.outputs)
        if shape != wanted:
            name = vars(config.model).get("target", config.model.kind)
            raise ConfigError(f"model {name} turns {inputs.shape} into {shape}; this data needs {wanted}: one row per example")

    def _split(self, config: Experiment, key: jax.Array, *, train: bool) -> tuple[Any, Any, Any, Any]:
        params_key, dropout_key, other = jax.random.split(key, 3)
        rngs = nnx.Rngs(other, params=params_key, dropout=dropout_key)
        model = models.build(config.model, self.in_features, self.outputs, rngs)
        models.set_mode(model, train)
        graph, params, fresh, rest = nnx.split(model, nnx.Param, (Rate, nnx.RngState), ...)
        return graph, nnx.as_pure(params), nnx.as_pure(fresh), nnx.as_pure(rest)
