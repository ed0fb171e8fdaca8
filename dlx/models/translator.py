"""What the task `seq2seq` asks of a network: read once, then write token by token, or all tokens of a reference at once."""

from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from jax import Array

from dlx.errors import ConfigError
from dlx.models.shapes import Features, Tokens

_BEGIN = 2  # as in `dlx.data.tokens`, of which networks know nothing


@runtime_checkable
class Translator(Protocol):
    """A network that writes a sequence of tokens of what it reads. Any module with these methods is one.

    What is read and the state of writing are trees of arrays with a leading axis for the examples, so that each can be had for
    several hypotheses. Letters in the shapes: b examples, t tokens written, s places read, v different tokens.
    """

    def encode(self, x: Array) -> Any:
        """What is to be remembered of inputs (b, ...)."""
        ...

    def decode(self, source: Any, given: Array) -> Array:
        """Logits (b, t, v) of each token, given those before it: `given` (b, t) begins with BEGIN."""
        ...

    def begin(self, source: Any, length: int) -> Any:
        """The state before the first of at most `length` tokens."""
        ...

    def step(self, source: Any, state: Any, token: Array, place: Array) -> tuple[Any, Array]:
        """The next state and the logits (b, v) of the token at a place (), given the one before it (b,)."""
        ...

    def attention(self, source: Any, given: Array) -> Array | None:
        """How much each token takes from each place: (b, t, s); None for a network without attention."""
        ...


def tokens(in_features: Features, kind: str) -> Tokens:
    """The tokens that are read. Raises `ConfigError` when the examples are something else."""
    if not isinstance(in_features, Tokens):
        raise ConfigError(
            f"model.kind={kind} reads tokens and the data has numbers: use data.kind=text-pairs, or for images "
            "model.kind=captioner"
        )
    return in_features


def first(network: Translator, x: Array) -> Array:
    """Logits (b, 1, v) of the first token of what is written of inputs (b, ...): a pass through all layers once."""
    source = network.encode(x)
    return network.decode(source, jnp.full((x.shape[0], 1), _BEGIN, jnp.int32))
