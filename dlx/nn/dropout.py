"""Dropout whose rate is a number in the module's state, so that every lane of a program can have its own."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

_LEVELS = 256  # one byte decides about one value


class Rate(nnx.Variable):
    """A hyperparameter that travels with the module's state: traced, one value per lane, never trained."""


class Dropout(nnx.Module):
    """Sets a random share of the values to zero in training and scales the others up (Srivastava et al. 2014). Any shape.

    Unlike `nnx.Dropout` the rate may be a tracer. It is rounded to the nearest 1/256 (and to at most 255/256); the values
    that are kept are scaled by 1 / (1 - rounded rate), so the expectation is exact. Rate 0 returns the input's own values.
    `model.eval()` and `nnx.view(model, deterministic=True)` switch it off.
    """

    def __init__(self, rate: float | Array, *, rngs: nnx.Rngs) -> None:
        self.rate = Rate(jnp.asarray(rate, jnp.float32))
        self.rngs = rngs.dropout.fork()
        self.deterministic = False

    def __call__(self, x: Array) -> Array:
        """Drops values of `x`, with a new key of the stream `dropout` at every call."""
        return x if self.deterministic else dropout(x, self.rate[...], self.rngs())

    def set_view(self, deterministic: bool | None = None) -> None:
        """Called by `nnx.view`."""
        if deterministic is not None:
            self.deterministic = deterministic


def dropout(x: Array, rate: Array, key: Array) -> Array:
    """Zeros a share of about `rate` of `x` and scales the rest. A function of its arguments alone, in any lane."""
    dropped = jnp.clip(jnp.round(rate * _LEVELS), 0, _LEVELS - 1)

    def draw() -> Array:
        # Four bytes from each 32-bit word: a fourth of the random numbers, and asking for uint8 would draw a word for each.
        words = jax.random.bits(key, (math.ceil(x.size / 4),), jnp.uint32)
        levels = lax.bitcast_convert_type(words, jnp.uint8).reshape(-1)[: x.size].reshape(x.shape)
        return levels >= dropped.astype(jnp.uint8)

    # The branch is there for what it keeps: its result is an array in memory. Otherwise XLA draws the same mask again, value
    # by value, inside each pass that uses it, and the backward pass of a pooling before it takes three times as long.
    kept = lax.cond(dropped > 0, draw, lambda: jnp.ones(x.shape, bool))
    scale = (_LEVELS / (_LEVELS - dropped)).astype(x.dtype)
    return jnp.where(kept, x * scale, jnp.zeros((), x.dtype))
