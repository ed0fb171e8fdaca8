"""Batch normalization whose sums and gradient are few passes over the activations on a CPU.

Between two convolutions of a small network the passes over the activations cost as much as the convolutions. The gradient
below reads them twice, once for its two sums and once for the result; autodiff's of the textbook formula stores the
centred activations and reads them more often. Measured with a pooling behind it, it takes half the time or less.
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

_Moments = tuple[Array, Array, Array]  # normalized x, mean, variance

# XLA up to jaxlib 0.10 sums over all axes at once through windows, three times slower than over the batch, then the rest.
_BATCH_FIRST = jax.__version_info__ < (0, 11)


class BatchNorm(nnx.Module):
    """Batch normalization over all axes but the last (Ioffe and Szegedy 2015): (b, ..., c) -> (b, ..., c).

    `nnx.BatchNorm` with the same parameters, running statistics and modes, fast on a CPU. Computes in float32 or wider, the
    variance as E[x^2] - E[x]^2. On a CPU reverse mode works, nested too; forward mode raises `TypeError`.
    `model.eval()` and `nnx.view(model, use_running_average=True)` normalize by the running statistics.
    """

    def __init__(self, num_features: int, *, momentum: float = 0.9, epsilon: float = 1e-5, rngs: nnx.Rngs) -> None:
        del rngs  # nothing here is random; it is taken because every layer takes it
        self.scale = nnx.Param(jnp.ones((num_features,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((num_features,), jnp.float32))
        self.mean = nnx.BatchStat(jnp.zeros((num_features,), jnp.float32))
        self.var = nnx.BatchStat(jnp.ones((num_features,), jnp.float32))
        self.momentum = momentum
        self.epsilon = epsilon
        self.use_running_average = False

    def __call__(self, x: Array) -> Array:
        """Normalizes (b, ..., c), in training by the moments of this batch, which also move the running ones."""
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        scale, bias = self.scale[...], self.bias[...]
        if self.use_running_average:
            return (x - self.mean[...]) * (lax.rsqrt(self.var[...] + self.epsilon) * scale) + bias
        normalized = _normalize_on_cpu if jax.default_backend() == "cpu" else _normalize
        y, mean, variance = normalized(x, scale, bias, self.epsilon)
        self.mean[...] = self.momentum * self.mean[...] + (1 - self.momentum) * mean
        self.var[...] = self.momentum * self.var[...] + (1 - self.momentum) * variance
        return y

    def set_view(self, use_running_average: bool | None = None) -> None:
        """Called by `nnx.view`."""
        if use_running_average is not None:
            self.use_running_average = use_running_average


def _normalize(x: Array, scale: Array, bias: Array, epsilon: float) -> _Moments:
    return _forward(x, scale, bias, epsilon)[0]


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _normalize_on_cpu(x: Array, scale: Array, bias: Array, epsilon: float) -> _Moments:
    return _normalize(x, scale, bias, epsilon)


def _forward(x: Array, scale: Array, bias: Array, epsilon: float) -> tuple[_Moments, tuple[Array, ...]]:
    n = x.size // x.shape[-1]
    mean = _sum(x) / n
    variance = jnp.maximum(_sum(x * x) / n - mean * mean, 0)
    inverse = lax.rsqrt(variance + epsilon)
    y = (x - mean) * (inverse * scale) + bias
    return (y, mean, variance), (x, mean, inverse, scale)


def _backward(_epsilon: float, residuals: tuple[Array, ...], gradients: _Moments) -> tuple[Array, Array, Array]:
    x, mean, inverse, scale = residuals
    g, by_mean, by_variance = gradients
    n = x.size // x.shape[-1]
    by_bias = _sum(g)
    by_scale = inverse * (_sum(g * x) - mean * by_bias)
    # dy/dx directly, and through the mean and the variance, which are one number per channel.
    slope = (2 * by_variance - scale * inverse * inverse * by_scale) / n
    offset = (by_mean - scale * inverse * by_bias) / n
    return scale * inverse * g + slope * (x - mean) + offset, by_scale, by_bias


_normalize_on_cpu.defvjp(_forward, _backward)


def _sum(x: Array) -> Array:
    """(b, ..., c) -> (c,)."""
    if _BATCH_FIRST:
        x = lax.optimization_barrier(x.sum(0))  # (..., c); without the barrier XLA joins the two sums again
    return x.sum(range(x.ndim - 1))
