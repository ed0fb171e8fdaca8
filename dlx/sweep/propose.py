"""What to try next. The only file that knows Optuna.

The study lives in memory, where an ask costs a tenth of what it costs on a database; the store keeps every proposal. Before
each batch the sampler is seeded anew from (its seed, trials so far): a sweep that was killed and resumed proposes what the
uninterrupted one would have.
"""

import json
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice, takewhile
from types import TracebackType
from typing import Any, Final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from dlx.config.space import Choice, Dimension, FloatRange, IntRange, Space, active, ordered
from dlx.config.sweep import GridSampler as Grid
from dlx.config.sweep import SamplerConfig, TpeSampler
from dlx.errors import ConfigError, Status
from dlx.store import Direction, TrialRecord

_OPENINGS: Final = 5


class Proposer:
    """Asks a sampler for trials and tells it what came of them. Trials are numbered from 0 in the order of asking."""

    def __init__(
        self, space: Space, sampler: SamplerConfig, base: Mapping[str, Any], direction: Direction, past: Sequence[TrialRecord]
    ) -> None:
        self.space, self.sampler, self.base, self.direction = space, sampler, base, direction
        optuna.logging.disable_default_handler()
        self._study = optuna.create_study(direction=direction, sampler=RandomSampler(seed=0))
        self._study.add_trials([self.frozen(trial) for trial in past])

    def ask(self, count: int) -> dict[int, dict[str, Any]]:
        """The next `count` trials by number: the searched values by dotted key, without those of inactive dimensions.

        Fewer, or none, when a grid has no more points.
        """
        told = len(self._study.get_trials(deepcopy=False))
        if isinstance(self.sampler, Grid):
            points = list(islice(grid(self.space, self.base), told, told + count))
            for point in points:
                self._study.enqueue_trial(self._labels(point))
            count = len(points)
        self._study.sampler = _sampler(self.sampler, self.space, told)
        return {trial.number: self._suggest(trial) for trial in (self._study.ask() for _ in range(count))}

    def tell(self, number: int, status: Status, value: float | None) -> None:
        """The outcome of a trial. A value that is no number makes it a failure, as Optuna has it."""
        state, known = _outcome(status, value)
        self._study.tell(number, known, state=state)

    def frozen(self, trial: TrialRecord) -> FrozenTrial:
        """A stored trial as Optuna keeps it."""
        state, value = _outcome(trial.status, trial.value)
        return create_trial(
            state=state,
            value=value,
            params=self._labels(trial.params),
            distributions={key: _distribution(self.space[key]) for key in trial.params},
        )

    def _suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        chosen: dict[str, Any] = {}
        for key in ordered(self.space):
            if active(self.space, chosen, key, self.base):
                chosen[key] = _value(trial, key, self.space[key])
        return chosen

    def _labels(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {key: _label(value) if isinstance(self.space[key], Choice) else value for key, value in params.items()}


class Mirror:
    """Copies finished trials into Optuna's own tables of the same database, where optuna-dashboard and others read them.

    Works behind the sweep, in a thread of its own: opening Optuna's storage takes most of a second, a trial milliseconds.
    """

    def __init__(self, url: str, name: str | None, sweep: str, proposer: Proposer) -> None:
        self._url, self._title, self._proposer = url, f"{name} ({sweep})" if name else sweep, proposer
        self._behind = ThreadPoolExecutor(1, "dlx-mirror")
        self._storage: optuna.storages.RDBStorage | None = None
        self._study: Future[optuna.Study] = self._behind.submit(self._open)
        self._last: Future[None] | None = None

    def __enter__(self) -> "Mirror":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._behind.submit(self._close)
        self._behind.shutdown()

    def failure(self) -> str | None:
        """Waits for what is under way, and says why the last copy failed, if it did. The next sweep copies what is missing."""
        error = self._last.exception() if self._last is not None else None
        return None if error is None else f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"

    def update(self, trials: Sequence[TrialRecord]) -> None:
        """Copies what is not there yet, in order of number: up to the first trial that is not finished."""
        self._last = self._behind.submit(self._copy, trials)

    def _open(self) -> optuna.Study:
        for left in range(_OPENINGS - 1, -1, -1):
            try:
                self._storage = optuna.storages.RDBStorage(self._url, engine_kwargs={"connect_args": _patience(self._url)})
                break
            except Exception:  # of whatever database: another process makes Optuna's tables at this moment
                if not left:
                    raise
                time.sleep(0.5)
        return optuna.create_study(
            storage=self._storage, study_name=self._title, direction=self._proposer.direction, load_if_exists=True
        )

    def _close(self) -> None:
        if self._storage is not None:
            self._storage.remove_session()  # this thread's
            self._storage.engine.dispose()

    def _copy(self, trials: Sequence[TrialRecord]) -> None:
        study = self._study.result()
        there = len(study.get_trials(deepcopy=False))
        for trial in takewhile(lambda t: t.status is not None, trials[there:]):
            study.add_trial(self._proposer.frozen(trial))


def _patience(url: str) -> dict[str, Any]:
    return {"timeout": 30} if url.startswith("sqlite") else {}


def grid(space: Space, base: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every point of a space, the last key changing fastest. Raises `ConfigError` for a range without a step."""
    keys = ordered(space)

    def extend(chosen: dict[str, Any], rest: Sequence[str]) -> Iterator[dict[str, Any]]:
        if not rest:
            yield chosen
        elif not active(space, chosen, rest[0], base):
            yield from extend(chosen, rest[1:])
        else:
            for value in _values(rest[0], space[rest[0]]):
                yield from extend({**chosen, rest[0]: value}, rest[1:])

    return extend({}, keys)


def grid_size(space: Space, base: Mapping[str, Any], most: int) -> int:
    """How many points a grid has, counted up to `most`."""
    return sum(1 for _ in islice(grid(space, base), most))


def _values(key: str, dimension: Dimension) -> Sequence[Any]:
    match dimension:
        case Choice():
            return dimension.choices
        case IntRange() if not dimension.log:
            return range(dimension.low, dimension.high + 1, dimension.step)
        case FloatRange() if dimension.step is not None:
            steps = int((dimension.high - dimension.low) / dimension.step + 1e-9)
            return [min(dimension.high, dimension.low + i * dimension.step) for i in range(steps + 1)]
    raise ConfigError(f"search {key}: a grid needs its points: give choice(...) or a step, or another sampler")


def _sampler(config: SamplerConfig, space: Space, told: int) -> BaseSampler:
    if not isinstance(config, TpeSampler):
        return RandomSampler(seed=0 if isinstance(config, Grid) else _seed(config.seed, told))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # `group` has been one for years
        # Every option is set: Optuna changes its defaults from version to version.
        return TPESampler(
            n_startup_trials=config.startup_trials,
            n_ei_candidates=config.candidates,
            multivariate=config.multivariate,
            group=config.multivariate and any(dimension.when for dimension in space.values()),
            constant_liar=True,
            seed=_seed(config.seed, told),
        )


def _outcome(status: Status | None, value: float | None) -> tuple[TrialState, float | None]:
    """How a trial stands, as Optuna has it: a value that is no number is a failure."""
    match status:
        case None:
            return TrialState.RUNNING, None
        case Status.COMPLETED if value is not None and np.isfinite(value):
            return TrialState.COMPLETE, value
        case Status.PRUNED:
            return TrialState.PRUNED, None
    return TrialState.FAIL, None


def _seed(seed: int, told: int) -> int:
    return int(np.random.SeedSequence([seed, told]).generate_state(1)[0])


def _distribution(dimension: Dimension) -> BaseDistribution:
    match dimension:
        case FloatRange():
            return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)
        case IntRange():
            return IntDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)
        case Choice():
            return CategoricalDistribution([_label(choice) for choice in dimension.choices])


def _value(trial: optuna.Trial, key: str, dimension: Dimension) -> Any:
    match dimension:
        case FloatRange():
            return trial.suggest_float(key, dimension.low, dimension.high, log=dimension.log, step=dimension.step)
        case IntRange():
            return trial.suggest_int(key, dimension.low, dimension.high, log=dimension.log, step=dimension.step)
        case Choice():
            label = trial.suggest_categorical(key, [_label(choice) for choice in dimension.choices])
            return next(
                choice for choice in dimension.choices if _label(choice) == label and type(_label(choice)) is type(label)
            )


def _label(choice: Any) -> Any:
    """A choice as Optuna can keep it: lists and mappings become JSON."""
    return json.dumps(choice) if isinstance(choice, list | tuple | dict) else choice
