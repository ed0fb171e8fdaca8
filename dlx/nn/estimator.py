"""Functions whose gradient is meant to be that of another one."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array


def straight_through(x: Array, forward: Callable[[Array], Array], surrogate: Callable[[Array], Array] = lambda x: x) -> Array:
    """`forward(x)`, with the gradient of `surrogate(x)`: the straight-through estimator (Bengio, Leonard and Courville 2013).

    For what has no useful gradient, such as `jnp.round` or `jnp.sign`. Both functions return arrays of one shape. `dlx gradcheck`
    knows this function: it holds the difference of the two still, and checks everything else.
    """
    return passed_straight_through(forward(x), surrogate(x))


@jax.custom_vjp
def passed_straight_through(value: Array, surrogate: Array) -> Array:
    """`value`; its gradient goes to `surrogate`. Both have one shape."""
    del surrogate
    return value


def _forward(value: Array, surrogate: Array) -> tuple[Array, None]:
    del surrogate
    return value, None


def _backward(residuals: None, g: Array) -> tuple[Array, Array]:
    del residuals
    return jnp.zeros_like(g), g


passed_straight_through.defvjp(_forward, _backward)
