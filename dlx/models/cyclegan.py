"""Two translators of images and two critics of their patches (Zhu et al. 2017)."""

from itertools import pairwise

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from dlx.config.adversarial_model import CycleGan as CycleGanConfig
from dlx.errors import ConfigError
from dlx.models.initializers import initializer
from dlx.models.noise_gan import SLOPE
from dlx.models.shapes import Features, Tokens
from dlx.nn import Conv, ConvTranspose

BORDER, KERNEL = 7, 4
"""Of the translators' first and last convolution, and of those that change the size."""


class InstanceNorm(nnx.Module):
    """Each channel of each image to mean 0 and deviation 1, then scaled and shifted (Ulyanov et al. 2016): (b, h, w, c)."""

    def __init__(self, channels: int) -> None:
        self.scale = nnx.Param(jnp.ones((channels,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((channels,), jnp.float32))

    def __call__(self, x: Array) -> Array:
        """(b, h, w, c) -> (b, h, w, c)."""
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        centred = wide - wide.mean((1, 2), keepdims=True)
        y = centred * jax.lax.rsqrt(jnp.square(centred).mean((1, 2), keepdims=True) + 1e-5)
        return (y * self.scale[...] + self.bias[...]).astype(x.dtype)


class Convolved(nnx.Module):
    """A convolution, or a transposed one, then instance normalization, then (leaky) ReLU."""

    def __init__(self, conv: Conv | ConvTranspose, channels: int, slope: float = 0.0, *, normalize: bool = True) -> None:
        self.conv, self.norm, self.slope = conv, InstanceNorm(channels) if normalize else None, slope

    def __call__(self, x: Array) -> Array:
        """(b, h, w, in) -> (b, p, q, out)."""
        x = self.conv(x)
        return jax.nn.leaky_relu(x if self.norm is None else self.norm(x), self.slope)


class Residual(nnx.Module):
    """Two normalized convolutions, whose result is added to their input: (b, h, w, c) -> (b, h, w, c)."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs) -> None:
        self.first = Convolved(Conv(channels, channels, 3, use_bias=False, kernel_init=initializer("he"), rngs=rngs), channels)
        self.conv = Conv(channels, channels, 3, use_bias=False, kernel_init=initializer("he"), rngs=rngs)
        self.norm = InstanceNorm(channels)

    def __call__(self, x: Array) -> Array:
        """(b, h, w, c) -> (b, h, w, c)."""
        return x + self.norm(self.conv(self.first(x)))


class Translator(nnx.Module):
    """From images to images of the same size, (b, h, w, c) in 0..1. It begins near the grey in the middle, where no pixel is saturated."""

    def __init__(self, channels: int, config: CycleGanConfig, *, rngs: nnx.Rngs) -> None:
        widths = [config.channels * 2**n for n in range(config.halvings + 1)]
        first = Conv(channels, widths[0], BORDER, use_bias=False, kernel_init=initializer("he"), rngs=rngs)
        down = [
            Convolved(Conv(a, b, KERNEL, strides=2, use_bias=False, kernel_init=initializer("he"), rngs=rngs), b)
            for a, b in pairwise(widths)
        ]
        up = [
            Convolved(ConvTranspose(a, b, KERNEL, strides=2, use_bias=False, kernel_init=initializer("he"), rngs=rngs), b)
            for a, b in pairwise(reversed(widths))
        ]
        blocks = [Residual(widths[-1], rngs=rngs) for _ in range(config.blocks)]
        self.layers = nnx.List([Convolved(first, widths[0]), *down, *blocks, *up])
        self.output = Conv(widths[0], channels, BORDER, kernel_init=initializer("normal"), rngs=rngs)

    def __call__(self, x: Array) -> Array:
        """(b, h, w, c) -> (b, h, w, c)."""
        x = 2 * x - 1
        for layer in self.layers:
            x = layer(x)
        return jax.nn.sigmoid(self.output(x))


class PatchCritic(nnx.Module):
    """A score for each patch of an image: (b, h, w, c) -> (b, p, q)."""

    def __init__(self, channels: int, config: CycleGanConfig, *, rngs: nnx.Rngs) -> None:
        widths = (channels, *config.critic_channels)
        self.layers = nnx.List(
            [
                Convolved(
                    Conv(a, b, KERNEL, strides=2, kernel_init=initializer("he"), rngs=rngs), b, SLOPE, normalize=number > 0
                )
                for number, (a, b) in enumerate(pairwise(widths))
            ]
        )
        self.output = Conv(widths[-1], 1, KERNEL, kernel_init=initializer("normal"), rngs=rngs)

    def __call__(self, x: Array) -> Array:
        """(b, h, w, c) in 0..1 -> (b, p, q)."""
        x = 2 * x - 1
        for layer in self.layers:
            x = layer(x)
        return self.output(x)[..., 0]


class Both(nnx.Module):
    """The networks of both kinds of images: `kinds[0]` makes or judges images of the first kind."""

    def __init__(self, one: nnx.Module, other: nnx.Module) -> None:
        self.kinds = nnx.List([one, other])


class CycleGan(nnx.Module):
    """Translators into both kinds of images, and a critic of each. `in_features` are pairs (2, h, w, c)."""

    def __init__(self, in_features: Features, config: CycleGanConfig, *, rngs: nnx.Rngs) -> None:
        if isinstance(in_features, int | Tokens) or len(in_features) != 4 or in_features[0] != 2:
            raise ConfigError("model.kind=cyclegan needs images of two kinds: use data.kind=unpaired-images")
        _, height, width, channels = in_features
        part = 2 ** max(config.halvings, len(config.critic_channels))
        if height % part or width % part:
            raise ConfigError(
                f"model.kind=cyclegan halves the images {part.bit_length() - 1} times, and {height}x{width} pixels are no multiple of "
                f"{part}: set data.size, or lower model.halvings and shorten model.critic_channels"
            )
        self.generator = Both(*(Translator(channels, config, rngs=rngs) for _ in range(2)))
        self.critic = Both(*(PatchCritic(channels, config, rngs=rngs) for _ in range(2)))

    def translate(self, images: Array, kind: int) -> Array:
        """Images (b, h, w, c) in 0..1 as images of the given kind, 0 or 1."""
        return self.generator.kinds[kind](images)

    def judge(self, images: Array, kind: int) -> Array:
        """How real the patches of images (b, h, w, c) are as those of a kind, (b, p, q)."""
        return self.critic.kinds[kind](images)

    def __call__(self, x: Array) -> Array:
        """Pairs (b, 2, h, w, c) -> (b, 2): the mean scores of both images, each translated into the other's kind."""
        return jnp.stack([self.judge(self.translate(x[:, 1 - kind], kind), kind).mean((1, 2)) for kind in (0, 1)], 1)
