"""One stretch of running of a cohort: pulls its events, records them, answers with decisions, closes the records."""

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import jax
import numpy as np

from dlx.engine import Progress
from dlx.errors import BusyError, DlxError, RunFailedError, Status
from dlx.events import Decision, Evaluated, Event, Finished, Measured
from dlx.experiment.assemble import Assembly
from dlx.experiment.clock import FIRST_STEPS, Pace, Stopwatch
from dlx.experiment.interrupts import Interrupts
from dlx.store import Ending, RunRecord, RunUpdate, Store, finish_runs, heartbeat, record

HEARTBEAT_SECONDS = 20.0

T = TypeVar("T")


@dataclass(frozen=True)
class Manner:
    """What a run of its own and the trials of a sweep do differently."""

    again: str
    """The command that continues what was interrupted."""
    splits: tuple[str, ...] = ("train", "validation", "test")
    """Parts of the data that the best weights are scored on at the end."""
    keep: Callable[[np.ndarray], Sequence[int]] | None = None
    """Which lanes to save, at the end alone, from the monitored metric (K,) at the best weights, NaN for a lane that did not
    complete. Without it every lane is saved, now and then too, so that it can be continued."""


class Session:
    """What starting and resuming share once the runs exist in the store and the cohort can make its first step.

    `runs` are the ids of the cohort's first lanes. Any lanes after them only fill the program up: nothing of them counts.
    """

    def __init__(
        self,
        store: Store,
        runs: Sequence[str],
        assembly: Assembly,
        watch: Stopwatch,
        interrupts: Interrupts,
        deadline: float | None,
        manner: Manner,
    ) -> None:
        self.store, self.runs, self.assembly, self.manner = store, tuple(runs), assembly, manner
        self.watch, self.interrupts, self.deadline = watch, interrupts, deadline
        self.folders = [store.run_folder(run) for run in runs]
        self.steps = [0] * len(self.runs)
        self._train_metrics: Sequence[Mapping[str, float]] = ()

    def run(self, begin: Generator[Event, Decision | None, Progress]) -> Iterator[Event]:
        """Takes the progress that `begin` makes to its end. However that ends, the records say how."""
        with Heartbeat(lambda: heartbeat(self.store, self.runs)):
            try:
                yield from self._run(begin)
            except GeneratorExit:
                self._close_all(Status.INTERRUPTED, "stopped by its reader")
                raise
            except KeyboardInterrupt:
                self._close_all(Status.INTERRUPTED, "stopped by Ctrl-C")
                raise
            except BusyError:
                raise  # another process has taken a run over: the record is no longer this one's to write
            except DlxError as error:
                self._close_all(Status.FAILED, str(error))
                raise
            except jax.errors.JaxRuntimeError as error:
                failure = _device_failure(error)
                self._close_all(Status.FAILED, str(failure))
                raise failure from error
            except Exception as error:
                self._close_all(Status.FAILED, f"{type(error).__name__}: {error}")
                raise

    def _run(self, begin: Generator[Event, Decision | None, Progress]) -> Iterator[Event]:
        cohort, plan = self.assembly.cohort, self.assembly.plan
        folders = tuple(checkpoint_folder(folder) for folder in self.folders)
        every = self.assembly.config.train.checkpoint_every
        pace = Pace(folders if self.manner.keep is None else (), every, plan.steps_per_epoch, self.deadline)
        progress = yield from self._drive(begin, pace)
        self.steps = [progress.step] * len(self.runs)
        pace.begin(progress.step)
        first = Decision(stop=self._stopping(pace), max_steps=FIRST_STEPS)
        progress = yield from self._drive(cohort.train(progress, first), pace)
        scored = progress.best_step >= 0
        if self.manner.keep is None:
            yield cohort.save(progress, folders)
        self.watch.lap("checkpoint")
        outcomes = self._outcomes(progress, pace)
        metrics: list[dict[str, float]] = [{} for _ in self.runs]
        if self.interrupts.received is None and scored.any():
            sizes = self.assembly.program.feed.sizes
            splits = [split for split in self.manner.splits if sizes[split]]
            for event in self._forward(cohort.judge(progress, splits), pace):
                if isinstance(event, Evaluated):
                    for mine, judged in zip(metrics, event.metrics, strict=False):
                        mine |= judged
                yield event
            for lane, mine in enumerate(metrics):
                metrics[lane] = {**mine, "best/step": float(progress.best_step[lane])} if scored[lane] else {}
            if self.interrupts.received is not None:
                outcomes = self._outcomes(progress, pace)
        if self.manner.keep is not None:
            completed = [status is Status.COMPLETED for status, _ in outcomes]
            values = [mine.get(plan.monitor, np.nan) if done else np.nan for mine, done in zip(metrics, completed, strict=True)]
            if kept := self.manner.keep(np.array(values)):
                yield cohort.save(progress, [folder if lane in kept else None for lane, folder in enumerate(folders)])
            self.watch.lap("checkpoint")
        yield from self._close(outcomes, metrics)

    def _drive(self, events: Generator[Event, Decision | None, T], pace: Pace) -> Generator[Event, None, T]:
        """Yields a cohort's events on, and answers each of them. Returns what the cohort's generator returns."""
        decision: Decision | None = None
        while True:
            try:
                event = events.send(decision)
            except StopIteration as end:
                return end.value
            seconds = self.watch.lap(self.watch.phase(event))
            self._record(event)
            decision = pace.decide(event, seconds, self._stopping(pace))
            self.watch.lap("store")
            yield event
            self.watch.lap("display")

    def _forward(self, events: Generator[Event, Decision | None, None], pace: Pace) -> Iterator[Event]:
        """Yields events on until a signal comes."""
        for event in self._drive(events, pace):
            yield event
            if self.interrupts.received is not None:
                return

    def _stopping(self, pace: Pace) -> bool:
        return self.interrupts.received is not None or pace.time_is_up

    def _record(self, event: Event) -> None:
        """Stores an interval of all lanes that still count: training metrics and evaluation, in one transaction."""
        match event:
            case Measured():
                for lane, diverged in enumerate(event.diverged_at[: len(self.runs)]):
                    if diverged is None:
                        self.steps[lane] = event.step
                if event.complete:
                    self._train_metrics = event.metrics
            case Evaluated() if event.improved:
                record(
                    self.store,
                    [
                        RunUpdate(run, event.step, int(event.epoch), {**train, **scores})
                        for run, train, scores, counts in zip(
                            self.runs, self._train_metrics, event.metrics, event.counts, strict=False
                        )
                        if counts
                    ],
                )

    def _outcomes(self, progress: Progress, pace: Pace) -> list[tuple[Status, str]]:
        """How each run stands, with the sentence that a person reads the next morning."""
        diverged = np.asarray(progress.lanes.diverged_at)
        ended = np.where(diverged >= 0, diverged, np.where(progress.stopped_at >= 0, progress.stopped_at, progress.step))
        self.steps = ended[: len(self.runs)].tolist()
        return [self._outcome(progress, pace, lane, int(diverged[lane])) for lane in range(len(self.runs))]

    def _outcome(self, progress: Progress, pace: Pace, lane: int, diverged: int) -> tuple[Status, str]:
        plan = self.assembly.plan
        at, again = f"step {self.steps[lane]} of {plan.total_steps}", f"`{self.manner.again}` continues"
        if self.interrupts.received is not None:
            return Status.INTERRUPTED, f"{self.interrupts.received.name} at {at}; {again}"
        if diverged >= 0:
            rate = float(np.asarray(self.assembly.program.configs.optimizer.lr)[lane])
            return Status.DIVERGED, (
                f"the loss or the weights were not finite at step {diverged}; lower optimizer.lr (it is {rate:g}) or set optimizer.clip_norm=1"
            )
        if progress.stopped_at[lane] >= 0:
            return Status.COMPLETED, f"stopped early at {at}: no better {plan.monitor} in {plan.patience} evaluations"
        if progress.step >= plan.total_steps:
            return Status.COMPLETED, f"trained {plan.total_steps} steps"
        reason = "--max-time was used up" if pace.time_is_up else "stopped"
        return Status.INTERRUPTED, f"{reason} at {at}; {again}"

    def _close(self, outcomes: Sequence[tuple[Status, str]], metrics: Sequence[Mapping[str, float]]) -> Iterator[Finished]:
        """Ends the records, and says so. The time that the lanes took together is divided among them."""
        self.watch.lap("other")
        per_epoch = self.assembly.plan.steps_per_epoch
        share = {phase: value / len(self.runs) for phase, value in self.watch.seconds.items()}
        lanes = list(zip(self.runs, outcomes, self.steps, metrics, strict=True))
        finish_runs(self.store, [Ending(run, *how, step, step // per_epoch, scores, share) for run, how, step, scores in lanes])
        for (run, how, step, scores), folder in zip(lanes, self.folders, strict=True):
            yield Finished(run, *how, step, scores, folder, share)

    def _close_all(self, status: Status, message: str) -> None:
        for _ in self._close([(status, message)] * len(self.runs), [{}] * len(self.runs)):
            pass


@contextmanager
def closing_on_error(store: Store, run: RunRecord) -> Generator[None]:
    """Gives a claimed run back, as it stood, when it cannot even be set up again."""
    try:
        yield
    except BaseException as error:
        finish_runs(store, [Ending(run.id, Status.INTERRUPTED, f"could not be resumed: {error}", run.step, run.epoch)])
        raise


class Heartbeat:
    """A thread that says every few seconds that something is alive, also during a long compilation."""

    def __init__(self, beat: Callable[[], None]) -> None:
        self._say = beat
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name="dlx-heartbeat")

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT_SECONDS):
            try:
                self._say()
            except DlxError:
                continue  # a store that is locked or full is told by the next `record`, which the run waits for


def checkpoint_folder(run_folder: Path) -> Path:
    """Where a run's checkpoints are."""
    return run_folder / "checkpoints"


def _device_failure(error: Exception) -> RunFailedError:
    first = str(error).splitlines()[0]
    if "RESOURCE_EXHAUSTED" in first:
        return RunFailedError(f"the device is out of memory: {first}; lower train.batch_size or the model's sizes")
    return RunFailedError(f"the device failed: {first}")
