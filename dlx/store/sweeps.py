"""Sweeps and their trials as they stood at one moment. `workers` writes them.

A trial is one training under each of its seeds. It keeps its results when its runs are removed.
"""

import math
import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, select

from dlx.errors import Status, UsageError
from dlx.store.database import Store
from dlx.store.holding import still_lives
from dlx.store.starts import Direction
from dlx.store.tables import RUNS, SWEEPS, TRIALS, WORKERS, measures

_WORST_FIRST: Final = (Status.FAILED, Status.DIVERGED, Status.PRUNED)


@dataclass(frozen=True)
class Training:
    """One training of a trial. `status` is None while it waits or trains."""

    seed: int
    """Which of the trial's seeds, counted from 0."""
    run_id: str | None = None
    worker: int | None = None
    """Who trains it, or did last."""
    status: Status | None = None
    values: tuple[float, ...] | None = None
    """The objectives, at the best weights."""
    curve: Mapping[int, float] = field(default_factory=dict)
    """The best first objective so far, by the number of the evaluation."""
    message: str = ""
    derived: bool = False
    """Whether this is what its run says, whose process has not (yet) written down what came of the training."""


@dataclass(frozen=True)
class TrialRecord:
    """One trial: the searched values, and what came of them."""

    number: int
    params: Mapping[str, Any]
    trainings: tuple[Training, ...] = (Training(0),)
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What the sampler wants to remember."""

    @cached_property
    def status(self) -> Status | None:
        """None until every training has ended; completed when all were, or else the worst of them."""
        found = {training.status for training in self.trainings}
        if None in found:
            return None
        return next((status for status in _WORST_FIRST if status in found), Status.COMPLETED)

    @property
    def settled(self) -> bool:
        """Whether it has ended, and all that came of it is written down: nothing of it changes any more."""
        return self.status is not None and not any(training.derived for training in self.trainings)

    @cached_property
    def values(self) -> tuple[float, ...] | None:
        """The objectives of a completed trial, each the mean over the seeds."""
        each = [training.values for training in self.trainings if training.values is not None]
        if self.status is not Status.COMPLETED or len(each) < len(self.trainings):
            return None
        return tuple(statistics.fmean(values) for values in zip(*each, strict=True))

    @cached_property
    def value(self) -> float | None:
        """The first objective of a completed trial; None too where it is no number."""
        return self.values[0] if self.values and not math.isnan(self.values[0]) else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation of the first objective over the seeds, of a trial with several."""
        each = [training.values[0] for training in self.trainings if training.values]
        return statistics.stdev(each) if self.value is not None and len(each) > 1 else None

    @property
    def final(self) -> Mapping[str, Any]:
        """The searched values in the end: in a population they change on the way."""
        schedule = self.notes.get("schedule", ())
        return schedule[-1]["values"] if schedule else self.params

    @cached_property
    def curve(self) -> Mapping[int, float]:
        """The mean over the seeds by evaluation, where all have one."""
        curves = [training.curve for training in self.trainings]
        known = sorted(set.intersection(*(set(curve) for curve in curves)))
        return {at: statistics.fmean(curve[at] for curve in curves) for at in known}

    @property
    def run_id(self) -> str | None:
        """The run of the first seed."""
        return self.trainings[0].run_id

    @property
    def message(self) -> str:
        """Why it was not completed."""
        return next((t.message for t in self.trainings if t.status is self.status and t.message), "")


@dataclass(frozen=True)
class Result:
    """What came of a training, of which `trial` and `seed` say which. Without a status it goes on."""

    trial: int
    seed: int
    status: Status | None
    values: tuple[float, ...] | None = None
    message: str = ""
    curve: Mapping[int, float] | None = None
    """The best value by evaluation, all of it; None leaves what is there."""


@dataclass(frozen=True)
class Worker:
    """A process that works on a sweep, or did."""

    number: int
    host: str
    pid: int
    space: str
    alive: bool


