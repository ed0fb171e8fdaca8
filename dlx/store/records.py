"""Reading runs. A record is a frozen copy of what the store said at one moment; nothing here writes."""

import difflib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, select

from dlx.errors import Status, UsageError
from dlx.store.database import Store
from dlx.store.query import parse_condition, sort_runs
from dlx.store.summary import COLUMNS, RunSummary, describe
from dlx.store.tables import METRICS, RUNS, SEGMENTS

_SHOWN: Final = 8
"""How many runs an error message names."""
_NEAREST_AMONG: Final = 2000
"""How many of the newest runs a mistyped name is compared with."""


@dataclass(frozen=True)
class Segment:
    """One stretch in which a run ran without a break. Times are seconds since the epoch; the last one may still be open."""

    started: float
    ended: float | None
    from_step: int
    to_step: int | None
    host: str
    pid: int
    device: str
    outcome: Status | None


@dataclass(frozen=True)
class RunRecord(RunSummary):
    """All that the store keeps of a run, but for the curves."""

    command: str
    environment: Mapping[str, Any]
    segments: tuple[Segment, ...]


def find_run(store: Store, text: str) -> RunRecord:
    """The run that a user means: an id, a name (the newest of that name), the unique beginning of an id, or `latest`.

    Raises `UsageError` when there is none, with the nearest names, and when several ids begin so, with the list.
    """
    with store.read() as connection:
        run_id = _newest(connection) if text == "latest" else _named_or_begun(connection, text)
        found = _load(store, connection, run_id) if run_id else None
        if found is None:
            raise UsageError(_unknown(connection, store, text))
    return found


def find_named(store: Store, name: str) -> RunRecord | None:
    """The newest run of exactly that name, if there is one."""
    with store.read() as connection:
        run_id = _newest(connection, name)
        return _load(store, connection, run_id) if run_id else None


def list_runs(
    store: Store,
    *,
    status: Status | None = None,
    name: str | None = None,
    sort: str = "-created",
    limit: int | None = None,
    where: Sequence[str] = (),
) -> list[RunSummary]:
    """The runs that meet every condition, in order (`query` has the language). Raises `UsageError` for a bad one."""
    conditions = [parse_condition(text) for text in where]
    by_time = sort in ("created", "-created")
    looks = status in (Status.RUNNING, Status.LOST)  # these two share a word in the database: only a look at the process tells
    statement = select(*COLUMNS)
    if name is not None:
        statement = statement.where(RUNS.c.name == name)
    if status is not None:
        statement = statement.where(RUNS.c.status.in_((Status.RUNNING, Status.LOST) if looks else (status,)))
    if by_time:
        order = (RUNS.c.created, RUNS.c.id)
        statement = statement.order_by(*(column.desc() for column in order) if sort.startswith("-") else order)
    if by_time and not conditions and not looks:
        statement = statement.limit(limit)
    now = time.time()
    with store.read() as connection:
        runs = [RunSummary(**describe(store, row, now)) for row in connection.execute(statement).mappings()]
    runs = [run for run in runs if status in (None, run.status) and all(condition.holds(run) for condition in conditions)]
    return (runs if by_time else sort_runs(runs, sort))[:limit]


def curves(store: Store, run_id: str, names: Sequence[str] = (), *, after: int = -1) -> dict[str, list[tuple[int, float]]]:
    """The values of each metric (all, or those named) as (step, value) in order of step, for steps above `after`."""
    statement = select(METRICS.c.name, METRICS.c.step, METRICS.c.value).where(
        METRICS.c.run_id == run_id, METRICS.c.step > after
    )
    if names:
        statement = statement.where(METRICS.c.name.in_(names))
    found: dict[str, list[tuple[int, float]]] = {}
    with store.read() as connection:
        for name, step, value in connection.execute(statement.order_by(METRICS.c.name, METRICS.c.step)):
            found.setdefault(name, []).append((step, value))
    return found


def _newest(connection: Connection, name: str | None = None) -> str | None:
    statement = select(RUNS.c.id).order_by(RUNS.c.created.desc(), RUNS.c.id.desc()).limit(1)
    if name is not None:
        statement = statement.where(RUNS.c.name == name)
    return connection.execute(statement).scalar_one_or_none()


def _named_or_begun(connection: Connection, text: str) -> str | None:
    """An exact id before a name, a name before the beginning of an id: what is typed in full is meant in full."""
    exact = connection.execute(select(RUNS.c.id).where(RUNS.c.id == text)).scalar_one_or_none() or _newest(connection, text)
    if exact or not text:
        return exact
    begun = select(RUNS.c.id, RUNS.c.name).where(RUNS.c.id.startswith(text, autoescape=True)).order_by(RUNS.c.created.desc())
    found = connection.execute(begun).all()
    if len(found) > 1:
        shown = [f"{run_id} ({name})" if name else run_id for run_id, name in found[:_SHOWN]]
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise UsageError(f"{len(found)} runs begin with {text!r}: {', '.join(shown)}{more}; type more of the id")
    return found[0].id if found else None


def _load(store: Store, connection: Connection, run_id: str) -> RunRecord | None:
    row = connection.execute(select(*COLUMNS, RUNS.c.command, RUNS.c.environment).where(RUNS.c.id == run_id)).mappings().first()
    if row is None:
        return None
    stretches = select(SEGMENTS).where(SEGMENTS.c.run_id == run_id).order_by(SEGMENTS.c.number)
    segments = tuple(
        Segment(
            started=each.started,
            ended=each.ended,
            from_step=each.from_step,
            to_step=each.to_step,
            host=each.host,
            pid=each.pid,
            device=each.device,
            outcome=Status(each.outcome) if each.outcome else None,
        )
        for each in connection.execute(stretches)
    )
    return RunRecord(
        **describe(store, row, time.time()), command=row["command"], environment=row["environment"], segments=segments
    )


def _unknown(connection: Connection, store: Store, text: str) -> str:
    newest = select(RUNS.c.id, RUNS.c.name).order_by(RUNS.c.created.desc()).limit(_NEAREST_AMONG)
    rows = connection.execute(newest).all()
    if not rows:
        return f"the store {store.place} has no runs yet; `dlx train` makes the first"
    # dict.fromkeys keeps the newest first and drops repetitions.
    known = dict.fromkeys([row.name for row in rows if row.name] + [row.id for row in rows])
    near = difflib.get_close_matches(text, known, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; `dlx runs ls` shows what it has"
    return f"the store {store.place} has no run {text!r}{hint}"
