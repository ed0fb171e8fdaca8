"""The two blocks that the families are made of: an affine map or a convolution, then normalization, then activation.

Before batch normalization a bias would be subtracted again with the mean, a parameter without a gradient: it is left out.
"""

from typing import assert_never

from flax import nnx
from jax import Array

from dlx.config.model import ConvNet, LeNet5, Mlp, Normalization
from dlx.models.activations import activation
from dlx.models.initializers import initializer
from dlx.nn import BatchNorm, Conv
from dlx.nn.conv import Padding

Style = Mlp | ConvNet | LeNet5
Norm = BatchNorm | nnx.LayerNorm


class Dense(nnx.Module):
    """A hidden fully connected layer: (b, in_features) -> (b, out_features)."""

    def __init__(self, in_features: int, out_features: int, style: Style, *, rngs: nnx.Rngs) -> None:
        self.linear = nnx.Linear(
            in_features,
            out_features,
            use_bias=style.normalization != "batch",
            kernel_init=initializer(style.init),
            rngs=rngs,
        )
        self.norm = normalization(style.normalization, out_features, rngs)
        self.activation = activation(style.activation)

    def __call__(self, x: Array) -> Array:
        """(b, in_features) -> (b, out_features)."""
        return self.activation(normalize(self.norm, self.linear(x)))


class Convolution(nnx.Module):
    """A convolution layer with stride 1: (b, h, w, in_features) -> (b, p, q, out_features)."""

    def __init__(
        self, in_features: int, out_features: int, kernel: int, padding: Padding, style: Style, *, rngs: nnx.Rngs
    ) -> None:
        self.conv = Conv(
            in_features,
            out_features,
            kernel,
            padding=padding,
            use_bias=style.normalization != "batch",
            kernel_init=initializer(style.init),
            rngs=rngs,
        )
        self.norm = normalization(style.normalization, out_features, rngs)
        self.activation = activation(style.activation)

    def __call__(self, x: Array) -> Array:
        """(b, h, w, in_features) -> (b, p, q, out_features)."""
        return self.activation(normalize(self.norm, self.conv(x)))


def normalization(name: Normalization, features: int, rngs: nnx.Rngs) -> Norm | None:
    """Batch normalization (Ioffe and Szegedy 2015) or layer normalization over the last axis (Ba et al. 2016)."""
    match name:
        case "none":
            return None
        case "batch":
            return BatchNorm(features, momentum=0.9, epsilon=1e-5, rngs=rngs)
        case "layer":
            return nnx.LayerNorm(features, epsilon=1e-5, rngs=rngs)
        case _:
            assert_never(name)


def normalize(norm: Norm | None, x: Array) -> Array:
    """Applies `norm` and returns to the type of `x`: the running statistics are float32 and would widen bfloat16."""
    return x if norm is None else norm(x).astype(x.dtype)
