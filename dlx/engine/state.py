"""What one lane carries, and the random keys, which are carried by nobody."""

import zlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dlx.tasks import LearnerState


class LaneState(NamedTuple):
    """One lane: its learner, and the step at which its loss or weights turned non-finite (-1 while it is well)."""

    learner: LearnerState
    diverged_at: jax.Array
    plateau: Any = ()
    """A `Plateau` under a schedule that has them."""


class DeviceData(NamedTuple):
    """Examples on the device, raw, with the scaling that turns them into a network's inputs.

    `inputs` (n, ...), `targets` (n, ...), `mean` and `inverse_std` of one example's last axis: arrays, or their shapes.
    """

    inputs: Any
    targets: Any
    mean: Any
    inverse_std: Any


def step_key(seed: jax.Array | int, stream: str, step: jax.Array | int) -> jax.Array:
    """The random key of (seed, stream, step). Nothing random is carried, so resuming anywhere is exact."""
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(stream.encode()))
    return jax.random.fold_in(key, step)


def judged(learner: LearnerState) -> LearnerState:
    """The part of a learner that evaluation needs: its raw weights and statistics."""
    return learner._replace(opt=(), average=(), memory=())


def select(mask: jax.Array, new: Any, old: Any) -> Any:
    """Leaf by leaf `new` where `mask` holds, else `old`; a mask of shape (K,) chooses along the lane axis."""

    def pick(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(mask.reshape(mask.shape + (1,) * (a.ndim - mask.ndim)), a, b)

    return jax.tree.map(pick, new, old)
