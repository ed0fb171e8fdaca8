"""Taking runs: starting new ones, and claiming one that stopped. A run is held by one process at a time."""

import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import Connection, delete, func, insert, select, text, update

from dlx.errors import BusyError, Status, UsageError
from dlx.store.database import Store
from dlx.store.holding import (
    beat_workers,
    close_segment,
    held_by,
    locked_run,
    move_segment,
    open_segment,
    refuse_if_running,
    refuse_stranger,
    true_status,
)
from dlx.store.process import this_process
from dlx.store.tables import METRICS, RUNS, TRIALS

Direction = Literal["minimize", "maximize"]

NAME_LENGTH: Final = 200
"""The most characters that a run's name may have."""


@dataclass(frozen=True)
class NewRun:
    """What is known of a run before its first step. `config` and `environment` are trees of plain JSON values.

    `lane` counts from 0 among the `lanes` that train together. `monitor` names the metric that ranks runs.
    """

    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    steps_total: int
    steps_per_epoch: int
    monitor: str
    direction: Direction
    name: str | None = None
    lanes: int = 1
    lane: int = 0
    command: str = ""
    device: str = ""


def start_run(store: Store, new: NewRun, *, unless_named: bool = False) -> str:
    """Records a run as running and held by this process, makes its folder, and returns its id: 8 hexadecimal digits.

    With `unless_named`, of several that start a run of one name at once, one succeeds: raises `BusyError` when a run of
    that name exists. Raises `UsageError` for a name that cannot be shown, `CannotWriteError` where the store or the
    folder refuses.
    """
    return _start(store, [new], unless_named=unless_named)[0]


def start_runs(store: Store, new: Sequence[NewRun], *, sweep: str, worker: int, trials: Sequence[tuple[int, int]]) -> list[str]:
    """`start_run` for trainings (by trial and seed) of a sweep, in one transaction.

    Raises the same, and `BusyError` when one of them is not the worker's any more.
    """
    return _start(store, new, unless_named=False, sweep=(sweep, worker), trials=trials)


def _start(
    store: Store,
    new: Sequence[NewRun],
    *,
    unless_named: bool,
    sweep: tuple[str, int] = ("", 0),
    trials: Sequence[tuple[int, int]] = (),
) -> list[str]:
    if not new:
        return []
    for each in new:
        check_name(each.name)
    now, process = time.time(), this_process()
    with store.write() as connection:
        for name in {each.name for each in new if unless_named and each.name is not None}:
            _refuse_second(connection, name)
        refuse_lost(connection, *sweep, trials)
        ids = [_unused_id(store, connection) for _ in new]
        connection.execute(
            insert(RUNS),
            [
                {
                    "id": run_id,
                    "name": each.name,
                    "status": Status.RUNNING,
                    "message": "",
                    "created": now,
                    "step": 0,
                    "epoch": 0,
                    "steps_total": each.steps_total,
                    "steps_per_epoch": each.steps_per_epoch,
                    "lanes": each.lanes,
                    "lane": each.lane,
                    "monitor": each.monitor,
                    "direction": each.direction,
                    "metrics": {},
                    "seconds": {},
                    "config": dict(each.config),
                    "command": each.command,
                    "environment": dict(each.environment),
                    **held_by(process, now),
                }
                for run_id, each in zip(ids, new, strict=True)
            ],
        )
        for run_id, each in zip(ids, new, strict=True):
            open_segment(connection, run_id, step=0, device=each.device, process=process, now=now)
        for run_id, (number, seed) in zip(ids, trials, strict=False):
            own = (TRIALS.c.sweep == sweep[0]) & (TRIALS.c.number == number) & (TRIALS.c.seed == seed)
            connection.execute(update(TRIALS).where(own).values(run_id=run_id))
        beat_workers(connection)
    return ids


def claim_run(store: Store, run_id: str, device: str) -> None:
    """Takes a run for this process, to continue it; of several that try at once, one succeeds. Then `rewind_run`.

    What was measured stays. Raises `BusyError` when a live process holds the run, `UsageError` when it has ended for
    good in the meantime or is not in the store.
    """
    now, process = time.time(), this_process()
    with store.write() as connection:
        row = locked_run(connection, store, run_id)
        refuse_if_running(row, now)
        status = true_status(row, now)
        if not status.resumable:
            raise UsageError(f"run {run_id} is {status} at step {row['step']}: it cannot be continued; start a new run")
        # A killed process could not close its segment: its last sign of life does.
        close_segment(connection, run_id, ended=row["heartbeat"], step=row["step"], outcome=Status.LOST)
        connection.execute(
            update(RUNS)
            .where(RUNS.c.id == run_id)
            .values(status=Status.RUNNING, message="", finished=None, **held_by(process, now))
        )
        open_segment(connection, run_id, step=row["step"], device=device, process=process, now=now)
        beat_workers(connection)


