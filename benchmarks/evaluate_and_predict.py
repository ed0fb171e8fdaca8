"""How long `dlx evaluate` and `dlx predict` take, and how much memory a long table needs.

`evaluate`: fashion-mnist's test part by the recipes fashion-mlp and fashion-cnn, trained for one epoch; the seconds after start-up by
phase, as `--json` tells them, the median of `--repeats` whole commands. `predict`: a CSV table of 10 columns of numbers and 2 of words, written
here, of a fifth of `--rows` and of `--rows`: rows a second after start-up, wall time and the peak of the resident memory of the whole
command. All in a temporary folder. The table goes to stderr, one JSON object to stdout (and to --out).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

from train_vs_pytorch import processor, publish, say  # noqa: E402

BLOCK = 100_000
"""Rows that are written at once."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--fashion", type=absolute, help="the folder with fashion-mnist's four files; without it evaluate is left out"
    )
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=absolute, help="a file for the JSON object too")
    options = parser.parse_args()
    found: dict[str, Any] = {"processor": processor()}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        if options.fashion is not None:
            found["evaluate"] = [evaluate(name, options.fashion, options.repeats) for name in ("fashion-mlp", "fashion-cnn")]
        found["predict"] = predict(options.rows, options.repeats)
    publish(found, options.out)


def absolute(path: str) -> Path:
    """A path that stays right in another folder."""
    return Path(path).absolute()


def dlx(*words: str) -> subprocess.CompletedProcess[str]:
    """A whole command in a new process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-m", "dlx", *words], check=True, capture_output=True, text=True, env=environment)


def evaluate(recipe: str, folder: Path, repeats: int) -> dict[str, Any]:
    dlx("train", recipe, f"data.path={folder}", "train.duration=1 epochs", "--name", recipe, "-q")
    phases: list[dict[str, float]] = []
    walls: list[float] = []
    for number in range(repeats + 1):  # the first one compiles
        began = time.perf_counter()
        tree = json.loads(dlx("evaluate", recipe, "--no-baselines", "--json").stdout)
        if number:
            walls.append(time.perf_counter() - began)
            phases.append(tree["seconds"])
    seconds = {name: statistics.median(each[name] for each in phases) for name in phases[0]}
    after = statistics.median(sum(each.values()) for each in phases)
    parts = ", ".join(f"{name} {value:.2f}" for name, value in seconds.items())
    say(f"evaluate {recipe}: {after:.2f} s after start-up ({parts}), {statistics.median(walls):.2f} s in all")
    return {"recipe": recipe, "seconds": seconds, "after_startup": after, "whole": statistics.median(walls)}


def predict(rows: int, repeats: int) -> list[dict[str, Any]]:
    generator = np.random.Generator(np.random.Philox(0))
    train = table(5000, generator)
    kinds = np.where(np.asarray(train["x0"]) + np.asarray(train["x1"]) > 0, "yes", "no")
    pyarrow.csv.write_csv(train.append_column("kind", pa.array(kinds)), "train.csv")
    dlx("train", "--data", "train.csv", "--target", "kind", "train.duration=5 epochs", "--name", "small", "-q")
    found = []
    for count in (rows // 5, rows):
        with pyarrow.csv.CSVWriter("new.csv", train.schema) as writer:
            for start in range(0, count, BLOCK):
                writer.write_table(table(min(BLOCK, count - start), generator))
        for out in ("out.csv", "out.parquet"):
            runs = [measured("predict", "small", "--data", "new.csv", "--out", out, "--json") for _ in range(repeats)]
            best = {name: statistics.median(each[name] for each in runs) for name in runs[0]}
            say(
                f"predict {count:,} rows to {out}: {count / best['inside']:,.0f} rows/s, {best['wall']:.1f} s in all, "
                f"at most {best['memory'] / 2**20:.0f} MiB"
            )
            found.append({"rows": count, "out": out, **best})
    return found


def measured(*words: str) -> dict[str, float]:
    """A whole command: its wall time, what it says of its own work after start-up (seconds), and its peak memory (bytes)."""
    began = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "dlx", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"dlx {' '.join(words)} left with {os.waitstatus_to_exitcode(status)}")
    return {
        "wall": time.perf_counter() - began,
        "inside": json.loads(said)["seconds"],
        "memory": usage.ru_maxrss * 1024.0,
    }


def table(rows: int, generator: np.random.Generator) -> pa.Table:
    """Ten columns of numbers and two of words."""
    numbers = {f"x{place}": generator.normal(size=rows).round(4) for place in range(10)}
    colors, cities = np.array(["red", "green", "blue"]), np.array(["Oslo", "Bergen", "Paris", "Rome"])
    return pa.table(
        {**numbers, "color": colors[generator.integers(0, 3, rows)], "city": cities[generator.integers(0, 4, rows)]}
    )


if __name__ == "__main__":
    main()
