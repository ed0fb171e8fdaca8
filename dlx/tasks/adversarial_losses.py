"""What a critic and a generator minimize, of the critic's scores (b, ...): a number for each image or for each of its patches."""

import math
from collections.abc import Callable
from typing import Any, assert_never

import jax
import jax.numpy as jnp

from dlx.config.adversarial_task import AdversarialLoss, LeastSquares, Standard, Wasserstein, WassersteinGp


def of_critic(loss: AdversarialLoss, real: jax.Array, fake: jax.Array) -> jax.Array:
    """The critic's loss of each pair of a real and a generated image, (b,), from its scores of them (b, ...)."""
    match loss:
        case Standard():
            # -log sigmoid(s) is softplus(-s).
            smooth = loss.smoothing * jax.nn.softplus(real) + (1 - loss.smoothing) * jax.nn.softplus(-real)
            each = smooth + jax.nn.softplus(fake)
        case LeastSquares():
            each = 0.5 * (jnp.square(real - 1) + jnp.square(fake))
        case Wasserstein() | WassersteinGp():
            each = fake - real
        case _:
            assert_never(loss)
    return _mean(each)


def of_generator(loss: AdversarialLoss, fake: jax.Array) -> jax.Array:
    """The generator's loss of each image, (b,), from the critic's scores of it (b, ...)."""
    match loss:
        case Standard():
            each = jax.nn.softplus(-fake)
        case LeastSquares():
            each = 0.5 * jnp.square(fake - 1)
        case Wasserstein() | WassersteinGp():
            each = -fake
        case _:
            assert_never(loss)
    return _mean(each)


def slope_penalty(score: Callable[[jax.Array], jax.Array], real: jax.Array, fake: jax.Array, key: jax.Array) -> jax.Array:
    """The mean of (|slope of the score| - 1)^2 at one random place between each real and generated image (b, ...).

    `score` tells the scores (b,) of images (b, ...), each by itself. Gulrajani et al. 2017, equation 3, without its weight.
    """
    place = jax.random.uniform(key, (len(real), *(1,) * (real.ndim - 1)), real.dtype)
    slopes = jax.grad(lambda x: jnp.sum(score(x)))(place * real + (1 - place) * fake)
    # The root has no slope at zero, where a critic that is flat would start from.
    length = jnp.sqrt(jnp.sum(jnp.square(slopes).reshape(len(real), -1), 1) + 1e-12)
    return jnp.mean(jnp.square(length - 1))


def clipped(loss: AdversarialLoss, critic: Any) -> Any:
    """The critic's parameters as they are after a step: cut to -clip..clip where the loss asks for it."""
    if not isinstance(loss, Wasserstein):
        return critic
    return jax.tree.map(lambda w: jnp.clip(w, -loss.clip, loss.clip), critic)


def overpowers(loss: AdversarialLoss, critic: float, generator: float) -> bool:
    """Whether mean losses of both say that the critic has nothing left to learn, and the generator nothing to learn from it.

    Standard: no generated image is believed to be real with more than exp(-6) on average (a critic that cannot tell has log 2), or
    the critic's own loss is below 0.05 (2 log 2) over what smoothed targets leave. Least squares: it is below 0.01 (1/4). A
    Wasserstein critic is meant to be as good as it can.
    """
    match loss:
        case Standard():
            s = loss.smoothing
            entropy = -sum(p * math.log(p) for p in (s, 1 - s) if p > 0)
            return generator > 6 or critic < 0.05 + entropy
        case LeastSquares():
            return critic < 0.01
        case Wasserstein() | WassersteinGp():
            return False
    assert_never(loss)


def _mean(scores: jax.Array) -> jax.Array:
    """Over all axes but the first."""
    return scores.reshape(len(scores), -1).mean(1)