def rewind_run(store: Store, run_id: str, step: int) -> None:
    """Sets a run that this process has claimed back to `step`, where its checkpoint is.

    Metrics measured after `step` are removed, because the same steps are about to be taken again. So record before
    you write a checkpoint, never after. Raises `BusyError` when the run is not held by this process, `UsageError` when
    there is no such run.
    """
    now, process = time.time(), this_process()
    with store.write() as connection:
        row = locked_run(connection, store, run_id)
        refuse_stranger(row, process)
        connection.execute(delete(METRICS).where(METRICS.c.run_id == run_id, METRICS.c.step > step))
        connection.execute(
            update(RUNS)
            .where(RUNS.c.id == run_id)
            .values(
                step=step,
                epoch=step // max(1, row["steps_per_epoch"]),
                metrics=_latest_metrics(connection, run_id),
                heartbeat=now,
            )
        )
        move_segment(connection, run_id, step=step)


def check_name(name: str | None) -> None:
    """Raises `UsageError` for a name that could not be shown or found again. Other text is a name; two runs may share it."""
    if name is None:
        return
    if not name.strip() or not name.isprintable():
        raise UsageError(f"the name {name!r} cannot be shown: use letters, digits, punctuation and spaces")
    if len(name) > NAME_LENGTH:
        raise UsageError(f"the name {name[:20]}... has {len(name)} characters; {NAME_LENGTH} is the most")
    if name == "latest":
        raise UsageError("the name 'latest' means the newest run; choose another")


_NAMES_LOCK: Final = 0x646C79
"""The key of the PostgreSQL advisory lock under which a name is looked up and then given (`migrations` has the one before)."""


def alone(connection: Connection) -> None:
    """Until the transaction ends nobody else who calls this goes on: what is looked up and not there can be made."""
    if connection.dialect.name == "postgresql":  # SQLite's write transaction has already locked everybody else out
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _NAMES_LOCK})


def _refuse_second(connection: Connection, name: str) -> None:
    """Raises `BusyError` when a run of that name exists."""
    alone(connection)
    found = connection.execute(select(RUNS.c.id).where(RUNS.c.name == name)).scalars().first()
    if found is not None:
        raise BusyError(f"run {found} of that name was just started by another process; run the command again to continue it")


def refuse_lost(connection: Connection, sweep: str, worker: int, trials: Collection[tuple[int, int]]) -> None:
    """Raises `BusyError` unless all trainings (by trial and seed) are the worker's."""
    if not trials:
        return
    found = select(TRIALS.c.number, TRIALS.c.seed).where(TRIALS.c.sweep == sweep, TRIALS.c.worker == worker).with_for_update()
    mine = {(row.number, row.seed) for row in connection.execute(found)}
    for number, seed in trials:
        if (number, seed) not in mine:
            raise BusyError(
                f"trial {number} of sweep {sweep} was taken over by another process: this one has lost it and must stop"
            )


def _unused_id(store: Store, connection: Connection) -> str:
    """An id that neither the store nor a folder left by another store has, with its folder made."""
    while True:
        run_id = secrets.token_hex(4)
        if connection.execute(select(RUNS.c.id).where(RUNS.c.id == run_id)).first() is None:
            try:
                store.run_folder(run_id).mkdir(parents=True)
            except FileExistsError:
                continue
            return run_id


def _latest_metrics(connection: Connection, run_id: str) -> dict[str, float]:
    newest = (
        select(METRICS.c.name, func.max(METRICS.c.step).label("step"))
        .where(METRICS.c.run_id == run_id)
        .group_by(METRICS.c.name)
        .subquery()
    )
    same = (METRICS.c.name == newest.c.name) & (METRICS.c.step == newest.c.step)
    found = connection.execute(select(METRICS.c.name, METRICS.c.value).join(newest, same).where(METRICS.c.run_id == run_id))
    return {row.name: row.value for row in found}
