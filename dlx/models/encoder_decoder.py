"""The recurrent encoder-decoder (Cho et al. 2014, Sutskever et al. 2014), with attention (Bahdanau et al. 2015, Luong et al. 2015)."""

import jax.numpy as jnp
from flax import nnx
from jax import Array

from dlx.config.translation_model import EncoderDecoder as EncoderDecoderConfig
from dlx.models.recurrent_decoder import Read, RecurrentDecoder, RecurrentTranslator
from dlx.models.shapes import Features
from dlx.models.translator import tokens
from dlx.nn import Dropout, Embed
from dlx.nn.recurrent import Carry, Recurrent


class Encoder(nnx.Module):
    """Recurrent layers over tokens: (b, s) -> states (b, s, f) and the last ones of the last layer, (b, f)."""

    def __init__(self, count: int, config: EncoderDecoderConfig, *, rngs: nnx.Rngs) -> None:
        directions = 2 if config.bidirectional else 1
        self.features = directions * config.hidden
        self.embedding = Embed(count, config.embedding, rngs=rngs)
        self.dropout = nnx.List([Dropout(config.dropout, rngs=rngs) for _ in range(config.layers)])
        sizes = (config.embedding, *(self.features,) * (config.layers - 1))
        self.layers = nnx.List(
            [
                nnx.List(
                    [
                        Recurrent(size, config.hidden, cell=config.cell, reverse=back > 0, rngs=rngs)
                        for back in range(directions)
                    ]
                )
                for size in sizes
            ]
        )

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Padding at the end, 0, is not read: states there are zeros."""
        lengths = (x != 0).sum(-1)
        y, last = self.embedding(x), []
        for drop, layer in zip(self.dropout, self.layers, strict=True):
            y = drop(y)
            found = [direction(y, lengths=lengths) for direction in layer]
            y = jnp.concatenate([outputs for outputs, _ in found], axis=-1)
            last = [_output(carry) for _, carry in found]
        return y, jnp.concatenate(last, axis=-1).astype(y.dtype)


class EncoderDecoder(RecurrentTranslator):
    """A `Translator`: from tokens (b, s) to tokens."""

    def __init__(self, in_features: Features, out_features: int, config: EncoderDecoderConfig, *, rngs: nnx.Rngs) -> None:
        _, count = tokens(in_features, config.kind)
        self.encoder = Encoder(count, config, rngs=rngs)
        features = self.encoder.features
        self.decoder = RecurrentDecoder(
            features,
            features,
            out_features,
            cell=config.cell,
            embedding=config.embedding,
            hidden=config.hidden,
            layers=config.layers,
            attention=config.attention,
            dropout=config.dropout,
            rngs=rngs,
        )

    def encode(self, x: Array) -> Read:
        """What is to be remembered of tokens (b, s)."""
        x = x.astype(jnp.int32)
        states, last = self.encoder(x)
        return self.decoder.read(states, x != 0, last)


def _output(carry: Carry) -> Array:
    """What a layer's cell shows of its state: (b, h)."""
    return carry[-1] if isinstance(carry, tuple) else carry
