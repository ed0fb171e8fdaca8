"""Short trainings for checks, on few examples: the program and the steps of the experiment itself, a few seconds long."""

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import jax
import numpy as np

from dlx import engine
from dlx.config import Experiment
from dlx.config.schedule import Constant, ScheduleConfig, ScheduleFree
from dlx.data import Dataset, some_rows
from dlx.data.dataset import Part
from dlx.diagnose.brief import briefly
from dlx.engine import Cohort, Progress
from dlx.events import Decision, Evaluated, Event, Measured
from dlx.experiment.assemble import Assembly, assemble, plan_for
from dlx.experiment.session import device_failure

SEEDS = 4
"""Lanes of a rehearsal. Convolutions on a CPU take one lane after the other: there it is as many as it has cores, at least 2."""
SOON, LATE, STEPS = 20, 120, 300
"""Steps after which it is looked at, and the most that its program may take."""
WARM_UP = 5
"""Steps, in place of the schedule."""
SECONDS = 4.0
"""All steps of one check may take so long, but a few are always taken."""
ROWS, FULL, HELD_OUT, PROBES = 256, 512, 512, 4
"""Training examples (at least two batches), those of full batches, held-out ones, and batches whose loss is looked at."""

T = TypeVar("T")


@dataclass(frozen=True)
class Rehearsal:
    """What a short training of several seeds came to. Losses are (lanes,), infinite where there is no number.

    They are those of training mode, as the steps report them, on fixed batches under fixed keys: running statistics, which
    after few steps are not worth much, play no part.
    """

    configs: tuple[Experiment, ...]
    assembly: Assembly
    """Its data are `rehearsed`; the program is compiled, and may be used with other configs, and by `on` with other data."""
    steps: int
    """How many were taken."""
    seconds: float
    """A step of all lanes."""
    before: np.ndarray
    soon: np.ndarray
    """After `SOON` steps."""
    late: np.ndarray
    """After all of them."""
    blank: np.ndarray
    """The same, with the mean in place of each input."""


def rehearse(config: Experiment, small: Dataset) -> Rehearsal:
    """Trains a resolved experiment for a few seconds. Raises what assembling raises; what diverges is infinite."""
    engine.configure()
    configs = [under(config, STEPS, seed) for seed in range(SEEDS)]
    if config.train.batch_size == "full":
        data = rehearsed(small, FULL)
    else:
        batch = plan_for(configs[0], small)[1].batch_size if config.train.batch_size == "auto" else config.train.batch_size
        data = rehearsed(small, max(ROWS, 2 * batch))
        configs = [sized(each, min(batch, len(data.train))) for each in configs]
    assembly = side_by_side(configs, data)
    cohort = assembly.cohort
    drained(cohort.prepare())
    progress = drained(cohort.start())
    before = probed(assembly, progress, "train")
    began = time.monotonic()
    progress = drained(until(cohort, SOON).train(progress))
    seconds = (time.monotonic() - began) / SOON
    soon = probed(assembly, progress, "train")
    steps = min(LATE, affordable(seconds))
    progress = drained(until(cohort, steps).train(progress))
    late, blank = (probed(assembly, progress, split) for split in ("train", "test"))
    return Rehearsal(tuple(configs[: cohort.lanes]), assembly, steps, seconds, before, soon, late, blank)


def affordable(seconds: float) -> int:
    """How many steps there is time for when each takes so long."""
    return int(np.clip(SECONDS / seconds, SOON, STEPS))


