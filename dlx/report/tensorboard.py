"""Runs as TensorBoard reads them: one event file in the run's folder, made from what the store holds.

While a run goes on, the file follows the store; after a break another one begins again at the run's beginning. So it never
depends on what an earlier process left, and writing live, after a resume and afterwards is the same code.

tensorboardX's `SummaryWriter` hands its events to a thread, through a queue that its `flush` does not wait for: only its parts
are used here. They write at once, and raise where they cannot.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dlx.errors import BusyError, CannotWriteError, MissingInputError, Status
from dlx.events import Evaluated, Event, Finished, Notice, Started
from dlx.report.files import make_folder
from dlx.report.runs_export import flattened
from dlx.store import RunRecord, RunSummary, Store, curves, find_run

if TYPE_CHECKING:
    from tensorboardX.summary import Summary

    from dlx.evaluation.results import Evaluation

FOLDER: Final = "tensorboard"
"""Within a run's folder: `tensorboard --logdir results/runs` shows all runs that have one."""
_RUN: Final = ".run-"
"""In the names of a run's own files, before a number that puts two files of one second in order."""


def recorded(events: Iterator[Event], store: Store) -> Iterator[Event]:
    """A run's events, each of them after the event file has what the store has by then.

    A file that cannot be written is told in a `Notice`, and the run goes on without it. Raises `MissingInputError` where
    tensorboardX is not installed, before the first event.
    """
    _require()
    return _recorded(events, store)


def write_run(store: Store, run: RunRecord, folder: Path | None = None) -> Path:
    """Writes a run's event file into its own folder or another one, in place of one that was there; returns that folder.

    Raises `MissingInputError` without tensorboardX, `BusyError` for the own folder of a run in training, `CannotWriteError`.
    """
    _require()
    if folder is None and run.status is Status.RUNNING:
        raise BusyError(f"run {run.id} is being trained right now, and may be writing its events itself: wait for its end")
    folder = make_folder(folder or run.path / FOLDER)
    with _telling(folder), contextlib.closing(RunFile(store, run, folder)) as file:
        file.update()
        file.finish(run)
    return folder


