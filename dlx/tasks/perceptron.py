"""The perceptron's rule (Rosenblatt 1958), of several classes."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from dlx.config.energy_task import Perceptron
from dlx.tasks.state import Sums
from dlx.tasks.supervised import Supervised


class PerceptronRule:
    """One class of several, by the row with the largest score. Scores (b, classes), targets (b,) int32.

    The rule moves the right row of the weights by lr * x and the guessed one by -lr * x where they differ. That is a step against a
    subgradient of the perceptron's criterion, max_k a_k - a_y, which is what the loss is here. Of data that some rows separate with
    margin g, |x| at most R, it makes at most 2 (R / g)**2 errors, with batches of one and whatever the rate, if it begins at zeros
    (Novikoff 1962; Kesler's construction for several classes, in Duda, Hart and Stork 2001).
    """

    running_scores = ("accuracy", "errors")

    def __init__(self) -> None:
        self.scores = {"accuracy": True, "errors": False}

    def loss(self, config: Perceptron, outputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The criterion of each example (b,), and weights of one (b,)."""
        del config
        # Of equal scores the first is the guess. The gradient of their maximum would be spread over all of them.
        guess = jnp.argmax(outputs, -1)
        chosen = jax.nn.one_hot(guess, outputs.shape[-1], dtype=outputs.dtype)
        right = jax.nn.one_hot(targets, outputs.shape[-1], dtype=outputs.dtype)
        return jnp.sum((chosen - right) * outputs, -1), jnp.ones(targets.shape, jnp.float32)

    def sums(self, outputs: jax.Array, targets: jax.Array, weight: jax.Array, *, full: bool) -> Sums:
        """Wrong guesses."""
        del full
        return {"errors": jnp.sum(weight * (jnp.argmax(outputs, -1) != targets))}

    def said(self, outputs: jax.Array) -> jax.Array:
        """Scores are handed on as they are."""
        return outputs

    def metrics(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """`accuracy`, and `errors`, how many guesses were wrong: in training those of the epoch, each made before it was learned from."""
        errors = float(sums["errors"])
        return {"accuracy": 1 - errors / float(sums["count"]), "errors": errors}


class PerceptronLearning(Supervised):
    """Learning by the rule, which has nothing more to learn where it makes no error any more."""

    def conclusion(self, metrics: Mapping[str, float], epochs: float) -> str:
        """What came of so many epochs, by the errors since the evaluation before the last one, which was `train/epochs` ago."""
        errors, since = metrics["train/errors"], metrics["train/epochs"]
        if errors:
            return f"not separable by this rule within {epochs:g} epochs: {errors:,.0f} errors since the evaluation before the last"
        if since < 1:
            return (
                f"no error in the last {since:.2g} epochs, too few to tell whether it has converged: set train.evaluate_every to an "
                "epoch or more, and train.duration to a multiple of it"
            )
        return f"converged: no error in the last {since:g} epochs, since the evaluation before the last"
