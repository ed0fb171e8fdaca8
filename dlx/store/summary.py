"""A run as the listing shows it: one row of one table, and of its config no more than is looked at."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from sqlalchemy import ColumnElement, RowMapping, Text, type_coerce

from dlx.errors import Status
from dlx.store.database import Store
from dlx.store.holding import true_status
from dlx.store.tables import RUNS, measures, parse_json


@dataclass(frozen=True)
class RunSummary:
    """A run without its environment and history.

    `created`, `finished` and `heartbeat` are seconds since the epoch. `status` is the true one: LOST where the row says
    running and the process is gone. `metrics` are the summary of a finished run over the latest values, and the latest
    values of a running one.
    """

    id: str
    name: str | None
    status: Status
    message: str
    created: float
    finished: float | None
    heartbeat: float
    step: int
    epoch: int
    steps_total: int
    steps_per_epoch: int
    lanes: int
    lane: int
    monitor: str
    direction: str
    host: str
    pid: int
    metrics: Mapping[str, float]
    runs_folder: Path = field(repr=False)
    seconds_text: str = field(repr=False)
    config_text: str = field(repr=False)

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.runs_folder / self.id

    @cached_property
    def seconds(self) -> dict[str, float]:
        """Time spent, by phase. Parsed when first asked for, as the config is."""
        return measures(parse_json(self.seconds_text))

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved experiment. Parsed when first asked for, so that listing ten thousand runs parses none."""
        return parse_json(self.config_text)


FIELDS: Final = tuple(
    each.name for each in fields(RunSummary) if each.name not in ("metrics", "runs_folder", "seconds_text", "config_text")
)
"""The fields of a summary that hold one plain value, as `--sort` and `--where` name them."""

COLUMNS: Final[tuple[ColumnElement[Any], ...]] = (
    *(RUNS.c[name] for name in FIELDS),
    RUNS.c.process_space,
    RUNS.c.process_started,
    RUNS.c.metrics,
    type_coerce(RUNS.c.seconds, Text).label("seconds_text"),
    type_coerce(RUNS.c.config, Text).label("config_text"),
)
"""What `describe` needs from `dlx_runs`."""


def describe(store: Store, row: RowMapping, now: float) -> dict[str, Any]:
    """The fields of a `RunSummary` from a row of `COLUMNS`, as they are at `now`."""
    status = true_status(row, now)
    message = row["message"]
    if status is Status.LOST and not message:
        message = f"process {row['pid']} on {row['host']} is gone since step {row['step']}, without a word"
    return {
        **{name: row[name] for name in FIELDS},
        "status": status,
        "message": message,
        "metrics": measures(row["metrics"]),
        "runs_folder": store.runs_folder,
        "seconds_text": row["seconds_text"],
        "config_text": row["config_text"],
    }
