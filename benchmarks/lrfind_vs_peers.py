"""What the learning-rate finders of dlx, fastai, Lightning and torch-lr-finder suggest, and how well dlx trains at each rate.

Three problems: fashion-mlp, fashion-cnn, and a table (California housing). Every finder is asked under several seeds on the same
net, data, batch size and optimizer; then dlx trains at every suggested rate, and at a grid of others, with a 1cycle schedule
(`schedule.kind=onecycle`) and several seeds as lanes. What counts is the validation loss at the end of training. Progress and the
tables go to stderr, one JSON object to stdout (and to --out). `benchmarks/README.md` has the protocol.
"""

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from train_vs_pytorch import processor, publish, run, say

from dlx.config import Experiment, load_experiment, parse_override
from dlx.config.sweep import load_sweep, with_options
from dlx.data import Dataset
from dlx.diagnose.lr_find import find
from dlx.diagnose.range_curve import RangeTest, Skips, to_json
from dlx.events import Event
from dlx.experiment.assemble import load_data, plan_for, resolve
from dlx.store import find_sweep, open_store
from dlx.sweep.drive import sweep_runs

PEER = Path(__file__).resolve().parent / "peers" / "lr_finders.py"
FASHION = ["data.path={data}/fashion-mnist", "data.augment=[]"]
HOUSING = ["data.path={data}/california-housing/housing.csv.gz", "data.target=median_house_value"]
PROBLEMS: dict[str, tuple[str, list[str]]] = {
    "fashion-mlp": ("fashion-mlp", [*FASHION, "data.limit=20000", "train.duration=3 epochs"]),
    "fashion-cnn": ("fashion-cnn", [*FASHION, "data.limit=4000", "train.duration=3 epochs"]),
    "housing": ("table", [*HOUSING, "train.duration=20 epochs"]),
}
"""The recipe of each, and what is set in it."""


def main() -> None:
    options = parse()
    answer = {
        "command": sys.argv,
        "machine": {"processor": processor(), "cores": os.cpu_count(), "load": os.getloadavg()},
        "problems": {name: compare(name, options) for name in options.problem or PROBLEMS},
    }
    publish(answer, options.out)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="more of every experiment, as for `dlx train`: data.limit=null")
    parser.add_argument("--data", type=Path, required=True, help="folder with fashion-mnist/ and california-housing/")
    parser.add_argument("--problem", action="append", choices=PROBLEMS, help="all three, unless given (repeatable)")
    parser.add_argument("--finder-seeds", type=int, default=3, help="times that each finder is asked; the median counts")
    parser.add_argument("--seeds", type=int, default=5, help="trainings at each rate")
    parser.add_argument("--grid", type=int, default=9, help="rates between 1e-4 and 1 that are tried besides")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch")
    parser.add_argument("--fastai-python", help="a Python with fastai")
    parser.add_argument("--lightning-python", help="a Python with lightning")
    parser.add_argument("--tlf-python", help="a Python with torch-lr-finder")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    options = parser.parse_args()
    options.data = options.data.expanduser().resolve()
    return options


