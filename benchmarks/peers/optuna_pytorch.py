"""Optuna around a plain PyTorch loop: what `sweep_vs_peers.py` compares with. Runs in PyTorch's own environment; no dlx.

Reads {"configs": [resolved experiment of each trial], "params": [its searched values]} on stdin, trains every trial on the
arrays of an NPZ file, scores validation after every epoch, and tells Optuna the best score. Prints one JSON object.
"""

import argparse
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

BEGIN = time.perf_counter()

import numpy as np  # noqa: E402  (imports are part of what is measured)
import torch  # noqa: E402
from torch import nn  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parent))
from pytorch_train import build_mlp, build_optimizer, rate  # noqa: E402


def train(config: dict[str, Any], data: dict[str, torch.Tensor], epochs: int) -> float:
    """One trial: the best validation accuracy."""
    torch.manual_seed(config["train"]["seed"])
    x, y = data["train_x"], data["train_y"]
    net = build_mlp(config["model"], x[0].numel(), int(y.max()) + 1)
    optimizer = build_optimizer(config["optimizer"], net, fused=False)
    base = [group["lr"] for group in optimizer.param_groups]
    batch = config["train"]["batch_size"]
    per_epoch = len(x) // batch
    best, step = 0.0, 0
    for _ in range(epochs):
        net.train()
        for index in torch.randperm(len(x))[: per_epoch * batch].split(batch):
            factor = rate(config["schedule"], step, epochs * per_epoch)
            for group, lr in zip(optimizer.param_groups, base, strict=True):
                group["lr"] = lr * factor
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(net(x[index]), y[index]).backward()
            optimizer.step()
            step += 1
        net.eval()
        with torch.inference_mode():
            hits = net(data["validation_x"]).argmax(1) == data["validation_y"]
        best = max(best, float(hits.float().mean()))
    return best


def main() -> None:
    import optuna  # here: Ray's environment, which imports `train`, has none

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="NPZ with train_x, train_y, validation_x, validation_y")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--trial", type=int, help="train this trial alone")
    parser.add_argument("--storage", help="Optuna's storage (default: in memory)")
    options = parser.parse_args()
    told = json.load(sys.stdin)
    imported = time.perf_counter()
    torch.set_num_threads(options.threads)
    data = {name: torch.from_numpy(array) for name, array in np.load(options.data).items()}
    optuna.logging.disable_default_handler()
    study = optuna.create_study(
        study_name="peer",
        storage=options.storage,
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    numbers = range(len(told["configs"])) if options.trial is None else [options.trial]
    for number in numbers:
        values = {k: v for k, v in told["params"][number].items() if isinstance(v, int | float)}  # a list is no distribution
        distributions = {k: optuna.distributions.FloatDistribution(v, v) for k, v in values.items()}
        trial = study.ask(distributions)
        study.tell(trial, train(told["configs"][number], data, options.epochs))
    answer = {
        "best": max(t.value for t in study.trials if t.value is not None),
        "trials": len(numbers),
        "seconds": {"import": imported - BEGIN, "train": time.perf_counter() - imported},
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "optuna": optuna.__version__},
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
