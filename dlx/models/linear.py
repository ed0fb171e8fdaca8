"""One affine map: linear, logistic or softmax regression, as the task decides."""

from flax import nnx
from jax import Array

from dlx.config.model import Linear as LinearConfig
from dlx.models.initializers import initializer
from dlx.models.shapes import Features, columns


class Linear(nnx.Module):
    """x W + b: (b, ...) -> (b, out_features). Images are flattened."""

    def __init__(self, in_features: Features, out_features: int, config: LinearConfig, *, rngs: nnx.Rngs) -> None:
        self.output = nnx.Linear(columns(in_features, "linear"), out_features, kernel_init=initializer(config.init), rngs=rngs)

    def __call__(self, x: Array) -> Array:
        """(b, ...) -> (b, out_features)."""
        return self.output(x.reshape(x.shape[0], -1))
