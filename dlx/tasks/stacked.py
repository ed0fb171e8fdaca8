"""StackGAN: two generators one after the other, each with its critic, learned one after the other (Zhang et al. 2017)."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dlx.config import Experiment
from dlx.config.adversarial_task import Stacked as StackedConfig
from dlx.data import Spec
from dlx.data.augment import augment
from dlx.models.stackgan import StackGan
from dlx.nn import avg_pool
from dlx.optim.averaging import EXACT
from dlx.tasks.made_images import troubles
from dlx.tasks.noise_rivals import NoiseRivals
from dlx.tasks.rivals import Player, still
from dlx.tasks.state import Batch, Key, Sums

STAGES = ("first", "second")


class Stacked(NoiseRivals):
    """Both players have two stages. The second begins after a share of the steps, when the first one's weights do not change any more.

    What is scored are always whole images: while the first stage learns they are those of a second one that has not begun.
    """

    def __init__(self, config: StackedConfig, spec: Spec, total_steps: int, steps_per_epoch: int) -> None:
        super().__init__(config, spec, spec.outputs, total_steps, steps_per_epoch)
        self.begins = min(total_steps, max(1, math.ceil(config.first * total_steps * EXACT)))
        """The step at which the second stage begins."""

    def check(self, config: Experiment, params: Any, rest: Any, example: Batch, key: Key) -> None:
        """Raises `ConfigError` for a network without two stages."""
        del example
        self.network.check_can(StackGan, config, params, rest, key)

    def play(
        self, config: Experiment, player: Player, params: Any, rest: Any, memory: Any, batch: Batch, key: Key, *, train: bool
    ) -> tuple[jax.Array, tuple[Any, Sums]]:
        """The mean loss of the player's stage whose time it is, or of both where no step is given."""
        changes, turn = jax.random.split(key)
        real = augment(config.data.augment, batch.inputs, changes) if train else batch.inputs
        classes = self.told(batch)

        def refined(model: StackGan, drawn: jax.Array, classes: jax.Array) -> jax.Array:
            small = model.generate_small(drawn, classes)
            return model.refine(still(small) if memory is None else jax.lax.stop_gradient(small), classes)

        def first(rest: Any) -> tuple[jax.Array, tuple[Any, Sums]]:
            methods = StackGan.generate_small, StackGan.judge_small
            return self.turn(config, player, params, rest, avg_pool(real), classes, turn, *methods, train=train)

        def second(rest: Any) -> tuple[jax.Array, tuple[Any, Sums]]:
            return self.turn(config, player, params, rest, real, classes, turn, refined, StackGan.judge, train=train)

        if memory is not None:
            value, (rest, means) = jax.lax.cond(memory < self.begins, first, second, rest)
            return value, (rest, {**means, "stage": 1.0 + (memory >= self.begins)} if player == "generator" else means)
        value, (rest, _) = first(rest)
        other, (rest, means) = second(rest)
        return value + other, (rest, means)

    def optimizer(self, config: Experiment, player: Player) -> optax.GradientTransformationExtraArgs:
        """The player's own optimizer for each stage. Outside its time it stands still, and moves nothing."""
        steps = self.critic_steps if player == "critic" else 1
        stages = [self.own_optimizer(config, player, begins) for begins in (0, self.begins)]

        def init(params: Any) -> Any:
            return jnp.zeros((), jnp.int32), *(stage.init(params[name]) for name, stage in zip(STAGES, stages, strict=True))

        def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
            count, *states = state
            moved, after = {}, []
            for number, (name, stage, before) in enumerate(zip(STAGES, stages, states, strict=True)):
                own = {key: value[name] if key == "grad" else value for key, value in extra.items()}
                change, new = stage.update(updates[name], before, params[name], **own)
                active = (count // steps >= self.begins) == bool(number)
                moved[name] = jax.tree.map(lambda x, active=active: jnp.where(active, x, 0), change)
                after.append(jax.tree.map(lambda a, b, active=active: jnp.where(active, a, b), new, before))
            return moved, (count + 1, *after)

        return optax.GradientTransformationExtraArgs(init, update)

    def warnings(self, metrics: Mapping[str, float]) -> dict[str, str]:
        """What goes wrong in the stage that learns: the validation part is scored by both together."""
        return troubles(self.loss, {name: value for name, value in metrics.items() if name.startswith("train/")})
