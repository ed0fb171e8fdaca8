"""Generative adversarial networks: images out of noise, judged by a critic (Goodfellow et al. 2014)."""

from typing import Any

import jax

from dlx.config import Experiment
from dlx.config.adversarial_task import Adversarial as AdversarialConfig
from dlx.data import Spec
from dlx.data.augment import augment
from dlx.errors import ConfigError
from dlx.models.noise_gan import NoiseGan
from dlx.tasks.made_images import SCORES
from dlx.tasks.noise_rivals import NoiseRivals
from dlx.tasks.rivals import Player
from dlx.tasks.state import Batch, Key, Sums


class Adversarial(NoiseRivals):
    """A generator of images and a critic of them, told the class or not."""

    def __init__(self, config: AdversarialConfig, spec: Spec, total_steps: int, steps_per_epoch: int) -> None:
        super().__init__(config, spec, spec.outputs if config.conditional else 0, total_steps, steps_per_epoch)
        self.scores = {**SCORES, "code_accuracy": True}

    def check(self, config: Experiment, params: Any, rest: Any, example: Batch, key: Key) -> None:
        """Raises `ConfigError` for a network without a generator of noise and a critic, and for a monitor that it does not have."""
        del example
        self.network.check_can(NoiseGan, config, params, rest, key)
        codes, monitor = vars(config.model).get("codes"), config.train.monitor
        if monitor is not None and monitor.endswith("code_accuracy") and (codes is None or not codes.categorical):
            raise ConfigError(
                f"{monitor} is of categorical codes, and this network has none: set model.codes.categorical, or choose another metric"
            )

    def play(
        self, config: Experiment, player: Player, params: Any, rest: Any, memory: Any, batch: Batch, key: Key, *, train: bool
    ) -> tuple[jax.Array, tuple[Any, Sums]]:
        """The critic's or the generator's mean loss, with the mutual information of codes and the penalties."""
        del memory
        changes, turn = jax.random.split(key)
        real = augment(config.data.augment, batch.inputs, changes) if train else batch.inputs
        methods = NoiseGan.generate, NoiseGan.judge
        return self.turn(config, player, params, rest, real, self.told(batch), turn, *methods, train=train)
