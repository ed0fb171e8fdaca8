"""Learning from labelled examples: one gradient update for every loss."""

from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dlx.config import Experiment
from dlx.config.schedule import ScheduleFree
from dlx.data import Spec
from dlx.data.augment import augment
from dlx.optim import (
    Schedule,
    advance_average,
    averaged,
    averaging_rate,
    build_momentum,
    build_optimizer,
    build_schedule,
    penalty,
    start_average,
)
from dlx.tasks.network import Network
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


class Supervised:
    """Loss, gradient, Optax: the update that all supervised problems share."""

    def __init__(self, problem: Problem, spec: Spec, total_steps: int, steps_per_epoch: int) -> None:
        self.problem = problem
        self.scores = {**problem.scores, "loss": False}
        self.running_scores: tuple[str, ...] = (*problem.running_scores, "loss")
        self.network = Network(spec.input_shape, spec.outputs)
        self.total_steps, self.steps_per_epoch = total_steps, steps_per_epoch

    def init(self, config: Experiment, example: Batch, key: Key) -> LearnerState:
        """Parameters, running statistics, optimizer state."""
        params, rest = self.network.init(config, key)
        self.network.check(config, params, rest, example.inputs, key)
        return LearnerState(params, rest, self._optimizer(config).init(params), start_average(config.averaging, params, rest))

    def update(self, config: Experiment, state: LearnerState, batch: Batch, key: Key) -> tuple[LearnerState, Sums]:
        """One gradient step on the objective."""

        def objective(params: Any) -> tuple[jax.Array, tuple[Any, Sums]]:
            return self.objective(config, params, state.rest, batch, key)

        (value, (rest, sums)), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
        updates, opt = self._optimizer(config).update(
            gradient, state.opt, state.params, value=value, grad=gradient, value_fn=lambda p: objective(p)[0]
        )
        params = optax.apply_updates(state.params, updates)
        average, params = advance_average(config.averaging, state.average, params, rest, self.total_steps, self.steps_per_epoch)
        return LearnerState(params, rest, opt, average), sums

    def objective(
        self, config: Experiment, params: Any, rest: Any, batch: Batch, key: Key, *, train: bool = True
    ) -> tuple[jax.Array, tuple[Any, Sums]]:
        """What training minimizes: the weighted mean loss plus the penalties. Also the new statistics, and the sums.

        `train=False` is the same without augmentation and dropout, by the running statistics.
        """
        noise, dropout = jax.random.split(key)
        inputs = augment(config.data.augment, batch.inputs, noise) if train else batch.inputs
        outputs, rest = self.network.apply(config, params, rest, inputs, dropout, train=train)
        sums = self._score(config, outputs, batch, full=False)
        return sums["loss"] / sums["weight"] + penalty(config.optimizer, params), (rest, sums)

    def evaluate(self, config: Experiment, state: LearnerState, batch: Batch, key: Key) -> Sums:
        """Scores a batch with dropout off and the running statistics of batch normalization."""
        outputs, _ = self.network.apply(config, state.params, state.rest, batch.inputs, key, train=False)
        return self._score(config, outputs, batch, full=True)

    def predict(self, config: Experiment, state: LearnerState, inputs: jax.Array, key: Key) -> jax.Array:
        """Logits, or numbers in the data's own units, (b, outputs), with dropout off and the running statistics."""
        outputs, _ = self.network.apply(config, state.params, state.rest, inputs, key, train=False)
        return self.problem.said(outputs)

    def averaged(self, state: LearnerState) -> LearnerState:
        """The learner with its averaged weights, where it averages them, in place of the raw ones."""
        params, rest = averaged(state.average, state.opt, state.params, state.rest)
        return state._replace(params=params, rest=rest)

    def statistics(self, config: Experiment, state: LearnerState, batch: Batch, key: Key) -> Any:
        """The running statistics after one more batch of training, with which nothing is learned."""
        noise, dropout = jax.random.split(key)
        inputs = augment(config.data.augment, batch.inputs, noise)
        return self.network.apply(config, state.params, state.rest, inputs, dropout, train=True)[1]

    def rates(self, config: Experiment, step: jax.Array) -> Sums:
        """`learning_rate` at a step, and `momentum` where the schedule moves it."""
        momentum = self._momentum(config)
        return {"learning_rate": self._schedule(config)(step)} | ({"momentum": momentum(step)} if momentum is not None else {})

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

    def _schedule(self, config: Experiment) -> Schedule:
        steps = (self.total_steps, self.steps_per_epoch)
        schedule = build_schedule(config.schedule, config.optimizer.lr, *steps)
        return averaging_rate(config.averaging, schedule, config.optimizer.lr, *steps)

    def _optimizer(self, config: Experiment) -> optax.GradientTransformationExtraArgs:
        free = config.schedule if isinstance(config.schedule, ScheduleFree) else None
        return build_optimizer(config.optimizer, self._schedule(config), self._momentum(config), free)

    def _momentum(self, config: Experiment) -> Schedule | None:
        return build_momentum(config.schedule, self.total_steps)
