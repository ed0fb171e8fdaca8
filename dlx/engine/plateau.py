"""The rate that is reduced on a plateau: the host looks at each evaluation, the lanes carry what it decides.

So a chunk of steps knows nothing of validation, and a checkpoint of a lane holds all of it.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from dlx.config import Experiment
from dlx.config.schedule import ReduceOnPlateau, ScheduleConfig


class Plateau(NamedTuple):
    """What one lane's rate has come to; of several, each (K,)."""

    scale: Any
    """What the rate is multiplied by."""
    best: Any
    """The best value so far, less being better."""
    stale: Any
    """Evaluations since that."""
    cooldown: Any
    """Evaluations to come that do not count."""


def start_plateau(config: ScheduleConfig) -> Plateau | tuple[()]:
    """Of a fresh lane; () under a schedule that looks at nothing."""
    if not isinstance(config, ReduceOnPlateau):
        return ()
    zero = jnp.zeros((), jnp.int32)
    return Plateau(jnp.ones(()), jnp.full((), jnp.inf), zero, zero)


def reduced(config: Experiment, plateau: Any) -> Experiment:
    """The experiment under the rate that the plateaus have left."""
    if not isinstance(plateau, Plateau):
        return config
    optimizer = config.optimizer.model_copy(update={"lr": config.optimizer.lr * plateau.scale})
    return config.model_copy(update={"optimizer": optimizer})


def after_evaluation(config: ReduceOnPlateau, plateau: Plateau, values: np.ndarray, *, maximize: bool) -> Plateau:
    """What an evaluation with these values (K,) leads to, as PyTorch's ReduceLROnPlateau has it (threshold_mode rel).

    The config's numbers are those of K stacked lanes. A value that is no number is never better.
    """
    scale, best, stale, cooldown = (np.asarray(each) for each in plateau)
    values = np.where(np.isnan(values), np.inf, -values if maximize else values)
    # PyTorch's bound, best * (1 - threshold), written so that it also holds for values below zero, as those to maximize are here.
    better = values < best - np.asarray(config.threshold) * np.where(np.isfinite(best), np.abs(best), 0.0)
    stale = np.where(better, 0, stale + 1)
    stale = np.where(cooldown > 0, 0, stale)
    cooldown = np.maximum(cooldown - 1, 0)
    full = stale > np.asarray(config.patience)
    lowered = np.maximum(scale * np.asarray(config.factor), np.asarray(config.lowest))
    return Plateau(
        np.where(full, lowered, scale).astype(np.float32),
        np.where(better, values, best).astype(np.float32),
        np.where(full, 0, stale).astype(np.int32),
        np.where(full, np.asarray(config.cooldown), cooldown).astype(np.int32),
    )
