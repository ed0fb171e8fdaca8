"""Sweeps and their trials: what was proposed, which run tried it, what came of it. Every function is one transaction.

A sweep is held by one process at a time, like a run. A trial is written when it is proposed, so that a killed sweep goes on
with the same proposals; it keeps its result when its run is removed.
"""

import math
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, insert, select, update

from dlx.errors import Status, UsageError
from dlx.store.database import Store
from dlx.store.holding import beat, held_by, refuse_if_running, refuse_stranger, true_status
from dlx.store.process import this_process
from dlx.store.starts import Direction, alone, check_name
from dlx.store.tables import RUNS, SWEEPS, TRIALS, measures


@dataclass(frozen=True)
class NewSweep:
    """What is known of a sweep before its first trial. `config` is the sweep's own description, plain JSON values."""

    config: Mapping[str, Any]
    monitor: str
    direction: Direction
    trials_total: int | None
    name: str | None = None
    command: str = ""


@dataclass(frozen=True)
class TrialRecord:
    """One trial. `status` is None while it waits or trains; `value` is the monitored metric at the best weights."""

    number: int
    params: Mapping[str, Any]
    run_id: str | None
    status: Status | None
    value: float | None
    message: str = ""


@dataclass(frozen=True)
class SweepRecord:
    """A sweep as it stood at one moment. `status` is the true one: LOST where its process is gone."""

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

    @property
    def ranked(self) -> list[TrialRecord]:
        """The completed trials, the best first; of equals the earlier one."""
        scored = [t for t in self.trials if t.status is Status.COMPLETED and t.value is not None]
        return sorted(scored, key=lambda t: (-(t.value or 0.0) if self.direction == "maximize" else (t.value or 0.0), t.number))


def start_sweep(store: Store, new: NewSweep) -> tuple[str, bool]:
    """The id (8 hexadecimal digits) of the sweep of that name, or else of that description; whether it was made just now.

    A new one is running and held by this process; an earlier one is to be claimed. Of several processes that ask at once
    one makes it.
    """
    check_name(new.name)
    now, process = time.time(), this_process()
    with store.write() as connection:
        alone(connection)
        known = connection.execute(
            select(SWEEPS.c.id, SWEEPS.c.config).where(SWEEPS.c.name == new.name).order_by(SWEEPS.c.created.desc())
        ).all()
        for row in known:
            if new.name is not None or row.config == new.config:
                return row.id, False
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
                config=dict(new.config),
                command=new.command,
                **held_by(process, now),
            )
        )
    return sweep_id, True


def claim_sweep(store: Store, sweep_id: str, trials_total: int | None) -> None:
    """Takes a sweep for this process, to continue it. Raises `BusyError` when a live process holds it."""
    now = time.time()
    with store.write() as connection:
        refuse_if_running(_locked(connection, store, sweep_id), now, "sweep")
        # A run that ended just before its sweep was killed: its trial has the result from now on, whatever becomes of the run.
        trials = {trial.number: trial for trial in _load(connection, store, sweep_id).trials if trial.status is not None}
        unwritten = select(TRIALS.c.number).where(TRIALS.c.sweep == sweep_id, TRIALS.c.status.is_(None))
        derived = [trials[number] for number in connection.execute(unwritten).scalars() if number in trials]
        _write_results(
            connection, sweep_id, {t.number: (t.status, t.value, t.message) for t in derived if t.status is not None}
        )
        connection.execute(
            update(SWEEPS)
            .where(SWEEPS.c.id == sweep_id)
            .values(status=Status.RUNNING, message="", finished=None, trials_total=trials_total, **held_by(this_process(), now))
        )


def finish_sweep(store: Store, sweep_id: str, status: Status, message: str, seconds: Mapping[str, float]) -> None:
    """Closes a sweep; `seconds` (by phase) are added to those before. Raises `BusyError` when another process took it."""
    now = time.time()
    with store.write() as connection:
        row = _locked(connection, store, sweep_id)
        refuse_stranger(row, this_process(), "sweep")
        total = {**row["seconds"], **{phase: row["seconds"].get(phase, 0.0) + value for phase, value in seconds.items()}}
        connection.execute(
            update(SWEEPS)
            .where(SWEEPS.c.id == sweep_id)
            .values(status=status, message=message, finished=now, heartbeat=now, seconds=total)
        )


def add_trials(store: Store, sweep_id: str, proposed: Mapping[int, Mapping[str, Any]]) -> None:
    """Writes proposals down, by number, before anything of them is run. Says too that the sweep's process is alive."""
    with store.write() as connection:
        refuse_stranger(_locked(connection, store, sweep_id), this_process(), "sweep")
        rows = [{"sweep": sweep_id, "number": number, "params": dict(params)} for number, params in proposed.items()]
        connection.execute(insert(TRIALS), rows)
        beat(connection, SWEEPS, [sweep_id])


