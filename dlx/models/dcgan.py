"""The convolutional generator and critic of DCGAN (Radford, Metz and Chintala 2016)."""

from itertools import pairwise

import jax
from flax import nnx
from jax import Array

from dlx.config.adversarial_model import Dcgan as DcganConfig
from dlx.config.adversarial_model import StackGan
from dlx.config.model_fields import Normalization
from dlx.errors import ConfigError
from dlx.models.layers import normalization, normalize
from dlx.models.noise_gan import SLOPE, Ingredients, NoiseGan, Verdict, drawn_small, ingredients
from dlx.models.shapes import Features, image
from dlx.nn import Conv, ConvTranspose, Dropout

KERNEL = 4
"""Twice the stride, so that all pixels are reached equally often."""


class Up(nnx.Module):
    """Transposed convolution with stride 2, normalization, ReLU: (b, h, w, in) -> (b, 2h, 2w, out)."""

    def __init__(self, channels: tuple[int, int], norm: Normalization, *, rngs: nnx.Rngs) -> None:
        self.conv = ConvTranspose(*channels, KERNEL, strides=2, use_bias=norm != "batch", kernel_init=drawn_small(), rngs=rngs)
        self.norm = normalization(norm, channels[1], rngs)

    def __call__(self, x: Array) -> Array:
        """(b, h, w, in) -> (b, 2h, 2w, out)."""
        return jax.nn.relu(normalize(self.norm, self.conv(x)))


class Down(nnx.Module):
    """Convolution with stride 2, normalization, leaky ReLU: (b, 2h, 2w, in) -> (b, h, w, out)."""

    def __init__(self, channels: tuple[int, int], norm: Normalization, *, rngs: nnx.Rngs) -> None:
        self.conv = Conv(*channels, KERNEL, strides=2, use_bias=norm != "batch", kernel_init=drawn_small(), rngs=rngs)
        self.norm = normalization(norm, channels[1], rngs)

    def __call__(self, x: Array) -> Array:
        """(b, 2h, 2w, in) -> (b, h, w, out)."""
        return jax.nn.leaky_relu(normalize(self.norm, self.conv(x)), SLOPE)


class Generator(nnx.Module):
    """A small map of features, doubled in size until it is the image: (b, width) -> (b, h, w, c) in 0..1."""

    def __init__(
        self, width: int, shape: tuple[int, int, int], channels: tuple[int, ...], norm: Normalization, *, rngs: nnx.Rngs
    ) -> None:
        rows, columns = smallest(shape, len(channels))
        self.shape = (rows, columns, channels[0])
        self.input = nnx.Linear(
            width, rows * columns * channels[0], use_bias=norm != "batch", kernel_init=drawn_small(), rngs=rngs
        )
        self.norm = normalization(norm, channels[0], rngs)
        self.up = nnx.List([Up(pair, norm, rngs=rngs) for pair in pairwise(channels)])
        self.output = ConvTranspose(channels[-1], shape[2], KERNEL, strides=2, kernel_init=drawn_small(), rngs=rngs)

    def __call__(self, x: Array) -> Array:
        """(b, width) -> (b, h, w, c)."""
        x = jax.nn.relu(normalize(self.norm, self.input(x).reshape(-1, *self.shape)))
        for layer in self.up:
            x = layer(x)
        return jax.nn.sigmoid(self.output(x))


class Critic(nnx.Module):
    """Halved in size by each convolution; the first is not normalized: (b, h, w, c), (b, classes) -> (b,), (b, codes)."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        channels: tuple[int, ...],
        made_of: Ingredients,
        config: DcganConfig | StackGan,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        rows, columns = smallest(shape, len(channels))
        widths = (shape[2], *reversed(channels))
        norms: list[Normalization] = ["none", *(config.critic_normalization for _ in channels[1:])]
        self.down = nnx.List([Down(pair, norm, rngs=rngs) for pair, norm in zip(pairwise(widths), norms, strict=True)])
        self.dropout = nnx.List([Dropout(config.critic_dropout, rngs=rngs) for _ in channels])
        self.verdict = Verdict(rows * columns * widths[-1], made_of, project=True, rngs=rngs)

    def __call__(self, images: Array, classes: Array) -> tuple[Array, Array]:
        """Images in 0..1, classes one-hot."""
        x = 2 * images - 1
        for layer, drop in zip(self.down, self.dropout, strict=True):
            x = drop(layer(x))
        return self.verdict(x.reshape(len(x), -1), classes)


class Dcgan(NoiseGan):
    """Both players: transposed convolutions in the generator, convolutions in the critic, all with stride 2."""

    def __init__(self, in_features: Features, out_features: int, config: DcganConfig, *, rngs: nnx.Rngs) -> None:
        shape = image(in_features, "dcgan")
        made_of = ingredients(config.latent, config.codes, out_features)
        generator = Generator(made_of.width, shape, config.channels, config.generator_normalization, rngs=rngs)
        super().__init__(generator, Critic(shape, config.channels, made_of, config, rngs=rngs), made_of)


def smallest(shape: tuple[int, int, int], halvings: int) -> tuple[int, int]:
    """Height and width after so many halvings. Raises `ConfigError` for an image that does not allow them."""
    height, width, _ = shape
    part = 2**halvings
    if not halvings or height % part or width % part:
        raise ConfigError(
            f"model.channels has {halvings} entries and each halves the image: {height}x{width} pixels must be a multiple of {part}, "
            "and there must be at least one entry"
        )
    return height // part, width // part
