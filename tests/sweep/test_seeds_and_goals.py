"""Trials under several seeds, and sweeps with several objectives."""

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dlx.config.pruner import HalvingPruner
from dlx.config.sweep import Objective, load_sweep, with_options
from dlx.errors import ConfigError, Status
from dlx.events import CohortStarted, RungReached
from dlx.store import Store, find_run, find_sweep, list_runs, open_store
from dlx.sweep.bench import Bench
from dlx.sweep.drive import sweep_runs

TINY = ["model.hidden=[8]", "data.limit=300", "train.duration=2 epochs"]
LR = "optimizer.lr=tag(log, interval(1e-4, 1e-1))"
SIZES = "model.hidden=choice([2], [4], [8], [16])"
ACCURACY, LOSS, PARAMETERS = (
    Objective(metric="validation/accuracy"),
    Objective(metric="validation/loss"),
    Objective(metric="parameters"),
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(str(tmp_path / "results" / "dlx.db")) as opened:
        yield opened


def sweep(store: Store, *words: str, trials: int | None = None, sampler: str = "random", **fields: Any) -> list[Any]:
    tiny = TINY[1:] if SIZES in words else TINY
    described, document, overrides = load_sweep("digits-mlp", [*tiny, *words])
    chosen = with_options(described, {"trials": trials, "sampler": sampler}).model_copy(update=fields)
    return list(sweep_runs(chosen, document, overrides, store))


def only(events: list[Any], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def saved(store: Store) -> set[str]:
    """The runs whose weights are there."""
    return {path.parts[-3] for path in (store.folder / "runs").glob("*/checkpoints/*.safetensors")}


def test_three_seeds_are_three_runs_and_the_mean_counts(store: Store) -> None:
    events = sweep(store, LR, "train.seed=7", trials=3, seeds=3)
    last = events[-1]
    assert (last.trials, len(list_runs(store))) == ({"completed": 3}, 9)
    record = find_sweep(store, last.sweep)
    for trial in record.trials:
        runs = [find_run(store, str(training.run_id)) for training in trial.trainings]
        assert [run.config["train"]["seed"] for run in runs] == [7, 8, 9]
        assert [run.name for run in runs] == [f"{record.id}/{trial.number}.{seed}" for seed in range(3)]
        assert {run.config["optimizer"]["lr"] for run in runs} == {trial.params["optimizer.lr"]}
        each = [run.metrics["validation/accuracy"] for run in runs]
        assert trial.value == pytest.approx(statistics.fmean(each))
        assert trial.deviation == pytest.approx(statistics.stdev(each))
    assert last.best.value == max(trial.value for trial in record.trials)
    assert last.best.deviation == record.ranked[0].deviation
    assert saved(store) == {training.run_id for training in record.ranked[0].trainings}


def test_a_repeated_configuration_takes_the_seeds_that_follow(store: Store) -> None:
    last = sweep(store, "optimizer.lr=choice(1e-2)", trials=3, seeds=2)[-1]
    trials = find_sweep(store, last.sweep).trials
    seeds = [[find_run(store, str(t.run_id)).config["train"]["seed"] for t in trial.trainings] for trial in trials]
    assert seeds == [[0, 1], [2, 3], [4, 5]]


def test_a_pruner_judges_the_mean_and_stops_all_seeds_of_a_trial_together(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bench, "most_lanes", lambda *_: 64)
    steps = ["train.duration=9 steps", "train.evaluate_every=1 steps", "train.monitor=validation/loss"]
    events = sweep(store, LR, *steps, trials=9, seeds=3, pruner=HalvingPruner(min_resource=1))
    reached = only(events, RungReached)
    assert [(e.evaluation, len(e.pruned), e.going) for e in reached] == [(1, 6, 3), (3, 2, 1)]  # trials, of three lanes each
    assert events[-1].trials == {"pruned": 8, "completed": 1}
    record = find_sweep(store, events[-1].sweep)
    for trial in record.trials:
        runs = [find_run(store, str(training.run_id)) for training in trial.trainings]
        assert len({(run.status, run.step) for run in runs}) == 1
        assert len({training.status for training in trial.trainings}) == 1
    best = sorted(record.trials, key=lambda trial: statistics.fmean(training.curve[1] for training in trial.trainings))[:3]
    assert {trial.number for trial in best} == set(range(9)) - set(reached[0].pruned)
    assert all(
        trial.curve[1] == pytest.approx(statistics.fmean(t.curve[1] for t in trial.trainings)) for trial in record.trials
    )


def test_the_seeds_of_a_trial_stay_in_one_cohort(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four lanes hold one trial of three seeds, and not a part of a second."""
    monkeypatch.setattr(Bench, "most_lanes", lambda *_: 4)
    events = sweep(store, LR, trials=3, seeds=3)
    assert [cohort.trials for cohort in only(events, CohortStarted)] == [(0,), (1,), (2,)]
    assert len(list_runs(store)) == 9


def test_more_seeds_than_lanes_are_trained_all_the_same(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bench, "most_lanes", lambda *_: 2)
    last = sweep(store, LR, trials=2, seeds=3)[-1]
    assert (last.trials, len(list_runs(store))) == ({"completed": 2}, 6)
    best = find_sweep(store, last.sweep).ranked[0]
    assert saved(store) == {training.run_id for training in best.trainings}


def test_all_seeds_of_the_winner_keep_their_weights_where_lanes_take_turns(store: Store) -> None:
    """Convolutions on a CPU: three lanes are no whole number of programs."""
    conv = "model={kind: convnet, channels: [2], dense: []}"
    described, document, overrides = load_sweep("digits-mlp", [*TINY[1:], conv, LR])
    chosen = with_options(described, {"trials": 1, "seeds": 3, "sampler": "random"})
    last = list(sweep_runs(chosen, document, overrides, store))[-1]
    assert saved(store) == {training.run_id for training in find_sweep(store, last.sweep).trials[0].trainings}


def test_a_pruner_judges_the_mean_also_where_lanes_take_turns(store: Store) -> None:
    conv = "model={kind: convnet, channels: [2], dense: []}"
    steps = ["train.duration=9 steps", "train.evaluate_every=1 steps", "train.monitor=validation/loss"]
    described, document, overrides = load_sweep("digits-mlp", ["data.limit=300", *steps, conv, LR])
    chosen = with_options(described, {"trials": 3, "seeds": 3, "sampler": "random"})
    pruned = chosen.model_copy(update={"pruner": HalvingPruner(min_resource=3)})
    events = list(sweep_runs(pruned, document, overrides, store))
    for trial in find_sweep(store, events[-1].sweep).trials:
        assert len({training.status for training in trial.trainings}) == 1
        assert len({find_run(store, str(training.run_id)).step for training in trial.trainings}) == 1
    assert events[-1].trials == {"completed": 1, "pruned": 2}


def test_one_seed_that_diverges_is_its_trials_outcome(store: Store) -> None:
    last = sweep(store, "optimizer.kind=sgd", "optimizer.lr=choice(1e-2, 1e30)", trials=2, seeds=2, sampler="grid")[-1]
    assert last.trials == {"completed": 1, "diverged": 1}
    assert find_sweep(store, last.sweep).trials[1].values is None


def test_a_searched_seed_and_seeds_exclude_each_other(store: Store) -> None:
    with pytest.raises(ConfigError, match=r"search train.seed: seeds is given too"):
        sweep(store, "train.seed=choice(1, 2)", trials=2, seeds=2)


def test_another_number_of_seeds_is_another_sweep(store: Store) -> None:
    assert sweep(store, LR, trials=1, seeds=1)[-1].sweep != sweep(store, LR, trials=1, seeds=2)[-1].sweep


def test_of_several_objectives_the_front_is_what_none_beats_and_keeps_its_weights(store: Store) -> None:
    events = sweep(store, SIZES, LR, trials=10, objective=(LOSS, PARAMETERS))
    last, record = events[-1], find_sweep(store, events[-1].sweep)
    assert [(goal.metric, goal.direction) for goal in record.goals] == [
        ("validation/loss", "minimize"),
        ("parameters", "minimize"),
    ]
    points = {trial.number: trial.values for trial in record.trials}
    for trial in record.trials:
        run = find_run(store, str(trial.run_id))
        (width,) = trial.params["model.hidden"]
        assert trial.values == (run.metrics["validation/loss"], 64 * width + 2 * width + 10 * width + 10)
    front = {
        number
        for number, (loss, size) in points.items()
        if not any(o[0] <= loss and o[1] <= size and o != (loss, size) for o in points.values())
    }
    assert 1 < len(front) < 10
    assert {trial.number for trial in last.front} == {trial.number for trial in record.front} == front
    assert saved(store) == {record.trials[number].run_id for number in front}
    assert [trial.values for trial in last.front] == [record.trials[trial.number].values for trial in last.front]
    assert last.best.number == min(points, key=lambda number: points[number][0])


def test_directions_follow_the_metrics_of_several_objectives(store: Store) -> None:
    last = sweep(store, LR, trials=4, objective=(ACCURACY, LOSS), sampler="tpe")[-1]
    record = find_sweep(store, last.sweep)
    assert [(goal.metric, goal.direction) for goal in record.goals] == [
        ("validation/accuracy", "maximize"),
        ("validation/loss", "minimize"),
    ]
    again = sweep(store, LR, trials=4, objective=(ACCURACY, LOSS), sampler="tpe")
    assert (again[-1].sweep, only(again, CohortStarted)) == (last.sweep, [])
    assert {trial.number for trial in again[-1].front} == {trial.number for trial in last.front}


def test_a_lane_of_several_objectives_that_diverges_is_not_on_the_front(store: Store) -> None:
    words = ("optimizer.kind=sgd", "optimizer.lr=choice(1e-2, 1e30)")
    last = sweep(store, *words, trials=2, sampler="grid", objective=(LOSS, PARAMETERS))[-1]
    assert last.trials == {"completed": 1, "diverged": 1}
    assert [trial.number for trial in last.front] == [0]


@pytest.mark.parametrize(
    ("objectives", "sentence"),
    [
        (
            (Objective(metric="validation/acc"),),
            "objective.metric is 'validation/acc'; this experiment can be searched for validation/accuracy",
        ),
        ((LOSS, Objective(metric="validation/acc")), "objective.metric is 'validation/acc'; this sweep can have"),
        ((LOSS, Objective()), "objective.metric validation/loss is there twice"),
        ((LOSS, LOSS), "objective.metric validation/loss is there twice"),
        ((LOSS, PARAMETERS, PARAMETERS), "twice"),
        ((PARAMETERS, LOSS), "parameters"),
        ((Objective(metric="validation/loss", direction="maximize"),), "validation/loss is better the other way: leave it out"),
        ((LOSS, Objective(metric="parameters", direction="maximize")), "parameters is better the other way: leave it out"),
    ],
)
def test_a_wrong_objective_is_one_sentence_before_the_first_trial(
    store: Store, objectives: tuple[Objective, ...], sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        sweep(store, LR, trials=1, objective=objectives)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list_runs(store)


def test_a_sampler_of_one_objective_is_refused_for_several(store: Store) -> None:
    with pytest.raises(ConfigError, match="cmaes, which has one objective"):
        sweep(store, LR, trials=1, objective=(LOSS, PARAMETERS), sampler="cmaes")


def test_keep_2_keeps_the_weights_of_the_best_two(store: Store) -> None:
    last = sweep(store, LR, trials=6, keep=2, batch=2)[-1]
    ranked = find_sweep(store, last.sweep).ranked
    assert saved(store) == {ranked[0].run_id, ranked[1].run_id}
    assert sweep(store, LR, trials=8, keep=2, batch=2)[-1].status is Status.COMPLETED
    assert saved(store) == {trial.run_id for trial in find_sweep(store, last.sweep).ranked[:2]}
