"""Sweeps as they are seen afterwards."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from dlx.errors import Status
from dlx.events import SweepFinished
from dlx.report.plan import dimension_words
from dlx.report.tables import colored, grid
from dlx.report.words import moment, number, value_word
from dlx.store import SweepRecord

SHOWN_FAILURES = 3
"""Of a sweep that is shown; `dlx sweep export` has all."""


def sweeps_table(sweeps: Sequence[SweepRecord]) -> Table:
    """One line per sweep."""
    table = grid()
    for header in ("id", "name", "status", "started", "data", "trials", "best"):
        table.add_column(header, no_wrap=True, min_width=8 if header == "id" else None)
    for sweep in sweeps:
        done = sum(trial.status is not None for trial in sweep.trials)
        experiment = sweep.config["experiment"]
        best = sweep.ranked[0].value if sweep.ranked else None
        table.add_row(
            sweep.id,
            escape(sweep.name or ""),
            colored(sweep.status),
            moment(sweep.created),
            escape(str(experiment["data"]["kind"])),
            f"{done}/{sweep.trials_total}" if sweep.trials_total is not None else str(done),
            "" if best is None else f"{sweep.monitor} {number(best)}",
        )
    return table


def record_lines(sweep: SweepRecord, limit: int) -> Iterator[str | Table]:
    """How a sweep stands, and its best trials; of several objectives those that no other beats come first."""
    name = f" ({escape(sweep.name)})" if sweep.name else ""
    lost = "its process is gone; the same command continues" if sweep.status is Status.LOST else ""
    message = sweep.message or lost
    yield f"sweep {sweep.id}{name} {colored(sweep.status)}{': ' + escape(message) if message else ''}"
    counts = Counter(str(trial.status or "waiting") for trial in sweep.trials)
    goals = ", ".join(f"{goal.metric} ({goal.direction})" for goal in sweep.goals)
    yield f"{goals}; trials: {', '.join(f'{n} {status}' for status, n in sorted(counts.items())) or 'none'}"
    kinds = [f"{part} {sweep.config[part]['kind']}" for part in ("sampler", "pruner") if part in sweep.config]
    searched = [f"{key}={dimension_words(dimension)}" for key, dimension in sweep.config["search"].items()]
    yield escape(f"{', '.join(kinds)}; search: {', '.join(searched)}")
    at_work = [f"process {worker.pid} on {escape(worker.host)}" for worker in sweep.workers if worker.alive]
    if at_work:
        yield f"at work: {', '.join(at_work)}"
    for trial in [trial for trial in sweep.trials if trial.status is Status.FAILED][:SHOWN_FAILURES]:
        yield escape(f"trial {trial.number} failed: {trial.message}")
    several = len(sweep.goals) > 1
    front = {trial.number for trial in sweep.front} if several else set()
    seeds = any(len(trial.trainings) > 1 for trial in sweep.trials)
    keys = list(sweep.config["search"])
    table = grid()
    for header in (
        "trial",
        "run",
        *(goal.metric for goal in sweep.goals),
        *(["±"] if seeds else []),
        *(["front"] if several else []),
    ):
        run = header == "run"
        table.add_column(header, justify="left" if run else "right", no_wrap=True, min_width=8 if run else None)
    for key in keys:
        table.add_column(key, overflow="fold")
    for trial in sorted(sweep.ranked, key=lambda trial: trial.number not in front)[:limit]:
        scores = [number(value) for value in trial.values or ()]
        spread = ["" if trial.deviation is None else number(trial.deviation)] if seeds else []
        mark = ["*" if trial.number in front else ""] if several else []
        values = [escape(value_word(trial.final[key])) if key in trial.final else "" for key in keys]
        table.add_row(str(trial.number), trial.run_id or "", *scores, *spread, *mark, *values)
    if not sweep.ranked:
        return
    yield table
    if len({json.dumps(trial.params) for trial in sweep.trials}) < len(sweep.trials) and "train.seed" not in keys:
        yield "trials of the same values differ in train.seed"


def importance_table(importances: Mapping[str, float]) -> Table:
    """How much each searched value matters."""
    table = grid()
    table.add_column("key", no_wrap=True)
    table.add_column("importance", justify="right")
    for key, share in importances.items():
        table.add_row(escape(key), f"{share:.1%}")
    return table


def trials_csv(sweep: SweepRecord) -> str:
    """All trials as CSV, the searched values last."""
    keys = list(sweep.config["search"])
    metrics = [goal.metric for goal in sweep.goals]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["trial", "run", "status", *metrics, "deviation", *keys, "message"])
    for trial in sweep.trials:
        values = [json.dumps(v) if isinstance(v := trial.final.get(key, ""), list | dict) else v for key in keys]
        scores = trial.values or [None] * len(metrics)
        known = [trial.number, trial.run_id or "", trial.status or "waiting", *scores, trial.deviation]
        writer.writerow([*known, *values, trial.message])
    return out.getvalue()


def trials_json(sweep: SweepRecord) -> list[dict[str, Any]]:
    """All trials as JSON objects."""
    return [
        {
            "number": trial.number,
            "run": trial.run_id,
            "status": str(trial.status or "waiting"),
            "runs": [training.run_id for training in trial.trainings],
            "value": trial.value,
            "values": list(trial.values) if trial.values else None,
            "deviation": trial.deviation,
            "curve": trial.curve,
            "params": dict(trial.final),
            "message": trial.message,
        }
        for trial in sweep.trials
    ]


def record_json(sweep: SweepRecord) -> dict[str, Any]:
    """A sweep as one JSON object; its trials are those of `dlx sweep export`."""
    best = sweep.ranked[0] if sweep.ranked else None
    return {
        "sweep": sweep.id,
        "name": sweep.name,
        "status": str(sweep.status),
        "message": sweep.message,
        "monitor": sweep.monitor,
        "direction": sweep.direction,
        "trials": dict(Counter(str(trial.status or "waiting") for trial in sweep.trials)),
        "trials_total": sweep.trials_total,
        "best": None
        if best is None
        else {"trial": best.number, "run": best.run_id, "value": best.value, "params": dict(best.final)},
        "front": [trial.number for trial in sweep.front] if len(sweep.goals) > 1 else None,
        "workers": [vars(worker) for worker in sweep.workers if worker.alive],
        "seconds": dict(sweep.seconds),
        "config": dict(sweep.config),
    }


def sweep_json(event: SweepFinished, imported: float) -> dict[str, Any]:
    """The last word of `dlx sweep --json`; `imported` is the seconds that the imports took."""
    best = event.best
    return {
        "sweep": event.sweep,
        "status": str(event.status),
        "message": event.message,
        "trials": {str(status): count for status, count in event.trials.items()},
        "best": None
        if best is None
        else {"trial": best.number, "run": best.run, "value": best.value, "params": dict(best.params)},
        "front": [{"trial": t.number, "run": t.run, "values": list(t.values), "params": dict(t.params)} for t in event.front]
        or None,
        "programs": event.programs,
        "seconds": {"import": imported, **event.seconds},
        "path": str(event.path),
    }
