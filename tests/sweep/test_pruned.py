"""Sweeps that stop trials early: who stops where, what is left of them, and what kill -9 or SIGTERM at a rung costs."""

import functools
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest

from dlx.config import load_experiment, parse_override
from dlx.config.pruner import (
    HalvingPruner,
    HyperbandPruner,
    MedianPruner,
    NoPruner,
    PatientPruner,
    PercentilePruner,
    PrunerConfig,
    ThresholdPruner,
)
from dlx.config.sweep import load_sweep, with_options
from dlx.engine import newest_step
from dlx.errors import Status, UsageError
from dlx.events import CohortStarted, Evaluated, RungReached
from dlx.experiment.run import start
from dlx.store import Store, TrialRecord, curves, find_run, find_sweep, list_runs, open_store
from dlx.sweep.bench import Bench
from dlx.sweep.drive import sweep_runs
from dlx.sweep.rungs import prune, rungs

TINY = ["model.hidden=[8]", "data.limit=300", "optimizer.kind=sgd", "optimizer.momentum=0.9", "train.monitor=validation/loss"]
STEPS = ["train.duration=27 steps", "train.evaluate_every=1 steps"]
"""27 evaluations: rungs after 1, 3 and 9."""
LR = "optimizer.lr=tag(log, interval(1e-4, 1e-1))"
CLEAR = "optimizer.lr=choice(1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)"
"""So short a training learns nothing but by the highest of these rates."""
HALVING = HalvingPruner()
TRIALS = 12


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(str(tmp_path / "results" / "dlx.db")) as opened:
        yield opened


@pytest.fixture
def eight_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device of which eight lanes are all and four are worth a program, whatever this machine has."""
    monkeypatch.setattr(Bench, "most_lanes", lambda *_: 8)
    monkeypatch.setattr(Bench, "width", lambda *_: 4)


@pytest.fixture
def many_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device on which any of these sweeps is one cohort, which stays together."""
    monkeypatch.setattr(Bench, "most_lanes", lambda *_: 64)
    monkeypatch.setattr(Bench, "pays", lambda *_: False)


