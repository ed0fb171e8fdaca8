"""Cycle-consistent adversarial networks: images of one kind into those of another, without pairs (Zhu et al. 2017)."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dlx.config import Experiment
from dlx.config.adversarial_task import Cycle as CycleConfig
from dlx.data import Spec
from dlx.errors import ConfigError
from dlx.models.cyclegan import CycleGan
from dlx.optim import penalty
from dlx.tasks.adversarial_losses import of_critic, of_generator
from dlx.tasks.made_images import SCORES, compared, examined, image_metrics, troubles
from dlx.tasks.network import Network, in_features, narrowed, widened
from dlx.tasks.rivals import Player, Rivals, settings
from dlx.tasks.state import Batch, Key, LearnerState, Sums


class Cycle(Rivals):
    """Two translators and two critics. Inputs are pairs (b, 2, h, w, c) of one image of each kind, which have nothing in common."""

    def __init__(self, config: CycleConfig, spec: Spec, total_steps: int, steps_per_epoch: int) -> None:
        if len(spec.input_shape) != 4 or spec.input_shape[0] != 2:
            raise ConfigError("task.kind=cycle needs images of two kinds: use data.kind=unpaired-images")
        super().__init__(Network(in_features(spec), 0), config, total_steps, steps_per_epoch)
        self.loss = config.loss
        self.scores = {**SCORES, "cycle": False, "identity": False}
        self.running_scores = ("cycle", "diversity", "loss")

    def check(self, config: Experiment, params: Any, rest: Any, example: Batch, key: Key) -> None:
        """Raises `ConfigError` for a network without two translators."""
        del example
        self.network.check_can(CycleGan, config, params, rest, key)

    def play(
        self, config: Experiment, player: Player, params: Any, rest: Any, memory: Any, batch: Batch, key: Key, *, train: bool
    ) -> tuple[jax.Array, tuple[Any, Sums]]:
        """The loss of both critics, or of both translators with what is lost on the way there and back, and by needless changes."""
        del memory
        task, x = _task(config), narrowed(config, batch.inputs)

        def use(model: nnx.Module) -> dict[str, jax.Array]:
            assert isinstance(model, CycleGan)
            return _both(model, task, x, player)

        found, rest = self.network.using(config, params, rest, key, use, train=train)
        means = {name: jnp.mean(each) for name, each in found.items()}
        value = means["critic_loss"] if player == "critic" else _total(task, means)
        return value + penalty(config.optimizer, params[player]), (rest, means)

    def examine(self, config: Experiment, state: LearnerState, batch: Batch, key: Key) -> tuple[Any, Sums]:
        """Each pair's losses, and both of its images beside those that were translated into their kind."""
        task, x = _task(config), narrowed(config, batch.inputs)

        def use(model: nnx.Module) -> tuple[Sums, list[jax.Array]]:
            assert isinstance(model, CycleGan)
            made = [widened(model.translate(x[:, 1 - kind], kind)) for kind in (0, 1)]
            return {**_both(model, task, x, "critic"), **_both(model, task, x, "generator")}, made

        (each, made), _ = self.network.using(config, state.params, state.rest, key, use, train=False)
        for kind, fake in enumerate(made):
            each |= {f"{kind} {name}": part for name, part in examined(batch.inputs[:, kind], fake, batch.weight).items()}
        del each["apart"], each["data_apart"]
        return state.memory, {**each, "loss": each["critic_loss"] + each["generator_loss"]}

    def predict(self, config: Experiment, state: LearnerState, inputs: jax.Array, key: Key) -> jax.Array:
        """Pairs (b, 2, h, w, c) -> (b, 2, h, w, c): at each place the other image, translated into the kind of that place."""

        def use(model: nnx.Module) -> jax.Array:
            assert isinstance(model, CycleGan)
            return jnp.stack([model.translate(narrowed(config, inputs[:, 1 - kind]), kind) for kind in (0, 1)], 1)

        return widened(self.network.using(config, state.params, state.rest, key, use, train=False)[0])

    def metrics(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """As of other adversarial tasks, `frechet_pixels` and `diversity` as means of both kinds; `cycle` and `identity`."""
        count = sums["count"]
        own = {name: total for name, total in sums.items() if name[:2] not in ("0 ", "1 ")}
        if "apart" in own:
            return image_metrics(own)
        kinds = [
            image_metrics({"count": count} | {name[2:]: total for name, total in sums.items() if name.startswith(f"{kind} ")})
            for kind in (0, 1)
        ]
        means = {name: float(np.mean([metrics[name] for metrics in kinds])) for name in kinds[0]}
        return {**means, **{name: float(total) / float(count) for name, total in own.items() if name != "count"}}

    def warnings(self, metrics: Mapping[str, float]) -> dict[str, str]:
        """What goes wrong, by a name for each kind of trouble."""
        softer = ", or use task.loss.kind=least-squares" if self.loss.kind == "standard" else ""
        return troubles(self.loss, metrics, f"lower task.critic_lr_ratio{softer}", "lower optimizer.lr, or raise task.cycle")


def _both(model: CycleGan, task: CycleConfig, x: jax.Array, player: Player) -> Sums:
    """The parts of a player's loss of each pair (b, 2, h, w, c), means of both directions, (b,)."""
    made = [model.translate(x[:, 1 - kind], kind) for kind in (0, 1)]
    scores = [widened(model.judge(made[kind], kind)) for kind in (0, 1)]
    if player == "critic":
        real = [widened(model.judge(x[:, kind], kind)) for kind in (0, 1)]
        right = [(_mean(real[kind]) > _mean(scores[kind])).astype(jnp.float32) for kind in (0, 1)]
        losses = [of_critic(task.loss, real[kind], scores[kind]) for kind in (0, 1)]
        return {"critic_loss": 0.5 * (losses[0] + losses[1]), "critic_accuracy": 0.5 * (right[0] + right[1])}
    losses = [of_generator(task.loss, scores[kind]) for kind in (0, 1)]
    back = [_mean(jnp.abs(widened(model.translate(made[1 - kind], kind)) - x[:, kind])) for kind in (0, 1)]
    same = [_mean(jnp.abs(widened(model.translate(x[:, kind], kind)) - x[:, kind])) for kind in (0, 1)]
    apart = [compared(x[:, kind], widened(made[kind]), jnp.ones(len(x))) for kind in (0, 1)]
    return {
        "generator_loss": 0.5 * (losses[0] + losses[1]),
        "cycle": 0.5 * (back[0] + back[1]),
        "identity": 0.5 * (same[0] + same[1]),
        **jax.tree.map(lambda one, other: 0.5 * (one + other), *apart),
    }


def _total(task: CycleConfig, means: Mapping[str, jax.Array]) -> jax.Array:
    return means["generator_loss"] + task.cycle * means["cycle"] + task.identity * means["identity"]


def _mean(x: jax.Array) -> jax.Array:
    """Over all axes but the first."""
    return x.reshape(len(x), -1).mean(1)


def _task(config: Experiment) -> CycleConfig:
    task = settings(config)
    assert isinstance(task, CycleConfig)
    return task
