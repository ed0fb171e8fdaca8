"""The gradient check: are the gradients that training follows those of its loss?

Losses along random directions, one leaf at a time, are lanes of one program; `differences` reads them. Everything is looked at
twice: at the initial parameters, where biases are zero and units tie, and a little beside them.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr

from dlx import engine
from dlx.config import Experiment
from dlx.data import Dataset
from dlx.diagnose.differences import LADDER, LeafReading, Slopes, read, rounding, tolerance
from dlx.diagnose.gradients import EPSILON, GradCheck, GradientsFound, LeafFound, Mode, ModeFound
from dlx.diagnose.loss_function import Leaf, LossFunction, held, loss_function
from dlx.diagnose.rewriting import Loss, coarsest, equal, estimators, evaluated, held_still, plain, traced
from dlx.errors import RunFailedError, UsageError
from dlx.events import Compiling, Event
from dlx.experiment.assemble import load_data, resolve
from dlx.experiment.run import loaded
from dlx.experiment.session import device_failure
from dlx.models.forward import told

LANES = 32
LANE_BYTES = 256 * 1024**2
"""What the lanes' own copies of the vector may take together."""
ROUNDINGS = 2
"""Points beside each one at which the gradient shows how much rounding moves it."""
PROBES = 16384
"""Losses of one call, at most."""


def gradcheck(config: Experiment, check: GradCheck) -> Generator[Event, None, GradientsFound]:
    """Checks the gradients of an experiment on a few of its training examples.

    Raises `ConfigError` for a network without parameters, `RunFailedError` for a loss that is not finite, and what loading
    the data and the user's own network raise.
    """
    engine.configure()
    dataset = load_data(config)
    yield loaded(dataset)
    return (yield from check_gradients(resolve(config, dataset), dataset, check))


def check_gradients(config: Experiment, dataset: Dataset, check: GradCheck) -> Generator[Event, None, GradientsFound]:
    """As `gradcheck`, of a resolved experiment on data that is there."""
    yield Compiling("init")
    # The setting is the thread's: it must not be on while the generator waits.
    with jax.enable_x64(True):
        function = loss_function(config, dataset, check.batch, check.dtype)
        try:
            training, evaluation = _expressions(function)
        except RunFailedError:
            # A recurrent network's own float32 state does not fit float64 inputs. If float32 is no help, its sentence is the last.
            function = replace(function, single=True)
            training, evaluation = _expressions(function)
    modes: list[tuple[Mode, bool, ClosedJaxpr]] = [("training", True, training), ("evaluation", False, evaluation)]
    if equal(training, evaluation):
        modes = [("both", True, training)]
    found = []
    for mode, train, expression in modes:
        yield Compiling(f"the loss in {mode} mode" if mode != "both" else "the loss")
        with jax.enable_x64(True):
            try:
                found.append(_Inspection(function, mode, train, expression, check).found())
            except jax.errors.JaxRuntimeError as error:  # a callback that raises, or too little memory
                raise device_failure(error) from error
    return GradientsFound(check, function.parameters, tuple(found))


def _expressions(function: LossFunction) -> tuple[ClosedJaxpr, ClosedJaxpr]:
    """The loss in training and in evaluation."""
    training, evaluation = (traced(function.loss(train=train), function.start) for train in (True, False))
    return training, evaluation


