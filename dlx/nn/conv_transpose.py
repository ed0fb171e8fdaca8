"""Two-dimensional transposed convolution, by which generators and decoders enlarge images, fast on a CPU in every derivative.

It is the gradient of a convolution by its input (`dlx.nn.conv.spread`). In generators strides are 2 and the kernel's size a
multiple of them, so that all pixels are reached equally often and no checkerboard appears (Odena, Dumoulin and Olah 2016):
4x4 in DCGAN (Radford, Metz and Chintala 2016).

Letters in the shapes: b examples, h w input size, i in-channels, p q output size, o out-channels, r s kernel size.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jax.nn.initializers import Initializer, lecun_normal

from dlx.nn.conv import Geometry, Pair, explicit, pair, spread


def conv_transpose(x: Array, w: Array, strides: Pair = (1, 1), padding: Literal["SAME", "VALID"] = "SAME") -> Array:
    """Spreads each pixel over its neighbours: (b, h, w, i), (r, s, i, o) -> (b, p, q, o), as `lax.conv_transpose`.

    With `"SAME"` the output is `strides` times as large as the input; with `"VALID"` it also has the margin
    max(kernel - strides, 0) that kernels at the border reach. On a CPU the gradient is a custom VJP: reverse mode works,
    nested too; forward mode raises `TypeError`.
    """
    if jax.default_backend() != "cpu":
        return lax.conv_transpose(x, w, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    margins = (0, 0) if padding == "SAME" else (max(w.shape[0] - strides[0], 0), max(w.shape[1] - strides[1], 0))
    size = (x.shape[1] * strides[0] + margins[0], x.shape[2] * strides[1] + margins[1])
    geometry = Geometry(strides, explicit(padding, size, w.shape[:2], strides, (1, 1)), (1, 1))
    # The kernel of the convolution whose transpose this is: mirrored, from the output's channels to the input's.
    return spread(x, jnp.flip(w, (0, 1)).swapaxes(2, 3), geometry, size)


class ConvTranspose(nnx.Module):
    """Two-dimensional transposed convolution with bias: (b, h, w, in_features) -> (b, p, q, out_features).

    `nnx.ConvTranspose` without dilation, fast on a CPU. Parameters: `kernel` (r, s, in_features, out_features), `bias`
    (out_features,). With strides 2, kernel 4 and `"SAME"` it is PyTorch's `ConvTranspose2d(i, o, 4, stride=2, padding=1)`,
    whose weight (i, o, r, s) is this kernel mirrored in both directions.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Pair,
        *,
        strides: int | Pair = 1,
        padding: Literal["SAME", "VALID"] = "SAME",
        use_bias: bool = True,
        kernel_init: Initializer | None = None,
        rngs: nnx.Rngs,
    ) -> None:
        shape = (*pair(kernel_size), in_features, out_features)
        self.kernel = nnx.Param((kernel_init or lecun_normal())(rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros((out_features,), jnp.float32)) if use_bias else None
        self.strides = pair(strides)
        self.padding: Literal["SAME", "VALID"] = padding

    def __call__(self, x: Array) -> Array:
        """Enlarges (b, h, w, in_features) in the wider of the input's and the kernel's types."""
        kernel = self.kernel[...]
        dtype = jnp.result_type(x, kernel)
        y = conv_transpose(x.astype(dtype), kernel.astype(dtype), self.strides, self.padding)
        return y if self.bias is None else y + self.bias[...].astype(dtype)
