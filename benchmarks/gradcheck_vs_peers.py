"""Verdicts of `dlx gradcheck`, `jax.test_util.check_grads` and PyTorch's `torch.autograd.gradcheck` on the same small networks.

Each network is written once, as formulas that JAX and PyTorch both understand, and is checked right and with an error planted in
its backward pass: same weights, same inputs, float64. `check_grads` gets dlx's own loss function. The table tells each verdict
and what dlx says besides; it goes to stderr, one JSON object to stdout (and to --out).

`--networks 200` checks random networks without an error in place of all that, and counts false alarms.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]
# PyTorch's Python runs this file too, and has no JAX: what needs one of the two is imported where it is used.


def main() -> None:
    options = parse()
    if options.peer:
        torch_side(options.peer)
        return
    from train_vs_pytorch import processor, publish

    answer: dict[str, Any] = {
        "command": sys.argv,
        "machine": {"processor": processor(), "cores": os.cpu_count(), "load": os.getloadavg()},
    }
    answer |= random_networks(options) if options.networks else compare(options)
    publish(answer, options.out)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-python", default=os.environ.get("DLX_TORCH_PYTHON"), help="a Python with PyTorch")
    parser.add_argument("--network", action="append", choices=[network.name for network in NETWORKS], help="all, unless given")
    parser.add_argument("--networks", type=int, help="check so many random networks without an error instead")
    parser.add_argument("--first", type=int, default=0, help="seed of the first of them")
    parser.add_argument("--peer", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    return parser.parse_args()


# ------------------------------------------------------------------------------------------------------------ the networks


@dataclass(frozen=True)
class Library:
    """What JAX and PyTorch call differently."""

    np: Any
    """`jax.numpy`, or `torch`."""
    custom: Callable[[Callable[..., Any], Callable[..., Any]], Callable[..., Any]]
    """(forward, backward) to the function `forward(*x)` with the gradient `backward(x, g)`."""
    stop: Callable[[Any], Any]
    array: Callable[[np.ndarray], Any]
    single: Callable[[Any], Any]
    """To float32."""


Layer = Callable[[Any, Any, Any], Any]


@dataclass(frozen=True)
class Network:
    """tanh(x @ w + b), then a layer (x, kernel, bias) -> (b, 4) of its own, then x @ w + b and the mean squared error."""

    name: str
    layer: Callable[[Library, bool], Layer]
    """The layer in a library, with its error or without."""
    note: str = ""
    """Why verdicts differ, where they do."""
    cases: tuple[bool, ...] = (False, True)
    """Without an error, with it."""


def sign(on: Library, error: bool) -> Layer:
    rule = on.custom(on.np.tanh, lambda x, g: ((-g if error else g) * (1 - on.np.tanh(x[0]) ** 2),))
    return lambda x, kernel, bias: rule(x @ kernel + bias)


def factor(on: Library, error: bool) -> Layer:
    rule = on.custom(on.np.square, lambda x, g: (g * x[0] if error else 2 * g * x[0],))
    return lambda x, kernel, bias: rule(x @ kernel + bias)


def transposed(on: Library, error: bool) -> Layer:
    rule = on.custom(lambda x, w: x @ w, lambda x, g: (g @ (x[1] if error else x[1].T), x[0].T @ g))
    return lambda x, kernel, bias: rule(x, kernel) + bias


def forgotten(on: Library, error: bool) -> Layer:
    def backward(x: Any, g: Any) -> Any:
        return g @ x[1].T, x[0].T @ g, g.sum(0) * (0 if error else 1)

    return on.custom(lambda x, w, b: x @ w + b, backward)


def axis(on: Library, error: bool) -> Layer:
    def backward(_: Any, g: Any) -> Any:
        return (g - (g.mean(0) if error else g.mean(1)[:, None]),)

    rule = on.custom(lambda x: x - x.mean(1)[:, None], backward)
    return lambda x, kernel, bias: rule(x @ kernel + bias)


def stopped(on: Library, error: bool) -> Layer:
    def layer(x: Any, kernel: Any, bias: Any) -> Any:
        x = x @ kernel + bias
        largest = on.np.amax(x, 1)[:, None]
        return x - largest - on.np.log(on.np.exp(on.stop(x - largest) if error else x - largest).sum(1)[:, None])

    return layer


def dropped(on: Library, error: bool) -> Layer:
    kept = on.array(np.random.Generator(np.random.Philox(0)).random((EXAMPLES, 4)) < 0.75)
    rule = on.custom(lambda x: x * kept / 0.75, lambda _, g: (g * kept if error else g * kept / 0.75,))
    return lambda x, kernel, bias: rule(x @ kernel + bias)


def normalized(on: Library, error: bool) -> Layer:
    def layer(x: Any, kernel: Any, bias: Any) -> Any:
        x = x @ kernel
        mean = x.mean(0)
        variance = ((x - mean) ** 2).mean(0)
        if error:
            mean, variance = on.stop(mean), on.stop(variance)
        return (x - mean) / on.np.sqrt(variance + 1e-5) + bias

    return layer


def convolved(on: Library, error: bool) -> Layer:
    def padded(x: Any, before: int) -> Any:
        nothing = on.np.zeros_like(x[:, :2])
        return on.np.concatenate([nothing[:, :before], x, nothing[:, before:]], 1)

    def convolve(x: Any, taps: Any, before: int) -> Any:
        return sum(padded(x, before)[:, k : k + 4] * taps[k] for k in range(3))

    def backward(x: Any, g: Any) -> Any:
        of_taps = [(padded(x[0], 1)[:, k : k + 4] * g).sum() for k in range(3)]
        return convolve(g, (x[1][2], x[1][1], x[1][0]), 2 if error else 1), on.np.stack(of_taps)

    rule = on.custom(lambda x, taps: convolve(x, taps, 1), backward)
    return lambda x, kernel, bias: rule(x, kernel[:3, 0]) + bias + kernel.sum(0)


def rectified(on: Library, error: bool) -> Layer:
    def backward(x: Any, g: Any) -> Any:
        g = g * (x[0] @ x[1] + (0 if error else x[2]) > 0)
        return g @ x[1].T, x[0].T @ g, g.sum(0)

    return on.custom(lambda x, w, b: relu(on, x @ w + b), backward)


def relu(on: Library, x: Any) -> Any:
    return on.np.where(x > 0, x, on.np.zeros_like(x))


def softmax(on: Library, x: Any) -> Any:
    return on.np.exp(x) / on.np.exp(x).sum(1)[:, None]


def twice(on: Library, error: bool) -> Layer:
    def backward(x: Any, g: Any) -> Any:
        share = softmax(on, softmax(on, x[0]) if error else x[0])
        return (g - share * g.sum(1)[:, None],)

    rule = on.custom(lambda x: x - on.np.log(on.np.exp(x).sum(1))[:, None], backward)
    return lambda x, kernel, bias: rule(x @ kernel + bias)


def branched(on: Library, error: bool) -> Layer:
    def layer(x: Any, kernel: Any, bias: Any) -> Any:
        arm = on.np.tanh(x @ kernel + bias)
        return x + (on.stop(arm) if error else arm)

    return layer


def faint(on: Library, error: bool) -> Layer:
    inner = sign(on, error)
    return lambda x, kernel, bias: x + 1e-6 * inner(x, kernel, bias)


def one_number(on: Library, error: bool) -> Layer:
    excess = np.ones((4, 4))
    excess[2, 1] += 1e-3 if error else 0
    rule = on.custom(lambda x, w: x @ w, lambda x, g: (g @ x[1].T, (x[0].T @ g) * on.array(excess)))
    return lambda x, kernel, bias: rule(x, kernel) + bias


def single(on: Library, error: bool) -> Layer:
    inner = factor(on, error)
    return lambda x, kernel, bias: inner(on.single(x), on.single(kernel), on.single(bias))


def tied(on: Library, error: bool) -> Layer:
    del error
    return lambda x, kernel, bias: x @ kernel + relu(on, bias)


def infinite(on: Library, error: bool) -> Layer:
    least = 0.0 if error else 1e-2
    return lambda x, kernel, bias: x @ kernel + on.np.sqrt((bias**2).sum() + least)


def rounded(on: Library, error: bool) -> Layer:
    del error
    return lambda x, kernel, bias: x @ kernel + bias + on.stop(on.np.round(x @ kernel + bias) - (x @ kernel + bias))


def random(on: Library, error: bool) -> Layer:
    del error
    return lambda x, kernel, bias: x @ kernel + bias + on.array(np.random.normal(size=4))  # noqa: NPY002 (that is the error)


EXAMPLES = 8
NETWORKS = (
    Network("wrong sign", sign),
    Network("missing factor", factor),
    Network("transposed weight", transposed),
    Network("forgotten bias", forgotten),
    Network("wrong axis in a mean", axis),
    Network("stop_gradient in the wrong place", stopped),
    Network("wrong dropout scale", dropped),
    Network("batch statistics not differentiated", normalized),
    Network("off-by-one padding of a convolution", convolved),
    Network("ReLU derivative at the wrong argument", rectified, "it shows where biases are not zero: only dlx looks there too"),
    Network("double softmax", twice),
    Network("detached branch", branched),
    Network("wrong sign in a faint branch", faint, "its gradient is below the absolute tolerance (1e-5) of the other two"),
    Network("one number 0.1 % too large", one_number, "PyTorch allows each number 0.1 % (rtol=1e-3)"),
    Network("computed in float32 by itself", single, "differences of float32 need larger steps and a wider tolerance"),
    Network(
        "zeros at a ReLU", tied, "a kink, where any slope between both sides is right: dlx tells it from an error", (False,)
    ),
    Network("infinite slope", infinite),
    Network("rounded, passed straight through", rounded, cases=(True,)),
    Network("drawn anew at every call", random, cases=(True,)),
)


# -------------------------------------------------------------------------------------------------------------- both sides


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Every network's verdicts."""
    chosen = [network for network in NETWORKS if not options.network or network.name in options.network]
    with tempfile.TemporaryDirectory(prefix="dlx-benchmark-") as folder:
        rows = list(jax_side(chosen, Path(folder)))
        versions = ask_torch(rows, options.torch_python, Path(folder))
    for row in rows:
        wrong = [name for name in CHECKERS if name in row and row[name]["right"] == row["error"]]
        note = next(network.note for network in chosen if network.name == row["network"])
        row |= {"mistaken": wrong, "note": note if wrong else ""}
    say(table(rows))
    return {"rows": rows, "versions": versions}


