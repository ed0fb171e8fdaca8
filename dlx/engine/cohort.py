"""The training loop: the one place where steps are taken. A generator of events that takes decisions back.

A cohort is the lanes running together on one program. `dlx train` is a cohort of one lane.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlx.config.schedule import ReduceOnPlateau
from dlx.engine.checkpoint import Checkpoint, named_leaves, read_checkpoint, read_weights, write_checkpoint
from dlx.engine.placement import host
from dlx.engine.plateau import Plateau, after_evaluation
from dlx.engine.program import Name, Program
from dlx.engine.state import LaneState, judged
from dlx.engine.troubles import Troubles
from dlx.errors import DataError
from dlx.events import Checkpointed, Compiled, Compiling, Decision, Evaluated, Event, Measured, Notice
from dlx.tasks import Concluding, LearnerState, Watchful

CONTINUE = Decision()
"""The answer that changes nothing."""
RAW = "raw_"
"""Before the name of a metric of weights that are averaged: `validation/raw_loss`."""
TRAIN_SAMPLE = 10_000
"""At most so many training examples are scored at the end, to tell overfitting."""


@dataclass(frozen=True)
class Plan:
    """What a cohort does, in steps."""

    total_steps: int
    steps_per_epoch: int
    evaluate_every: int
    batch_size: int
    data_seed: int
    monitor: str
    """A metric of the form `split/name`, where split is `validation`, or `train` where there is no validation part."""
    maximize: bool
    patience: int | None

    @property
    def evaluations(self) -> int:
        """How many there are in all; the last may come early."""
        return -(-self.total_steps // self.evaluate_every)

    def next_evaluation(self, step: int) -> int:
        """The first step after `step` at which the validation part is scored; the end always is."""
        return min(self.total_steps, (step // self.evaluate_every + 1) * self.evaluate_every)


@dataclass(frozen=True)
class Progress:
    """Where a cohort stands. The arrays on the device carry a leading lane axis (K, ...); the others are host arrays (K,)."""

    step: int
    lanes: LaneState
    best: LearnerState
    best_value: np.ndarray
    best_step: np.ndarray
    stale: np.ndarray
    """Evaluations since each lane's best."""
    stopped_at: np.ndarray
    """The step at which a lane ran out of patience or was told to stop, or -1. It may go on in the program, but nothing of it
    counts any more."""
    pending: Mapping[str, np.ndarray]
    """Sums of the training steps since the last evaluation, float64, added step by step: chunks do not matter."""

    @property
    def out(self) -> np.ndarray:
        """The lanes that have ended: diverged, or stopped."""
        return (self.stopped_at >= 0) | (np.asarray(self.lanes.diverged_at) >= 0)


