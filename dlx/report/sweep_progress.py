"""A sweep as it is seen while it runs: a small live table on a terminal, plain lines in a log."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from dlx.errors import Status
from dlx.events import (
    CohortStarted,
    Compiled,
    Compiling,
    DataLoaded,
    Event,
    Measured,
    Notice,
    RungReached,
    SweepEvent,
    SweepFinished,
    SweepStarted,
    TrialFinished,
)
from dlx.report.tables import colored
from dlx.report.words import data_lines, number, plural, seconds, value_word

SHOWN_ON_THE_FRONT = 12
"""Of a search with several objectives; `dlx sweep show` has all."""


def watch_sweep(
    events: Iterator[Event | SweepEvent], console: Console, *, quiet: bool = False, verbose: bool = False
) -> SweepFinished:
    """Drains a sweep's events into a view and returns its last one."""
    lines = _Lines(console, quiet=quiet, verbose=verbose)
    board = _Board()
    with (
        Live(
            get_renderable=board.table, console=console, transient=True, refresh_per_second=4, auto_refresh=console.is_terminal
        )
        if console.is_terminal and not quiet
        else _Nothing()
    ):
        for event in events:
            board.show(event)
            lines.show(event)
            if isinstance(event, SweepFinished):
                finished = event
    lines.end(finished)
    return finished


class _Nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


class _Board:
    """The numbers that move: trials, the best, the cohort in training, speed and the time left."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.started: SweepStarted | None = None
        self.statuses: Counter[Status] = Counter()
        self.best: TrialFinished | None = None
        self.cohort: CohortStarted | None = None
        self.doing, self.step, self.going = "starting", 0, 0
        self.compiling_since: float | None = None
        self.compiled = 0.0

    def show(self, event: Event | SweepEvent) -> None:
        """Takes an event into account."""
        match event:
            case SweepStarted():
                self.started, self.began = event, time.monotonic()
            case CohortStarted():
                self.cohort, self.step, self.going = event, event.step, len(event.trials)
            case RungReached():
                self.going = event.going
            case Compiling():
                self.doing, self.compiling_since = f"compiling {event.program}", time.monotonic()
            case Compiled() if self.compiling_since is not None:
                self.compiled += time.monotonic() - self.compiling_since
                self.compiling_since = None
            case Measured():
                self.doing, self.step = "training", event.step
            case TrialFinished():
                self.statuses[event.status] += 1
                if event.best:
                    self.best = event

    def table(self) -> RenderableType:
        """The table as it stands."""
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        if self.started is None:
            table.add_row("sweep", "starting")
            return table
        new, passed = self.statuses.total(), max(1e-9, time.monotonic() - self.began)
        done = self.started.done + new
        total = f" of {self.started.total}" if self.started.total is not None else ""
        ended = ", ".join(f"{count} {status}" for status, count in sorted(self.statuses.items()))
        table.add_row("trials", f"{done}{total}" + (f"  ({escape(ended)})" if ended else ""))
        if self.best is not None and self.best.value is not None:
            table.add_row(
                "best", f"{number(self.best.value)}  trial {self.best.number}  {escape(params_words(self.best.params))}"
            )
        if self.cohort is not None:
            lanes = f"{plural(self.going, 'trial')} on {plural(self.cohort.lanes, 'lane')}"
            table.add_row("cohort", f"{self.doing}: {lanes}, step {self.step:,} of {self.cohort.total_steps:,}")
        speed = f"{new / passed:.2g} trials/s, " if new else ""
        table.add_row(
            "time", f"{speed}{seconds(passed)} so far, compiling {seconds(self.compiled)}{self._left(done, new, passed)}"
        )
        return table

    def _left(self, done: int, new: int, passed: float) -> str:
        if self.started is None or self.started.total is None or not new:
            return ""
        return f", about {seconds(passed / new * max(0, self.started.total - done))} left"


class _Lines:
    """A line for what somebody reads the next morning: cohorts, rungs, better trials, failures."""

    def __init__(self, console: Console, *, quiet: bool, verbose: bool) -> None:
        self.console, self.quiet, self.verbose = console, quiet, verbose
        self.started: SweepStarted | None = None
        self.began = time.monotonic()

    def show(self, event: Event | SweepEvent) -> None:
        """Quiet leaves only notices."""
        match event:
            case Notice():
                self._say(f"note: {event.text}")
            case DataLoaded() if not self.quiet:
                for line in data_lines(event):
                    self._say(line)
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
            case CohortStarted() if not self.quiet and (self.verbose or not event.step or not event.compiled):
                size = f"{plural(len(event.trials), 'trial')} ({_span(event.trials)})"
                known = ", compiled before" if event.compiled else ""
                since = f" from step {event.step}" if event.step else ""
                self._say(
                    f"{seconds(time.monotonic() - self.began)}: {size} on {plural(event.lanes, 'lane')}{since}, "
                    f"{event.parameters:,} parameters each{known}"
                )
            case RungReached() if not self.quiet and event.pruned:
                self._say(
                    f"{seconds(time.monotonic() - self.began)}: evaluation {event.evaluation} of {event.evaluations}: "
                    f"{plural(len(event.pruned), 'trial')} pruned, {event.going} going on"
                )
            case TrialFinished() if not self.quiet and (event.best or self.verbose):
                best = ", the best so far" if event.best else ""
                self._say(f"trial {event.number} {event.status}{score_words(event)}{best}: {params_words(event.params)}")

    def end(self, event: SweepFinished) -> None:
        """The last word, also for cron's mail when it is bad news."""
        if self.quiet and event.status.exit_code == 0:
            return
        counts = ", ".join(f"{count} {status}" for status, count in sorted(event.trials.items()))
        self.console.print(
            f"sweep {event.sweep} {colored(event.status)}: {escape(event.message)} ({counts or 'none ended'}), "
            f"{plural(event.programs, 'program')}, {seconds(time.monotonic() - self.began)}"
        )
        if event.best is not None and event.best.value is not None:
            monitor = f" {self.started.monitor}" if self.started is not None else ""
            for trial in event.front[:SHOWN_ON_THE_FRONT] or (event.best,):
                role = "on the front" if event.front else "best"
                self.console.print(
                    f"{role}: trial {trial.number}{monitor}{score_words(trial)}  {escape(params_words(trial.params))}",
                    soft_wrap=not self.console.is_terminal,
                )
            self.console.print(
                f"`dlx train --from {event.sweep}` trains it as a run of its own; `dlx sweep show {event.sweep}` has the others"
            )

    def _say(self, text: str) -> None:
        self.console.print(escape(text), soft_wrap=not self.console.is_terminal)


def params_words(params: Mapping[str, Any]) -> str:
    """Searched values as they are typed in overrides."""
    return " ".join(f"{key}={value_word(value)}" for key, value in params.items())


def score_words(trial: TrialFinished) -> str:
    """A trial's objectives, with the deviation over its seeds."""
    if trial.value is None:
        return ""
    spread = f" ± {number(trial.deviation)}" if trial.deviation is not None else ""
    return f" {number(trial.value)}{spread}" + "".join(f", {number(value)}" for value in trial.values[1:])


def _span(numbers: Sequence[int]) -> str:
    """`0-63`, or `3, 5, 9` where there are gaps."""
    if len(numbers) > 1 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]}-{numbers[-1]}"
    return ", ".join(str(n) for n in numbers[:8]) + (", ..." if len(numbers) > 8 else "")
