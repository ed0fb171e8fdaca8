"""Trainings that wait for a cohort, and which of them train together next."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dlx import engine
from dlx.config import Experiment
from dlx.engine import Progress
from dlx.store import Training, TrialRecord
from dlx.sweep.bench import Bench
from dlx.sweep.work import Key

PARKED = 8
"""Full programs' worth of survivors that may wait, in the host's memory."""


@dataclass(eq=False)
class Lane:
    """One training of a trial on its way."""

    trial: TrialRecord
    training: Training
    config: Experiment
    run: str | None
    """Its run, once it has begun."""
    step: int = 0
    """Where it stands."""
    held: bool = False
    """Whether this process holds its run."""
    place: tuple[Progress, int] | None = None
    """Its state in memory: a cohort's, and which lane of it. Else, past step 0, its checkpoint is its state."""
    story: Experiment = field(init=False)
    """How its weights are trained anew; in a population with all changes on the way."""
    curve: dict[int, float] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)
    unsaved: float = 0.0
    """Seconds of its cohorts' training that are in no checkpoint."""
    attempts: int = 0
    """How often it has failed."""

    def __post_init__(self) -> None:
        self.story = self.config

    def set_back(self, step: int, every: int) -> None:
        """Puts it to where its checkpoint is, and forgets what it measured later; `every` is the steps from evaluation to evaluation."""
        self.step, self.unsaved = step, 0.0
        self.curve = {at: value for at, value in self.curve.items() if at * every <= step}

    @property
    def key(self) -> Key:
        """Which training of the sweep it is."""
        return self.trial.number, self.training.seed


class Pool:
    """Waiting lanes. Those of one structure that stand at one step can train together."""

    def __init__(self, bench: Bench, *, together: bool = False) -> None:
        self.bench, self.together = bench, together
        """`together`: nobody runs ahead of the others, instead of taking those furthest on first."""
        self.patient = False
        """Whether no proposal depends on results, so that survivors may wait until they fill a program."""
        self.lanes: list[Lane] = []

    def next(self, *, more: bool) -> list[Lane]:
        """Takes out the lanes of the next cohort: of those furthest on that are enough to be worth a program.

        While there are `more` trials to come, lanes at a rung wait until they fill one; none are taken when all wait.
        """
        chosen = self.peek(more=more)
        self.lanes = [lane for lane in self.lanes if lane not in chosen]
        return chosen

    def peek(self, *, more: bool) -> list[Lane]:
        """What `next` would take."""
        groups: dict[Any, list[Lane]] = {}
        waiting = sum(1 for lane in self.lanes if lane.step)
        for lane in self.lanes:
            groups.setdefault((lane.step, engine.structure(lane.config)), []).append(lane)
        for (step, _), lanes in sorted(groups.items(), key=lambda group: group[0][0] if self.together else -group[0][0]):
            full, width = self.bench.most_lanes(lanes[0].config), self.bench.width(lanes[0].config)
            enough = full if self.patient and waiting < PARKED * full else width
            if step == 0 or not more or self.together or len(lanes) >= enough:
                size = self.bench.size(len(lanes), lanes[0].config, full=step > 0 and more and not self.together)
                return list(_whole_trials(lanes, size, self.bench.most_lanes(lanes[0].config)))
        return []


def _whole_trials(lanes: Sequence[Lane], size: int, most: int) -> Sequence[Lane]:
    """The first `size` lanes, without the seeds of a trial that does not fit whole.

    When not even the first does, it has a cohort of its own if it fits into `most` lanes.
    """
    if size >= len(lanes):
        return lanes
    cut = lanes[size].trial.number
    whole = [lane for lane in lanes[:size] if lane.trial.number != cut]
    alone = [lane for lane in lanes if lane.trial.number == cut]
    return whole or (alone if len(alone) <= most else lanes[:size])
