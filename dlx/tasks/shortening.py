"""Batches without their common padding: a few lengths to choose from at run time, each with code of its own.

Arrays are as wide as the longest sequence of the data, and most sequences are much shorter. A compiled program has fixed
shapes, but it may hold the same computation several times, for several lengths, and take the shortest that a batch fits
(`lax.switch`). Together with batches of similar lengths (`Order("lengths")`) that saves most of the work of padding.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap

LENGTHS: Final = 4
"""Different ones at most: each is compiled for itself."""
_LEAST: Final = 12
"""Below this there is little to save."""

Loss = Callable[[int, Any, Array], tuple[Array, Any]]
"""From a length, parameters and inputs to a number and what else is to be known."""


def ladder(longest: int) -> tuple[int, ...]:
    """The lengths for sequences of at most `longest`, ascending: each two thirds of the next one."""
    found = [longest]
    while len(found) < LENGTHS and (shorter := -(-found[-1] * 2 // 3)) >= _LEAST:
        found.append(shorter)
    return tuple(found[::-1])


def longest(*sequences: Array) -> Array:
    """The most tokens (), int32, that an example of sequences (b, t) has; of all lanes, so that they take one branch."""
    return _most(jnp.stack([jnp.max(jnp.where(each != 0, 1 + jnp.arange(each.shape[1]), 0)) for each in sequences]))


def shortened(lengths: Sequence[int], needed: Array, function: Callable[..., Any], *operands: Any) -> Any:
    """`function(length, *operands)` of the shortest length that is enough."""
    return lax.switch(_rung(lengths, needed), [_bound(function, length) for length in lengths], *operands)


def shortened_loss(lengths: Sequence[int], needed: Array, loss: Loss, params: Any, inputs: Array) -> tuple[Array, Any]:
    """As `shortened`, to be differentiated by params and inputs. The further results are not differentiated.

    Autodiff of a switch would keep, and fill with zeros, what each branch needs for its gradient. Here a branch computes loss
    and gradient at once.
    """
    if len(lengths) == 1:
        return loss(lengths[0], params, inputs)

    @jax.custom_vjp
    def whole(params: Any, inputs: Array) -> tuple[Array, Any]:
        return shortened(lengths, needed, loss, params, inputs)

    def forward(params: Any, inputs: Array) -> tuple[tuple[Array, Any], tuple[Any, Array | None]]:
        floating = jnp.issubdtype(inputs.dtype, jnp.floating)
        slopes = jax.value_and_grad(loss, argnums=(1, 2) if floating else 1, has_aux=True)
        found, gradient = shortened(lengths, needed, slopes, params, inputs)
        return found, gradient if floating else (gradient, None)

    def backward(gradient: tuple[Any, Array | None], by: tuple[Array, Any]) -> tuple[Any, Array | None]:
        by_params, by_inputs = jax.tree.map(lambda slope: slope * by[0].astype(slope.dtype), gradient)
        return by_params, by_inputs

    whole.defvjp(forward, backward)
    return whole(params, inputs)


def _bound(function: Callable[..., Any], length: int) -> Callable[..., Any]:
    return lambda *operands: function(length, *operands)


def _rung(lengths: Sequence[int], needed: Array) -> Array:
    return jnp.sum(needed > jnp.asarray(lengths[:-1]), dtype=jnp.int32)


@custom_vmap
def _most(counts: Array) -> Array:
    return counts.max()


@_most.def_vmap
def _most_of_lanes(_size: int, _batched: list[bool], counts: Array) -> tuple[Array, bool]:
    return _most(counts.reshape(-1)), False
