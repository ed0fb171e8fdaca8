"""From the name of an initialization in a config to the function that draws the kernels. Biases always start at zero."""

from typing import assert_never

from jax.nn import initializers
from jax.nn.initializers import Initializer

from dlx.config.model import Init


def initializer(name: Init) -> Initializer:
    """Draws the kernels of dense layers (in, out) and convolutions (height, width, in, out).

    `normal` has standard deviation 0.01. `xavier` is uniform with variance 2 / (fan in + fan out) (Glorot and Bengio 2010),
    `he` normal with 2 / fan in (He et al. 2015), `lecun` normal with 1 / fan in (LeCun et al. 1998), both truncated at two
    standard deviations; `orthogonal` is Saxe et al. 2014. `zeros` is for linear models and for demonstrations: hidden
    layers whose kernels are all zero never learn.
    """
    match name:
        case "zeros":
            return initializers.zeros
        case "normal":
            return initializers.normal(0.01)
        case "xavier":
            return initializers.glorot_uniform()
        case "he":
            return initializers.he_normal()
        case "lecun":
            return initializers.lecun_normal()
        case "orthogonal":
            return initializers.orthogonal()
        case _:
            assert_never(name)
