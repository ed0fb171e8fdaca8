"""What a network that makes images is asked for: its classes; and of a generator its noise, the way between samples."""

import jax
import jax.numpy as jnp
import numpy as np

from dlx.errors import UsageError
from dlx.models.noise_gan import Ingredients
from dlx.tasks.state import Asked, Key, between


def asked_classes(asked: Asked, classes: int) -> np.ndarray:
    """The class of each sample (count,): those asked for, else one after the other; zeros for a network that is told none.

    Raises `UsageError` for classes that the network does not know, and for what only text has.
    """
    for name, given in (
        ("--prompt", asked.prompt is not None),
        ("--top-k", asked.top_k is not None),
        ("--length", asked.length > 0),
    ):
        if given:
            raise UsageError(f"{name} is for text, and this network makes images: leave it out")
    if asked.classes is None:
        return np.arange(asked.count, dtype=np.int32) % max(1, classes)
    if not classes:
        raise UsageError("this network is told no class (task.conditional was false): leave the classes out")
    if len(bad := asked.classes[(asked.classes < 0) | (asked.classes >= classes)]):
        raise UsageError(f"class {bad[0]} is asked for, and the network knows 0 to {classes - 1}")
    return np.asarray(asked.classes, np.int32)


def drawn_as_asked(made_of: Ingredients, key: Key, asked: Asked, classes: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Noise and codes (n, noise + codes) and classes (n,): n samples, or n = count * steps points on the way from each to the next.

    On the way codes and classes are the first's.
    """
    scale = jnp.where(jnp.arange(made_of.noise + made_of.codes) < made_of.noise, asked.temperature, 1.0)
    drawn = made_of.draw(key, asked.count + (asked.steps > 0)) * scale
    if not asked.steps:
        return drawn, jnp.asarray(classes)
    way = between(drawn, asked.steps)  # (count, steps, width)
    still = jnp.broadcast_to(drawn[:-1, None], way.shape)
    points = jnp.where(jnp.arange(way.shape[2]) < made_of.noise, way, still)
    return points.reshape(-1, way.shape[2]), jnp.repeat(jnp.asarray(classes), asked.steps)
