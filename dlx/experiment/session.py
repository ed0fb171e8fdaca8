"""One stretch of running of a cohort: pulls its events, records them, answers with decisions, closes the records."""

import threading
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import jax
import numpy as np

from dlx.engine import Progress, save_lanes
from dlx.errors import BusyError, DeviceMemoryError, DlxError, RunFailedError, Status
from dlx.events import Checkpointed, Decision, Evaluated, Event, Finished, Measured, Metrics
from dlx.experiment.assemble import Assembly
from dlx.experiment.clock import FIRST_STEPS, Pace, Stopwatch
from dlx.experiment.interrupts import Interrupts
from dlx.store import Ending, RunRecord, RunUpdate, Store, finish_runs, heartbeat, record

HEARTBEAT_SECONDS = 20.0
WRITE_SECONDS = 1.0
"""How long measurements may wait to be written together."""

T = TypeVar("T")


@dataclass(frozen=True)
class Rung:
    """What becomes of a cohort's lanes where they were compared."""

    out: Mapping[int, str]
    """The lanes that stop here, pruned, and why."""
    leave: bool
    """Whether the others leave the cohort too, to go on in another one."""
    save: bool
    """Whether the others are saved here."""


@dataclass(frozen=True)
class Manner:
    """What a run of its own and the trials of a sweep do differently."""

    again: str
    """The command that continues what was interrupted."""
    splits: tuple[str, ...] = ("train", "validation", "test")
    """Parts of the data that the best weights are scored on at the end."""
    keep: Callable[[Sequence[Metrics]], Collection[int]] | None = None
    """Which lanes to save in the end, from the metrics (of K lanes) at their best weights, empty for a lane that did not
    complete. Without it all are saved."""
    compare: Callable[[int, Sequence[float]], Rung | None] | None = None
    """Called after an evaluation before the last, with its number (from 1) and the best monitored values so far (of K lanes,
    NaN for one that has ended)."""


