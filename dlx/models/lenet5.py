"""LeNet-5 (LeCun, Bottou, Bengio and Haffner 1998), with max-pooling and a plain output layer."""

from flax import nnx
from jax import Array

from dlx.config.model import LeNet5 as LeNet5Config
from dlx.errors import ConfigError
from dlx.models.head import Head
from dlx.models.layers import Convolution
from dlx.models.shapes import Features, image
from dlx.nn import max_pool

_PAPER = 32  # the paper's input size, a 28x28 digit with a border of two pixels
_LEAST = 12


class LeNet5(nnx.Module):
    """Convolution 6@5x5, pool, convolution 16@5x5, pool, 120, 84, outputs: (b, h, w, c) -> (b, out_features).

    An image smaller than the paper's 32x32 gets the border that the paper's authors drew around their digits: the first
    convolution of a 28x28 image is padded to keep its size. 61,706 parameters on 28x28x1 with ten outputs.
    """

    def __init__(self, in_features: Features, out_features: int, config: LeNet5Config, *, rngs: nnx.Rngs) -> None:
        height, width, channels = image(in_features, "lenet5")
        if min(height, width) < _LEAST:
            raise ConfigError(
                f"model.kind=lenet5 needs images of at least {_LEAST}x{_LEAST} pixels and these have {height}x{width}: "
                "use model.kind=convnet or mlp, or larger images"
            )
        border = "SAME" if min(height, width) < _PAPER else "VALID"
        loss = 0 if border == "SAME" else 4
        rows, columns = (((size - loss) // 2 - 4) // 2 for size in (height, width))
        self.first = Convolution(channels, 6, 5, border, config, rngs=rngs)
        self.second = Convolution(6, 16, 5, "VALID", config, rngs=rngs)
        self.head = Head(rows * columns * 16, (120, 84), out_features, config, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        """(b, h, w, c) -> (b, out_features)."""
        return self.head(max_pool(self.second(max_pool(self.first(x)))))