def jax_side(networks: list[Network], folder: Path) -> Iterator[dict[str, Any]]:
    """Checks each network with dlx and `check_grads`; leaves the arrays for PyTorch in `folder`."""
    import jax
    from jax.test_util import check_grads

    from dlx.config import load_experiment
    from dlx.data.arrays import Arrays, from_arrays
    from dlx.diagnose.gradcheck import GradCheck, check_gradients
    from dlx.diagnose.loss_function import loss_function

    generator = np.random.Generator(np.random.Philox(1))
    examples = generator.normal(size=(EXAMPLES, 3)), generator.normal(size=(EXAMPLES, 2))
    for network in networks:
        for error in network.cases:
            args = {"network": network.name, "error": error}
            config = load_experiment(
                {
                    "task": {"kind": "regress"},
                    "data": {"kind": "npz", "path": "given", "validation": 0, "test": 0},
                    "model": {"kind": "python", "target": f"{Path(__file__).resolve()}:net", "args": args},
                    "train": {"batch_size": "full"},
                }
            )
            dataset = from_arrays(Arrays("given", examples), config.data, "number")
            begin = time.perf_counter()
            found = drained(check_gradients(config, dataset, GradCheck(batch=EXAMPLES)))
            row: dict[str, Any] = {"case": f"{len(list(folder.glob('*.npz')))}.npz", **args}
            row["dlx"] = {"right": found.ok, "said": said(found), "seconds": time.perf_counter() - begin}
            with jax.enable_x64(True):
                function = loss_function(config, dataset, EXAMPLES, "float64")
                loss = function.loss(train=True)
                mean, std = (np.asarray(moment, np.float32) for moment in (dataset.spec.target_mean, dataset.spec.target_std))
                arrays = {"targets": (function.batch.targets - mean) / std, "loss": loss(function.start)}
                for leaf in function.leaves:
                    arrays[leaf.name.replace("/", "_")] = function.start[leaf.at].reshape(leaf.shape)
                saved: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
                np.savez(folder / row["case"], **saved)
                row["check_grads"] = timed(partial(check_grads, loss, (function.start,), 1, ["rev"]), AssertionError)
            yield row


