"""A check of what flows through the layers of the fresh network: activations forward, gradients backward."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import jax
import numpy as np

from dlx.config import Experiment
from dlx.diagnose.sanity.checked import Problem, finding_of
from dlx.diagnose.sanity.finding import Finding
from dlx.diagnose.sanity.insides import Seen
from dlx.diagnose.sanity.subject import Subject
from dlx.diagnose.sanity.untrained import Forward, Untrained, advice, weights

BINS = 10
SATURATED = 0.99
"""Of a bounded activation: how near to its bound a value has hardly any slope."""
HALF = 0.5
"""More dead units, or saturated values, than this share of a layer's are worth a look."""
TINY, HUGE, SMALL, LARGE = 1e-3, 1e3, 1e-2, 1e2
"""Standard deviations of activations that no signal survives, and that are worth a look."""
VANISHED, UNEVEN = 1e4, 1e3
"""The same for the ratio of the gradients' norms in the first and in the last layer."""
DRAWN = 0.1
"""The standard deviation that weights of zeros get, to see what a gradient could be that is 0 only because of them."""


@dataclass(frozen=True)
class Layer:
    """What one layer with parameters makes of some hundred examples, after its activation function."""

    path: str
    std: float
    dead: float
    """The share of units that are zero for every example."""
    saturated: float
    """The share of values near the bound of an activation that has bounds."""
    histogram: list[int]
    """Of a sample of values, in `BINS` equal bins from the lowest to the highest."""
    judged: bool
    """Not the output layer, not what a normalization puts right next, and not a branch that begins at zero."""


def layers(subject: Subject) -> Finding:
    """Do activations and gradients keep a sound size through all layers?"""
    net = subject.untrained
    found = _activations(net)
    size = {path: _norm(weight) for path, weight in weights(net.learner.params).items()}
    slope = _slopes(net, net.learner.params)
    problems = _broken(net, found)
    if not problems:
        problems = [*_forward_problems(found, net.config), *_unused(net, found, slope), *_backward_problems(net, found, slope)]
    kernels = _kernels(found, slope)
    ratio = _first_to_last(kernels, slope)
    numbers = {
        "layers": [vars(layer) for layer in found],
        "parameters": [
            {"path": path, "gradient": slope[path], "ratio": slope[path] / size[path] if size[path] else None} for path in slope
        ],
        "first_to_last_gradient": ratio,
    }
    inner = [layer.std for layer in found if layer.judged]
    spread = f"activations have standard deviations from {min(inner):.2g} to {max(inner):.2g}" if inner else "no hidden layers"
    backward = f"the first layer's gradient is {ratio:.2g} times the last one's"
    if kernels and not size[kernels[-1]]:
        backward = "the output layer begins at zero, so that gradients reach the others from the second step on"
    return finding_of(problems, f"{spread}; {backward}", numbers)


def _slopes(net: Untrained, params: Any) -> dict[str, float]:
    """The norm of each parameter's gradient on the first batch."""
    return {path: _norm(gradient) for path, gradient in weights(net.gradient(params, net.batches(0))).items()}


def _activations(net: Untrained) -> tuple[Layer, ...]:
    """The layers with parameters in the order of their calls."""
    runs = [run for _, run in net.sample]
    owners = {path.rpartition("/")[0]: False for path in weights(net.learner.params)}
    for path, weight in weights(net.learner.params).items():
        owners[path.rpartition("/")[0]] |= weight.ndim > 1
    chosen = _after_activation(runs[0], owners)
    found = []
    for (path, index), (behind, _) in zip_longest(chosen, chosen[1:], fillvalue=("", 0)):
        layer = _layer(path, [run.seen[index] for run in runs], judged=owners.get(behind, False))
        # The branch of a residual network may begin at zero: what counts is that something goes into the layer behind it.
        inputs = [seen.alive.any() for run in runs for seen in run.seen if seen.path == behind and not seen.out]
        found.append(replace(layer, judged=False) if layer.dead == 1 and any(inputs) else layer)
    return tuple(found)


