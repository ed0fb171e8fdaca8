"""Keras Tuner in one process: what `sweep_vs_peers.py` compares with. Runs in Keras's own environment; no dlx.

Keras runs on PyTorch: the same kernels, threads and version as the other peers have. Nothing is compiled, since every trial
would be compiled anew; TensorFlow's graphs, tried on digits-mlp for 2 and for 20 epochs, took longer. Weights begin as
PyTorch's do, and batch normalization has PyTorch's numbers.

Reads what `optuna_pytorch.py` reads. A grid over the trial's number trains exactly those configs, each with `fit` on arrays in
memory; nothing is checkpointed. `fit` keeps a last, smaller batch where the PyTorch loops leave it out of every permutation:
here its examples are cut off the arrays. Prints one JSON object.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BEGIN = time.perf_counter()
os.environ["KERAS_BACKEND"] = "torch"

import keras  # noqa: E402  (imports are part of what is measured)
import keras_tuner  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parent))
from pytorch_train import rate  # noqa: E402


class Table(keras.optimizers.schedules.LearningRateSchedule):
    """The schedule's rate at each step, computed before: a lookup costs less than the formula."""

    def __init__(self, rates: list[float]) -> None:
        self.rates = keras.ops.convert_to_tensor(rates, "float32")

    def __call__(self, step: Any) -> Any:
        return keras.ops.take(self.rates, step)


def build(config: dict[str, Any], features: int, outputs: int, steps: int) -> keras.Sequential:
    """The net, compiled with its optimizer."""
    model, batch_norm = config["model"], config["model"]["normalization"] == "batch"
    layers: list[Any] = [keras.Input((features,))]
    for width in model["hidden"]:
        layers += [dense(width, bias=not batch_norm), *normalization(model["normalization"])]
        leaky = model["activation"] == "leaky_relu"
        layers += [keras.layers.LeakyReLU(0.01) if leaky else keras.layers.Activation(model["activation"])]
        layers += [keras.layers.Dropout(model["dropout"])] if model["dropout"] else []
    net = keras.Sequential([*layers, dense(outputs)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(build_optimizer(config, steps), loss, metrics=["accuracy"], jit_compile=False)
    return net


def dense(width: int, bias: bool = True) -> Any:
    """An affine layer whose weights begin as those of `torch.nn.Linear`."""
    return keras.layers.Dense(
        width, use_bias=bias, kernel_initializer=keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
    )


def normalization(kind: str) -> list[Any]:
    match kind:
        case "none":
            return []
        case "batch":
            return [keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)]
        case "layer":
            return [keras.layers.LayerNormalization(epsilon=1e-5)]
    sys.exit(f"no normalization {kind!r} here")


def build_optimizer(config: dict[str, Any], steps: int) -> keras.optimizers.Optimizer:
    """The optimizer of the experiment; decay spares biases and normalization, as in dlx."""
    numbers = config["optimizer"]
    if numbers["kind"] not in ("adam", "adamw"):
        sys.exit(f"no optimizer {numbers['kind']!r} here: adam or adamw")
    if unknown := [name for name in ("l1", "l2", "clip_value", "clip_norm") if numbers[name] is not None]:
        sys.exit(f"no optimizer.{unknown[0]} here")
    lr: Any = numbers["lr"]
    if config["schedule"]["kind"] != "constant":
        lr = Table([lr * rate(config["schedule"], step, steps) for step in range(steps)])
    decay = numbers.get("weight_decay") or None
    optimizer = keras.optimizers.Adam(lr, numbers["b1"], numbers["b2"], numbers["eps"], weight_decay=decay)  # AdamW if decay
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


class Search(keras_tuner.GridSearch):
    """A grid over the number of the trial."""

    def run_trial(
        self, trial: Any, configs: list[dict[str, Any]], data: dict[str, np.ndarray], epochs: int, verbose: int
    ) -> dict[str, float]:
        config = configs[trial.hyperparameters.get("trial")]
        keras.utils.clear_session()
        keras.utils.set_random_seed(config["train"]["seed"])
        batch = config["train"]["batch_size"]
        per_epoch = len(data["train_x"]) // batch
        x, y = (data[name][: per_epoch * batch] for name in ("train_x", "train_y"))
        net = build(config, x.shape[1], int(data["train_y"].max()) + 1, epochs * per_epoch)
        shown = {
            "validation_data": (data["validation_x"], data["validation_y"]),
            "validation_batch_size": len(data["validation_x"]),
        }
        history = net.fit(x, y, batch_size=batch, epochs=epochs, verbose=verbose, **shown).history
        return {"val_accuracy": max(history["val_accuracy"])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="NPZ with train_x, train_y, validation_x, validation_y")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    configs = json.load(sys.stdin)["configs"]
    imported = time.perf_counter()
    torch.set_num_threads(options.threads)
    data = dict(np.load(options.data).items())
    space = keras_tuner.HyperParameters()
    space.Choice("trial", list(range(len(configs))))
    with tempfile.TemporaryDirectory(prefix="keras-tuner-") as folder:
        goal = keras_tuner.Objective("val_accuracy", "max")
        search = Search(objective=goal, hyperparameters=space, directory=folder, project_name="peer")
        search.search(configs, data, options.epochs, verbose=0)
        done = search.oracle.get_best_trials(len(configs))
    if len(done) < len(configs):
        failed = [trial.message for trial in search.oracle.trials.values() if trial.message]
        sys.exit(f"{len(configs) - len(done)} trials failed: {failed[:1]}")
    versions = {"keras": keras.__version__, "keras-tuner": keras_tuner.__version__, "torch": torch.__version__}
    answer = {
        "best": done[0].score,
        "trials": len(done),
        "seconds": {"import": imported - BEGIN, "train": time.perf_counter() - imported},
        "versions": {"python": platform.python_version(), **versions, "backend": keras.config.backend()},
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
