"""Random changes to the standardized inputs of a training step, drawn on the device from the step's key."""

from typing import assert_never

import jax
import jax.numpy as jnp

from dlx.config.data import Augment, Flip, Noise, Shift


def augment(changes: tuple[Augment, ...], inputs: jax.Array, key: jax.Array) -> jax.Array:
    """Applies the changes in order to a batch of images (b, h, w, c) or rows (b, columns)."""
    for position, change in enumerate(changes):
        inputs = _apply(change, inputs, jax.random.fold_in(key, position))
    return inputs


def _apply(change: Augment, inputs: jax.Array, key: jax.Array) -> jax.Array:
    match change:
        case Flip():
            mirrored = jax.random.bernoulli(key, 0.5, inputs.shape[:1])  # (b,)
            return jnp.where(mirrored[:, None, None, None], inputs[:, :, ::-1], inputs)
        case Shift():
            return _shift(inputs, change.pixels, key)
        case Noise():
            # Always float32: in another type the same key gives other numbers.
            return inputs + (change.std * jax.random.normal(key, inputs.shape, jnp.float32)).astype(inputs.dtype)
    assert_never(change)


def _shift(images: jax.Array, pixels: int, key: jax.Array) -> jax.Array:
    """Each image moved by its own offset of up to `pixels`; the border takes each channel's lowest value in the batch."""
    _, height, width, channels = images.shape
    edge = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
    padded = jnp.pad(images, edge, constant_values=0.0)
    inside = jnp.pad(jnp.ones((*images.shape[:3], 1), bool), edge)
    padded = jnp.where(inside, padded, images.min(axis=(0, 1, 2)))
    offsets = jax.random.randint(key, (images.shape[0], 2), 0, 2 * pixels + 1)  # (b, 2)

    def cut(image: jax.Array, offset: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, (offset[0], offset[1], 0), (height, width, channels))

    return jax.vmap(cut)(padded, offsets)
