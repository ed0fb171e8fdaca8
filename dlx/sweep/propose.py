"""What to try next. The only file that knows Optuna.

The study lives in memory, where an ask costs a tenth of what it costs on a database, and is made anew from the store's
records for every batch (13 ms for 256 trials). The sampler is seeded anew from (its seed, trials so far), so what it proposes
is a function of the records: a sweep that was killed and resumed proposes what the uninterrupted one would have.
"""

import json
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from itertools import islice, takewhile
from types import TracebackType
from typing import Any, Final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, NSGAIISampler, PartialFixedSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial
from pydantic import TypeAdapter

from dlx.config import sampler as chosen
from dlx.config.sampler import SamplerConfig
from dlx.config.space import Choice, Dimension, FloatRange, IntRange, Space, active, fits, ordered, points, structural, value_at
from dlx.errors import ConfigError, Status
from dlx.store import Goal, Proposal, SweepRecord, TrialRecord

BATCH: Final = 16
"""Proposals at a time of a sampler that learns: the fewer, the better informed; the more, the fuller the cohorts."""
GROUP: Final = 8
"""Of a batch, how many trials share a compiled program where the search is over structure."""
COVERED: Final = 32
"""Where there are no more structures than this, each of them is tried before the sampler chooses among them."""
LEAST_TRIALS: Final = 4
"""Completed ones, without which nothing is said of what matters."""
LEADS: Final = 4
"""Structures in a batch, at least, while some are untried."""
_OPENINGS: Final = 5


