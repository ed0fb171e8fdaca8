"""Pooling over windows that do not overlap. On a CPU the gradient of the maximum is written by hand.

The gradient that autodiff writes for `lax.reduce_window` (select-and-scatter) costs more on a CPU than the convolutions
around it. The one below gives the same numbers, ties included.
"""

from functools import partial, reduce

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax


def max_pool(x: Array, window: int = 2) -> Array:
    """The maximum of each window: (b, h, w, c) -> (b, h // window, w // window, c). A remainder at the edges is cut off.

    Where several pixels of a window share the maximum, the first one (row by row) receives the whole gradient.
    On a CPU reverse mode works, nested too; forward mode raises `TypeError`.
    """
    x = _whole_windows(x, window)
    if jax.default_backend() == "cpu":
        return _max_on_cpu(x, window)
    shape = (1, window, window, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, shape, shape, "VALID")


def avg_pool(x: Array, window: int = 2) -> Array:
    """The mean of each window: (b, h, w, c) -> (b, h // window, w // window, c). A remainder at the edges is cut off."""
    return _split(_whole_windows(x, window), window).mean((2, 4))


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max_on_cpu(x: Array, window: int) -> Array:
    return reduce(jnp.maximum, _places(x, window))


def _forward(x: Array, window: int) -> tuple[Array, Array]:
    """The maxima, and which place of its window holds each first, counted row by row: both (b, p, q, c).

    The place is found along with the maximum. Asking afterwards which place equals it finds none where the compiler computes the
    image a second time, in another pass and with other rounding.
    """
    best, *others = _places(x, window)
    first = jnp.zeros(best.shape, np.min_scalar_type(len(others)))
    for number, place in enumerate(others, start=1):
        first = jnp.where(place > best, jnp.asarray(number, first.dtype), first)
        best = jnp.maximum(best, place)
    return best, first


def _backward(window: int, first: Array, g: Array) -> tuple[Array]:
    # One pass over the result. The image itself is not looked at again: what made it (normalization, activation) would be
    # fused into this pass and be computed a second time.
    b, p, q, c = g.shape
    number = jnp.arange(window * window, dtype=first.dtype).reshape(1, 1, window, 1, window, 1)
    spread = jnp.where(first[:, :, None, :, None] == number, g[:, :, None, :, None], 0)  # (b, p, k, q, k, c)
    return (spread.reshape(b, p * window, q * window, c),)


_max_on_cpu.defvjp(_forward, _backward)


def _places(x: Array, window: int) -> list[Array]:
    """The pixels at each place of the windows, row by row: k * k arrays (b, p, q, c)."""
    windows = _split(x, window)
    return [windows[:, :, i, :, j] for i in range(window) for j in range(window)]


def _split(x: Array, window: int) -> Array:
    """(b, p * k, q * k, c) -> (b, p, k, q, k, c)."""
    b, h, w, c = x.shape
    return x.reshape(b, h // window, window, w // window, window, c)


def _whole_windows(x: Array, window: int) -> Array:
    """Cuts the rows and columns that fill no window. Raises `ValueError` where nothing is left."""
    p, q = x.shape[1] // window, x.shape[2] // window
    if not p or not q:
        raise ValueError(f"a window of {window}x{window} does not fit into an image of {x.shape[1]}x{x.shape[2]}")
    return x[:, : p * window, : q * window]
