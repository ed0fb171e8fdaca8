"""How long `dlx runs` takes where the store holds 10,000 runs with 3 million rows of metrics.

The store is filled through dlx's own tables and functions, in a temporary folder, with experiments drawn from a seed. Then whole commands are
timed, each in a new process: the median of `--repeats` of their wall time, and of the time the processor worked for them (user + system). What they
print goes into a pipe, or, where it says so, to a terminal 100 columns wide. The table goes to stderr, one JSON object to stdout (and to --out).
"""

import argparse
import os
import pty
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

from train_vs_pytorch import processor, publish, say  # noqa: E402

from dlx.config.load import load_experiment  # noqa: E402
from dlx.errors import Status  # noqa: E402
from dlx.store import Ending, RunUpdate, Store, finish_runs, open_store, record  # noqa: E402
from dlx.store.holding import held_by  # noqa: E402
from dlx.store.process import this_process  # noqa: E402
from dlx.store.tables import RUNS, SEGMENTS  # noqa: E402

BATCH = 100
"""Runs that are written in one transaction."""
CURVES = ("train/loss", "train/accuracy", "train/learning_rate", "validation/loss", "validation/accuracy")
EVERY = 'metrics."test/accuracy" > 0.9 and config.model.kind = mlp'
RARE = "(config.optimizer.lr < 1e-4 or config.model.dropout >= 0.5) and not status = diverged and test/accuracy > 0.8"
COMMANDS: tuple[tuple[str, float | None, tuple[str, ...]], ...] = (
    ("ls", 0.5, ("ls",)),
    ("ls, terminal", 0.5, ("ls",)),
    ("ls -n 20", 0.5, ("ls", "-n", "20")),
    ("ls --all, terminal", None, ("ls", "--all")),
    ("ls --json", None, ("ls", "--json")),
    ("ls --status completed", 1.0, ("ls", "--status", "completed")),
    ("ls --where, on a metric and the config", 1.0, ("ls", "--where", EVERY, "--sort", "-test/accuracy")),
    ("ls --where ..., terminal", 1.0, ("ls", "--where", EVERY, "--sort", "-test/accuracy")),
    (
        "ls --where, with or, not and parentheses, -n 20",
        1.0,
        ("ls", "--where", RARE, "--sort", "config.optimizer.lr", "-n", "20"),
    ),
    ("ls --sort -test/accuracy -n 20", 1.0, ("ls", "--sort", "-test/accuracy", "-n", "20")),
    ("show latest", 0.3, ("show", "latest")),
    ("show RUN (by name)", 0.3, ("show", "run-05000")),
    ("show latest --json", 0.3, ("show", "latest", "--json")),
    ("show latest --plot", None, ("show", "latest", "--plot")),
    ("show, of an unknown run", None, ("show", "rnu-05000")),
    ("ls, of no run", 1.0, ("ls", "--where", "test/acuracy > 0.9")),
    ("diff", None, ("diff", "run-00001", "run-09999")),
    ("export --format csv", None, ("export", "--format", "csv")),
    ("export --format json", None, ("export", "--format", "json")),
    ("export --format parquet", None, ("export", "--format", "parquet", "--out", "runs.parquet")),
    ("export --curves --format csv --where name=...", None, ("export", "--curves", "--where", "name=run-05000")),
)
"""What is timed: what it is called, how many seconds it may take, the words after `dlx runs`."""


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory(prefix="dlx-scale-") as temporary:
        folder = options.keep or Path(temporary)
        url = f"sqlite:///{folder / 'dlx.db'}"
        if not (folder / "dlx.db").exists():
            began = time.perf_counter()
            with open_store(url) as store:
                fill(store, options.runs, options.steps, np.random.default_rng(options.seed))
            say(
                f"{options.runs:,} runs and {options.runs * options.steps * len(CURVES):,} rows of metrics written in "
                f"{time.perf_counter() - began:.0f} s, {(folder / 'dlx.db').stat().st_size / 2**20:.0f} MiB"
            )
        answer = {
            "command": sys.argv,
            "machine": {"processor": processor(), "cores": os.cpu_count(), "load": os.getloadavg()},
            "runs": options.runs,
            "rows": options.runs * options.steps * len(CURVES),
            "commands": {},
        }
        say(f"{'dlx runs ...':50} {'wall':>8} {'slowest':>8} {'cpu':>8} {'wanted':>8}")
        for name, wanted, words in COMMANDS:
            if options.only and options.only not in name:
                continue
            timed = measure(("--store", url), words, folder, options.repeats, terminal="terminal" in name)
            answer["commands"][name] = {"words": words, "wanted": wanted, **timed}
            limit = "" if wanted is None else f"{wanted:8.2f}"
            say(f"{name:50} {timed['wall']:8.3f} {timed['slowest']:8.3f} {timed['cpu']:8.3f} {limit}")
        publish(answer, options.out)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=60, help=f"at which each of the {len(CURVES)} metrics was measured")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each command, after one that is not timed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="only commands with this in their name")
    parser.add_argument("--keep", type=Path, help="make the store in this folder, or use the one that is there")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    return parser.parse_args()


# --------------------------------------------------------------------------------------------------------------- the store


