"""A leg: a cohort from where its lanes stand to where they part, at a rung or at the end."""

import json
from collections.abc import Generator, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean

from jax.errors import JaxRuntimeError

from dlx import engine
from dlx.config.load import to_yaml
from dlx.config.pruner import PrunerConfig
from dlx.engine import Progress
from dlx.errors import DataError, DeviceMemoryError, Status
from dlx.events import Checkpointed, CohortStarted, Decision, Event, Finished, Metrics, Notice, RungReached, SweepEvent
from dlx.experiment.assemble import Assembly
from dlx.experiment.clock import Stopwatch
from dlx.experiment.environment import command_line, sources
from dlx.experiment.interrupts import Interrupts
from dlx.experiment.session import Manner, Rung, Session, device_failure
from dlx.store import NewRun, Result, claim_run, rewind_run, start_runs
from dlx.sweep.bench import Bench, filled_up
from dlx.sweep.pool import Lane
from dlx.sweep.rungs import prune, rungs
from dlx.sweep.work import Key, Work

RUNG_SECONDS = 5.0
"""Training that a killed process may lose at a rung. To write a cohort's checkpoints takes tenths of a second."""


class Leg:
    """Trains lanes of one structure together, all from one step on, and to the next `interval` of evaluations if there is one."""

    def __init__(
        self,
        work: Work,
        bench: Bench,
        lanes: Sequence[Lane],
        pruner: PrunerConfig,
        interrupts: Interrupts,
        deadline: float | None,
        *,
        more: bool,
        interval: int | None = None,
    ) -> None:
        self.work, self.bench, self.lanes, self.pruner = work, bench, list(lanes), pruner
        self.interrupts, self.deadline, self.more, self.interval = interrupts, deadline, more, interval
        self.watch = Stopwatch()
        self.size = engine.lanes_for(len(lanes))
        """How many lanes its program has."""
        self._fits = self.size
        self.reached: RungReached | None = None
        self.ended: set[Key] = set()

    def run(self) -> Iterator[Event | SweepEvent]:
        """Trains, and reports what has ended. Afterwards `going` has the lanes that go on."""
        try:
            yield from self._run()
        except JaxRuntimeError as error:  # outside of the session: while the data was placed, or a program compiled
            raise device_failure(error) from error

    def _run(self) -> Iterator[Event | SweepEvent]:
        step = self.lanes[0].step
        config = self.lanes[0].config
        exact = step > 0 and self.bench.alone(config, len(self.lanes), self.bench.plan(config).total_steps - step)
        compiled, self.assembly = self.bench.assembly([lane.config for lane in self.lanes], exact=exact)
        self.watch.lap("assemble")
        numbers = tuple(dict.fromkeys(lane.trial.number for lane in self.lanes))
        plan, cohort = self.assembly.plan, self.assembly.cohort
        self.size = self._fits = cohort.lanes
        self.total = plan.evaluations
        self.rungs = range(self.interval, self.total, self.interval) if self.interval else rungs(self.pruner, self.total)
        yield CohortStarted(
            numbers,
            cohort.lanes,
            step,
            plan.total_steps,
            self.assembly.program.parameters(),
            compiled,
        )
        for event in cohort.prepare():
            self.watch.lap(self.watch.phase(event))
            yield event
        if self.watch.seconds.get("compile"):
            self.bench.took(config, self.watch.seconds["assemble"] + self.watch.seconds["compile"])
        self._check_memory()
        runs = self._begin_runs()
        splits = ("validation" if self.assembly.program.feed.sizes["validation"] else "train", "test")
        manner = Manner(command_line(), splits, self._keep, self._compare if self.rungs else None)
        self.watch.lap("store")
        spent = [lane.spent for lane in self.lanes]
        self.training = Stopwatch()
        self._saved_at = -max(lane.unsaved for lane in self.lanes)
        session = Session(self.work.store, runs, self.assembly, self.training, self.interrupts, self.deadline, manner, spent)
        try:
            yield from self._follow(session)
        finally:
            for lane in self.lanes:
                lane.held = False
            self.watch.add(self.training)
            if session.progress is not None and session.progress.step > step:
                self.bench.paced(config, cohort.lanes, self._step_seconds(session.progress.step))
        if session.open and session.progress is not None:
            parked = engine.park_lanes(session.progress, session.open)
            for place, index in enumerate(session.open):
                lane = self.lanes[index]
                lane.step, lane.place, lane.held, lane.spent = parked.step, (parked, place), True, session.spent[index]
                lane.unsaved = self._unsaved()
        self.watch.lap("other")

    @property
    def fitting(self) -> int:
        """How many lanes to try where these do not fit on the device: half as many, or as few as the prediction says."""
        return max(1, min(self.size // 2, self._fits))

    @property
    def going(self) -> list[Lane]:
        """The lanes that wait for another leg."""
        return [lane for lane in self.lanes if lane.held]

    def unfinished(self) -> list[Lane]:
        """The lanes whose result is not written down, after an error."""
        trials = self.work.record.trials
        ended = {(t.number, each.seed) for t in trials for each in t.trainings if each.status is not None}
        return [lane for lane in self.lanes if lane.key not in ended]

    def _follow(self, session: Session) -> Iterator[Event | SweepEvent]:
        results: list[Result] = []
        try:
            yield from self._events(session, results)
        finally:  # also of those pruned just before an error
            ended = list(self.work.report(results))
        yield from ended

    def _events(self, session: Session, results: list[Result]) -> Iterator[Event | SweepEvent]:
        """The session's events; results of what has ended are added up, and reported when others go on."""
        by_run = {lane.run: lane for lane in self.lanes}
        for event in session.run(self._begin()):
            if isinstance(event, Finished):
                if event.status is not Status.INTERRUPTED:
                    results.append(self._result(by_run[event.run], event.status, event.metrics, event.message))
                    self.ended.add(by_run[event.run].key)
                continue
            if results:  # those pruned at a rung
                yield from self.work.report(results)
                results.clear()
            if isinstance(event, Checkpointed) and len(event.paths) >= len(session.open):
                self._saved_at = self._trained()
                if self.rungs:
                    self._write_curves()  # whoever goes on from here has the past that it is judged by
            if self.reached is not None:
                yield self.reached
                self.reached = None
            yield event

    def _begin(self) -> Generator[Event, Decision | None, Progress]:
        """The lanes where they stand: fresh, as they were parked, or as their checkpoints have them."""
        cohort = self.assembly.cohort
        filled = filled_up(self.lanes, cohort.lanes)
        if not self.lanes[0].step:
            return (yield from cohort.start())
        places = [lane.place for lane in filled if lane.place is not None]
        if len(places) == len(filled):
            together = groupby(places, key=lambda place: id(place[0]))
            parts = [list(group) for _, group in together]
            for lane in self.lanes:
                lane.place = None  # and what waited in memory can go
            return cohort.gather([(part[0][0], [index for _, index in part]) for part in parts])
        try:
            progress = yield from cohort.restore([self.work.checkpoints(str(lane.run)) for lane in filled])
        except DataError as error:
            yield Notice(f"{error}: trials {', '.join(str(lane.trial.number) for lane in self.lanes)} begin again at step 0")
            progress = yield from cohort.start()
        if progress.step != self.lanes[0].step:  # newer checkpoints were damaged
            for lane in self.lanes:
                lane.set_back(progress.step, self.assembly.plan.evaluate_every)
                rewind_run(self.work.store, str(lane.run), progress.step)
        return progress

    def _begin_runs(self) -> list[str]:
        """A run for each lane: the one it began with, set back to where the lane stands, or a new one."""
        store, environment, plan = self.work.store, self.work.environment, self.assembly.plan
        for lane in self.lanes:
            if lane.run is not None and not lane.held:
                claim_run(store, lane.run, environment["device"])
                lane.held = True
                rewind_run(store, lane.run, lane.step)
        fresh = [(index, lane) for index, lane in enumerate(self.lanes) if lane.run is None]
        new = [
            NewRun(
                config=lane.config.model_dump(mode="json"),
                environment={**environment, "data": self.bench.fingerprint(lane.config), "sources": sources(lane.config)},
                steps_total=plan.total_steps,
                steps_per_epoch=plan.steps_per_epoch,
                monitor=plan.monitor,
                direction="maximize" if plan.maximize else "minimize",
                name=self._name(lane),
                lanes=self.assembly.cohort.lanes,
                lane=index,
                command=command_line(),
                device=environment["device"],
            )
            for index, lane in fresh
        ]
        keys = [lane.key for _, lane in fresh]
        started = start_runs(store, new, sweep=self.work.record.id, worker=self.work.worker, trials=keys)
        for (_, lane), run in zip(fresh, started, strict=True):
            lane.run, lane.held = run, True
        return [str(lane.run) for lane in self.lanes]

    def _name(self, lane: Lane) -> str:
        several = len(self.work.record.trials[lane.trial.number].trainings) > 1
        seed = f".{lane.training.seed}" if several else ""
        return f"{self.work.record.name or self.work.record.id}/{lane.trial.number}{seed}"

    def _check_memory(self) -> None:
        """Refuses a program that the device cannot hold, before it takes a step."""
        needed, there, lanes = self.assembly.program.memory_bytes(), engine.memory_limit(), self.assembly.cohort.lanes
        if needed > there:
            fits = int(lanes * there / needed)  # as if all of it were the lanes' own: a first guess
            self._fits = 1 << max(0, fits.bit_length() - 1)
            raise DeviceMemoryError(
                f"a program of {lanes} lane{'s' if lanes > 1 else ''} needs {needed / 1e9:.1f} GB, and the device has "
                f"{there / 1e9:.1f} GB: lower train.batch_size or the model's sizes"
            )

    def _compare(self, number: int, values: Sequence[float]) -> Rung | None:
        """Judges the lanes after an evaluation; of a trial with several seeds the mean counts, and all go the same way."""
        at_work = [(lane, value) for lane, value in zip(self.lanes, values, strict=True) if value == value]  # no NaN
        for lane, value in at_work:
            lane.curve[number] = value
        if number not in self.rungs or not at_work:
            return None
        if self.interval:  # the population meets: all wait for the others
            self._write_curves()
            return Rung({}, leave=True, save=True)
        curves = {trial.number: trial.curve for trial in self.work.record.trials}
        mine: dict[int, list[Lane]] = {}
        for lane, _ in at_work:
            mine.setdefault(lane.trial.number, []).append(lane)
        for trial, lanes in mine.items():
            known = set.intersection(*(set(lane.curve) for lane in lanes))
            curves[trial] = {at: fmean(lane.curve[at] for lane in lanes) for at in known}
        doomed = prune(self.pruner, curves, list(mine), number, self.total, self.work.maximize)
        out = {
            index: f"pruned after evaluation {number} of {self.total}: {self.work.record.monitor} {values[index]:.4g}"
            for index, lane in enumerate(self.lanes)
            if values[index] == values[index] and lane.trial.number in doomed
        }
        going = len(at_work) - len(out)
        self.reached = RungReached(number, self.total, tuple(sorted(doomed)), len(mine) - len(doomed))
        leave = bool(out) and going > 0 and self._parts(going)
        save = bool(out) and going > 0 and self._unsaved() >= RUNG_SECONDS
        if out:
            self._write_curves()
        return Rung(out, leave, save)

    def _write_curves(self) -> None:
        self.work.note([Result(*lane.key, None, curve=lane.curve) for lane in self.lanes if lane.key not in self.ended])

    def _parts(self, going: int) -> bool:
        """Whether those that go on should do so elsewhere: with lanes of other cohorts, or in a smaller program.

        Who trains with whom decides who is compared with whom, so no clock has a say in it.
        """
        lanes = engine.lanes_for(len(self.lanes))
        return 4 * going <= 3 * lanes if self.more else 2 * going <= lanes

    def _trained(self) -> float:
        """Seconds of this leg's training and evaluations."""
        return self.training.seconds.get("train", 0.0) + self.training.seconds.get("evaluate", 0.0)

    def _unsaved(self) -> float:
        """Seconds of training that a process killed now would have to do again."""
        return self._trained() - self._saved_at

    def _step_seconds(self, step: int) -> float:
        """What a step of this leg has taken up to there."""
        return self._trained() / max(1, step - self.lanes[0].step)

    def _keep(self, metrics: Sequence[Metrics]) -> set[int]:
        """The lanes to save: those that will be among the best once their results are written down."""
        results = [
            self._result(lane, Status.COMPLETED, scores, "") for lane, scores in zip(self.lanes, metrics, strict=True) if scores
        ]
        best = self.work.keepers(self.work.record.with_results(results))
        mine = {(result.trial, result.seed) for result in results}
        kept = {index for index, lane in enumerate(self.lanes) if lane.key in best & mine}
        for index in kept:
            lane = self.lanes[index]
            _write_beside(self.work.store.run_folder(str(lane.run)), lane, self.assembly)
        return kept

    def _result(self, lane: Lane, status: Status, metrics: Metrics, message: str) -> Result:
        values = tuple(metrics.get(goal.metric, float("nan")) for goal in self.work.record.goals)
        return Result(*lane.key, status, values if status is Status.COMPLETED else None, message, lane.curve)


def _write_beside(folder: Path, lane: Lane, assembly: Assembly) -> None:
    """Writes beside a run's weights what evaluating them needs."""
    engine.write_atomically(folder / "config.yaml", to_yaml(lane.config).encode())
    engine.write_atomically(folder / "preprocessing.json", json.dumps(assembly.dataset.preprocessing, indent=1).encode())
