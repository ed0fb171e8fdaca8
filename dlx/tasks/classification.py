"""Losses and scores of exclusive classes (softmax) and of independent labels (sigmoid)."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dlx.config.task import Classify, ClassWeights, Multilabel
from dlx.data import Spec
from dlx.errors import ConfigError
from dlx.tasks.state import Sums


class Classification:
    """One class of several. Logits (b, classes), targets (b,) int32."""

    running_scores = ("accuracy",)

    def __init__(self, config: Classify, spec: Spec) -> None:
        self.scores = {"accuracy": True, "f1": True} | ({f"accuracy_top{config.top_k}": True} if config.top_k else {})
        self.classes = spec.outputs
        self.top_k = config.top_k
        if self.top_k is not None and self.top_k >= self.classes:
            raise ConfigError(
                f"task.top_k is {self.top_k}, but the data has {self.classes} classes: every guess would be right"
            )
        counts = np.asarray(spec.class_counts, np.float64)
        balanced = counts.sum() / (len(counts) * np.maximum(counts, 1))
        self.weights = _weights(config.class_weights, balanced, spec.classes)

    def loss(self, config: Classify, logits: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Cross-entropy of each example (b,) and the weight it has in the mean (b,)."""
        labels = optax.smooth_labels(jax.nn.one_hot(targets, self.classes), config.label_smoothing)  # (b, classes)
        weight = jnp.ones(targets.shape, jnp.float32) if self.weights is None else jnp.asarray(self.weights)[targets]
        return optax.softmax_cross_entropy(logits, labels), weight

    def sums(self, logits: jax.Array, targets: jax.Array, weight: jax.Array, *, full: bool) -> Sums:
        """Right guesses; with `full` also the counts behind F1 and the top-k accuracy."""
        guess = jnp.argmax(logits, -1)
        sums = {"correct": jnp.sum(weight * (guess == targets))}
        if full:
            right = jax.nn.one_hot(targets, self.classes) * weight[:, None]  # (b, classes)
            guessed = jax.nn.one_hot(guess, self.classes) * weight[:, None]
            sums |= {"true_positive": jnp.sum(right * guessed, 0), "positive": right.sum(0), "guessed": guessed.sum(0)}
        if full and self.top_k is not None:
            _, best = jax.lax.top_k(logits, self.top_k)  # (b, k)
            sums["correct_top_k"] = jnp.sum(weight * jnp.any(best == targets[:, None], -1))
        return sums

    def said(self, outputs: jax.Array) -> jax.Array:
        """Logits are handed on as they are."""
        return outputs

    def metrics(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Accuracy; with the full sums also f1 (macro) and accuracy_top_k."""
        count = float(sums["count"])
        metrics = {"accuracy": float(sums["correct"]) / count}
        if "guessed" in sums:
            metrics["f1"] = _macro_f1(sums)
        if "correct_top_k" in sums:
            metrics[f"accuracy_top{self.top_k}"] = float(sums["correct_top_k"]) / count
        return metrics


class Multilabelling:
    """Any number of labels at once. Logits (b, labels), targets (b, labels) of 0 and 1."""

    running_scores = ("accuracy",)

    def __init__(self, config: Multilabel, spec: Spec) -> None:
        self.scores = {"f1": True, "accuracy": True, "subset_accuracy": True, "f1_macro": True}
        positives = np.asarray(spec.class_counts, np.float64)
        balanced = np.maximum(spec.examples - positives, 1) / np.maximum(positives, 1)
        self.weights = _weights(config.class_weights, balanced, spec.classes)

    def loss(self, config: Multilabel, logits: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mean binary cross-entropy over the labels of each example (b,), and weights of one (b,)."""
        del config
        each = optax.sigmoid_binary_cross_entropy(logits, targets)  # (b, labels)
        if self.weights is not None:
            each *= jnp.where(targets > 0, jnp.asarray(self.weights), 1.0)
        return each.mean(-1), jnp.ones(targets.shape[:1], jnp.float32)

    def sums(self, logits: jax.Array, targets: jax.Array, weight: jax.Array, *, full: bool) -> Sums:
        """Right labels; with `full` also wholly right examples and the counts behind F1."""
        guess = (logits > 0).astype(jnp.float32)
        agree = (guess == targets).astype(jnp.float32)
        sums = {"correct": jnp.sum(weight * agree.mean(-1))}
        if full:
            w = weight[:, None]
            sums |= {
                "exact": jnp.sum(weight * agree.min(-1)),
                "true_positive": jnp.sum(w * guess * targets, 0),
                "positive": jnp.sum(w * targets, 0),
                "guessed": jnp.sum(w * guess, 0),
            }
        return sums

    def said(self, outputs: jax.Array) -> jax.Array:
        """Logits are handed on as they are."""
        return outputs

    def metrics(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Accuracy (share of right labels); with the full sums subset_accuracy, f1 (micro) and f1_macro."""
        count = float(sums["count"])
        metrics = {"accuracy": float(sums["correct"]) / count}
        if "guessed" in sums:
            denominator = float(sums["positive"].sum() + sums["guessed"].sum())
            metrics |= {
                "subset_accuracy": float(sums["exact"]) / count,
                "f1": 2 * float(sums["true_positive"].sum()) / denominator if denominator else 0.0,
                "f1_macro": _macro_f1(sums),
            }
        return metrics


def _macro_f1(sums: Mapping[str, np.ndarray]) -> float:
    """The mean over classes of 2 TP / (positives + guesses); a class that is neither present nor guessed is left out."""
    denominator = sums["positive"] + sums["guessed"]
    present = denominator > 0
    return float(np.mean(2 * sums["true_positive"][present] / denominator[present])) if present.any() else 0.0


def _weights(choice: ClassWeights, balanced: np.ndarray, names: tuple[str, ...]) -> np.ndarray | None:
    if choice == "none":
        return None
    if choice == "balanced":
        return balanced.astype(np.float32)
    if len(choice) != len(balanced):
        raise ConfigError(
            f"task.class_weights has {len(choice)} numbers, but the data has {len(balanced)} classes: {', '.join(names)}"
        )
    return np.asarray(choice, np.float32)