def side_by_side(configs: Sequence[Experiment], dataset: Dataset) -> Assembly:
    """As many of the lanes as run side by side, at least 2 of them, and as the device holds twice: they will be copied."""
    assembly = assemble(configs, dataset)
    placement = assembly.program.placement
    if placement.within == "map" and placement.devices < len(configs) > 2:
        return side_by_side(configs[: max(2, placement.devices)], dataset)
    try:
        needed = 2 * assembly.program.memory_bytes()
    except jax.errors.JaxRuntimeError as error:
        raise device_failure(error) from error
    if needed > engine.memory_limit() and len(configs) > 1:
        return side_by_side(configs[: len(configs) // 2], dataset)
    return assembly


def rehearsed(small: Dataset, rows: int) -> Dataset:
    """The data of a rehearsal: few examples of both parts, and as test part those of the training with blank inputs."""
    train = small.train.take(some_rows(len(small.train), rows))
    validation = small.validation.take(some_rows(len(small.validation), HELD_OUT))
    mean = small.scaling.mean
    blank = (np.rint(mean) if np.issubdtype(train.inputs.dtype, np.integer) else mean).astype(train.inputs.dtype)
    test = Part(np.broadcast_to(blank, train.inputs.shape).copy(), train.targets)
    return replace(small, train=train, validation=validation, test=test)


def under(config: Experiment, steps: int, seed: int = 0, every: int | None = None) -> Experiment:
    """The experiment for so many steps, evaluated at their end or every so many, with another seed, at a constant rate after a warm-up."""
    schedule: ScheduleConfig = Constant(warmup=WARM_UP / steps)
    if config.optimizer.kind in ("lbfgs", "rprop"):
        schedule = Constant()
    elif isinstance(config.schedule, ScheduleFree):
        schedule = config.schedule
    return briefly(config, schedule, steps, every or steps, seed)


def sized(config: Experiment, batch: int | str) -> Experiment:
    """The experiment with another batch size."""
    return config.model_copy(update={"train": config.train.model_copy(update={"batch_size": batch})})


def without_dropout(config: Experiment) -> Experiment:
    """The experiment without the dropout that dlx knows of."""
    return config.with_values({"model.dropout": 0.0}) if "dropout" in vars(config.model) else config


def probed(assembly: Assembly, progress: Progress, split: str) -> np.ndarray:
    """The loss (lanes,) of fixed batches of a part, as the training step sees it: each is taken from a copy, which is thrown away."""
    program = assembly.program
    batch, examples = program.shapes.batch, program.feed.sizes[split]
    probes = min(PROBES, examples // batch)
    rows = some_rows(examples, probes * batch).reshape(batch, probes).T  # (probes, batch), each of them spread over the part
    losses = []
    for each in program.feed.rows(split, rows):
        _, sums, _ = program.train(program.copy(progress.lanes), each[None], 0)
        loss, weight = (np.asarray(sums[name], np.float64)[:, 0] for name in ("loss", "weight"))
        losses.append(np.divide(loss, weight, out=np.full(len(loss), np.inf), where=weight > 0))  # nothing counts once diverged
    return np.mean(losses, axis=0)


def until(cohort: Cohort, steps: int) -> Cohort:
    """The cohort with its end, and its one evaluation, after so many steps."""
    return Cohort(cohort.program, replace(cohort.plan, total_steps=steps, evaluate_every=steps))


def on(assembly: Assembly, configs: Sequence[Experiment], dataset: Dataset) -> Cohort:
    """The compiled functions for other configs and other data, all of the same structure and shapes. Compiles nothing."""
    other = assembly.with_configs(configs)
    return Cohort(other.program.with_feed(engine.make_feed(dataset, other.program.placement)), other.plan)


def scored(cohort: Cohort) -> tuple[dict[str, float], ...]:
    """Trains fresh lanes to the plan's end, and gives each one's metrics of both parts by its last weights; none if it diverged."""
    progress = drained(cohort.train(drained(cohort.start())))
    events: list[Event] = []
    drained(cohort.judge(progress, ("train", "validation")), events)
    metrics: list[dict[str, float]] = [{} for _ in range(cohort.lanes)]
    for event in events:
        if isinstance(event, Evaluated):
            metrics = [before | dict(now) for before, now in zip(metrics, event.metrics, strict=True)]
    return tuple({} if out else lane for lane, out in zip(metrics, progress.out, strict=True))


@dataclass(frozen=True)
class Learned:
    """The lane that came furthest. A loss is infinite where it is no number."""

    start: float
    lowest: float
    """In training or in evaluation mode."""
    share: float
    """The lowest loss in terms of the start."""
    rate: float
    """Its `optimizer.lr`."""
    steps: int


def learn(cohort: Cohort, goal: float, reference: float | None = None) -> Learned:
    """Trains fresh lanes until one's loss is below `goal` times the start, or time is up. The start is the first loss, or else told."""
    start, lowest, steps = _lowest(cohort, goal, reference)
    shares = np.where(np.isfinite(start), lowest / np.clip(start, np.finfo(float).tiny, np.finfo(float).max), np.inf)
    best = int(np.argmin(shares))
    rate = float(np.asarray(cohort.program.configs.optimizer.lr)[best])
    return Learned(float(start[best]), float(lowest[best]), float(shares[best]), float(f"{rate:.4g}"), steps)


def _lowest(cohort: Cohort, goal: float, reference: float | None) -> tuple[np.ndarray, np.ndarray, int]:
    """The start (lanes,), the lowest losses (lanes,), and the steps taken."""
    progress = drained(cohort.start())
    training, answer = cohort.train(progress, Decision(max_steps=1)), None
    lowest = np.full(cohort.lanes, np.inf)
    start = lowest if reference is None else np.full(cohort.lanes, reference)
    step, began = 0, time.monotonic()
    try:
        while True:
            event = training.send(answer)
            if isinstance(event, Measured | Evaluated):
                split = "train" if isinstance(event, Measured) else event.split
                losses = _finite([lane.get(f"{split}/loss", np.inf) for lane in event.metrics])
                if event.step == 1 and reference is None and isinstance(event, Measured):
                    start = losses
                lowest = np.minimum(lowest, losses)
                step = event.step
            over = bool((lowest < goal * start).any()) or (step >= SOON and time.monotonic() - began > SECONDS)
            answer = Decision(stop=over)
    except StopIteration:
        return start, lowest, step
    except jax.errors.JaxRuntimeError as error:
        raise device_failure(error) from error


def _finite(losses: Sequence[float]) -> np.ndarray:
    return np.where(np.isfinite(losses), losses, np.inf)


def drained(events: Generator[Event, Any, T], seen: list[Event] | None = None) -> T:
    """Runs a generator of events to its end, and gives what it returns. The events are added to `seen`."""
    try:
        while True:
            event = next(events)
            if seen is not None:
                seen.append(event)
    except StopIteration as end:
        return end.value
    except jax.errors.JaxRuntimeError as error:
        raise device_failure(error) from error
