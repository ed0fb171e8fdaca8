"""The Transformer: Vaswani et al. 2017, "Attention is all you need", with an encoder and a decoder.

Letters in the shapes: b examples, t tokens written, s tokens read, n heads, d features of a head, v different tokens.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax
from jax.nn.initializers import glorot_uniform, normal

from dlx.config.translation_model import Transformer as TransformerConfig
from dlx.errors import ConfigError, UsageError
from dlx.models.shapes import Features
from dlx.models.translator import first, tokens
from dlx.nn import Dropout, Embed
from dlx.nn.attention import MultiHeadAttention, causal_mask

_WAVELENGTH = 10_000.0
Memory = tuple[Array, Array]
"""Keys and values, each (b, s, n, d)."""


class Read(NamedTuple):
    """What a decoder knows of what was read."""

    mask: Array
    """(b, 1, s): where there is a token."""
    memories: tuple[Memory, ...]
    """Of each decoder layer."""


class Transformer(nnx.Module):
    """A `Translator`: from tokens (b, s) to tokens."""

    def __init__(self, in_features: Features, out_features: int, config: TransformerConfig, *, rngs: nnx.Rngs) -> None:
        _, count = tokens(in_features, config.kind)
        self.source, self.target = (Embedding(size, config, rngs=rngs) for size in (count, out_features))
        self.encoder = nnx.List([EncoderLayer(config, rngs=rngs) for _ in range(config.layers)])
        self.decoder = nnx.List([DecoderLayer(config, rngs=rngs) for _ in range(config.layers)])
        # Sums that were never normalized, as `norm_first` leaves them, are normalized here.
        self.read_norm, self.write_norm = (_norm(config, rngs) if config.norm_first else None for _ in range(2))
        self.output = nnx.Linear(config.width, out_features, kernel_init=glorot_uniform(), rngs=rngs)

    def __call__(self, x: Array) -> Array:
        """Logits (b, 1, v) of the first token that is written of (b, s)."""
        return first(self, x)

    def encode(self, x: Array) -> Read:
        """What is to be remembered of tokens (b, s)."""
        x = x.astype(jnp.int32)
        mask = (x != 0)[:, None]
        y = self.source(x, jnp.arange(x.shape[1]))
        for layer in self.encoder:
            y = layer(y, mask)
        y = y if self.read_norm is None else self.read_norm(y)
        return Read(mask, tuple(layer.across.remember(y) for layer in self.decoder))

    def decode(self, source: Read, given: Array) -> Array:
        """Logits (b, t, v) of each token, given those before it (b, t)."""
        return self._logits(self._layers(source, given))

    def begin(self, source: Read, length: int) -> tuple[Memory, ...]:
        """Room for the keys and values of `length` tokens, by layer. Raises `UsageError` for more than there are places."""
        if self.target.places is not None and length > self.target.places.num_embeddings:
            raise UsageError(
                f"a text of {length} tokens is asked for, and this network knows {self.target.places.num_embeddings} places "
                "(model.learned_positions): lower --length"
            )

        def room(x: Array) -> Array:
            return jnp.zeros((x.shape[0], length, *x.shape[2:]), x.dtype)

        return tuple((room(keys), room(values)) for keys, values in source.memories)

    def step(self, source: Read, state: tuple[Memory, ...], token: Array, place: Array) -> tuple[tuple[Memory, ...], Array]:
        """The keys and values with those of the token (b,) at a place (), and the logits (b, v) of what follows it."""
        y = self.target(token[:, None], place[None])
        after = []
        for layer, memory, written in zip(self.decoder, source.memories, state, strict=True):
            y, written = layer.step(y, memory, source.mask, written, place)
            after.append(written)
        return tuple(after), self._logits(y)[:, 0]

    def attention(self, source: Read, given: Array) -> Array | None:
        """How much each token takes from each token of the source, in the last layer, mean of its heads: (b, t, s)."""
        y = self._layers(source, given, but=1)
        return self.decoder[-1].weights(y, source.memories[-1], source.mask).mean(1)

    def _layers(self, source: Read, given: Array, but: int = 0) -> Array:
        """(b, t, width) after all decoder layers but so many."""
        y = self.target(given, jnp.arange(given.shape[1]))
        for layer, memory in zip(self.decoder[: len(self.decoder) - but], source.memories, strict=False):
            y = layer(y, memory, source.mask)
        return y

    def _logits(self, y: Array) -> Array:
        return self.output(y if self.write_norm is None else self.write_norm(y))


class Embedding(nnx.Module):
    """Tokens and their places as features: (b, t), (t,) -> (b, t, width)."""

    def __init__(self, count: int, config: TransformerConfig, *, rngs: nnx.Rngs) -> None:
        self.width = config.width
        self.tokens = Embed(count, config.width, embedding_init=normal(config.width**-0.5), rngs=rngs)
        size = config.learned_positions
        self.places = None if size is None else Embed(size, config.width, embedding_init=normal(0.02), rngs=rngs)
        self.dropout = Dropout(config.dropout, rngs=rngs)

    def __call__(self, x: Array, places: Array) -> Array:
        """Of tokens (b, t) at places (t,)."""
        y = self.tokens(x) * self.width**0.5
        if self.places is None:
            at = waves(places, self.width)
        elif x.shape[1] > self.places.num_embeddings:
            raise ConfigError(
                f"model.learned_positions is {self.places.num_embeddings}, and sequences have up to {x.shape[1]} tokens: "
                "raise it"
            )
        else:
            at = self.places(places)
        return self.dropout(y + at.astype(y.dtype))


class EncoderLayer(nnx.Module):
    """Attention of each token to all of them, then a network of one hidden layer for each: (b, s, width) -> the same."""

    def __init__(self, config: TransformerConfig, *, rngs: nnx.Rngs) -> None:
        self.within = MultiHeadAttention(config.width, config.heads, rngs=rngs)
        self.feed = FeedForward(config, rngs=rngs)
        self.parts = nnx.List([Residual(config, rngs=rngs) for _ in range(2)])

    def __call__(self, x: Array, mask: Array) -> Array:
        """`mask` (b, 1, s) says where there is a token."""
        x = self.parts[0](x, lambda y: self.within(y, *self.within.remember(y), mask))
        return self.parts[1](x, self.feed)


class DecoderLayer(nnx.Module):
    """Attention to what was written, attention to what was read, then a network for each: (b, t, width) -> the same."""

    def __init__(self, config: TransformerConfig, *, rngs: nnx.Rngs) -> None:
        self.within = MultiHeadAttention(config.width, config.heads, rngs=rngs)
        self.across = MultiHeadAttention(config.width, config.heads, rngs=rngs)
        self.feed = FeedForward(config, rngs=rngs)
        self.parts = nnx.List([Residual(config, rngs=rngs) for _ in range(3)])

    def __call__(self, x: Array, memory: Memory, mask: Array) -> Array:
        """`memory` and `mask` (b, 1, s) are of what was read."""
        x = self._look_back(x)
        x = self.parts[1](x, lambda y: self.across(y, *memory, mask))
        return self.parts[2](x, self.feed)

    def step(self, x: Array, memory: Memory, mask: Array, written: Memory, place: Array) -> tuple[Array, Memory]:
        """One token (b, 1, width): what becomes of it, and what was written with its keys and values at a place ()."""
        new = self.within.remember(self.parts[0].seen(x))
        keys, values = (lax.dynamic_update_index_in_dim(a, b, place, 1) for a, b in zip(written, new, strict=True))
        seen = (jnp.arange(keys.shape[1]) <= place)[None, None]
        x = self.parts[0](x, lambda y: self.within(y, keys, values, seen))
        x = self.parts[1](x, lambda y: self.across(y, *memory, mask))
        return self.parts[2](x, self.feed), (keys, values)

    def weights(self, x: Array, memory: Memory, mask: Array) -> Array:
        """How much each token takes from each one read: (b, n, t, s)."""
        return self.across.weights(self.parts[1].seen(self._look_back(x)), memory[0], mask)

    def _look_back(self, x: Array) -> Array:
        mask = causal_mask(x.shape[1])
        return self.parts[0](x, lambda y: self.within(y, *self.within.remember(y), mask))


class FeedForward(nnx.Module):
    """Two affine maps with a ReLU between them, for each place: (b, t, width) -> the same."""

    def __init__(self, config: TransformerConfig, *, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(config.width, config.feed_forward, kernel_init=glorot_uniform(), rngs=rngs)
        self.second = nnx.Linear(config.feed_forward, config.width, kernel_init=glorot_uniform(), rngs=rngs)

    def __call__(self, x: Array) -> Array:
        """(b, t, width) -> the same."""
        return self.second(jax.nn.relu(self.first(x)))


class Residual(nnx.Module):
    """What goes around a part: x + dropout(part(norm(x))), or norm(x + dropout(part(x))) without `norm_first`."""

    def __init__(self, config: TransformerConfig, *, rngs: nnx.Rngs) -> None:
        self.norm, self.before = _norm(config, rngs), config.norm_first
        self.dropout = Dropout(config.dropout, rngs=rngs)

    def __call__(self, x: Array, part: Callable[[Array], Array]) -> Array:
        """(b, t, width) -> the same."""
        y = x + self.dropout(part(self.seen(x)))
        return y if self.before else self.norm(y)

    def seen(self, x: Array) -> Array:
        """What the part is given."""
        return self.norm(x) if self.before else x


def waves(places: Array, width: int) -> Array:
    """Sines (even features) and cosines (odd ones) of places (t,), wavelengths from 2 pi to 10,000 * 2 pi: (t, width) float32."""
    rates = _WAVELENGTH ** (-np.arange(0, width, 2) / width)
    angles = places[:, None].astype(jnp.float32) * rates.astype(np.float32)
    return jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1).reshape(places.shape[0], width)


def _norm(config: TransformerConfig, rngs: nnx.Rngs) -> nnx.LayerNorm:
    return nnx.LayerNorm(config.width, epsilon=1e-5, rngs=rngs)
