"""One gradient step of one objective: loss, gradient, Optax, averages. Every task that follows a gradient alone takes it from here."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import optax

from dlx.config import Experiment
from dlx.config.schedule import ScheduleFree
from dlx.optim import (
    Schedule,
    advance_average,
    averaged,
    averaging_rate,
    build_momentum,
    build_optimizer,
    build_schedule,
    start_average,
)
from dlx.tasks.network import Network
from dlx.tasks.state import Batch, Key, LearnerState, Sums


class Descent(ABC):
    """A task whose update is one step of the config's optimizer on `loss`."""

    scores: Mapping[str, bool]
    running_scores: tuple[str, ...]

    def __init__(self, network: Network, total_steps: int, steps_per_epoch: int) -> None:
        self.network = network
        self.total_steps, self.steps_per_epoch = total_steps, steps_per_epoch

    @abstractmethod
    def check(self, config: Experiment, params: Any, rest: Any, example: Batch, key: Key) -> None:
        """Raises `ConfigError` for a network that does not suit the data. Computes nothing."""

    def memory(self, config: Experiment, batch_size: int) -> Any:
        """The memory at the beginning of the batches of a stream: none, where a task has no other."""
        del config, batch_size
        return ()

    @abstractmethod
    def loss(
        self, config: Experiment, params: Any, rest: Any, memory: Any, batch: Batch, key: Key, *, train: bool
    ) -> tuple[jax.Array, tuple[Any, Any, Sums]]:
        """What training minimizes, penalties included; then the new statistics, the memory after the batch, and the sums.

        `train=False` is the same without augmentation and dropout, by the running statistics.
        """

    @abstractmethod
    def metrics(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Merged sums into metrics."""

    def init(self, config: Experiment, example: Batch, key: Key) -> LearnerState:
        """Parameters, running statistics, optimizer state, memory."""
        params, rest = self.network.init(config, key)
        self.check(config, params, rest, example, key)
        opt, average = self._optimizer(config).init(params), start_average(config.averaging, params, rest)
        return LearnerState(params, rest, opt, average, self.memory(config, len(example.inputs)))

    def update(self, config: Experiment, state: LearnerState, batch: Batch, key: Key) -> tuple[LearnerState, Sums]:
        """One gradient step on the loss."""

        def objective(params: Any) -> tuple[jax.Array, tuple[Any, Any, Sums]]:
            return self.loss(config, params, state.rest, state.memory, batch, key, train=True)

        (value, (rest, memory, sums)), gradient = jax.value_and_grad(objective, has_aux=True)(state.params)
        updates, opt = self._optimizer(config).update(
            gradient, state.opt, state.params, value=value, grad=gradient, value_fn=lambda p: objective(p)[0]
        )
        params = optax.apply_updates(state.params, updates)
        average, params = advance_average(config.averaging, state.average, params, rest, self.total_steps, self.steps_per_epoch)
        return LearnerState(params, rest, opt, average, memory), sums

    def objective(
        self, config: Experiment, params: Any, rest: Any, batch: Batch, key: Key, *, train: bool = True
    ) -> tuple[jax.Array, tuple[Any, Sums]]:
        """The loss of a batch at which a stream begins, with the new statistics and the sums."""
        memory = self.memory(config, len(batch.inputs))
        value, (rest, _, sums) = self.loss(config, params, rest, memory, batch, key, train=train)
        return value, (rest, sums)

    def averaged(self, state: LearnerState) -> LearnerState:
        """The learner with its averaged weights, where it averages them, in place of the raw ones."""
        params, rest = averaged(state.average, state.opt, state.params, state.rest)
        return state._replace(params=params, rest=rest)

    def statistics(self, config: Experiment, state: LearnerState, batch: Batch, key: Key) -> Any:
        """The running statistics after one more batch of training, with which nothing is learned."""
        return self.objective(config, state.params, state.rest, batch, key)[1][0]

    def rates(self, config: Experiment, step: jax.Array) -> Sums:
        """`learning_rate` at a step, and `momentum` where the schedule moves it."""
        momentum = self._momentum(config)
        return {"learning_rate": self._schedule(config)(step)} | ({"momentum": momentum(step)} if momentum is not None else {})

    def _schedule(self, config: Experiment) -> Schedule:
        steps = (self.total_steps, self.steps_per_epoch)
        schedule = build_schedule(config.schedule, config.optimizer.lr, *steps)
        return averaging_rate(config.averaging, schedule, config.optimizer.lr, *steps)

    def _optimizer(self, config: Experiment) -> optax.GradientTransformationExtraArgs:
        free = config.schedule if isinstance(config.schedule, ScheduleFree) else None
        return build_optimizer(config.optimizer, self._schedule(config), self._momentum(config), free)

    def _momentum(self, config: Experiment) -> Schedule | None:
        return build_momentum(config.schedule, self.total_steps)
