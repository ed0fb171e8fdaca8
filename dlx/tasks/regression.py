"""Losses and scores of numbers. Training sees standardized targets; metrics are in the data's own units."""

from collections.abc import Mapping
from typing import assert_never

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dlx.config.task import Regress
from dlx.data import Spec
from dlx.tasks.state import Sums


class Regression:
    """One number or several. Outputs (b, outputs) standardized, targets (b, outputs) in their own units."""

    running_scores = ("rmse",)

    def __init__(self, config: Regress, spec: Spec) -> None:
        self.scores = {"rmse": False, "mae": False, "r2": True}
        self.kind = config.loss
        self.mean = np.asarray(spec.target_mean, np.float32)  # (outputs,)
        self.std = np.asarray(spec.target_std, np.float32)

    def loss(self, config: Regress, outputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The loss of each example (b,), a mean over its outputs, and weights of one (b,)."""
        error = outputs - (targets - self.mean) / self.std  # (b, outputs)
        match self.kind:
            case "mse":
                each = jnp.square(error)
            case "mae":
                each = jnp.abs(error)
            case "huber":
                each = optax.huber_loss(error, delta=config.huber_delta)
            case _:
                assert_never(self.kind)
        return each.mean(-1), jnp.ones(targets.shape[:1], jnp.float32)

    def sums(self, outputs: jax.Array, targets: jax.Array, weight: jax.Array, *, full: bool) -> Sums:
        """Squared errors; with `full` also absolute errors and the moments of the targets. All in standard deviations."""
        standardized = (targets - self.mean) / self.std
        error = outputs - standardized
        w = weight[:, None]
        sums = {"squared": jnp.sum(w * jnp.square(error), 0)}  # (outputs,)
        if full:
            # Standardized targets are near zero mean, so that float32 moments do not cancel.
            sums |= {
                "absolute": jnp.sum(w * jnp.abs(error), 0),
                "first": jnp.sum(w * standardized, 0),
                "second": jnp.sum(w * jnp.square(standardized), 0),
            }
        return sums

    def said(self, outputs: jax.Array) -> jax.Array:
        """Standardized numbers (b, outputs) in the data's own units."""
        return outputs * self.std + self.mean

    def metrics(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """rmse; with the full sums also mae and r2. Means over the outputs, as scikit-learn's uniform average."""
        count, std = float(sums["count"]), self.std.astype(np.float64)
        metrics = {"rmse": float(np.mean(np.sqrt(sums["squared"] / count) * std))}
        if "absolute" in sums:
            total = sums["second"] - np.square(sums["first"]) / count
            metrics["mae"] = float(np.mean(sums["absolute"] / count * std))
            # A part whose targets are all equal has no variance to explain: R2 is then 0, as good as the mean.
            metrics["r2"] = float(np.mean(np.where(total > 0, 1 - sums["squared"] / np.where(total > 0, total, 1.0), 0.0)))
        return metrics
