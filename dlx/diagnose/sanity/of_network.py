"""Checks of the network before its first step: its outputs, its two modes, and whether its units are different ones."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlx import engine
from dlx.diagnose.sanity.checked import Problem, finding_of
from dlx.diagnose.sanity.finding import Finding
from dlx.diagnose.sanity.subject import Subject
from dlx.diagnose.sanity.trial import without_dropout
from dlx.diagnose.sanity.untrained import EXAMPLES, Untrained, advice, weights

LARGE, LITTLE, WIDE = 3.0, 0.5, 5.0
"""How many times the loss of guessing the first loss may be."""
DRAWN = (3.0, 3.0, 0.0, 0.0)
"""Networks of random weights show what the outputs can be: so many times the fresh ones' size, or, for 0, of deviation 1."""
ROUNDING = 1e-3
MODES = 2.0
"""How many times the loss in evaluation may be that in training, once the running statistics have settled."""
STEPS = 2
"""After so many, units that began alike must differ."""


def initial_loss(subject: Subject) -> Finding:
    """Is the first loss that of guessing?"""
    net = subject.untrained
    outputs = np.concatenate([run.outputs for _, run in net.sample])
    loss = float(np.mean([net.loss(run.outputs, batch.targets) for batch, run in net.sample]))
    chance = float(np.mean([net.loss(np.zeros_like(run.outputs), batch.targets) for batch, run in net.sample]))
    ratio = loss / chance if chance > 0 else 1.0
    numbers = {"loss": loss, "chance": chance, "ratio": ratio}
    guess = "predicting the mean" if subject.whole.spec.target == "number" else "guessing"
    said = f"the first loss is {loss:.3g}, {ratio:.2g} times that of {guess} ({chance:.3g})"
    if not np.isfinite(loss):
        bad = int((~np.isfinite(outputs)).any(1).sum())
        said = f"the first loss is {loss}: the outputs of {bad} of {len(outputs)} examples are NaN or infinite"
        return Finding("fail", f"{said}; look at the network's code and at the range of its inputs", numbers)
    if ratio > LARGE:
        size = float(np.std(net.sample[0][0].inputs))
        cure = "draw the output layer's weights smaller"
        if size > WIDE:
            cure = f"the inputs have a standard deviation of {size:.2g}: see the check standardized"
        return Finding("warn", f"{said}: the first steps only shrink the outputs; {cure}", numbers)
    if ratio < LITTLE:
        return Finding("warn", f"{said}: does the network see the answer, or are its weights trained already?", numbers)
    return Finding("pass", said, numbers)


def output_activation(subject: Subject) -> Finding:
    """Are the outputs free to be any number, as the loss expects?"""
    net, kind = subject.untrained, subject.whole.spec.target
    outputs = np.concatenate([_finite(each) for each in _tried(net)]).astype(np.float64)
    if not len(outputs):
        return Finding("fail", "every output is NaN or infinite: look at the network's code")
    low, high = float(np.min(outputs)), float(np.max(outputs))
    numbers = {"lowest": low, "highest": high}
    ranged = f"whatever its weights and inputs are, the outputs are from {low:.3g} to {high:.3g}"
    sums = outputs.sum(1)
    if kind != "number" and low >= 0 and high <= 1 + ROUNDING and np.abs(sums - 1).max() < ROUNDING and outputs.shape[1] > 1:
        own = "sigmoid, not softmax" if kind == "labels" else "softmax"
        said = (
            f"each example's outputs are from 0 to 1 and sum to 1: they are probabilities, and the loss applies its own {own}"
        )
        return Finding("fail", f"{said}; return the logits, without softmax", numbers)
    if low >= 0 and high <= 1:
        if kind == "number":
            said = f"{ranged}: standardized targets are also negative, and beyond 1; take the activation off the outputs"
        else:
            said = f"{ranged}, as after a sigmoid, and the loss applies its own; return the logits, without an activation"
        return Finding("warn" if kind == "number" else "fail", said, numbers)
    if low >= -1 and high <= 1:
        return Finding("warn", f"{ranged}, as after tanh: take the activation off the outputs", numbers)
    if low == 0 and high > 0:
        said = f"no output is ever negative, and {np.mean(outputs == 0):.0%} are exactly 0, as after ReLU"
        return Finding("warn" if kind == "class" else "fail", f"{said}: take the activation off the outputs", numbers)
    if (
        kind == "class"
        and np.abs(np.log(np.exp(outputs - outputs.max(1, keepdims=True)).sum(1)) + outputs.max(1)).max() < ROUNDING
    ):
        return Finding(
            "pass", "the outputs are log-probabilities: harmless, the loss's softmax leaves them as they are", numbers
        )
    return Finding("pass", f"the outputs are free: under random weights they go from {low:.3g} to {high:.3g}", numbers)