def _after_activation(run: Forward, owners: dict[str, bool]) -> list[tuple[str, int]]:
    """Each layer that owns parameters, with the number of what was seen last of its outputs before the next such layer.

    An activation function is no module. What it makes of a layer's output is what comes out of the module around it, or goes
    into the next one; pooling in between changes the places of a map, not its units.
    """
    chosen: list[tuple[str, int]] = []
    for index, seen in enumerate(run.seen):
        if seen.out and seen.path in owners:
            chosen.append((seen.path, index))
        elif chosen:
            before = run.seen[chosen[-1][1]].shape
            if len(before) == len(seen.shape) and before[-1] == seen.shape[-1]:
                chosen[-1] = (chosen[-1][0], index)
    return chosen


def _layer(path: str, batches: Sequence[Seen], *, judged: bool) -> Layer:
    values = np.concatenate([seen.values for seen in batches]).astype(np.float64)
    dead = ~np.any([seen.alive for seen in batches], axis=0)
    if not all(seen.finite for seen in batches):
        return Layer(path, float("nan"), float(dead.mean()), 0.0, [0] * BINS, judged)
    return Layer(
        path, float(values.std()), float(dead.mean()), _saturated(values), np.histogram(values, BINS)[0].tolist(), judged
    )


def _saturated(values: np.ndarray) -> float:
    """Of values that stay within (0, 1) or (-1, 1), as those of a sigmoid or tanh do, the share near a bound."""
    high = values > SATURATED
    # Small outputs of ReLU stay within (0, 1) as well, but then hardly any are near 1.
    if np.abs(values).max() > 1 or ((values == 0).mean() > 0.01 and high.mean() < 0.1):
        return 0.0
    low = values < (1 - SATURATED if values.min() >= 0 else -SATURATED)
    return float((high | low).mean())


def _broken(net: Untrained, found: Sequence[Layer]) -> list[Problem]:
    """Where the first number comes from that is none."""
    if broken := [layer.path for layer in found if not np.isfinite(layer.std)]:
        return [("fail", f"the outputs of {broken[0]} are NaN or infinite: look at the network's code and at its inputs")]
    if all(np.isfinite(run.outputs).all() for _, run in net.sample):
        return []
    if not found:
        return [("fail", "the network's outputs are NaN or infinite: look at its code and at its inputs")]
    return [("fail", f"every layer is finite, and the outputs are not: look at what follows {found[-1].path}")]


def _forward_problems(found: Sequence[Layer], config: Experiment) -> list[Problem]:
    problems: list[Problem] = []
    judged = [layer for layer in found if layer.judged]
    if dead := [layer.path for layer in judged if layer.dead == 1]:
        said = f"every unit of {', '.join(dead[:3])} is 0 for every example, and nothing reaches the layers behind it"
        by = advice(config, "model.init=he", "its kernel_init")
        return [("fail", f"{said}: draw its weights at random ({by}), or use another activation")]
    for layer in judged:
        if layer.dead > HALF:
            said = f"{layer.dead:.0%} of the units of {layer.path} are 0 for every example"
            other = advice(config, "model.activation=leaky_relu", "leaky_relu")
            problems.append(("warn", f"{said}: look at its inputs and biases, or use {other}"))
        if layer.saturated > HALF:
            said = f"{layer.saturated:.0%} of the activations of {layer.path} are saturated"
            problems.append(("warn", f"{said}: draw its weights smaller, or standardize the inputs"))
    for verdict, low, high in (("fail", TINY, HUGE), ("warn", SMALL, LARGE)):
        if off := [layer for layer in judged if not low <= layer.std <= high]:
            worst = max(off, key=lambda layer: abs(np.log(max(layer.std, 1e-30))))
            said = f"the activations of {worst.path} have a standard deviation of {worst.std:.2g}"
            built_in = "model.init=he (ReLU) or xavier (tanh), or model.normalization=batch"
            own = "he_normal (ReLU) or xavier_normal (tanh) for its kernel_init, or normalize"
            problems.append((verdict, f"{said}: use {advice(config, built_in, own)}"))
            break
    return problems


