"""Restricted Boltzmann machines: contrastive divergence, from the data or from chains that go on.

What training minimizes is the free energy of the data less that of samples, which are held still: its gradient is the update of
contrastive divergence, <v h> of the data less <v h> of the samples. So every optimizer, schedule and penalty serves a machine too.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, assert_never

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dlx.config import Experiment, energy_model
from dlx.config.energy_task import Binarize, Boltzmann
from dlx.data import Spec
from dlx.data.augment import augment
from dlx.errors import ConfigError, UsageError
from dlx.models.boltzmann import ENUMERABLE, Layer, drawn
from dlx.nn.estimator import passed_straight_through
from dlx.optim import penalty
from dlx.tasks.descent import Descent
from dlx.tasks.network import Network, in_features
from dlx.tasks.state import Asked, Batch, Examined, Key, LearnerState, Sums, summed

POSITIONS = 8
"""Visible units of each example whose conditional likelihoods make its pseudo-likelihood."""
CHAIN = 1000
"""Gibbs steps from random units to a sample."""
SEARCHES: Final = ("lbfgs", "polyak_sgd")
"""Optimizers that look at the value of the loss, which means nothing here."""


class ContrastiveDivergence(Descent, Examined):
    """One machine on data without targets."""

    def __init__(self, spec: Spec, total_steps: int, steps_per_epoch: int) -> None:
        super().__init__(Network(in_features(spec), spec.outputs), total_steps, steps_per_epoch)
        self.shape = spec.input_shape
        self.scores = {"pseudo_likelihood": True, "reconstruction": False, "free_energy": False, "loss": False}
        self.running_scores = ("reconstruction", "free_energy", "loss")

    def check(self, config: Experiment, params: Any, rest: Any, example: Batch, key: Key) -> None:
        """Raises `ConfigError` for an optimizer that searches."""
        del params, rest, example, key
        check_optimizer(config)

    def memory(self, config: Experiment, batch_size: int) -> Any:
        """The hidden units (b, hidden) of persistent chains, as many as a batch has examples, all off as in scikit-learn; else ()."""
        assert isinstance(config.task, Boltzmann)
        if config.task.persistent and isinstance(config.model, energy_model.Rbm):
            return jnp.zeros((batch_size, config.model.hidden), jnp.float32)
        return ()

    def loss(
        self, config: Experiment, params: Any, rest: Any, memory: Any, batch: Batch, key: Key, *, train: bool
    ) -> tuple[jax.Array, tuple[Any, Any, Sums]]:
        """The mean free energy of the data less that of the samples, the distance from sparsity, and the penalties."""
        task = config.task
        assert isinstance(task, Boltzmann)
        noise, binary, sampling = jax.random.split(key, 3)
        v = visible(task.binarize, augment(config.data.augment, batch.inputs, noise) if train else batch.inputs, binary)

        def sampled(layer: Layer) -> tuple[jax.Array, jax.Array]:
            begin, chain = jax.random.split(sampling)
            hidden = memory if task.persistent else layer.draw_hidden(v, begin)
            return layer.gibbs(hidden, chain, task.steps)

        def divergence(layer: Layer) -> tuple[jax.Array, Sums]:
            value = contrast(layer, v, samples, batch.weight)
            if task.sparsity_target is not None:
                chances = jax.nn.sigmoid(layer.hidden_logits(v))  # (b, hidden)
                often = batch.weight @ chances / jnp.sum(batch.weight)
                value += task.sparsity_cost * jnp.sum(jnp.square(often - task.sparsity_target))
            return value, summed(seen(layer, v), batch.weight)

        samples, hidden = self._on(config, jax.lax.stop_gradient(params), rest, key, sampled)
        value, sums = self._on(config, params, rest, key, divergence)
        return value + penalty(config.optimizer, params), (rest, hidden if task.persistent else (), sums)

    def examine(self, config: Experiment, state: LearnerState, batch: Batch, key: Key) -> tuple[Any, Sums]:
        """What `evaluate` sums up, of each example (b,); of a small machine also the `log_likelihood`, by adding up all its states."""

        def likelihood(layer: Layer) -> jax.Array:
            return -layer.free_energy(v) - layer.log_partition()

        each, v = self._judged(config, state, batch, key)
        if isinstance(config.model, energy_model.Rbm) and config.model.hidden <= ENUMERABLE:
            each["log_likelihood"] = self._on(config, state.params, state.rest, key, likelihood)
        return state.memory, each

    def evaluate(self, config: Experiment, state: LearnerState, batch: Batch, key: Key) -> tuple[Any, Sums]:
        """Pseudo-likelihood, reconstruction and free energy of a batch."""
        each, _ = self._judged(config, state, batch, key)
        return state.memory, summed(each, batch.weight)

    def predict(self, config: Experiment, state: LearnerState, inputs: jax.Array, key: Key) -> jax.Array:
        """The reconstruction (b, ...) of inputs (b, ...) from the hidden units' probabilities."""
        return self._on(config, state.params, state.rest, key, lambda layer: layer(_rows(inputs)).reshape(inputs.shape))

    def metrics(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Means over the examples: `pseudo_likelihood` and `log_likelihood` in nats, `reconstruction` as the mean squared error of a
        visible unit, `free_energy`, and `loss`, the cross-entropy of the reconstruction (half the squared error of Gaussian units).

        Contrastive divergence lowers nothing that could be told. The loss falls beside it, and shows where a rate is too high.
        """
        return {name: float(value) / float(sums["count"]) for name, value in sums.items() if name != "count"}

    def generate(self, config: Experiment, state: LearnerState, key: Key, asked: Asked) -> jax.Array:
        """Images (count, height, width, channels) in 0..1 by Gibbs chains that begin at random units; with `steps` each chain at so
        many points of its way, (count, steps, height, width, channels). Raises `UsageError` for rows, classes, and what text has.
        """
        shape = check_asked(asked, self.shape)
        return self._on(config, state.params, state.rest, key, lambda m: fantasies(m, m.mean_visible, key, asked, shape))

    def _judged(self, config: Experiment, state: LearnerState, batch: Batch, key: Key) -> tuple[Sums, jax.Array]:
        """What each example adds to the sums (b,), and the visible units (b, visible)."""
        assert isinstance(config.task, Boltzmann)
        binary, scoring = jax.random.split(key)
        v = visible(config.task.binarize, batch.inputs, binary)
        each = self._on(config, state.params, state.rest, key, lambda layer: judged(layer, v, scoring))
        return each, v

    def _on(self, config: Experiment, params: Any, rest: Any, key: Key, use: Callable[[Layer], Any]) -> Any:
        """What `use` makes of the machine with these parameters. Nothing of it depends on the mode."""
        return self.network.using(config, params, rest, key, lambda model: use(model.hidden[0]), train=False)[0]


def visible(binarize: Binarize, inputs: jax.Array, key: Key) -> jax.Array:
    """Inputs (b, ...) as visible units (b, visible). What is made 0 or 1 is held still: it has no gradient."""
    rows = _rows(inputs)
    match binarize:
        case "none":
            return rows
        case "threshold":
            return held_still((rows > 0.5).astype(rows.dtype))
        case "sample":
            return held_still((jax.random.uniform(key, rows.shape, rows.dtype) < rows).astype(rows.dtype))
    assert_never(binarize)


def held_still(x: jax.Array) -> jax.Array:
    """`jax.lax.stop_gradient(x)` that `dlx gradcheck` knows: it compares losses at which this stays what it is."""
    return passed_straight_through(jax.lax.stop_gradient(x), jnp.zeros_like(x))


def contrast(layer: Layer, v: jax.Array, samples: jax.Array, weight: jax.Array) -> jax.Array:
    """The mean free energy of v (b, visible) by weight (b,), less that of the samples, which are held still."""
    energies = layer.free_energy(v) - layer.free_energy(held_still(samples))
    return jnp.sum(weight * energies) / jnp.sum(weight)


def seen(layer: Layer, v: jax.Array) -> Sums:
    """What a machine makes of each example of v (b, visible), (b,): `loss`, `reconstruction`, `free_energy`."""
    logits = layer.visible_logits(jax.nn.sigmoid(layer.hidden_logits(v)))
    again = logits if layer.units == "gaussian" else jax.nn.sigmoid(logits)
    error = jnp.square(again - v)
    loss = error / 2 if layer.units == "gaussian" else optax.sigmoid_binary_cross_entropy(logits, v)
    return {"loss": loss.sum(-1), "reconstruction": error.mean(-1), "free_energy": layer.free_energy(v)}


def judged(layer: Layer, v: jax.Array, key: Key) -> Sums:
    """What `seen` tells of v (b, visible), and `pseudo_likelihood`."""
    positions = jax.random.randint(key, (len(v), POSITIONS), 0, v.shape[1])  # the same for an example in a batch of any size
    likelihoods = jax.lax.map(lambda position: layer.pseudo_log_likelihood(v, position), positions.T)
    return {**seen(layer, v), "pseudo_likelihood": likelihoods.mean(0)}


def fantasies(
    top: Layer, shown: Callable[[jax.Array], jax.Array], key: Key, asked: Asked, shape: tuple[int, int, int]
) -> jax.Array:
    """What a machine at the top dreams, as `Generative.generate` returns it. `shown` tells what its hidden units mean in the data.

    Gaussian units have a scale that only the data knows: their darkest becomes 0 and their brightest 1.
    """
    first, chain = jax.random.split(key)
    frames = max(asked.steps, 1)
    width = top.linear.kernel.shape[1]

    def on(hidden: jax.Array, key: Key) -> tuple[jax.Array, jax.Array]:
        _, hidden = top.gibbs(hidden, key, -(-CHAIN // frames), asked.temperature)
        return hidden, shown(hidden)

    begin = drawn(jnp.zeros((asked.count, width)), first)
    _, images = jax.lax.scan(on, begin, jax.random.split(chain, frames))  # (frames, count, visible)
    low, high = jnp.minimum(images.min(), 0.0), jnp.maximum(images.max(), 1.0)
    images = jnp.swapaxes((images - low) / (high - low), 0, 1).reshape(asked.count, frames, *shape)
    return images if asked.steps else images[:, 0]


def check_asked(asked: Asked, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The (height, width, channels) of the images. Raises `UsageError` for what a machine cannot be asked."""
    if len(shape) != 3:
        raise UsageError(f"a Boltzmann machine is sampled as images, and this one learned arrays of shape {shape}")
    if asked.classes is not None:
        raise UsageError("--class: a Boltzmann machine learns no classes; leave it out")
    height, width, channels = shape
    return height, width, channels


def check_optimizer(config: Experiment) -> None:
    """Raises `ConfigError` for an optimizer that goes by the value of the loss."""
    if config.optimizer.kind in SEARCHES:
        raise ConfigError(
            f"optimizer {config.optimizer.kind} goes by the value of the loss, and that of contrastive divergence is not what falls: "
            "use another, such as sgd"
        )


def _rows(inputs: jax.Array) -> jax.Array:
    return inputs.reshape(inputs.shape[0], -1)
