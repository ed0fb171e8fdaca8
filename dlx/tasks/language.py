"""Language models: each next token of a text, by truncated backpropagation through time with a state that is carried on."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dlx.config import Experiment
from dlx.config.task import Language
from dlx.data import Spec
from dlx.data.tokens import BEGIN, PAD
from dlx.errors import ConfigError, UsageError
from dlx.models.language import LanguageModel
from dlx.optim import penalty
from dlx.tasks.decoding import drawing, greedy
from dlx.tasks.descent import Descent
from dlx.tasks.network import Network, in_features, widened
from dlx.tasks.state import Asked, Batch, Examined, Key, LearnerState, Sums, summed
from dlx.tasks.token_scores import of_sequences, token_scores


class Reading(NamedTuple):
    """Where the streams of a batch stand."""

    batches: jax.Array
    """() int32: how many were read, in training since it began."""
    carry: Any
    """The network's state after the last of them, each array (b, ...)."""


class LanguageModelling(Descent, Examined):
    """Inputs are windows of a text (b, t), targets the same tokens one place on (b, t), 0 where there is none.

    Place i of a batch goes on where it ended in the last batch (`Order("streams")`), and so does the network's state, without
    a gradient through it. It is the network's own first state where an epoch begins, and where scoring does; with `carry: false` at
    the beginning of every window.
    """

    scores = {"loss": False, "perplexity": False, "bits": False, "accuracy": True}
    running_scores = ("loss", "perplexity", "bits", "accuracy")

    def __init__(self, config: Language, spec: Spec, total_steps: int, steps_per_epoch: int) -> None:
        if not spec.tokens or (spec.tokens, *spec.input_shape) != (spec.outputs, spec.target_length):
            raise ConfigError("task.kind=language reads one text as a stream: use data.kind=text; for pairs task.kind=seq2seq")
        super().__init__(Network(in_features(spec), spec.outputs), total_steps, steps_per_epoch)
        self.carries = config.carry

    def check(self, config: Experiment, params: Any, rest: Any, example: Batch, key: Key) -> None:
        """Raises `ConfigError` for a network that cannot read on, or does not say something of every token."""
        self.network.check_can(LanguageModel, config, params, rest, key)

        def logits(inputs: jax.Array) -> jax.Array:
            return self._read(config, params, rest, None, inputs, key, train=True)[0]

        found, wanted = jax.eval_shape(logits, example.inputs).shape, (*example.inputs.shape, self.network.outputs)
        if found != wanted:
            name = vars(config.model).get("target", config.model.kind)
            raise ConfigError(f"model {name} turns tokens {example.inputs.shape} into {found}; this data needs {wanted}")

    def memory(self, config: Experiment, batch_size: int) -> Any:
        """No batch read; in the place of the state, which is then the network's own first one, zeros."""
        if not self.carries:
            return ()

        def begin(model: nnx.Module) -> Any:
            assert isinstance(model, LanguageModel)
            return model.begin(batch_size)

        def shapes() -> Any:
            key = jax.random.key(0)
            return self.network.using(config, *self.network.init(config, key), key, begin, train=False)[0]

        def empty(leaf: jax.ShapeDtypeStruct) -> jax.Array:
            # Where JAX computes in float64, so is the state: a gradient check would else find a loss that is float32 in part.
            wide = jnp.issubdtype(leaf.dtype, jnp.floating)
            return jnp.zeros(leaf.shape, jnp.promote_types(leaf.dtype, jnp.zeros(()).dtype) if wide else leaf.dtype)

        carry = jax.tree.map(empty, jax.eval_shape(shapes))
        return Reading(jnp.zeros((), jnp.int32), carry)

    def loss(
        self, config: Experiment, params: Any, rest: Any, memory: Any, batch: Batch, key: Key, *, train: bool
    ) -> tuple[jax.Array, tuple[Any, Any, Sums]]:
        """The mean over all tokens of the cross-entropy in nats, plus the penalties."""
        # Where an epoch begins, so do the streams.
        before = memory._replace(batches=memory.batches % self.steps_per_epoch) if self.carries else None
        logits, carry, statistics = self._read(config, params, rest, before, batch.inputs, key, train=train)
        sums = summed(of_sequences(token_scores(logits, batch.targets)), batch.weight)
        value = sums["loss"] / jnp.maximum(sums["tokens"], 1)
        after = Reading(memory.batches + 1, carry) if self.carries else ()
        return value + penalty(config.optimizer, params), (statistics, after, sums)

    def each_token(self, config: Experiment, state: LearnerState, batch: Batch, key: Key) -> tuple[Any, Sums]:
        """Of each token of the windows, read on from the windows before: its nats, whether it is one and not padding, and whether it
        was guessed, all (b, t); and the memory after them.
        """
        before = state.memory if self.carries else None
        logits, carry, _ = self._read(config, state.params, state.rest, before, batch.inputs, key, train=False)
        after = Reading(state.memory.batches + 1, carry) if self.carries else ()
        return after, token_scores(logits, batch.targets)

    def examine(self, config: Experiment, state: LearnerState, batch: Batch, key: Key) -> tuple[Any, Sums]:
        """Each window's nats, tokens and rightly guessed tokens (b,), read on from the windows before."""
        memory, each = self.each_token(config, state, batch, key)
        return memory, of_sequences(each)

    def metrics(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Of a token: `loss` in nats, `bits` (of characters: bits per character), `perplexity`, the exponential of the loss, and
        `accuracy`, how often the likeliest one comes.
        """
        tokens = float(sums["tokens"])
        loss = float(sums["loss"]) / tokens
        return {
            "loss": loss,
            "perplexity": float(np.exp(loss)),
            "bits": loss / float(np.log(2)),
            "accuracy": float(sums["correct"]) / tokens,
        }

    def predict(self, config: Experiment, state: LearnerState, inputs: jax.Array, key: Key) -> jax.Array:
        """Logits (b, t, v) of what follows each token, each window read by itself."""
        return self._read(config, state.params, state.rest, None, inputs, key, train=False)[0]

    def generate(self, config: Experiment, state: LearnerState, key: Key, asked: Asked) -> jax.Array:
        """Texts (count, length) that begin with the prompt, drawn token by token; at temperature 0 always the likeliest one.

        Without a prompt the first token is drawn by what the network's last layers make of zeros: as it has read nothing.
        """
        rows, prompt = asked.count, np.zeros(0, np.int32) if asked.prompt is None else np.asarray(asked.prompt, np.int32)
        if len(prompt) >= asked.length:
            raise UsageError(
                f"the prompt has {len(prompt)} tokens and the text is to have {asked.length}: ask for a longer one"
            )
        choose = drawing(key, asked.temperature, asked.top_k) if asked.temperature else greedy
        begun = jnp.tile(prompt, (rows, 1))

        def written(model: nnx.Module) -> jax.Array:
            assert isinstance(model, LanguageModel)

            def one(now: tuple[Any, jax.Array], place: jax.Array) -> tuple[tuple[Any, jax.Array], jax.Array]:
                carry, logits = now
                token = choose(_writable(logits), place)
                said, after = model.states(token[:, None], carry)
                return (_in_types_of(carry, after), widened(model.outputs(said[:, -1]))), token

            carry, said = model.begin(rows), jnp.zeros((rows, 1, model.features), jnp.float32)
            if len(prompt):
                said, after = model.states(begun, carry)
                carry = _in_types_of(carry, after)
            start = carry, widened(model.outputs(said[:, -1]))
            _, tokens = jax.lax.scan(one, start, jnp.arange(len(prompt), asked.length))
            return jnp.concatenate([begun, tokens.T], axis=1)

        return self.network.using(config, state.params, state.rest, key, written, train=False)[0]

    def _read(
        self, config: Experiment, params: Any, rest: Any, before: Reading | None, inputs: jax.Array, key: Key, *, train: bool
    ) -> tuple[jax.Array, Any, Any]:
        """Logits (b, t, v) in float32 or wider, the state after the windows, and the new statistics.

        Streams of which nothing was read, and windows by themselves (`before` is None), begin with the network's first state.
        """

        def read(model: nnx.Module) -> tuple[jax.Array, Any]:
            assert isinstance(model, LanguageModel)
            carry = model.begin(len(inputs))
            if before is not None:
                new = before.batches == 0
                carry = jax.tree.map(lambda first, last: jnp.where(new, first, last), carry, before.carry)
            said, after = model.states(inputs, carry)
            return widened(model.outputs(said)), after if before is None else _in_types_of(before.carry, after)

        (logits, after), statistics = self.network.using(config, params, rest, key, read, train=train)
        return logits, after, statistics


def _writable(logits: jax.Array) -> jax.Array:
    """Logits (b, v) without the tokens that no text has."""
    return logits.at[:, jnp.array([PAD, BEGIN])].set(-jnp.inf)


def _in_types_of(before: Any, after: Any) -> Any:
    """A state in the types that it had: what is computed in another precision is carried on in the same."""
    return jax.tree.map(lambda old, new: new.astype(old.dtype), before, after)
