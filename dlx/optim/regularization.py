"""Which parameters are weights, and the L1 and L2 penalties on them."""

from typing import Any

import jax
import jax.numpy as jnp

from dlx.config.optimizer import OptimizerConfig


def is_weight(params: Any) -> Any:
    """True for kernels (two axes or more), False for biases and normalization parameters: they are not decayed."""
    return jax.tree.map(lambda p: p.ndim > 1, params)


def penalty(config: OptimizerConfig, params: Any) -> jax.Array:
    """l1 * sum |w| + l2 / 2 * sum w**2 over the weights; exactly zero (and no operation) where neither is set."""
    weights = [p for p in jax.tree.leaves(params) if p.ndim > 1]
    total = jnp.zeros((), jnp.float32)
    if config.l1 is not None:
        total += config.l1 * sum(jnp.sum(jnp.abs(w)) for w in weights)
    if config.l2 is not None:
        total += 0.5 * config.l2 * sum(jnp.sum(jnp.square(w)) for w in weights)
    return total
