"""Two-dimensional convolution whose gradients, of any order, are as fast on a CPU as its forward pass.

XLA:CPU has one fast convolution: images NHWC, kernels HWIO, no reversal. The convolutions that autodiff writes for the
gradients are not in that form, and inside the body of a `lax.scan` the pass that would rewrite them does not reach them:
they run as naive loops. The gradients below are therefore written by hand, in the fast form. On every other back-end
`conv` is the plain operation.

A convolution is linear in the images x and in the kernels w, and the sum of its output y weighted by g is one form in the
three, L(x, w, g). Its derivatives by g, x and w are the products `convolve` (x, w), `spread` (g, w) and `correlate` (x, g).
The derivative of each is made of the other two, so these three are fast however often they are differentiated: the
gradient penalty of a critic (Gulrajani et al. 2017), a gradient by the weights of a gradient by the images, is made of them
as well. `spread` by itself is the transposed convolution.

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
_FEW_CHANNELS = 8  # below this the patches of the input are small, and one matrix product of them beats everything else


class Geometry(NamedTuple):
    """Where the kernel stands: its steps, the zeros around the images ((top, bottom), (left, right)), the gaps in the kernel."""

    strides: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair


def conv(x: Array, w: Array, strides: Pair = (1, 1), padding: Padding = "SAME", dilation: Pair = (1, 1)) -> Array:
    """Cross-correlation of images with kernels: (b, h, w, i), (r, s, i, o) -> (b, p, q, o), as `lax.conv_general_dilated`.

    `padding` is `"SAME"`, `"VALID"` or the explicit pairs ((top, bottom), (left, right)). On a CPU the gradient is a
    custom VJP: reverse mode works, nested too; forward mode (`jax.jvp`, and so `jax.hessian`) raises `TypeError`.
    """
    geometry = Geometry(strides, explicit(padding, x.shape[1:3], w.shape[:2], strides, dilation), dilation)
    # At trace time: a program is compiled for one back-end, and the branch not taken should cost it nothing.
    return convolve(x, w, geometry) if jax.default_backend() == "cpu" else _plain(x, w, geometry)


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
        shape = (*pair(kernel_size), in_features, out_features)
        self.kernel = nnx.Param((kernel_init or lecun_normal())(rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros((out_features,), jnp.float32)) if use_bias else None
        self.strides = pair(strides)
        self.padding: Padding = padding
        self.dilation = pair(dilation)

    def __call__(self, x: Array) -> Array:
        """Convolves (b, h, w, in_features) in the wider of the input's and the kernel's types."""
        kernel = self.kernel[...]
        dtype = jnp.result_type(x, kernel)
        y = conv(x.astype(dtype), kernel.astype(dtype), self.strides, self.padding, self.dilation)
        return y if self.bias is None else y + self.bias[...].astype(dtype)


def _plain(x: Array, w: Array, geometry: Geometry, accumulate: jnp.dtype | None = None) -> Array:
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
def convolve(x: Array, w: Array, geometry: Geometry) -> Array:
    """The convolution of the images by the kernels: (b, h, w, i), (r, s, i, o) -> (b, p, q, o)."""
    return _plain(x, w, geometry)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def spread(g: Array, w: Array, geometry: Geometry, size: Pair) -> Array:
    """The gradient by the images, and the transposed convolution: (b, p, q, o), (r, s, i, o) -> (b, *size, i).

    Every pixel of g is spread over those that the convolution of an image of that size would have seen.
    """
    if geometry.dilation == (1, 1):
        return _spread_by_convolution(g, w, geometry, size)
    # A convolution would see mostly zeros. One matrix product makes the patches of all pixels; then they are added up.
    images = jax.ShapeDtypeStruct((g.shape[0], *size, w.shape[2]), g.dtype)
    add = jax.linear_transpose(partial(_patches, kernel_size=(w.shape[0], w.shape[1]), geometry=geometry), images)
    return add(g @ w.reshape(-1, w.shape[3]).T)[0]


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def correlate(x: Array, g: Array, geometry: Geometry, kernel_size: Pair) -> Array:
    """The gradient by the kernels: (b, h, w, i), (b, p, q, o) -> (*kernel_size, i, o). Sums in float32 or wider."""
    if x.shape[3] < _FEW_CHANNELS:
        w = _product(_patches(x, kernel_size, geometry), g)
    elif geometry.strides == geometry.dilation == (1, 1):
        w = _correlate_by_convolution(x, g, geometry)
    else:  # a product for each of the kernel's places: half the time of one product of the patches, which leave the cache
        w = jnp.stack([_product(view, g) for view in _views(x, kernel_size, geometry)])
    return w.reshape(*kernel_size, x.shape[3], g.shape[3]).astype(x.dtype)


def _convolve_forward(x: Array, w: Array, geometry: Geometry) -> tuple[Array, tuple[Array, Array]]:
    return convolve(x, w, geometry), (x, w)


def _convolve_backward(geometry: Geometry, residuals: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    x, w = residuals
    return spread(g, w, geometry, (x.shape[1], x.shape[2])), correlate(x, g, geometry, (w.shape[0], w.shape[1]))


def _spread_forward(g: Array, w: Array, geometry: Geometry, size: Pair) -> tuple[Array, tuple[Array, Array]]:
    return spread(g, w, geometry, size), (g, w)


def _spread_backward(geometry: Geometry, _size: Pair, residuals: tuple[Array, Array], x: Array) -> tuple[Array, Array]:
    g, w = residuals
    return convolve(x, w, geometry), correlate(x, g, geometry, (w.shape[0], w.shape[1]))


def _correlate_forward(x: Array, g: Array, geometry: Geometry, kernel_size: Pair) -> tuple[Array, tuple[Array, Array]]:
    return correlate(x, g, geometry, kernel_size), (x, g)


def _correlate_backward(geometry: Geometry, _: Pair, residuals: tuple[Array, Array], w: Array) -> tuple[Array, Array]:
    x, g = residuals
    return spread(g, w, geometry, (x.shape[1], x.shape[2])), convolve(x, w, geometry)


convolve.defvjp(_convolve_forward, _convolve_backward)
spread.defvjp(_spread_forward, _spread_backward)
correlate.defvjp(_correlate_forward, _correlate_backward)


def _spread_by_convolution(g: Array, w: Array, geometry: Geometry, size: Pair) -> Array:
    """`spread` as convolutions by mirrored kernels, without dilation.

    With strides (m, n) a pixel's row modulo m and column modulo n decide which part of the kernel has seen it. Each of these m * n
    images, as small as g, is a convolution of g by its part; interleaved they are the result (Shi et al. 2016).
    """
    (m, n), ((top, _), (left, _)) = geometry.strides, geometry.padding
    rows, columns = -(-size[0] // m), -(-size[1] // n)  # of each small image
    parts = [
        [
            _spread_densely(g, w[(top + a) % m :: m, (left + b) % n :: n], ((top + a) // m, (left + b) // n), (rows, columns))
            for b in range(n)
        ]
        for a in range(m)
    ]
    if (m, n) == (1, 1):
        return parts[0][0]
    images = jnp.stack([jnp.stack(row, axis=3) for row in parts], axis=2)  # (b, rows, m, columns, n, i)
    return images.reshape(g.shape[0], rows * m, columns * n, w.shape[2])[:, : size[0], : size[1]]


def _spread_densely(g: Array, w: Array, offset: Pair, size: Pair) -> Array:
    """(b, p, q, o), (r, s, i, o) -> (b, *size, i): the sum over u, v of g[y + offset - u, x + offset - v] w[u, v]."""
    (r, s), (p, q) = w.shape[:2], g.shape[1:3]
    if not r or not s:  # strides beyond the kernel: no pixel of g has seen these
        return jnp.zeros((g.shape[0], *size, w.shape[2]), g.dtype)
    before = r - 1 - offset[0], s - 1 - offset[1]
    wanted = ((before[0], size[0] + r - 1 - p - before[0]), (before[1], size[1] + s - 1 - q - before[1]))
    # The convolution pads for itself, which saves a pass over the images; it cannot cut, as wide paddings ask for.
    if min(*wanted[0], *wanted[1]) < 0:
        g, wanted = _pad(g, wanted), _VALID.padding
    return _plain(g, jnp.flip(w, (0, 1)).swapaxes(2, 3), Geometry((1, 1), wanted, (1, 1)))


def _correlate_by_convolution(x: Array, g: Array, geometry: Geometry) -> Array:
    """`correlate` as a convolution, examples in the role of the channels. Stride 1 only."""
    whole = x.shape[0] // _CHUNK * _CHUNK
    # All whole chunks change their layout in one pass, (chunks, i, h, w, 16) and (chunks, p, q, 16, o), and lie together.
    images = x[:whole].reshape(-1, _CHUNK, *x.shape[1:]).transpose(0, 4, 2, 3, 1)
    kernels = g[:whole].reshape(-1, _CHUNK, *g.shape[1:]).transpose(0, 2, 3, 1, 4)
    pairs = list(zip(images, kernels, strict=True))
    if whole < x.shape[0]:
        pairs.append((x[whole:].transpose(3, 1, 2, 0), g[whole:].transpose(1, 2, 0, 3)))
    padded = Geometry((1, 1), geometry.padding, (1, 1))
    parts = [_plain(image, kernel, padded, _accumulator(x)) for image, kernel in pairs]
    return sum(parts[1:], parts[0]).transpose(1, 2, 0, 3)


def _patches(x: Array, kernel_size: Pair, geometry: Geometry) -> Array:
    """What each output pixel sees of the input, side by side: (b, h, w, i) -> (b, p, q, r * s * i)."""
    return jnp.concatenate(_views(x, kernel_size, geometry), axis=-1)


def _views(x: Array, kernel_size: Pair, geometry: Geometry) -> list[Array]:
    """What each place of the kernel, row by row, sees of the input: r * s times (b, p, q, i)."""
    x = _pad(x, geometry.padding)
    size, step, gap = x.shape[1:3], geometry.strides, geometry.dilation
    rows, columns = ((size[a] - (kernel_size[a] - 1) * gap[a] - 1) // step[a] * step[a] + 1 for a in (0, 1))
    return [
        x[:, i * gap[0] : i * gap[0] + rows : step[0], j * gap[1] : j * gap[1] + columns : step[1]]
        for i in range(kernel_size[0])
        for j in range(kernel_size[1])
    ]


def _product(x: Array, g: Array) -> Array:
    """The products of all channels of two images, summed over the pixels: (b, p, q, i), (b, p, q, o) -> (i, o)."""
    return jnp.matmul(x.reshape(-1, x.shape[3]).T, g.reshape(-1, g.shape[3]), preferred_element_type=_accumulator(x))


def _accumulator(x: Array) -> jnp.dtype:
    """Sums over a batch are taken in float32 or wider, also of bfloat16."""
    return jnp.promote_types(x.dtype, jnp.float32)


def _pad(x: Array, padding: tuple[Pair, Pair]) -> Array:
    """Zeros around the images; a negative width cuts."""
    (top, bottom), (left, right) = padding
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (top, bottom, 0), (left, right, 0), (0, 0, 0)))


def explicit(
    padding: Padding, size: tuple[int, ...], kernel_size: tuple[int, ...], strides: Pair, dilation: Pair
) -> tuple[Pair, Pair]:
    """The zeros around images of a given size that a padding means, ((top, bottom), (left, right)). Negative widths cut."""
    if not isinstance(padding, str):
        return padding
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel_size, dilation, strict=True))
    rows, columns = lax.padtype_to_pads(size, reach, strides, padding)
    return (int(rows[0]), int(rows[1])), (int(columns[0]), int(columns[1]))


def pair(value: int | Pair) -> Pair:
    """The same number for rows and columns, unless there are two."""
    return (value, value) if isinstance(value, int) else value


_VALID = Geometry((1, 1), ((0, 0), (0, 0)), (1, 1))
