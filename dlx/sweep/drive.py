"""A sweep from its first proposal to its last result: an iterator of events that keeps the store up to date."""

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dlx import engine
from dlx.config import Experiment, Override
from dlx.config.load import Document, to_yaml, validate
from dlx.config.space import apply, check_space, fitted
from dlx.config.sweep import Sweep, TpeSampler
from dlx.errors import ConfigError, DataError, DlxError, MissingInputError, RunFailedError, Status, UsageError
from dlx.events import CohortStarted, Event, Finished, Notice, SweepEvent, SweepFinished, SweepStarted, TrialFinished
from dlx.experiment.assemble import Assembly
from dlx.experiment.clock import Stopwatch
from dlx.experiment.environment import capture, command_line, git_state, sources
from dlx.experiment.interrupts import Interrupts
from dlx.experiment.session import Heartbeat, Manner, Session, checkpoint_folder
from dlx.store import (
    NewRun,
    NewSweep,
    Store,
    TrialRecord,
    add_trials,
    check_name,
    claim_run,
    find_sweep,
    finish_sweep,
    finish_trials,
    heartbeat_sweep,
    rewind_run,
    start_runs,
)
from dlx.sweep.bench import Bench
from dlx.sweep.propose import Mirror, Proposer, grid_size
from dlx.sweep.take import take
from dlx.sweep.tally import Tally

BATCH = 16
"""Proposals at a time of a sampler that learns: the fewer, the better informed; the more, the fuller the cohorts."""
MOST_DIGITS = "9999999"
"""Of a trial's number, in the name of its run."""
MOST_POINTS = 10_000
"""Of a grid that is to be tried whole."""

_ITS_OWN = (ConfigError, DataError, MissingInputError, RunFailedError)
"""Failures of one trial's own config: the others go on."""


