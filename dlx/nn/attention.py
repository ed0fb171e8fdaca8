"""Attention: each place of one sequence takes a mean of another's, weighted by how well the two fit.

Weights of padding are exactly zero, so that padding never changes a result. They are a method of their own, for pictures.

Letters in the shapes: b examples, t places that ask, s places that are looked at, n heads, d features of a head.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.nn.initializers import glorot_uniform


class MultiHeadAttention(nnx.Module):
    """Several scaled dot products side by side, each with its own projections (Vaswani et al. 2017, "Attention is all you need").

    Keys have no bias: it would add the same to all scores of a place, which the softmax takes away again.
    """

    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs) -> None:
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        self.heads = heads
        self.query = nnx.Linear(width, width, kernel_init=glorot_uniform(), rngs=rngs)
        self.key = nnx.Linear(width, width, use_bias=False, kernel_init=glorot_uniform(), rngs=rngs)
        self.value = nnx.Linear(width, width, kernel_init=glorot_uniform(), rngs=rngs)
        self.output = nnx.Linear(width, width, kernel_init=glorot_uniform(), rngs=rngs)

    def remember(self, x: Array) -> tuple[Array, Array]:
        """The keys and values of what is looked at: (b, s, width) -> twice (b, s, n, d)."""
        return self._split(self.key(x)), self._split(self.value(x))

    def __call__(self, x: Array, keys: Array, values: Array, mask: Array) -> Array:
        """What the places of x (b, t, width) take from the values: (b, t, width).

        `mask` (b or 1, t or 1, s) says what may be looked at.
        """
        found = jnp.einsum("bnts,bsnd->btnd", self.weights(x, keys, mask), values)
        return self.output(found.reshape(*x.shape[:2], -1))

    def weights(self, x: Array, keys: Array, mask: Array) -> Array:
        """How much each place of x (b, t, width) takes from each place: (b, n, t, s), sums of one."""
        queries = self._split(self.query(x))
        return masked_softmax(jnp.einsum("btnd,bsnd->bnts", queries, keys) / queries.shape[-1] ** 0.5, mask[:, None])

    def _split(self, x: Array) -> Array:
        return x.reshape(*x.shape[:-1], self.heads, -1)


class AdditiveAttention(nnx.Module):
    """Scores by a small network, v tanh(W query + U key): Bahdanau, Cho and Bengio 2015, "Jointly learning to align and translate"."""

    def __init__(self, query_features: int, features: int, hidden: int, *, rngs: nnx.Rngs) -> None:
        self.query = nnx.Linear(query_features, hidden, use_bias=False, kernel_init=glorot_uniform(), rngs=rngs)
        self.key = nnx.Linear(features, hidden, kernel_init=glorot_uniform(), rngs=rngs)
        self.score = nnx.Linear(hidden, 1, use_bias=False, kernel_init=glorot_uniform(), rngs=rngs)

    def remember(self, x: Array) -> Array:
        """The keys of what is looked at: (b, s, features) -> (b, s, hidden)."""
        return self.key(x)

    def weights(self, x: Array, keys: Array, mask: Array) -> Array:
        """How much each place of x (b, t, query_features) takes from each: (b, t, s). `mask` (b, s) says where there is one."""
        fits = jnp.tanh(self.query(x)[:, :, None] + keys[:, None])  # (b, t, s, hidden)
        return masked_softmax(self.score(fits)[..., 0], mask[:, None])


class DotAttention(nnx.Module):
    """Scores by a product, query W key: the "general" score of Luong, Pham and Manning 2015, "Effective approaches"."""

    def __init__(self, query_features: int, features: int, *, rngs: nnx.Rngs) -> None:
        self.key = nnx.Linear(features, query_features, use_bias=False, kernel_init=glorot_uniform(), rngs=rngs)

    def remember(self, x: Array) -> Array:
        """The keys of what is looked at: (b, s, features) -> (b, s, query_features)."""
        return self.key(x)

    def weights(self, x: Array, keys: Array, mask: Array) -> Array:
        """How much each place of x (b, t, query_features) takes from each: (b, t, s). `mask` (b, s) says where there is one."""
        return masked_softmax(jnp.einsum("bth,bsh->bts", x, keys), mask[:, None])


def masked_softmax(scores: Array, mask: Array) -> Array:
    """Weights (..., s) with the sum one, zero where the mask is false; equal ones where it is false everywhere."""
    return jax.nn.softmax(jnp.where(mask, scores, jnp.finfo(scores.dtype).min), axis=-1)


def causal_mask(length: int) -> Array:
    """Each place may look at itself and what is before it: (1, length, length)."""
    return jnp.tril(jnp.ones((1, length, length), bool))
