"""Two-dimensional convolution whose gradient is as fast on a CPU as its forward pass.

XLA:CPU has one fast convolution: images NHWC, kernels HWIO, no reversal. The convolutions that autodiff writes for the
gradients are not in that form, and inside the body of a `lax.scan` the pass that would rewrite them does not reach them:
they run as naive loops. The backward pass below is therefore written by hand, in the fast form. On every other back-end
`conv` is the plain operation.

Letters in the shapes: b examples, h w input size, i in-channels, p q output size, o out-channels, r s kernel size.
"""

from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jax.nn.initializers import Initializer, lecun_normal

Pair = tuple[int, int]
Padding = Literal["SAME", "VALID"] | tuple[Pair, Pair]

_LAYOUT = ("NHWC", "HWIO", "NHWC")
_CHUNK = 16  # examples per partial kernel gradient, so that it stays in the cache; it fixes the order of summation
_FEW_CHANNELS = 8  # below this the patches of the input are small, and one matrix product beats the convolution


class _Geometry(NamedTuple):
    strides: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair


def conv(x: Array, w: Array, strides: Pair = (1, 1), padding: Padding = "SAME", dilation: Pair = (1, 1)) -> Array:
    """Cross-correlation of images with kernels: (b, h, w, i), (r, s, i, o) -> (b, p, q, o), as `lax.conv_general_dilated`.

    `padding` is `"SAME"`, `"VALID"` or the explicit pairs ((top, bottom), (left, right)). On a CPU the gradient is a
    custom VJP: reverse mode works, nested too; forward mode (`jax.jvp`, and so `jax.hessian`) raises `TypeError`.
    """
    geometry = _Geometry(strides, _explicit(padding, x.shape[1:3], w.shape[:2], strides, dilation), dilation)
    # At trace time: a program is compiled for one back-end, and the branch not taken should cost it nothing.
    return _conv_on_cpu(x, w, geometry) if jax.default_backend() == "cpu" else _plain(x, w, geometry)


