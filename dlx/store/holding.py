"""Who holds a run. Exactly one live process may; a run whose holder is gone is lost, whatever its row says."""

import time
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, RowMapping, TableClause, func, insert, select, update

from dlx.errors import BusyError, Status, UsageError
from dlx.store.database import Store
from dlx.store.process import Process, is_alive, this_process
from dlx.store.tables import RUNS, SEGMENTS, WORKERS

LOST_SECONDS: Final = 120.0
"""After so many seconds without a heartbeat a process that cannot be seen from here counts as gone."""


def held_by(process: Process, now: float) -> dict[str, Any]:
    """The columns that say who holds a run since `now` (seconds since the epoch)."""
    return {
        "host": process.host,
        "pid": process.pid,
        "process_space": process.space,
        "process_started": process.started,
        "heartbeat": now,
    }


def holder(row: RowMapping) -> Process:
    """The process that held the run last."""
    return Process(host=row["host"], pid=row["pid"], space=row["process_space"], started=row["process_started"])


def true_status(row: RowMapping, now: float) -> Status:
    """The run's status as it is at `now`: a run that is called running while its process is gone is LOST.

    A process on this machine is asked for; one elsewhere is judged by its heartbeat, so clocks may differ by less than
    `LOST_SECONDS`.
    """
    status = Status(row["status"])
    if status is not Status.RUNNING:
        return status
    return Status.RUNNING if still_lives(row, now) else Status.LOST


def still_lives(row: RowMapping, now: float) -> bool:
    """Whether the process that a row names is there at `now`."""
    alive = is_alive(holder(row))
    return now - row["heartbeat"] <= LOST_SECONDS if alive is None else alive


def refuse_if_running(row: RowMapping, now: float) -> None:
    """Raises `BusyError` when a live process holds the run."""
    if true_status(row, now) is Status.RUNNING:
        raise BusyError(f"run {row['id']} is running: process {row['pid']} on {row['host']} holds it; stop that process first")


def locked_run(connection: Connection, store: Store, run_id: str) -> RowMapping:
    """`locked_runs` for one."""
    return locked_runs(connection, store, [run_id])[run_id]


def locked_runs(connection: Connection, store: Store, run_ids: Sequence[str]) -> dict[str, RowMapping]:
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


def refuse_stranger(row: RowMapping, process: Process) -> None:
    """Raises `BusyError` unless that process holds the run."""
    if holder(row) != process:
        raise BusyError(
            f"run {row['id']} was resumed by process {row['pid']} on {row['host']}: this process has lost it and must stop"
        )


def heartbeat(store: Store) -> None:
    """Says that this process still works on all that it holds. Due every 30 s or so: others give up after 120 s."""
    with store.write() as connection:
        # In the order in which `locked_runs` takes them, or the two would wait for one another for ever.
        held = select(RUNS.c.id).where(RUNS.c.status == Status.RUNNING, _mine(RUNS)).order_by(RUNS.c.id).with_for_update()
        ids = connection.execute(held).scalars().all()
        connection.execute(update(RUNS).where(RUNS.c.id.in_(ids)).values(heartbeat=time.time()))
        beat_workers(connection)


def beat_workers(connection: Connection) -> None:
    """Says that this process still works on its sweep: whose runs live lives too."""
    connection.execute(update(WORKERS).where(WORKERS.c.ended.is_(None), _mine(WORKERS)).values(heartbeat=time.time()))


def _mine(table: TableClause) -> ColumnElement[bool]:
    process = this_process()
    own = (table.c.pid == process.pid) & (table.c.process_space == process.space)
    return own & (table.c.process_started == process.started)


def open_segment(connection: Connection, run_id: str, *, step: int, device: str, process: Process, now: float) -> None:
    """Begins the record of a stretch of running, after `step`."""
    count = select(func.count()).select_from(SEGMENTS).where(SEGMENTS.c.run_id == run_id)
    connection.execute(
        insert(SEGMENTS).values(
            run_id=run_id,
            number=connection.execute(count).scalar_one(),
            started=now,
            from_step=step,
            host=process.host,
            pid=process.pid,
            device=device,
        )
    )


def move_segment(connection: Connection, run_id: str, *, step: int) -> None:
    """Says after which step the open stretch of a run really began."""
    connection.execute(update(SEGMENTS).where(SEGMENTS.c.run_id == run_id, SEGMENTS.c.ended.is_(None)).values(from_step=step))


def close_segment(connection: Connection, run_id: str, *, ended: float, step: int, outcome: Status) -> None:
    """Ends the open stretch of a run, if it has one."""
    connection.execute(
        update(SEGMENTS)
        .where(SEGMENTS.c.run_id == run_id, SEGMENTS.c.ended.is_(None))
        .values(ended=ended, to_step=step, outcome=outcome)
    )
