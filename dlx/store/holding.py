"""Who holds a run. Exactly one live process may; a run whose holder is gone is lost, whatever its row says."""

from typing import Any, Final

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from dlx.errors import BusyError, Status
from dlx.store.process import Process, is_alive
from dlx.store.tables import SEGMENTS

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
    alive = is_alive(holder(row))
    if alive is None:
        alive = now - row["heartbeat"] <= LOST_SECONDS
    return Status.RUNNING if alive else Status.LOST


def refuse_if_running(row: RowMapping, now: float) -> None:
    """Raises `BusyError` when a live process holds the run."""
    if true_status(row, now) is Status.RUNNING:
        raise BusyError(f"run {row['id']} is running: process {row['pid']} on {row['host']} holds it; stop that process first")


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
