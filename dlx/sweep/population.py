"""Population-based training (Jaderberg et al. 2017): at every meeting the worst go on from where the best are.

Who takes whose place is a function of (seed, evaluation, values). A member's notes have its `schedule`, the exchanges it went
through; its run's config has the whole way of its weights as `replay`, so that `dlx train` can take it again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dlx import engine
from dlx.config import Experiment
from dlx.config.experiment import Change
from dlx.config.sampler import PbtSampler
from dlx.config.space import Choice, Dimension, FloatRange, Space, value_at
from dlx.events import Notice
from dlx.store import exchange
from dlx.sweep.pool import Lane
from dlx.sweep.work import Work


def evolve(
    config: PbtSampler, space: Space, members: Mapping[int, tuple[float, Mapping[str, Any]]], at: int, *, maximize: bool
) -> dict[int, tuple[int, dict[str, Any]]]:
    """Who is replaced after evaluation `at`: by number, whose place it takes, and its values from then on.

    `members` are values and searched values by number. The worst `quantile` each copy one of the best (truncation selection).
    """
    order = sorted(members, key=lambda n: (-members[n][0] if maximize else members[n][0], n))
    count = int(len(order) * config.quantile)
    random = np.random.default_rng(np.random.SeedSequence([config.seed, at]))
    moves = {}
    for loser in order[len(order) - count :]:
        parent = order[int(random.integers(count))]
        moves[loser] = parent, {k: _explored(config, space[k], v, random) for k, v in members[parent][1].items()}
    return moves


def exchange_lanes(config: PbtSampler, space: Space, work: Work, lanes: Sequence[Lane], every: int) -> Iterator[Notice]:
    """Lets the worst of a population go on from the best, once all its members stand at one meeting.

    `every` is the number of steps from one evaluation to the next.
    """
    steps = {lane.step for lane in lanes}
    if len(steps) != 1 or not lanes[0].step or lanes[0].step % (every * config.interval):
        return
    step, at = steps.pop(), lanes[0].step // every
    if any(lane.trial.notes.get("met") == step or at not in lane.curve for lane in lanes):
        return  # this meeting was held before the process was killed
    by_number = {lane.trial.number: lane for lane in lanes}
    members = {lane.trial.number: (lane.curve[at], lane.trial.final) for lane in lanes}
    moves = evolve(config, space, members, at, maximize=work.maximize)
    before = {number: (lane.place, lane.story) for number, lane in by_number.items()}
    for loser, (parent, values) in moves.items():
        lane = by_number[loser]
        source, target = (work.checkpoints(str(by_number[n].run)) for n in (parent, loser))
        newest = engine.newest_checkpoint(source)
        if newest is not None:  # before it is written down: whoever is killed in between does the same again
            engine.write_atomically(target / newest.name, newest.read_bytes())
        lane.place, story = before[parent]
        change = Change(at=step, values={**values, "train.seed": lane.config.train.seed})
        lane.config = lane.config.with_values(values)
        lane.story = story.model_copy(update={"replay": (*story.replay, change)})
        entry = {"step": step, "from": parent, "values": values}
        _note(lane, schedule=[*lane.trial.notes.get("schedule", ()), entry])
    for lane in lanes:
        _note(lane, met=step)
    exchange(
        work.store,
        work.record.id,
        work.worker,
        {lane.trial.number: lane.trial.notes for lane in lanes},
        {str(by_number[loser].run): by_number[loser].story.model_dump(mode="json") for loser in moves},
    )
    if moves:
        pairs = ", ".join(f"{loser} from {parent}" for loser, (parent, _) in sorted(moves.items()))
        yield Notice(f"evaluation {at}: trials go on from better ones: {pairs}")


def restore_lane(lane: Lane, stored: Mapping[str, Any]) -> None:
    """Gives a member the values that its last exchange left it with; `stored` is its run's config."""
    for entry in lane.trial.notes.get("schedule", ()):
        lane.story = Experiment.model_validate(stored)
        lane.config = lane.config.with_values(entry["values"])


def _note(lane: Lane, **notes: Any) -> None:
    lane.trial = replace(lane.trial, notes={**lane.trial.notes, **notes})


def _explored(config: PbtSampler, dimension: Dimension, value: Any, random: np.random.Generator) -> Any:
    """A value near another one, or drawn anew."""
    anew = bool(random.random() < config.resample)
    place, factor = float(random.random()), config.factors[int(random.integers(len(config.factors)))]
    if isinstance(dimension, Choice):
        return value_at(dimension, place) if anew else value
    if anew:
        return value_at(dimension, place)
    moved = min(max(value * factor, dimension.low), dimension.high)
    return float(moved) if isinstance(dimension, FloatRange) else round(moved)
