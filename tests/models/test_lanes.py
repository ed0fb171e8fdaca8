"""The way the engine uses a network: built inside a traced function, its state pure, its dropout rate a number per lane."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dlx.config.model import ConvNet, LeNet5, Linear, Mlp, ModelConfig
from dlx.models import Features, build
from dlx.nn import Rate

CONFIGS: list[tuple[ModelConfig, Features]] = [
    (Mlp(hidden=(6,), normalization="batch", init="xavier"), 4),
    (ConvNet(channels=(3,), dense=(), normalization="batch", init="xavier"), (4, 4, 1)),
]
RATES = (0.0, 0.25, 0.75)


def split(config: ModelConfig, in_features: Features, rate: Any, key: jax.Array) -> tuple[nnx.GraphDef, Any, Any, Any]:
    """Graph, parameters, what is made anew in every step, and the rest (batch statistics)."""
    if not isinstance(config, Linear):
        config = config.model_copy(update={"dropout": rate})
    params, dropout = jax.random.split(key)
    model = build(config, in_features, 3, nnx.Rngs(params=params, dropout=dropout))
    graph, *states = nnx.split(model, nnx.Param, (Rate, nnx.RngState), ...)
    return graph, *map(nnx.as_pure, states)


def train(config: ModelConfig, in_features: Features, x: jax.Array, rate: jax.Array, key: jax.Array) -> tuple[Any, jax.Array]:
    """Three steps of gradient descent of one lane; the parameters with the batch statistics, and the losses."""
    _, params, _, rest = split(config, in_features, rate, key)

    def step(state: tuple[Any, Any], number: jax.Array) -> tuple[tuple[Any, Any], jax.Array]:
        graph, _, fresh, _ = split(config, in_features, rate, jax.random.fold_in(key, number))

        def loss(params: Any) -> tuple[jax.Array, Any]:
            model = nnx.merge(graph, params, fresh, state[1])
            value = (model(x) ** 2).mean()
            _, _, _, rest = nnx.split(model, nnx.Param, (Rate, nnx.RngState), ...)
            return value, nnx.as_pure(rest)

        (value, rest), gradient = jax.value_and_grad(loss, has_aux=True)(state[0])
        return (jax.tree.map(lambda p, g: p - 0.1 * g, state[0], gradient), rest), value

    return jax.lax.scan(step, (params, rest), jnp.arange(3))


@pytest.mark.parametrize(("config", "in_features"), CONFIGS, ids=["mlp", "convnet"])
def test_lanes_with_their_own_rates_train_as_they_would_alone(config: ModelConfig, in_features: Features) -> None:
    size = (in_features,) if isinstance(in_features, int) else in_features
    x = jnp.asarray(np.random.default_rng(0).standard_normal((8, *size)), jnp.float32)
    keys, rates = jax.random.split(jax.random.key(0), 3), jnp.asarray(RATES)

    def one(rate: jax.Array, key: jax.Array) -> tuple[Any, jax.Array]:
        return train(config, in_features, x, rate, key)

    (params, rest), losses = jax.jit(jax.vmap(one))(rates, keys)
    alone = jax.jit(one)
    for lane in range(3):
        expected, expected_losses = alone(rates[lane], keys[lane])
        np.testing.assert_allclose(losses[lane], expected_losses, rtol=1e-4)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a[lane], b, rtol=1e-3, atol=1e-5), (params, rest), expected)  # noqa: B023
    statistics = jax.tree.leaves(rest)
    assert statistics
    assert all(np.ptp(np.asarray(leaf), axis=0).any() for leaf in statistics)  # updated, in each lane its own way


@pytest.mark.parametrize(
    ("config", "in_features"), [*CONFIGS, (Linear(), 4), (LeNet5(normalization="layer"), (12, 12, 1))], ids=lambda v: str(v)[:6]
)
def test_graphs_of_equal_configs_are_equal_and_hold_no_tracers(config: ModelConfig, in_features: Features) -> None:
    """The graph is a static part of a compiled program: a new one for each build would compile again each time."""
    graphs = []

    def trace(rate: jax.Array) -> jax.Array:
        graphs.append(split(config, in_features, rate, jax.random.key(0))[0])
        return rate

    for rates in (RATES, RATES[::-1]):
        jax.eval_shape(jax.vmap(trace), jnp.asarray(rates))
    assert graphs[0] == graphs[1]
    assert hash(graphs[0]) == hash(graphs[1])
    assert "Tracer" not in repr(graphs[0])
