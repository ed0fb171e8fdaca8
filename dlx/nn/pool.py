"""Pooling over windows that do not overlap. On a CPU the gradient of the maximum is written by hand.

The gradient that autodiff writes for `lax.reduce_window` (select-and-scatter) costs more on a CPU than the convolutions
around it. The one below gives the same numbers, ties included.
"""

from collections.abc import Iterator
from functools import partial, reduce

import jax
import jax.numpy as jnp
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
    # First whole rows, then the neighbours within: long contiguous maxima, which a reduction over two axes is not.
    b, h, w, c = x.shape
    rows = x.reshape(b, h // window, window, w // window, window * c)
    tallest = reduce(jnp.maximum, [rows[:, :, i] for i in range(window)])
    return reduce(jnp.maximum, [tallest[..., j * c : (j + 1) * c] for j in range(window)])


def _forward(x: Array, window: int) -> tuple[Array, tuple[Array, Array]]:
    y = _max_on_cpu(x, window)
    return y, (x, y)


def _backward(window: int, residuals: tuple[Array, Array], g: Array) -> tuple[Array]:
    x, y = residuals
    shares = jnp.stack([jnp.where(first, g, 0) for first in _first_maximum(_split(x, window), y)])  # (k * k, b, p, q, c)
    b, p, q, c = y.shape
    return (shares.reshape(window, window, b, p, q, c).transpose(2, 3, 0, 4, 1, 5).reshape(x.shape),)


_max_on_cpu.defvjp(_forward, _backward)


def _first_maximum(windows: Array, y: Array) -> Iterator[Array]:
    """For each place in a window, row by row: is it the first that holds the maximum? Each (b, p, q, c)."""
    taken = jnp.zeros(y.shape, bool)
    for i in range(windows.shape[2]):
        for j in range(windows.shape[4]):
            here = windows[:, :, i, :, j] == y
            yield here & ~taken
            taken |= here


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
