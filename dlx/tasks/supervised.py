"""Learning from labelled examples: one gradient update for every loss."""

from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from dlx.config import Experiment
from dlx.data import Spec
from dlx.data.augment import augment
from dlx.optim import penalty
from dlx.tasks.descent import Descent
from dlx.tasks.network import Network, in_features
from dlx.tasks.state import Batch, Key, LearnerState, Sums


class Problem(Protocol):
    """A loss with its scores. The arrays are those of one batch."""

    @property
    def scores(self) -> Mapping[str, bool]:
        """Every metric but the loss, and whether more is better; the one to choose by comes first."""
        ...

    @property
    def running_scores(self) -> tuple[str, ...]:
        """The scores that need no `full` sums."""
        ...

    def loss(self, config: Any, outputs: jax.Array, targets: jax.Array, /) -> tuple[jax.Array, jax.Array]:
        """Each example's loss (b,) and its weight in the mean (b,)."""
        ...

    def sums(self, outputs: jax.Array, targets: jax.Array, weight: jax.Array, /, *, full: bool) -> Sums:
        """What the metrics are made of; `full` outside training, where there is time for more."""
        ...

    def metrics(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Metrics of merged sums."""
        ...

    def said(self, outputs: jax.Array, /) -> jax.Array:
        """The network's outputs (b, outputs) as a prediction is handed on: logits as they are, numbers in the data's own units."""
        ...


class Supervised(Descent):
    """The update that all supervised problems share."""

    def __init__(self, problem: Problem, spec: Spec, total_steps: int, steps_per_epoch: int) -> None:
        super().__init__(Network(in_features(spec), spec.outputs), total_steps, steps_per_epoch)
        self.problem = problem
        self.scores = {**problem.scores, "loss": False}
        self.running_scores = (*problem.running_scores, "loss")

    def check(self, config: Experiment, params: Any, rest: Any, example: Batch, key: Key) -> None:
        """Raises `ConfigError` unless the network turns inputs (b, ...) into outputs (b, outputs)."""
        self.network.check(config, params, rest, example.inputs, key)

    def loss(
        self, config: Experiment, params: Any, rest: Any, memory: Any, batch: Batch, key: Key, *, train: bool
    ) -> tuple[jax.Array, tuple[Any, Any, Sums]]:
        """The weighted mean loss plus the penalties. Also the new statistics, and the sums."""
        noise, dropout = jax.random.split(key)
        inputs = augment(config.data.augment, batch.inputs, noise) if train else batch.inputs
        outputs, rest = self.network.apply(config, params, rest, inputs, dropout, train=train)
        sums = self._score(config, outputs, batch, full=False)
        return sums["loss"] / sums["weight"] + penalty(config.optimizer, params), (rest, memory, sums)

    def evaluate(self, config: Experiment, state: LearnerState, batch: Batch, key: Key) -> tuple[Any, Sums]:
        """Scores a batch with dropout off and the running statistics of batch normalization."""
        outputs, _ = self.network.apply(config, state.params, state.rest, batch.inputs, key, train=False)
        return state.memory, self._score(config, outputs, batch, full=True)

    def predict(self, config: Experiment, state: LearnerState, inputs: jax.Array, key: Key) -> jax.Array:
        """Logits, or numbers in the data's own units, (b, outputs), with dropout off and the running statistics."""
        outputs, _ = self.network.apply(config, state.params, state.rest, inputs, key, train=False)
        return self.problem.said(outputs)

    def metrics(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """`loss` (the weighted mean, without penalties) and the problem's own metrics."""
        return {"loss": float(sums["loss"] / sums["weight"]), **self.problem.metrics(sums)}

    def _score(self, config: Experiment, outputs: jax.Array, batch: Batch, *, full: bool) -> Sums:
        each, weight = self.problem.loss(config.task, outputs, batch.targets)
        weight = weight * batch.weight
        # Padding rows are real rows of the data, but a loss may still overflow there: 0 * inf must not become NaN.
        loss = jnp.sum(jnp.where(weight > 0, each * weight, 0.0))
        sums = {"loss": loss, "weight": jnp.sum(weight), "count": jnp.sum(batch.weight)}
        return sums | self.problem.sums(outputs, batch.targets, batch.weight, full=full)
