"""Images per second of a DCGAN training step of dlx's layers in a compiled loop against a plain PyTorch loop, on the CPU.

Both sides train the same generator and discriminator (Radford, Metz and Chintala 2016) on 28x28x1 images drawn from a seed,
with the same batch, losses and Adam; a step is one update of either net. They take turns (A, B, A, B, ...), each time in a process
of its own; the answer is the ratio of the medians. Progress goes to stderr, one JSON object to stdout (and to --out).
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BEGIN = time.perf_counter()
ROOT = Path(__file__).resolve().parents[1]
PEER = Path(__file__).resolve().parent / "peers" / "pytorch_dcgan.py"
LATENT, BATCH, IMAGES = 64, 64, 4096
sys.path.insert(0, str(ROOT))

Answer = dict[str, Any]


def main() -> None:
    options = parse()
    cores = sorted(os.sched_getaffinity(0))[: options.threads]
    os.sched_setaffinity(0, cores)  # both sides inherit it
    if options.alone:
        publish(train(options.steps), None)
        return
    with tempfile.TemporaryDirectory(prefix="dlx-benchmark-") as folder:
        ours, theirs = [], []
        for turn in range(1, options.repeats + 1):
            ours.append(run_dlx(options, Path(folder)))
            theirs.append(run_torch(options, len(cores)))
            a, b = ours[-1]["images_per_second"], theirs[-1]["images_per_second"]
            say(f"{turn}/{options.repeats}: dlx {a:,.0f}, PyTorch {b:,.0f} images/s, ratio {a / b:.2f}")
    if ours[0]["parameters"] != theirs[0]["parameters"]:
        sys.exit(f"not the same nets: {ours[0]['parameters']} parameters in dlx, {theirs[0]['parameters']} in PyTorch")
    a, b = summary(ours), summary(theirs)
    ratio = a["images_per_second"]["median"] / b["images_per_second"]["median"]
    say(f"ratio of the medians {ratio:.2f}")
    report = {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "protocol": {"repeats": options.repeats, "steps": options.steps, "threads": len(cores)},
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "load": os.getloadavg()},
        "ratio": ratio,
        "ratio_of_pairs": spread([x["images_per_second"] / y["images_per_second"] for x, y in zip(ours, theirs, strict=True)]),
        "dlx": a,
        "torch": b,
    }
    publish(report, options.out)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    torch_python = os.environ.get("DLX_TORCH_PYTHON")
    parser.add_argument("--torch-python", default=torch_python, help="a Python that has PyTorch (default: DLX_TORCH_PYTHON)")
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each side")
    parser.add_argument("--steps", type=int, default=100, help="timed steps of each run")
    parser.add_argument("--threads", type=int, default=None, help="cores that either side may use (default: all)")
    parser.add_argument("--alone", action="store_true", help="one run of dlx's side in this process, without PyTorch")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    options = parser.parse_args()
    if not options.torch_python and not options.alone:
        parser.error("no Python with PyTorch: set DLX_TORCH_PYTHON or give --torch-python")
    return options


def run_dlx(options: argparse.Namespace, folder: Path) -> Answer:
    environment = {**os.environ, "DLX_CACHE": str(folder / "cache")}
    return run([sys.executable, __file__, "--alone", "--steps", str(options.steps)], environment)


def run_torch(options: argparse.Namespace, threads: int) -> Answer:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    sizes = ["--latent", str(LATENT), "--batch", str(BATCH), "--images", str(IMAGES)]
    return run([options.torch_python, str(PEER), *sizes, "--steps", str(options.steps), "--threads", str(threads)], environment)


def run(command: list[str], environment: dict[str, str]) -> Answer:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout)


def train(steps: int) -> Answer:
    """The side of dlx: so many steps in one compiled loop, after a few that are not timed."""
    from dlx.engine.placement import configure

    configure()
    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx

    from dlx.nn import BatchNorm, Conv, ConvTranspose

    class Generator(nnx.Module):
        def __init__(self, *, rngs: nnx.Rngs) -> None:
            self.dense = nnx.Linear(LATENT, 7 * 7 * 128, use_bias=False, rngs=rngs)
            self.norms = nnx.List([BatchNorm(width, rngs=rngs) for width in (128, 64)])
            self.hidden = ConvTranspose(128, 64, 4, strides=2, use_bias=False, rngs=rngs)
            self.output = ConvTranspose(64, 1, 4, strides=2, rngs=rngs)

        def __call__(self, z: jax.Array) -> jax.Array:
            x = nnx.relu(self.norms[0](self.dense(z).reshape(-1, 7, 7, 128)))
            return jnp.tanh(self.output(nnx.relu(self.norms[1](self.hidden(x)))))

    class Discriminator(nnx.Module):
        def __init__(self, *, rngs: nnx.Rngs) -> None:
            self.input = Conv(1, 64, 4, strides=2, rngs=rngs)
            self.hidden = Conv(64, 128, 4, strides=2, use_bias=False, rngs=rngs)
            self.norm = BatchNorm(128, rngs=rngs)
            self.dense = nnx.Linear(7 * 7 * 128, 1, rngs=rngs)

        def __call__(self, x: jax.Array) -> jax.Array:
            x = nnx.leaky_relu(self.input(x), 0.2)
            x = nnx.leaky_relu(self.norm(self.hidden(x)), 0.2)
            return self.dense(x.reshape(x.shape[0], -1))[:, 0]

    @jax.jit
    def begin() -> Any:
        nets = [kind(rngs=nnx.Rngs(seed)) for seed, kind in enumerate((Generator, Discriminator))]
        return [nnx.split(net, nnx.Param, ...) for net in nets]

    (g_net, g, g_rest), (d_net, d, d_rest) = begin()
    optimizer = optax.adam(2e-4, b1=0.5)

    def call(net: Any, params: Any, rest: Any, x: jax.Array) -> tuple[jax.Array, Any]:
        module = nnx.merge(net, params, rest, copy=True)
        return module(x), nnx.state(module, nnx.BatchStat)

    def cross_entropy(logits: jax.Array, label: float) -> jax.Array:
        return optax.sigmoid_binary_cross_entropy(logits, jnp.full_like(logits, label)).mean()

    def step(number: jax.Array, carry: Any, images: jax.Array, rows: jax.Array) -> Any:
        (g, g_rest, g_adam), (d, d_rest, d_adam), _ = carry
        z = jax.random.normal(jax.random.fold_in(jax.random.key(2), number), (BATCH, LATENT))
        fake, back, g_rest = jax.vjp(lambda g: call(g_net, g, g_rest, z), g, has_aux=True)

        def discriminator_loss(d: Any) -> tuple[jax.Array, Any]:
            on_real, rest = call(d_net, d, d_rest, images[rows[number % rows.shape[0]]])
            on_fake, rest = call(d_net, d, rest, fake)
            return cross_entropy(on_real, 1.0) + cross_entropy(on_fake, 0.0), rest

        (d_loss, d_rest), slope = jax.value_and_grad(discriminator_loss, has_aux=True)(d)
        update, d_adam = optimizer.update(slope, d_adam, d)
        d = optax.apply_updates(d, update)

        def generator_loss(fake: jax.Array) -> tuple[jax.Array, Any]:
            on_fake, rest = call(d_net, d, d_rest, fake)
            return cross_entropy(on_fake, 1.0), rest

        (g_loss, d_rest), slope = jax.value_and_grad(generator_loss, has_aux=True)(fake)
        update, g_adam = optimizer.update(*back(slope), g_adam, g)
        return (optax.apply_updates(g, update), g_rest, g_adam), (d, d_rest, d_adam), (d_loss, g_loss)

    def loop(count: int, carry: Any, images: jax.Array, rows: jax.Array) -> Any:
        return jax.lax.fori_loop(0, count, lambda number, carry: step(number, carry, images, rows), carry)

    images = jax.random.uniform(jax.random.key(3), (IMAGES, 28, 28, 1), minval=-1.0)
    rows = jax.random.permutation(jax.random.key(4), IMAGES).reshape(-1, BATCH)
    carry = (g, g_rest, optimizer.init(g)), (d, d_rest, optimizer.init(d)), (jnp.zeros(()), jnp.zeros(()))
    carry = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), carry)  # donated, so every leaf needs a buffer of its own
    imported = time.perf_counter()
    program = jax.jit(loop, donate_argnums=1)
    carry = jax.block_until_ready(program(10, carry, images, rows))
    warm = time.perf_counter()
    *_, losses = jax.block_until_ready(program(steps, carry, images, rows))
    seconds = time.perf_counter() - warm
    return {
        "images_per_second": steps * BATCH / seconds,
        "seconds": {"import": imported - BEGIN, "warmup": warm - imported, "train": seconds},
        "losses": [float(loss) for loss in losses],
        "parameters": sum(leaf.size for leaf in jax.tree.leaves((g, d))),
        "versions": {"python": platform.python_version(), "jax": jax.__version__},
    }


def summary(answers: list[Answer]) -> Answer:
    """What one side did: medians with their spread."""
    phases = answers[0]["seconds"]
    same = {name: answers[0][name] for name in ("losses", "parameters", "versions")}
    return {
        "images_per_second": spread([a["images_per_second"] for a in answers]),
        "seconds": {phase: spread([a["seconds"][phase] for a in answers]) for phase in phases},
        **same,
    }


def spread(values: list[float]) -> Answer:
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "values": values}


def publish(answer: Answer, out: Path | None) -> None:
    """One JSON object on stdout, and in a file where one is named."""
    text = json.dumps(answer, indent=2)
    print(text)
    if out:
        out.write_text(text + "\n", encoding="utf8")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