def sweep_runs(
    sweep: Sweep,
    document: Document,
    overrides: Sequence[Override],
    store: Store,
    *,
    name: str | None = None,
    max_seconds: float | None = None,
) -> Iterator[Event | SweepEvent]:
    """Runs a sweep to its number of trials; the same sweep again continues it. Ends with `SweepFinished`.

    Raises `ConfigError` for an impossible space, or for a name that another sweep has; `BusyError` when another process
    runs this one; `UsageError` when nothing says how long to search.
    """
    engine.configure()
    if sweep.objective.metric is not None:
        overrides = [*overrides, Override(("train", "monitor"), sweep.objective.metric)]
    base = validate(document, overrides)
    space = fitted(sweep.search, document, overrides)
    check_space(space, document, overrides)
    with Interrupts() as interrupts:
        stretch = _Stretch(sweep.model_copy(update={"search": space}), document, overrides, base, store, interrupts)
        yield from stretch.run(name, None if max_seconds is None else time.monotonic() + max_seconds)


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
    ) -> None:
        self.sweep, self.document, self.overrides, self.base = sweep, document, tuple(overrides), base
        self.store, self.interrupts = store, interrupts
        self.watch, self.bench = Stopwatch(), Bench()

    def run(self, name: str | None, deadline: float | None) -> Iterator[Event | SweepEvent]:
        """Everything from the first look at the data to the last word."""
        self.deadline = deadline
        base = self.bench.resolve(self.base)
        self.base_tree = base.model_dump(mode="json")
        first = self.bench.plan(base)
        self.monitor, self.maximize = first.monitor, first.maximize
        self._check_direction()
        self.environment: dict[str, Any] = {**capture(), "git": git_state()[0]}
        total = self._total()
        record = take(self.store, self._describe(name, total))
        self.id, self.name = record.id, record.name
        self.params = [trial.params for trial in record.trials]
        self.tally = Tally(self.maximize)
        self.proposer = Proposer(self.sweep.search, self.sweep.sampler, self.base_tree, record.direction, record.trials)
        for trial in record.trials:
            if trial.status is not None:
                self.tally.count(_finished(trial, "", trial.run_id, trial.status, trial.value))
        yield SweepStarted(
            self.id,
            self.name,
            total,
            self.tally.done,
            len(self.sweep.search),
            self.monitor,
            self.maximize,
            self.environment["device"],
            self.store.folder,
        )
        status, message = Status.FAILED, "stopped by an error"
        try:
            waiting = [t for t in record.trials if t.status is None and (total is None or t.number < total)]
            with (
                Heartbeat(lambda: heartbeat_sweep(self.store, self.id)),
                Mirror(self.store.url, self.name, self.id, self.proposer) as mirror,
            ):
                for event in self._batches(waiting, total):
                    if isinstance(event, CohortStarted):
                        mirror.update(find_sweep(self.store, self.id).trials)  # what the cohorts before this one found
                    yield event
                mirror.update(find_sweep(self.store, self.id).trials)
                self.watch.lap("store")
                if failure := mirror.failure():
                    yield Notice(f"Optuna's own tables lack some of the trials, dlx's have all: {failure}")
            status, message = self._outcome(total)
        except GeneratorExit:
            status, message = Status.INTERRUPTED, "stopped by its reader"
            raise
        except DlxError as error:
            message = str(error)
            raise
        finally:
            self.watch.lap("mirror")
            finish_sweep(self.store, self.id, status, message, self.watch.seconds)
        yield SweepFinished(
            self.id,
            status,
            message,
            dict(self.tally.statuses),
            self.tally.best,
            self.bench.programs,
            dict(self.watch.seconds),
            self.store.folder,
        )

    def _batches(self, waiting: Sequence[TrialRecord], total: int | None) -> Iterator[Event | SweepEvent]:
        """Trials that were left waiting, then one batch of proposals after another."""
        while not self._stopping():
            waiting = waiting or self._ask(total)
            if not waiting:
                return
            yield from self._train(waiting)
            waiting = ()

    def _ask(self, total: int | None) -> list[TrialRecord]:
        """The next proposals, written down before anything of them is run."""
        size = self.sweep.batch or (BATCH if isinstance(self.sweep.sampler, TpeSampler) or total is None else total)
        count = size if total is None else min(size, total - len(self.params))
        proposed = self.proposer.ask(count) if count > 0 else {}
        self.watch.lap("sampler")
        if proposed:
            add_trials(self.store, self.id, proposed)
            self.params += proposed.values()
        self.watch.lap("store")
        return [TrialRecord(number, params, None, None, None) for number, params in proposed.items()]

    def _train(self, waiting: Sequence[TrialRecord]) -> Iterator[Event | SweepEvent]:
        """Trains trials, group after group. What cannot even begin fails, and the sweep goes on."""
        ready: list[tuple[TrialRecord, Experiment]] = []
        for trial in waiting:
            try:
                config = self.bench.resolve(self._config(trial))
                self.bench.plan(config)
                ready.append((trial, config))
            except _ITS_OWN as error:
                yield from self._fail([trial], error)
        for group in self.bench.groups([config for _, config in ready]):
            told = self.tally.done
            try:
                for part in self.bench.split(group, ready[group[0]][1]):
                    if self._stopping():
                        return
                    members = [ready[position] for position in part]
                    yield from self._cohort([trial for trial, _ in members], [config for _, config in members])
            except _ITS_OWN as error:
                yield from self._fail([ready[position][0] for position in group[self.tally.done - told :]], error)

    def _fail(self, trials: Sequence[TrialRecord], error: DlxError) -> Iterator[Event | SweepEvent]:
        yield Notice(f"trials {', '.join(str(trial.number) for trial in trials)} failed: {error}")
        yield from self._close([_finished(trial, str(error), trial.run_id, Status.FAILED, None) for trial in trials])

    def _cohort(self, trials: Sequence[TrialRecord], configs: Sequence[Experiment]) -> Iterator[Event | SweepEvent]:
        """Trains trials of equal structure together."""
        compiled, assembly = self.bench.assembly(configs)
        self.watch.lap("assemble")
        numbers = tuple(trial.number for trial in trials)
        plan, lanes = assembly.plan, assembly.cohort.lanes
        yield CohortStarted(numbers, lanes, plan.total_steps, assembly.program.parameters(), compiled)
        runs = self._runs(trials, configs, assembly)
        splits = ("validation" if assembly.program.feed.sizes["validation"] else "train", "test")
        manner = Manner(command_line(), splits, self.tally.keep)
        self.watch.lap("store")
        session = Session(self.store, runs, assembly, Stopwatch(), self.interrupts, self.deadline, manner)
        tried = dict(zip(runs, zip(trials, configs, strict=True), strict=True))
        ended: list[TrialFinished] = []
        for event in session.run(assembly.cohort.start()):
            if not isinstance(event, Finished):
                yield event
            elif event.status is not Status.INTERRUPTED:
                trial, config = tried[event.run]
                value = event.metrics.get(self.monitor) if event.status is Status.COMPLETED else None
                ended.append(_finished(trial, event.message, event.run, event.status, value))
                if checkpoint_folder(event.path).exists():
                    _write_beside(event.path, config, assembly)
        self.watch.add(session.watch)
        before = self.tally.best
        yield from self._close(ended)
        if before is not None and before.run is not None and self.tally.best is not before:
            shutil.rmtree(checkpoint_folder(self.store.run_folder(before.run)), ignore_errors=True)

    def _close(self, ended: Sequence[TrialFinished]) -> Iterator[TrialFinished]:
        """Stores and tells what came of trials."""
        if ended:
            finish_trials(self.store, self.id, {t.number: (t.status, t.value, t.message) for t in ended})
        for trial in ended:
            self.proposer.tell(trial.number, trial.status, trial.value)
            yield self.tally.count(trial)

    def _config(self, trial: TrialRecord) -> Experiment:
        """The trial's experiment. One that was tried before is tried under the next seed."""
        config = apply(self.document, self.overrides, trial.params)
        repeats = sum(1 for params in self.params[: trial.number] if params == trial.params)
        if not repeats or trial.params.keys() & {"train", "train.seed"}:
            return config
        seed = (config.train.seed + repeats) % 2**32
        return config.model_copy(update={"train": config.train.model_copy(update={"seed": seed})})

    def _runs(self, trials: Sequence[TrialRecord], configs: Sequence[Experiment], assembly: Assembly) -> list[str]:
        """A run for each trial: the one it began with, set back to its start, or a new one."""
        left = {trial.number: trial.run_id for trial in trials if trial.run_id is not None}
        for run in left.values():
            claim_run(self.store, run, self.environment["device"])
            rewind_run(self.store, run, 0)
        plan = assembly.plan
        new = {
            trial.number: NewRun(
                config=config.model_dump(mode="json"),
                environment={**self.environment, "data": self.bench.fingerprint(config), "sources": sources(config)},
                steps_total=plan.total_steps,
                steps_per_epoch=plan.steps_per_epoch,
                monitor=plan.monitor,
                direction="maximize" if plan.maximize else "minimize",
                name=f"{self.name or self.id}/{trial.number}",
                lanes=assembly.cohort.lanes,
                lane=lane,
                command=command_line(),
                device=self.environment["device"],
            )
            for lane, (trial, config) in enumerate(zip(trials, configs, strict=True))
            if trial.number not in left
        }
        started = dict(zip(new, start_runs(self.store, list(new.values()), sweep=self.id, trials=list(new)), strict=True))
        return [(left | started)[trial.number] for trial in trials]

    def _describe(self, name: str | None, total: int | None) -> NewSweep:
        """What makes this sweep this sweep: another experiment, space, sampler or data is another sweep."""
        check_name(f"{name or ''}/{MOST_DIGITS}")  # the name of a run
        own = self.sweep.model_dump(mode="json", include={"search", "objective", "sampler"})
        described = {"experiment": self.base_tree, "data": self.bench.fingerprint(self.base), **own}
        direction = "maximize" if self.maximize else "minimize"
        return NewSweep(json.loads(json.dumps(described)), self.monitor, direction, total, name, command_line())

    def _total(self) -> int | None:
        total = self.sweep.trials
        if self.sweep.sampler.kind == "grid":
            points = grid_size(self.sweep.search, self.base_tree, (total or MOST_POINTS) + 1)
            if total is None and points > MOST_POINTS:
                raise ConfigError(
                    f"the grid has more than {MOST_POINTS:,} points: give --trials N, wider steps, or another sampler"
                )
            total = min(points, total or points)
        if total is None and self.deadline is None:
            raise UsageError("how long shall the search go on? Give --trials N, or --max-time '30 minutes'")
        return total

    def _check_direction(self) -> None:
        asked, own = self.sweep.objective.direction, "maximize" if self.maximize else "minimize"
        if asked not in (None, own):
            raise ConfigError(f"objective.direction is {asked}, but {self.monitor} is better the other way: leave it out")

    def _stopping(self) -> bool:
        return self.interrupts.received is not None or (self.deadline is not None and time.monotonic() >= self.deadline)

    def _outcome(self, total: int | None) -> tuple[Status, str]:
        done = self.tally.done
        of = f"{done} of {total} trials" if total is not None else f"{done} trials"
        if total is not None and done >= total:
            if not self.tally.statuses[Status.COMPLETED]:
                return Status.FAILED, f"{of}, and none was completed: `dlx sweep show {self.id}` tells why"
            return Status.COMPLETED, of
        reason = self.interrupts.received.name if self.interrupts.received is not None else "--max-time was used up"
        return Status.INTERRUPTED, f"{reason} after {of}; the same command continues"


def _write_beside(folder: Path, config: Experiment, assembly: Assembly) -> None:
    """Writes beside a run's weights what evaluating them needs."""
    engine.write_atomically(folder / "config.yaml", to_yaml(config).encode())
    engine.write_atomically(folder / "preprocessing.json", json.dumps(assembly.dataset.preprocessing, indent=1).encode())


def _finished(trial: TrialRecord, message: str, run: str | None, status: Status, value: float | None) -> TrialFinished:
    return TrialFinished(trial.number, run, status, message, value, trial.params, best=False)
