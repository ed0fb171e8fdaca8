"""The learning-rate range test (Smith 2015): a ramp of rates through the same steps as training, several seeds as lanes.

Nothing is saved and restored: the ramp trains fresh lanes of its own program, and the config that it was given stays as it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from dlx import engine
from dlx.config import Experiment
from dlx.config.duration import Duration
from dlx.config.schedule import Ramp
from dlx.diagnose.suggest import LEAST_POINTS, end_of, ladder, smooth
from dlx.errors import ConfigError, UsageError
from dlx.events import Decision, Evaluated, Event
from dlx.experiment.assemble import assemble, load_data, resolve

BY_THEMSELVES = ("lbfgs", "rprop")
"""Optimizers that choose their own steps."""


@dataclass(frozen=True)
class RangeTest:
    """What is tried: `steps` rates from `lowest` to `highest`, under so many seeds."""

    lowest: float = 1e-7
    highest: float = 10.0
    steps: int = 100
    seeds: int = 1
    linear: bool = False
    validation: bool = False
    """Whether the loss of the validation part is read, instead of that of each mini-batch."""
    beta: float = 0.9
    """Of the exponential smoothing."""
    stop: float = 4.0
    """A seed is over when its smoothed loss is so many times its best, or not finite."""

    def check(self) -> None:
        """Raises `UsageError` for what cannot be tried."""
        if not 0 < self.lowest < self.highest:
            raise UsageError(
                f"--min-lr {self.lowest:g} --max-lr {self.highest:g}: the first must be above 0, and below the second"
            )
        if self.steps < LEAST_POINTS:
            raise UsageError(f"--steps {self.steps}: fewer than {LEAST_POINTS} say nothing")
        if not 0 <= self.beta < 1:
            raise UsageError(f"--smoothing {self.beta:g}: it is at least 0 and below 1; 0 is no smoothing")


@dataclass(frozen=True)
class RangeCurve:
    """What was measured. Losses are of the weights before the step of that rate; steps that were not taken are NaN."""

    rates: np.ndarray
    """(steps,)"""
    losses: np.ndarray
    """(seeds, steps)"""
    smoothed: np.ndarray
    """(seeds, steps), infinite from where a seed is over."""

    @property
    def median(self) -> np.ndarray:
        """The middle seed's smoothed loss (steps,); infinite where half of them are over."""
        return np.median(self.smoothed, axis=0)

    @property
    def noise(self) -> float:
        """The standard error of the smoothed loss, from how far the losses of the first quarter lie from it."""
        first = max(2, self.losses.shape[1] // 4)
        away = (self.losses - self.smoothed)[:, :first]
        away = away[np.isfinite(away)]
        return float(np.std(away)) / np.sqrt(self.losses.shape[0]) if len(away) else 0.0


def range_test(config: Experiment, test: RangeTest) -> Iterator[Event | RangeCurve]:
    """Runs the ramp, and ends with its `RangeCurve`. Raises `UsageError`, and whatever training raises."""
    test.check()
    engine.configure()
    if config.optimizer.kind in BY_THEMSELVES:
        raise ConfigError(f"optimizer {config.optimizer.kind} sets its own step sizes: there is no rate to find")
    dataset = load_data(config)
    if test.validation and not len(dataset.validation):
        raise ConfigError("--validation needs a validation part: set data.validation above 0")
    if not test.validation:
        dataset = replace(dataset, validation=dataset.validation.take(np.arange(0)))
    resolved = resolve(config, dataset)
    ramps = [_ramp(resolved, test, seed) for seed in range(engine.lanes_for(test.seeds))]
    assembly = assemble(ramps, dataset)
    losses = np.full((test.seeds, test.steps), np.nan)
    loss = f"{'validation' if test.validation else 'train'}/loss"
    cohort = assembly.cohort
    progress = yield from cohort.start()
    training, answer = cohort.train(progress, Decision(max_steps=1)), None
    while True:
        try:
            event = training.send(answer)
        except StopIteration:
            break
        yield event
        over = False
        if isinstance(event, Evaluated):
            losses[:, event.step - 1] = [lane.get(loss, np.inf) for lane in event.metrics[: test.seeds]]
            ends = [end_of(smooth(seed[: event.step], test.beta), test.stop) for seed in losses]
            over = all(end < event.step for end in ends)
        answer = Decision(stop=over, max_steps=1)
    smoothed = np.array([_until_over(smooth(seed, test.beta), test.stop) for seed in losses])
    yield RangeCurve(ladder(test.lowest, test.highest, test.steps, linear=test.linear), losses, smoothed)


def _ramp(config: Experiment, test: RangeTest, seed: int) -> Experiment:
    """The config with the ladder as its schedule, scored after every step."""
    one = Duration(1, "steps")
    ramp = Ramp(to=test.highest / test.lowest, shape="linear" if test.linear else "exponential")
    train = config.train.model_copy(
        update={
            "duration": Duration(test.steps, "steps"),
            "evaluate_every": one,
            "patience": None,
            "monitor": None,
            "seed": (config.train.seed + seed) % 2**32,
        }
    )
    optimizer = config.optimizer.model_copy(update={"lr": test.lowest})
    return config.model_copy(update={"train": train, "optimizer": optimizer, "schedule": ramp, "replay": ()})


def _until_over(smoothed: np.ndarray, stop: float) -> np.ndarray:
    smoothed[end_of(smoothed, stop) :] = np.inf
    return smoothed
