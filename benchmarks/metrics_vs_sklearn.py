"""The time of dlx's metrics and their intervals beside scikit-learn's, on the same made predictions, and how far they are apart.

    python benchmarks/metrics_vs_sklearn.py --examples 10000 --classes 10

scikit-learn computes the same metrics once; a plain bootstrap with it would take that times the resamples, and is measured for a few
of them. Prints one JSON object: seconds (wall and processor) of both, their ratios, and the greatest difference of any metric.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn.metrics as sk

from dlx.evaluation import metrics


def peer(logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """What scikit-learn needs for the same figures, without computing anything twice."""
    guess, p, truth = logits.argmax(1), metrics.probabilities("class", logits), np.eye(logits.shape[1], dtype=int)[targets]
    averages = ("macro", "micro", "weighted")
    three = {a: sk.precision_recall_fscore_support(targets, guess, average=a, zero_division=np.nan) for a in averages}
    sk.precision_recall_fscore_support(targets, guess, zero_division=np.nan)
    sk.confusion_matrix(targets, guess)
    return {
        "accuracy": sk.accuracy_score(targets, guess),
        "f1": three["macro"][2],
        "precision_macro": three["macro"][0],
        "f1_weighted": three["weighted"][2],
        "balanced_accuracy": sk.balanced_accuracy_score(targets, guess),
        "mcc": sk.matthews_corrcoef(targets, guess),
        "cohen_kappa": sk.cohen_kappa_score(targets, guess),
        "log_loss": sk.log_loss(targets, p),
        "brier": sk.brier_score_loss(targets, p),
        "roc_auc_macro": float(np.mean(sk.roc_auc_score(truth, p, average=None))),
        "average_precision_macro": float(np.mean(sk.average_precision_score(truth, p, average=None))),
    }


def timed(function: Callable[[], Any], repeats: int) -> dict[str, float]:
    """The least wall and processor seconds of some calls."""
    walls, processors = [], []
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        function()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    return {"wall": round(min(walls), 4), "processor": round(min(processors), 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    targets = rng.integers(asked.classes, size=asked.examples)
    logits = rng.normal(size=(asked.examples, asked.classes)).astype(np.float32)
    logits[np.arange(asked.examples), targets] += 2

    ours, theirs = metrics.overall("class", logits, targets), peer(logits, targets)
    seconds = {
        "dlx": timed(lambda: metrics.overall("class", logits, targets), asked.repeats),
        "sklearn": timed(lambda: peer(logits, targets), asked.repeats),
        "dlx_intervals": timed(lambda: metrics.measure("class", logits, targets, resamples=asked.resamples), asked.repeats),
    }
    few = 5
    rows = [rng.integers(asked.examples, size=asked.examples) for _ in range(few)]
    plain = timed(lambda: [peer(logits[drawn], targets[drawn]) for drawn in rows], 1)
    seconds["sklearn_intervals_estimated"] = {name: round(value * asked.resamples / few, 2) for name, value in plain.items()}
    answer = {
        "examples": asked.examples,
        "classes": asked.classes,
        "resamples": asked.resamples,
        "load": os.getloadavg()[0],
        "seconds": seconds,
        "ratio_values": round(seconds["sklearn"]["processor"] / seconds["dlx"]["processor"], 1),
        "ratio_intervals": round(
            seconds["sklearn_intervals_estimated"]["processor"] / seconds["dlx_intervals"]["processor"], 1
        ),
        "greatest_difference": max(abs(ours[name] - value) for name, value in theirs.items()),
    }
    print(json.dumps(answer, indent=2))


if __name__ == "__main__":
    main()