class Session:
    """What starting and resuming share once the runs exist in the store and the cohort can make its first step.

    `runs` are the ids of the cohort's first lanes. Any lanes after them only fill the program up: nothing of them counts.
    The caller keeps a `Heartbeat`.
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
        spent: Sequence[Mapping[str, float]] = (),
    ) -> None:
        self.store, self.runs, self.assembly, self.manner = store, tuple(runs), assembly, manner
        self.watch, self.interrupts, self.deadline = watch, interrupts, deadline
        self.folders = [store.run_folder(run) for run in runs]
        self.steps = [0] * len(self.runs)
        self.open = list(range(len(self.runs)))
        """The lanes whose runs have not ended. After a leave these go on elsewhere, from `progress`."""
        self.progress: Progress | None = None
        self.spent: list[dict[str, float]] = [dict(each) for each in spent] or [{} for _ in self.runs]
        """Seconds by phase of each lane, in this cohort and those before: what lanes take together is divided among them."""
        self._divided: dict[str, float] = {}
        self._unwritten: list[RunUpdate] = []
        self._written_at = time.monotonic()
        self._saving = False
        self._train_metrics: Sequence[Mapping[str, float]] = ()
        self.best = np.zeros(0)
        """Each lane's best monitored value so far, (K,)."""
        self._left = False

    def run(self, begin: Generator[Event, Decision | None, Progress]) -> Iterator[Event]:
        """Takes the progress that `begin` makes to its end. However that ends, the records say how."""
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
            failure = device_failure(error)
            self._close_all(Status.FAILED, str(failure))
            raise failure from error
        except Exception as error:
            self._close_all(Status.FAILED, f"{type(error).__name__}: {error}")
            raise

    def _run(self, begin: Generator[Event, Decision | None, Progress]) -> Iterator[Event]:
        cohort, plan = self.assembly.cohort, self.assembly.plan
        pace = Pace(self._checkpoints(), self.assembly.config.train.checkpoint_every, plan.steps_per_epoch, self.deadline)
        progress = yield from self._drive(begin, pace)
        self.steps = [progress.step] * len(self.runs)
        self.best = progress.best_value.copy()
        pace.begin(progress.step)
        first = Decision(stop=self._stopping(pace), max_steps=FIRST_STEPS)
        progress = yield from self._drive(cohort.train(progress, first), pace)
        outcomes = self._outcomes(progress, pace)
        self._write()
        if self.manner.keep is None or any(outcome and outcome[0] is Status.INTERRUPTED for outcome in outcomes):
            yield save_lanes(progress, self._checkpoints())
        self.watch.lap("checkpoint")
        scored = progress.best_step >= 0
        metrics: list[dict[str, float]] = [{} for _ in self.runs]
        # Not while all lanes go on elsewhere: nothing is said of their best weights yet.
        if self.interrupts.received is None and any(scored[lane] and outcomes[lane] is not None for lane in self.open):
            sizes = self.assembly.program.feed.sizes
            splits = [split for split in self.manner.splits if sizes[split]]
            for event in self._forward(cohort.judge(progress, splits), pace):
                if isinstance(event, Evaluated):
                    for mine, judged in zip(metrics, event.metrics, strict=False):
                        mine |= judged
                yield event
            for lane, mine in enumerate(metrics):
                own = {"best/step": float(progress.best_step[lane]), "parameters": float(self.assembly.program.parameters())}
                metrics[lane] = {**mine, **own} if scored[lane] else {}
            if self.interrupts.received is not None:
                outcomes = self._outcomes(progress, pace)
        if self.manner.keep is not None:
            kept = self.manner.keep(
                [m if o and o[0] is Status.COMPLETED else {} for m, o in zip(metrics, outcomes, strict=True)]
            )
            if kept:
                yield save_lanes(
                    progress, [folder if lane in kept else None for lane, folder in enumerate(self._checkpoints())]
                )
            self.watch.lap("checkpoint")
        yield from self._close({lane: outcome for lane in self.open if (outcome := outcomes[lane]) is not None}, metrics)
        if self.open:
            self._divide()
        self.progress = progress

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
            self._saving = (self._saving or bool(decision.save)) and not isinstance(event, Checkpointed)
            if self._saving:
                self._write()  # before the checkpoint: what was measured up to it is not measured again
            rung = self._compare(event) if isinstance(event, Evaluated) and event.improved else None
            self.watch.lap("store")
            yield event
            if rung is not None:
                pruned = {lane: (Status.PRUNED, why) for lane, why in rung.out.items()}
                best = [
                    {self.assembly.plan.monitor: float(value)} if lane in pruned else {} for lane, value in enumerate(self.best)
                ]
                yield from self._close(pruned, best)
                pace.folders, self._left = self._checkpoints(), rung.leave
                save = pace.save_now() if rung.save else ()
                if save:
                    self._write()
                decision = Decision(decision.stop or rung.leave or not self.open, save, decision.max_steps, tuple(rung.out))
            self.watch.lap("display")

    def _compare(self, event: Evaluated) -> Rung | None:
        """Asks at a rung which lanes go on."""
        plan = self.assembly.plan
        monitored = np.array([lane.get(plan.monitor, np.nan) for lane in event.metrics])
        self.best = np.where(event.improved, monitored, self.best)
        if self.manner.compare is None or event.step >= plan.total_steps:
            return None
        number, rest = divmod(event.step, plan.evaluate_every)
        counts = [lane in self.open and event.counts[lane] for lane in range(len(self.runs))]
        values = [float(value) if count else np.nan for value, count in zip(self.best, counts, strict=False)]
        return self.manner.compare(number, values) if not rest else None

    def _forward(self, events: Generator[Event, Decision | None, None], pace: Pace) -> Iterator[Event]:
        """Yields events on until a signal comes."""
        for event in self._drive(events, pace):
            yield event
            if self.interrupts.received is not None:
                return

    def _stopping(self, pace: Pace) -> bool:
        return self.interrupts.received is not None or pace.time_is_up

    def _checkpoints(self) -> tuple[Path | None, ...]:
        """Where each lane is saved; None for one that has ended."""
        return tuple(checkpoint_folder(folder) if lane in self.open else None for lane, folder in enumerate(self.folders))

    def _record(self, event: Event) -> None:
        """Takes down an interval of all lanes that still count: training metrics and evaluation."""
        match event:
            case Measured():
                for lane, diverged in enumerate(event.diverged_at[: len(self.runs)]):
                    if diverged is None:
                        self.steps[lane] = event.step
                if event.complete:
                    self._train_metrics = event.metrics
            case Evaluated() if event.improved:
                self._unwritten += [
                    RunUpdate(
                        self.runs[lane], event.step, int(event.epoch), {**self._train_metrics[lane], **event.metrics[lane]}
                    )
                    for lane in self.open
                    if event.counts[lane]
                ]
                if time.monotonic() - self._written_at >= WRITE_SECONDS:
                    self._write()

    def _write(self) -> None:
        """Stores what was measured since the last time, in one transaction."""
        record(self.store, self._unwritten)
        self._unwritten, self._written_at = [], time.monotonic()

    def _outcomes(self, progress: Progress, pace: Pace) -> list[tuple[Status, str] | None]:
        """How each open run stands, with the sentence that a person reads the next morning. None for one that goes on elsewhere."""
        diverged = np.asarray(progress.lanes.diverged_at)
        ended = np.where(diverged >= 0, diverged, np.where(progress.stopped_at >= 0, progress.stopped_at, progress.step))
        self.steps = ended[: len(self.runs)].tolist()
        lanes = range(len(self.runs))
        return [self._outcome(progress, pace, lane, int(diverged[lane])) if lane in self.open else None for lane in lanes]

    def _outcome(self, progress: Progress, pace: Pace, lane: int, diverged: int) -> tuple[Status, str] | None:
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
        if pace.time_is_up:
            return Status.INTERRUPTED, f"--max-time was used up at {at}; {again}"
        return None if self._left else (Status.INTERRUPTED, f"stopped at {at}; {again}")

    def _close(self, outcomes: Mapping[int, tuple[Status, str]], metrics: Sequence[Mapping[str, float]]) -> Iterator[Finished]:
        """Ends the records of lanes, and says so."""
        if not outcomes:
            return
        self._write()
        self._divide()
        per_epoch = self.assembly.plan.steps_per_epoch
        self.open = [lane for lane in self.open if lane not in outcomes]
        lanes = [(self.runs[lane], *how, self.steps[lane], metrics[lane], lane) for lane, how in outcomes.items()]
        finish_runs(
            self.store,
            [Ending(run, how, why, at, at // per_epoch, scores, self.spent[lane]) for run, how, why, at, scores, lane in lanes],
        )
        for run, how, why, at, scores, lane in lanes:
            yield Finished(run, how, why, at, scores, self.folders[lane], self.spent[lane])

    def _divide(self) -> None:
        """Books the time since the last division, an equal part for every open lane."""
        self.watch.lap("other")
        for phase, total in self.watch.seconds.items():
            part = (total - self._divided.get(phase, 0.0)) / len(self.open)
            for lane in self.open:
                self.spent[lane][phase] = self.spent[lane].get(phase, 0.0) + part
        self._divided = dict(self.watch.seconds)

    def _close_all(self, status: Status, message: str) -> None:
        for _ in self._close(dict.fromkeys(self.open, (status, message)), [{}] * len(self.runs)):
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
    """A thread that says every few seconds that this process and what it holds are alive, also during a long compilation."""

    def __init__(self, store: Store) -> None:
        self._store = store
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
                heartbeat(self._store)
            except DlxError:
                continue  # a store that is locked or full is told by the next `record`, which the run waits for


def checkpoint_folder(run_folder: Path) -> Path:
    """Where a run's checkpoints are."""
    return run_folder / "checkpoints"


def device_failure(error: Exception) -> RunFailedError:
    """What the device said, in a sentence."""
    first = str(error).splitlines()[0]
    if "RESOURCE_EXHAUSTED" in first:
        return DeviceMemoryError(f"the device is out of memory: {first}; lower train.batch_size or the model's sizes")
    return RunFailedError(f"the device failed: {first}")
