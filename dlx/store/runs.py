"""Writing runs: who holds one, what it measured, how it ended. Every function is one transaction.

A run is held by one process at a time. Each write checks that, so that a process that was away for long (a suspended
laptop, a cut network) and whose run another one has resumed stops instead of mixing two trainings into one record.
"""

import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from sqlalchemy import Connection, RowMapping, bindparam, delete, func, insert, select, text, update

from dlx.errors import BusyError, CannotWriteError, Status, UsageError
from dlx.store.database import Store
from dlx.store.holding import close_segment, held_by, holder, move_segment, open_segment, refuse_if_running, true_status
from dlx.store.process import Process, this_process
from dlx.store.tables import METRICS, RUNS, Measure, Words

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


@dataclass(frozen=True)
class RunUpdate:
    """What one run measured at one step. `epoch` counts completed epochs."""

    run_id: str
    step: int
    epoch: int
    metrics: Mapping[str, float] = field(default_factory=dict)


def start_run(store: Store, new: NewRun, *, unless_named: bool = False) -> str:
    """Records a run as running and held by this process, makes its folder, and returns its id: 8 hexadecimal digits.

    With `unless_named`, of several that start a run of one name at once, one succeeds: raises `BusyError` when a run of
    that name exists. Raises `UsageError` for a name that cannot be shown, `CannotWriteError` where the store or the
    folder refuses.
    """
    check_name(new.name)
    now, process = time.time(), this_process()
    with store.write() as connection:
        if unless_named and new.name is not None:
            _refuse_second(connection, new.name)
        run_id = _unused_id(store, connection)
        connection.execute(
            insert(RUNS).values(
                id=run_id,
                name=new.name,
                status=Status.RUNNING,
                message="",
                created=now,
                step=0,
                epoch=0,
                steps_total=new.steps_total,
                steps_per_epoch=new.steps_per_epoch,
                lanes=new.lanes,
                lane=new.lane,
                monitor=new.monitor,
                direction=new.direction,
                metrics={},
                seconds={},
                config=dict(new.config),
                command=new.command,
                environment=dict(new.environment),
                **held_by(process, now),
            )
        )
        open_segment(connection, run_id, step=0, device=new.device, process=process, now=now)
    return run_id


def claim_run(store: Store, run_id: str, device: str) -> None:
    """Takes a run for this process, to continue it; of several that try at once, one succeeds. Then `rewind_run`.

    What was measured stays. Raises `BusyError` when a live process holds the run, `UsageError` when it has ended for
    good in the meantime or is not in the store.
    """
    now, process = time.time(), this_process()
    with store.write() as connection:
        row = _locked(connection, store, run_id)
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


def rewind_run(store: Store, run_id: str, step: int) -> None:
    """Sets a run that this process has claimed back to `step`, where its checkpoint is.

    Metrics measured after `step` are removed, because the same steps are about to be taken again. So record before
    you write a checkpoint, never after. Raises `BusyError` when the run is not held by this process, `UsageError` when
    there is no such run.
    """
    now, process = time.time(), this_process()
    with store.write() as connection:
        row = _locked(connection, store, run_id)
        _refuse_stranger(row, process)
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


def heartbeat(store: Store, run_ids: Sequence[str]) -> None:
    """Says that this process still works on its runs. Due every 30 s or so: readers elsewhere give up after 120 s."""
    process = this_process()
    with store.write() as connection:
        connection.execute(
            update(RUNS)
            .where(RUNS.c.id.in_(run_ids), RUNS.c.pid == process.pid, RUNS.c.process_space == process.space)
            .where(RUNS.c.process_started == process.started)
            .values(heartbeat=time.time())
        )


def record(store: Store, entries: Sequence[RunUpdate]) -> None:
    """Stores what many runs measured, in one transaction; a value already there at that step is replaced.

    Raises `BusyError` when a run is no longer held by this process, `UsageError` when it is not in the store any more.
    """
    if not entries:
        return
    now, process = time.time(), this_process()
    values = [
        {"run_id": entry.run_id, "name": name, "step": entry.step, "value": float(value)}
        for entry in entries
        for name, value in entry.metrics.items()
    ]
    with store.write() as connection:
        rows = _locked_rows(connection, store, sorted({entry.run_id for entry in entries}))
        for row in rows.values():
            _refuse_stranger(row, process)
        latest = {run_id: dict(row["metrics"]) for run_id, row in rows.items()}
        for entry in entries:
            latest[entry.run_id].update(entry.metrics)
        last = {entry.run_id: entry for entry in entries}
        if values:
            connection.execute(_UPSERT, values)
        connection.execute(
            update(RUNS)
            .where(RUNS.c.id == bindparam("run_id"))
            .values(step=bindparam("at_step"), epoch=bindparam("at_epoch"), metrics=bindparam("latest"), heartbeat=now),
            [
                {"run_id": run_id, "at_step": entry.step, "at_epoch": entry.epoch, "latest": latest[run_id]}
                for run_id, entry in last.items()
            ],
        )


