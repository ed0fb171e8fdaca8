"""Saliency: what the formulas say of networks whose gradients are known, and the axioms on one whose are not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlx.evaluation import saliency
from dlx.evaluation.saliency import METHODS, NOISE, attributions, by_column, pictures

RANDOM = np.random.Generator(np.random.Philox(key=8))


def network(inputs: jax.Array) -> jax.Array:
    """A small smooth network: (b, ...) to (b, 3)."""
    flat = inputs.reshape(len(inputs), -1)
    weights = jax.random.normal(jax.random.key(0), (flat.shape[1], 16)) / 4
    return jnp.tanh(flat @ weights) @ jax.random.normal(jax.random.key(1), (16, 3))


def images(count: int = 5) -> np.ndarray:
    return RANDOM.standard_normal((count, 6, 6, 2)).astype(np.float32)


def test_integrated_gradients_add_up_to_the_difference_of_the_outputs() -> None:
    x, chosen = images(), np.array([0, 1, 2, 0, 1])
    reference = np.array([0.3, -0.1], np.float32)
    for start in (None, reference):
        found = attributions(network, x, chosen, methods=["integrated gradients"], reference=start)["integrated gradients"]
        begin = np.broadcast_to(np.float32(0) if start is None else start, x.shape)
        difference = np.asarray(network(jnp.asarray(x)) - network(jnp.asarray(begin)))[np.arange(5), chosen]
        np.testing.assert_allclose(found.sum((1, 2, 3)), difference, atol=2e-3)
        assert np.abs(difference).min() > 0.05


def test_of_a_linear_network_all_gradients_are_its_weights() -> None:
    weights, x = RANDOM.standard_normal((72, 3)).astype(np.float32), images()
    chosen = np.array([2, 1, 0, 0, 2])
    found = attributions(lambda inputs: inputs.reshape(len(inputs), -1) @ weights, x, chosen)
    own = weights[:, chosen].T.reshape(x.shape)
    np.testing.assert_allclose(found["gradient"], own, atol=1e-5)
    np.testing.assert_allclose(found["smoothgrad"], own, atol=1e-5)
    np.testing.assert_allclose(found["integrated gradients"], own * x, atol=1e-5)


def test_smoothgrad_is_the_mean_gradient_over_noise_of_the_range() -> None:
    """Of the sum of x^3 the gradient is 3 x^2, and under noise 3 (x^2 + sigma^2) in expectation."""
    x = images(3)
    found = attributions(lambda inputs: (inputs**3).sum((1, 2, 3))[:, None], x, np.zeros(3, int))
    sigma = NOISE * (x.max((1, 2, 3)) - x.min((1, 2, 3)))
    np.testing.assert_allclose(found["gradient"], 3 * x**2, rtol=1e-5)
    expected = 3 * (np.square(x).mean((1, 2, 3)) + sigma**2)
    np.testing.assert_allclose(found["smoothgrad"].mean((1, 2, 3)), expected, rtol=0.1)


def test_gradients_are_those_of_jax_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, chosen = images(), np.array([0, 1, 2, 0, 1])
    whole = attributions(network, x, chosen)
    for row in range(5):
        alone = jax.grad(lambda one, row=row: network(one[None])[0, chosen[row]])(jnp.asarray(x[row]))
        np.testing.assert_allclose(whole["gradient"][row], alone, atol=1e-5)
    monkeypatch.setattr(saliency, "BLOCK_VALUES", 72 * 7)
    blocks = attributions(network, x, chosen)
    for method in METHODS:
        np.testing.assert_allclose(blocks[method], whole[method], atol=1e-5)


def test_weights_that_are_bound_are_no_constants_of_the_program() -> None:
    x, chosen = images(2), np.array([0, 0])

    def linear(weights: jax.Array, inputs: jax.Array) -> jax.Array:
        return inputs.reshape(len(inputs), -1) @ weights

    ones = jnp.ones((72, 1))
    compiled = [
        attributions(jax.tree_util.Partial(linear, factor * ones), x, chosen, methods=["gradient"])["gradient"]
        for factor in (1.0, 3.0)
    ]
    np.testing.assert_allclose(compiled[1], 3 * compiled[0])


def test_the_same_seed_gives_the_same_maps() -> None:
    x, chosen = images(), np.zeros(5, int)
    first, again, other = (attributions(network, x, chosen, seed=seed)["smoothgrad"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0


def test_maps_are_from_zero_to_one_by_the_strongest_channel() -> None:
    attributed = RANDOM.standard_normal((2, 20, 20, 3)).astype(np.float32)
    attributed[1] *= 1000
    attributed[0, 3, 4, 1] = -500  # an outlier, which does not darken the rest
    maps = pictures(attributed)
    assert (maps.shape, maps.dtype) == ((2, 20, 20), np.float32)
    strongest = np.abs(attributed).max(-1)
    np.testing.assert_allclose(maps[0], np.minimum(strongest[0] / np.percentile(strongest[0], 99), 1), rtol=1e-5)
    assert maps.min(axis=(1, 2)).min() >= 0
    np.testing.assert_allclose(maps.max(axis=(1, 2)), 1)
    assert maps[0].mean() == pytest.approx(maps[1].mean(), rel=0.1)


def test_maps_of_nothing_and_of_few_pixels() -> None:
    attributed = np.zeros((2, 30, 30, 1), np.float32)
    attributed[1, 2, 2] = -4
    maps = pictures(attributed)
    assert maps[0].max() == 0
    assert np.argwhere(maps[1]).tolist() == [[2, 2]]
    assert maps[1].max() == 1


def test_encoded_columns_are_added_up() -> None:
    attributed = np.array([[1.0, -2, 0.5], [0, 0.25, 0.125]], np.float32)
    found = by_column(attributed, {"age": np.array([0]), "sex": np.array([1, 2])})
    assert found == [{"sex": -1.5, "age": 1.0}, {"sex": 0.375, "age": 0.0}]
    assert list(found[0]) == ["sex", "age"]
