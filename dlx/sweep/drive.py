"""A sweep from its first proposal to its last result: an iterator of events that keeps the store up to date."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dlx import engine
from dlx.config import Experiment, Override
from dlx.config.load import Document
from dlx.config.sampler import PbtSampler
from dlx.config.space import apply
from dlx.config.sweep import Sweep
from dlx.errors import (
    BusyError,
    CannotWriteError,
    ConfigError,
    DataError,
    DeviceMemoryError,
    DlxError,
    MissingInputError,
    Status,
    UsageError,
)
from dlx.events import Event, Measured, Notice, SweepEvent, SweepFinished, SweepStarted, TrialFinished
from dlx.experiment.clock import Stopwatch
from dlx.experiment.environment import capture, command_line, git_state
from dlx.experiment.interrupts import Interrupts
from dlx.experiment.run import loaded
from dlx.experiment.session import Heartbeat
from dlx.store import (
    Ending,
    Goal,
    Proposal,
    Result,
    Store,
    SweepRecord,
    TrialRecord,
    find_run,
    finish_runs,
    leave_sweep,
    reload_sweep,
    take_trials,
)
from dlx.sweep.bench import Bench
from dlx.sweep.crew import Crew
from dlx.sweep.leg import Leg
from dlx.sweep.pool import Lane, Pool
from dlx.sweep.population import exchange_lanes, restore_lane
from dlx.sweep.propose import Mirror, Proposer
from dlx.sweep.setup import SEED_KEYS, batch_size, description, goals_of, planned, prepared, take_sweep, total_trials
from dlx.sweep.work import Work

POLL_SECONDS = 0.5

_HOPELESS = (ConfigError, DataError, MissingInputError)
"""Failures that would come again."""


def sweep_runs(
    sweep: Sweep,
    document: Document,
    overrides: Sequence[Override],
    store: Store,
    *,
    name: str | None = None,
    max_seconds: float | None = None,
    beside: bool = False,
    change: bool = False,
    crew: Crew | None = None,
) -> Iterator[Event | SweepEvent]:
    """Runs a sweep to its number of trials; the same sweep again continues it. Ends with `SweepFinished`.

    `beside` works on it together with other processes of this machine, such as the `crew`, which is waited for; `change`
    lets the sweep of that name have another space from now on. Raises `ConfigError` for an impossible space, or for a name
    that another sweep has; `BusyError` when another process of this machine runs this one; `UsageError` when nothing says how
    long to search.
    """
    engine.configure()
    sweep, overrides, base = prepared(sweep, document, overrides)
    with Interrupts() as interrupts:
        stretch = _Stretch(sweep, document, overrides, base, store, interrupts, crew)
        yield from stretch.run(name, None if max_seconds is None else time.monotonic() + max_seconds, beside, change)


class _Stretch:
    """One process's work on a sweep."""

    def __init__(
        self,
        sweep: Sweep,
        document: Document,
        overrides: Sequence[Override],
        base: Experiment,
        store: Store,
        interrupts: Interrupts,
        crew: Crew | None,
    ) -> None:
        self.sweep, self.document, self.overrides, self.base = sweep, document, tuple(overrides), base
        self.store, self.interrupts, self.crew = store, interrupts, crew
        self.watch, self.bench = Stopwatch(), Bench()
        self.population = sweep.sampler if isinstance(sweep.sampler, PbtSampler) else None
        self.pool = Pool(self.bench, together=self.population is not None)

    def run(self, name: str | None, deadline: float | None, beside: bool, change: bool) -> Iterator[Event | SweepEvent]:
        """Everything from the first look at the data to the last word."""
        self.deadline = deadline
        self.base = base = self.bench.resolve(self.base)
        self.base_tree = base.model_dump(mode="json")
        plan = planned(self.sweep, self.bench, base)
        environment: dict[str, Any] = {**capture(), "git": git_state()[0]}
        self.every = plan.evaluate_every
        self.total = total_trials(self.sweep, self.base_tree, timed=deadline is not None)
        goals = goals_of(self.sweep, plan, self.bench.scores(base))
        new = description(self.sweep, name, self.base_tree, self.bench.fingerprint(base), goals, self.total)
        learns = self._proposer(goals, ()).batch is not None  # raises for a sampler that cannot do it
        # Who may stop the sweep early looks at what has ended.
        hurried = (deadline, self.sweep.target_value, self.sweep.plateau) != (None, None, None)
        self.pool.patient = not learns and not hurried
        record, worker = take_sweep(self.store, new, beside=beside, change=change)
        status, message, lost = Status.FAILED, "stopped by an error", False
        try:
            yield loaded(self.bench.dataset(base))
            self.work = Work(self.store, record, worker, self.sweep.keep, environment)
            self.proposer = self._proposer(goals, record.config.get("enqueue", ()))
            yield SweepStarted(
                record.id,
                record.name,
                self.total,
                sum(self.work.statuses().values()),
                len(self.sweep.search),
                plan.monitor,
                plan.maximize,
                environment["device"],
                self.store.folder,
            )
            if new.enqueue and list(new.enqueue) != list(record.config.get("enqueue", ())):
                yield Notice("trials are enqueued by a sweep's first command alone: those given now are left out")
            mirror = Mirror(self.store.shared_url(), record.name, record.id, self.proposer)
            with Heartbeat(self.store), mirror:
                behind = False
                for event in self._train_all():
                    match event:
                        case TrialFinished():
                            behind = True
                        case Measured() if self.work.leads:  # the store is not written much while a cohort trains
                            mirror.open()
                            if behind:
                                mirror.update(self.work.record.trials)
                                behind = False
                    yield event
                if self.crew is not None:
                    codes = self.crew.finish(stop=self._stopping())
                    yield from (Notice(f"a worker ended with exit code {code}") for code in codes if code > 0)
                    yield from self._news()
                if len(self.work.record.workers) > 1:
                    self.work.tidy()
                if self.work.leads:
                    mirror.update(self.work.record.trials)
                self.watch.lap("store")
                if failure := mirror.failure():
                    yield Notice(f"Optuna's own tables lack some of the trials, dlx's have all: {failure}")
            status, message = self._outcome()
        except GeneratorExit:
            status, message = Status.INTERRUPTED, "stopped by its reader"
            raise
        except DlxError as error:
            message, lost = str(error), isinstance(error, BusyError)
            raise
        finally:
            self.watch.lap("mirror")
            self.bench.close()
            try:
                self._let_go(save=not lost)
            finally:
                leave_sweep(self.store, record.id, worker, status, message, self.watch.seconds)
        record = self.work.record
        yield SweepFinished(
            record.id,
            status,
            message,
            self.work.statuses(),
            self.work.finished(record.ranked[0]) if record.ranked else None,
            self.bench.programs,
            dict(self.watch.seconds),
            self.store.folder,
            tuple(map(self.work.finished, record.front)) if len(record.goals) > 1 else (),
        )

    def _proposer(self, goals: Sequence[Goal], first: Sequence[Mapping[str, Any]]) -> Proposer:
        return Proposer(self.sweep.search, self.sweep.sampler, self.base_tree, goals, first, self.sweep.group)

    def _train_all(self) -> Iterator[Event | SweepEvent]:
        """Cohort after cohort, and new proposals when there is none to train."""
        more = True
        while not self._stopping() and self._satisfied() is None and self._broken() is None:
            if self.population is not None:
                yield from exchange_lanes(self.population, self.sweep.search, self.work, self.pool.lanes, self.every)
            # Where nobody knows how many trials are to come, waiting for them could last to the end.
            waits = more and self.total is not None
            if lanes := self.pool.next(more=waits):
                coming = self.pool.peek(more=waits)
                if coming and not coming[0].step:
                    self.bench.ahead([lane.config for lane in coming])
                yield from self._train(lanes, more=waits)
                continue
            others = self.crew is not None and self.crew.running()
            taken = self._take_trials()
            more = bool(taken) and (self.total is None or len(self.work.record.trials) < self.total)
            yield from self._admit(taken)
            if not taken and not self.pool.lanes:
                if not others:
                    return
                time.sleep(POLL_SECONDS)  # a worker that dies leaves its trials to us
                yield from self._news()

    def _take_trials(self) -> list[TrialRecord]:
        """Trials that nobody works on any more, or the next proposals, written down before anything of them is run."""
        size = batch_size(self.sweep, self.proposer, self.bench, self.base)
        record = self.work.record
        taken = take_trials(self.store, record.id, self.work.worker, size, self.sweep.seeds, self._propose, record)
        self.work.record = reload_sweep(self.store, record)
        self.watch.lap("store")
        return taken

    def _news(self) -> Iterator[SweepEvent]:
        self.work.record = reload_sweep(self.store, self.work.record)
        yield from self.work.news()

    def _propose(self, record: SweepRecord, count: int) -> list[Proposal]:
        self.watch.lap("store")
        workers = max(sum(worker.alive for worker in record.workers), self.crew.size if self.crew is not None else 1)
        try:
            # A population is not divided: its members know one another.
            return self.proposer.ask(record.trials, count if self.population is not None else -(-count // workers))
        finally:
            self.watch.lap("sampler")

    def _admit(self, trials: Sequence[TrialRecord]) -> Iterator[Event | SweepEvent]:
        """Puts the trainings of trials into the pool. What cannot even begin fails, and the sweep goes on."""
        for trial in trials:
            if known := self._known(trial):
                yield from self.work.report([known])
                continue
            for training in trial.trainings:
                try:
                    config = self.bench.ready(self._config(trial, training.seed))
                except Exception as error:  # of the user's own network too
                    yield from self._fail([Lane(trial, training, self.base, training.run_id)], error, final=True)
                    continue
                lane = Lane(trial, training, config, training.run_id)
                if lane.run is not None:
                    lane.curve = dict(training.curve)
                    self._set_back(lane)
                    restore_lane(lane, find_run(self.store, lane.run).config)
                self.pool.lanes.append(lane)

    def _set_back(self, lane: Lane) -> None:
        """Puts a lane whose state is in no memory to where its newest checkpoint is."""
        if lane.run is None or lane.place is not None:
            return
        lane.set_back(engine.newest_step(self.work.checkpoints(lane.run)) or 0, self.bench.plan(lane.config).evaluate_every)

    def _train(self, lanes: Sequence[Lane], *, more: bool) -> Iterator[Event | SweepEvent]:
        """Trains lanes together until they part. Whatever a network does wrong is its trials' failure, and not the sweep's."""
        leg = Leg(
            self.work,
            self.bench,
            lanes,
            self.sweep.pruner,
            self.interrupts,
            self.deadline,
            more=more,
            interval=self.population.interval if self.population is not None else None,
        )
        try:
            yield from leg.run()
            self.pool.lanes += leg.going
        except DeviceMemoryError as error:
            yield from self._shrink(leg, error)
        except (BusyError, CannotWriteError, UsageError):
            raise  # the store's: no trial could go on
        except Exception as error:  # of the user's own network too
            yield from self._fail(leg.unfinished(), error, final=isinstance(error, _HOPELESS))
        except BaseException:  # Ctrl-C, or a reader that has left, before the session had begun
            self.pool.lanes += leg.going
            raise
        finally:
            self.watch.add(leg.watch)

    def _shrink(self, leg: Leg, error: DeviceMemoryError) -> Iterator[Event | SweepEvent]:
        """Puts lanes that did not fit on the device back, to train fewer at a time."""
        left = leg.unfinished()
        if leg.size == 1:
            yield from self._fail(left, error, final=True)
            return
        self.bench.narrow(left[0].config, leg.size, leg.fitting)
        yield Notice(f"{error}; {leg.fitting} lane{'s' if leg.fitting > 1 else ''} at a time from here on")
        for lane in left:
            self._set_back(lane)
        self.pool.lanes += left

    def _fail(self, lanes: Sequence[Lane], error: Exception, *, final: bool) -> Iterator[Event | SweepEvent]:
        """What was tried in vain begins again while it has retries, unless the failure is final; then its trial has failed."""
        message = str(error) if isinstance(error, DlxError) else f"{type(error).__name__}: {error}"
        again = [lane for lane in lanes if lane.attempts < self.sweep.retries and not final]
        for lane in again:
            lane.attempts += 1
            self._set_back(lane)
        self.pool.lanes += again
        lost = [lane for lane in lanes if lane not in again]
        for group, how in ((again, "begin again"), (lost, "failed")):
            if group:
                yield Notice(
                    f"trials {', '.join(str(n) for n in sorted({lane.trial.number for lane in group}))} {how}: {message}"
                )
        self._close_runs([lane for lane in lost if lane.held], Status.FAILED, message)
        yield from self.work.report([Result(*lane.key, Status.FAILED, None, message) for lane in lost])

    def _known(self, trial: TrialRecord) -> Result | None:
        """What came of a trial that was tried before, where its values leave no other seed to try it under."""
        if not trial.params.keys() & SEED_KEYS or trial.run_id is not None or self.population is not None:
            return None
        before = self.work.record.trials[: trial.number]
        same = next((other for other in before if other.status is Status.COMPLETED and other.params == trial.params), None)
        if same is None:
            return None
        return Result(trial.number, 0, Status.COMPLETED, same.values, f"the same values as trial {same.number}", same.curve)

    def _config(self, trial: TrialRecord, seed: int) -> Experiment:
        """The experiment of one of a trial's seeds. Values that were tried before are tried under the next seeds."""
        config = apply(self.document, self.overrides, trial.params)
        before = sum(1 for other in self.work.record.trials[: trial.number] if other.params == trial.params)
        # Members of a population differ in their seeds too.
        offset = trial.number if self.population is not None else before * self.sweep.seeds + seed
        if not offset or trial.params.keys() & SEED_KEYS:
            return config
        later = (config.train.seed + offset) % 2**32
        return config.model_copy(update={"train": config.train.model_copy(update={"seed": later})})

    def _let_go(self, *, save: bool) -> None:
        """Gives back the runs of lanes that wait, and saves those that are in memory alone, unless others may have taken them."""
        waiting = [(lane.place, lane.run) for lane in self.pool.lanes if save and lane.place is not None and lane.unsaved]
        for parked in {id(progress): progress for (progress, _), _ in waiting}.values():
            runs = {index: run for (progress, index), run in waiting if progress is parked}
            places = [runs.get(index) for index in range(len(parked.best_step))]
            engine.save_lanes(parked, [None if run is None else self.work.checkpoints(run) for run in places])
        message = f"waited for its next rung; `{command_line()}` continues"
        self._close_runs([lane for lane in self.pool.lanes if lane.held], Status.INTERRUPTED, message)

    def _close_runs(self, lanes: Sequence[Lane], status: Status, message: str) -> None:
        """Ends the runs of lanes that no session has, where they stand."""
        if not lanes:
            return
        per_epoch = {lane.key: self.bench.plan(lane.config).steps_per_epoch for lane in lanes}
        endings = [
            Ending(str(lane.run), status, message, lane.step, lane.step // per_epoch[lane.key], seconds=lane.spent)
            for lane in lanes
        ]
        finish_runs(self.store, endings)

    def _stopping(self) -> bool:
        return self.interrupts.received is not None or (self.deadline is not None and time.monotonic() >= self.deadline)

    def _satisfied(self) -> str | None:
        """Why no more trials are needed, if so."""
        record, target, plateau = self.work.record, self.sweep.target_value, self.sweep.plateau
        best = record.ranked[0] if record.ranked else None
        if best is None or best.value is None:
            return None
        if target is not None and (best.value >= target if self.work.maximize else best.value <= target):
            return f"the target value {target:g} is reached"
        later = sum(1 for trial in record.trials if trial.number > best.number and trial.status is not None)
        return f"no better one in {later} trials" if plateau is not None and later >= plateau else None

    def _broken(self) -> str | None:
        """Why the sweep should not go on, if so."""
        failures, most = self.work.failures, self.sweep.max_consecutive_failures
        if failures and self.sweep.on_fail == "stop":
            return "a trial failed, and on_fail is stop"
        return f"{failures} trials failed one after the other" if most is not None and failures >= most else None

    def _outcome(self) -> tuple[Status, str]:
        statuses = self.work.statuses()
        done = sum(statuses.values())
        of = f"{done} of {self.total} trials" if self.total is not None else f"{done} trials"
        if why := self._satisfied():
            return Status.COMPLETED, f"{of}; {why}"
        if why := self._broken():
            return Status.FAILED, f"{why}, after {of}: `dlx sweep show {self.work.record.id}` has their messages"
        if self.total is not None and done >= self.total:
            if not statuses.get(Status.COMPLETED):
                return Status.FAILED, f"{of}, and none was completed: `dlx sweep show {self.work.record.id}` tells why"
            return Status.COMPLETED, of
        if not self._stopping():
            return Status.COMPLETED, f"{of}; other workers have the rest"
        reason = self.interrupts.received.name if self.interrupts.received is not None else "--max-time was used up"
        begun = sum(1 for trial in self.work.record.trials if trial.status is None and trial.run_id is not None)
        return (
            Status.INTERRUPTED,
            f"{reason} after {of}{f', with {begun} more begun' if begun else ''}; the same command continues",
        )