class Cohort:
    """Lanes on a program, with a plan. Every method that compiles or steps is a generator of events.

    `changes` are the same program with other configs, each from its step on.
    """

    def __init__(self, program: Program, plan: Plan, changes: Sequence[tuple[int, Program]] = ()) -> None:
        self.program, self.plan, self.changes = program, plan, changes
        self.lanes = program.placement.lanes

    def start(self) -> Generator[Event, Decision | None, Progress]:
        """Fresh lanes at step 0."""
        yield from self._compile("init")
        lanes = self.program.init()
        k = self.lanes
        worst = np.full(k, -np.inf if self.plan.maximize else np.inf)
        return Progress(
            0,
            lanes,
            self.program.copy(judged(lanes.learner)),
            worst,
            np.full(k, -1),
            np.zeros(k, int),
            np.full(k, -1),
            pending={},
        )

    def begin_with(self, folder: Path) -> Generator[Event, Decision | None, Progress]:
        """Lanes at step 0 that all have the best weights of the newest intact checkpoint of a folder, under fresh optimizers and counters.

        Raises `DataError` when there is none, or when it is of another architecture.
        """
        weights = read_weights(folder, judged(self.program.lane_state.learner)).tree
        progress = yield from self.start()
        learner = self.program.join([weights] * self.lanes)
        return _with_weights(progress, learner)

    def agreeing(self, weights: Mapping[str, np.ndarray]) -> tuple[list[str], list[str]]:
        """Of the names of a lane's weights, such as `params/output/kernel`, those that `weights` has in the same shape, and the others.

        Counters among the statistics are neither: they tell how far their own run was.
        """
        mine = [(name, leaf) for name, leaf in named_leaves(judged(self.program.lane_state.learner)) if _is_weight(leaf)]
        taken = [name for name, leaf in mine if name in weights and _suits(weights[name], leaf)]
        return taken, [name for name, _ in mine if name not in taken]

    def start_from(self, weights: Mapping[str, np.ndarray]) -> Generator[Event, Decision | None, Progress]:
        """Lanes at step 0, fresh but for what agrees in name and shape with `weights`, which all lanes then have."""
        progress = yield from self.start()
        taken, _ = self.agreeing(weights)
        fresh = host(judged(progress.lanes.learner))
        leaves = [np.stack([weights[name]] * self.lanes) if name in taken else leaf for name, leaf in named_leaves(fresh)]
        return _with_weights(progress, self.program.spread(jax.tree.unflatten(jax.tree.structure(fresh), leaves)))

    def restore(self, folders: Sequence[Path]) -> Generator[Event, Decision | None, Progress]:
        """The lanes as the newest intact checkpoints of the given folders (one per lane) left them.

        Raises `DataError` when there is none, or when it is of another architecture.
        """
        shapes = self.program.lane_state
        saved = [read_checkpoint(folder, (shapes, judged(shapes.learner))) for folder in folders]
        for damaged in (file for s in saved for file in s.damaged):
            yield Notice(f"checkpoint {damaged} is damaged; the one before it is used")
        if len({s.step for s in saved}) != 1:
            raise DataError(f"the lanes' checkpoints are at different steps: {', '.join(str(s.step) for s in saved)}")
        lanes, best = self.program.join([s.tree for s in saved])
        return Progress(
            saved[0].step,
            lanes,
            best,
            np.array([s.numbers["best_value"] for s in saved]),
            np.array([s.numbers["best_step"] for s in saved], int),
            np.array([s.numbers["stale"] for s in saved], int),
            np.array([s.numbers["stopped_at"] for s in saved], int),
            {name: np.stack([np.asarray(s.pending[name]) for s in saved]) for name in saved[0].pending},
        )

    def gather(self, parts: Sequence[tuple[Progress, Sequence[int]]]) -> Progress:
        """Lanes of other cohorts of this structure, all at one step, as this cohort's: (where they are, which), in order."""

        def joined(name: str) -> Any:
            trees = [_taken(vars(part)[name], lanes) for part, lanes in parts]
            return jax.tree.map(lambda *leaves: np.concatenate(leaves), *trees)  # (K, ...)

        steps = {part.step for part, _ in parts}
        if len(steps) != 1:
            raise ValueError(f"lanes at different steps cannot train together: {sorted(steps)}")
        numbers = {name: joined(name) for name in ("best_value", "best_step", "stale", "stopped_at", "pending")}
        return Progress(
            steps.pop(), lanes=self.program.spread(joined("lanes")), best=self.program.spread(joined("best")), **numbers
        )

    def prepare(self) -> Generator[Event, Decision | None, None]:
        """Compiles what training needs, unless it is compiled."""
        yield from self._compile("init")
        for name in self._needed():
            yield from self._compile(name)

    def train(self, progress: Progress, first: Decision = CONTINUE) -> Generator[Event, Decision | None, Progress]:
        """Takes steps until the plan's end, until no lane is left, or until a decision says stop.

        `first` is the decision before the first chunk; each event is answered with the next one.
        """
        plan, decision, troubles = self.plan, first, Troubles()
        for name in self._needed() if progress.step < plan.total_steps else ():
            if not decision.stop:  # a signal need not wait for what is not compiled yet
                decision = _merge(decision, (yield from self._compile(name)))
        while progress.step < plan.total_steps and not progress.out.all() and not decision.stop:
            progress, rates = self._advance(progress, decision.max_steps)
            complete = progress.step == plan.next_evaluation(progress.step - 1)
            decision = (yield self._measured(progress, rates, complete)) or CONTINUE
            if complete:
                train = self._train_metrics(progress)
                progress, event = self._evaluate(replace(progress, pending={}), train)
                answer = (yield event) or CONTINUE
                decision = _merge(decision, answer)
                for sentence in (*self._troubles(troubles, train, event), *self._conclusion(train, event)):
                    decision = _merge(decision, (yield Notice(sentence)) or CONTINUE)
            if decision.out:
                stopped = progress.stopped_at.copy()
                stopped[list(decision.out)] = progress.step
                progress = replace(progress, stopped_at=stopped)
            if decision.save:
                yield save_lanes(progress, decision.save)
            decision = replace(decision, save=(), out=())
        return progress

    def judge(self, progress: Progress, splits: Sequence[str]) -> Generator[Event, Decision | None, None]:
        """Scores parts of the data by each lane's best weights."""
        yield from self._compile("evaluate")
        steps = tuple(int(step) if step >= 0 else None for step in progress.best_step)
        for split in splits:
            limit = TRAIN_SAMPLE if split == "train" else None
            metrics = self._metrics(self._program_at(progress.step).evaluate(progress.best, split, limit), split)
            yield Evaluated(progress.step, self._epoch(progress.step), split, metrics, best_steps=steps)

    def _advance(self, progress: Progress, max_steps: int | None) -> tuple[Progress, Any]:
        plan, start = self.plan, progress.step
        change = min((step for step, _ in self.changes if step > start), default=plan.total_steps)
        until = min(plan.next_evaluation(start), change)
        steps = min(until - start, self.program.shapes.chunk, max_steps or plan.total_steps)
        rows = self.program.feed.batches(plan.data_seed, start, steps, plan.batch_size)
        lanes, history, rates = self._program_at(start).train(progress.lanes, rows, start)
        pending = dict(progress.pending)
        for name, sums in history.items():
            each = np.asarray(sums, np.float64)[:, :steps]  # (K, steps, ...)
            before = pending.get(name, np.zeros_like(each[:, 0]))
            # Added one step after the other, so that the total does not depend on where the chunks were cut.
            pending[name] = np.add.accumulate(np.concatenate([before[:, None], each], 1), 1)[:, -1]
        return replace(progress, step=start + steps, lanes=lanes, pending=pending), rates

    def _program_at(self, step: int) -> Program:
        """The program with the configs of the step after so many."""
        return next((program for at, program in reversed(self.changes) if at <= step), self.program)

    def _measured(self, progress: Progress, rates: Any, complete: bool) -> Measured:
        host_rates = {name: np.asarray(value) for name, value in rates.items()}
        metrics = tuple(
            {**lane, **{f"train/{name}": float(value[i]) for name, value in host_rates.items()}}
            for i, lane in enumerate(self._train_metrics(progress))
        )
        diverged = np.asarray(progress.lanes.diverged_at)
        at = tuple(int(step) if step >= 0 else None for step in diverged)
        return Measured(progress.step, self._epoch(progress.step), metrics, complete, at)

    def _train_metrics(self, progress: Progress) -> tuple[dict[str, float], ...]:
        lanes = [{name: s[i] for name, s in progress.pending.items()} for i in range(self.lanes)]
        return self._metrics(lanes, "train")

    def _evaluate(self, progress: Progress, train: Sequence[Mapping[str, float]]) -> tuple[Progress, Evaluated]:
        """Scores the validation part and keeps what is best. Without one, the training metrics decide.

        Where weights are averaged, the average has the plain names, and the raw weights are scored beside it.
        """
        split = "validation" if self.program.feed.sizes["validation"] else "train"
        program = self._program_at(progress.step)
        raw = judged(progress.lanes.learner)
        weights = self._averaged(progress) if program.averages else raw
        if split == "validation":
            metrics = self._metrics(program.evaluate(weights, split), split)
            if program.averages:
                beside = self._metrics(program.evaluate(raw, split), split, RAW)
                metrics = tuple({**lane, **other} for lane, other in zip(metrics, beside, strict=True))
        else:
            metrics = tuple(dict(lane) for lane in train)
        if f"/{RAW}" in self.plan.monitor:
            weights = raw
        value = np.array([lane.get(self.plan.monitor, np.nan) for lane in metrics])
        better = value > progress.best_value if self.plan.maximize else value < progress.best_value
        counts = ~progress.out
        # A score can look good while the weights are no numbers: the first of several NaNs counts as the largest logit.
        loss = f"{split}/{RAW}loss" if split == "validation" and program.averages else f"{split}/loss"
        progress = self._mark_ruined(progress, [lane.get(loss, np.nan) for lane in metrics])
        progress = self._slow_down(progress, value)
        improved = better & ~progress.out
        best = progress.best
        if improved.any():
            best = self.program.keep(improved, weights, best)
        stale = np.where(improved, 0, progress.stale + 1)
        stops = (progress.stopped_at < 0) & (stale >= self.plan.patience if self.plan.patience else False)
        progress = replace(
            progress,
            best=best,
            best_value=np.where(improved, value, progress.best_value),
            best_step=np.where(improved, progress.step, progress.best_step),
            stale=stale,
            stopped_at=np.where(stops, progress.step, progress.stopped_at),
        )
        flags = [tuple(bool(x) for x in mask) for mask in (improved, counts)]
        return progress, Evaluated(progress.step, self._epoch(progress.step), split, metrics, *flags)

    def _troubles(self, troubles: Troubles, train: Sequence[Mapping[str, float]], event: Evaluated) -> list[str]:
        """What the task says that is wrong, of lanes that count."""
        task = self.program.task
        if not isinstance(task, Watchful):
            return []
        lanes = zip(train, event.metrics, event.counts, strict=True)
        said = [task.warnings({**of_steps, **of_part}) if counts else {} for of_steps, of_part, counts in lanes]
        return troubles.new(said)

    def _conclusion(self, train: Sequence[Mapping[str, float]], event: Evaluated) -> list[str]:
        """What the task says at the end of a training; of lanes side by side nothing, since their scores say more."""
        task = self.program.task
        if not isinstance(task, Concluding) or event.step < self.plan.total_steps or not (self.lanes == 1 and event.counts[0]):
            return []
        # An evaluation may come before an epoch is over: the task is told how much its training metrics are of.
        since = (event.step - 1) // self.plan.evaluate_every * self.plan.evaluate_every
        covered = {"train/epochs": self._epoch(event.step - since)}
        return [task.conclusion({**train[0], **event.metrics[0], **covered}, event.epoch)]

    def _mark_ruined(self, progress: Progress, losses: Sequence[float]) -> Progress:
        """Marks the lanes whose last step made their weights non-finite, before another step has shown it in its loss."""
        at = np.array(progress.lanes.diverged_at)
        sound = np.isfinite(losses)
        if not self.program.feed.sizes["validation"]:  # the losses are those of the steps, from before each of them
            params = jax.tree.leaves(host(progress.lanes.learner.params))
            sound = np.all([np.isfinite(leaf).reshape(self.lanes, -1).all(1) for leaf in params], axis=0)
        ruined = ~sound & (at < 0)
        if not ruined.any():
            return progress
        at[ruined] = progress.step
        return replace(progress, lanes=progress.lanes._replace(diverged_at=self.program.spread(at)))

    def _averaged(self, progress: Progress) -> LearnerState:
        """The learners with their averaged weights."""
        rows = self.program.feed.batches(self.plan.data_seed, 0, self.program.shapes.statistics, self.plan.batch_size)
        return self._program_at(progress.step).average(progress.lanes.learner, rows)

    def _slow_down(self, progress: Progress, values: np.ndarray) -> Progress:
        """Under a schedule that looks at plateaus, with what it makes of the monitored values (K,)."""
        schedule = self._program_at(progress.step).configs.schedule
        if not isinstance(schedule, ReduceOnPlateau):
            return progress
        plateau = after_evaluation(host(schedule), progress.lanes.plateau, values, maximize=self.plan.maximize)
        return replace(progress, lanes=progress.lanes._replace(plateau=Plateau(*map(self.program.spread, plateau))))

    def _metrics(self, lanes: Sequence[Mapping[str, np.ndarray]], split: str, mark: str = "") -> tuple[dict[str, float], ...]:
        """Metrics named `split/metric`; none for a lane that has counted nothing (it diverged before)."""
        task = self.program.task
        return tuple(
            {f"{split}/{mark}{name}": value for name, value in task.metrics(sums).items()} if sums.get("count", 0) else {}
            for sums in lanes
        )

    def _needed(self) -> tuple[Name, ...]:
        evaluate: tuple[Name, ...] = ("evaluate",) if self.program.feed.sizes["validation"] else ()
        return ("train", "keep", *evaluate, *(("average",) if self.program.averages else ()))

    def _compile(self, name: Name) -> Generator[Event, Decision | None, Decision]:
        """Compiles a function unless it is compiled, and returns the answer to that."""
        if self.program.is_compiled(name):
            return CONTINUE
        yield Compiling(name)
        self.program.compile(name)
        return (yield Compiled(name)) or CONTINUE

    def _epoch(self, step: int) -> float:
        return step / self.plan.steps_per_epoch


