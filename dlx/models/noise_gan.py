"""What the networks that make images out of noise have in common: what goes into the generator, and how both players are asked."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.nn import initializers
from jax.nn.initializers import Initializer

from dlx.config.adversarial_model import Codes

SLOPE = 0.2
"""Of leaky ReLU below zero (Radford et al. 2016)."""


@dataclass(frozen=True)
class Ingredients:
    """What an image is made of: `noise` normal numbers, the codes one after the other (one-hot, then numbers), a class (one-hot)."""

    noise: int
    categorical: tuple[int, ...]
    continuous: int
    classes: int
    """0 for a network that is told none."""

    @property
    def codes(self) -> int:
        """The width of all codes together."""
        return sum(self.categorical) + self.continuous

    @property
    def width(self) -> int:
        """Of everything that goes into the generator."""
        return self.noise + self.codes + self.classes

    def draw(self, key: Array, count: int) -> Array:
        """Noise and codes (count, noise + codes): normal numbers, then a code of each kind."""
        *keys, noise, numbers = jax.random.split(key, len(self.categorical) + 2)
        values = [jax.random.randint(k, (count,), 0, n) for k, n in zip(keys, self.categorical, strict=True)]
        parts = [jax.nn.one_hot(value, n) for value, n in zip(values, self.categorical, strict=True)]
        uniform = jax.random.uniform(numbers, (count, self.continuous), minval=-1.0, maxval=1.0)
        return jnp.concatenate([jax.random.normal(noise, (count, self.noise)), *parts, uniform], 1)

    def code(self, drawn: Array) -> Array:
        """The codes (b, codes) of what was drawn (b, noise + codes)."""
        return drawn[:, self.noise :]

    def unlike(self, codes: Array, read: Array) -> Array:
        """How badly codes (b, codes) were read as (b, codes), in nats, (b,): minus their log-probability, numbers normal with deviation 1.

        The entropy of the codes minus its mean bounds the mutual information from below (Chen et al. 2016, equation 5).
        """
        total, at = jnp.zeros(codes.shape[:1], read.dtype), 0
        for n in self.categorical:
            total -= jnp.sum(codes[:, at : at + n] * jax.nn.log_softmax(read[:, at : at + n]), 1)
            at += n
        return total + 0.5 * jnp.sum(jnp.square(codes[:, at:] - read[:, at:]), 1)

    def recognized(self, codes: Array, read: Array) -> Array:
        """The share of the categorical codes that were read right, (b,)."""
        right, at = jnp.zeros(codes.shape[:1]), 0
        for n in self.categorical:
            right += jnp.argmax(codes[:, at : at + n], 1) == jnp.argmax(read[:, at : at + n], 1)
            at += n
        return right / max(1, len(self.categorical))


def ingredients(latent: int, codes: Codes | None, classes: int) -> Ingredients:
    """What a network of these settings is fed."""
    return Ingredients(latent, codes.categorical if codes else (), codes.continuous if codes else 0, classes)


class NoiseGan(nnx.Module):
    """A generator (b, width) -> images (b, h, w, c) in 0..1, and a critic of images that also reads their codes."""

    def __init__(self, generator: nnx.Module, critic: nnx.Module, made_of: Ingredients) -> None:
        self.generator, self.critic, self.made_of = generator, critic, made_of

    def generate(self, drawn: Array, classes: Array) -> Array:
        """Images (b, h, w, c) in 0..1 of what was drawn (b, noise + codes) and classes (b,) int32, which may be left unlooked at."""
        told = jax.nn.one_hot(classes, self.made_of.classes, dtype=drawn.dtype)
        return self.generator(jnp.concatenate([drawn, told], 1))

    def judge(self, images: Array, classes: Array) -> tuple[Array, Array]:
        """Scores (b,), the higher the more real, and the codes that it reads off the images (b, codes): logits, then numbers."""
        return self.critic(images, jax.nn.one_hot(classes, self.made_of.classes, dtype=images.dtype))

    def __call__(self, x: Array) -> Array:
        """Scores (b, 1) of generated images, as many as `x` (b, ...) has: all layers once."""
        drawn = jnp.zeros((len(x), self.made_of.noise + self.made_of.codes), x.dtype)
        none = jnp.zeros((len(x),), jnp.int32)
        return self.judge(self.generate(drawn, none), none)[0][:, None]


class Verdict(nnx.Module):
    """The end of a critic: features (b, f) -> scores (b,) and codes (b, codes).

    A class adds its own linear score of the features (projection, Miyato and Koyama 2018) where `project` holds.
    """

    def __init__(self, features: int, made_of: Ingredients, *, project: bool, rngs: nnx.Rngs) -> None:
        self.score = nnx.Linear(features, 1, kernel_init=drawn_small(), rngs=rngs)
        self.codes = nnx.Linear(features, made_of.codes, kernel_init=drawn_small(), rngs=rngs) if made_of.codes else None
        told = made_of.classes if project else 0
        self.of_class = nnx.Linear(told, features, use_bias=False, kernel_init=drawn_small(), rngs=rngs) if told else None

    def __call__(self, features: Array, classes: Array) -> tuple[Array, Array]:
        """Features (b, f), classes (b, classes) one-hot."""
        scores = self.score(features)[:, 0]
        if self.of_class is not None:
            scores += jnp.sum(features * self.of_class(classes), 1)
        return scores, features[:, :0] if self.codes is None else self.codes(features)


def drawn_small() -> Initializer:
    """How DCGAN draws its kernels: normal with deviation 0.02."""
    return initializers.normal(0.02)
