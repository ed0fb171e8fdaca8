"""Dropout with the rate in the state: the right share, the right scale, and lanes that know nothing of each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dlx.nn import Dropout, Rate
from dlx.nn import dropout as module

dropout = jax.jit(module.dropout)


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
def test_share_and_scale(rate: float) -> None:
    n = 200_000
    y = np.asarray(dropout(jnp.ones(n), jnp.asarray(rate), jax.random.key(0)))
    rounded = round(rate * 256) / 256
    kept = y != 0
    assert abs(kept.mean() - (1 - rounded)) < 4 * np.sqrt(rounded * (1 - rounded) / n)  # four standard errors
    np.testing.assert_allclose(y[kept], 1 / (1 - rounded), rtol=1e-6)
    assert y.mean() == pytest.approx(1, abs=4 * np.sqrt(rounded / (1 - rounded) / n))


def test_neighbours_are_dropped_independently() -> None:
    """Four values share one random word: no correlation may show between its bytes."""
    kept = np.asarray(dropout(jnp.ones((50_000, 4)), jnp.asarray(0.5), jax.random.key(1)) != 0)
    assert np.abs(np.corrcoef(kept, rowvar=False) - np.eye(4)).max() < 4 / np.sqrt(50_000)


def test_rate_zero_is_the_identity() -> None:
    x = jnp.linspace(-2, 2, 21).reshape(7, 3)
    np.testing.assert_array_equal(Dropout(0.0, rngs=nnx.Rngs(0))(x), x)


def test_a_rate_next_to_one_keeps_finite_numbers() -> None:
    y = dropout(jnp.ones(100_000), jnp.asarray(0.9999), jax.random.key(0))
    assert set(np.unique(y).tolist()) == {0.0, 256.0}


@pytest.mark.parametrize("shape", [(5,), (3, 7), (2, 3, 3, 5)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_shape_and_type_are_the_inputs(shape: tuple[int, ...], dtype: jnp.dtype) -> None:
    y = dropout(jnp.ones(shape, dtype), jnp.asarray(0.5), jax.random.key(0))
    assert (y.shape, y.dtype) == (shape, dtype)


def test_the_key_decides_the_mask_and_each_call_has_its_own() -> None:
    x = jnp.ones((64, 8))
    first, again, other = (Dropout(0.5, rngs=nnx.Rngs(dropout=seed)) for seed in (0, 0, 1))
    y = first(x)
    np.testing.assert_array_equal(y, again(x))
    assert (y != first(x)).any()
    assert (y != other(x)).any()


def test_two_layers_of_one_network_have_different_masks() -> None:
    rngs = nnx.Rngs(dropout=0)
    x = jnp.ones((64, 8))
    assert (Dropout(0.5, rngs=rngs)(x) != Dropout(0.5, rngs=rngs)(x)).any()


def test_evaluation_is_the_identity() -> None:
    layer, x = Dropout(0.5, rngs=nnx.Rngs(0)), jnp.ones((4, 4))
    np.testing.assert_array_equal(nnx.view(layer, deterministic=True)(x), x)
    layer.eval()
    np.testing.assert_array_equal(layer(x), x)
    layer.train()
    assert (layer(x) != x).any()


def test_the_gradient_passes_where_the_value_did() -> None:
    y, pull = jax.vjp(lambda x: dropout(x, jnp.asarray(0.5), jax.random.key(0)), jnp.linspace(-1, 1, 50))
    np.testing.assert_array_equal(pull(jnp.ones(50))[0], jnp.where(y != 0, 2.0, 0.0))


def test_a_lane_does_not_depend_on_its_neighbours() -> None:
    x, rates = jnp.ones((33, 3)), jnp.asarray([0.0, 0.3, 0.8])
    keys = jax.random.split(jax.random.key(0), 3)
    all_lanes = jax.jit(jax.vmap(module.dropout, in_axes=(None, 0, 0)))
    lanes = all_lanes(x, rates, keys)
    np.testing.assert_array_equal(lanes, jnp.stack([dropout(x, rate, key) for rate, key in zip(rates, keys, strict=True)]))
    np.testing.assert_array_equal(lanes, all_lanes(x, rates[::-1], keys[::-1])[::-1])


def test_the_rate_is_state_and_no_parameter() -> None:
    layer = Dropout(0.3, rngs=nnx.Rngs(0))
    _, params, rates, rest = nnx.split(layer, nnx.Param, Rate, ...)
    assert jax.tree.leaves(params) == []
    assert jax.tree.leaves(nnx.as_pure(rates)) == [jnp.float32(0.3)]
    assert all(isinstance(v, nnx.RngState) for _, v in nnx.to_flat_state(rest))
