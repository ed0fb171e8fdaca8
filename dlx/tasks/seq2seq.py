"""Sequences of tokens of what a network reads: translation, captions. One token after the other, each given those before it."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dlx.config import Experiment
from dlx.config.task import Seq2Seq
from dlx.data import Spec
from dlx.data.tokens import BEGIN, END, PAD, UNKNOWN
from dlx.errors import UsageError
from dlx.models.translator import Translator
from dlx.optim import penalty
from dlx.tasks.bleu import corpus_bleu, ngram_matches
from dlx.tasks.decoding import beam_search, drawing, repeated, write
from dlx.tasks.descent import Descent
from dlx.tasks.network import Network, in_features, narrowed, widened
from dlx.tasks.shortening import ladder, longest, shortened, shortened_loss
from dlx.tasks.state import Asked, Batch, Examined, Key, LearnerState, Sums, summed
from dlx.tasks.token_scores import of_sequences, token_scores


class SequenceToSequence(Descent, Examined):
    """Inputs are tokens (b, s) or images, targets tokens (b, t), both ending in END and padded with 0.

    Training gives the network the reference up to each token (teacher forcing), or some of its own guesses in it. With
    `teacher_forcing` the memory is the number of steps taken.
    """

    def __init__(self, config: Seq2Seq, spec: Spec, total_steps: int, steps_per_epoch: int) -> None:
        super().__init__(Network(in_features(spec), spec.outputs), total_steps, steps_per_epoch)
        self.length, self.reads_tokens = spec.target_length, spec.tokens > 0
        self.source_length = spec.input_shape[0] if self.reads_tokens else 0
        self.lengths = ladder(max(self.length, self.source_length))
        self.forces = config.teacher_forcing is None
        self.translates, self.beams = config.translate, config.beams
        written = {"bleu": True, "exact": True} if self.translates else {}
        self.scores = {"loss": False, **written, "accuracy": True, "perplexity": False}
        self.running_scores = ("loss", "accuracy", "perplexity")

    def check(self, config: Experiment, params: Any, rest: Any, example: Batch, key: Key) -> None:
        """Raises `ConfigError` for a network that does not write sequences."""
        del example
        self.network.check_can(Translator, config, params, rest, key)

    def memory(self, config: Experiment, batch_size: int) -> Any:
        """The number of steps taken, where the share of own guesses grows with it."""
        del config, batch_size
        return () if self.forces else jnp.zeros((), jnp.int32)

    def loss(
        self, config: Experiment, params: Any, rest: Any, memory: Any, batch: Batch, key: Key, *, train: bool
    ) -> tuple[jax.Array, tuple[Any, Any, Sums]]:
        """The mean over all tokens of the smoothed cross-entropy, plus the penalties. The sums have it without smoothing."""

        def of_length(length: int, params: Any, inputs: jax.Array) -> tuple[jax.Array, tuple[Any, Sums]]:
            short = self._cut(batch._replace(inputs=inputs), length)

            def logits(model: nnx.Module) -> jax.Array:
                assert isinstance(model, Translator)
                source = model.encode(narrowed(config, short.inputs))
                given = _before(short.targets)
                if train and not self.forces:
                    guesses = jnp.argmax(model.decode(source, given), -1).astype(jnp.int32)
                    given = self._mixed(config, memory, given, _before(guesses), jax.random.fold_in(key, 1))
                return widened(model.decode(source, given))

            found, statistics = self.network.using(config, params, rest, key, logits, train=train)
            scores = token_scores(found, short.targets)
            smoothed = _smoothed(found, scores, _options(config).label_smoothing)
            sums = summed(of_sequences(scores), short.weight)
            value = jnp.sum(jnp.where(short.weight > 0, smoothed * short.weight, 0)) / jnp.maximum(sums["tokens"], 1)
            return value, (statistics, sums)

        value, (statistics, sums) = shortened_loss(self.lengths, self._needed(batch), of_length, params, batch.inputs)
        after = memory if self.forces or not train else memory + 1
        return value + penalty(config.optimizer, params), (statistics, after, sums)

    def examine(self, config: Experiment, state: LearnerState, batch: Batch, key: Key) -> tuple[Any, Sums]:
        """Each example's nats, tokens and right tokens given the reference; and of what is written without it, whether it is
        the reference, and the counts behind BLEU.
        """

        def of_length(length: int, batch: Batch) -> Sums:
            short = self._cut(batch, length)

            def logits(model: nnx.Module) -> jax.Array:
                assert isinstance(model, Translator)
                return widened(model.decode(model.encode(narrowed(config, short.inputs)), _before(short.targets)))

            found, _ = self.network.using(config, state.params, state.rest, key, logits, train=False)
            return of_sequences(token_scores(found, short.targets))

        each = shortened(self.lengths, self._needed(batch), of_length, batch)
        if self.translates:
            said = self._written(config, state, batch.inputs, key)
            # Nothing is right where a word is not known, as in BLEU.
            right = (said == batch.targets) & (batch.targets != UNKNOWN)
            each |= {"exact": jnp.all(right, -1).astype(jnp.float32)} | ngram_matches(said, batch.targets)
        return state.memory, each

    def metrics(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """`loss` in nats a token, `perplexity` (its exponential) and `accuracy` of tokens given the reference before them;
        `exact`, the share of sequences written without a mistake, and `bleu` in 0..100.
        """
        tokens = float(sums["tokens"])
        loss = float(sums["loss"]) / tokens
        metrics = {"loss": loss, "accuracy": float(sums["correct"]) / tokens, "perplexity": float(np.exp(loss))}
        if "exact" in sums:
            metrics["bleu"] = corpus_bleu(sums["matches"], sums["ngrams"], float(sums["said"]), float(sums["wanted"]))
            metrics["exact"] = float(sums["exact"]) / float(sums["count"])
        return metrics

    def predict(self, config: Experiment, state: LearnerState, inputs: jax.Array, key: Key) -> jax.Array:
        """What is written of inputs (b, ...): tokens (b, t) int32."""
        return self._written(config, state, inputs, key)

    def generate(self, config: Experiment, state: LearnerState, key: Key, asked: Asked) -> jax.Array:
        """Sequences (count, length) of one source, `asked.prompt` (tokens,). Temperature 0 writes the best one, as `predict` does.

        Raises `UsageError` without a prompt, for one longer than all that training read, and for what the best sequence leaves open.
        """
        if not self.reads_tokens:
            raise UsageError("a network that describes images needs an image: `dlx predict` gives it some")
        if asked.prompt is None:
            raise UsageError("a translator needs something to translate: give it a prompt")
        if asked.temperature == 0 and (asked.count > 1 or asked.top_k is not None):
            raise UsageError(
                "at temperature 0 nothing is drawn, and there is one best sequence: set --temperature above 0, or leave out "
                "--top-k and the count"
            )
        room = self.source_length
        words = [int(token) for token in asked.prompt if token not in (PAD, END)]
        if len(words) >= room:
            raise UsageError(
                f"the prompt has {len(words)} tokens, and this network has learned to read at most {room - 1}: give it a shorter one"
            )
        source = np.full((asked.count, room), PAD, np.int32)
        source[:, : len(words) + 1] = [*words, END]
        length = asked.length or self.length
        if asked.temperature == 0:
            return self._written(config, state, jnp.asarray(source), key, length)

        def drawn(model: nnx.Module) -> jax.Array:
            assert isinstance(model, Translator)
            read = model.encode(jnp.asarray(source))
            choose = drawing(key, asked.temperature, asked.top_k)
            return write(_stepping(model, read), model.begin(read, length), asked.count, length, choose)

        return self.network.using(config, state.params, state.rest, key, drawn, train=False)[0]

    def attention(
        self, config: Experiment, state: LearnerState, inputs: jax.Array, tokens: jax.Array, key: Key
    ) -> jax.Array | None:
        """How much each of the tokens (b, t) takes from each place of the inputs: (b, t, s); None without attention."""

        def looked(model: nnx.Module) -> jax.Array | None:
            assert isinstance(model, Translator)
            return model.attention(model.encode(narrowed(config, inputs)), _before(tokens))

        return self.network.using(config, state.params, state.rest, key, looked, train=False)[0]

    def _needed(self, batch: Batch) -> jax.Array:
        sequences = (batch.inputs, batch.targets) if self.reads_tokens else (batch.targets,)
        return longest(*(jax.lax.stop_gradient(each).astype(jnp.int32) for each in sequences))

    def _cut(self, batch: Batch, length: int) -> Batch:
        inputs = batch.inputs[:, :length] if self.reads_tokens else batch.inputs
        return batch._replace(inputs=inputs, targets=batch.targets[:, :length])

    def _mixed(self, config: Experiment, steps: jax.Array, given: jax.Array, guesses: jax.Array, key: Key) -> jax.Array:
        """The reference with own guesses in it, (b, t), by the share that the schedule has after so many steps.

        The guesses are those given the reference before them (Mihaylova and Martins 2019), so that all are made in one pass.
        """
        end = _options(config).teacher_forcing
        assert end is not None
        share = (1 - end) * jnp.minimum(steps / self.total_steps, 1)
        own = jax.random.bernoulli(key, share, given.shape) & (given != PAD) & (given != BEGIN)
        return jnp.where(own, guesses, given)

    def _written(
        self, config: Experiment, state: LearnerState, inputs: jax.Array, key: Key, length: int | None = None
    ) -> jax.Array:
        """The sequences (b, t) that the network writes, by beam search if the task has several beams."""
        rows, length = len(inputs), length or self.length

        def written(model: nnx.Module) -> jax.Array:
            assert isinstance(model, Translator)
            source = model.encode(narrowed(config, inputs))
            if self.beams == 1:
                return write(_stepping(model, source), model.begin(source, length), rows, length)
            source = repeated(source, self.beams)
            step, state, worth = _stepping(model, source), model.begin(source, length), _options(config).length_penalty
            return beam_search(step, state, rows, length, self.beams, worth).tokens[:, 0]

        return self.network.using(config, state.params, state.rest, key, written, train=False)[0]


def _stepping(model: Translator, source: Any) -> Any:
    def step(state: Any, token: jax.Array, place: jax.Array) -> tuple[Any, jax.Array]:
        state, logits = model.step(source, state, token, place)
        return state, widened(logits)

    return step


def _options(config: Experiment) -> Seq2Seq:
    assert isinstance(config.task, Seq2Seq)
    return config.task


def _before(targets: jax.Array) -> jax.Array:
    """What stands before each token (b, t): BEGIN, then the tokens but the last."""
    return jnp.concatenate([jnp.full_like(targets[:, :1], BEGIN), targets[:, :-1]], axis=1)


def _smoothed(logits: jax.Array, each: Sums, smoothing: jax.Array | float) -> jax.Array:
    """Each example's nats (b,) against targets of which a share is spread over all tokens; `each` are its scores by token (b, t)."""
    # A mean of the two, without an array of the targets.
    spread = jax.nn.logsumexp(logits, -1) - logits.mean(-1)
    return ((1 - smoothing) * each["loss"] + smoothing * spread * each["tokens"]).sum(-1)
