"""Tokens per second of training steps with `dlx.nn.Recurrent` against plain PyTorch: same net, sizes, optimizer and machine.

Both sides are compiled and warm, and take turns (A, B, A, B, ...), each in its own process that sleeps meanwhile; the answer is
the ratio of the medians. Progress goes to stderr, one JSON object to stdout (and to --out). `benchmarks/README.md` has the
protocol.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PEER = Path(__file__).resolve().parent / "peers" / "pytorch_recurrent.py"
sys.path.insert(0, str(ROOT))

PROBLEMS = {
    "language model": {"vocabulary": 65, "embedding": 128, "hidden": 256, "layers": 2, "batch": 32, "steps": 64},
    "classifier": {"channels": 9, "hidden": 64, "classes": 6, "batch": 64, "steps": 128},
}

Answer = dict[str, Any]
Train = Callable[[int], float]


def main() -> None:
    options = parse()
    cores = sorted(os.sched_getaffinity(0))[: options.threads]
    os.sched_setaffinity(0, cores)  # both sides inherit it, and JAX counts it when it starts
    results = [compare(name, options, len(cores)) for name in options.problem or PROBLEMS]
    report = {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "protocol": {
            "repeats": options.repeats,
            "seconds": options.seconds,
            "threads": len(cores),
            "torch_fused": options.fused,
        },
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "load": os.getloadavg()},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("jax", "jaxlib", "flax", "optax")},
        },
        "results": results,
    }
    text = json.dumps(report, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", action="append", choices=PROBLEMS, help="both, unless given (repeatable)")
    torch_python = os.environ.get("DLX_TORCH_PYTHON")
    parser.add_argument("--torch-python", default=torch_python, help="a Python that has PyTorch (default: DLX_TORCH_PYTHON)")
    parser.add_argument("--repeats", type=int, default=9, help="turns of each side")
    parser.add_argument("--seconds", type=float, default=1.0, help="about how long one turn lasts")
    parser.add_argument("--threads", type=int, default=None, help="cores that either side may use (default: all)")
    parser.add_argument("--fused", action="store_true", help="let PyTorch use its fused optimizer")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    options = parser.parse_args()
    if not options.torch_python:
        parser.error("no Python with PyTorch: set DLX_TORCH_PYTHON or give --torch-python")
    return options


def compare(name: str, options: argparse.Namespace, threads: int) -> Answer:
    sizes = PROBLEMS[name]
    ours, parameters, compiled = dlx_side(name, sizes)
    peer = subprocess.Popen([options.torch_python, PEER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(line: str) -> Any:
        assert peer.stdin
        assert peer.stdout
        peer.stdin.write(line + "\n")
        peer.stdin.flush()
        answer = peer.stdout.readline()
        return json.loads(answer) if answer else sys.exit(f"PyTorch's side ended with {peer.wait()}")

    built = ask(json.dumps({"name": name, "sizes": sizes, "threads": threads, "fused": options.fused}))
    counts = [max(1, round(options.seconds / side(5) * 5)) for side in (ours, lambda count: ask(str(count)))]
    tokens = sizes["batch"] * sizes["steps"]
    rates: tuple[list[float], list[float]] = [], []
    for turn in range(1, options.repeats + 1):
        rates[0].append(tokens * counts[0] / ours(counts[0]))
        rates[1].append(tokens * counts[1] / ask(str(counts[1])))
        say(f"{name} {turn}/{options.repeats}: dlx {rates[0][-1]:,.0f}, PyTorch {rates[1][-1]:,.0f} tokens/s")
    peer.communicate()
    ratio = statistics.median(rates[0]) / statistics.median(rates[1])
    pairs = [a / b for a, b in zip(*rates, strict=True)]
    say(f"{name}: ratio of the medians {ratio:.2f}, of the pairs {min(pairs):.2f} to {max(pairs):.2f}")
    return {
        "problem": name,
        "sizes": sizes,
        "ratio": ratio,
        "ratio_of_pairs": spread(pairs),
        "dlx": {"tokens_per_second": spread(rates[0]), "parameters": parameters, "seconds_to_compile": compiled},
        "torch": {"tokens_per_second": spread(rates[1]), **built},
    }


def dlx_side(name: str, sizes: dict[str, int]) -> tuple[Train, int, float]:
    """A function that takes that many training steps, in one call of one program; parameters; seconds to compile."""
    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx

    from dlx import engine
    from dlx.nn import Recurrent

    engine.configure()

    class LanguageModel(nnx.Module):
        def __init__(self, *, rngs: nnx.Rngs) -> None:
            widths = [sizes["embedding"], *[sizes["hidden"]] * sizes["layers"]]
            self.embedding = nnx.Embed(sizes["vocabulary"], sizes["embedding"], rngs=rngs)
            self.layers = nnx.List([Recurrent(i, o, cell="lstm", rngs=rngs) for i, o in pairwise(widths)])
            self.head = nnx.Linear(sizes["hidden"], sizes["vocabulary"], rngs=rngs)

        def loss(self, x: jax.Array, y: jax.Array, state: Any) -> tuple[jax.Array, Any]:
            values, after = self.embedding(x), []
            for layer, before in zip(self.layers, state, strict=True):
                values, carry = layer(values, before)
                after.append(carry)
            return optax.softmax_cross_entropy_with_integer_labels(self.head(values), y).mean(), after

        def start(self) -> Any:
            return [layer.initial_carry(sizes["batch"]) for layer in self.layers]

    class Classifier(nnx.Module):
        def __init__(self, *, rngs: nnx.Rngs) -> None:
            self.layer = Recurrent(sizes["channels"], sizes["hidden"], cell="gru", rngs=rngs)
            self.head = nnx.Linear(sizes["hidden"], sizes["classes"], rngs=rngs)

        def loss(self, x: jax.Array, y: jax.Array, state: Any) -> tuple[jax.Array, Any]:
            return optax.softmax_cross_entropy_with_integer_labels(self.head(self.layer(x)[1]), y).mean(), state

        def start(self) -> Any:
            return ()

    key, batch, steps = jax.random.key(0), sizes["batch"], sizes["steps"]
    if name == "language model":
        net: LanguageModel | Classifier = LanguageModel(rngs=nnx.Rngs(0))
        text = jax.random.randint(key, (batch, steps + 1), 0, sizes["vocabulary"])
        x, y = text[:, :-1], text[:, 1:]
    else:
        net = Classifier(rngs=nnx.Rngs(0))
        x, y = jax.random.normal(key, (batch, steps, sizes["channels"])), jax.random.randint(key, (batch,), 0, sizes["classes"])
    graph, params = nnx.split(net)
    optimizer = optax.adam(1e-3)

    def take(count: jax.Array, carried: Any, x: jax.Array, y: jax.Array) -> Any:
        def one(_: jax.Array, carried: Any) -> Any:
            params, moments, state = carried
            slopes, state = jax.grad(lambda p: nnx.merge(graph, p).loss(x, y, state), has_aux=True)(params)
            updates, moments = optimizer.update(slopes, moments)
            return optax.apply_updates(params, updates), moments, state

        return jax.lax.fori_loop(0, count, one, carried)

    carried = params, optimizer.init(params), net.start()
    begin = time.perf_counter()
    program = jax.jit(take, donate_argnums=1).lower(jnp.int32(1), carried, x, y).compile()
    compiled = time.perf_counter() - begin

    def train(count: int) -> float:
        nonlocal carried
        begin = time.perf_counter()
        carried = jax.block_until_ready(program(jnp.int32(count), carried, x, y))
        return time.perf_counter() - begin

    train(3)
    return train, sum(leaf.size for leaf in jax.tree.leaves(params)), compiled


def spread(values: list[float]) -> Answer:
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "values": values}


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
