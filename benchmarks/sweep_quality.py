"""What a search finds, and what it costs beside training: four measurements of `dlx sweep` against itself.

`regret`  best of N trials under batched TPE, sequential TPE and random search, several seeds each
`pruning` wall time until hyperband has a value as good as the best without pruning
`memory`  resident memory over many trials
`share`   sampler, store and display as a share of a sweep's wall time

Runs sweeps in this process, one after the other; progress goes to stderr, one JSON object to stdout (and to --out).
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from train_vs_pytorch import processor, publish, say

from dlx.config.sweep import load_sweep, with_options
from dlx.events import Measured, SweepFinished, TrialFinished
from dlx.store import open_store
from dlx.sweep.drive import sweep_runs

SPACE = [
    "optimizer.lr=tag(log, interval(1e-5, 1))",
    "model.dropout=interval(0, 0.8)",
    "optimizer.weight_decay=tag(log, interval(1e-6, 1))",
    "task.label_smoothing=interval(0, 0.3)",
    "schedule.warmup=interval(0.05, 0.95)",
]
STRUCTURE = ["model.hidden=choice([32],[128],[64,32])", "train.batch_size=32,64,128"]


def main() -> None:
    measurements: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
        "regret": regret,
        "pruning": pruning,
        "memory": memory,
        "share": share,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measurement", choices=measurements)
    parser.add_argument("--recipe", default="digits-mlp")
    parser.add_argument("--trials", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--structure", action="store_true", help="regret: search hidden sizes and batch size too")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="more of the experiment, as for dlx sweep")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    answer = {
        "command": sys.argv,
        "machine": {"processor": processor(), "cores": os.cpu_count(), "load": os.getloadavg()},
        **measurements[options.measurement](options),
    }
    publish(answer, options.out)


def regret(options: argparse.Namespace) -> dict[str, Any]:
    """The best validation loss of each search, and how far it is from the best of all searches."""
    words = [*SPACE, *(STRUCTURE if options.structure else []), "train.monitor=validation/loss"]
    contenders: dict[str, dict[str, Any]] = {
        "random": {"sampler": "random"},
        "batched": {"sampler": "tpe"},
        "sequential": {"sampler": "tpe", "batch": 1},
    }
    if options.structure:
        contenders["batched, not grouped"] = {"sampler": "tpe", "group": 1}
    found: dict[str, list[float]] = {name: [] for name in contenders}
    walls: dict[str, list[float]] = {name: [] for name in contenders}
    for seed in range(options.seeds):
        for name, settings in contenders.items():
            begin = time.perf_counter()
            last = list(run(options, words, {**settings, "trials": options.trials, "seed": seed}))[-1][1]
            walls[name].append(time.perf_counter() - begin)
            found[name].append(last.best.value)
            say(f"seed {seed} {name}: {last.best.value:.4f} in {walls[name][-1]:.1f} s")
    best = min(min(values) for values in found.values())
    means = {name: statistics.fmean(values) - best for name, values in found.items()}
    medians = {name: statistics.median(values) - best for name, values in found.items()}
    return {
        "best_of_all": best,
        "found": found,
        "mean_regret": means,
        "median_regret": medians,
        "wall": {name: statistics.median(values) for name, values in walls.items()},
        "batched_to_sequential": means["batched"] / means["sequential"] if means["sequential"] else None,
        "batched_to_random": means["batched"] / means["random"] if means["random"] else None,
    }


def pruning(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds until each search has reached what the one without pruning found in the end."""
    words = [*SPACE[:3], "train.monitor=validation/loss"]
    ratios, rows = [], []
    for seed in range(options.seeds):
        settings = {"sampler": "random", "seed": seed}
        plain = best_so_far(run(options, words, {**settings, "trials": options.trials}))
        goal = plain[-1][1]
        wide = best_so_far(
            run(options, words, {**settings, "pruner": "hyperband", "trials": options.trials * 8, "target_value": goal})
        )
        first, reached = (next((at for at, value in found if value <= goal), None) for found in (plain, wide))
        rows.append(
            {"goal": goal, "none": first, "none_end": plain[-1][0], "hyperband": reached, "hyperband_best": wide[-1][1]}
        )
        say(f"seed {seed}: {rows[-1]}")
        if first is not None and reached is not None:
            ratios.append(first / reached)
    return {"rows": rows, "ratios": ratios, "median_ratio": statistics.median(ratios) if ratios else None}


def memory(options: argparse.Namespace) -> dict[str, Any]:
    """Resident memory (MiB) after 50 trials and at the end."""
    sizes: list[tuple[int, float]] = []
    done = 0
    for _, event in run(options, [*SPACE], {"sampler": "random", "trials": options.trials}):
        if isinstance(event, TrialFinished):
            done += 1
        elif isinstance(event, Measured):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            sizes.append((done, pages * os.sysconf("SC_PAGE_SIZE") / 2**20))
    early = statistics.median(size for trials, size in sizes if 50 <= trials <= 100)
    late = statistics.median(size for trials, size in sizes if trials >= options.trials - 50)
    return {"after_50_to_100": early, "last_50": late, "growth": late / early - 1, "largest": max(size for _, size in sizes)}


def share(options: argparse.Namespace) -> dict[str, Any]:
    """What is not training, evaluation or compilation."""
    begin = time.perf_counter()
    last = list(run(options, [*SPACE], {"sampler": "tpe", "trials": options.trials}))[-1][1]
    wall = time.perf_counter() - begin
    overhead = sum(last.seconds.get(phase, 0.0) for phase in ("sampler", "store", "display", "mirror"))
    return {"wall": wall, "seconds": dict(last.seconds), "sampler_store_display": overhead, "share": overhead / wall}


def run(options: argparse.Namespace, words: list[str], settings: dict[str, Any]) -> Iterator[tuple[float, Any]]:
    """A sweep's events with the seconds since its begin."""
    described, document, overrides = load_sweep(
        options.recipe, [*words, f"train.duration={options.epochs} epochs", *options.set]
    )
    described = with_options(described, settings)
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="dlx-benchmark-") as name, open_store(str(Path(name) / "dlx.db")) as store:
        for event in sweep_runs(described, document, overrides, store):
            yield time.perf_counter() - begin, event


def best_so_far(events: Iterator[tuple[float, Any]]) -> list[tuple[float, float]]:
    """(seconds, value) whenever a trial was better than all before; the last entry is the end of the sweep."""
    better = []
    for seconds, event in events:
        if isinstance(event, TrialFinished) and event.best and event.value is not None:
            better.append((seconds, event.value))
        elif isinstance(event, SweepFinished):
            better.append((seconds, better[-1][1]))
    return better


if __name__ == "__main__":
    main()