def modes(subject: Subject) -> Finding:
    """Without dropout, is the network in evaluation the one that is trained, and does it look at each example by itself?"""
    net = subject.untrained
    params, rest = net.learner.params, net.learner.rest
    batch, first = net.sample[0]
    if not np.isfinite(first.outputs).all():
        return Finding("skip", "cannot be told: outputs are NaN or infinite; see the other checks")
    tolerance = 0.05 if net.config.train.precision == "bfloat16" else ROUNDING
    evaluated = net.run(params, rest, batch.inputs, train=False).outputs
    if not np.isfinite(evaluated).all():
        said = "outputs are NaN or infinite in evaluation, and not in training"
        return Finding("fail", f"{said}: look for what depends on `train` in the network's code")
    again = net.run(params, rest, batch.inputs, train=False, key=1).outputs
    chance = _apart(evaluated, again)
    if chance > tolerance:
        said = f"in evaluation the same inputs give outputs that differ by {chance:.2g} of the largest"
        return Finding("fail", f"{said}: dropout or other random numbers stay on", {"random": chance})
    if (mixed := _mixed(net, evaluated, train=False)) > max(ROUNDING, 2 * chance):
        return _depends("evaluation", mixed)
    chance = _apart(first.outputs, net.run(params, rest, batch.inputs, train=True, key=1).outputs)
    if chance > tolerance:
        said = f"in training the same inputs give outputs that differ by {chance:.2g} of the largest, even without dropout"
        return Finding("skip", f"cannot be told: {said}, so the network draws random numbers of its own", {"random": chance})
    if net.normalizes:
        return _settled_modes(net)
    if (mixed := _mixed(net, first.outputs, train=True)) > max(ROUNDING, 2 * chance):
        return _depends("training", mixed)
    apart = _apart(first.outputs, evaluated)
    if apart > tolerance:
        said = f"without dropout the outputs in training and in evaluation differ by {apart:.2g} of the largest"
        return Finding("fail", f"{said}: look for what depends on `train` in the network's code", {"difference": apart})
    return Finding("pass", "without dropout the outputs in training and in evaluation are equal", {"difference": apart})


def _apart(outputs: np.ndarray, others: np.ndarray) -> float:
    """The largest difference, as a share of the largest output; infinite where there is no number."""
    scale = float(np.abs(outputs).max(initial=0)) or 1.0
    apart = float(np.abs(outputs - others).max(initial=0)) / scale
    return apart if np.isfinite(apart) else np.inf


def _mixed(net: Untrained, outputs: np.ndarray, *, train: bool) -> float:
    """How far the outputs of the first batch's first half move when other examples take the place of its second half."""
    inputs, others = net.batches(0).inputs, net.batches(1).inputs
    half = len(inputs) // 2
    mixed = jnp.concatenate([inputs[:half], others[half:][::-1]])
    moved = net.run(net.learner.params, net.learner.rest, mixed, train=train).outputs
    return _apart(outputs[:half], moved[:half])


def _depends(mode: str, mixed: float) -> Finding:
    said = (
        f"in {mode} an example's outputs depend on the other examples of its batch: they differ by {mixed:.2g} of the largest"
    )
    cure = "look for means, softmax or reshapes over the first axis, and for batch normalization without running statistics"
    return Finding("fail", f"{said}; {cure}", {"mixed": mixed})


def _settled_modes(net: Untrained) -> Finding:
    training, evaluation = _losses(net)
    ratio = evaluation / training if training > 0 else 1.0
    numbers = {"train_loss": training, "evaluation_loss": evaluation, "ratio": ratio}
    said = f"with settled running statistics the loss is {evaluation:.3g} in evaluation and {training:.3g} in training"
    if not np.isfinite(ratio) or not 1 / MODES < ratio < MODES:
        cure = "raise train.batch_size, or look at the momentum of the batch normalization"
        return Finding("warn", f"{said}: validation will look unlike training; {cure}", numbers)
    return Finding("pass", said, numbers)


