"""A Bernoulli RBM of dlx beside scikit-learn's BernoulliRBM: the same digits, updates, batch size, rate and chains; who models them better?

    python benchmarks/rbm_vs_sklearn.py --data ~/data/mnist --examples 20000 --epochs 10 --out ratio.json

Both learn by persistent chains (scikit-learn has nothing else) from pixels cut at one half, in float32, in one process. The pseudo-likelihood
of the test part is scikit-learn's own `score_samples` for both, at the same random pixels: dlx's weights are put into its object. Prints one
JSON object: nats and seconds of each seed, and the ratio of the seconds (scikit-learn's by dlx's; above 1 dlx is faster).
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.neural_network import BernoulliRBM

from dlx.config import Experiment, load_experiment
from dlx.data import Dataset, Part, load
from dlx.events import Finished
from dlx.experiment.restore import restore
from dlx.experiment.run import start
from dlx.store import find_run, open_store


def binary(part: Part) -> np.ndarray:
    """Pixels (n, 784) of 0 and 1, float32."""
    return (part.inputs.reshape(len(part.inputs), -1) > 127).astype(np.float32)


def learned(config: Experiment, dataset: Dataset, folder: Path) -> tuple[BernoulliRBM, float]:
    """What dlx learns, as an object of scikit-learn, and the seconds of training."""
    store = open_store(f"sqlite:///{folder / 'dlx.db'}")
    *_, finished = start(config, store)
    assert isinstance(finished, Finished)
    params: Any = restore(find_run(store, finished.run), store).learner.params["hidden"][0]
    machine = BernoulliRBM(n_components=config.model.hidden)
    machine.fit(binary(dataset.test)[:10])  # only so that it counts as fitted
    machine.components_ = np.asarray(params["linear"]["kernel"]).T
    machine.intercept_hidden_ = np.asarray(params["linear"]["bias"])
    machine.intercept_visible_ = np.asarray(params["visible"])
    return machine, finished.seconds["train"]


def score(machine: BernoulliRBM, examples: np.ndarray) -> float:
    """The mean pseudo-likelihood, at ten random pixels of each example, in nats."""
    scores = []
    for seed in range(10):
        machine.set_params(random_state=seed)
        scores.append(machine.score_samples(examples).mean())
    return float(np.mean(scores))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder with the IDX files of MNIST")
    parser.add_argument("--examples", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    tree = {
        "task": {"kind": "boltzmann", "persistent": True, "binarize": "threshold"},
        "data": {
            "kind": "mnist", "path": str(asked.data), "standardize": False, "validation": 0.0, "limit": asked.examples
        },
        "model": {"kind": "rbm", "hidden": asked.hidden},
        "optimizer": {"kind": "sgd", "lr": asked.rate},
        # One evaluation, at the end: scikit-learn keeps its last weights, not its best ones.
        "train": {
            "duration": f"{asked.epochs} epochs", "evaluate_every": f"{asked.epochs} epochs", "batch_size": asked.batch_size
        },
    }  # fmt: skip
    runs = []
    for seed in range(asked.seeds):
        config = load_experiment({**tree, "train": {**tree["train"], "seed": seed}})
        dataset = load(config.data)
        with tempfile.TemporaryDirectory() as folder:
            ours, ours_seconds = learned(config, dataset, Path(folder))
        theirs = BernoulliRBM(
            n_components=asked.hidden,
            learning_rate=asked.rate,
            batch_size=asked.batch_size,
            n_iter=asked.epochs,
            random_state=seed,
        )
        examples = binary(dataset.train)
        began = time.perf_counter()
        theirs.fit(examples)
        theirs_seconds = time.perf_counter() - began
        test = binary(dataset.test)
        runs.append(
            {
                "seed": seed,
                "pseudo_likelihood": {"dlx": round(score(ours, test), 2), "sklearn": round(score(theirs, test), 2)},
                "seconds": {"dlx": round(ours_seconds, 2), "sklearn": round(theirs_seconds, 2)},
            }
        )
    ratio = np.median([run["seconds"]["sklearn"] / run["seconds"]["dlx"] for run in runs])
    answer = {
        **vars(asked),
        "data": "mnist",
        "out": None,
        "load": os.getloadavg()[0],
        "runs": runs,
        "ratio": round(float(ratio), 2),
    }
    text = json.dumps(answer, indent=2)
    print(text)
    if asked.out:
        asked.out.write_text(text)


if __name__ == "__main__":
    main()