def drained(events: Any) -> Any:
    """What a generator returns."""
    while True:
        try:
            next(events)
        except StopIteration as end:
            return end.value


def said(found: Any) -> str:
    """What dlx says besides its verdict."""
    mode = found.modes[0]
    if mode.apart_said:
        return mode.apart_said
    odd: dict[str, list[str]] = {}
    for leaf in mode.leaves:
        if leaf.reading.verdict != "right":
            odd.setdefault(f"{leaf.reading.verdict}: {leaf.reading.why}", []).append(leaf.name)
    return "; ".join(f"{', '.join(names)} {what}" for what, names in odd.items())


def timed(check: Callable[[], Any], failure: type[Exception]) -> dict[str, Any]:
    """The verdict of a checker that raises."""
    begin = time.perf_counter()
    try:
        check()
        text = ""
    except failure as error:
        text = " ".join(str(error).split())[:200]
    return {"right": not text, "said": text, "seconds": time.perf_counter() - begin}


def ask_torch(rows: list[dict[str, Any]], python: str | None, folder: Path) -> dict[str, str]:
    """Adds PyTorch's verdicts to the rows, if there is one."""
    from train_vs_pytorch import run

    if not python:
        say("PyTorch: left out, no Python given")
        return {}
    (folder / "cases.json").write_text(json.dumps([{name: row[name] for name in ("case", "network", "error")} for row in rows]))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    answer = run([python, str(Path(__file__).resolve()), "--peer", str(folder)], folder, environment)
    for row, verdict in zip(rows, answer["verdicts"], strict=True):
        row["PyTorch"] = verdict
    return answer["versions"]