def symmetry(subject: Subject) -> Finding:
    """Do the units of each layer become different ones?"""
    rehearsal = subject.rehearsal
    configs = [without_dropout(config) for config in rehearsal.configs]
    program = rehearsal.assembly.with_configs(configs).program
    rows = program.feed.batches(subject.config.data.seed, 0, STEPS, program.shapes.batch)
    lanes, _, _ = program.train(program.init(), rows, 0)
    lane = jax.tree.map(lambda x: x[0], engine.host(lanes))
    if lane.diverged_at >= 0:
        return Finding("skip", f"cannot be told: the loss of the first {STEPS} steps is NaN or infinite; see the other checks")
    kernels = {
        path: kernel for path, kernel in weights(lane.learner.params).items() if kernel.ndim > 1 and kernel.shape[-1] > 1
    }
    different = {path: len(np.unique(kernel.reshape(-1, kernel.shape[-1]), axis=1).T) for path, kernel in kernels.items()}
    problems: list[Problem] = []
    if equal := [f"{path} ({kernels[path].shape[-1]})" for path, count in different.items() if count == 1]:
        said = f"all units of {', '.join(equal)} are still the same after {STEPS} steps, and always will be"
        by = advice(subject.config, "model.init=he", "its kernel_init")
        problems.append(("fail", f"{said}: draw the weights at random ({by})"))
    alike = {path: kernels[path].shape[-1] - count for path, count in different.items()}
    fine = f"after {STEPS} steps the units of all {len(kernels)} layers differ"
    return finding_of(problems, fine, {"equal_units": alike})


def _scaled(inputs: jax.Array, scale: float) -> jax.Array:
    """Tokens stay what they are."""
    return scale * inputs if jnp.issubdtype(inputs.dtype, jnp.floating) else inputs


def _tried(net: Untrained) -> Iterator[np.ndarray]:
    """Outputs (b, outputs) for inputs as they are, larger and negated, and of networks with large random weights."""
    params, rest = net.learner.params, net.learner.rest
    batches = [batch for batch, _ in net.sample]
    batches = batches[: max(1, EXAMPLES // len(batches[0].targets))]

    def outputs(params: Any, scale: float) -> np.ndarray:
        return np.concatenate([net.run(params, rest, _scaled(batch.inputs, scale), train=False).outputs for batch in batches])

    yield from (outputs(params, scale) for scale in (1, 10, -1))
    chance = np.random.Generator(np.random.Philox(key=0))

    def drawn(weight: Any, scale: float) -> np.ndarray:
        size = scale * float(np.sqrt(np.mean(np.square(weight, dtype=np.float64))))
        return ((size or 1.0) * chance.standard_normal(np.shape(weight))).astype(np.float32)

    for scale in DRAWN:
        yield outputs(jax.tree.map(partial(drawn, scale=scale), params), 1)


def _finite(outputs: np.ndarray) -> np.ndarray:
    """The rows without NaN and infinity: large weights and inputs may overflow."""
    return outputs[np.isfinite(outputs).all(1)]


def _losses(net: Untrained) -> tuple[float, float]:
    """The mean loss of the same batches in training and in evaluation, with running statistics as after the whole training."""
    params, rest = net.learner.params, net.learner.rest
    batches, runs = zip(*net.sample, strict=True)
    twice = net.run(params, runs[0].rest, batches[0].inputs, train=True).rest
    settled = jax.tree.map(
        lambda *each: _settled(net.plan.total_steps, *each), rest, runs[0].rest, twice, *(run.rest for run in runs)
    )
    evaluated = [net.run(params, settled, batch.inputs, train=False).outputs for batch in batches]
    return (
        float(np.mean([net.loss(run.outputs, batch.targets) for run, batch in zip(runs, batches, strict=True)])),
        float(np.mean([net.loss(outputs, batch.targets) for outputs, batch in zip(evaluated, batches, strict=True)])),
    )


def _settled(steps: int, start: Any, once: Any, twice: Any, *after: Any) -> Any:
    """Where `steps` batches like these bring a running statistic from `start`.

    A batch moves it from s to m * s + (1 - m) * x, which is (1 - m) * (x - s) away; the same batch once more, from `once` to
    `twice`, m times as far. So m is known, and the mean x. A statistic that does not move so stays where one batch brings it.
    """
    start, once, twice = (np.asarray(each) for each in (start, once, twice))
    if not np.issubdtype(start.dtype, np.floating):
        return once
    away = float(np.abs(once - start).sum())
    momentum = float(np.abs(twice - once).sum()) / away if away > 0 else 1.0
    if not 0 <= momentum < 1:
        return once
    moved = np.mean([each - start for each in after], axis=0)
    return (start + moved / (1 - momentum) * (1 - momentum**steps)).astype(start.dtype)
