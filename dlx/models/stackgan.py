"""Two stages of generators and critics (Zhang et al. 2017), told the class in the place of the paper's sentences."""

from itertools import pairwise

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from dlx.config.adversarial_model import StackGan as StackGanConfig
from dlx.config.model_fields import Normalization
from dlx.errors import ConfigError
from dlx.models.dcgan import KERNEL, Critic, Generator
from dlx.models.initializers import initializer
from dlx.models.layers import normalization, normalize
from dlx.models.noise_gan import Ingredients, NoiseGan, drawn_small, ingredients
from dlx.models.shapes import Features, image
from dlx.nn import Conv, ConvTranspose


class Residual(nnx.Module):
    """Two convolutions, whose result is added to their input: (b, h, w, c) -> (b, h, w, c)."""

    def __init__(self, channels: int, norm: Normalization, *, rngs: nnx.Rngs) -> None:
        widths = pairwise((channels,) * 3)
        self.convs = nnx.List(
            [Conv(a, b, 3, use_bias=norm != "batch", kernel_init=initializer("he"), rngs=rngs) for a, b in widths]
        )
        self.norms = nnx.List([normalization(norm, channels, rngs) for _ in self.convs])

    def __call__(self, x: Array) -> Array:
        """(b, h, w, c) -> (b, h, w, c)."""
        y = jax.nn.relu(normalize(self.norms[0], self.convs[0](x)))
        return x + normalize(self.norms[1], self.convs[1](y))


class Refiner(nnx.Module):
    """A small image, looked at again with its class, and doubled in size: (b, h, w, c), (b, classes) -> (b, 2h, 2w, c) in 0..1.

    Its kernels keep the deviation of what they are given, so that it does not begin by losing what the first stage has drawn.
    """

    def __init__(self, channels: int, classes: int, config: StackGanConfig, *, rngs: nnx.Rngs) -> None:
        norm, width = config.generator_normalization, config.refine
        self.input = Conv(channels, width, 3, use_bias=norm != "batch", kernel_init=initializer("he"), rngs=rngs)
        self.of_class = nnx.Linear(classes, width, use_bias=False, kernel_init=drawn_small(), rngs=rngs)
        self.norm = normalization(norm, width, rngs)
        self.blocks = nnx.List([Residual(width, norm, rngs=rngs) for _ in range(config.blocks)])
        self.output = ConvTranspose(width, channels, KERNEL, strides=2, kernel_init=initializer("he"), rngs=rngs)

    def __call__(self, images: Array, classes: Array) -> Array:
        """Images (b, h, w, c) in 0..1, classes (b, classes) one-hot."""
        x = self.input(2 * images - 1) + self.of_class(classes)[:, None, None]
        x = jax.nn.relu(normalize(self.norm, x))
        for block in self.blocks:
            x = block(x)
        return jax.nn.sigmoid(self.output(x))


class Generators(nnx.Module):
    """Both stages: (b, width) -> (b, h, w, c) in 0..1."""

    def __init__(self, small: tuple[int, int, int], made_of: Ingredients, config: StackGanConfig, *, rngs: nnx.Rngs) -> None:
        self.first = Generator(made_of.width, small, config.channels, config.generator_normalization, rngs=rngs)
        self.second = Refiner(small[2], made_of.classes, config, rngs=rngs)
        self.classes = made_of.classes

    def __call__(self, x: Array) -> Array:
        """(b, width), classes last, -> (b, h, w, c)."""
        return self.second(self.first(x), x[:, x.shape[1] - self.classes :])


class Critics(nnx.Module):
    """Of both sizes; the whole images are judged by the second."""

    def __init__(
        self,
        small: tuple[int, int, int],
        whole: tuple[int, int, int],
        made_of: Ingredients,
        config: StackGanConfig,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        self.first = Critic(small, config.channels, made_of, config, rngs=rngs)
        larger = (*config.channels, max(1, config.channels[-1] // 2))
        self.second = Critic(whole, larger, made_of, config, rngs=rngs)

    def __call__(self, images: Array, classes: Array) -> tuple[Array, Array]:
        """Whole images (b, h, w, c) in 0..1, classes one-hot -> (b,), (b, 0)."""
        return self.second(images, classes)


class StackGan(NoiseGan):
    """Both players in two stages. What a `NoiseGan` is asked, both stages answer together."""

    def __init__(self, in_features: Features, out_features: int, config: StackGanConfig, *, rngs: nnx.Rngs) -> None:
        height, width, channels = whole = image(in_features, "stackgan")
        if height % 2 or width % 2:
            raise ConfigError(f"model.kind=stackgan halves the images, and {height}x{width} pixels are not even: use data.size")
        small = (height // 2, width // 2, channels)
        made_of = ingredients(config.latent, None, out_features)
        generators = Generators(small, made_of, config, rngs=rngs)
        critics = Critics(small, whole, made_of, config, rngs=rngs)
        super().__init__(generators, critics, made_of)
        self.generator: Generators = generators
        self.critic: Critics = critics

    def generate_small(self, drawn: Array, classes: Array) -> Array:
        """The first stage's images (b, h / 2, w / 2, c) in 0..1, of what `generate` is given."""
        told = jax.nn.one_hot(classes, self.made_of.classes, dtype=drawn.dtype)
        return self.generator.first(jnp.concatenate([drawn, told], 1))

    def refine(self, small: Array, classes: Array) -> Array:
        """The second stage's images (b, h, w, c) of the first stage's and classes (b,)."""
        return self.generator.second(small, jax.nn.one_hot(classes, self.made_of.classes, dtype=small.dtype))

    def judge_small(self, images: Array, classes: Array) -> tuple[Array, Array]:
        """The first critic's scores (b,) of images (b, h / 2, w / 2, c)."""
        return self.critic.first(images, jax.nn.one_hot(classes, self.made_of.classes, dtype=images.dtype))

    def __call__(self, x: Array) -> Array:
        """Scores (b, 1) by both critics together of generated images, as many as `x` (b, ...) has: all layers once."""
        drawn, none = jnp.zeros((len(x), self.made_of.noise), x.dtype), jnp.zeros((len(x),), jnp.int32)
        small = self.generate_small(drawn, none)
        return (self.judge_small(small, none)[0] + self.judge(self.refine(small, none), none)[0])[:, None]
