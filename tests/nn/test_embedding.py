"""`dlx.nn.Embed` against the same product of a one-hot matrix, in every precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dlx.nn import Embed


def test_a_token_takes_its_row_whatever_type_it_comes_in():
    layer = Embed(5, 3, rngs=nnx.Rngs(0))
    tokens = jnp.array([[0, 4], [2, 2]])
    expected = jax.nn.one_hot(tokens, 5) @ layer.embedding[...]  # (2, 2, 3)
    np.testing.assert_array_equal(layer(tokens), expected)
    np.testing.assert_array_equal(layer(tokens.astype(jnp.float32)), expected)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float64])
def test_it_computes_in_the_precision_of_its_weights(dtype):
    """Flax's own layer would answer in float32, and a gradient check in float64 would compare what was rounded."""
    with jax.enable_x64(dtype == jnp.float64):
        layer = Embed(5, 3, rngs=nnx.Rngs(0))
        layer.embedding.set_value(layer.embedding[...].astype(dtype))
        assert layer(jnp.array([1])).dtype == dtype


def test_its_vectors_have_the_length_of_those_of_flax():
    """Variance 1 / features, so that a vector is about 1 long."""
    lengths = np.linalg.norm(Embed(2000, 64, rngs=nnx.Rngs(0)).embedding[...], axis=1)
    flax = np.linalg.norm(nnx.Embed(2000, 64, rngs=nnx.Rngs(1)).embedding[...], axis=1)
    assert lengths.mean() == pytest.approx(flax.mean(), rel=0.02)