class Proposer:
    """Asks a sampler for trials, given those that there are. Raises `ConfigError` for a sampler that cannot do the search."""

    def __init__(
        self,
        space: Space,
        sampler: SamplerConfig,
        base: Mapping[str, Any],
        goals: Sequence[Goal],
        first: Sequence[Mapping[str, Any]] = (),
        group: int | None = None,
    ) -> None:
        self.space, self.sampler, self.base, self.first = space, sampler, base, first
        self.structural = structural(space)
        self.shapes = isinstance(sampler, chosen.TpeSampler | chosen.GpSampler) and bool(self.structural)
        """Whether proposals are made in groups of one structure."""
        self.group = group or (GROUP if self.shapes and space.keys() - self.structural else 1)
        self.directions = [goal.direction for goal in goals]
        optuna.logging.disable_default_handler()
        if len(goals) > 1 and isinstance(sampler, chosen.CmaEsSampler):
            raise ConfigError("sampler.kind is cmaes, which has one objective: use nsga2, tpe or gp for several")
        if isinstance(sampler, chosen.PbtSampler) and self.structural:
            raise ConfigError(
                f"sampler.kind is pbt, but {', '.join(sorted(self.structural))} chooses the program: search values alone"
            )
        _sampler(sampler, space, 0)  # raises for what is not installed

    @property
    def batch(self) -> int | None:
        """How many trials the sampler is best asked for at a time; None for one that learns nothing."""
        match self.sampler:
            case chosen.CmaEsSampler():
                return _population(self.sampler, self.space)
            case chosen.Nsga2Sampler():
                return self.sampler.population
            case chosen.TpeSampler() | chosen.GpSampler():
                return BATCH
        return None

    def ask(self, past: Sequence[TrialRecord], count: int) -> list[Proposal]:
        """The next `count` proposals after all trials `past`: the searched values by key, without those of inactive dimensions.

        Fewer, or none, when a grid has no more points.
        """
        told = len(past)
        match self.sampler:
            case chosen.GridSampler():
                return [Proposal(point, {}) for point in islice(grid(self.space, self.base), told, told + count)]
            case chosen.QmcSampler():
                return [Proposal(point, {}) for point in self._sobol(told, count)]
        sampler = _sampler(self.sampler, self.space, told)
        study = optuna.create_study(directions=self.directions, sampler=sampler)
        if not isinstance(self.sampler, chosen.RandomSampler):  # which learns nothing
            study.add_trials([self.frozen(trial) for trial in past])
        found: list[dict[str, Any]] = []
        untried = self._untried(past) if self.shapes else []
        # While there are structures to see, several of them a batch.
        group = min(self.group, max(1, count // LEADS)) if untried else self.group
        for number in range(told, told + count):
            shared: Mapping[str, Any] = {}
            if number < len(self.first):
                study.enqueue_trial(_labels(self.space, self.first[number]))
            elif len(found) % group and number > len(self.first):
                shared = self.structure(found[-1])
            elif untried:
                shared = untried.pop(0)
            if isinstance(self.sampler, chosen.RandomSampler):  # the same values whatever the size of a batch
                sampler = _sampler(self.sampler, self.space, number)
            study.sampler = _fixed(sampler, _labels(self.space, shared)) if shared else sampler
            trial = study.ask()
            found.append(self._complete(lambda key, dimension, trial=trial: _value(trial, key, dimension)))
        return [Proposal(p, t.system_attrs) for p, t in zip(found, study.get_trials(deepcopy=False)[-count:], strict=True)]

    def structure(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Those of a trial's values that choose its compiled program."""
        return {key: value for key, value in params.items() if key in self.structural}

    def _untried(self, past: Sequence[TrialRecord]) -> list[dict[str, Any]]:
        """The structures that no trial has had, in a random order that the sampler's seed decides; none where there are many."""
        own = {key: self.space[key] for key in self.structural}
        if any(other in self.space and other not in own for dimension in own.values() for other in dimension.when):
            return []  # which structures there are depends on values
        try:
            found = list(islice(grid(own, self.base), COVERED + 1))
        except ConfigError:  # a range without steps
            return []
        if len(found) > COVERED:
            return []
        order = np.random.default_rng(_seed(vars(self.sampler)["seed"], 0)).permutation(len(found))
        tried = [self.structure(trial.params) for trial in past if fits(self.space, trial.params)]
        return [found[index] for index in order if found[index] not in tried]

    def frozen(self, trial: TrialRecord) -> FrozenTrial:
        """A stored trial as Optuna keeps it. One of another space than this is a failure without values."""
        if not fits(self.space, trial.params):
            return create_trial(state=TrialState.FAIL)
        state, values = _outcome(trial)
        pruned_scores = len(self.directions) == 1  # Optuna has none for several objectives
        return create_trial(
            state=TrialState.FAIL if state is TrialState.PRUNED and not pruned_scores else state,
            values=values,
            params=_labels(self.space, trial.params),
            distributions={key: _distribution(self.space[key]) for key in trial.params},
            intermediate_values=dict(trial.curve) if pruned_scores else None,
            system_attrs=dict(trial.notes),
            user_attrs={} if trial.run_id is None else {"dlx run": trial.run_id},
        )

    def _complete(self, draw: Callable[[str, Dimension], Any]) -> dict[str, Any]:
        """A value for every key that is active, given those before it."""
        found: dict[str, Any] = {}
        for key in ordered(self.space):
            if active(self.space, found, key, self.base):
                found[key] = draw(key, self.space[key])
        return found

    def _sobol(self, start: int, count: int) -> Iterator[dict[str, Any]]:
        """Points `start` to `start + count` of the sequence, every key its own dimension whether or not it is active."""
        from scipy.stats.qmc import Sobol

        keys = ordered(self.space)
        engine = Sobol(len(keys), scramble=True, rng=np.random.default_rng(_seed(vars(self.sampler)["seed"], 0)))
        if start:
            engine.fast_forward(start)
        for number in range(start, start + count):
            given = self.first[number] if number < len(self.first) else {}
            place = dict(zip(keys, engine.random(1)[0], strict=True))
            yield self._complete(lambda key, d, given=given, place=place: given.get(key, value_at(d, float(place[key]))))


def importances(sweep: SweepRecord) -> dict[str, float]:
    """How much of the spread of the first objective each searched value explains, the most important first; sums to 1.

    By PED-ANOVA (Watanabe et al. 2023), of the completed trials: how far the values of the best tenth (of few trials, of the best
    ten) are from those of all. Keys that were never varied have none. Empty when there are too few trials to tell.
    """
    space: Space = TypeAdapter(dict[str, Dimension]).validate_python(sweep.config["search"])
    known = [trial for trial in sweep.ranked if fits(space, trial.params)]
    tried = {key: {json.dumps(trial.params[key]) for trial in known if key in trial.params} for key in space}
    varied = [key for key, values in tried.items() if len(values) > 1]
    if len(known) < LEAST_TRIALS or not varied:
        return {}
    optuna.logging.disable_default_handler()
    study = optuna.create_study(direction=sweep.direction, sampler=RandomSampler(seed=0))
    study.add_trials(
        [
            create_trial(
                value=trial.value,
                params=_labels(space, trial.params),
                distributions={key: _distribution(space[key]) for key in trial.params},
            )
            for trial in known
        ]
    )
    best = min(0.5, max(0.1, 10 / len(known)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental, and of values that are all the same
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=best, region_quantile=1.0)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator, params=varied)
    return {key: float(share) for key, share in found.items()}


class Mirror:
    """Copies finished trials into Optuna's own tables of the same database, where optuna-dashboard and others read them.

    `url` is the store's `shared_url()`. Works behind the sweep, in a thread of its own: opening Optuna's storage takes most of a
    second, a trial milliseconds.
    """

    def __init__(self, url: str, name: str | None, sweep: str, proposer: Proposer) -> None:
        self._url, self._title, self._proposer = url, f"{name} ({sweep})" if name else sweep, proposer
        self._behind = ThreadPoolExecutor(1, "dlx-mirror")
        self._storage: optuna.storages.RDBStorage | None = None
        self._study: Future[optuna.Study] | None = None
        self._last: Future[None] | None = None

    def __enter__(self) -> "Mirror":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._behind.submit(self._close)
        self._behind.shutdown()

    def open(self) -> Future[optuna.Study]:
        """Begins to open Optuna's storage, if nobody has: while a cohort trains, Python has time for it."""
        if self._study is None:
            self._study = self._behind.submit(self._connect)
        return self._study

    def failure(self) -> str | None:
        """Waits for what is under way, and says why the last copy failed, if it did. The next sweep copies what is missing."""
        error = self._last.exception() if self._last is not None else None
        return None if error is None else f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"

    def update(self, trials: Sequence[TrialRecord]) -> None:
        """Copies what is not there yet, in order of number: up to the first trial that is not finished."""
        self._last = self._behind.submit(self._copy, self.open(), trials)

    def _connect(self) -> optuna.Study:
        for left in range(_OPENINGS - 1, -1, -1):
            try:
                self._storage = optuna.storages.RDBStorage(self._url, engine_kwargs={"connect_args": _patience(self._url)})
                break
            except Exception:  # of whatever database: another process makes Optuna's tables at this moment
                if not left:
                    raise
                time.sleep(0.5)
        return optuna.create_study(
            storage=self._storage, study_name=self._title, directions=self._proposer.directions, load_if_exists=True
        )

    def _close(self) -> None:
        if self._storage is not None:
            self._storage.remove_session()  # this thread's
            self._storage.engine.dispose()

    def _copy(self, opened: Future[optuna.Study], trials: Sequence[TrialRecord]) -> None:
        study = opened.result()
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
            for value in points(rest[0], space[rest[0]]):
                yield from extend({**chosen, rest[0]: value}, rest[1:])

    return extend({}, keys)


def grid_size(space: Space, base: Mapping[str, Any], most: int) -> int:
    """How many points a grid has, counted up to `most`."""
    return sum(1 for _ in islice(grid(space, base), most))


def _sampler(config: SamplerConfig, space: Space, told: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # `group` and others have been that for years
        match config:
            case chosen.TpeSampler():
                return TPESampler(
                    n_startup_trials=config.startup_trials,
                    n_ei_candidates=config.candidates,
                    multivariate=config.multivariate,
                    group=config.multivariate and any(dimension.when for dimension in space.values()),
                    constant_liar=True,
                    seed=_seed(config.seed, told),
                )
            case chosen.CmaEsSampler():
                return CmaEsSampler(
                    n_startup_trials=config.startup_trials,
                    popsize=_population(config, space),
                    with_margin=config.margin,
                    lr_adapt=False,
                    use_separable_cma=False,
                    consider_pruned_trials=False,
                    independent_sampler=RandomSampler(seed=_seed(config.seed, told)),
                    warn_independent_sampling=False,
                    seed=_seed(config.seed, told),
                )
            case chosen.Nsga2Sampler():
                return NSGAIISampler(
                    population_size=config.population,
                    mutation_prob=config.mutation,
                    crossover_prob=config.crossover,
                    swapping_prob=config.swapping,
                    seed=_seed(config.seed, told),
                )
            case chosen.GpSampler():
                if find_spec("torch") is None:  # Optuna would only say so after the random trials
                    raise ConfigError("sampler.kind is gp, which needs PyTorch: pip install 'dlx[gp]'")
                return optuna.samplers.GPSampler(
                    n_startup_trials=config.startup_trials,
                    deterministic_objective=False,
                    independent_sampler=RandomSampler(seed=_seed(config.seed, told)),
                    seed=_seed(config.seed, told),
                )
        return RandomSampler(seed=_seed(vars(config).get("seed", 0), told))


def _fixed(sampler: BaseSampler, labels: Mapping[str, Any]) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return PartialFixedSampler(dict(labels), sampler)


def _population(config: chosen.CmaEsSampler, space: Space) -> int:
    return config.population or 4 + math.floor(3 * math.log(len(space)))


def _outcome(trial: TrialRecord) -> tuple[TrialState, tuple[float, ...] | None]:
    """How a trial stands, as Optuna has it: a value that is no number is a failure."""
    match trial.status:
        case None:
            return TrialState.RUNNING, None
        case Status.COMPLETED if trial.values is not None and np.isfinite(trial.values).all():
            return TrialState.COMPLETE, trial.values
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


def _labels(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _label(value) if isinstance(space[key], Choice) else value for key, value in params.items()}


def _label(choice: Any) -> Any:
    """A choice as Optuna can keep it: lists and mappings become JSON."""
    return json.dumps(choice) if isinstance(choice, list | tuple | dict) else choice