def compare(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """The finders' suggestions, and what training at each of them comes to."""
    recipe, settings = PROBLEMS[name]
    words = [*(word.format(data=options.data) for word in settings), *options.overrides]
    config = load_experiment(recipe, [parse_override(word) for word in words])
    dataset = load_data(config)
    config = resolve(config, dataset)
    begin = time.perf_counter()
    suggested, reading = ask_dlx(config, options.finder_seeds)
    seconds = {"dlx": time.perf_counter() - begin}
    peers, versions = ask_peers(config, dataset, options, seconds)
    suggested |= {rule: middle(rates) for rule, rates in peers.items()}
    suggested |= {f"grid {rate:.2g}": rate for rate in np.geomspace(1e-4, 1, options.grid).tolist()}
    suggested = {rule: None if rate is None else float(f"{rate:.3g}") for rule, rate in suggested.items()}
    begin = time.perf_counter()
    ending = [f"train.evaluate_every={config.train.duration}", "train.monitor=validation/loss"]
    losses = train([recipe, *words, *ending], sorted({rate for rate in suggested.values() if rate}), options.seeds)
    seconds["training"] = time.perf_counter() - begin
    rows = judge(suggested, losses)
    say(table(name, rows))
    config_json = config.model_dump(mode="json")
    return {"rows": rows, "reading": reading, "peers": peers, "versions": versions, "seconds": seconds, "config": config_json}


def ask_dlx(config: Experiment, seeds: int) -> tuple[dict[str, float | None], dict[str, Any]]:
    """Of dlx, which reads one curve, the middle of its seeds: what `dlx lr-find` recommends, and every rule."""
    answers = []

    def asked() -> Iterator[Event]:
        answers.append((yield from find({"": config}, RangeTest(seeds=seeds), Skips())))

    for _ in asked():
        pass
    reading = answers[0].findings[0].reading
    rates = {"dlx": reading.recommended, "dlx peak": reading.peak}
    return rates | {f"dlx {each.rule}": each.rate for each in reading.suggestions}, to_json(answers[0])


def ask_peers(
    config: Experiment, dataset: Dataset, options: argparse.Namespace, seconds: dict[str, float]
) -> tuple[dict[str, list[float | None]], dict[str, Any]]:
    """Every rule's rate under each seed, of the finders whose Python is given."""
    part, scaling, spec = dataset.train, dataset.scaling, dataset.spec
    x = (part.inputs.astype(np.float32) - scaling.mean) * scaling.inverse_std
    x = np.ascontiguousarray(np.moveaxis(x, -1, 1))  # PyTorch has channels first
    number = spec.target == "number"
    y = ((part.targets - spec.target_mean) / spec.target_std).astype(np.float32) if number else part.targets.astype(np.int64)
    batch = plan_for(config, dataset)[1].batch_size
    told = json.dumps({"config": config.model_dump(mode="json"), "batch_size": batch, "outputs": spec.outputs})
    pythons = {
        "fastai": options.fastai_python,
        "lightning": options.lightning_python,
        "torch-lr-finder": options.tlf_python,
    }
    rates, versions = {}, {}
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with tempfile.TemporaryDirectory(prefix="dlx-benchmark-") as folder:
        np.savez(Path(folder) / "data.npz", x=x, y=y)
        for finder, python in pythons.items():
            if not python:
                say(f"{finder}: left out, no Python given")
                continue
            command = [python, str(PEER), finder, "--data", f"{folder}/data.npz", "--seeds", str(options.finder_seeds)]
            begin = time.perf_counter()
            answer = run([*command, "--threads", str(options.threads)], Path(folder), environment, told)
            seconds[finder] = time.perf_counter() - begin
            rates |= answer["rates"]
            versions[finder] = answer["versions"]
    return rates, versions


def middle(rates: list[float | None]) -> float | None:
    """The median, in the logarithm; a seed without a suggestion is left out."""
    logs = [math.log(rate) for rate in rates if rate]
    return math.exp(statistics.median(logs)) if logs else None


def train(words: list[str], rates: list[float], seeds: int) -> dict[float, list[float]]:
    """The validation loss of every rate and seed at the end of a 1cycle; infinite where training diverged."""
    searched = f"optimizer.lr=choice({', '.join(map(str, rates))})"
    described, document, overrides = load_sweep(words[0], [*words[1:], "schedule={kind: onecycle}", searched])
    described = with_options(described, {"sampler": "grid", "seeds": seeds})
    with tempfile.TemporaryDirectory(prefix="dlx-benchmark-") as folder, open_store(f"{folder}/dlx.db") as store:
        for _ in sweep_runs(described, document, overrides, store):
            pass
        trials = find_sweep(store, "latest").trials
    return {
        trial.params["optimizer.lr"]: [each.values[0] if each.values else math.inf for each in trial.trainings]
        for trial in trials
    }


def judge(suggested: dict[str, float | None], losses: dict[float, list[float]]) -> list[dict[str, Any]]:
    """Each rule's rate and losses, and how far it is from the best rate of all.

    Differences are taken seed by seed: within noise is a mean difference of no more than two standard errors.
    """
    best = min(losses, key=lambda rate: statistics.fmean(losses[rate]))
    rows = []
    for rule, rate in suggested.items():
        row: dict[str, Any] = {"rule": rule, "rate": rate}
        if rate is not None:
            found = np.array(losses[rate])
            away = found - losses[best]
            noise = np.std(away, ddof=1) / math.sqrt(len(away)) if np.isfinite(away).all() else 0.0
            row |= {"mean": float(found.mean()), "deviation": float(found.std(ddof=1)) if np.isfinite(found).all() else None}
            row |= {"away": float(away.mean()), "within_noise": bool(away.mean() <= 2 * noise), "losses": found.tolist()}
        rows.append(row)
    return sorted(rows, key=lambda row: row.get("mean", math.inf))


def table(name: str, rows: list[dict[str, Any]]) -> str:
    """The rows for people."""
    lines = [f"{name}: validation loss at the end, mean and deviation over seeds", f"{'rule':20} {'rate':>9} {'loss':>10}"]
    for row in rows:
        if row["rate"] is None:
            lines.append(f"{row['rule']:20} {'none':>9}")
            continue
        spread = "diverged" if row["deviation"] is None else f"{row['mean']:10.5g} +- {row['deviation']:<8.2g}"
        lines.append(
            f"{row['rule']:20} {row['rate']:9.2e} {spread:23}{' within noise of the best' if row['within_noise'] else ''}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
