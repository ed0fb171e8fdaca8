"""Sweeps as they are seen: live, in a log, and afterwards."""

import csv
import io
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from dlx.errors import Status
from dlx.events import CohortStarted, Event, Measured, Notice, SweepEvent, SweepFinished, SweepStarted, TrialFinished
from dlx.report.tables import colored, grid
from dlx.report.words import moment, number, plural, seconds
from dlx.store import SweepRecord

SHOWN_FAILURES = 3
"""Of a sweep that is shown; `dlx sweep export` has all."""


def watch_sweep(
    events: Iterator[Event | SweepEvent], console: Console, *, quiet: bool = False, verbose: bool = False
) -> SweepFinished:
    """Drains a sweep's events into a view and returns its last one."""
    view = _Lines(console, quiet=quiet, verbose=verbose)
    with _bar(console, shown=console.is_terminal and not quiet) as bar:
        trials = bar.add_task("trials", total=None, detail="")
        steps = bar.add_task("steps", total=None, detail="")
        for event in events:
            match event:
                case SweepStarted():
                    bar.update(trials, total=event.total, completed=event.done)
                case CohortStarted():
                    bar.update(
                        steps, total=event.total_steps, completed=0, detail=f"{plural(len(event.trials), 'trial')} at once"
                    )
                case Measured():
                    bar.update(steps, completed=event.step)
                case TrialFinished():
                    bar.advance(trials)
                    if event.best and event.value is not None:
                        bar.update(trials, detail=f"best {number(event.value)}")
            view.show(event)
            if isinstance(event, SweepFinished):
                finished = event
    view.end(finished)
    return finished


class _Lines:
    """A line for what somebody reads the next morning: cohorts, better trials, failures."""

    def __init__(self, console: Console, *, quiet: bool, verbose: bool) -> None:
        self.console, self.quiet, self.verbose = console, quiet, verbose
        self.started: SweepStarted | None = None
        self.began = time.monotonic()

    def show(self, event: Event | SweepEvent) -> None:
        """Quiet leaves only notices."""
        match event:
            case Notice():
                self._say(f"note: {event.text}")
            case SweepStarted() if not self.quiet:
                self.started = event
                name = f" ({event.name})" if event.name else ""
                total = plural(event.total, "trial") if event.total is not None else "trials until the time is up"
                done = f", {event.done} of them done" if event.done else ""
                better = "highest" if event.maximize else "lowest"
                searched = plural(event.dimensions, "value")
                self._say(
                    f"sweep {event.sweep}{name}: {total}{done}, {searched} searched for the {better} {event.monitor}, {event.device}"
                )
            case CohortStarted() if not self.quiet:
                size = f"{plural(len(event.trials), 'trial')} ({_span(event.trials)})"
                known = ", compiled before" if event.compiled else ""
                self._say(
                    f"{seconds(time.monotonic() - self.began)}: {size} on {plural(event.lanes, 'lane')}, {event.parameters:,} parameters each{known}"
                )
            case TrialFinished() if not self.quiet and (event.best or self.verbose):
                self._say(
                    f"trial {event.number} {event.status}{_score(event.value)}{', the best so far' if event.best else ''}: {_params(event.params)}"
                )

    def end(self, event: SweepFinished) -> None:
        """The last word, also for cron's mail when it is bad news."""
        if self.quiet and event.status.exit_code == 0:
            return
        counts = ", ".join(f"{count} {status}" for status, count in sorted(event.trials.items()))
        self.console.print(
            f"sweep {event.sweep} {colored(event.status)}: {escape(event.message)} ({counts or 'none begun'}), "
            f"{plural(event.programs, 'program')}, {seconds(time.monotonic() - self.began)}"
        )
        if event.best is not None and event.best.value is not None:
            monitor = f"{self.started.monitor} " if self.started is not None else ""
            self.console.print(
                f"best trial {event.best.number}: {monitor}{number(event.best.value)}  {escape(_params(event.best.params))}"
            )
            self.console.print(
                f"`dlx train --from {event.sweep}` trains it as a run of its own; `dlx sweep show {event.sweep}` has the others"
            )

    def _say(self, text: str) -> None:
        self.console.print(escape(text), soft_wrap=not self.console.is_terminal)


def sweeps_table(sweeps: Sequence[SweepRecord]) -> Table:
    """One line per sweep."""
    table = grid()
    for header in ("id", "name", "status", "started", "data", "trials", "best"):
        table.add_column(header, no_wrap=True)
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


def record_lines(sweep: SweepRecord, limit: int) -> Iterator[RenderableType]:
    """How a sweep stands, and its best trials."""
    name = f" ({escape(sweep.name)})" if sweep.name else ""
    yield f"sweep {sweep.id}{name} {colored(sweep.status)}{': ' + escape(sweep.message) if sweep.message else ''}"
    counts = Counter(str(trial.status or "waiting") for trial in sweep.trials)
    yield f"{sweep.monitor} ({sweep.direction}); trials: {', '.join(f'{n} {status}' for status, n in sorted(counts.items())) or 'none'}"
    for trial in [trial for trial in sweep.trials if trial.status is Status.FAILED][:SHOWN_FAILURES]:
        yield escape(f"trial {trial.number} failed: {trial.message}")
    table = grid()
    for header in ("trial", "run", sweep.monitor):
        table.add_column(header, justify="right" if header != "run" else "left", no_wrap=True)
    keys = list(sweep.config["search"])
    for key in keys:
        table.add_column(key, overflow="fold")
    for trial in sweep.ranked[:limit]:
        values = [_word(trial.params[key]) if key in trial.params else "" for key in keys]
        table.add_row(str(trial.number), trial.run_id or "", number(trial.value or 0.0), *(escape(value) for value in values))
    yield table


def trials_csv(sweep: SweepRecord) -> str:
    """All trials as CSV, the searched values last."""
    keys = list(sweep.config["search"])
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["trial", "run", "status", sweep.monitor, *keys, "message"])
    for trial in sweep.trials:
        values = [json.dumps(v) if isinstance(v := trial.params.get(key, ""), list | dict) else v for key in keys]
        writer.writerow([trial.number, trial.run_id or "", trial.status or "waiting", trial.value, *values, trial.message])
    return out.getvalue()


def trials_json(sweep: SweepRecord) -> list[dict[str, Any]]:
    """All trials as JSON objects."""
    return [
        {
            "number": trial.number,
            "run": trial.run_id,
            "status": str(trial.status or "waiting"),
            "value": trial.value,
            "params": dict(trial.params),
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
        else {"trial": best.number, "run": best.run_id, "value": best.value, "params": dict(best.params)},
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
        "programs": event.programs,
        "seconds": {"import": imported, **event.seconds},
        "path": str(event.path),
    }


def _bar(console: Console, *, shown: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=24),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeElapsedColumn(),
        TextColumn("{task.fields[detail]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
        console=console,
        transient=True,
        disable=not shown,
    )


def _span(numbers: Sequence[int]) -> str:
    """`0-63`, or `3, 5, 9` where there are gaps."""
    if len(numbers) > 1 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]}-{numbers[-1]}"
    return ", ".join(str(n) for n in numbers[:8]) + (", ..." if len(numbers) > 8 else "")


def _score(value: float | None) -> str:
    return "" if value is None else f" {number(value)}"


def _params(params: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={_word(value)}" for key, value in params.items())


def _word(value: Any) -> str:
    """As it is typed in an override."""
    match value:
        case bool() | None | list() | dict():
            return json.dumps(value)
        case float():
            return f"{value:.4g}"
    return str(value)