CHECKERS = ("dlx", "check_grads", "PyTorch")


def table(rows: list[dict[str, Any]]) -> str:
    """The rows for people. A verdict that is mistaken has a star."""
    lines = [f"{'network':38} {'':6} " + " ".join(f"{name:>19}" for name in CHECKERS) + "  dlx says"]
    for row in rows:
        cells = []
        for name in CHECKERS:
            verdict = row.get(name)
            word = "" if verdict is None else "right" if verdict["right"] else "wrong"
            cells.append(f"{word + '*' * (name in row['mistaken']):>9} {verdict['seconds']:7.2f} s" if verdict else "")
        told = "  ".join(part for part in (row["dlx"]["said"], row["mistaken"] and f"* {row['note'] or 'UNEXPLAINED'}") if part)
        lines.append(
            f"{row['network']:38} {'wrong' if row['error'] else 'right':6} " + " ".join(f"{c:>19}" for c in cells) + f"  {told}"
        )
    for name in CHECKERS:
        mine = [row for row in rows if name in row]
        seconds = sum(row[name]["seconds"] for row in mine)
        lines.append(f"{name}: {sum(name in row['mistaken'] for row in mine)} of {len(mine)} mistaken, {seconds:.1f} s")
    return "\n".join(lines)


def net(in_features: int, out_features: int, *, rngs: Any, network: str, error: bool) -> Any:
    """The network for dlx, which finds it by this file and this name."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    def custom(forward: Callable[..., Any], backward: Callable[..., Any]) -> Callable[..., Any]:
        function = jax.custom_vjp(forward)
        function.defvjp(lambda *x: (forward(*x), x), backward)
        return function

    on = Library(jnp, custom, jax.lax.stop_gradient, jnp.asarray, lambda x: x.astype(jnp.float32))
    layer = next(each for each in NETWORKS if each.name == network).layer(on, error)

    class Net(nnx.Module):
        def __init__(self) -> None:
            self.hidden = nnx.Linear(in_features, 4, rngs=rngs)
            self.middle = nnx.Linear(4, 4, rngs=rngs)
            self.output = nnx.Linear(4, out_features, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            kernel, bias = (nnx.as_pure(nnx.state(self.middle))[name] for name in ("kernel", "bias"))
            return self.output(layer(jnp.tanh(self.hidden(x)), kernel, bias))

    return Net()


def torch_side(folder: Path) -> None:
    """`torch.autograd.gradcheck`, with its own defaults, of the cases in `folder`. Run by a Python with PyTorch."""
    import torch  # ty: ignore[import-not-found]

    def custom(forward: Callable[..., Any], backward: Callable[..., Any]) -> Callable[..., Any]:
        class Rule(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *x: Any) -> Any:
                ctx.save_for_backward(*x)
                return forward(*x)

            @staticmethod
            def backward(ctx: Any, g: Any) -> Any:
                return backward(ctx.saved_tensors, g)

        return Rule.apply

    on = Library(torch, custom, lambda x: x.detach(), torch.as_tensor, lambda x: x.float())
    verdicts = []
    for case in json.loads((folder / "cases.json").read_text()):
        layer = next(each for each in NETWORKS if each.name == case["network"]).layer(on, case["error"])
        given = {name: torch.as_tensor(array) for name, array in np.load(folder / case["case"]).items()}
        expected, targets = given.pop("loss"), given.pop("targets")
        names = list(given)

        def loss(*arrays: Any, layer: Layer = layer, names: list[str] = names, targets: Any = targets) -> Any:
            at = dict(zip(names, arrays, strict=True))
            x = torch.tanh(at["inputs"] @ at["hidden_kernel"] + at["hidden_bias"])
            x = layer(x, at["middle_kernel"], at["middle_bias"])
            return ((x.double() @ at["output_kernel"] + at["output_bias"] - targets) ** 2).mean()

        arrays = [array.requires_grad_() for array in given.values()]
        verdict = timed(partial(torch.autograd.gradcheck, loss, arrays), RuntimeError)
        verdicts.append(verdict | {"loss_apart": abs(float(loss(*arrays)) - float(expected))})
    print(json.dumps({"verdicts": verdicts, "versions": {"torch": torch.__version__}}))


# ------------------------------------------------------------------------------------------------------- random networks


def random_networks(options: argparse.Namespace) -> dict[str, Any]:
    """Checks the networks that `tests/diagnose/test_correct_gradients.py` draws, and tells every leaf that is not plainly right."""
    sys.path.insert(0, str(ROOT / "tests" / "diagnose"))
    from test_correct_gradients import checked, drawn  # ty: ignore[import-not-found]

    rows, verdicts = [], Counter()
    for seed in range(options.first, options.first + options.networks):
        config, dataset = drawn(seed)
        begin = time.perf_counter()
        found = checked(config, dataset)
        leaves = [(mode.mode, leaf) for mode in found.modes for leaf in mode.leaves]
        verdicts.update(leaf.reading.verdict for _, leaf in leaves)
        row = {
            "seed": seed,
            "seconds": time.perf_counter() - begin,
            "right": found.ok,
            "forward": [mode.forward for mode in found.modes],
            "apart": [mode.apart for mode in found.modes],
            "config": config.model_dump(
                mode="json",
                include={
                    "task": True,
                    "model": True,
                    "data": {"augment", "standardize"},
                    "optimizer": {"l1", "l2"},
                    "train": {"seed"},
                },
            ),
            "shape": dataset.spec.input_shape,
            "leaves": len(leaves),
            "not_right": [
                {
                    "mode": mode,
                    "leaf": leaf.name,
                    "verdict": leaf.reading.verdict,
                    "why": leaf.reading.why,
                    "analytic": leaf.analytic,
                    "numeric": leaf.numeric,
                    "error": leaf.reading.error,
                    "uncertainty": leaf.reading.uncertainty,
                }
                for mode, leaf in leaves
                if leaf.reading.verdict != "right"
            ],
        }
        rows.append(row)
        say(f"{seed:4} {'right' if found.ok else 'FALSE ALARM'} {row['seconds']:5.1f} s {row['config']['model']}")
        odd = Counter(f"{each['mode']}: {each['verdict']}: {each['why']}" for each in row["not_right"])
        for what, count in odd.items():
            say(f"       {count} leaves in {what}")
    false = [row["seed"] for row in rows if not row["right"]]
    say(f"{len(rows)} networks, {sum(verdicts.values())} leaves: {dict(verdicts)}; false alarms: {false or 'none'}")
    return {"networks": rows, "verdicts": dict(verdicts), "false_alarms": false}


def say(text: str) -> None:
    """A line for people, to stderr."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