@pytest.fixture
def smaller_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling takes no time: survivors always get a program of their size."""
    monkeypatch.setattr(Bench, "most_lanes", lambda *_: 64)
    monkeypatch.setattr(Bench, "pays", lambda _bench, _config, lanes, going, _seconds: 1 << (going - 1).bit_length() < lanes)


def sweep(store: Store, *words: str, trials: int, pruner: PrunerConfig = HALVING, **fields: Any) -> list[Any]:
    described, document, overrides = load_sweep("digits-mlp", [*TINY, *STEPS, *words])
    sampler = fields.pop("sampler", "random")
    name = fields.pop("name", None)
    chosen = with_options(described, {"trials": trials, "sampler": sampler}).model_copy(update={"pruner": pruner, **fields})
    return list(sweep_runs(chosen, document, overrides, store, name=name))


def only(events: list[Any], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def saved(store: Store, run: str) -> list[Path]:
    return list((store.run_folder(run) / "checkpoints").glob("*.safetensors"))


def test_of_27_fresh_trials_under_eta_3_go_on_9_then_3_then_1(store: Store, many_lanes: None) -> None:
    events = sweep(store, LR, trials=27)
    reached = only(events, RungReached)
    assert [(e.evaluation, e.evaluations, len(e.pruned), e.going) for e in reached] == [
        (1, 27, 18, 9),
        (3, 27, 6, 3),
        (9, 27, 2, 1),
    ]
    last = events[-1]
    assert (last.status, last.trials) == (Status.COMPLETED, {"pruned": 26, "completed": 1})
    gone = {number: event.evaluation for event in reached for number in event.pruned}
    for trial in find_sweep(store, last.sweep).trials:
        run = find_run(store, str(trial.run_id))
        assert (trial.status, trial.message) == (run.status, run.message)
        if trial.number in gone:
            at = gone[trial.number]
            value = trial.curve[max(trial.curve)]
            assert (run.status, run.step, max(trial.curve)) == (Status.PRUNED, at, at)
            assert run.message == f"pruned after evaluation {at} of 27: validation/loss {value:.4g}"
            assert (trial.value, saved(store, run.id)) == (None, [])
        else:
            assert (run.status, run.step) == (Status.COMPLETED, 27)
            assert saved(store, run.id)
            assert last.best.number == trial.number


@pytest.mark.slow
def test_the_same_command_again_proposes_more_and_compares_them_with_those_before(store: Store, many_lanes: None) -> None:
    first = sweep(store, LR, trials=27)[-1]
    again = sweep(store, LR, trials=54)
    assert again[-1].sweep == first.sweep
    rung = only(again, RungReached)[0]
    best = sorted(find_sweep(store, first.sweep).trials, key=lambda trial: trial.curve[1])[:18]  # a third of 54
    assert set(range(27, 54)) - set(rung.pruned) == {trial.number for trial in best if trial.number >= 27}


@pytest.mark.parametrize(
    "pruner",
    [
        HALVING,
        HalvingPruner(reduction_factor=2, min_resource=2, min_early_stopping_rate=1),
        HyperbandPruner(),
        MedianPruner(startup_trials=2, warmup_steps=4, interval_steps=5),
        PercentilePruner(percentile=25, startup_trials=0, warmup_steps=2, interval_steps=10),
        ThresholdPruner(upper=2.0, warmup_steps=8, interval_steps=6),
        PatientPruner(patience=2, min_delta=1e-3),
        PatientPruner(patience=3, wrapped=MedianPruner(startup_trials=0)),
    ],
    ids=lambda pruner: pruner.kind,
)
def test_a_sweep_prunes_what_its_rule_says_of_the_unpruned_curves(store: Store, many_lanes: None, pruner: PrunerConfig) -> None:
    pruned = sweep(store, LR, trials=TRIALS, pruner=pruner)[-1]
    expected = judged(pruner, unpruned())
    ended = {t.number: max(t.curve) for t in find_sweep(store, pruned.sweep).trials if t.status is Status.PRUNED}
    assert ended == expected
    assert 0 < len(ended) < TRIALS, "a pruner that stops none or all shows nothing here"
    assert pruned.trials == {"pruned": len(ended), "completed": TRIALS - len(ended)}
    left = {number: curve[27] for number, curve in unpruned().items() if number not in ended}
    assert (pruned.best.number, pruned.best.value) == (
        min(left, key=left.__getitem__),
        pytest.approx(min(left.values()), rel=1e-4),
    )


@functools.cache
def unpruned() -> dict[int, dict[int, float]]:
    """The lowest loss so far of the same trials by evaluation, of which there is one in a step, when none is pruned."""
    with tempfile.TemporaryDirectory() as folder, open_store(f"{folder}/dlx.db") as store:
        record = find_sweep(store, sweep(store, LR, trials=TRIALS, pruner=NoPruner())[-1].sweep)
        found = {
            trial.number: curves(store, str(trial.run_id), ["validation/loss"])["validation/loss"] for trial in record.trials
        }
    lowest = {number: itertools.accumulate((value for _, value in points), min) for number, points in found.items()}
    return {number: dict(enumerate(values, 1)) for number, values in lowest.items()}


def judged(pruner: PrunerConfig, curves: Mapping[int, Mapping[int, float]]) -> dict[int, int]:
    """At which evaluation each trial stops, of a sweep whose trials stand at each rung together."""
    ended: dict[int, int] = {}
    for at in rungs(pruner, 27):
        seen = {n: {e: v for e, v in points.items() if e <= ended.get(n, at)} for n, points in curves.items()}
        ended |= dict.fromkeys(prune(pruner, seen, [n for n in curves if n not in ended], at, 27, maximize=False), at)
    return ended


@pytest.mark.parametrize("pruner", [HALVING, MedianPruner(startup_trials=0)])
def test_a_clear_winner_wins_with_and_without_pruning(store: Store, many_lanes: None, pruner: PrunerConfig) -> None:
    whole = sweep(store, CLEAR, trials=9, sampler="grid", pruner=NoPruner(), name="whole")[-1]
    last = sweep(store, CLEAR, trials=9, sampler="grid", pruner=pruner, name="pruned")[-1]
    assert last.trials[Status.PRUNED] > 0
    assert last.best.params == whole.best.params == {"optimizer.lr": 0.1}
    assert last.best.value == pytest.approx(whole.best.value, rel=1e-4)


def test_all_trials_outside_the_limits_is_a_sweep_that_failed_and_says_so(store: Store, many_lanes: None) -> None:
    last = sweep(store, LR, trials=4, pruner=ThresholdPruner(upper=1e-9))[-1]
    assert (last.status, last.trials, last.best) == (Status.FAILED, {"pruned": 4}, None)
    assert "none was completed" in last.message
    assert {run.step for run in list_runs(store)} == {1}


def test_survivors_go_on_in_a_smaller_program_and_are_what_train_makes_of_them(store: Store, smaller_pays: None) -> None:
    """To float tolerance, through three programs."""
    events = sweep(store, LR, "model.dropout=interval(0, 0.5)", trials=27)
    cohorts = only(events, CohortStarted)
    assert [(len(cohort.trials), cohort.lanes, cohort.step) for cohort in cohorts] == [
        (27, 32, 0),
        (9, 16, 1),
        (3, 4, 3),
        (1, 1, 9),
    ]
    assert (events[-1].programs, [cohort.compiled for cohort in cohorts]) == (4, [False] * 4)
    best = events[-1].best
    assert cohorts[-1].trials == (best.number,)
    same_as_train(store, best.run, best.params)


def same_as_train(store: Store, run: str, params: Mapping[str, Any]) -> None:
    own = [f"{key}={value}" for key, value in params.items()]
    config = load_experiment("digits-mlp", [parse_override(text) for text in (*TINY, *STEPS, *own)])
    *_, alone = start(config, store)
    lane = find_run(store, run).metrics
    for name in ("validation/loss", "test/loss", "validation/accuracy", "test/accuracy", "best/step"):
        assert lane[name] == pytest.approx(alone.metrics[name], rel=1e-4), name
    mine, its = (curves(store, each, ["train/loss"])["train/loss"] for each in (run, alone.run))
    assert [step for step, _ in mine] == [step for step, _ in its] == list(range(1, 28))
    assert [value for _, value in mine] == pytest.approx([value for _, value in its], rel=1e-4)


@pytest.mark.slow
def test_the_survivors_of_several_cohorts_go_on_together(store: Store, eight_lanes: None) -> None:
    """Batches of eight, of which each leaves fewer than a program is worth: they wait for one another."""
    events = sweep(store, LR, "model.dropout=interval(0, 0.5)", trials=32, batch=8)
    cohorts = only(events, CohortStarted)
    assert [len(cohort.trials) for cohort in cohorts if cohort.step == 0] == [8, 8, 8, 8]
    merged = [cohort for cohort in cohorts if len({number // 8 for number in cohort.trials}) > 1]
    assert merged
    assert all(cohort.step in (1, 3, 9) for cohort in merged)
    record = find_sweep(store, events[-1].sweep)
    assert sum(events[-1].trials.values()) == 32
    assert all(trial.status in (Status.PRUNED, Status.COMPLETED) for trial in record.trials)
    assert len(list_runs(store)) == 32
    assert {path.parts[-3] for path in (store.folder / "runs").glob("*/checkpoints/*")} == {events[-1].best.run}
    together = {number for cohort in merged for number in cohort.trials}
    one = next(trial for trial in record.ranked if trial.number in together)
    same_as_train(store, str(one.run_id), one.params)
    for trial in record.trials:  # each from its first step to its last, without a gap
        run = find_run(store, str(trial.run_id))
        assert [step for step, _ in curves(store, run.id, ["train/loss"])["train/loss"]] == list(range(1, run.step + 1))
        assert run.message.startswith("pruned" if trial.status is Status.PRUNED else "trained 27 steps")


def test_optunas_own_tables_have_the_pruned_trials_with_their_curves(store: Store, many_lanes: None) -> None:
    last = sweep(store, LR, trials=9)[-1]
    storage = optuna.storages.RDBStorage(store.url)
    theirs = optuna.load_study(study_name=last.sweep, storage=storage).trials
    storage.remove_session()
    storage.engine.dispose()
    ours = find_sweep(store, last.sweep).trials
    assert [t.state.name for t in theirs] == ["COMPLETE" if t.status is Status.COMPLETED else "PRUNED" for t in ours]
    assert [t.state.name for t in theirs].count("PRUNED") == 8
    for their, our in zip(theirs, ours, strict=True):
        assert their.params == dict(our.params)
        assert their.intermediate_values == pytest.approx(our.curve)
        assert their.intermediate_values


@pytest.mark.slow
def test_a_pruned_sweep_is_the_same_under_a_sampler_that_learns(store: Store, many_lanes: None) -> None:
    """TPE is told what was pruned and how far it came; a second sweep proposes the same."""
    runs = [sweep(store, LR, trials=20, sampler="tpe", batch=10, name=name)[-1] for name in ("one", "two")]
    one, two = (find_sweep(store, last.sweep).trials for last in runs)
    assert [(t.params, t.status) for t in one] == [(t.params, t.status) for t in two]


@pytest.mark.slow
def test_sigterm_saves_the_lanes_that_wait_and_those_that_train(store: Store, eight_lanes: None) -> None:
    described, document, overrides = load_sweep("digits-mlp", [*TINY, *STEPS, LR])
    chosen = with_options(described, {"trials": 24, "sampler": "random"}).model_copy(update={"pruner": HALVING, "batch": 8})
    events, cohorts = [], 0
    for event in sweep_runs(chosen, document, overrides, store):
        events.append(event)
        cohorts += isinstance(event, CohortStarted)
        if cohorts == 2 and isinstance(event, RungReached):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)  # the thread that listens
    assert events[-1].status is Status.INTERRUPTED
    assert events[-1].status.exit_code == 75
    assert "SIGTERM" in events[-1].message
    open_ = [trial for trial in find_sweep(store, events[-1].sweep).trials if trial.status is None]
    assert {trial.number // 8 for trial in open_} == {0, 1}  # of the first cohort, waiting; of the second, training
    before = {}
    for trial in open_:
        run = find_run(store, str(trial.run_id))
        assert run.status is Status.INTERRUPTED
        assert run.step >= 1
        assert newest_step(store.run_folder(run.id) / "checkpoints") == run.step
        before[trial.number] = run.step
    again = list(sweep_runs(chosen, document, overrides, store))
    assert (again[-1].sweep, again[-1].status, sum(again[-1].trials.values())) == (events[-1].sweep, Status.COMPLETED, 24)
    for trial in find_sweep(store, events[-1].sweep).trials:
        run = find_run(store, str(trial.run_id))
        if trial.number in before:
            assert run.segments[-1].from_step == before[trial.number]
        assert [step for step, _ in curves(store, run.id, ["train/loss"])["train/loss"]] == list(range(1, run.step + 1))
    assert len(list_runs(store)) == 24


def test_an_interruption_does_not_make_a_pruner_more_patient(store: Store, many_lanes: None) -> None:
    """What never improves is pruned four evaluations after its first, also when the sweep was stopped in between."""
    described, document, overrides = load_sweep(
        "digits-mlp", [*TINY, *STEPS, "model.normalization=none", "optimizer.lr=choice(1e-12)"]
    )
    pruner = PatientPruner(patience=4, min_delta=1e-3)
    chosen = with_options(described, {"trials": 1, "sampler": "random"}).model_copy(update={"pruner": pruner})
    for event in sweep_runs(chosen, document, overrides, store):
        if isinstance(event, Evaluated) and event.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)  # the thread that listens
    last = list(sweep_runs(chosen, document, overrides, store))[-1]
    (trial,) = find_sweep(store, last.sweep).trials
    assert (trial.status, find_run(store, str(trial.run_id)).step) == (Status.PRUNED, 5)


LONG = [*TINY, "train.duration=2160 steps", "train.evaluate_every=80 steps", LR, "model.dropout=interval(0, 0.5)"]


@pytest.mark.slow
def test_survivors_that_were_stopped_at_a_rung_are_still_judged_together(store: Store, many_lanes: None) -> None:
    """Nine stand at the first rung when the sweep is stopped: three of nine pass the next one, as if it had not been."""
    described, document, overrides = load_sweep("digits-mlp", [*TINY, *STEPS, LR])
    chosen = with_options(described, {"trials": 27, "sampler": "random"}).model_copy(update={"pruner": HALVING})
    for event in sweep_runs(chosen, document, overrides, store):
        if isinstance(event, RungReached) and event.evaluation == 1:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)  # the thread that listens
    again = list(sweep_runs(chosen, document, overrides, store))
    assert [(e.evaluation, len(e.pruned), e.going) for e in only(again, RungReached)] == [(3, 6, 3), (9, 2, 1)]


# Checkpoints at every rung, however short the training before it.
SAVING = """
from dlx.sweep import leg
leg.RUNG_SECONDS = 0.0
from dlx.cli.app import main
main()
"""


def command(name: str, *more: str) -> list[str]:
    chosen = ["--trials", "27", "--sampler", "random", "--pruner", "successive_halving", "--name", name]
    return [sys.executable, "-c", SAVING, "sweep", "digits-mlp", *LONG, *chosen, *more]


def at_a_rung(store: Store, name: str) -> bool:
    """Whether some trials were pruned and those that go on are saved where they stand."""
    try:
        trials = find_sweep(store, name).trials
    except UsageError:
        return False
    pruned = [trial for trial in trials if trial.status is Status.PRUNED]
    going = [trial for trial in trials if trial.status is None and trial.run_id is not None]
    return bool(pruned and going) and all(saved(store, str(trial.run_id)) for trial in going)


@functools.cache
def never_stopped() -> tuple[TrialRecord, ...]:
    """The trials of that sweep when nothing stops it."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(command("whole", "-q"), check=True, cwd=folder)
        with open_store(f"{folder}/results/dlx.db") as store:
            return tuple(find_sweep(store, "whole").trials)