def finish_run(
    store: Store,
    run_id: str,
    status: Status,
    message: str,
    step: int,
    epoch: int,
    metrics: Mapping[str, float],
    seconds: Mapping[str, float],
) -> None:
    """Closes a run with its outcome and its summary, such as `test/accuracy` at the best checkpoint.

    The summary is kept with the run, over the latest values, and not in the curves: it need not belong to the last
    step. `seconds` (by phase) are added to those of earlier segments. Raises `BusyError` when another process took
    the run, also when that one has ended it since; a run that died with its process may be closed by anybody.
    """
    now, process = time.time(), this_process()
    with store.write() as connection:
        row = _locked(connection, store, run_id)
        if true_status(row, now) is not Status.LOST:
            _refuse_stranger(row, process)
        connection.execute(
            update(RUNS)
            .where(RUNS.c.id == run_id)
            .values(
                status=status,
                message=message,
                finished=now,
                heartbeat=now,
                step=step,
                epoch=epoch,
                metrics={**row["metrics"], **metrics},
                seconds={
                    **row["seconds"],
                    **{phase: row["seconds"].get(phase, 0.0) + value for phase, value in seconds.items()},
                },
            )
        )
        close_segment(connection, run_id, ended=now, step=step, outcome=status)


def rename_run(store: Store, run_id: str, name: str | None) -> None:
    """Gives a run another name, or none. Raises `UsageError` for a bad name or an unknown run."""
    check_name(name)
    with store.write() as connection:
        _locked(connection, store, run_id)
        connection.execute(update(RUNS).where(RUNS.c.id == run_id).values(name=name))


def delete_run(store: Store, run_id: str) -> None:
    """Removes a run's row, metrics, segments and folder. Raises `BusyError` for a live one, `UsageError` for an unknown one."""
    with store.write() as connection:
        refuse_if_running(_locked(connection, store, run_id), time.time())
        connection.execute(delete(RUNS).where(RUNS.c.id == run_id))  # metrics and segments go with it
    folder = store.run_folder(run_id)
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise CannotWriteError(
            f"run {run_id} is out of the store, but its folder {folder} stays: {error.strerror}; remove it by hand"
        ) from error


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


_UPSERT: Final = text(
    "INSERT INTO dlx_metrics (run_id, name, step, value) VALUES (:run_id, :name, :step, :value) "
    "ON CONFLICT (run_id, name, step) DO UPDATE SET value = excluded.value"
).bindparams(bindparam("name", type_=Words), bindparam("value", type_=Measure))


_NAMES_LOCK: Final = 0x646C79
"""The key of the PostgreSQL advisory lock under which a name is looked up and then given (`migrations` has the one before)."""


def _refuse_second(connection: Connection, name: str) -> None:
    """Raises `BusyError` when a run of that name exists; nobody else who asks gets an answer until the transaction ends."""
    if connection.dialect.name == "postgresql":  # SQLite's write transaction has already locked everybody else out
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _NAMES_LOCK})
    found = connection.execute(select(RUNS.c.id).where(RUNS.c.name == name)).scalars().first()
    if found is not None:
        raise BusyError(f"run {found} of that name was just started by another process; run the command again to continue it")


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


def _locked(connection: Connection, store: Store, run_id: str) -> RowMapping:
    return _locked_rows(connection, store, [run_id])[run_id]


def _locked_rows(connection: Connection, store: Store, run_ids: Sequence[str]) -> dict[str, RowMapping]:
    """The rows of these runs, which no other process can change until the transaction ends. Raises `UsageError`."""
    held = (RUNS.c.host, RUNS.c.pid, RUNS.c.process_space, RUNS.c.process_started, RUNS.c.heartbeat)
    statement = select(RUNS.c.id, RUNS.c.status, RUNS.c.step, RUNS.c.steps_per_epoch, RUNS.c.metrics, RUNS.c.seconds, *held)
    # SQLite's write transaction has locked everything already, and it ignores FOR UPDATE. The order prevents deadlocks.
    found = connection.execute(statement.where(RUNS.c.id.in_(run_ids)).order_by(RUNS.c.id).with_for_update()).mappings()
    rows = {row["id"]: row for row in found}
    for run_id in run_ids:
        if run_id not in rows:
            raise UsageError(f"the store {store.place} has no run {run_id}; `dlx runs ls` shows what it has")
    return rows


def _refuse_stranger(row: RowMapping, process: Process) -> None:
    if holder(row) != process:
        raise BusyError(
            f"run {row['id']} was resumed by process {row['pid']} on {row['host']}: this process has lost it and must stop"
        )


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
