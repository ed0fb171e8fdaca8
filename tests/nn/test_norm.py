"""Batch normalization against the formula of Ioffe and Szegedy (2015) in float64, and against `nnx.BatchNorm`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dlx.nn import BatchNorm
from dlx.nn import norm as module

SHAPES = [(64, 5), (16, 6, 5, 3), (8, 7, 4)]


def reference(x: np.ndarray, scale: np.ndarray, bias: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, ...]:
    """Values and the gradients of sum(g * y) by x, scale and bias: the chain rule of the paper's section 3, in float64."""
    x, scale, bias, g = (a.astype(np.float64) for a in (x, scale, bias, g))
    batch = tuple(range(x.ndim - 1))
    mean, inverse = x.mean(batch), 1 / np.sqrt(x.var(batch) + 1e-5)
    normal = (x - mean) * inverse
    by_normal = g * scale
    by_x = inverse * (by_normal - by_normal.mean(batch) - normal * (by_normal * normal).mean(batch))
    return normal * scale + bias, by_x, (g * normal).sum(batch), g.sum(batch)


@pytest.fixture(params=[True, False], ids=["batch first", "all at once"])
def order(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either way of summing, whatever the installed XLA prefers."""
    monkeypatch.setattr(module, "_BATCH_FIRST", request.param)


def arrays(shape: tuple[int, ...], offset: float = 0.5) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(0)
    x = random.normal(offset, 2, shape)
    scale, bias = random.uniform(0.5, 2, shape[-1]), random.normal(size=shape[-1])
    return tuple(np.asarray(a, np.float32) for a in (x, scale, bias, random.normal(size=shape)))


def value_and_gradients(x: Any, scale: Any, bias: Any, g: Any) -> list[jax.Array]:
    def gradients(x: jax.Array, scale: jax.Array, bias: jax.Array, g: jax.Array) -> list[jax.Array]:
        y, pull = jax.vjp(lambda *a: module._normalize_on_cpu(*a, 1e-5)[0], x, scale, bias)
        return [y, *pull(g)]

    return jax.jit(gradients)(x, scale, bias, g)


@pytest.mark.usefixtures("order")
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_the_papers(shape: tuple[int, ...]) -> None:
    given = arrays(shape)
    for ours, theirs in zip(value_and_gradients(*given), reference(*given), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_mean_of_ten_deviations_costs_two_digits_and_no_more() -> None:
    """E[x^2] - E[x]^2 cancels where the mean is large: the error grows with its square, as in `nnx.BatchNorm`."""
    given = arrays((256, 4, 4, 3), offset=20)
    for ours, theirs in zip(value_and_gradients(*given), reference(*given), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.usefixtures("order")
def test_the_gradient_passes_through_the_moments_too() -> None:
    """They are outputs: whoever puts them into a loss gets their derivatives, 1/n and 2 (x - mean)/n."""
    x, scale, bias, _ = arrays((10, 3, 2))

    def loss(x: jax.Array) -> jax.Array:
        _, mean, variance = module._normalize_on_cpu(x, scale, bias, 1e-5)
        return (3 * mean + 5 * variance).sum()

    wide = np.asarray(x, np.float64)
    expected = (3 + 10 * (wide - wide.mean((0, 1)))) / 30
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(x), expected, rtol=1e-4, atol=1e-6)


def test_reverse_mode_nests() -> None:
    """The gradient of a gradient's norm, as a gradient penalty takes it, against autodiff of the plain formula."""
    x, scale, bias, g = arrays((6, 3))

    def plain(x: jax.Array) -> jax.Array:
        return (x - x.mean(0)) * jax.lax.rsqrt(x.var(0) + 1e-5) * scale + bias

    def penalty(layer: Any) -> Any:
        return jax.jit(jax.grad(lambda x: (jax.grad(lambda x: (g * layer(x) ** 2).sum())(x) ** 2).sum()))

    ours = penalty(lambda x: module._normalize_on_cpu(x, scale, bias, 1e-5)[0])(x)
    np.testing.assert_allclose(ours, penalty(plain)(x), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_layer_agrees_with_flax_in_both_modes(dtype: jnp.dtype) -> None:
    x = jnp.asarray(arrays((32, 5, 5, 4))[0], dtype)
    ours, theirs = BatchNorm(4, rngs=nnx.Rngs(0)), nnx.BatchNorm(4, momentum=0.9, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.mean[...], theirs.mean[...], rtol=1e-4)
    np.testing.assert_allclose(ours.var[...], theirs.var[...], rtol=1e-4)
    ours.eval(), theirs.eval()
    y = ours(x)
    np.testing.assert_allclose(y, theirs(x), rtol=1e-4, atol=1e-5)
    assert y.dtype == jnp.float32
    assert jax.tree.structure(nnx.to_pure_dict(nnx.state(ours))) == jax.tree.structure(nnx.to_pure_dict(nnx.state(theirs)))


@pytest.mark.usefixtures("order")
def test_lanes_are_single_runs() -> None:
    lanes = [arrays((16, 3, 3, 2), offset) for offset in (0, 1, 5)]
    together = jax.jit(jax.vmap(value_and_gradients))(*(np.stack(a) for a in zip(*lanes, strict=True)))
    for number, given in enumerate(lanes):
        for all_lanes, one in zip(together, value_and_gradients(*given), strict=True):
            np.testing.assert_allclose(all_lanes[number], one, rtol=1e-4, atol=1e-4)


def test_other_back_ends_use_plain_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    x = jnp.asarray(arrays((8, 3))[0])
    here = BatchNorm(3, rngs=nnx.Rngs(0))(x)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(BatchNorm(3, rngs=nnx.Rngs(0)), (x,), (x,))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")

    def fresh(x: jax.Array) -> jax.Array:  # Flax updates only variables that the trace itself made
        return BatchNorm(3, rngs=nnx.Rngs(0))(x)

    y, _ = jax.jvp(fresh, (x,), (x,))
    np.testing.assert_allclose(y, here, rtol=1e-6)


def test_a_view_chooses_the_statistics() -> None:
    x = jnp.asarray(arrays((8, 3))[0])
    layer = BatchNorm(3, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(nnx.view(layer, use_running_average=True)(x), x, rtol=1e-4)  # mean 0, variance 1 so far
    assert np.abs(layer(x) - x).max() > 0.1
