"""Writing runs: what they measured, how they ended. Every function is one transaction.

A run is held by one process at a time. Each write checks that, so that a process that was away for long (a suspended
laptop, a cut network) and whose run another one has resumed stops instead of mixing two trainings into one record.
"""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import bindparam, delete, update

from dlx.errors import CannotWriteError, Status
from dlx.store.database import Store
from dlx.store.holding import (
    beat_workers,
    close_segment,
    locked_run,
    locked_runs,
    refuse_if_running,
    refuse_stranger,
    true_status,
)
from dlx.store.process import this_process
from dlx.store.starts import check_name
from dlx.store.tables import RUNS


@dataclass(frozen=True)
class RunUpdate:
    """What one run measured at one step. `epoch` counts completed epochs."""

    run_id: str
    step: int
    epoch: int
    metrics: Mapping[str, float] = field(default_factory=dict)


def record(store: Store, entries: Sequence[RunUpdate]) -> None:
    """Stores what many runs measured, in one transaction; a value already there at that step is replaced.

    Raises `BusyError` when a run is no longer held by this process, `UsageError` when it is not in the store any more.
    """
    if not entries:
        return
    now, process = time.time(), this_process()
    # Rows as the driver takes them: SQLAlchemy's handling would take twice as long as the database. NaN is NULL, as
    # `Measure` has it.
    values = [
        (entry.run_id, name, entry.step, float(value) if value == value else None)
        for entry in entries
        for name, value in entry.metrics.items()
    ]
    with store.write() as connection:
        rows = locked_runs(connection, store, sorted({entry.run_id for entry in entries}))
        for row in rows.values():
            refuse_stranger(row, process)
        latest = {run_id: dict(row["metrics"]) for run_id, row in rows.items()}
        for entry in entries:
            latest[entry.run_id].update(entry.metrics)
        last = {entry.run_id: entry for entry in entries}
        if values:
            mark = "?" if connection.dialect.name == "sqlite" else "%s"
            connection.exec_driver_sql(_UPSERT.format(", ".join([mark] * 4)), values)
        connection.execute(
            update(RUNS)
            .where(RUNS.c.id == bindparam("run_id"))
            .values(step=bindparam("at_step"), epoch=bindparam("at_epoch"), metrics=bindparam("latest"), heartbeat=now),
            [
                {"run_id": run_id, "at_step": entry.step, "at_epoch": entry.epoch, "latest": latest[run_id]}
                for run_id, entry in last.items()
            ],
        )
        beat_workers(connection)


@dataclass(frozen=True)
class Ending:
    """How a run ended. `metrics` are its summary, such as `test/accuracy` at the best weights; `seconds` are by phase.

    The summary is kept with the run, over the latest values, and not in the curves: it need not belong to the last step.
    """

    run_id: str
    status: Status
    message: str
    step: int
    epoch: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


def finish_runs(store: Store, endings: Sequence[Ending]) -> None:
    """Closes runs with their outcomes, in one transaction. Seconds are added to those of earlier segments.

    Raises `BusyError` when another process took a run, also when that one has ended it since; a run that died with its
    process may be closed by anybody.
    """
    now, process = time.time(), this_process()
    with store.write() as connection:
        rows = locked_runs(connection, store, sorted({ending.run_id for ending in endings}))
        for ending in endings:
            row = rows[ending.run_id]
            if true_status(row, now) is not Status.LOST:
                refuse_stranger(row, process)
            added = {phase: row["seconds"].get(phase, 0.0) + value for phase, value in ending.seconds.items()}
            connection.execute(
                update(RUNS)
                .where(RUNS.c.id == ending.run_id)
                .values(
                    status=ending.status,
                    message=ending.message,
                    finished=now,
                    heartbeat=now,
                    step=ending.step,
                    epoch=ending.epoch,
                    metrics={**row["metrics"], **ending.metrics},
                    seconds={**row["seconds"], **added},
                )
            )
            close_segment(connection, ending.run_id, ended=now, step=ending.step, outcome=ending.status)


def rename_run(store: Store, run_id: str, name: str | None) -> None:
    """Gives a run another name, or none. Raises `UsageError` for a bad name or an unknown run."""
    check_name(name)
    with store.write() as connection:
        locked_run(connection, store, run_id)
        connection.execute(update(RUNS).where(RUNS.c.id == run_id).values(name=name))


def delete_run(store: Store, run_id: str) -> None:
    """Removes a run's row, metrics, segments and folder. Raises `BusyError` for a live one, `UsageError` for an unknown one."""
    with store.write() as connection:
        refuse_if_running(locked_run(connection, store, run_id), time.time())
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


_UPSERT: Final = (
    "INSERT INTO dlx_metrics (run_id, name, step, value) VALUES ({}) "
    "ON CONFLICT (run_id, name, step) DO UPDATE SET value = excluded.value"
)
