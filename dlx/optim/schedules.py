"""The learning rate of every step, as a function of the step count and of (possibly traced) numbers."""

from collections.abc import Callable
from typing import assert_never

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dlx.config.schedule import Constant, Cosine, Exponential, ScheduleConfig, Step, WarmupCosine

Schedule = Callable[[ArrayLike], jax.Array]


def build_schedule(config: ScheduleConfig, peak: jax.Array | float, total_steps: int, steps_per_epoch: int) -> Schedule:
    """The rate at step t = 0, 1, ..., total_steps - 1; beyond the end it stays at its last value.

    `peak` and the config's `Lane` fields may be tracers: one compiled program serves every rate.
    """

    def schedule(step: ArrayLike) -> jax.Array:
        t = jnp.minimum(jnp.asarray(step, jnp.float32), float(total_steps))
        return jnp.asarray(peak, jnp.float32) * _factor(config, t, total_steps, steps_per_epoch)

    return schedule


def _factor(config: ScheduleConfig, t: jax.Array, total: int, steps_per_epoch: int) -> jax.Array:
    match config:
        case Constant():
            return jnp.ones_like(t)
        case Cosine():
            return _half_cosine(t / total, config.final)
        case WarmupCosine():
            # The ramp is (t + 1) / (w + 1): the first step already moves, and step w is the first at the peak.
            warmup = jnp.asarray(config.warmup, jnp.float32) * total
            fall = (t - warmup) / jnp.maximum(total - warmup, 1.0)
            return jnp.where(t < warmup, (t + 1) / (warmup + 1), _half_cosine(jnp.maximum(fall, 0.0), config.final))
        case Step():
            return jnp.asarray(config.factor, jnp.float32) ** jnp.floor(t / config.every.steps(steps_per_epoch))
        case Exponential():
            return jnp.asarray(config.factor, jnp.float32) ** (t / config.every.steps(steps_per_epoch))
    assert_never(config)


def _half_cosine(progress: jax.Array, final: jax.Array | float) -> jax.Array:
    return final + (1 - jnp.asarray(final, jnp.float32)) * 0.5 * (1 + jnp.cos(jnp.pi * progress))
