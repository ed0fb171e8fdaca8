"""Fully connected generator and critic (Goodfellow et al. 2014)."""

from itertools import pairwise

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from dlx.config.adversarial_model import Gan as GanConfig
from dlx.config.model_fields import Normalization
from dlx.models.initializers import initializer
from dlx.models.layers import normalization, normalize
from dlx.models.noise_gan import SLOPE, Ingredients, NoiseGan, Verdict, ingredients
from dlx.models.shapes import Features, image
from dlx.nn import Dropout


class Hidden(nnx.Module):
    """Affine map, normalization, (leaky) ReLU: (b, in_features) -> (b, out_features)."""

    def __init__(self, widths: tuple[int, int], norm: Normalization, slope: float, *, rngs: nnx.Rngs) -> None:
        self.linear = nnx.Linear(*widths, use_bias=norm != "batch", kernel_init=initializer("he"), rngs=rngs)
        self.norm = normalization(norm, widths[1], rngs)
        self.slope = slope

    def __call__(self, x: Array) -> Array:
        """(b, in_features) -> (b, out_features)."""
        return jax.nn.leaky_relu(normalize(self.norm, self.linear(x)), self.slope)


class Generator(nnx.Module):
    """Hidden layers, then one sigmoid for each value of a pixel: (b, width) -> (b, h, w, c) in 0..1."""

    def __init__(self, width: int, shape: tuple[int, int, int], config: GanConfig, *, rngs: nnx.Rngs) -> None:
        widths = (width, *config.hidden)
        self.hidden = nnx.List([Hidden(pair, config.generator_normalization, 0.0, rngs=rngs) for pair in pairwise(widths)])
        height, wide, channels = self.shape = shape
        self.output = nnx.Linear(widths[-1], height * wide * channels, kernel_init=initializer("xavier"), rngs=rngs)

    def __call__(self, x: Array) -> Array:
        """(b, width) -> (b, h, w, c)."""
        for layer in self.hidden:
            x = layer(x)
        return jax.nn.sigmoid(self.output(x)).reshape(-1, *self.shape)


class Critic(nnx.Module):
    """Hidden layers over all pixels and the class, beside each other: (b, h, w, c), (b, classes) -> (b,), (b, codes)."""

    def __init__(self, pixels: int, made_of: Ingredients, config: GanConfig, *, rngs: nnx.Rngs) -> None:
        widths = (pixels + made_of.classes, *config.critic_hidden)
        self.hidden = nnx.List([Hidden(pair, config.critic_normalization, SLOPE, rngs=rngs) for pair in pairwise(widths)])
        self.dropout = nnx.List([Dropout(config.critic_dropout, rngs=rngs) for _ in config.critic_hidden])
        self.verdict = Verdict(widths[-1], made_of, project=False, rngs=rngs)

    def __call__(self, images: Array, classes: Array) -> tuple[Array, Array]:
        """Images in 0..1, classes one-hot."""
        x = jnp.concatenate([2 * images.reshape(len(images), -1) - 1, classes], 1)
        for layer, drop in zip(self.hidden, self.dropout, strict=True):
            x = drop(layer(x))
        return self.verdict(x, classes)


class Gan(NoiseGan):
    """Both players: fully connected layers over all pixels."""

    def __init__(self, in_features: Features, out_features: int, config: GanConfig, *, rngs: nnx.Rngs) -> None:
        shape = image(in_features, "gan")
        made_of = ingredients(config.latent, config.codes, out_features)
        pixels = shape[0] * shape[1] * shape[2]
        super().__init__(
            Generator(made_of.width, shape, config, rngs=rngs), Critic(pixels, made_of, config, rngs=rngs), made_of
        )
