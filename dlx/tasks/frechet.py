"""How far two clouds of examples lie apart, from sums that can be merged (Frechet distance of two normal distributions)."""

import math

import jax
import jax.numpy as jnp
import numpy as np

MOST = 49
"""Features of the pixels, at most. A covariance has their square, and each example has its part of it."""


def pooled(images: jax.Array) -> jax.Array:
    """Pixels (b, h, w, c) averaged over a grid of at most 7x7 fields, each channel by itself: (b, features), less one half.

    A field of a grid of g is rows floor(i h / g) to ceil((i + 1) h / g), so fields may share a row where g does not divide h.
    """
    height, width, channels = images.shape[1:]
    side = max(1, math.isqrt(MOST // channels))
    rows, columns = (_fields(size, min(size, side)) for size in (height, width))
    fields = jnp.einsum("bhwc,gh,kw->bgkc", images, rows.astype(images.dtype), columns.astype(images.dtype))
    return fields.reshape(len(images), -1)[:, :MOST] - 0.5


def moments(features: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Each example's part of the sums behind mean and covariance: (b, f), and its products (b, f (f + 1) / 2), i <= j row by row."""
    i, j = np.triu_indices(features.shape[1])
    return features, features[:, i] * features[:, j]


def nearest(features: jax.Array, weight: jax.Array) -> jax.Array:
    """The distance of each example (b, f) to the nearest other one that counts, (b,); 0 where there is none."""
    squares = jnp.sum(jnp.square(features), 1)
    apart = squares[:, None] + squares[None] - 2 * features @ features.T
    others = (weight > 0)[None] & ~jnp.eye(len(features), dtype=bool)
    closest = jnp.min(jnp.where(others, apart, jnp.inf), 1, initial=jnp.inf)
    # The product form of a distance may come out a little below zero.
    return jnp.sqrt(jnp.maximum(jnp.where(jnp.isfinite(closest), closest, 0.0), 0.0))


def gaussian(count: float, total: np.ndarray, products: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (f,) and covariance (f, f) of so many examples, at least 2, from the sums of `moments`; float64."""
    mean = np.asarray(total, np.float64) / count
    second = np.zeros((len(mean), len(mean)))
    second[np.triu_indices(len(mean))] = products
    second = second + np.triu(second, 1).T
    return mean, (second - count * np.outer(mean, mean)) / (count - 1)


def frechet(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> float:
    """The squared Frechet distance of two normal distributions (mean, covariance) (Dowson and Landau 1982; Heusel et al. 2017).

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)). The trace of that root is the sum of the roots of the eigenvalues of
    C1^(1/2) C2 C1^(1/2), which is symmetric.
    """
    (mean, covariance), (mean_2, covariance_2) = one, other
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    between = np.linalg.eigvalsh(root @ covariance_2 @ root)
    trace = np.trace(covariance) + np.trace(covariance_2) - 2 * np.sqrt(np.maximum(between, 0)).sum()
    return float(np.sum(np.square(mean - mean_2)) + max(0.0, trace))


def _fields(size: int, fields: int) -> np.ndarray:
    """(fields, size): each row averages the pixels of one field."""
    place, number = np.arange(size), np.arange(fields)[:, None]
    inside = (place >= number * size // fields) & (place < -(-(number + 1) * size // fields))
    return inside / inside.sum(1, keepdims=True)
