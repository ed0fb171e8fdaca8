"""The variational autoencoder (Kingma and Welling 2014), and the one that is told classes (Sohn, Lee and Yan 2015)."""

from itertools import pairwise

import jax.numpy as jnp
from flax import nnx
from jax import Array

from dlx.config import autoencoder_model as configs
from dlx.config.model import Mlp
from dlx.models.autoencoder import shape_of
from dlx.models.initializers import initializer
from dlx.models.layers import Dense
from dlx.models.shapes import Features, columns


class VariationalAutoencoder(nnx.Module):
    """An encoder to a normal distribution over codes, and a decoder. Images are flattened, and get their shape again.

    With `classes` above 0 both are also given the class as a vector (b, classes) of one 1 and zeros.
    """

    def __init__(self, in_features: Features, classes: int, config: configs.VariationalAutoencoder, *, rngs: nnx.Rngs) -> None:
        style = Mlp(activation=config.activation, normalization=config.normalization, init=config.init)
        size = columns(in_features, config.kind)
        widths = (size + classes, *config.hidden)
        self.hidden = nnx.List([Dense(a, b, style, rngs=rngs) for a, b in pairwise(widths)])
        kernel_init = initializer(config.init)
        self.mean = nnx.Linear(widths[-1], config.code, kernel_init=kernel_init, rngs=rngs)
        # From zeros: every code begins with a deviation of one, and no exponential is large.
        self.log_variance = nnx.Linear(widths[-1], config.code, kernel_init=initializer("zeros"), rngs=rngs)
        back = (config.code + classes, *reversed(config.hidden))
        self.decoder = nnx.List([Dense(a, b, style, rngs=rngs) for a, b in pairwise(back)])
        self.output = nnx.Linear(back[-1], size, kernel_init=kernel_init, rngs=rngs)
        self.classes, self.shape = classes, shape_of(in_features)

    def encode(self, x: Array, told: Array | None = None) -> tuple[Array, Array]:
        """(b, ...) and classes (b, classes) if there are any -> mean (b, code) and logarithm of the variance (b, code)."""
        x = self._with(x.reshape(x.shape[0], -1), told)
        for layer in self.hidden:
            x = layer(x)
        return self.mean(x), self.log_variance(x)

    def decode(self, code: Array, told: Array | None = None) -> Array:
        """(b, code) and classes (b, classes) if there are any -> (b, ...): logits of pixels, or means."""
        x = self._with(code, told)
        for layer in self.decoder:
            x = layer(x)
        return self.output(x).reshape(-1, *self.shape)

    def __call__(self, x: Array) -> Array:
        """(b, ...) -> (b, ...), by the mean of the code and, where there are classes, told none of them."""
        none = jnp.zeros((x.shape[0], self.classes), x.dtype)
        return self.decode(self.encode(x, none)[0], none)

    def _with(self, x: Array, told: Array | None) -> Array:
        return x if told is None or not self.classes else jnp.concatenate([x, told.astype(x.dtype)], -1)
