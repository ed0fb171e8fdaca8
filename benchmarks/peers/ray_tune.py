"""Ray Tune around the same PyTorch loop: what `sweep_vs_peers.py` compares with. Runs in its own environment; no dlx.

Reads what `optuna_pytorch.py` reads and trains with its `train`: one core and one thread a trial, as many trials at once as
cores. The arrays go into Ray's object store once. Actors are reused, unless told otherwise: a new process for each trial imports
PyTorch again.
Tune's loggers are off: trials go into no files but Tune's own state. Prints one JSON object.
"""

import argparse
import contextlib
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BEGIN = time.perf_counter()
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}

import numpy as np  # noqa: E402  (imports are part of what is measured)
import ray  # noqa: E402
import torch  # noqa: E402
from ray import tune  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parent))
from optuna_pytorch import train  # noqa: E402


def trial(point: dict[str, int], configs: list[dict[str, Any]], arrays: dict[str, np.ndarray], epochs: int) -> None:
    torch.set_num_threads(1)
    data = {name: torch.from_numpy(array) for name, array in arrays.items()}
    tune.report({"accuracy": train(configs[point["trial"]], data, epochs)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="NPZ with train_x, train_y, validation_x, validation_y")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True, help="trials at once, one thread each")
    parser.add_argument("--fresh-actors", action="store_true", help="a new process for each trial, as is Tune's default")
    options = parser.parse_args()
    configs = json.load(sys.stdin)["configs"]
    imported = time.perf_counter()
    # Tune prints a table even with verbose=0.
    with tempfile.TemporaryDirectory(prefix="ray-") as folder, contextlib.redirect_stdout(sys.stderr):
        quiet: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
        ray.init(num_cpus=options.threads, num_gpus=0, _temp_dir=folder, **quiet)
        started = time.perf_counter()
        arrays = dict(np.load(options.data).items())
        told = tune.with_parameters(trial, configs=configs, arrays=arrays, epochs=options.epochs)
        results = tune.Tuner(
            tune.with_resources(told, {"cpu": 1}),
            param_space={"trial": tune.grid_search(list(range(len(configs))))},
            tune_config=tune.TuneConfig(metric="accuracy", mode="max", reuse_actors=not options.fresh_actors),
            run_config=tune.RunConfig(storage_path=folder, name="peer", verbose=0),
        ).fit()
        trained = time.perf_counter()
        ray.shutdown()
    if results.errors:
        sys.exit(f"{results.num_errors} trials failed: {results.errors[0]}")
    answer = {
        "best": max(result.metrics["accuracy"] for result in results if result.metrics),
        "trials": len(results),
        "seconds": {"import": imported - BEGIN, "start": started - imported, "train": trained - started},
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "ray": ray.__version__},
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
