"""Vectors of tokens, in the precision of the weights. Flax's own layer keeps the one that it was built with."""

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.nn.initializers import Initializer, variance_scaling


class Embed(nnx.Module):
    """A table of vectors, of which each token takes its own: (...) -> (..., features).

    It computes in the type of its weights: bfloat16 where the network does, float64 under the gradient check, where tokens come as floats.
    """

    def __init__(
        self, num_embeddings: int, features: int, *, embedding_init: Initializer | None = None, rngs: nnx.Rngs
    ) -> None:
        # As Flax draws it: of variance 1 / features.
        draw = embedding_init or variance_scaling(1.0, "fan_in", "normal", out_axis=0)
        self.embedding = nnx.Param(draw(rngs.params(), (num_embeddings, features), jnp.float32))
        self.num_embeddings = num_embeddings

    def __call__(self, tokens: Array) -> Array:
        """Whole numbers (...) below `num_embeddings` -> (..., features)."""
        return jnp.take(self.embedding[...], tokens.astype(jnp.int32), axis=0)