def fill(store: Store, runs: int, steps: int, chance: np.random.Generator) -> None:
    """Writes the runs as a sweep would have: started together, measured step by step, finished."""
    trees = [load_experiment(name).model_dump(mode="json") for name in ("digits-mlp", "fashion-cnn")]
    for first in range(0, runs, BATCH):
        numbers = range(first, min(first + BATCH, runs))
        configs = [drawn(trees, chance) for _ in numbers]
        start(store, numbers, configs, steps)
        record(store, list(measured(numbers, steps, chance)))
        finish_runs(store, [ending(number, steps, chance) for number in numbers])


def drawn(trees: list[dict[str, Any]], chance: np.random.Generator) -> dict[str, Any]:
    tree = trees[int(chance.random() < 0.3)]
    model = {**tree["model"], "dropout": round(float(chance.uniform(0, 0.6)), 6)}
    optimizer = {**tree["optimizer"], "lr": float(10 ** chance.uniform(-5, -1))}
    return {**tree, "model": model, "optimizer": optimizer, "train": {**tree["train"], "seed": int(chance.integers(1000))}}


def start(store: Store, numbers: range, configs: list[dict[str, Any]], steps: int) -> None:
    now, process = time.time(), this_process()
    packages = ("dlx", "jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn", "pandas")
    environment = {
        "python": sys.version.split()[0],
        "device": "cpu",
        "packages": dict.fromkeys(packages, "1.2.3"),
        "git": {"commit": "0" * 40, "dirty": False},
        "data": "7659fdeb20a91050f245be9811d554c8",
        "sources": {},
    }
    rows = [
        {
            "id": run_id(number),
            "name": f"run-{number:05}",
            "status": Status.RUNNING,
            "message": "",
            "created": now + number,
            "step": 0,
            "epoch": 0,
            "steps_total": 10 * steps,
            "steps_per_epoch": 10,
            "lanes": 1,
            "lane": 0,
            "monitor": "validation/accuracy",
            "direction": "maximize",
            "metrics": {},
            "seconds": {},
            "config": config,
            "command": "dlx sweep sweeps/fashion.yaml --trials 10000",
            "environment": environment,
            **held_by(process, now),
        }
        for number, config in zip(numbers, configs, strict=True)
    ]
    stretch = {"number": 0, "started": now, "from_step": 0, "host": process.host, "pid": process.pid, "device": "cpu"}
    with store.write() as connection:
        connection.execute(insert(RUNS), rows)
        connection.execute(insert(SEGMENTS), [{**stretch, "run_id": row["id"]} for row in rows])


def run_id(number: int) -> str:
    """Spread over all that begin as ids do, and always the same."""
    return f"{number * 2654435761 % 2**32:08x}"


def measured(numbers: range, steps: int, chance: np.random.Generator) -> Iterator[RunUpdate]:
    for number in numbers:
        values = chance.random((steps, len(CURVES))).tolist()
        for step, row in enumerate(values, 1):
            yield RunUpdate(run_id(number), 10 * step, step, dict(zip(CURVES, row, strict=True)))


def ending(number: int, steps: int, chance: np.random.Generator) -> Ending:
    splits, metrics = ("train", "validation", "test"), ("loss", "accuracy", "f1")
    scores = {f"{split}/{metric}": float(chance.random()) for split in splits for metric in metrics}
    scores |= {"best/step": 10.0 * steps, "parameters": 17418.0}
    phases = ("data", "compile", "train", "evaluate", "checkpoint", "store", "display", "other")
    status = Status.DIVERGED if number % 50 == 7 else Status.COMPLETED
    seconds = {phase: float(chance.random()) for phase in phases}
    return Ending(run_id(number), status, f"trained {10 * steps} steps", 10 * steps, steps, scores, seconds)


# -------------------------------------------------------------------------------------------------------------- the clock


def measure(store: tuple[str, ...], words: tuple[str, ...], folder: Path, repeats: int, *, terminal: bool) -> dict[str, Any]:
    """The seconds that a command takes from its start to its end."""
    command = [sys.executable, "-m", "dlx", "runs", *words, *store]
    once(command, folder, terminal=terminal)
    walls, cpus = zip(*(once(command, folder, terminal=terminal) for _ in range(repeats)), strict=True)
    return {"wall": statistics.median(walls), "slowest": max(walls), "cpu": statistics.median(cpus)}


def once(command: list[str], folder: Path, *, terminal: bool) -> tuple[float, float]:
    """Wall time and processor time of one process, whose output somebody reads as fast as it comes."""
    reader, writer = pty.openpty() if terminal else os.pipe()
    listener = threading.Thread(target=drain, args=(reader,))
    listener.start()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "TERM": "xterm-256color"}
    began = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    _, status, used = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    listener.join()
    complaint = process.stderr.read().decode() if process.stderr else ""
    if process.returncode not in (0, 2) or (process.returncode == 2 and "has no run" not in complaint):
        raise SystemExit(f"{' '.join(command)} failed: {complaint}")
    return took, used.ru_utime + used.ru_stime


def drain(descriptor: int) -> None:
    """Reads until the other side is closed; a terminal says that with an error."""
    try:
        while os.read(descriptor, 2**16):
            pass
    except OSError:
        pass
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    main()
