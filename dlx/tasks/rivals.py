"""Two players that learn against each other: the update of every task of a generator and a critic.

Each player has its own loss, its own part of the parameters (`params["critic"]`, `params["generator"]`) and its own Optax
state. A step of training is `critic_steps` steps of the critic, then one of the generator.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Final, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from dlx.config import Experiment
from dlx.config.adversarial_task import RivalsCommon
from dlx.nn import straight_through
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
from dlx.tasks.state import Batch, Examined, Key, LearnerState, Sums

Player = Literal["critic", "generator"]
PLAYERS: Final[tuple[Player, Player]] = ("critic", "generator")


class Rivals(Examined):
    """A task of two players. Its memory counts the steps that were taken."""

    scores: Mapping[str, bool]
    running_scores: tuple[str, ...]

    def __init__(self, network: Network, settings: RivalsCommon, total_steps: int, steps_per_epoch: int) -> None:
        self.network, self.critic_steps = network, settings.critic_steps
        self.total_steps, self.steps_per_epoch = total_steps, steps_per_epoch

    @abstractmethod
    def check(self, config: Experiment, params: Any, rest: Any, example: Batch, key: Key) -> None:
        """Raises `ConfigError` for a network that does not suit the task. Computes nothing."""

    @abstractmethod
    def play(
        self, config: Experiment, player: Player, params: Any, rest: Any, memory: Any, batch: Batch, key: Key, *, train: bool
    ) -> tuple[jax.Array, tuple[Any, Sums]]:
        """What a player minimizes, a mean over the batch; then the new statistics, and means to be measured by.

        `memory` is None where all that is ever learned is asked for at once.
        """

    @abstractmethod
    def metrics(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Merged sums into metrics."""

    def init(self, config: Experiment, example: Batch, key: Key) -> LearnerState:
        """Parameters of both players, running statistics, an optimizer state for each player."""
        params, rest = self.network.init(config, key)
        params = nnx.to_pure_dict(params)
        self.check(config, params, rest, example, key)
        opt = {player: self.optimizer(config, player).init(params[player]) for player in PLAYERS}
        return LearnerState(
            params, rest, opt, start_average(config.averaging, params, rest), self.memory(config, len(example.inputs))
        )

    def memory(self, config: Experiment, batch_size: int) -> Any:
        """No step yet."""
        del config, batch_size
        return jnp.zeros((), jnp.int32)

    def update(self, config: Experiment, state: LearnerState, batch: Batch, key: Key) -> tuple[LearnerState, Sums]:
        """The critic's steps, each on its own part of the batch and with fresh noise; then one of the generator, as large as a part."""
        steps = min(self.critic_steps, len(batch.inputs))
        size = len(batch.inputs) // steps
        parts: Batch = jax.tree.map(lambda x: x[: steps * size].reshape(steps, size, *x.shape[1:]), batch)
        first = jax.tree.map(lambda x: x[0], parts)
        keys = jax.random.split(key, steps + 1)
        if steps == 1:
            state, judged = self._step(config, state, "critic", first, keys[0])
        else:
            state, each = jax.lax.scan(
                lambda state, now: self._step(config, state, "critic", *now), state, (parts, keys[:steps])
            )
            judged = jax.tree.map(jnp.mean, each)
        state, made = self._step(config, state, "generator", first, keys[steps])
        average, params = advance_average(
            config.averaging, state.average, state.params, state.rest, self.total_steps, self.steps_per_epoch
        )
        means = {**judged, **made, "loss": judged["critic_loss"] + made["generator_loss"]}
        count = jnp.asarray(steps * size, jnp.float32)
        sums = {"count": count, **{name: count * mean for name, mean in means.items()}}
        return state._replace(params=params, average=average, memory=state.memory + 1), sums

    def objective(
        self, config: Experiment, params: Any, rest: Any, batch: Batch, key: Key, *, train: bool = True
    ) -> tuple[jax.Array, tuple[Any, Sums]]:
        """The sum of both losses, in each of which the other player stands still: its gradient is both players' own.

        No function of the parameters has these slopes, for each loss does depend on both players. So what must stand still goes
        through `straight_through`, by which `dlx gradcheck` knows what to hold at the point of comparison.
        """
        total, means = jnp.zeros((), jnp.float32), dict[str, jax.Array]()
        for player, own in zip(PLAYERS, jax.random.split(key), strict=True):
            seen = {name: part if name == player else jax.tree.map(still, part) for name, part in params.items()}
            value, (rest, found) = self.play(config, player, seen, rest, None, batch, own, train=train)
            total, means = total + value, means | found
        count = jnp.sum(batch.weight)
        return total, (rest, {"count": count, "loss": total * count, **{name: count * mean for name, mean in means.items()}})

    def averaged(self, state: LearnerState) -> LearnerState:
        """The learner with its averaged weights, where it averages them, in place of the raw ones."""
        params, rest = averaged(state.average, (), state.params, state.rest)
        return state._replace(params=params, rest=rest)

    def statistics(self, config: Experiment, state: LearnerState, batch: Batch, key: Key) -> Any:
        """The running statistics after one more batch of training, with which nothing is learned."""
        return self.objective(config, state.params, state.rest, batch, key)[1][0]

    def rates(self, config: Experiment, step: jax.Array) -> Sums:
        """`learning_rate` (the generator's) and `critic_learning_rate` at a step."""
        return {
            "learning_rate": self.schedule(config, "generator")(step),
            "critic_learning_rate": self.schedule(config, "critic")(step),
        }

    def schedule(self, config: Experiment, player: Player) -> Schedule:
        """A player's learning rate by the number of its own steps."""
        peak = _peak(config, player)
        steps = (self.total_steps, self.steps_per_epoch)
        return averaging_rate(config.averaging, build_schedule(config.schedule, peak, *steps), peak, *steps)

    def optimizer(self, config: Experiment, player: Player) -> optax.GradientTransformationExtraArgs:
        """A player's optimizer, of its part of the parameters."""
        return self.own_optimizer(config, player)

    def own_optimizer(self, config: Experiment, player: Player, begins: int = 0) -> optax.GradientTransformationExtraArgs:
        """The config's optimizer at a player's rate, from a step on. The critic takes `critic_steps` to one of the schedule's."""
        own = config.optimizer.model_copy(update={"lr": _peak(config, player)})
        steps = self.critic_steps if player == "critic" else 1
        schedule, momentum = self.schedule(config, player), build_momentum(config.schedule, self.total_steps)
        later = None if momentum is None else lambda count: momentum(begins + jnp.asarray(count) // steps)
        return build_optimizer(own, lambda count: schedule(begins + jnp.asarray(count) // steps), later)

    def settle(self, config: Experiment, player: Player, own: Any) -> Any:
        """A player's parameters as they are kept after a step."""
        del config, player
        return own

    def _step(
        self, config: Experiment, state: LearnerState, player: Player, batch: Batch, key: Key
    ) -> tuple[LearnerState, Sums]:
        """One step of one player, on its own parameters; and the means, with the length of its gradient."""

        def loss(own: Any) -> tuple[jax.Array, tuple[Any, Sums]]:
            return self.play(config, player, {**state.params, player: own}, state.rest, state.memory, batch, key, train=True)

        own = state.params[player]
        (value, (rest, means)), gradient = jax.value_and_grad(loss, has_aux=True)(own)
        updates, opt = self.optimizer(config, player).update(
            gradient, state.opt[player], own, value=value, grad=gradient, value_fn=lambda p: loss(p)[0]
        )
        own = self.settle(config, player, optax.apply_updates(own, updates))
        state = state._replace(params={**state.params, player: own}, rest=rest, opt={**state.opt, player: opt})
        return state, {**means, f"{player}_gradient": optax.tree.norm(gradient)}


def settings(config: Experiment) -> RivalsCommon:
    """The task's own settings."""
    assert isinstance(config.task, RivalsCommon)
    return config.task


def _peak(config: Experiment, player: Player) -> Any:
    """The learning rate that the schedule is a part of, perhaps traced."""
    rate = config.optimizer.lr
    return rate * settings(config).critic_lr_ratio if player == "critic" else rate


def still(x: jax.Array) -> jax.Array:
    """The value, without a gradient, and for `dlx gradcheck` one that stands still."""
    return straight_through(x, lambda value: value, jnp.zeros_like)
