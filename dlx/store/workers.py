"""Working on a sweep: joining it, taking trials, reporting what came of them, leaving. Every function is one transaction.

Several processes may work on one sweep; each training belongs to one of them. A trial is written when it is proposed, so
that a killed sweep goes on with the same proposals, and what a dead worker left waiting is taken by the next that asks.
"""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from dlx.errors import BusyError, Status, UsageError
from dlx.store.database import Store
from dlx.store.holding import held_by
from dlx.store.process import this_process
from dlx.store.starts import Direction, alone, check_name, refuse_lost
from dlx.store.sweeps import Result, SweepRecord, Training, TrialRecord, load_sweep, load_workers
from dlx.store.tables import RUNS, SWEEPS, TRIALS, WORKERS


@dataclass(frozen=True)
class NewSweep:
    """What is known of a sweep before its first trial. `config` is the sweep's own description, plain JSON values."""

    config: Mapping[str, Any]
    monitor: str
    direction: Direction
    trials_total: int | None
    name: str | None = None
    command: str = ""
    enqueue: Sequence[Mapping[str, Any]] = ()
    """Trials to begin with. Kept as the sweep's first command had them, and no part of its description."""


@dataclass(frozen=True)
class Proposal:
    """What a sampler wants tried: the searched values, and what it wants to remember of it."""

    params: Mapping[str, Any]
    notes: Mapping[str, Any]


def start_sweep(store: Store, new: NewSweep) -> tuple[str, int | None]:
    """The sweep of that name, or else of that description: its id (8 hexadecimal digits), made if there is none.

    With it the number of this process among its workers, or None for a sweep that was there: it is to be joined. Of
    several processes that ask at once one makes it.
    """
    check_name(new.name)
    now = time.time()
    with store.write() as connection:
        alone(connection)
        known = connection.execute(
            select(SWEEPS.c.id, SWEEPS.c.config).where(SWEEPS.c.name == new.name).order_by(SWEEPS.c.created.desc())
        ).all()
        for row in known:
            if new.name is not None or {**row.config, "enqueue": []} == {**new.config, "enqueue": []}:
                return row.id, None
        sweep_id = secrets.token_hex(4)
        while connection.execute(select(SWEEPS.c.id).where(SWEEPS.c.id == sweep_id)).first() is not None:
            sweep_id = secrets.token_hex(4)
        connection.execute(
            insert(SWEEPS).values(
                id=sweep_id,
                name=new.name,
                status=Status.RUNNING,
                message="",
                created=now,
                trials_total=new.trials_total,
                monitor=new.monitor,
                direction=new.direction,
                seconds={},
                config={**new.config, **({"enqueue": list(new.enqueue)} if new.enqueue else {})},
                command=new.command,
            )
        )
        return sweep_id, _enter(connection, sweep_id, 0)


def join_sweep(
    store: Store, sweep_id: str, trials_total: int | None, *, beside: bool = False, config: Mapping[str, Any] | None = None
) -> int:
    """Makes this process a worker of a sweep, and returns its number. `config` is what its description is from now on.

    Raises `BusyError` when a process of this machine works on it already, unless it is to work `beside` that one; and
    when any process works on a sweep whose description would change.
    """
    with store.write() as connection:
        _lock(connection, sweep_id)
        sweep = load_sweep(connection, store, sweep_id)
        space = this_process().space
        for other in (worker for worker in sweep.workers if worker.alive):
            if config is not None or (other.space == space and not beside):
                raise BusyError(
                    f"sweep {sweep_id} is running: process {other.pid} on {other.host} works on it; stop that process first, "
                    "or start several with --workers"
                )
        _write(connection, sweep_id, _derived(connection, sweep))
        changed = {"config": dict(config)} if config is not None else {}
        connection.execute(
            update(SWEEPS)
            .where(SWEEPS.c.id == sweep_id)
            .values(status=Status.RUNNING, message="", finished=None, trials_total=trials_total, **changed)
        )
        return _enter(connection, sweep_id, len(sweep.workers))


def take_trials(
    store: Store,
    sweep_id: str,
    worker: int,
    most: int,
    seeds: int,
    propose: Callable[[SweepRecord, int], Sequence[Proposal]],
    known: SweepRecord | None = None,
) -> list[TrialRecord]:
    """The next trials for a worker: those that nobody works on any more, or else up to `most` new proposals.

    `propose` is asked, with the sweep as it stands and a number of trials, inside the transaction: no two workers propose
    at once. A trial taken over has only those of its trainings that have not ended. None are left when the sweep has all
    its trials. What is `known` of it need not be read again.
    """
    with store.write() as connection:
        _lock(connection, sweep_id)
        sweep = load_sweep(connection, store, sweep_id, known)
        total = sweep.trials_total
        at_work = {other.number for other in sweep.workers if other.alive}
        free = [_without_ended(trial, at_work) for trial in sweep.trials if total is None or trial.number < total]
        taken = [trial for trial in free if trial.trainings]
        if taken:
            mine = update(TRIALS).where(TRIALS.c.sweep == sweep_id, TRIALS.c.number == bindparam("trial"))
            connection.execute(
                mine.where(TRIALS.c.seed == bindparam("of_seed")).values(worker=worker),
                [{"trial": trial.number, "of_seed": each.seed} for trial in taken for each in trial.trainings],
            )
            return taken
        count = most if total is None else min(most, total - len(sweep.trials))
        proposals = propose(sweep, count) if count > 0 else []
        trainings = tuple(Training(seed, worker=worker) for seed in range(seeds))
        new = [TrialRecord(len(sweep.trials) + i, p.params, trainings, p.notes) for i, p in enumerate(proposals)]
        if new:
            empty = {"sweep": sweep_id, "worker": worker, "others": [], "curve": {}}
            connection.execute(
                insert(TRIALS),
                [
                    {**empty, "number": t.number, "seed": each.seed, "params": dict(t.params), "notes": dict(t.notes)}
                    for t in new
                    for each in t.trainings
                ],
            )
        return new