class _Inspection:
    """Of one loss: compiled once, asked at two points."""

    def __init__(self, function: LossFunction, mode: Mode, train: bool, expression: ClosedJaxpr, check: GradCheck) -> None:
        self.function, self.mode, self.check = function, mode, check
        self.train, self.expression = train, expression
        # What is differentiated is traced anew: a custom rule's backward pass may refer to what else was traced with it.
        self.low = self._of_order(function.loss(train=train, dtype=check.dtype))
        loss = evaluated(expression) if check.order == 1 else self._of_order(function.loss(train=train))
        self.exact = coarsest(expression)  # a network may compute in float32, whatever is asked of it
        self.dtype = max(self.exact, check.dtype, key=lambda name: EPSILON[name])
        self.tolerance = tolerance(EPSILON[self.dtype])
        self.estimators = estimators(expression)
        if self.estimators and check.order == 2:
            raise UsageError("--order 2: a straight-through estimator has no second derivative to compare with")
        self.loss = held_still(expression) if self.estimators else lambda _, x: loss(x)
        self.leaves = [leaf for leaf in function.leaves if leaf.at.stop > leaf.at.start]  # a parameter may be of shape (0, n)
        self.directions = function.normals(check.directions, seed=1)  # (D, N)
        sizes = [leaf.at.stop - leaf.at.start for leaf in self.leaves]
        self.owner = np.repeat(np.arange(len(sizes)), sizes)  # (N,): the leaf of each number
        copies = max(1, LANE_BYTES // (8 * function.start.size))
        lanes = max(jax.local_device_count(), min(LANES, 1 << (copies.bit_length() - 1)))
        self.placement = engine.choose_placement(lanes, lambda: engine.has_convolution(loss, function.start))
        self.losses = jax.jit(self.placement.spread(self._losses))
        self.gradient = jax.jit(jax.value_and_grad(self.low))

    def found(self) -> ModeFound:
        """Reads both points."""
        start = self.function.start
        value, gradient = both = tuple(np.asarray(x) for x in self.gradient(start))
        if not np.isfinite(value):
            raise RunFailedError(
                f"the loss is {value} at the initial parameters, before any step: `dlx check` shows in which layer that begins"
            )
        apart, what = self._apart(start, both)
        first, otherwise = self._read(start, *both) if apart <= self.tolerance else ([], 0.0)
        if otherwise > self.tolerance:
            apart, what = (
                otherwise,
                "compiled in two ways, it differs: by its type, or where numbers are equal but for rounding",
            )
        if apart > self.tolerance:
            return ModeFound(self.mode, self.dtype, float(value), (), None, "", apart, what, self.estimators)
        point, there = self._beside(gradient)
        second, _ = self._read(point, *there)
        whole = not gradient[self.leaves[-1].at].any() and not there[1][self.leaves[-1].at].any()
        readings = [_decisive(*readings) for readings in zip(first, second, strict=True)]
        if whole and readings[-1].verdict in ("kink", "undecidable"):
            readings[-1] = replace(readings[-1], verdict="zero", why="they are used as whole numbers, which have no gradient")
        leaves = tuple(self._leaf(*pair) for pair in zip(self.leaves, readings, strict=True))
        forward = self._forward(point, there[1], second)
        return ModeFound(self.mode, self.dtype, float(value), leaves, *forward, apart, what, self.estimators)

    def _beside(self, gradient: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """The second point, with loss and gradient there: as far away as the loss is finite, if need be the first point again."""
        for part in (1.0, 0.3, 0.1, 0.03, 0.0):
            point = self.function.beside(gradient, part)
            value, there = (np.asarray(x) for x in self.gradient(point))
            if np.isfinite(value):
                break
        return point, (value, there)

    def _leaf(self, leaf: Leaf, reading: LeafReading) -> LeafFound:
        # E[<g, v>^2] = |g|^2 for normal v.
        root = leaf.scale * (1.0 if self.check.full else self.check.directions**0.5)
        return LeafFound(leaf.name, leaf.shape, reading, reading.analytic / root, reading.numeric / root)

    def _of_order(self, loss: Loss) -> Loss:
        if self.check.order == 1:
            return loss
        along = jnp.asarray(self.function.normals(1, seed=3)[0])
        return lambda vector: jnp.vdot(jax.grad(loss)(vector), along)

    def _losses(self, probes: tuple[jax.Array, jax.Array, jax.Array], shared: tuple[jax.Array, ...]) -> jax.Array:
        """Losses (M,) of one lane's probes: a leaf and a direction, or a coordinate, each (M,), and how far (M,)."""
        point, directions, owner = shared

        def at(probe: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
            leaf, which, step = probe
            if self.check.full:
                return self.loss(point, point.at[which].add(step))
            return self.loss(point, point + jnp.where(owner == leaf, step * directions[which], 0.0))

        return jax.lax.map(at, probes)

    def _read(self, point: np.ndarray, value: np.ndarray, gradient: np.ndarray) -> tuple[list[LeafReading], float]:
        """Each leaf's reading; and how far the losses lie apart from the one that was differentiated.

        The compiler makes two programs of one loss. If they are not of one mind, the gradient of the one says nothing of the other.
        """
        slopes = self._slopes(point, gradient)
        noise = rounding(slopes, EPSILON[self.exact])
        center = np.asarray(slopes[0].center)
        apart = _distance([value], [center]) if abs(value - center) > 100 * noise else 0.0
        largest = max(float(np.linalg.norm(s.analytic[np.isfinite(s.analytic)])) for s in slopes)
        return [read(s, noise, EPSILON[self.dtype], largest) for s in slopes], apart

    def _slopes(self, point: np.ndarray, gradient: np.ndarray) -> list[Slopes]:
        steps = np.asarray(LADDER)
        signed = np.concatenate([steps, -steps])
        owners, which, far = [np.zeros(1, int)], [np.zeros(1, int)], [np.zeros(1)]
        analytic, rounded = [], []
        moves = self._rounding(point) - gradient  # (points, N)
        for number, leaf in enumerate(self.leaves):
            if self.check.full:
                along = np.arange(leaf.at.start, leaf.at.stop)
                analytic.append(gradient[leaf.at] * leaf.scale)
                rounded.append(np.abs(moves[:, leaf.at] * leaf.scale).max(0))
                scale = leaf.scale
            else:
                along, scale = np.arange(self.check.directions), 1.0
                analytic.append(self.directions[:, leaf.at] @ gradient[leaf.at])
                rounded.append(np.abs(self.directions[:, leaf.at] @ moves[:, leaf.at].T).max(1))
            owners.append(np.full(along.size * signed.size, number))
            which.append(np.repeat(along, signed.size))
            far.append(np.tile(signed * scale, along.size))
        losses = self._call(self.losses, point, tuple(np.concatenate(x) for x in (owners, which, far)))
        ends = 1 + np.cumsum([expected.size * signed.size for expected in analytic])
        mine = (part.reshape(-1, 2, steps.size) for part in np.split(losses, [1, *ends])[1:-1])
        parts = zip(analytic, mine, rounded, strict=True)
        return [Slopes(a, float(losses[0]), both[:, 0], both[:, 1], moved) for a, both, moved in parts]

    def _rounding(self, point: np.ndarray) -> np.ndarray:
        """The gradients (points, N) at points that rounding could have made of this one."""
        signs = np.random.Generator(np.random.Philox(4)).choice([-1.0, 1.0], size=(ROUNDINGS, point.size))
        near = (held(point * (1 + EPSILON[self.dtype] * sign), self.check.dtype) for sign in signs)
        return np.stack([np.asarray(self.gradient(each)[1]) for each in near])

    def _call(self, function: Any, point: np.ndarray, probes: tuple[np.ndarray, ...]) -> np.ndarray:
        """A compiled function of lanes, of probes (P,) each, padded to full lanes."""
        lanes, count = self.placement.lanes, len(probes[0])
        chunk = min(-(-count // lanes), max(1, PROBES // lanes)) * lanes
        found = []
        for begin in range(0, count, chunk):
            part = tuple(np.resize(x[begin : begin + chunk], chunk).reshape(lanes, -1) for x in probes)
            values = np.asarray(function(part, (point, self.directions, self.owner)))
            found.append(values.ravel()[: count - begin])
        return np.concatenate(found)

    def _forward(self, point: np.ndarray, gradient: np.ndarray, readings: Sequence[LeafReading]) -> tuple[float | None, str]:
        """The largest relative difference of a leaf between <g, v> and forward mode's derivative along v, or why there is none.

        At a kink either may take another slope, and both be right.
        """
        count, directions = len(self.leaves), self.directions

        def tangents(probes: tuple[jax.Array, jax.Array], shared: tuple[jax.Array, ...]) -> jax.Array:
            point, directions, owner = shared

            def along(probe: tuple[jax.Array, jax.Array]) -> jax.Array:
                leaf, which = probe
                return jax.jvp(bare, (point,), (jnp.where(owner == leaf, directions[which], 0.0),))[1]

            return jax.lax.map(along, probes)

        probes = np.repeat(np.arange(count), len(directions)), np.tile(np.arange(len(directions)), count)
        bare = plain(lambda x: self.loss(point, x), point)
        try:
            slopes = self._call(jax.jit(self.placement.spread(tangents)), point, probes)
        except (TypeError, ValueError, NotImplementedError) as error:  # such as a callback, which has no derivative
            return None, told(error)
        expected = np.stack([directions[:, leaf.at] @ gradient[leaf.at] for leaf in self.leaves])  # (leaves, D)
        slopes = slopes.reshape(expected.shape)
        off = np.linalg.norm(slopes - expected, axis=1)
        size = np.linalg.norm(slopes, axis=1) + np.linalg.norm(expected, axis=1)
        # What cancels to next to nothing is rounding in both, and is measured by the largest leaf.
        # A custom rule may be there to avoid a number that the body alone would not give.
        numbers = np.isfinite(off)
        if not numbers.any():
            return None, "it is no number without the custom rules"
        nothing = min(1e3 * EPSILON[self.dtype] / self.tolerance, 0.1) * float(size[numbers].max())
        smooth = numbers & np.array([reading.verdict != "kink" for reading in readings])
        return float(np.max(off / np.maximum(size, nothing or 1.0), where=smooth, initial=0.0)), ""

    def _apart(self, start: np.ndarray, first: tuple[np.ndarray, ...]) -> tuple[float, str]:
        """How far two evaluations of the loss and its gradient lie apart, and what that tells."""
        if (apart := _distance(first, self.gradient(start))) > 0:
            return apart, "two runs of one program differ: something is drawn in a callback, or sums have no fixed order"
        again = traced(self.function.loss(train=self.train), start)
        if not equal(self.expression, again):
            losses = (np.asarray(jax.jit(evaluated(each))(start)) for each in (self.expression, again))
            if (apart := _distance(*([loss] for loss in losses))) > 0:
                return apart, "traced twice, it differs: something is drawn from NumPy or Python, in place of `rngs`"
        return 0.0, ""


def _distance(one: Sequence[np.ndarray], other: Sequence[jax.Array | np.ndarray]) -> float:
    """The largest difference, relative to the largest number; infinite where one of two is not a number."""
    a, b = (np.concatenate([np.ravel(x) for x in both]) for both in (one, other))
    a, b = (x[~(np.isnan(a) & np.isnan(b))] for x in (a, b))
    off = float(np.max(np.abs(a - b), initial=0.0))
    return float("inf") if np.isnan(off) else off / max(float(np.max(np.abs(a), initial=0.0)), np.finfo(float).tiny)


def _decisive(first: LeafReading, beside: LeafReading) -> LeafReading:
    """Of what was read at the initial parameters and beside them, the reading that counts."""
    match first.verdict, beside.verdict:
        case "wrong", "wrong":
            return first
        case _, "wrong":
            return replace(beside, why=f"{beside.why} (beside the initial parameters; at them it is {first.verdict})")
        case "undecidable", _:
            return beside
        case (("kink" | "zero"), "right"):
            return replace(first, why=f"{first.why}; a little beside the initial parameters it is right")
    return first
