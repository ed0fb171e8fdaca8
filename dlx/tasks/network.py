"""A network as two pure functions of (config, arrays). Modules are rebuilt from the config inside every trace.

Rebuilding is what makes a trial a value: the dropout rate (a `Rate` in the module's state) comes from the config, which
may hold tracers, and the random streams come from the step's key, so neither is carried or checkpointed. The rebuilt
initial parameters are never used; XLA removes them.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

from dlx import models
from dlx.config import Experiment
from dlx.data import Spec
from dlx.errors import ConfigError
from dlx.nn import Rate

R = TypeVar("R")


def in_features(spec: Spec) -> models.Features:
    """What a network for this data is built for."""
    if spec.tokens:
        return models.Tokens(spec.input_shape[0], spec.tokens)
    return spec.input_shape[0] if len(spec.input_shape) == 1 else spec.input_shape


class Network:
    """The config's model for given inputs and a number of outputs."""

    def __init__(self, in_features: models.Features, outputs: int) -> None:
        self.in_features, self.outputs = in_features, outputs

    def init(self, config: Experiment, key: jax.Array) -> tuple[Any, Any]:
        """Fresh (parameters, running statistics), both float32."""
        _, params, _, rest = self._split(config, key, train=True)
        return params, rest

    def apply(
        self, config: Experiment, params: Any, rest: Any, inputs: jax.Array, key: jax.Array, *, train: bool
    ) -> tuple[jax.Array, Any]:
        """Outputs (b, outputs) in float32 or wider, and the new running statistics."""
        return self.run(config, self.build(config, params, rest, key, train=train), inputs, train=train)

    def using(
        self, config: Experiment, params: Any, rest: Any, key: jax.Array, use: Callable[[Any], R], *, train: bool
    ) -> tuple[R, Any]:
        """What `use` makes of the module with this state, and the new running statistics: for networks of several parts."""
        model = self.build(config, params, rest, key, train=train)
        found = use(model)
        return found, _statistics(model)

    def build(self, config: Experiment, params: Any, rest: Any, key: jax.Array, *, train: bool) -> nnx.Module:
        """The module with this state, in training or evaluation mode."""
        graph, _, fresh, _ = self._split(config, key, train=train)
        if config.train.precision == "bfloat16":
            params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
        return nnx.merge(graph, params, fresh, rest)

    def run(self, config: Experiment, model: nnx.Module, inputs: jax.Array, *, train: bool) -> tuple[jax.Array, Any]:
        """What `apply` returns, of a module that `build` made."""
        outputs = models.call(model, narrowed(config, inputs), train=train)
        return widened(outputs), _statistics(model)

    def check_can(self, wanted: type[Any], config: Experiment, params: Any, rest: Any, key: jax.Array) -> None:
        """Raises `ConfigError` for a network of the user's own that lacks what the task needs. Others suit it (`dlx.config.teaches`)."""
        assert config.task
        if not isinstance(self.build(config, params, rest, key, train=True), wanted):
            raise ConfigError(
                f"task.kind={config.task.kind} needs a network with the methods of {wanted.__module__}.{wanted.__name__}, and "
                f"{vars(config.model).get('target', config.model.kind)} is none"
            )

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


def narrowed(config: Experiment, inputs: jax.Array) -> jax.Array:
    """Numbers in the precision in which the network computes; tokens as they are."""
    low = config.train.precision == "bfloat16" and jnp.issubdtype(inputs.dtype, jnp.floating)
    return inputs.astype(jnp.bfloat16) if low else inputs


def widened(outputs: jax.Array) -> jax.Array:
    """In float32 or wider, for losses."""
    return outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))


def _statistics(model: nnx.Module) -> Any:
    return nnx.as_pure(nnx.state(model, nnx.Not(nnx.Any(nnx.Param, Rate, nnx.RngState, nnx.Intermediate))))
