"""What the task `language` asks of a network: read on from a state, and say of every token what may come after it."""

from typing import Any, Protocol, runtime_checkable

from jax import Array


@runtime_checkable
class LanguageModel(Protocol):
    """A network that reads tokens one after the other. Any module with these methods is one.

    A state is a tree of arrays with a leading axis for the examples. Letters in the shapes: b examples, t tokens, h features of
    what the network makes of a token, v different tokens.
    """

    features: int
    """h."""

    def begin(self, batch_size: int) -> Any:
        """The state before the first token."""
        ...

    def states(self, x: Array, carry: Any) -> tuple[Array, Any]:
        """What the network makes of each of the tokens (b, t), given those before it: (b, t, h); and the state after them."""
        ...

    def outputs(self, x: Array) -> Array:
        """Logits (..., v) of the token that comes next, from what was made of one (..., h)."""
        ...
