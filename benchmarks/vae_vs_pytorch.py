"""Images per second of `dlx train mnist-vae` against a plain PyTorch loop: same net, data, batch, optimizer and machine.

The two sides run one after the other (A, B, A, B, ...), each time in a process of its own; the answer is the ratio of the medians of whole
epochs of training. Progress goes to stderr, one JSON object to stdout (and to --out). `benchmarks/README.md` has the protocol.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from train_vs_pytorch import ROOT, processor, publish, run, run_dlx, say, spread, summary

from dlx.config import load_experiment, parse_override
from dlx.version import __version__

Answer = dict[str, Any]
PEER = Path(__file__).resolve().parent / "peers" / "pytorch_vae.py"


def main() -> None:
    options = parse()
    cores = sorted(os.sched_getaffinity(0))[: options.threads]
    os.sched_setaffinity(0, cores)  # both sides inherit it
    result = compare(options, len(cores))
    packages = ["jax", "jaxlib", "flax", "optax", "numpy"]
    report = {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "protocol": {"repeats": options.repeats, "epochs": options.epochs, "threads": len(cores), "torch_fused": options.fused},
        "machine": {"processor": processor(), "system": platform.platform(), "cores": os.cpu_count(), "load": os.getloadavg()},
        "versions": {"dlx": __version__, "python": platform.python_version(), **{name: version(name) for name in packages}},
        "results": [result],
    }
    publish(report, options.out)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="for both sides, as in `dlx train`: train.batch_size=256")
    parser.add_argument("--data", type=Path, required=True, help="folder with the four IDX files of MNIST")
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


def compare(options: argparse.Namespace, threads: int) -> Answer:
    """One cold run of dlx (its programs are compiled), then timed pairs."""
    overrides = [f"data.path={options.data}", f"train.duration={options.epochs} epochs", *options.overrides]
    config = load_experiment("mnist-vae", [parse_override(text) for text in overrides]).model_dump(mode="json")
    command = [options.torch_python, str(PEER), "--data", str(options.data), "--epochs", str(options.epochs)]
    command += ["--threads", str(threads), *(["--fused"] if options.fused else [])]
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with tempfile.TemporaryDirectory(prefix="dlx-benchmark-") as folder:
        cold = run_dlx("mnist-vae", overrides, config, Path(folder))
        say(f"dlx cold, import {cold['seconds']['import']:.2f} s, compile {cold['seconds']['compile']:.2f} s")
        ours, theirs = [], []
        for turn in range(1, options.repeats + 1):
            ours.append(run_dlx("mnist-vae", overrides, config, Path(folder)))
            theirs.append(run(command, ROOT, alone, json.dumps(config)))
            a, b = ours[-1]["samples_per_second"], theirs[-1]["samples_per_second"]
            say(f"{turn}/{options.repeats}: dlx {a:,.0f}, PyTorch {b:,.0f} images/s, ratio {a / b:.2f}")
    pairs = [x["samples_per_second"] / y["samples_per_second"] for x, y in zip(ours, theirs, strict=True)]
    a, b = summary(ours), summary(theirs)
    b |= {name: theirs[-1][name] for name in ("versions", "parameters", "net", "threads")}
    ratio = a["samples_per_second"]["median"] / b["samples_per_second"]["median"]
    say(f"ratio of the medians {ratio:.2f}")
    return {"recipe": "mnist-vae", "ratio": ratio, "ratio_of_pairs": spread(pairs), "dlx": a, "torch": b, "config": config}


if __name__ == "__main__":
    main()
