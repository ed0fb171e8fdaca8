"""Samples per second of `dlx train` against a plain PyTorch loop: same net, data, batch, optimizer and machine.

The two sides run one after the other (A, B, A, B, ...), each time in a process of its own; the answer is the ratio of the
medians. Progress goes to stderr, one JSON object to stdout (and to --out). `benchmarks/README.md` has the protocol.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PEER = Path(__file__).resolve().parent / "peers" / "pytorch_train.py"
sys.path.insert(0, str(ROOT))

from dlx.config import load_experiment, parse_override  # noqa: E402
from dlx.version import __version__  # noqa: E402

Answer = dict[str, Any]


def main() -> None:
    options = parse()
    cores = sorted(os.sched_getaffinity(0))[: options.threads]
    os.sched_setaffinity(0, cores)  # both sides inherit it
    results = [compare(recipe, options, len(cores)) for recipe in options.recipe or ["fashion-mlp", "fashion-cnn"]]
    packages = ["jax", "jaxlib", "flax", "optax", "numpy"]
    report = {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "protocol": {"repeats": options.repeats, "epochs": options.epochs, "threads": len(cores), "torch_fused": options.fused},
        "machine": {"processor": processor(), "system": platform.platform(), "cores": os.cpu_count(), "load": os.getloadavg()},
        "versions": {"dlx": __version__, "python": platform.python_version(), **{name: version(name) for name in packages}},
        "results": results,
    }
    publish(report, options.out)


def publish(answer: dict[str, Any], out: Path | None) -> None:
    """One JSON object on stdout, and in a file where one is named."""
    text = json.dumps(answer, indent=2)
    print(text)
    if out:
        out.write_text(text + "\n", encoding="utf8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="for both sides, as in `dlx train`: train.batch_size=256")
    parser.add_argument("--data", type=Path, required=True, help="folder with the four IDX files of Fashion-MNIST")
    parser.add_argument("--recipe", action="append", help="fashion-mlp and fashion-cnn, unless given (repeatable)")
    torch_python = os.environ.get("DLX_TORCH_PYTHON")
    parser.add_argument("--torch-python", default=torch_python, help="a Python that has PyTorch (default: DLX_TORCH_PYTHON)")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each side")
    parser.add_argument("--epochs", type=int, default=3, help="epochs of each run")
    parser.add_argument("--threads", type=int, default=None, help="cores that either side may use (default: all)")
    parser.add_argument("--fused", action="store_true", help="let PyTorch use its fused optimizer")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    options = parser.parse_args()
    if not options.torch_python:
        parser.error("no Python with PyTorch: set DLX_TORCH_PYTHON or give --torch-python")
    options.data = options.data.expanduser().resolve()
    return options


def compare(recipe: str, options: argparse.Namespace, threads: int) -> Answer:
    """One cold run of dlx (its programs are compiled), then timed pairs."""
    if Path(recipe).is_file():
        recipe = str(Path(recipe).resolve())
    overrides = [f"data.path={options.data}", f"train.duration={options.epochs} epochs", "data.augment=[]", *options.overrides]
    config = load_experiment(recipe, [parse_override(text) for text in overrides]).model_dump(mode="json")
    with tempfile.TemporaryDirectory(prefix="dlx-benchmark-") as folder:
        cold = run_dlx(recipe, overrides, config, Path(folder))
        say(f"{recipe}: dlx cold, import {cold['seconds']['import']:.2f} s, compile {cold['seconds']['compile']:.2f} s")
        ours, theirs = [], []
        for turn in range(1, options.repeats + 1):
            ours.append(run_dlx(recipe, overrides, config, Path(folder)))
            theirs.append(run_torch(config, options, threads))
            a, b = ours[-1]["samples_per_second"], theirs[-1]["samples_per_second"]
            say(f"{recipe} {turn}/{options.repeats}: dlx {a:,.0f}, PyTorch {b:,.0f} samples/s, ratio {a / b:.2f}")
    a, b = summary(ours), summary(theirs)
    pairs = [x["samples_per_second"] / y["samples_per_second"] for x, y in zip(ours, theirs, strict=True)]
    a["seconds_cold"] = cold["seconds"]
    b |= {name: theirs[-1][name] for name in ("versions", "parameters", "net", "threads")}
    ratio = a["samples_per_second"]["median"] / b["samples_per_second"]["median"]
    say(f"{recipe}: ratio of the medians {ratio:.2f}")
    return {"recipe": recipe, "ratio": ratio, "ratio_of_pairs": spread(pairs), "dlx": a, "torch": b, "config": config}


def run_dlx(recipe: str, overrides: list[str], config: Answer, folder: Path) -> Answer:
    """`dlx train` as a user starts it, with a store and a cache of its own. Evaluation is not part of `seconds.train`."""
    environment = {
        **os.environ,
        "DLX_STORE": f"sqlite:///{folder / 'dlx.db'}",
        "DLX_CACHE": str(folder / "cache"),
        "PYTHONPATH": str(ROOT),
    }
    answer = run([sys.executable, "-m", "dlx", "train", recipe, *overrides, "--json"], folder, environment)
    samples = answer["steps"] * config["train"]["batch_size"]
    return answer | {"samples": samples, "samples_per_second": samples / answer["seconds"]["train"]}


def run_torch(config: Answer, options: argparse.Namespace, threads: int) -> Answer:
    command = [options.torch_python, str(PEER), "--data", str(options.data), "--epochs", str(options.epochs)]
    command += ["--threads", str(threads), *(["--fused"] if options.fused else [])]
    return run(command, ROOT, {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, json.dumps(config))


def run(command: list[str], folder: Path, environment: dict[str, str], stdin: str = "") -> Answer:
    done = subprocess.run(command, cwd=folder, env=environment, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout)


def summary(answers: list[Answer]) -> Answer:
    """What one side did: medians with their spread."""
    phases = answers[0]["seconds"]
    metrics = answers[0]["metrics"]
    return {
        "samples_per_second": spread([a["samples_per_second"] for a in answers]),
        "samples": answers[0]["samples"],
        "steps": answers[0]["steps"],
        "seconds": {phase: spread([a["seconds"][phase] for a in answers]) for phase in phases},
        "metrics": {name: value for name, value in metrics.items() if name.startswith(("test/", "train/last"))},
    }


def spread(values: list[float]) -> Answer:
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "values": values}


def processor() -> str:
    """The processor's name, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
