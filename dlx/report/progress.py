"""Training as it is seen: a live bar on a terminal, plain lines at a steady rate in a log."""

import time
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from dlx.events import Checkpointed, Compiled, Compiling, DataLoaded, Evaluated, Event, Finished, Measured, Notice, Started
from dlx.report.tables import finished_lines, metric_words
from dlx.report.words import data_lines, plural, seconds

BAR_WIDTH = 110
"""Columns of a terminal below which the bar itself gives way to the numbers."""
LINE_SECONDS = 5.0
"""Without a terminal at most one line in so many seconds, so that a night's log stays readable."""


def watch(events: Iterator[Event], console: Console, *, quiet: bool = False, verbose: bool = False) -> Finished:
    """Drains a run's events into a view and returns its last one."""
    lines = Lines(console, verbose=verbose)
    live = console.is_terminal and not quiet
    with Bar(console, lines) if live else _Plain(lines, quiet=quiet) as view:
        for event in events:
            view.show(event)
            if isinstance(event, Finished):
                finished = event
    return finished


class Lines:
    """What both views write as plain lines."""

    def __init__(self, console: Console, *, verbose: bool) -> None:
        self.console, self.verbose = console, verbose
        self.started: Started | None = None
        self.began = time.monotonic()
        self.split_metrics: dict[str, dict[str, float]] = {}
        self.best_step: int | None = None

    def event(self, event: Event) -> None:
        """Everything but the progress itself."""
        match event:
            case DataLoaded():
                for line in data_lines(event):
                    self.say(line)
            case Notice():
                self.say(f"note: {event.text}")
            case Started():
                self.started = event
                name = f" ({event.name})" if event.name else ""
                self.say(
                    f"run {event.run}{name}: {event.parameters:,} parameters, {plural(event.total_steps, 'step')} of "
                    f"{event.batch_size} examples, {event.device}"
                )
                if event.resumed:
                    self.say(f"continuing at step {event.step}")
            case Compiled() if self.verbose:
                self.say(f"compiled {event.program} at {seconds(time.monotonic() - self.began)}")
            case Checkpointed() if self.verbose:
                self.say(f"checkpoint at step {event.step}: {event.paths[0]}")
            case Evaluated() if event.best_steps:
                self.split_metrics[event.split] = dict(event.metrics[0])
                self.best_step = event.best_steps[0]
            case Finished():
                for line in finished_lines(event, self.split_metrics, self.best_step, self.started):
                    self.console.print(line)

    def say(self, text: str) -> None:
        """One line; the user's own words in it are never markup."""
        self.console.print(escape(text), soft_wrap=not self.console.is_terminal)


class _Plain:
    """Lines only: for cron, files, pipes."""

    def __init__(self, lines: Lines, *, quiet: bool) -> None:
        self.lines, self.quiet = lines, quiet
        self.last = time.monotonic()
        self.train: dict[str, float] = {}

    def __enter__(self) -> "_Plain":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, event: Event) -> None:
        """Prints a line for each evaluation, but not too often."""
        if self.quiet:
            if isinstance(event, Notice) or (isinstance(event, Finished) and event.status.exit_code != 0):
                self.lines.event(event)  # what somebody must know, also in the mail that cron sends
            return
        self.lines.event(event)
        match event:
            case Measured():
                self.train = dict(event.metrics[0])
                if event.diverged_at[0] is None and self._due():
                    self._line(event, self.train)
            case Evaluated() if event.improved and self._due(early=True):
                self._line(event, {**self.train, **event.metrics[0]})

    def _due(self, *, early: bool = False) -> bool:
        # An evaluation says more than a measurement, so it may come a little before its time.
        return time.monotonic() - self.last >= LINE_SECONDS * (0.5 if early else 1.0)

    def _line(self, event: Measured | Evaluated, metrics: dict[str, float]) -> None:
        self.last = time.monotonic()
        total = self.lines.started.total_steps if self.lines.started else 0
        self.lines.say(f"step {event.step}/{total} epoch {event.epoch:.1f}  {metric_words(metrics)}")


class Bar:
    """A live line with loss, metric, samples per second and the time left."""

    def __init__(self, console: Console, lines: Lines) -> None:
        self.lines = lines
        # On a narrow terminal the score comes last and is cut first; a bar is drawn where there is room for one.
        bar = (BarColumn(bar_width=24),) if console.width >= BAR_WIDTH else ()
        self.progress = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis")),
            *bar,
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            _Rate(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(compact=True, table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[metrics]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
            console=console,
            transient=True,
            expand=True,
        )
        self.task = self.progress.add_task("loading", total=None, metrics="", batch=0, since=None)
        self.metrics: dict[str, float] = {}

    def __enter__(self) -> "Bar":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def show(self, event: Event) -> None:
        """Moves the bar; everything else becomes a line above it."""
        match event:
            case Started():
                self.progress.update(self.task, total=event.total_steps, completed=event.step, batch=event.batch_size)
                self.progress.update(self.task, since=(time.monotonic(), event.step))
            case Compiling():
                self.progress.update(self.task, description=f"compiling {event.program}")
            case Measured():
                self.metrics |= event.metrics[0]
                self._move(event.step)
            case Evaluated() if event.improved:
                self.metrics |= event.metrics[0]
                self._move(event.step)
            case Evaluated():
                self.progress.update(self.task, description=f"scoring {event.split}")
            case Finished():
                self.progress.stop()
        self.lines.event(event)

    def _move(self, step: int) -> None:
        if self.progress.tasks[0].description != "training":
            self.progress.update(self.task, description="training", since=(time.monotonic(), step))
        self.progress.update(self.task, completed=step, metrics=_short(self.metrics))


class _Rate(ProgressColumn):
    """Training examples per second since the first step."""

    def render(self, task: Task) -> Text:
        """Empty until something was measured."""
        since = task.fields["since"]
        if since is None or task.completed <= since[1]:
            return Text("")
        rate = (task.completed - since[1]) * task.fields["batch"] / max(time.monotonic() - since[0], 1e-9)
        return Text(f"{rate:,.0f} samples/s")


def _short(metrics: dict[str, float]) -> str:
    """The training loss and the first validation score alone."""
    score = next((n for n in metrics if n.startswith("validation/") and not n.endswith("/loss")), None)
    return metric_words({n: metrics[n] for n in ("train/loss", score) if n in metrics})