@dataclass(frozen=True)
class Goal:
    """One objective: a metric, and which way is better."""

    metric: str
    direction: Direction


@dataclass(frozen=True)
class SweepRecord:
    """A sweep as it stood at one moment. `status` is the true one: LOST where its processes are gone."""

    id: str
    name: str | None
    status: Status
    message: str
    created: float
    finished: float | None
    trials_total: int | None
    monitor: str
    direction: Direction
    seconds: Mapping[str, float]
    config: Mapping[str, Any]
    command: str
    trials: tuple[TrialRecord, ...]
    workers: tuple[Worker, ...]

    @property
    def goals(self) -> tuple[Goal, ...]:
        """The objectives; the first is the monitored metric."""
        return (Goal(self.monitor, self.direction), *(Goal(**more) for more in self.config.get("more", ())))

    @cached_property
    def ranked(self) -> list[TrialRecord]:
        """The completed trials, the best first by the first objective; of equals the earlier one."""
        sign = -1.0 if self.direction == "maximize" else 1.0
        scored = [(sign * trial.value, trial.number, trial) for trial in self.trials if trial.value is not None]
        return [trial for *_, trial in sorted(scored, key=lambda entry: entry[:2])]

    @cached_property
    def front(self) -> list[TrialRecord]:
        """The completed trials that no other is at least as good as in every objective, and better in one."""
        signs = [-1.0 if goal.direction == "maximize" else 1.0 for goal in self.goals]
        known = [(t, t.values) for t in self.ranked if t.values and not any(math.isnan(value) for value in t.values)]
        costs = {t.number: tuple(s * v for s, v in zip(signs, values, strict=True)) for t, values in known}

        def beaten(cost: tuple[float, ...]) -> bool:
            return any(other != cost and all(o <= c for o, c in zip(other, cost, strict=True)) for other in costs.values())

        return [trial for trial, _ in known if not beaten(costs[trial.number])]

    def with_results(self, results: Sequence[Result]) -> "SweepRecord":
        """The sweep as it will stand once these are written down."""
        known = {(result.trial, result.seed): result for result in results}

        def updated(number: int, training: Training) -> Training:
            result = known.get((number, training.seed))
            if result is None:
                return training
            curve = training.curve if result.curve is None else result.curve
            if result.status is None:
                return replace(training, curve=curve)
            return replace(training, status=result.status, values=result.values, message=result.message, curve=curve)

        touched = {result.trial for result in results}
        trials = (
            replace(t, trainings=tuple(updated(t.number, each) for each in t.trainings)) if t.number in touched else t
            for t in self.trials
        )
        return replace(self, trials=tuple(trials))


def find_sweep(store: Store, text: str) -> SweepRecord:
    """The sweep that a user means: an id, a name (the newest of that name), the unique beginning of an id, or `latest`."""
    with store.read() as connection:
        rows = connection.execute(select(SWEEPS.c.id, SWEEPS.c.name).order_by(SWEEPS.c.created.desc())).all()
        named = [row.id for row in rows if text in (row.id, row.name)] or ([rows[0].id] if rows and text == "latest" else [])
        begun = [row.id for row in rows if text and row.id.startswith(text)]
        if not named and len(begun) > 1:
            raise UsageError(f"{len(begun)} sweeps begin with {text!r}: {', '.join(begun[:8])}; type more of the id")
        for sweep_id in (named or begun)[:1]:
            return load_sweep(connection, store, sweep_id)
    known = ", ".join(f"{row.id} ({row.name})" if row.name else row.id for row in rows[:8])
    raise UsageError(
        f"the store {store.place} has no sweep {text!r}; " + (f"it has {known}" if known else "`dlx sweep` makes the first")
    )


def list_sweeps(store: Store) -> list[SweepRecord]:
    """Every sweep with its trials, the newest first."""
    with store.read() as connection:
        ids = connection.execute(select(SWEEPS.c.id).order_by(SWEEPS.c.created.desc())).scalars().all()
        return [load_sweep(connection, store, sweep_id) for sweep_id in ids]


