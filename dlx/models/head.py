"""The fully connected end of a convolutional network."""

from itertools import pairwise

from flax import nnx
from jax import Array

from dlx.config.model import ConvNet, LeNet5
from dlx.models.initializers import initializer
from dlx.models.layers import Dense
from dlx.nn import Dropout


class Head(nnx.Module):
    """Fully connected layers over flattened feature maps, each after dropout: (b, ...) -> (b, out_features)."""

    def __init__(
        self, in_features: int, hidden: tuple[int, ...], out_features: int, style: ConvNet | LeNet5, *, rngs: nnx.Rngs
    ) -> None:
        widths = (in_features, *hidden)
        self.dropout = nnx.List([Dropout(style.dropout, rngs=rngs) for _ in widths])
        self.hidden = nnx.List([Dense(a, b, style, rngs=rngs) for a, b in pairwise(widths)])
        self.output = nnx.Linear(widths[-1], out_features, kernel_init=initializer(style.init), rngs=rngs)

    def __call__(self, x: Array) -> Array:
        """(b, ...) -> (b, out_features)."""
        x = x.reshape(x.shape[0], -1)
        for drop, layer in zip(self.dropout, (*self.hidden, self.output), strict=True):
            x = layer(drop(x))
        return x
