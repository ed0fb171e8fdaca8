"""Metrics of independent labels, each guessed where its probability is above one half.

From true positives TP, positives P and guesses G of each label, and n examples with L labels:

- `f1` (micro, as in training) = 2 TP / (P + G) of the sums over labels; `f1_macro`: the mean over labels of each label's own, leaving
  out those that are neither present nor guessed; both 0 if that is none;
- `precision_micro`, `precision_macro`, `recall_...`: TP / G, TP / P likewise; NaN where not defined, and left out of the mean;
- `accuracy`: the share of the n L labels that are right; `hamming_loss` = 1 - accuracy; `subset_accuracy`: of the examples with every
  label right; `jaccard`: the mean over examples of (labels true and guessed) / (labels true or guessed), 1 where that is 0 / 0;
- `label_ranking_average_precision`, `coverage_error`, `label_ranking_loss`: of the order of an example's labels (`ranking`);
- `roc_auc_macro`, `average_precision_macro`: the mean over labels; `..._micro`: of all n L probabilities in one order;
- `log_loss`: the mean over examples and labels of -log p(truth), clipped as scikit-learn does;
- `ece`: the expected calibration error of all n L probabilities (`calibration`).
"""

from functools import partial

import numpy as np

from dlx.evaluation.metrics.calibration import BINS, bins, negative_log, reliability, sigmoid
from dlx.evaluation.metrics.ranking import Curves, curves, label_rankings
from dlx.evaluation.metrics.weighted import BLOCK, Sums, Term, mean_of_defined, of_counts, on_all_cores, ratio
from dlx.evaluation.results import Reliability, Residuals


class Labels:
    """Logits (n, labels) beside 0/1 (n, labels)."""

    def __init__(self, logits: np.ndarray, targets: np.ndarray) -> None:
        self.examples, self.labels = logits.shape
        self.truth = targets > 0
        guess = logits > 0
        self.probabilities = sigmoid(logits)
        self.terms: dict[str, Term] = {
            "true_positive": guess & self.truth,
            "positive": self.truth,
            "guessed": guess,
        }
        # In blocks, as all these take many numbers of a label's own.
        step = max(1, BLOCK // self.labels)
        rows = [slice(start, start + step) for start in range(0, self.examples, step)]
        blocks = [_of_examples(guess[block], self.probabilities[block], self.truth[block]) for block in rows]
        self.terms |= {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    @property
    def ordered(self) -> dict[str, list[Curves]]:
        """The curves of each label, and those of all labels in one."""
        rows = np.repeat(np.arange(self.examples, dtype=np.int32), self.labels)
        pooled = partial(curves, self.probabilities.ravel(), self.truth.ravel(), rows)
        found = on_all_cores(lambda make: make(), [pooled, *(partial(self._curves, label) for label in range(self.labels))])
        return {"curves": found[1:], "pooled": found[:1]}

    def _curves(self, label: int) -> Curves:
        return curves(np.ascontiguousarray(self.probabilities[:, label]), self.truth[:, label])

    def metrics(self, sums: Sums) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Overall (b,) and of each label (b, labels)."""
        right, positive, guessed = sums["true_positive"], sums["positive"], sums["guessed"]
        n = sums["examples"]
        each = of_counts(right, positive, guessed)
        overall = {
            "f1": np.nan_to_num(ratio(2 * right.sum(-1), (positive + guessed).sum(-1))),
            "f1_macro": np.nan_to_num(mean_of_defined(each["f1"])),
            "precision_micro": ratio(right.sum(-1), guessed.sum(-1)),
            "precision_macro": mean_of_defined(each["precision"]),
            "recall_micro": ratio(right.sum(-1), positive.sum(-1)),
            "recall_macro": mean_of_defined(each["recall"]),
            "accuracy": sums["correct"] / n,
            "subset_accuracy": sums["exact"] / n,
            "hamming_loss": 1 - sums["correct"] / n,
            "jaccard": sums["jaccard"] / n,
        }
        if "curves" in sums:
            each |= {"roc_auc": sums["curves"][..., 0], "average_precision": sums["curves"][..., 1]}
            for place, name in enumerate(("roc_auc", "average_precision")):
                overall[f"{name}_macro"] = mean_of_defined(each[name])
                overall[f"{name}_micro"] = sums["pooled"][:, 0, place]
        for name in ("label_ranking_average_precision", "coverage_error", "label_ranking_loss", "log_loss"):
            overall[name] = sums[name] / n
        overall["ece"] = np.abs(sums["calibration"]).sum(-1) / (n * self.labels)
        return overall, each

    def whole(self) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """The support: how many examples have each label."""
        return {}, {"support": self.truth.sum(0)}

    def pictures(self, seed: int) -> tuple[np.ndarray | None, Reliability, Residuals | None]:
        """The reliability of all probabilities."""
        del seed
        return None, reliability(self.probabilities.ravel(), self.truth.ravel()), None


def _of_examples(guess: np.ndarray, probabilities: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """From (n, labels) each, what each example has (n,) of the metrics that are means over examples.

    `calibration` (n, bins) is the sum over the labels in the bin of truth - probability.
    """
    agree = guess == truth
    either = (guess | truth).sum(1)
    cells = np.arange(len(truth))[:, None] * BINS + bins(probabilities)
    calibration = np.bincount(cells.ravel(), (truth - probabilities).ravel(), len(truth) * BINS)
    return {
        "correct": agree.mean(1),
        "exact": agree.all(1),
        "jaccard": np.where(either > 0, (guess & truth).sum(1) / np.maximum(either, 1), 1.0),
        "log_loss": negative_log(np.where(truth, probabilities, 1 - probabilities)).mean(1),
        "calibration": calibration.reshape(len(truth), BINS),
        **label_rankings(probabilities, truth),
    }