def heartbeat_sweep(store: Store, sweep_id: str) -> None:
    """Says that this process still works on a sweep. Due every 30 s or so: other machines give up after 120 s."""
    with store.write() as connection:
        beat(connection, SWEEPS, [sweep_id])


def finish_trials(store: Store, sweep_id: str, results: Mapping[int, tuple[Status, float | None, str]]) -> None:
    """Writes down what came of trials: status, value and message by number."""
    with store.write() as connection:
        refuse_stranger(_locked(connection, store, sweep_id), this_process(), "sweep")
        _write_results(connection, sweep_id, results)
        beat(connection, SWEEPS, [sweep_id])


def find_sweep(store: Store, text: str) -> SweepRecord:
    """The sweep that a user means: an id, a name (the newest of that name), the unique beginning of an id, or `latest`."""
    with store.read() as connection:
        rows = connection.execute(select(SWEEPS.c.id, SWEEPS.c.name).order_by(SWEEPS.c.created.desc())).all()
        named = [row.id for row in rows if text in (row.id, row.name)] or ([rows[0].id] if rows and text == "latest" else [])
        begun = [row.id for row in rows if text and row.id.startswith(text)]
        if not named and len(begun) > 1:
            raise UsageError(f"{len(begun)} sweeps begin with {text!r}: {', '.join(begun[:8])}; type more of the id")
        for sweep_id in (named or begun)[:1]:
            return _load(connection, store, sweep_id)
    known = ", ".join(f"{row.id} ({row.name})" if row.name else row.id for row in rows[:8])
    raise UsageError(
        f"the store {store.place} has no sweep {text!r}; " + (f"it has {known}" if known else "`dlx sweep` makes the first")
    )


def list_sweeps(store: Store) -> list[SweepRecord]:
    """Every sweep with its trials, the newest first."""
    with store.read() as connection:
        ids = connection.execute(select(SWEEPS.c.id).order_by(SWEEPS.c.created.desc())).scalars().all()
        return [_load(connection, store, sweep_id) for sweep_id in ids]


def _write_results(connection: Connection, sweep_id: str, results: Mapping[int, tuple[Status, float | None, str]]) -> None:
    if not results:
        return
    statement = update(TRIALS).where(TRIALS.c.sweep == sweep_id, TRIALS.c.number == bindparam("at"))
    connection.execute(
        statement.values(status=bindparam("how"), value=bindparam("worth"), message=bindparam("why")),
        [{"at": n, "how": status, "worth": value, "why": message} for n, (status, value, message) in results.items()],
    )


def _load(connection: Connection, store: Store, sweep_id: str) -> SweepRecord:
    row = _row(connection, store, sweep_id)
    # A trial whose process died between its run's last word and its own has the run's: it need not be run again.
    joined = (
        select(TRIALS, RUNS.c.status.label("run_status"), RUNS.c.message.label("run_message"), RUNS.c.metrics)
        .select_from(TRIALS.outerjoin(RUNS, RUNS.c.id == TRIALS.c.run_id))
        .where(TRIALS.c.sweep == sweep_id)
        .order_by(TRIALS.c.number)
    )
    return SweepRecord(
        **{name: row[name] for name in ("id", "name", "message", "created", "finished", "trials_total", "monitor")},
        direction=row["direction"],
        status=true_status(row, time.time()),
        seconds=measures(row["seconds"]),
        config=row["config"],
        command=row["command"],
        trials=tuple(_trial(each, row["monitor"]) for each in connection.execute(joined).mappings()),
    )


def _trial(row: RowMapping, monitor: str) -> TrialRecord:
    status, value, message = row["status"], row["value"], row["message"]
    if status is None and row["run_status"] in (Status.COMPLETED, Status.DIVERGED):
        status, message = row["run_status"], row["run_message"]
        value = measures(row["metrics"]).get(monitor) if status == Status.COMPLETED else None
    known = value is not None and not math.isnan(value)
    return TrialRecord(
        row["number"],
        row["params"],
        row["run_id"],
        Status(status) if status else None,
        value if known else None,
        message or "",
    )


def _row(connection: Connection, store: Store, sweep_id: str, *, lock: bool = False) -> RowMapping:
    statement = select(SWEEPS).where(SWEEPS.c.id == sweep_id)
    row = connection.execute(statement.with_for_update() if lock else statement).mappings().first()
    if row is None:
        raise UsageError(f"the store {store.place} has no sweep {sweep_id}")
    return row


def _locked(connection: Connection, store: Store, sweep_id: str) -> RowMapping:
    return _row(connection, store, sweep_id, lock=True)
