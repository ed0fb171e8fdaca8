"""From the name of an activation in a config to the function."""

from collections.abc import Callable
from typing import assert_never

import jax
import jax.numpy as jnp
from jax import Array

from dlx.config.model import Activation


def activation(name: Activation) -> Callable[[Array], Array]:
    """The elementwise function of that name. The same object at every call, so that equal configs build equal graphs."""
    match name:
        case "relu":
            return jax.nn.relu
        case "leaky_relu":
            return jax.nn.leaky_relu
        case "elu":
            return jax.nn.elu
        case "selu":
            return jax.nn.selu
        case "gelu":
            return gelu
        case "silu":
            return jax.nn.silu
        case "tanh":
            return jnp.tanh
        case "sigmoid":
            return jax.nn.sigmoid
        case "softplus":
            return jax.nn.softplus
        case _:
            assert_never(name)


def gelu(x: Array) -> Array:
    """Computes x * Phi(x) with the exact normal distribution (Hendrycks and Gimpel 2016); JAX's own default approximates it."""
    return jax.nn.gelu(x, approximate=False)