def report_results(
    store: Store, sweep_id: str, worker: int, results: Sequence[Result], known: SweepRecord | None = None
) -> SweepRecord:
    """Writes down what came of trainings, and returns the sweep as it stands then; what is `known` is not read again.

    Raises `BusyError` when another worker has taken one of them over.
    """
    with store.write() as connection:
        _lock(connection, sweep_id)
        refuse_lost(connection, sweep_id, worker, [(result.trial, result.seed) for result in results])
        _write(connection, sweep_id, results)
        return load_sweep(connection, store, sweep_id, known)


def exchange(
    store: Store, sweep_id: str, worker: int, notes: Mapping[int, Mapping[str, Any]], configs: Mapping[str, Mapping[str, Any]]
) -> None:
    """Writes down that trials (by number) go on with other values: their notes, and how their runs (by id) are trained anew."""
    with store.write() as connection:
        _lock(connection, sweep_id)
        refuse_lost(connection, sweep_id, worker, [(number, 0) for number in notes])
        for number, each in notes.items():
            own = (TRIALS.c.sweep == sweep_id) & (TRIALS.c.number == number)
            connection.execute(update(TRIALS).where(own).values(notes=dict(each)))
        for run_id, config in configs.items():
            connection.execute(update(RUNS).where(RUNS.c.id == run_id).values(config=dict(config)))


def leave_sweep(store: Store, sweep_id: str, worker: int, status: Status, message: str, seconds: Mapping[str, float]) -> None:
    """Ends a worker's part; `seconds` (by phase) are added to those before. The last one to leave says how the sweep ended."""
    now = time.time()
    with store.write() as connection:
        row = _lock(connection, sweep_id)
        connection.execute(
            update(WORKERS).where(WORKERS.c.sweep == sweep_id, WORKERS.c.number == worker).values(ended=now, heartbeat=now)
        )
        last = not any(other.alive for other in load_workers(connection, sweep_id))
        # One that was away for too long finds the sweep ended by those who took over: theirs was the last word.
        ended = {"status": status, "message": message, "finished": now} if last and row.status == Status.RUNNING else {}
        total = {**row.seconds, **{phase: row.seconds.get(phase, 0.0) + value for phase, value in seconds.items()}}
        connection.execute(update(SWEEPS).where(SWEEPS.c.id == sweep_id).values(seconds=total, **ended))


def _enter(connection: Connection, sweep_id: str, number: int) -> int:
    now = time.time()
    connection.execute(insert(WORKERS).values(sweep=sweep_id, number=number, started=now, **held_by(this_process(), now)))
    return number


def _lock(connection: Connection, sweep_id: str) -> Any:
    """The sweep's status and seconds. No other worker goes on until the transaction ends."""
    row = connection.execute(select(SWEEPS.c.status, SWEEPS.c.seconds).where(SWEEPS.c.id == sweep_id).with_for_update()).first()
    if row is None:
        raise UsageError(f"the store has no sweep {sweep_id}; `dlx sweep ls` shows what it has")
    return row


def _without_ended(trial: TrialRecord, at_work: set[int]) -> TrialRecord:
    """The trial with those of its trainings that nobody works on."""
    free = tuple(each for each in trial.trainings if each.status is None and each.worker not in at_work)
    return replace(trial, trainings=free)


def _derived(connection: Connection, sweep: SweepRecord) -> list[Result]:
    """Results known only from runs that ended just before their process was killed: written, whatever becomes of the run."""
    statement = select(TRIALS.c.number, TRIALS.c.seed).where(TRIALS.c.sweep == sweep.id, TRIALS.c.status.is_(None))
    unwritten = {(row.number, row.seed) for row in connection.execute(statement)}
    return [
        Result(trial.number, each.seed, each.status, each.values, each.message)
        for trial in sweep.trials
        for each in trial.trainings
        if each.status is not None and (trial.number, each.seed) in unwritten
    ]


def _write(connection: Connection, sweep_id: str, results: Sequence[Result]) -> None:
    own = (TRIALS.c.number == bindparam("trial")) & (TRIALS.c.seed == bindparam("of_seed"))
    statement = update(TRIALS).where(TRIALS.c.sweep == sweep_id, own)
    ended = [result for result in results if result.status is not None]
    if ended:
        connection.execute(
            statement.values(
                status=bindparam("how"), value=bindparam("worth"), others=bindparam("more"), message=bindparam("why")
            ),
            [
                {
                    "trial": result.trial,
                    "of_seed": result.seed,
                    "how": result.status,
                    "worth": result.values[0] if result.values else None,
                    "more": list(result.values[1:]) if result.values else [],
                    "why": result.message,
                }
                for result in ended
            ],
        )
    curves = [
        {"trial": result.trial, "of_seed": result.seed, "points": {str(at): v for at, v in result.curve.items()}}
        for result in results
        if result.curve is not None
    ]
    if curves:
        connection.execute(statement.values(curve=bindparam("points")), curves)
