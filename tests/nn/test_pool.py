"""Pooling against `lax.reduce_window`: values, gradients, and who gets the gradient when several pixels tie."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dlx.nn.pool import avg_pool, max_pool

SHAPES = [((3, 4, 6, 5), 2), ((2, 7, 5, 3), 2), ((2, 6, 9, 3), 3), ((2, 11, 10, 2), 4), ((2, 3, 3, 1), 1)]


def reference(x: jax.Array, window: int) -> jax.Array:
    shape = (1, window, window, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, shape, shape, "VALID")


@pytest.mark.parametrize(("shape", "window"), SHAPES)
@pytest.mark.parametrize("values", ["ties", "no ties"])
def test_max_pool_is_exactly_reduce_window(shape: tuple[int, ...], window: int, values: str) -> None:
    random = np.random.default_rng(0)
    # Images after a relu are full of equal zeros: three integers make ties in nearly every window.
    x = jnp.asarray(random.integers(0, 3, shape) if values == "ties" else random.standard_normal(shape), jnp.float32)

    @jax.jit
    def both(x: jax.Array, g: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
        results = [jax.vjp(lambda x, pool=pool: pool(x, window), x) for pool in (max_pool, reference)]
        return [(y, pull(g)[0]) for y, pull in results]

    g = random.standard_normal((shape[0], shape[1] // window, shape[2] // window, shape[3]))
    (ours, gradient), (theirs, reference_gradient) = both(x, jnp.asarray(g, jnp.float32))
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(gradient, reference_gradient)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_first_maximum_gets_the_whole_gradient(dtype: jnp.dtype) -> None:
    x = jnp.asarray([[1, 2], [2, 2]], dtype).reshape(1, 2, 2, 1)
    gradient = jax.jit(jax.grad(lambda x: max_pool(x).sum()))(x)
    assert gradient.dtype == dtype
    assert gradient.reshape(4).tolist() == [0, 1, 0, 0]


def test_max_pool_under_jit_vmap_and_scan() -> None:
    x = jax.random.normal(jax.random.key(0), (3, 2, 4, 4, 2))
    gradient = jax.grad(lambda x: (max_pool(x) ** 2).sum())
    lanes = jax.jit(lambda x: lax.scan(lambda carry, _: (carry, jax.vmap(gradient)(carry)), x, None, 2)[1][1])(x)
    one = jax.jit(gradient)
    np.testing.assert_array_equal(lanes, jnp.stack([one(lane) for lane in x]))


def test_other_back_ends_use_the_plain_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 5, 4, 3)), jnp.float32)
    here = max_pool(x)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    np.testing.assert_array_equal(max_pool(x), here)
    assert "reduce_window" in str(jax.make_jaxpr(max_pool)(x))


def test_avg_pool_is_the_mean_of_whole_windows() -> None:
    x = jnp.arange(15.0).reshape(1, 3, 5, 1)  # the last row and the last column fill no window
    assert avg_pool(x).reshape(-1).tolist() == [3.0, 5.0]
    gradient = jax.grad(lambda x: avg_pool(x).sum())(x)[0, :, :, 0]
    assert gradient.tolist() == [[0.25] * 4 + [0], [0.25] * 4 + [0], [0] * 5]


@pytest.mark.parametrize("pool", [max_pool, avg_pool])
def test_an_image_smaller_than_the_window_is_an_error(pool: Callable[[jax.Array, int], jax.Array]) -> None:
    with pytest.raises(ValueError, match="window of 3x3 does not fit into an image of 2x8"):
        pool(jnp.zeros((1, 2, 8, 1)), 3)
