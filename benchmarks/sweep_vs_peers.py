"""Wall time of `dlx sweep` against other searches: same space, trials, net, data, epochs and machine.

The contenders, one after the other, start to exit: (a) dlx, (b) Optuna and a plain PyTorch loop in one process, (c) the same
with a process for each trial, two at a time, (d) Ray Tune around the same loop, one core a trial, (e) Keras Tuner in one
process. dlx proposes the trials; the others train the same list. Progress goes to stderr, one JSON object to stdout (and to
--out).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from train_vs_pytorch import ROOT, processor, publish, say, spread

from dlx.config.space import apply
from dlx.config.sweep import load_sweep
from dlx.experiment.assemble import load_data

PEERS = Path(__file__).resolve().parent / "peers"
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
            theirs.append(run_peer(options, told, folder))
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
        ours_median = answer["dlx"]["wall"]["median"]
        for letter, script, python, more in (
            ("d", "ray_tune.py", options.ray_python, ["--fresh-actors"]),
            ("d_reused", "ray_tune.py", options.ray_python, []),
            ("e", "keras_tuner_peer.py", options.keras_python, []),
        ):
            if python:
                answer[letter] = run_search(options, told, folder, letter, [python, str(PEERS / script), *more])
                answer[f"ratio_{letter}"] = answer[letter]["wall"] / ours_median
        if options.processes:
            answer["c"] = run_processes(options, told, folder)
            answer["ratio_c"] = answer["c"]["wall"] / ours_median
    publish(answer, options.out)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="what to search and to override (default: rate, dropout, weight decay)")
    parser.add_argument("--recipe", default="digits-mlp")
    parser.add_argument("--trials", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--processes", type=int, default=0, help="so many trials of (c), whose time is scaled to all of them")
    parser.add_argument("--torch-python", default=os.environ.get("DLX_TORCH_PYTHON"), help="a Python with PyTorch and Optuna")
    parser.add_argument(
        "--ray-python", default=os.environ.get("DLX_RAY_PYTHON"), help="a Python with PyTorch and Ray Tune: (d)"
    )
    parser.add_argument(
        "--keras-python", default=os.environ.get("DLX_KERAS_PYTHON"), help="one with PyTorch and Keras Tuner: (e)"
    )
    parser.add_argument("--peer-repeats", type=int, default=1, help="runs of (d) and (e)")
    parser.add_argument(
        "--peer-trials", type=int, default=0, help="so many trials of (d) and (e), and a quarter: then by a line"
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if not options.torch_python:
        parser.error("no Python with PyTorch: set DLX_TORCH_PYTHON or give --torch-python")
    if options.peer_repeats < 1 or options.peer_trials in (1, 2, 3):
        parser.error("--peer-repeats is at least 1, --peer-trials at least 4")
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
    options: argparse.Namespace,
    told: str,
    folder: Path,
    more: Sequence[str] = (),
    threads: int | None = None,
    program: Sequence[str] = (),
) -> dict[str, Any]:
    """One run of a peer, of (b) unless told otherwise."""
    command = [*(program or (options.torch_python, str(PEERS / "optuna_pytorch.py"))), "--data", str(folder / "data.npz")]
    command += ["--epochs", str(options.epochs), "--threads", str(threads or os.cpu_count() or 1), *more]
    return timed(command, folder, {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, told)


def run_search(options: argparse.Namespace, told: str, folder: Path, letter: str, program: list[str]) -> dict[str, Any]:
    """(d), (e): all trials; or --peer-trials of them and a quarter of those, and from the two a line to all."""
    parts = json.loads(told)
    every = len(parts["configs"])
    some = options.peer_trials if 0 < options.peer_trials < every else every
    runs: dict[int, list[dict[str, Any]]] = {}
    for size in [every] if some == every else [some // 4, some]:
        first = json.dumps({name: part[:size] for name, part in parts.items()})
        runs[size] = [run_peer(options, first, folder, program=program) for _ in range(options.peer_repeats)]
    walls = {size: spread([run["wall"] for run in of_size]) for size, of_size in runs.items()}
    say(f"({letter}): " + ", ".join(f"{size} trials {wall['median']:.1f} s" for size, wall in walls.items()))
    answer = {"trials": every, "measured": walls, "last": runs[some][-1]}
    if some == every:
        return {**answer, "extrapolated": False, "wall": walls[every]["median"]}
    each = (walls[some]["median"] - walls[some // 4]["median"]) / (some - some // 4)
    start = walls[some]["median"] - each * some
    return {**answer, "extrapolated": True, "seconds_a_trial": each, "seconds_start": start, "wall": start + each * every}


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
