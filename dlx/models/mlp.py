"""The multilayer perceptron."""

from itertools import pairwise

from flax import nnx
from jax import Array

from dlx.config.model import Mlp as MlpConfig
from dlx.models.initializers import initializer
from dlx.models.layers import Dense
from dlx.models.shapes import Features, columns
from dlx.nn import Dropout


class Mlp(nnx.Module):
    """Hidden layers of affine map, normalization, activation and dropout, then an affine map. Images are flattened."""

    def __init__(self, in_features: Features, out_features: int, config: MlpConfig, *, rngs: nnx.Rngs) -> None:
        widths = (columns(in_features, "mlp"), *config.hidden)
        self.hidden = nnx.List([Dense(a, b, config, rngs=rngs) for a, b in pairwise(widths)])
        self.dropout = nnx.List([Dropout(config.dropout, rngs=rngs) for _ in config.hidden])
        self.output = nnx.Linear(widths[-1], out_features, kernel_init=initializer(config.init), rngs=rngs)

    def __call__(self, x: Array) -> Array:
        """(b, ...) -> (b, out_features)."""
        x = x.reshape(x.shape[0], -1)
        for layer, drop in zip(self.hidden, self.dropout, strict=True):
            x = drop(layer(x))
        return self.output(x)
