"""Metrics of exclusive classes.

From true positives TP, positives P (the examples of the class) and guesses G of each class, and n examples:

- `accuracy` = sum of TP / n; `accuracy_top5`: the true class is among the 5 likeliest (of equal ones the first, as in training);
- precision = TP / G, recall = TP / P, F1 = 2 TP / (P + G). A class that is never guessed has no precision, one without an example
  no recall, one that is neither no F1: NaN, and left out of the means (scikit-learn's `zero_division=np.nan`);
- `..._macro`: the mean over classes; `..._weighted`: that weighted by P; `..._micro`: from the sums over classes, which for
  exclusive classes is the accuracy. `f1` is the macro mean, as in training; `balanced_accuracy` = `recall_macro`;
- `mcc` (Matthews, Gorodkin 2004) = (n TP - P.G) / sqrt((n^2 - P.P) (n^2 - G.G)), 0 where that is 0 / 0; `cohen_kappa` =
  (TP / n - P.G / n^2) / (1 - P.G / n^2);
- `roc_auc`, `average_precision`: of the second of two classes; with more classes `..._macro`, the mean of each against the rest;
- `log_loss` = mean of -log p(true class), clipped as scikit-learn does; `brier`: two classes, mean (1 - p(true))^2; more, the mean
  of the sum over classes of (p - truth)^2 (Brier 1950), as in scikit-learn;
- `ece`: the expected calibration error of the likeliest class (`calibration`).
"""

from collections.abc import Sequence

import numpy as np

from dlx.evaluation.metrics.calibration import BINS, bins, negative_log, reliability, softmax
from dlx.evaluation.metrics.ranking import Curves, curves
from dlx.evaluation.metrics.weighted import Groups, Sums, Term, mean_of_defined, of_counts, on_all_cores, ratio
from dlx.evaluation.results import Reliability, Residuals


class Classes:
    """Logits (n, classes) beside true classes (n,)."""

    def __init__(self, logits: np.ndarray, targets: np.ndarray, top_k: Sequence[int]) -> None:
        self.examples, self.classes = logits.shape
        self.targets = targets.astype(np.int64)
        self.top_k = tuple(top_k) or ((5,) if self.classes > 5 else ())
        self.guess = logits.argmax(1)
        self.right = self.guess == self.targets
        self.probabilities = softmax(logits)
        rows = np.arange(self.examples)
        self.confidence = self.probabilities[rows, self.guess]
        true = self.probabilities[rows, self.targets]
        squares = np.einsum("nk,nk->n", self.probabilities, self.probabilities) - np.square(true) + np.square(1 - true)
        self.terms: dict[str, Term] = {
            "true_positive": Groups(np.where(self.right, self.targets, self.classes), self.classes),
            "positive": Groups(self.targets, self.classes),
            "guessed": Groups(self.guess, self.classes),
            "log_loss": negative_log(true),
            "brier": squares / 2 if self.classes <= 2 else squares,
            "calibration": Groups(bins(self.confidence), BINS, self.right - self.confidence),
        }
        if self.top_k:
            own = logits[rows, self.targets][:, None]
            before = np.arange(self.classes) < self.targets[:, None]
            place = ((logits > own) | ((logits == own) & before)).sum(1)  # of the true class, from 0
            self.terms["correct_top_k"] = np.stack([place < k for k in self.top_k], 1)

    @property
    def ordered(self) -> dict[str, list[Curves]]:
        """The curves of each class against the rest."""
        return {"curves": on_all_cores(self._curves, range(self.classes))}

    def _curves(self, index: int) -> Curves:
        return curves(np.ascontiguousarray(self.probabilities[:, index]), self.targets == index)

    def metrics(self, sums: Sums) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Overall (b,) and of each class (b, classes)."""
        right, positive, guessed = sums["true_positive"], sums["positive"], sums["guessed"]
        n = sums["examples"]
        each = of_counts(right, positive, guessed)
        correct = right.sum(-1)
        overall = {"accuracy": correct / n}
        for place, k in enumerate(self.top_k):
            overall[f"accuracy_top{k}"] = sums["correct_top_k"][:, place] / n
        overall["f1"] = mean_of_defined(each["f1"])
        overall["balanced_accuracy"] = mean_of_defined(each["recall"])
        for name in ("precision", "recall"):
            overall[f"{name}_macro"] = mean_of_defined(each[name])
        for name in ("precision", "recall", "f1"):
            overall[f"{name}_micro"] = correct / n
        for name in ("precision", "recall", "f1"):
            overall[f"{name}_weighted"] = mean_of_defined(each[name], positive)
        overall |= _agreement(correct, positive, guessed, n)
        if "curves" in sums:
            each |= {"roc_auc": sums["curves"][..., 0], "average_precision": sums["curves"][..., 1]}
            for name in ("roc_auc", "average_precision"):
                if self.classes == 2:
                    overall[name] = each[name][:, 1]
                else:
                    overall[f"{name}_macro"] = mean_of_defined(each[name])
        overall["log_loss"] = sums["log_loss"] / n
        overall["brier"] = sums["brier"] / n
        overall["ece"] = np.abs(sums["calibration"]).sum(-1) / n
        return overall, each

    def whole(self) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """The support: how many examples each class has."""
        return {}, {"support": np.bincount(self.targets, minlength=self.classes)}

    def pictures(self, seed: int) -> tuple[np.ndarray, Reliability, Residuals | None]:
        """The confusion matrix and the reliability."""
        del seed
        cells = np.bincount(self.targets * self.classes + self.guess, minlength=self.classes**2)
        return cells.reshape(self.classes, self.classes), reliability(self.confidence, self.right), None


def _agreement(correct: np.ndarray, positive: np.ndarray, guessed: np.ndarray, n: np.ndarray) -> dict[str, np.ndarray]:
    chance = (positive * guessed).sum(-1)
    truth, guess = (n**2 - np.square(each).sum(-1) for each in (positive, guessed))
    spread = np.sqrt(truth) * np.sqrt(guess)
    return {
        "mcc": np.where(spread > 0, ratio(n * correct - chance, spread), 0.0),
        "cohen_kappa": ratio(n * correct - chance, n**2 - chance),
    }
