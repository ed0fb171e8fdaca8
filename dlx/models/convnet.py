"""A plain convolutional network in the manner of VGG (Simonyan and Zisserman 2015)."""

from flax import nnx
from jax import Array

from dlx.config.model import ConvNet as ConvNetConfig
from dlx.errors import ConfigError
from dlx.models.head import Head
from dlx.models.layers import Convolution
from dlx.models.shapes import Features, image
from dlx.nn import max_pool


class Block(nnx.Module):
    """Convolutions that keep the image's size, then 2x2 max-pooling: (b, h, w, in) -> (b, h // 2, w // 2, out)."""

    def __init__(self, in_features: int, out_features: int, config: ConvNetConfig, *, rngs: nnx.Rngs) -> None:
        widths = (in_features, *(out_features,) * (config.depth - 1))
        self.layers = nnx.List([Convolution(a, out_features, config.kernel, "SAME", config, rngs=rngs) for a in widths])

    def __call__(self, x: Array) -> Array:
        """(b, h, w, in_features) -> (b, h // 2, w // 2, out_features)."""
        for layer in self.layers:
            x = layer(x)
        return max_pool(x)


class ConvNet(nnx.Module):
    """Blocks of convolutions and 2x2 max-pooling, then fully connected layers: (b, h, w, c) -> (b, out_features)."""

    def __init__(self, in_features: Features, out_features: int, config: ConvNetConfig, *, rngs: nnx.Rngs) -> None:
        height, width, channels = image(in_features, "convnet")
        shrink = 2 ** len(config.channels)
        rows, columns = height // shrink, width // shrink
        if not rows or not columns:
            most = min(height, width).bit_length() - 1
            raise ConfigError(
                f"model.channels has {len(config.channels)} blocks and each halves the image: {height}x{width} pixels allow "
                f"at most {most}, so shorten model.channels or use larger images"
            )
        widths = (channels, *config.channels)
        self.blocks = nnx.List([Block(a, b, config, rngs=rngs) for a, b in zip(widths, config.channels, strict=False)])
        self.head = Head(rows * columns * widths[-1], config.dense, out_features, config, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        """(b, h, w, c) -> (b, out_features)."""
        for block in self.blocks:
            x = block(x)
        return self.head(x)