def park_lanes(progress: Progress, lanes: Sequence[int]) -> Progress:
    """Some of the lanes, in host memory, where they wait."""
    return Progress(**{name: value if name == "step" else _taken(value, lanes) for name, value in vars(progress).items()})


def save_lanes(progress: Progress, folders: Sequence[Path | None]) -> Checkpointed:
    """Writes each lane's checkpoint into its folder; lanes without one are left out."""
    tree = host((progress.lanes, progress.best))
    paths = []
    for lane, folder in enumerate(folders):
        if folder is None:
            continue
        numbers = {
            "best_value": float(progress.best_value[lane]),
            "best_step": int(progress.best_step[lane]),
            "stale": int(progress.stale[lane]),
            "stopped_at": int(progress.stopped_at[lane]),
        }
        pending = {name: s[lane].tolist() for name, s in progress.pending.items()}
        own = jax.tree.map(lambda x, lane=lane: x[lane], tree)
        paths.append(write_checkpoint(folder, Checkpoint(progress.step, own, numbers, pending)))
    return Checkpointed(progress.step, tuple(paths))


def _taken(tree: Any, lanes: Sequence[int]) -> Any:
    """Some of the lanes of arrays (K, ...), on the host."""
    return jax.tree.map(lambda x: np.asarray(x)[list(lanes)], tree)


def _merge(first: Decision, second: Decision) -> Decision:
    """Two answers given between the same two chunks: either may stop or save."""
    return Decision(
        first.stop or second.stop, first.save or second.save, second.max_steps or first.max_steps, (*first.out, *second.out)
    )


def _with_weights(progress: Progress, learner: LearnerState) -> Progress:
    """The progress with the parameters and running statistics of other lanes (K, ...), under its own optimizers and counters."""
    own = progress.lanes.learner
    rest = jax.tree.map(lambda fresh, other: other if _is_weight(fresh) else fresh, own.rest, learner.rest)
    return replace(progress, lanes=progress.lanes._replace(learner=own._replace(params=learner.params, rest=rest)))


def _is_weight(leaf: Any) -> bool:
    """Whether a parameter or statistic was learned; whole numbers count steps, such as the one that says which layer of a `dbn` learns."""
    return jnp.issubdtype(leaf.dtype, jnp.floating)


def _suits(weight: np.ndarray, leaf: Any) -> bool:
    """Whether a weight can be that of each lane of a leaf (K, ...)."""
    return (weight.shape, weight.dtype) == (tuple(leaf.shape[1:]), leaf.dtype)
