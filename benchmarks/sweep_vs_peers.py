"""Wall time of `dlx sweep` against Optuna with a plain PyTorch loop: same space, trials, net, data, epochs and machine.

Three contenders, one after the other, start to exit: (a) dlx, (b) Optuna and PyTorch in one process, (c) Optuna with a
process for each trial, two at a time. dlx proposes the trials; the others train the same list. Progress goes to stderr, one
JSON object to stdout (and to --out).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from train_vs_pytorch import ROOT, processor, say, spread

from dlx.config.space import apply
from dlx.config.sweep import load_sweep
from dlx.experiment.assemble import load_data

PEER = Path(__file__).resolve().parent / "peers" / "optuna_pytorch.py"
SPACE = [
    "optimizer.lr=tag(log, interval(1e-4, 1e-1))",
    "model.dropout=interval(0, 0.6)",
    "optimizer.weight_decay=tag(log, interval(1e-6, 1e-2))",
]


def main() -> None:
    options = parse()
    words = [*(options.words or SPACE), f"train.duration={options.epochs} epochs"]
    with tempfile.TemporaryDirectory(prefix="dlx-benchmark-") as name:
        folder = Path(name)
        cold = run_dlx(options, words, folder, 0)
        say(f"dlx cold: {cold['wall']:.1f} s, {cold['programs']} programs")
        told = trials(options, words, folder)
        ours, theirs = [], []
        for turn in range(1, options.repeats + 1):
            ours.append(run_dlx(options, words, folder, turn))
            theirs.append(run_peer(options, told, folder, []))
            say(f"{turn}/{options.repeats}: dlx {ours[-1]['wall']:.1f} s, (b) {theirs[-1]['wall']:.1f} s")
        answer = {
            "command": sys.argv,
            "machine": {"processor": processor(), "cores": os.cpu_count(), "load": os.getloadavg()},
            "dlx_cold": cold,
            "dlx": {"wall": spread([run["wall"] for run in ours]), "last": ours[-1]},
            "b": {"wall": spread([run["wall"] for run in theirs]), "last": theirs[-1]},
            "ratio_b": statistics.median(r["wall"] for r in theirs) / statistics.median(r["wall"] for r in ours),
            "ratio_b_cold": statistics.median(r["wall"] for r in theirs) / cold["wall"],
        }
        if options.processes:
            answer["c"] = run_processes(options, told, folder)
            answer["ratio_c"] = answer["c"]["wall"] / statistics.median(r["wall"] for r in ours)
    text = json.dumps(answer, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="what to search and to override (default: rate, dropout, weight decay)")
    parser.add_argument("--recipe", default="digits-mlp")
    parser.add_argument("--trials", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--processes", type=int, default=0, help="so many trials of (c), whose time is scaled to all of them")
    parser.add_argument("--torch-python", default=os.environ.get("DLX_TORCH_PYTHON"), help="a Python with PyTorch and Optuna")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if not options.torch_python:
        parser.error("no Python with PyTorch: set DLX_TORCH_PYTHON or give --torch-python")
    return options


def run_dlx(options: argparse.Namespace, words: list[str], folder: Path, turn: int) -> dict[str, Any]:
    environment = {
        **os.environ,
        "DLX_STORE": f"sqlite:///{folder / f'store{turn}' / 'dlx.db'}",
        "DLX_CACHE": str(folder / "cache"),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "dlx", "sweep", options.recipe, *words, "--trials", str(options.trials)]
    return timed([*command, "--sampler", "random", "--json", "-q"], folder, environment)


def trials(options: argparse.Namespace, words: list[str], folder: Path) -> str:
    """What dlx tried, as the peers read it; their data goes into a file."""
    store = f"sqlite:///{folder / 'store0' / 'dlx.db'}"
    command = [sys.executable, "-m", "dlx", "sweep", "export", "latest", "--format", "json", "--store", store]
    out = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=True, text=True
    ).stdout
    params = [trial["params"] for trial in json.loads(out)["trials"]]
    _, document, overrides = load_sweep(options.recipe, words)
    configs = [apply(document, overrides, values) for values in params]
    dataset = load_data(configs[0])
    arrays = {}
    for split, part in (("train", dataset.train), ("validation", dataset.validation)):
        scaled = (part.inputs.astype(np.float32) - dataset.scaling.mean) * dataset.scaling.inverse_std
        arrays |= {f"{split}_x": scaled.reshape(len(scaled), -1), f"{split}_y": np.asarray(part.targets, np.int64)}
    np.savez(folder / "data.npz", **arrays)
    return json.dumps({"configs": [config.model_dump(mode="json") for config in configs], "params": params})


def run_peer(
    options: argparse.Namespace, told: str, folder: Path, more: list[str], threads: int | None = None
) -> dict[str, Any]:
    command = [options.torch_python, str(PEER), "--data", str(folder / "data.npz"), "--epochs", str(options.epochs)]
    command += ["--threads", str(threads or os.cpu_count() or 1), *more]
    return timed(command, folder, {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, told)


def run_processes(options: argparse.Namespace, told: str, folder: Path) -> dict[str, Any]:
    """(c): a process for each trial, two at a time, with one thread each and one Optuna study in SQLite."""
    storage = ["--storage", f"sqlite:///{folder / 'optuna.db'}"]
    run_peer(options, told, folder, ["--trial", "0", *storage], 1)  # makes the tables
    begin = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda n: run_peer(options, told, folder, ["--trial", str(n), *storage], 1), range(options.processes)))
    each = (time.perf_counter() - begin) / options.processes
    say(f"(c): {each:.2f} s a trial")
    return {"measured_trials": options.processes, "seconds_a_trial": each, "wall": each * options.trials}


def timed(command: list[str], folder: Path, environment: dict[str, str], stdin: str = "") -> dict[str, Any]:
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, input=stdin, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - begin
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stderr}")
    return {**json.loads(done.stdout), "wall": wall}


if __name__ == "__main__":
    main()
