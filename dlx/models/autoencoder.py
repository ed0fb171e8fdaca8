"""Autoencoders: of fully connected layers (Hinton and Salakhutdinov 2006), and of convolutions (Masci et al. 2011)."""

import math
from abc import abstractmethod
from itertools import pairwise
from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jax import Array

from dlx.config import autoencoder_model as configs
from dlx.config.model import Activation, ConvNet, Init, Mlp
from dlx.errors import ConfigError
from dlx.models.activations import activation
from dlx.models.convnet import Block
from dlx.models.initializers import initializer
from dlx.models.layers import Dense, normalization, normalize
from dlx.models.shapes import Features, Tokens, columns, image
from dlx.nn import ConvTranspose


class Encoding(nnx.Module):
    """A network of two parts: the task `reconstruct` trains any subclass, a user's own too."""

    @abstractmethod
    def encode(self, x: Array) -> Array:
        """(b, ...) -> (b, code)."""

    @abstractmethod
    def decode(self, code: Array) -> Array:
        """(b, code) -> (b, ...): the example again, or its logits; any real number may come out."""

    def __call__(self, x: Array) -> Array:
        """(b, ...) -> (b, ...)."""
        return self.decode(self.encode(x))


class Code(nnx.Module):
    """The layer that makes a code: (b, in_features) -> (b, out_features)."""

    def __init__(
        self, in_features: int, out_features: int, function: Literal["none"] | Activation, init: Init, *, rngs: nnx.Rngs
    ) -> None:
        self.linear = nnx.Linear(in_features, out_features, kernel_init=initializer(init), rngs=rngs)
        self.activation = None if function == "none" else activation(function)

    def __call__(self, x: Array) -> Array:
        """(b, in_features) -> (b, out_features)."""
        x = self.linear(x)
        return x if self.activation is None else self.activation(x)


class Autoencoder(Encoding):
    """Hidden layers down to a code, and back. Images are flattened, and get their shape again.

    Kernels of the encoder are `hidden/0/linear/kernel`, ..., the last of which makes the code.
    """

    def __init__(self, in_features: Features, config: configs.Autoencoder, *, rngs: nnx.Rngs) -> None:
        style = Mlp(activation=config.activation, normalization=config.normalization, init=config.init)
        widths = (columns(in_features, config.kind), *config.hidden)
        layers = [Dense(a, b, style, rngs=rngs) for a, b in pairwise(widths)]
        self.hidden = nnx.List([*layers, Code(widths[-1], config.code, config.code_activation, config.init, rngs=rngs)])
        back = (config.code, *reversed(config.hidden))
        kernel_init, sizes = initializer(config.init), (*back[1:], widths[0])
        self.biases = nnx.List([nnx.Param(jnp.zeros((n,), jnp.float32)) for n in sizes]) if config.tied else None
        self.decoder = None if config.tied else nnx.List([Dense(a, b, style, rngs=rngs) for a, b in pairwise(back)])
        self.output = None if config.tied else nnx.Linear(back[-1], widths[0], kernel_init=kernel_init, rngs=rngs)
        self.activation = activation(config.activation)
        self.shape = shape_of(in_features)

    def encode(self, x: Array) -> Array:
        """(b, ...) -> (b, code)."""
        x = x.reshape(x.shape[0], -1)
        for layer in self.hidden:
            x = layer(x)
        return x

    def decode(self, code: Array) -> Array:
        """(b, code) -> (b, ...)."""
        x = code
        if self.decoder is not None and self.output is not None:
            for layer in self.decoder:
                x = layer(x)
            x = self.output(x)
        elif self.biases is not None:
            last = len(self.biases) - 1
            for place, (layer, bias) in enumerate(zip(reversed(self.hidden), self.biases, strict=True)):
                x = x @ layer.linear.kernel[...].T + bias[...]
                x = x if place == last else self.activation(x)
        return x.reshape(-1, *self.shape)


class Enlargement(nnx.Module):
    """A transposed convolution of stride 2, normalization, activation: (b, h, w, in_features) -> (b, 2h, 2w, out_features)."""

    def __init__(self, in_features: int, out_features: int, config: configs.ConvAutoencoder, *, rngs: nnx.Rngs) -> None:
        self.conv = ConvTranspose(
            in_features,
            out_features,
            4,
            strides=2,
            use_bias=config.normalization != "batch",
            kernel_init=initializer(config.init),
            rngs=rngs,
        )
        self.norm = normalization(config.normalization, out_features, rngs)
        self.activation = activation(config.activation)

    def __call__(self, x: Array) -> Array:
        """(b, h, w, in_features) -> (b, 2h, 2w, out_features)."""
        return self.activation(normalize(self.norm, self.conv(x)))


class ConvAutoencoder(Encoding):
    """Blocks of convolutions that halve the image, a code, and transposed convolutions that double it again.

    The encoder's kernels are `blocks/0/layers/0/conv/kernel`, ..., as those of a `convnet`.
    """

    def __init__(self, in_features: Features, config: configs.ConvAutoencoder, *, rngs: nnx.Rngs) -> None:
        height, width, channels = image(in_features, config.kind)
        shrink = 2 ** len(config.channels)
        if height % shrink or width % shrink:
            raise ConfigError(
                f"model.channels has {len(config.channels)} blocks, each of which halves the image, and {height}x{width} pixels "
                f"cannot be divided by {shrink}: shorten model.channels, or resize the images"
            )
        widths = (channels, *config.channels)
        style = ConvNet(
            depth=config.depth,
            kernel=config.kernel,
            activation=config.activation,
            normalization=config.normalization,
            init=config.init,
        )
        self.blocks = nnx.List([Block(a, b, style, rngs=rngs) for a, b in pairwise(widths)])
        self.small = (height // shrink, width // shrink, widths[-1])
        flat, kernel_init = math.prod(self.small), initializer(config.init)
        self.code = Code(flat, config.code, config.code_activation, config.init, rngs=rngs)
        self.activation = activation(config.activation)
        self.begin = nnx.Linear(config.code, flat, kernel_init=kernel_init, rngs=rngs)
        self.decoder = nnx.List([Enlargement(a, b, config, rngs=rngs) for b, a in reversed(list(pairwise(widths[1:])))])
        self.output = ConvTranspose(widths[1], channels, 4, strides=2, kernel_init=kernel_init, rngs=rngs)

    def encode(self, x: Array) -> Array:
        """(b, h, w, c) -> (b, code)."""
        for block in self.blocks:
            x = block(x)
        return self.code(x.reshape(x.shape[0], -1))

    def decode(self, code: Array) -> Array:
        """(b, code) -> (b, h, w, c)."""
        x = self.activation(self.begin(code)).reshape(-1, *self.small)
        for layer in self.decoder:
            x = layer(x)
        return self.output(x)


def shape_of(in_features: Features) -> tuple[int, ...]:
    """The shape of one example of numbers."""
    if isinstance(in_features, int):
        return (in_features,)
    return () if isinstance(in_features, Tokens) else in_features
