"""Population-based training: who takes whose place, the way back as a config, and exchanges that a killed sweep does not repeat."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dlx.config.experiment import Experiment
from dlx.config.sampler import PbtSampler
from dlx.config.space import Choice, FloatRange, IntRange, Space
from dlx.config.sweep import load_sweep, with_options
from dlx.errors import ConfigError, Status, UsageError
from dlx.events import CohortStarted
from dlx.experiment.run import start
from dlx.store import Store, SweepRecord, find_run, find_sweep, open_store
from dlx.sweep.drive import sweep_runs
from dlx.sweep.population import evolve

SPACE: Space = {
    "optimizer.lr": FloatRange(low=1e-4, high=1e-1, log=True),
    "model.dropout": FloatRange(low=0.0, high=0.6),
    "train.seed": IntRange(low=0, high=100),
    "task.label_smoothing": Choice(choices=(0.0, 0.1)),
}
VALUES = {"optimizer.lr": 1e-2, "model.dropout": 0.3, "train.seed": 40, "task.label_smoothing": 0.1}
WORDS = [
    "model.hidden=[8]",
    "data.limit=300",
    "optimizer.kind=sgd",
    "schedule.kind=constant",
    "train.duration=4 epochs",
    "optimizer.lr=tag(log, interval(1e-3, 1e-1))",
    "model.dropout=interval(0, 0.5)",
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(str(tmp_path / "results" / "dlx.db")) as opened:
        yield opened


def sweep(store: Store, *words: str, stop_at: int | None = None, trials: int | None = 4, **settings: Any) -> SweepRecord:
    """A population's sweep; `stop_at` leaves it when its cohorts begin from that step."""
    described, document, overrides = load_sweep("digits-mlp", [*WORDS, *words])
    described = with_options(described, {"sampler": {"kind": "pbt", **settings}["kind"], "trials": trials})
    events = sweep_runs(described.model_copy(update={"sampler": PbtSampler(**settings)}), document, overrides, store, name="p")
    for event in events:
        if isinstance(event, CohortStarted) and event.step == stop_at:
            events.close()
    return find_sweep(store, "p")


def test_the_worst_quarter_takes_the_place_of_the_best() -> None:
    members = {n: (float(n), VALUES) for n in range(8)}
    for maximize, losers, winners in ((True, {0, 1}, {6, 7}), (False, {6, 7}, {0, 1})):
        moves = evolve(PbtSampler(), SPACE, members, 3, maximize=maximize)
        assert moves.keys() == losers
        assert {parent for parent, _ in moves.values()} <= winners
    assert evolve(PbtSampler(), SPACE, dict.fromkeys(range(3), (0.0, VALUES)), 1, maximize=True) == {}  # too few for a quarter


def test_values_move_by_a_factor_within_their_range_or_are_drawn_anew() -> None:
    members = {n: (float(n), VALUES) for n in range(200)}
    near = evolve(PbtSampler(resample=0.0), SPACE, members, 1, maximize=True)
    assert {round(values["optimizer.lr"], 6) for _, values in near.values()} == {0.008, 0.0125}
    assert {values["train.seed"] for _, values in near.values()} == {32, 50}
    assert {values["task.label_smoothing"] for _, values in near.values()} == {0.1}  # a choice has no neighbours
    anew = evolve(PbtSampler(resample=1.0), SPACE, members, 1, maximize=True)
    rates = [values["optimizer.lr"] for _, values in anew.values()]
    assert len(set(rates)) == len(rates) == 50
    assert 1e-4 <= min(rates) < 1e-3 < 1e-2 < max(rates) <= 1e-1
    edge = evolve(PbtSampler(resample=0.0), SPACE, {n: (0.0, {"model.dropout": 0.59}) for n in range(40)}, 1, maximize=True)
    assert max(values["model.dropout"] for _, values in edge.values()) == 0.6


def test_who_takes_whose_place_depends_on_seed_and_evaluation_alone() -> None:
    members = {n: (float(n), VALUES) for n in range(40)}
    first = evolve(PbtSampler(seed=1), SPACE, members, 2, maximize=True)
    assert first == evolve(PbtSampler(seed=1), SPACE, dict(reversed(members.items())), 2, maximize=True)
    assert first != evolve(PbtSampler(seed=2), SPACE, members, 2, maximize=True)
    assert first != evolve(PbtSampler(seed=1), SPACE, members, 3, maximize=True)


def test_the_way_of_the_winner_can_be_taken_again(store: Store) -> None:
    """Its run's config, changes included, trains to the same scores: SGD is continuous, so to float tolerance."""
    record = sweep(store, quantile=0.5)
    assert {trial.status for trial in record.trials} == {Status.COMPLETED}
    changed = [trial for trial in record.trials if trial.notes.get("schedule")]
    assert changed
    for trial in changed[:2]:
        run = find_run(store, str(trial.run_id))
        config = Experiment.model_validate(run.config)
        assert config.replay
        assert trial.final == {k: v for k, v in config.replay[-1].values.items() if k != "train.seed"}
        *_, again = start(config, store)
        for name in ("validation/loss", "test/loss", "validation/accuracy"):
            assert again.metrics[name] == pytest.approx(run.metrics[name], rel=1e-4)


@pytest.mark.optimized
def test_a_stopped_population_goes_on_as_the_other_did(tmp_path: Path) -> None:
    """Left in the middle and taken up again: the same exchanges, the same values, bit for bit."""
    records = []
    for name, stop in (("whole", None), ("stopped", 8)):
        with open_store(str(tmp_path / name / "dlx.db")) as store:
            if stop is not None:
                assert sweep(store, stop_at=stop, quantile=0.5).status is Status.INTERRUPTED
            records.append(sweep(store, quantile=0.5))
    whole, stopped = records
    assert [trial.notes["schedule"] for trial in stopped.trials if "schedule" in trial.notes] == [
        trial.notes["schedule"] for trial in whole.trials if "schedule" in trial.notes
    ]
    assert [(trial.params, trial.value) for trial in stopped.trials] == [(trial.params, trial.value) for trial in whole.trials]


def test_what_chooses_the_program_cannot_change_on_the_way(store: Store) -> None:
    with pytest.raises(ConfigError, match=r"pbt, but train.batch_size chooses the program"):
        sweep(store, "train.batch_size=16,32")
    with pytest.raises(UsageError, match="give --trials N"):
        sweep(store, trials=None)
