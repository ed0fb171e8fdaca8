"""Attention against its formulas in NumPy float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dlx.nn.attention import AdditiveAttention, DotAttention, MultiHeadAttention, causal_mask, masked_softmax

B, T, S, WIDTH, HEADS = 3, 4, 5, 6, 2
random = np.random.Generator(np.random.Philox(0))
ASKS = random.normal(size=(B, T, WIDTH))
LOOKED_AT = random.normal(size=(B, S, WIDTH))
MASK = np.arange(S) < np.array([5, 3, 1])[:, None]  # (b, s)


def softmax(scores, mask):
    """Weights over the last axis of what the mask has."""
    exponentials = np.where(mask, np.exp(scores - scores.max(-1, keepdims=True)), 0)
    return exponentials / exponentials.sum(-1, keepdims=True)


def affine(layer, x):
    """What a linear layer makes of x, in float64."""
    y = x @ np.asarray(layer.kernel[...], np.float64)
    return y if layer.bias is None else y + np.asarray(layer.bias[...], np.float64)


def random_biases(module):
    """Biases begin at zero, where an error in them would not show."""
    state = nnx.state(module, nnx.Param)
    nnx.update(module, jax.tree.map(lambda p: p + 0.1 * random.normal(size=p.shape).astype(np.float32), state))
    return module


def test_multi_head_attention_is_the_formula_of_vaswani():
    module = random_biases(MultiHeadAttention(WIDTH, HEADS, rngs=nnx.Rngs(0)))
    mask = MASK[:, None] & np.asarray(causal_mask(S))[:, :T]  # (b, t, s)
    found = module(jnp.asarray(ASKS, jnp.float32), *module.remember(jnp.asarray(LOOKED_AT, jnp.float32)), jnp.asarray(mask))
    heads = []
    for head in range(HEADS):
        part = slice(head * WIDTH // HEADS, (head + 1) * WIDTH // HEADS)
        q, k, v = (
            affine(layer, x)[..., part]
            for layer, x in ((module.query, ASKS), (module.key, LOOKED_AT), (module.value, LOOKED_AT))
        )
        weights = softmax(q @ k.swapaxes(1, 2) / np.sqrt(WIDTH / HEADS), mask)
        heads.append(weights @ v)
    np.testing.assert_allclose(found, affine(module.output, np.concatenate(heads, -1)), rtol=1e-4, atol=1e-5)


def test_additive_attention_is_the_formula_of_bahdanau():
    module = random_biases(AdditiveAttention(WIDTH, WIDTH, 7, rngs=nnx.Rngs(0)))
    found = module.weights(jnp.asarray(ASKS), module.remember(jnp.asarray(LOOKED_AT)), jnp.asarray(MASK))
    fits = np.tanh(affine(module.query, ASKS)[:, :, None] + affine(module.key, LOOKED_AT)[:, None])
    expected = softmax(affine(module.score, fits)[..., 0], MASK[:, None])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_dot_attention_is_the_general_score_of_luong():
    module = DotAttention(WIDTH, WIDTH, rngs=nnx.Rngs(0))
    found = module.weights(jnp.asarray(ASKS), module.remember(jnp.asarray(LOOKED_AT)), jnp.asarray(MASK))
    expected = softmax(ASKS @ affine(module.key, LOOKED_AT).swapaxes(1, 2), MASK[:, None])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_padding_has_no_weight_at_all():
    scores = jnp.asarray(random.normal(size=(B, T, S)) * 100)
    weights = np.asarray(masked_softmax(scores, jnp.asarray(MASK)[:, None]))
    assert not weights[~np.broadcast_to(MASK[:, None], weights.shape)].any()
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-6)


def test_where_nothing_may_be_looked_at_weights_are_numbers():
    assert np.isfinite(masked_softmax(jnp.ones((1, S)), jnp.zeros((1, S), bool))).all()


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="4 heads do not divide a width of 6"):
        MultiHeadAttention(WIDTH, 4, rngs=nnx.Rngs(0))