def reload_sweep(store: Store, known: SweepRecord) -> SweepRecord:
    """A sweep as it stands now, of which an earlier record is `known`."""
    with store.read() as connection:
        return load_sweep(connection, store, known.id, known)


def load_sweep(connection: Connection, store: Store, sweep_id: str, known: SweepRecord | None = None) -> SweepRecord:
    """A sweep by its id, as this transaction sees it. Raises `UsageError` when it is not there.

    Trials that have ended in an earlier record that is `known` are taken from it: a sweep of thousands is read every second.
    """
    row = connection.execute(select(SWEEPS).where(SWEEPS.c.id == sweep_id)).mappings().first()
    if row is None:
        raise UsageError(f"the store {store.place} has no sweep {sweep_id}")
    workers = load_workers(connection, sweep_id)
    status = Status(row["status"])
    if status is Status.RUNNING and not any(worker.alive for worker in workers):
        status = Status.LOST
    goals = [row["monitor"], *(more["metric"] for more in row["config"].get("more", ()))]
    return SweepRecord(
        **{name: row[name] for name in ("id", "name", "message", "created", "finished", "trials_total", "monitor")},
        direction=row["direction"],
        status=status,
        seconds=measures(row["seconds"]),
        config=row["config"],
        command=row["command"],
        trials=_trials(connection, sweep_id, goals, known.trials if known is not None else ()),
        workers=workers,
    )


def load_workers(connection: Connection, sweep_id: str) -> tuple[Worker, ...]:
    """All that ever worked on a sweep, as this transaction sees them."""
    now = time.time()
    rows = connection.execute(select(WORKERS).where(WORKERS.c.sweep == sweep_id).order_by(WORKERS.c.number)).mappings()
    return tuple(
        Worker(row["number"], row["host"], row["pid"], row["process_space"], row["ended"] is None and still_lives(row, now))
        for row in rows
    )


def _trials(
    connection: Connection, sweep_id: str, goals: Sequence[str], known: Sequence[TrialRecord]
) -> tuple[TrialRecord, ...]:
    ended = {trial.number: trial for trial in known if trial.settled}
    going = [trial.number for trial in known if not trial.settled]
    # A training whose process died between its run's last word and its own has the run's: it need not be run again.
    joined = (
        select(TRIALS, RUNS.c.status.label("run_status"), RUNS.c.message.label("run_message"), RUNS.c.metrics)
        .select_from(TRIALS.outerjoin(RUNS, RUNS.c.id == TRIALS.c.run_id))
        .where(TRIALS.c.sweep == sweep_id, (TRIALS.c.number >= len(known)) | TRIALS.c.number.in_(going))
        .order_by(TRIALS.c.number, TRIALS.c.seed)
    )
    trainings: dict[int, list[Training]] = defaultdict(list)
    first: dict[int, RowMapping] = {}
    for row in connection.execute(joined).mappings():
        trainings[row["number"]].append(_training(row, goals))
        first.setdefault(row["number"], row)
    read = {n: TrialRecord(n, first[n]["params"], tuple(each), first[n]["notes"]) for n, each in trainings.items()}
    return tuple(trial for _, trial in sorted({**ended, **read}.items()))


def _training(row: RowMapping, goals: Sequence[str]) -> Training:
    status, message = row["status"], row["message"] or ""
    values = None if status != Status.COMPLETED else (row["value"], *map(float, row["others"]))
    derived = status is None and row["run_status"] in (Status.COMPLETED, Status.DIVERGED, Status.PRUNED)
    if derived:
        metrics = measures(row["metrics"])
        status, message = row["run_status"], row["run_message"]
        values = tuple(metrics.get(goal, math.nan) for goal in goals) if status == Status.COMPLETED else None
    curve = {int(at): float(value) for at, value in row["curve"].items()}
    ended = Status(status) if status else None
    return Training(row["seed"], row["run_id"], row["worker"], ended, values, curve, message, derived)
