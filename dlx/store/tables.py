"""The tables as queries see them, and how values are written. `migrations` makes them; a test keeps the two equal."""
# ruff: noqa: ARG002 (SQLAlchemy hands every coder the dialect)

import json
import math
from typing import Any

from pydantic_core import from_json
from sqlalchemy import BigInteger, Dialect, Double, Text, column, table
from sqlalchemy.types import TypeDecorator


class Words(TypeDecorator[str]):
    """Text from outside. NUL becomes U+FFFD and half a surrogate pair `?`: no database holds them."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """What goes into the database."""
        return None if value is None else value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


class Measure(TypeDecorator[float]):
    """A measured number. NULL is NaN, in both databases, because SQLite turns one into the other; infinities are themselves."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        """What goes into the database."""
        return None if value is None or math.isnan(value) else float(value)

    def process_result_value(self, value: float | None, dialect: Dialect) -> float:
        """What comes out of it."""
        return math.nan if value is None else value


class Json(TypeDecorator[Any]):
    """A tree of plain values as strict JSON, so that json_extract and jq can read it too.

    JSON has no word for a number that is not finite: those are the strings "NaN", "Infinity" and "-Infinity", which
    `float` (and pydantic, for a field of that type) reads back.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        """What goes into the database."""
        try:
            return json.dumps(value, allow_nan=False)
        except ValueError:
            return json.dumps(_finite(value), allow_nan=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """What comes out of it."""
        return None if value is None else parse_json(value)


def parse_json(text: str) -> Any:
    """A tree that `Json` wrote. pydantic's parser takes a third of the time of Python's: a long listing is little else."""
    try:
        return from_json(text)
    except ValueError:  # it refuses half a surrogate pair, as the name of a file can have
        return json.loads(text)


def measures(stored: dict[str, Any]) -> dict[str, float]:
    """Metrics or seconds as `Json` gave them back, as numbers again."""
    return {name: float(value) for name, value in stored.items()}


def _finite(value: Any) -> Any:
    match value:
        case float() if math.isnan(value):
            return "NaN"
        case float() if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        case dict():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
        case _:
            return value


# `table` and not `Table`: these are names for queries, with no MetaData behind them that could change.
# created, finished and heartbeat are seconds since the epoch. The big columns come last, where SQLite can leave them unread.
RUNS = table(
    "dlx_runs",
    column("id", Text),
    column("name", Words),
    column("status", Words),
    column("message", Words),
    column("created", Double),
    column("finished", Double),
    column("heartbeat", Double),
    column("step", BigInteger),
    column("epoch", BigInteger),
    column("steps_total", BigInteger),
    column("steps_per_epoch", BigInteger),
    column("lanes", BigInteger),
    column("lane", BigInteger),
    column("monitor", Words),
    column("direction", Words),
    column("host", Words),
    column("pid", BigInteger),
    column("process_space", Words),
    column("process_started", BigInteger),
    column("metrics", Json),
    column("seconds", Json),
    column("config", Json),
    column("command", Words),
    column("environment", Json),
)

METRICS = table(
    "dlx_metrics",
    column("run_id", Text),
    column("name", Words),
    column("step", BigInteger),
    column("value", Measure),
)

SEGMENTS = table(
    "dlx_segments",
    column("run_id", Text),
    column("number", BigInteger),
    column("started", Double),
    column("ended", Double),
    column("from_step", BigInteger),
    column("to_step", BigInteger),
    column("host", Words),
    column("pid", BigInteger),
    column("device", Words),
    column("outcome", Words),
)

SWEEPS = table(
    "dlx_sweeps",
    column("id", Text),
    column("name", Words),
    column("status", Words),
    column("message", Words),
    column("created", Double),
    column("finished", Double),
    column("trials_total", BigInteger),
    column("monitor", Words),
    column("direction", Words),
    column("seconds", Json),
    column("config", Json),
    column("command", Words),
)

# A process that works on a sweep, or did: `ended` is NULL while it does.
WORKERS = table(
    "dlx_workers",
    column("sweep", Text),
    column("number", BigInteger),
    column("host", Words),
    column("pid", BigInteger),
    column("process_space", Words),
    column("process_started", BigInteger),
    column("heartbeat", Double),
    column("started", Double),
    column("ended", Double),
)

# A row for each seed of a trial. One without a status waits, or is in training by `worker`. `params` are the searched values
# by their dotted keys, `value` and `others` the objectives in order, `curve` the best value so far by evaluation, `notes`
# what the sampler wants to remember.
TRIALS = table(
    "dlx_trials",
    column("sweep", Text),
    column("number", BigInteger),
    column("seed", BigInteger),
    column("run_id", Text),
    column("worker", BigInteger),
    column("status", Words),
    column("value", Measure),
    column("others", Json),
    column("curve", Json),
    column("message", Words),
    column("params", Json),
    column("notes", Json),
)
