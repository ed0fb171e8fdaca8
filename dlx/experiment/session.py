"""One stretch of running of one run: pulls the cohort's events, records them, answers with decisions, closes the record."""

import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
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
from dlx.store import RunRecord, RunUpdate, Store, finish_run, heartbeat, record

HEARTBEAT_SECONDS = 20.0

T = TypeVar("T")


class Session:
    """What `start` and `resume` share once the run exists in the store and the cohort can make its first step."""

    def __init__(
        self, store: Store, run_id: str, assembly: Assembly, watch: Stopwatch, interrupts: Interrupts, deadline: float | None
    ) -> None:
        self.store, self.run_id, self.assembly = store, run_id, assembly
        self.watch, self.interrupts, self.deadline = watch, interrupts, deadline
        self.folder = store.run_folder(run_id)
        self.step = 0
        self._train_metrics: Mapping[str, float] = {}

    def run(self, begin: Generator[Event, Decision | None, Progress]) -> Iterator[Event]:
        """Takes the progress that `begin` makes to its end. However that ends, the record says how."""
        with Heartbeat(self.store, self.run_id):
            try:
                yield from self._run(begin)
            except GeneratorExit:
                self._close(Status.INTERRUPTED, "stopped by its reader", {})
                raise
            except KeyboardInterrupt:
                self._close(Status.INTERRUPTED, "stopped by Ctrl-C", {})
                raise
            except BusyError:
                raise  # another process has taken the run over: the record is no longer this one's to write
            except DlxError as error:
                self._close(Status.FAILED, str(error), {})
                raise
            except jax.errors.JaxRuntimeError as error:
                failure = _device_failure(error)
                self._close(Status.FAILED, str(failure), {})
                raise failure from error
            except Exception as error:
                self._close(Status.FAILED, f"{type(error).__name__}: {error}", {})
                raise

    def _run(self, begin: Generator[Event, Decision | None, Progress]) -> Iterator[Event]:
        cohort, plan = self.assembly.cohort, self.assembly.plan
        pace = Pace(
            checkpoint_folder(self.folder), self.assembly.config.train.checkpoint_every, plan.steps_per_epoch, self.deadline
        )
        progress = yield from self._drive(begin, pace)
        self.step = progress.step
        pace.begin(progress.step)
        first = Decision(stop=self._stopping(pace), max_steps=FIRST_STEPS)
        progress = yield from self._drive(cohort.train(progress, first), pace)
        yield cohort.save(progress, [pace.folder])
        self.watch.lap("checkpoint")
        status, message = self._outcome(progress, pace)
        metrics: dict[str, float] = {}
        if self.interrupts.received is None and progress.best_step[0] >= 0:
            sizes = self.assembly.program.feed.sizes
            splits = [split for split in ("train", "validation", "test") if sizes[split]]
            for event in self._forward(cohort.judge(progress, splits), pace):
                if isinstance(event, Evaluated):
                    metrics |= event.metrics[0]
                yield event
            metrics |= {"best/step": float(progress.best_step[0])}
            if self.interrupts.received is not None:
                status, message = self._outcome(progress, pace)
        yield self._close(status, message, metrics)

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
        """Stores an interval: its training metrics and its evaluation, in one transaction."""
        match event:
            case Measured():
                self.step = event.step
                if event.complete:
                    self._train_metrics = event.metrics[0]
            case Evaluated() if event.improved:
                metrics = {**self._train_metrics, **event.metrics[0]}
                record(self.store, [RunUpdate(self.run_id, event.step, int(event.epoch), metrics)])

    def _outcome(self, progress: Progress, pace: Pace) -> tuple[Status, str]:
        """How the run stands, with the sentence that a person reads the next morning."""
        plan, diverged = self.assembly.plan, int(np.asarray(progress.lanes.diverged_at)[0])
        at = f"step {progress.step} of {plan.total_steps}"
        if self.interrupts.received is not None:
            return Status.INTERRUPTED, f"{self.interrupts.received.name} at {at}; `dlx train --resume {self.run_id}` continues"
        if diverged >= 0:
            self.step = diverged
            rate = self.assembly.config.optimizer.lr
            return Status.DIVERGED, (
                f"the loss or the weights were not finite at step {diverged}; lower optimizer.lr (it is {rate:g}) or set optimizer.clip_norm=1"
            )
        if progress.step >= plan.total_steps:
            return Status.COMPLETED, f"trained {plan.total_steps} steps"
        if progress.stopped[0]:
            return Status.COMPLETED, f"stopped early at {at}: no better {plan.monitor} in {plan.patience} evaluations"
        reason = "--max-time was used up" if pace.time_is_up else "stopped"
        return Status.INTERRUPTED, f"{reason} at {at}; `dlx train --resume {self.run_id}` continues"

    def _close(self, status: Status, message: str, metrics: Mapping[str, float]) -> Finished:
        epoch = self.step // self.assembly.plan.steps_per_epoch
        self.watch.lap("other")
        finish_run(self.store, self.run_id, status, message, self.step, epoch, metrics, self.watch.seconds)
        return Finished(self.run_id, status, message, self.step, metrics, self.folder, dict(self.watch.seconds))


@contextmanager
def closing_on_error(store: Store, run: RunRecord) -> Generator[None]:
    """Gives a claimed run back, as it stood, when it cannot even be set up again."""
    try:
        yield
    except BaseException as error:
        finish_run(store, run.id, Status.INTERRUPTED, f"could not be resumed: {error}", run.step, run.epoch, {}, {})
        raise


class Heartbeat:
    """A thread that says every few seconds that the run is alive, also during a long compilation."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store, self._run_id = store, run_id
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
                heartbeat(self._store, [self._run_id])
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