def write_runs(store: Store, runs: Iterable[RunSummary], folder: Path | None = None) -> None:
    """Writes the events of each run, into its own folder or into one below `folder` that is called as the run's id.

    Raises as `write_run` does.
    """
    for run in runs:
        write_run(store, find_run(store, run.id), folder / run.id if folder else None)


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Adds an evaluation's pictures to a folder of events, in place of those of the same split from before.

    Not while the run's own file is being written: of a folder's files an open TensorBoard reads only the newest on.
    Raises `MissingInputError` without tensorboardX, and `CannotWriteError`.
    """
    _require()
    from tensorboardX.summary import image

    from dlx.report.evaluation_figures import evaluation_figures, pixels

    suffix = f".scores-{evaluation.split}"  # in order after the run's own file of the same second
    make_folder(folder)
    with _telling(folder), contextlib.closing(EventFile(folder, suffix, _files(folder, suffix))) as file:
        for name, figure in evaluation_figures(evaluation):
            file.write(image(f"{evaluation.split}/{name}", pixels(figure), dataformats="HWC"), evaluation.step)


class EventFile:
    """A new file of events in a folder, in place of others. Raises `OSError`s."""

    def __init__(self, folder: Path, suffix: str, replaced: Sequence[Path]) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.writer import Event as Record

        for old in replaced:
            old.unlink()
        self._record, self._file = Record, EventsWriter(str(folder / "events"), suffix)

    def write(self, summary: Summary, step: int, at: float | None = None) -> None:
        """At a time in seconds since the epoch, or now."""
        self._file.write_event(self._record(step=step, wall_time=time.time() if at is None else at, summary=summary))

    def restart(self) -> None:
        """TensorBoard is to forget what it has read in older files of the folder."""
        from tensorboardX.writer import SessionLog

        self._file.write_event(self._record(step=0, wall_time=time.time(), session_log=SessionLog(status=SessionLog.START)))

    def flush(self) -> None:
        """What was written so far is safe, whatever becomes of this process."""
        self._file.flush()

    def close(self) -> None:
        """Nothing can be written any more."""
        self._file.close()


class RunFile:
    """A run's event file, which can be brought up to date with the store again and again. Raises `OSError`s and `DlxError`s."""

    def __init__(self, store: Store, run: RunRecord, folder: Path) -> None:
        from tensorboardX import summary

        self._store, self._run, self._summary = store, run, summary
        # The newest of the old files stays: a TensorBoard that is open reads it, and from nowhere else does it find this one.
        self._file = EventFile(folder, f"{_RUN}{time.time_ns() % 10**9:09d}", _files(folder, f"{_RUN}*")[:-1])
        self._last: dict[str, float] = {}
        """The newest value of each curve."""
        self._step, self._at = -1, run.segments[-1].started
        """The newest step that the file has, and when that was."""
        self._file.restart()
        self._file.write(summary.text("run", _as_code(_facts(run))), 0, run.created)
        self._file.write(summary.text("config", _as_code(_config(run))), 0, run.created)
        # Without the list of parameters and metrics that belongs to the format, TensorBoard collects them from all runs; of
        # several lists it takes only the first, so that parameters and metrics that this has not are never shown.
        _, begun, self._ended = summary.hparams({key: _plain(value) for key, value in flattened(run.config).items()}, {})
        self._file.write(begun, 0, run.created)
        self._file.flush()

    def update(self) -> None:
        """Adds what the store has got since."""
        new: dict[int, dict[str, float]] = {}
        found = curves(self._store, self._run.id, after=self._step)
        for name, points in found.items():
            for step, value in points:
                new.setdefault(step, {})[name] = value
        if not new:
            return
        more = not found.keys() <= self._last.keys()
        self._last |= {name: points[-1][1] for name, points in found.items()}
        if more:
            self._file.write(self._summary.custom_scalars(_charts(self._last)), 0)
        newest, now = max(new), time.time()
        for step, metrics in sorted(new.items()):
            self._scalars(metrics, step, self._time(step, newest, now))
        self._step, self._at = newest, now
        self._file.flush()

    def finish(self, run: RunRecord) -> None:
        """Adds how it ended: the figures of the best weights, under names that no curve has."""
        if run.status in (Status.COMPLETED, Status.DIVERGED) and "best/step" in run.metrics:
            with_curves = {_split(name) for name in self._last}
            best = {
                f"best/{name}" if _split(name) in with_curves else name: value
                for name, value in run.metrics.items()
                if self._is_of_best(run, name, value)
            }
            self._scalars(best, int(run.metrics["best/step"]), run.finished)
        if run.status.exit_code == 0:
            self._file.write(self._ended, 0, run.finished)
        self._file.flush()

    def close(self) -> None:
        """Nothing can be added any more."""
        self._file.close()

    def _is_of_best(self, run: RunRecord, name: str, value: float) -> bool:
        """The record has latest values too: of what the best weights were not scored on, such as training data in a sweep."""
        setting = name.endswith("/learning_rate")
        return not setting and (_split(name) == _split(run.monitor) or value != self._last.get(name))

    def _scalars(self, metrics: Mapping[str, float], step: int, at: float | None) -> None:
        values = [self._summary.Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        self._file.write(self._summary.Summary(value=values), step, at)

    def _time(self, step: int, newest: int, now: float) -> float:
        """About when a step was taken: the store keeps no times but those of whole stretches."""
        for part in reversed(self._run.segments):  # a later stretch repeats what an earlier one had not saved
            if part.ended is not None and part.to_step is not None and part.from_step < step <= part.to_step:
                return _between(step, (part.from_step, part.started), (part.to_step, part.ended))
        return _between(step, (max(self._step, self._run.segments[-1].from_step), self._at), (newest, now))


def _recorded(events: Iterator[Event], store: Store) -> Iterator[Event]:
    file: RunFile | None = None
    broken = False
    with contextlib.ExitStack() as stack:
        for event in events:
            try:
                # A run that was complete before only finishes: then all is written at once.
                if isinstance(event, Started | Finished) and file is None and not broken:
                    file = _begin(store, event.run)
                    stack.callback(_close, file)
                if isinstance(event, Started | Evaluated | Finished) and file is not None:
                    file.update()
                if isinstance(event, Finished) and file is not None:
                    file.finish(find_run(store, event.run))
            except OSError as error:
                file, broken = None, True
                yield Notice(f"TensorBoard's events cannot be written ({error}): the run goes on without them")
            yield event


def _begin(store: Store, run_id: str) -> RunFile:
    run = find_run(store, run_id)
    folder = run.path / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    return RunFile(store, run, folder)


def _close(file: RunFile) -> None:
    with contextlib.suppress(OSError):  # what could not be written was told when it was to be flushed
        file.close()


def _files(folder: Path, suffix: str) -> list[Path]:
    """The files of events whose names end so, the oldest first."""
    return sorted(folder.glob(f"events.out.tfevents.*{suffix}"))


def _require() -> None:
    if find_spec("tensorboardX") is None:
        raise MissingInputError("TensorBoard's events need the package tensorboardX: pip install 'dlx[tensorboard]'")


@contextlib.contextmanager
def _telling(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise CannotWriteError(f"{folder}: TensorBoard's events cannot be written: {error.strerror}") from error


def _facts(run: RunRecord) -> str:
    return "\n".join(filter(None, (run.name, run.id, run.command, str(run.environment.get("device", "")))))


def _config(run: RunRecord) -> str:
    """As in the run's folder; where that is on another machine, as in the store: JSON is YAML too."""
    with contextlib.suppress(FileNotFoundError):
        return (run.path / "config.yaml").read_text("utf-8", "replace")
    return json.dumps(run.config, indent=2)


def _as_code(text: str) -> str:
    """As TensorBoard's Markdown shows word for word."""
    return "\n".join(f"    {line}" for line in _text(text).splitlines())


def _plain(value: Any) -> Any:
    """A field as a number, a truth value or text; nothing for None."""
    match value:
        case list() | dict():
            return json.dumps(value)
        case str():
            return _text(value)
    return value


def _text(text: str) -> str:
    """Without the halves of characters that a file's name can hold."""
    return text.encode("utf-8", "replace").decode()


def _split(name: str) -> str:
    return name.partition("/")[0]


def _charts(names: Iterable[str]) -> dict[str, dict[str, list[Any]]]:
    """A chart for each metric, with all parts of the data in it, for TensorBoard's page of custom scalars."""
    metrics = sorted({name.partition("/")[2] for name in names})
    return {"train and validation": {metric: ["Multiline", [f"^[^/]+/{re.escape(metric)}$"]] for metric in metrics}}


def _between(step: int, first: tuple[int, float], last: tuple[int, float]) -> float:
    """The time of a step between two others, (step, time) each."""
    share = (step - first[0]) / max(last[0] - first[0], 1)
    return first[1] + share * (last[1] - first[1])