def _unused(net: Untrained, found: Sequence[Layer], slope: dict[str, float]) -> list[Problem]:
    """What has a gradient of exactly 0, although others have one, and does not owe it to weights that begin at zero."""
    if not any(slope.values()) or all(slope.values()):
        return []
    later = _slopes(net, _without_zeros(net.learner.params))
    none = [path for path in slope if not slope[path] and not later[path]]
    called = net.sample[0][1].called | {""}
    problems: list[Problem] = []
    if idle := sorted({path.rpartition("/")[0] for path in none} - called):
        which = ", ".join(idle[:3]) + (", ..." if len(idle) > 3 else "")
        problems.append(("warn", f"never called, with a gradient of exactly 0: {which}; call it, or take it out"))
    # A layer without a living unit gives those before it no gradient, and is told of already.
    if any(layer.judged and layer.dead == 1 for layer in found):
        return problems
    kernels = [path for path, weight in weights(net.learner.params).items() if weight.ndim > 1]
    used = [path for path in kernels if path.rpartition("/")[0] not in idle]
    if cut := [path for path in used if path in none]:
        which = f"{', '.join(cut[:3])}{', ...' if len(cut) > 3 else ''} is exactly 0"
        why = "it is not used, or cut off (stop_gradient, rounding, argmax); `dlx gradcheck` tells which"
        last = set(_kernels(found, slope)[-1:])
        verdict = "fail" if set(used) - last <= set(cut) else "warn"
        problems.append((verdict, f"the gradient of {which}: {why}"))
    return problems


def _without_zeros(params: Any) -> Any:
    """The same parameters (on the host), with small random numbers for those that are all zero."""
    chance = np.random.Generator(np.random.Philox(key=0))

    def drawn(weight: Any) -> np.ndarray:
        old = np.asarray(weight)
        return old if old.any() else (DRAWN * chance.standard_normal(old.shape)).astype(old.dtype)

    return jax.tree.map(drawn, params)


def _backward_problems(net: Untrained, found: Sequence[Layer], slope: dict[str, float]) -> list[Problem]:
    if broken := [path for path, norm in slope.items() if not np.isfinite(norm)]:
        return [("fail", f"the gradient of {broken[0]} is NaN or infinite: look at the network's code and at its inputs")]
    if not any(slope.values()):
        return [("fail", "every gradient is 0: the loss does not depend on the network; look for what cuts its outputs off")]
    kernels = _kernels(found, slope)
    # Behind an output layer that begins at zero nothing has a gradient yet; the first step changes that.
    if not kernels or not weights(net.learner.params)[kernels[-1]].any():
        return []
    ratio = _first_to_last(kernels, slope)
    apart = max(ratio, 1 / ratio)
    if apart <= UNEVEN:
        return []
    first, *_, last = [path for path in kernels if slope[path]]
    what, cure = ("explode", "lower") if ratio > 1 else ("vanish", "raise")
    said = f"gradients {what}: that of {first} is {ratio:.2g} times that of {last}"
    by = advice(net.config, "model.init=he for ReLU", "their kernel_init")
    return [
        ("fail" if apart > VANISHED else "warn", f"{said}; {cure} the initial weights ({by}), normalize, or use fewer layers")
    ]


def _first_to_last(kernels: Sequence[str], slope: dict[str, float]) -> float:
    """How many times the last layer's gradient the first one's is, of those that have one."""
    some = [slope[path] for path in kernels if slope[path]]
    return some[0] / some[-1] if some else 1.0


def _kernels(found: Sequence[Layer], slope: dict[str, float]) -> list[str]:
    """The paths of the layers' kernels in the order of their calls: what has `kernel` in its name, as Flax calls it."""
    return [path for layer in found for path in slope if path.rpartition("/")[0] == layer.path and path.endswith("kernel")]


def _norm(array: Any) -> float:
    return float(np.sqrt(np.square(np.asarray(array), dtype=np.float64).sum()))