@pytest.mark.slow
@pytest.mark.optimized
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["kill -9", "SIGTERM"])
def test_a_sweep_stopped_between_rungs_goes_on_from_them(tmp_path: Path, store: Store, how: signal.Signals) -> None:
    """It ends with the trials, and as near as floats are with the values, of one that was never stopped."""
    with subprocess.Popen(command("stopped", "-q"), stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None and not at_a_rung(store, "stopped"):
            time.sleep(0.02)
        process.send_signal(how)
        assert process.wait(timeout=30) == (75 if how is signal.SIGTERM else -9)
    record = find_sweep(store, "stopped")
    assert record.status is (Status.INTERRUPTED if how is signal.SIGTERM else Status.LOST)
    going = {trial.number: str(trial.run_id) for trial in record.trials if trial.status is None}
    assert 0 < len(going) <= 9
    assert all(saved(store, run) for run in going.values())
    done = subprocess.run(command("stopped"), check=True, capture_output=True, text=True)
    assert " from step " in done.stderr
    for run in going.values():
        first, *_, last = find_run(store, run).segments
        assert first.from_step == 0
        assert last.from_step > 0
    stopped, whole = find_sweep(store, "stopped").trials, never_stopped()
    assert [(t.number, t.params, t.status) for t in stopped] == [(t.number, t.params, t.status) for t in whole]
    scores = [[trial.value for trial in trials if trial.value is not None] for trials in (stopped, whole)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)
    assert len({t.run_id for t in stopped}) == 27
