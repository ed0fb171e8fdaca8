"""Recurrent networks: simple, LSTM and GRU layers, stacked, in one direction or both."""

from itertools import pairwise
from typing import Final, assert_never

import jax.numpy as jnp
from flax import nnx
from jax import Array

from dlx.config.sequence_model import Rnn as RnnConfig
from dlx.errors import ConfigError
from dlx.models.activations import activation
from dlx.models.initializers import initializer
from dlx.models.shapes import Features, Tokens, series
from dlx.nn import Dropout, Embed
from dlx.nn.recurrent import Carry, Recurrent

_PAD: Final = 0


class Rnn(nnx.Module):
    """Recurrent layers over tokens, series or the rows of images; what they make of all steps is pooled to one vector.

    Letters in the shapes: b examples, t steps, h hidden units. Padding behind a text changes nothing.
    """

    def __init__(self, in_features: Features, out_features: int, config: RnnConfig, *, rngs: nnx.Rngs) -> None:
        init = initializer(config.init)
        if isinstance(in_features, Tokens):
            features = config.embedding
            self.embedding = Embed(in_features.count, features, rngs=rngs)
            self.embedding_dropout = Dropout(config.embedding_dropout, rngs=rngs)
        else:
            _, features = series(in_features, "rnn")
            self.embedding = self.embedding_dropout = None
        directions = 2 if config.bidirectional else 1
        self.features = directions * config.hidden
        """Of what the last layer says of one step."""
        self.bidirectional, self.pool = config.bidirectional, config.pool
        widths = (features, *(self.features,) * (config.layers - 1))
        self.layers = nnx.List([_Layer(width, config, rngs=rngs) for width in widths])
        self.dropout = nnx.List([Dropout(config.dropout, rngs=rngs) for _ in widths[1:]])
        dense = (self.features, *config.dense)
        self.dense = nnx.List([nnx.Linear(a, b, kernel_init=init, rngs=rngs) for a, b in pairwise(dense)])
        self.dense_dropout = nnx.List([Dropout(config.dropout, rngs=rngs) for _ in dense])
        self.activation = activation(config.activation)
        self.output = nnx.Linear(dense[-1], out_features, kernel_init=init, rngs=rngs)
        self.skipped = _require_steps(in_features, config.skip)
        # It begins with zeros: at first the recurrent layers alone predict.
        zeros = initializer("zeros")
        self.skip = (
            nnx.Linear(config.skip * features, out_features, use_bias=False, kernel_init=zeros, rngs=rngs)
            if config.skip
            else None
        )

    def __call__(self, x: Array) -> Array:
        """Series (b, t, ...) or tokens (b, t) -> (b, out_features)."""
        x, lengths = self._sequence(x)
        outputs, _, end = self._layers(x, None, lengths)
        y = self.outputs(self._pooled(outputs, end, lengths))
        return y if self.skip is None else y + self.skip(x[:, -self.skipped :].reshape(x.shape[0], -1))

    def begin(self, batch_size: int) -> tuple[Carry, ...]:
        """The state of each layer before the first step: zeros. Raises `ConfigError` for a network that also reads backwards, or pools."""
        self._require_one_direction()
        if self.pool != "last":
            raise ConfigError(
                f"model.pool={self.pool} makes one vector of all steps, and here something is said of each step: set it to last"
            )
        return tuple(layer.forward.initial_carry(batch_size) for layer in self.layers)

    def states(self, x: Array, carry: tuple[Carry, ...]) -> tuple[Array, tuple[Carry, ...]]:
        """What the last layer says of every step, (b, t, h), reading on from the state of each layer; and their states after it.

        All steps are read, padding too. `outputs` makes predictions of it. Raises `ConfigError` for a network that also reads backwards.
        """
        self._require_one_direction()
        outputs, after, _ = self._layers(self._sequence(x)[0], carry, None)
        return outputs, after

    def outputs(self, x: Array) -> Array:
        """The fully connected layers: (..., features) -> (..., out_features)."""
        for drop, layer in zip(self.dense_dropout, self.dense, strict=False):
            x = self.activation(layer(drop(x)))
        return self.output(self.dense_dropout[-1](x))

    def _sequence(self, x: Array) -> tuple[Array, Array | None]:
        """Steps as vectors (b, t, features), and how many there are of each example (b,), if not all."""
        if self.embedding is None or self.embedding_dropout is None:
            return x.reshape(*x.shape[:2], -1), None
        tokens = x.astype(jnp.int32)  # a gradient check hands them over as floats
        lengths = jnp.max(jnp.where(tokens != _PAD, jnp.arange(1, tokens.shape[1] + 1), 0), axis=1)
        # The layer remembers the type that it was made with, which is float32.
        vectors = self.embedding(tokens).astype(self.embedding.embedding[...].dtype)
        return self.embedding_dropout(vectors), lengths

    def _layers(
        self, x: Array, carry: tuple[Carry, ...] | None, lengths: Array | None
    ) -> tuple[Array, tuple[Carry, ...], Array]:
        """Of the last layer what it says of each step (b, t, features) and where it ends (b, features); the states of all, forwards."""
        after: list[Carry] = []
        end = x[:, -1]
        for number, layer in enumerate(self.layers):
            if number:
                x = self.dropout[number - 1](x)
            x, last, end = layer(x, None if carry is None else carry[number], lengths)
            after.append(last)
        return x, tuple(after), end

    def _pooled(self, outputs: Array, end: Array, lengths: Array | None) -> Array:
        """One vector (b, features) of the steps (b, t, features) that an example has; of an example without any it is zeros."""
        count = jnp.full((1,), outputs.shape[1]) if lengths is None else lengths
        live = (jnp.arange(outputs.shape[1]) < count[:, None])[..., None]
        match self.pool:
            case "last":
                return end
            case "mean":
                total = jnp.sum(jnp.where(live, outputs, 0), axis=1, dtype=jnp.promote_types(outputs.dtype, jnp.float32))
                return (total / jnp.maximum(count, 1)[:, None]).astype(outputs.dtype)
            case "max":
                largest = jnp.max(jnp.where(live, outputs, jnp.finfo(outputs.dtype).min), axis=1)
                return jnp.where(count[:, None] > 0, largest, 0)
            case _:
                assert_never(self.pool)

    def _require_one_direction(self) -> None:
        if self.bidirectional:
            raise ConfigError("model.bidirectional reads from the end too, and here the end is not known: set it to false")


