"""The learning-rate range test (Smith 2015): a ladder of rates through the same steps as training, many lanes at once.

Nothing is saved and restored: the test trains fresh lanes of its own program, and the configs that it was given stay as they
are. A ramp climbs the ladder within one training, a step a rate; in constant mode every rate is a lane of its own.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import jax
import numpy as np

from dlx import engine
from dlx.config import Experiment
from dlx.config.schedule import Constant, Ramp, ScheduleFree
from dlx.data import Dataset
from dlx.diagnose.brief import briefly
from dlx.diagnose.range_curve import RangeCurve, RangeTest
from dlx.diagnose.suggest import end_of, smooth
from dlx.engine import Cohort, Progress
from dlx.errors import ConfigError
from dlx.events import Decision, Evaluated, Event
from dlx.experiment.assemble import assemble, load_data, resolve
from dlx.experiment.run import loaded
from dlx.experiment.session import device_failure
from dlx.optim import without_momentum

BY_THEMSELVES = ("lbfgs", "rprop")
"""Optimizers that choose their own steps."""
MEASUREMENTS = 10
"""Of a lane in constant mode, at most. The last one is read: the mean of the last tenth of the steps, or the validation part's."""


def range_test(
    configs: Sequence[Experiment], test: RangeTest, weights: Path | None = None
) -> Generator[Event, None, tuple[RangeCurve, ...]]:
    """Tests each experiment; those of one structure are lanes of one program. `weights` is a folder of checkpoints to begin with.

    Raises `UsageError`, and whatever training raises.
    """
    test.check()
    engine.configure()
    for config in configs:
        if config.optimizer.kind in BY_THEMSELVES:
            raise ConfigError(f"optimizer {config.optimizer.kind} sets its own step sizes: there is no rate to find")
        if test.validation and not config.data.validation:
            raise ConfigError("--validation needs a validation part: set data.validation above 0")
    programs: dict[object, list[int]] = {}
    for index, config in enumerate(configs):
        programs.setdefault(engine.structure(config), []).append(index)
    curves: dict[int, RangeCurve] = {}
    dataset, of = None, None
    for members in programs.values():
        config = configs[members[0]]
        if dataset is None or of != config.data:
            dataset, of = load_data(config), config.data
            yield loaded(dataset)
            if not test.validation:  # without a validation part each step's own loss is scored
                dataset = replace(dataset, validation=dataset.validation.take(np.arange(0)))
        losses = yield from _losses([resolve(configs[index], dataset) for index in members], dataset, test, weights)
        for index, measured in zip(members, losses, strict=True):
            curves[index] = RangeCurve(test.ladder, measured, _smoothed(measured, test))
    return tuple(curves[index] for index in range(len(configs)))


def _losses(
    configs: Sequence[Experiment], dataset: Dataset, test: RangeTest, weights: Path | None
) -> Generator[Event, None, np.ndarray]:
    """The losses (configs, seeds, rates) of configs of one structure."""
    starts = test.ladder if test.steps is not None else test.ladder[:1]
    wanted = [_tried(config, test, seed, rate) for config, seed, rate in product(configs, range(test.seeds), starts)]
    measured = yield from _measured(wanted, dataset, test, weights)
    if test.steps is not None:
        measured = measured[:, -1:]
    return measured.reshape(len(configs), test.seeds, test.rates)


def _measured(
    wanted: Sequence[Experiment], dataset: Dataset, test: RangeTest, weights: Path | None
) -> Generator[Event, None, np.ndarray]:
    """The losses of each evaluation (lanes, evaluations): of all at once, or, where the device cannot hold so many, of halves."""
    filled = [*wanted, *[wanted[-1]] * (engine.lanes_for(len(wanted)) - len(wanted))]
    cohort = assemble(filled, dataset).cohort
    yield from cohort.prepare()
    needed, there = cohort.program.memory_bytes(), engine.memory_limit()
    if needed > there and len(wanted) > 1:
        half = len(wanted) // 2
        first = yield from _measured(wanted[:half], dataset, test, weights)
        return np.concatenate([first, (yield from _measured(wanted[half:], dataset, test, weights))])
    measured = np.full((len(wanted), cohort.plan.evaluations), np.nan)
    try:
        progress = yield from (cohort.start() if weights is None else cohort.begin_with(weights))
        yield from _train(cohort, progress, measured, test)
    except jax.errors.JaxRuntimeError as error:
        raise device_failure(error) from error
    return measured


def _train(cohort: Cohort, progress: Progress, measured: np.ndarray, test: RangeTest) -> Iterator[Event]:
    """Trains, and writes down each evaluation's losses (lanes, evaluations) until all lanes are over."""
    loss = f"{'validation' if test.validation else 'train'}/loss"
    every, lanes = cohort.plan.evaluate_every, len(measured)
    training, answer = cohort.train(progress, Decision(max_steps=every)), None
    while True:
        try:
            event = training.send(answer)
        except StopIteration:
            return
        yield event
        over = False
        if isinstance(event, Evaluated):
            at = -(-event.step // every)
            measured[:, at - 1] = [lane.get(loss, np.inf) for lane in event.metrics[:lanes]]
            if test.steps is None:
                over = all(end_of(smooth(lane[:at], test.beta), test.stop) < at for lane in measured)
        answer = Decision(stop=over, max_steps=every)


def _tried(config: Experiment, test: RangeTest, seed: int, rate: float) -> Experiment:
    """The config under the ladder, or under one rate of it, with its evaluations where losses are read, of the raw weights."""
    if test.steps is None:
        steps, every = test.rates, 1
        schedule = Ramp(to=test.highest / test.lowest, shape="linear" if test.linear else "exponential")
    else:
        steps, every, schedule = test.steps, max(1, -(-test.steps // MEASUREMENTS)), Constant()
    free = isinstance(config.schedule, ScheduleFree)
    optimizer = (without_momentum(config.optimizer) if free else config.optimizer).model_copy(update={"lr": float(rate)})
    return briefly(config, schedule, steps, every, seed).model_copy(update={"optimizer": optimizer})


def _smoothed(losses: np.ndarray, test: RangeTest) -> np.ndarray:
    """Smoothed losses (seeds, rates) of raw ones, infinite where a seed is over. In constant mode a rate ends only itself."""
    if test.steps is not None:
        return np.where(np.isfinite(losses), losses, np.inf)
    smoothed = np.array([smooth(seed, test.beta) for seed in losses])
    for seed in smoothed:
        seed[end_of(seed, test.stop) :] = np.inf
    return smoothed
