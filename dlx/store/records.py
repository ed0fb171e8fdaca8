"""Reading runs. A record is a frozen copy of what the store said at one moment; nothing here writes."""

import difflib
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, bindparam, func, select

from dlx.errors import Status, UsageError
from dlx.store.conditions import Key, sort_runs
from dlx.store.database import Store
from dlx.store.query import nearest_keys, parse_condition, parse_sort
from dlx.store.summary import COLUMNS, RunSummary, describe
from dlx.store.tables import METRICS, RUNS, SEGMENTS

_SHOWN: Final = 8
"""How many runs an error message names."""
_NEAREST_AMONG: Final = 20_000
"""How many of the newest runs a mistyped name is compared with."""
_KEYS_FROM: Final = 100
"""How many of the newest runs tell which keys there are, when one was mistyped."""
_ID: Final = re.compile(r"[0-9a-f]{1,8}", re.IGNORECASE)


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
    return list(listing(store, status=status, name=name, sort=sort, limit=limit, where=where).runs)


@dataclass(frozen=True)
class Listing:
    """The first runs that meet the conditions, in order, and how many meet them in all."""

    runs: Sequence[RunSummary]
    total: int
    advice: str = ""
    """Where there are none: the keys that no run has, and what may have been meant."""


def listing(
    store: Store,
    *,
    status: Status | None = None,
    name: str | None = None,
    sort: str = "-created",
    limit: int | None = None,
    where: Sequence[str] = (),
) -> Listing:
    """`list_runs`, with the number of all runs that meet the conditions. Raises the same."""

    def known() -> list[str]:
        return _known_keys(store)

    conditions = [parse_condition(text, known) for text in where]
    key, descending = parse_sort(sort, known)
    by_time = key.path == ("created",)
    looks = status in (Status.RUNNING, Status.LOST)  # these two share a word in the database: only a look at the process tells
    meant = []
    if name is not None:
        meant.append(RUNS.c.name == name)
    if status is not None:
        meant.append(RUNS.c.status.in_((Status.RUNNING, Status.LOST) if looks else (status,)))
    statement = select(*COLUMNS).where(*meant)
    if by_time:
        order = (RUNS.c.created, RUNS.c.id)
        statement = statement.order_by(*(column.desc() for column in order) if descending else order)
    cut = limit is not None and by_time and not conditions and not looks
    now = time.time()
    with store.read() as connection:
        found = connection.execute(statement.limit(limit) if cut else statement).mappings().all()
        runs = [RunSummary(**describe(store, row, now)) for row in found]
        if cut:
            total = connection.execute(select(func.count()).select_from(RUNS).where(*meant)).scalar_one()
            return Listing(runs, total)
    runs = [run for run in runs if status in (None, run.status) and all(condition.holds(run) for condition in conditions)]
    ordered = runs if by_time else sort_runs(runs, key, descending=descending)
    absent = () if runs else [key for condition in conditions for key in condition.keys()]  # noqa: SIM118 (no mapping)
    return Listing(ordered[:limit], len(runs), _advice(absent, known()) if absent else "")


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


def stream_curves(store: Store, run_ids: Iterable[str]) -> Iterator[tuple[str, str, int, float]]:
    """The (run, metric, step, value) of many runs, run after run as they are given, in memory for one; all from one moment."""
    of_one = select(METRICS.c.name, METRICS.c.step, METRICS.c.value).where(METRICS.c.run_id == bindparam("id"))
    ordered = of_one.order_by(METRICS.c.name, METRICS.c.step)
    with store.read() as connection:
        for run_id in run_ids:
            for name, step, value in connection.execute(ordered, {"id": run_id}).all():
                yield run_id, name, step, value


def _known_keys(store: Store) -> list[str]:
    """The keys that the newest runs have, as `--where` writes them."""
    found: dict[str, None] = {}
    for run in list_runs(store, limit=_KEYS_FROM):
        found |= dict.fromkeys(name if "/" in name else f"metrics.{name}" for name in run.metrics)
        found |= dict.fromkeys(f"config.{path}" for path in _paths(run.config))
        found |= dict.fromkeys(f"seconds.{phase}" for phase in run.seconds)
    return list(found)


def _paths(tree: Mapping[str, Any]) -> Iterator[str]:
    for key, value in tree.items():
        yield key
        if isinstance(value, Mapping):
            yield from (f"{key}.{path}" for path in _paths(value))


def _advice(keys: Sequence[Key], known: Sequence[str]) -> str:
    """What to write in place of keys that no run has; a field every run has."""
    sentences = []
    for key in dict.fromkeys(keys):
        canonical = key.path[1] if key.path[0] == "metrics" and "/" in key.path[1] else ".".join(key.path)
        if len(key.path) > 1 and canonical not in known:
            near = nearest_keys(canonical, known)
            sentences.append(f"no run has {canonical}" + (f" (did you mean {' or '.join(near)}?)" if near else ""))
    return "; ".join(sentences)


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
    # dict.fromkeys keeps the newest first and drops repetitions. What no id looks like is compared with names only.
    known = dict.fromkeys([row.name for row in rows if row.name] + [row.id for row in rows if _ID.fullmatch(text)])
    near = difflib.get_close_matches(text, known, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; `dlx runs ls` shows what it has"
    return f"the store {store.place} has no run {text!r}{hint}"