class _Layer(nnx.Module):
    """A recurrent layer, or two of opposite directions side by side."""

    def __init__(self, in_features: int, config: RnnConfig, *, rngs: nnx.Rngs) -> None:
        init = initializer(config.init)
        self.forward = Recurrent(in_features, config.hidden, cell=config.cell, kernel_init=init, rngs=rngs)
        self.backward = (
            Recurrent(in_features, config.hidden, cell=config.cell, reverse=True, kernel_init=init, rngs=rngs)
            if config.bidirectional
            else None
        )

    def __call__(self, x: Array, carry: Carry | None, lengths: Array | None) -> tuple[Array, Carry, Array]:
        """Outputs (b, t, features), the state forwards, and the outputs (b, features) at the end, for either direction its own."""
        outputs, after = self.forward(x, carry, lengths)
        end = _output(after).astype(outputs.dtype)
        if self.backward is None:
            return outputs, after, end
        others, before = self.backward(x, None, lengths)
        return (
            jnp.concatenate([outputs, others], -1),
            after,
            jnp.concatenate([end, _output(before).astype(outputs.dtype)], -1),
        )


def _output(carry: Carry) -> Array:
    """What a layer says in a state: (b, h)."""
    return carry[1] if isinstance(carry, tuple) else carry


def _require_steps(in_features: Features, skip: int) -> int:
    """`skip`, where the examples are series of so many steps or more. Raises `ConfigError` where they are not."""
    if skip and (isinstance(in_features, Tokens) or skip > series(in_features, "rnn")[0]):
        found = "tokens" if isinstance(in_features, Tokens) else f"series of {series(in_features, 'rnn')[0]} steps"
        raise ConfigError(
            f"model.skip={skip} takes that many last steps of a series, and the data has {found}: lower it, or set it to 0"
        )
    return skip
