"""What a sweep is before its first trial: its space and objectives checked, its size, and which stored sweep it is."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dlx.config import Experiment, Override
from dlx.config.load import Document, differences, validate
from dlx.config.sampler import GridSampler, PbtSampler
from dlx.config.space import Space, check_space, fits, fitted
from dlx.config.sweep import Sweep
from dlx.engine import Plan
from dlx.errors import ConfigError, UsageError
from dlx.experiment.environment import command_line
from dlx.store import Goal, NewSweep, Store, SweepRecord, check_name, find_sweep, join_sweep, start_sweep
from dlx.sweep.bench import Bench
from dlx.sweep.propose import Proposer, grid_size

MOST_DIGITS = "9999999.99"
"""Of a trial's number and seed, in the name of its run."""
COHORTS = 4
"""Of proposals at a time of a sampler that learns nothing, where the search is over structure."""
CHANGEABLE = ("search", "sampler", "pruner")
"""What `--allow-changed-space` lets change. With another experiment or objective the values could not be compared."""
SEED_KEYS = frozenset({"train", "train.seed"})
"""Searched keys that set a trial's seed."""
MOST_POINTS = 10_000
"""Of a grid that is to be tried whole."""


def prepared(sweep: Sweep, document: Document, overrides: Sequence[Override]) -> tuple[Sweep, Sequence[Override], Experiment]:
    """The sweep with its space checked, the overrides with its objective, and the experiment that it varies."""
    metric = sweep.objectives[0].metric
    if metric is not None:
        overrides = [*overrides, Override(("train", "monitor"), metric)]
    base = validate(document, overrides)
    space = fitted(sweep.search, document, overrides)
    check_space(space, document, overrides)
    if sweep.seeds > 1 and space.keys() & SEED_KEYS:
        raise ConfigError("search train.seed: seeds is given too, which sets it for each trial; drop one of the two")
    if isinstance(sweep.sampler, PbtSampler):
        for there, what in (
            (sweep.seeds > 1, "seeds"),
            (sweep.pruner.kind != "none", "pruner"),
            (len(sweep.objectives) > 1, "objective"),
        ):
            if there:
                raise ConfigError(f"sampler.kind is pbt, which has its own way with {what}: leave {what} out")
    _check_enqueued(sweep.enqueue, space, sweep.sampler.kind)
    return sweep.model_copy(update={"search": space}), overrides, base


def total_trials(sweep: Sweep, base: Mapping[str, Any], *, timed: bool) -> int | None:
    """How many trials there will be. None: until the time is up. Raises `UsageError` when nothing says when to end."""
    total = sweep.trials
    if isinstance(sweep.sampler, GridSampler):
        points = grid_size(sweep.search, base, total or MOST_POINTS + 1)
        if total is None and points > MOST_POINTS:
            raise ConfigError(f"the grid has more than {MOST_POINTS:,} points: give --trials N to try the first N of them")
        total = points
    if total is None and isinstance(sweep.sampler, PbtSampler):
        raise UsageError("sampler.kind is pbt, whose trials are its population: give --trials N")
    if total is None and not timed:
        raise UsageError("nothing says how long to search. Give --trials N, or --max-time '30 minutes'")
    return total


def batch_size(sweep: Sweep, proposer: Proposer, bench: Bench, base: Experiment) -> int:
    """How many trials are asked for at once."""
    size = sweep.trials if isinstance(sweep.sampler, PbtSampler) else sweep.batch or proposer.batch
    if size is not None:
        return size
    # As many as train at once, and some cohorts' worth where they will be of many structures.
    return bench.ceiling * COHORTS if proposer.structural else bench.most_lanes(base)


def planned(sweep: Sweep, bench: Bench, base: Experiment) -> Plan:
    """The plan of the experiment. Raises `ConfigError` in the sweep's own words when its metric is none of the task's."""
    metric = sweep.objectives[0].metric
    if metric is not None:
        plain = base.model_copy(update={"train": base.train.model_copy(update={"monitor": None})})
        if metric not in (known := bench.scores(plain)):
            raise ConfigError(f"objective.metric is {metric!r}; this experiment can be searched for {', '.join(known)}")
    return bench.plan(base)


def goals_of(sweep: Sweep, plan: Plan, scores: Mapping[str, bool]) -> tuple[Goal, ...]:
    """The objectives; `scores` are the metrics that there are, and whether more of each is better. Raises `ConfigError`."""
    known = {**scores, "parameters": False}
    goals: list[Goal] = []
    for objective in sweep.objectives:
        metric = objective.metric or plan.monitor
        if metric not in known:
            raise ConfigError(f"objective.metric is {metric!r}; this sweep can have {', '.join(known)}")
        if metric in [goal.metric for goal in goals]:
            raise ConfigError(f"objective.metric {metric} is there twice: name each objective once")
        goal = Goal(metric, "maximize" if known[metric] else "minimize")
        if objective.direction not in (None, goal.direction):
            raise ConfigError(
                f"objective.direction is {objective.direction}, but {metric} is better the other way: leave it out"
            )
        goals.append(goal)
    return tuple(goals)


def description(
    sweep: Sweep, name: str | None, base: Mapping[str, Any], data: str, goals: Sequence[Goal], total: int | None
) -> NewSweep:
    """What makes a sweep this sweep: another experiment, space, sampler, pruner or data is another sweep.

    `base` is the resolved experiment as a tree, `data` the fingerprint of its data.
    """
    check_name(f"{name or ''}/{MOST_DIGITS}")  # the name of a run
    own = sweep.model_dump(mode="json", include={"search", "sampler", "pruner", "seeds"})
    first, *more = [vars(goal) for goal in goals]
    config = json.loads(json.dumps({"experiment": base, "data": data, **own, "objective": first, "more": more}))
    enqueue = json.loads(json.dumps(sweep.enqueue))
    return NewSweep(config, goals[0].metric, goals[0].direction, total, name, command_line(), enqueue)


def take_sweep(store: Store, new: NewSweep, *, beside: bool, change: bool) -> tuple[SweepRecord, int]:
    """The sweep of this name, or without one of this description, with this process among its workers, and its number there.

    Raises `ConfigError` when the sweep of that name has another description, unless it may `change`; `BusyError` when another
    process of this machine works on it, unless this one is to work `beside` it.
    """
    sweep_id, worker = start_sweep(store, new)
    if worker is None:
        found = find_sweep(store, sweep_id)
        changed = differences({**found.config, "enqueue": None}, {**new.config, "enqueue": None})
        fixed = any(found.config.get(key) != value for key, value in new.config.items() if key not in CHANGEABLE)
        if changed and (fixed or not change):
            otherwise = "" if fixed else ", or go on with --allow-changed-space"
            raise ConfigError(
                f"sweep {found.id} ({found.name}) was started with another description: {'; '.join(changed)}; choose another "
                f"--name{otherwise}"
            )
        worker = join_sweep(store, sweep_id, new.trials_total, beside=beside, config=new.config if changed else None)
    return find_sweep(store, sweep_id), worker


def _check_enqueued(enqueue: Sequence[Mapping[str, Any]], space: Space, sampler: str) -> None:
    if enqueue and sampler == "grid":
        raise ConfigError("enqueue: a grid has its own order: leave it out, or take another sampler")
    for params in enqueue:
        for key in params:
            if key not in space:
                raise ConfigError(f"enqueue: {key} is not searched; the search has {', '.join(space)}")
            if not fits(space, {key: params[key]}):
                raise ConfigError(f"enqueue: {key}={params[key]} is not among what is searched; widen search {key}")