class Conv(nnx.Module):
    """Two-dimensional convolution with bias: (b, h, w, in_features) -> (b, p, q, out_features).

    `nnx.Conv` without groups, fast on a CPU. Parameters: `kernel` (r, s, in_features, out_features), `bias` (out_features,).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Pair,
        *,
        strides: int | Pair = 1,
        padding: Padding = "SAME",
        dilation: int | Pair = 1,
        use_bias: bool = True,
        kernel_init: Initializer | None = None,
        rngs: nnx.Rngs,
    ) -> None:
        shape = (*_pair(kernel_size), in_features, out_features)
        self.kernel = nnx.Param((kernel_init or lecun_normal())(rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros((out_features,), jnp.float32)) if use_bias else None
        self.strides = _pair(strides)
        self.padding: Padding = padding
        self.dilation = _pair(dilation)

    def __call__(self, x: Array) -> Array:
        """Convolves (b, h, w, in_features) in the wider of the input's and the kernel's types."""
        kernel = self.kernel[...]
        dtype = jnp.result_type(x, kernel)
        y = conv(x.astype(dtype), kernel.astype(dtype), self.strides, self.padding, self.dilation)
        return y if self.bias is None else y + self.bias[...].astype(dtype)


def _plain(x: Array, w: Array, geometry: _Geometry, accumulate: jnp.dtype | None = None) -> Array:
    return lax.conv_general_dilated(
        x,
        w,
        geometry.strides,
        geometry.padding,
        rhs_dilation=geometry.dilation,
        dimension_numbers=_LAYOUT,
        preferred_element_type=accumulate,
    )


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv_on_cpu(x: Array, w: Array, geometry: _Geometry) -> Array:
    return _plain(x, w, geometry)


def _forward(x: Array, w: Array, geometry: _Geometry) -> tuple[Array, tuple[Array, Array]]:
    return _plain(x, w, geometry), (x, w)


def _backward(geometry: _Geometry, residuals: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    x, w = residuals
    dense = geometry.strides == geometry.dilation == (1, 1)
    # With strides or dilation the fast form would convolve mostly zeros; the patches hold none.
    dx = _input_gradient(g, w, geometry) if dense else _input_gradient_of_patches(x, g, w, geometry)
    by_convolution = dense and x.shape[3] >= _FEW_CHANNELS
    dw = _kernel_gradient(x, g, geometry) if by_convolution else _kernel_gradient_of_patches(x, g, w.shape, geometry)
    return dx, dw.astype(w.dtype)


_conv_on_cpu.defvjp(_forward, _backward)


def _input_gradient(g: Array, w: Array, geometry: _Geometry) -> Array:
    """The gradient (b, p, q, o) spread back by the mirrored kernels: (b, h, w, i). Stride 1 only."""
    r, s = w.shape[:2]
    (top, bottom), (left, right) = geometry.padding
    wanted = ((r - 1 - top, r - 1 - bottom), (s - 1 - left, s - 1 - right))
    # The convolution pads for itself, which saves a pass over the images; it cannot cut, as wide paddings ask for.
    if min(*wanted[0], *wanted[1]) < 0:
        g, wanted = _pad(g, wanted), _VALID.padding
    return _plain(g, jnp.flip(w, (0, 1)).swapaxes(2, 3), _Geometry((1, 1), wanted, (1, 1)))


def _kernel_gradient(x: Array, g: Array, geometry: _Geometry) -> Array:
    """The input correlated with the gradient, examples in the role of the channels: (r, s, i, o). Stride 1 only."""
    whole = x.shape[0] // _CHUNK * _CHUNK
    # All whole chunks change their layout in one pass, (chunks, i, h, w, 16) and (chunks, p, q, 16, o), and lie together.
    images = x[:whole].reshape(-1, _CHUNK, *x.shape[1:]).transpose(0, 4, 2, 3, 1)
    kernels = g[:whole].reshape(-1, _CHUNK, *g.shape[1:]).transpose(0, 2, 3, 1, 4)
    pairs = list(zip(images, kernels, strict=True))
    if whole < x.shape[0]:
        pairs.append((x[whole:].transpose(3, 1, 2, 0), g[whole:].transpose(1, 2, 0, 3)))
    padded = _Geometry((1, 1), geometry.padding, (1, 1))
    parts = [_plain(image, kernel, padded, _accumulator(x)) for image, kernel in pairs]
    return sum(parts[1:], parts[0]).transpose(1, 2, 0, 3)


def _input_gradient_of_patches(x: Array, g: Array, w: Array, geometry: _Geometry) -> Array:
    spread = jax.linear_transpose(partial(_patches, kernel_size=(w.shape[0], w.shape[1]), geometry=geometry), x)
    return spread(g @ w.reshape(-1, w.shape[3]).T)[0]


def _kernel_gradient_of_patches(x: Array, g: Array, shape: tuple[int, ...], geometry: _Geometry) -> Array:
    patches = _patches(x, (shape[0], shape[1]), geometry)
    rows, columns = patches.reshape(-1, patches.shape[3]), g.reshape(-1, g.shape[3])
    return jnp.matmul(rows.T, columns, preferred_element_type=_accumulator(x)).reshape(shape)


def _patches(x: Array, kernel_size: Pair, geometry: _Geometry) -> Array:
    """What each output pixel sees of the input, side by side: (b, h, w, i) -> (b, p, q, r * s * i)."""
    x = _pad(x, geometry.padding)
    size, step, gap = x.shape[1:3], geometry.strides, geometry.dilation
    rows, columns = ((size[a] - (kernel_size[a] - 1) * gap[a] - 1) // step[a] * step[a] + 1 for a in (0, 1))
    views = [
        x[:, i * gap[0] : i * gap[0] + rows : step[0], j * gap[1] : j * gap[1] + columns : step[1]]
        for i in range(kernel_size[0])
        for j in range(kernel_size[1])
    ]
    return jnp.concatenate(views, axis=-1)


def _accumulator(x: Array) -> jnp.dtype:
    """Sums over a batch are taken in float32 or wider, also of bfloat16."""
    return jnp.promote_types(x.dtype, jnp.float32)


def _pad(x: Array, padding: tuple[Pair, Pair]) -> Array:
    """Zeros around the images; a negative width cuts."""
    (top, bottom), (left, right) = padding
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (top, bottom, 0), (left, right, 0), (0, 0, 0)))


def _explicit(
    padding: Padding, size: tuple[int, ...], kernel_size: tuple[int, ...], strides: Pair, dilation: Pair
) -> tuple[Pair, Pair]:
    if not isinstance(padding, str):
        return padding
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel_size, dilation, strict=True))
    rows, columns = lax.padtype_to_pads(size, reach, strides, padding)
    return (int(rows[0]), int(rows[1])), (int(columns[0]), int(columns[1]))


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else value


_VALID = _Geometry((1, 1), ((0, 0), (0, 0)), (1, 1))
