"""Whole sweeps on a small net: groups, resumption, the winner's weights, what other tools read."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from dlx.config import load_experiment, parse_override
from dlx.config.sweep import load_sweep, with_options
from dlx.errors import ConfigError, Status, UsageError
from dlx.events import CohortStarted, Notice, SweepStarted, TrialFinished
from dlx.experiment.run import start
from dlx.store import Store, find_run, find_sweep, list_runs, open_store
from dlx.sweep.drive import sweep_runs

SHORT = ["train.duration=2 epochs", "data.limit=300"]
TINY = ["model.hidden=[8]", *SHORT]
LR = "optimizer.lr=tag(log, interval(1e-4, 1e-1))"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(str(tmp_path / "results" / "dlx.db")) as opened:
        yield opened


def sweep(store: Store, *words: str, trials: int | None = None, name: str | None = None, sampler: str = "random") -> list[Any]:
    tiny = SHORT if any(word.startswith("model.hidden=") for word in words) else TINY
    described, document, overrides = load_sweep("digits-mlp", [*tiny, *words])
    return list(
        sweep_runs(with_options(described, {"trials": trials, "sampler": sampler}), document, overrides, store, name=name)
    )


def only(events: list[Any], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_trials_of_one_structure_are_lanes_of_one_program(store: Store) -> None:
    events = sweep(store, LR, "model.dropout=interval(0, 0.5)", trials=6)
    (cohort,), last = only(events, CohortStarted), events[-1]
    assert (cohort.trials, cohort.lanes) == ((0, 1, 2, 3, 4, 5), 8)  # two lanes repeat the last trial and count nothing
    assert (last.status, last.trials, last.programs) == (Status.COMPLETED, {"completed": 6}, 1)
    record = find_sweep(store, last.sweep)
    assert len(list_runs(store)) == len(record.trials) == 6
    for trial in record.trials:
        run = find_run(store, str(trial.run_id))
        assert run.status is Status.COMPLETED
        assert run.config["optimizer"]["lr"] == trial.params["optimizer.lr"]
        assert run.metrics["validation/accuracy"] == trial.value
        assert "test/accuracy" in run.metrics


def test_structure_makes_groups_and_a_known_program_is_not_compiled_again(store: Store) -> None:
    events = sweep(store, LR, "model.hidden=[8],[4]", trials=10)
    cohorts = only(events, CohortStarted)
    assert sorted(n for cohort in cohorts for n in cohort.trials) == list(range(10))
    assert len({cohort.parameters for cohort in cohorts}) == 2
    programs = Counter((cohort.parameters, cohort.lanes) for cohort in cohorts)
    assert events[-1].programs == len(programs)
    assert [c.compiled for c in cohorts].count(False) == len(programs)


def test_only_the_winner_keeps_its_weights(store: Store) -> None:
    last = sweep(store, LR, trials=5)[-1]
    kept = [path.parts[-3] for path in (store.folder / "runs").glob("*/checkpoints/*.safetensors")]
    assert kept == [last.best.run]
    assert (store.run_folder(last.best.run) / "config.yaml").is_file()
    assert last.best.value == max(t.value for t in find_sweep(store, last.sweep).trials)


def test_the_same_command_again_continues_to_the_total(store: Store) -> None:
    first = sweep(store, LR, trials=3)[-1]
    again = sweep(store, LR, trials=5)
    assert (only(again, SweepStarted)[0].done, again[-1].sweep) == (3, first.sweep)
    assert [trial.number for trial in only(again, TrialFinished)] == [3, 4]
    complete = sweep(store, LR, trials=5)
    assert (complete[-1].status, only(complete, CohortStarted)) == (Status.COMPLETED, [])
    assert complete[-1].best.value == again[-1].best.value
    assert sweep(store, LR.replace("1e-1", "1e-2"), trials=1)[-1].sweep != first.sweep  # another space, another sweep


def test_a_changed_space_under_the_same_name_is_refused_with_what_changed(store: Store) -> None:
    sweep(store, LR, trials=1, name="nightly")
    with pytest.raises(ConfigError, match=r"search.optimizer.lr.high was 0.1, now 0.2; choose another --name"):
        sweep(store, LR.replace("1e-1", "2e-1"), trials=2, name="nightly")
    assert len(find_sweep(store, "nightly").trials) == 1


def test_a_repeated_configuration_takes_the_next_seed(store: Store) -> None:
    last = sweep(store, "optimizer.lr=choice(1e-2)", trials=3)[-1]
    runs = [find_run(store, str(trial.run_id)) for trial in find_sweep(store, last.sweep).trials]
    assert [run.config["train"]["seed"] for run in runs] == [0, 1, 2]
    assert len({run.metrics["train/loss"] for run in runs}) == 3


def test_a_repeated_configuration_whose_seed_is_searched_has_its_result_already(store: Store) -> None:
    words = ("optimizer.lr=choice(1e-2)", "train.seed=choice(3)")
    for trials in (1, 3):  # the second command repeats what the first has tried
        last = sweep(store, *words, trials=trials)[-1]
    first, *others = find_sweep(store, last.sweep).trials
    assert last.trials == {"completed": 3}
    assert [(t.value, t.run_id, t.message) for t in others] == [(first.value, None, "the same values as trial 0")] * 2
    assert len(list_runs(store)) == 1


def test_a_lane_that_diverges_fails_alone(store: Store) -> None:
    last = sweep(store, "optimizer.kind=sgd", "optimizer.lr=choice(1e-2, 1e30)", trials=2, sampler="grid")[-1]
    assert last.trials == {"completed": 1, "diverged": 1}
    good, bad = find_sweep(store, last.sweep).trials
    assert (good.status, bad.status, bad.value) == (Status.COMPLETED, Status.DIVERGED, None)
    assert "not finite" in find_run(store, str(bad.run_id)).message


def test_a_lane_that_ends_early_gives_its_outcome_to_its_own_trial(store: Store) -> None:
    """Time is up while one lane still trains and the other has diverged: the first stays open, the second has failed."""
    described, document, overrides = load_sweep(
        "digits-mlp", [*TINY, "optimizer.kind=sgd", "optimizer.lr=choice(1e-4, 1e30)", "train.duration=100000 epochs"]
    )
    described = with_options(described, {"trials": 2, "sampler": "grid"})
    for seconds in (2, 8, 32, 128):  # until one of them is enough to compile and to take a few steps
        last = list(sweep_runs(described, document, overrides, store, max_seconds=seconds))[-1]
        assert last.status is Status.INTERRUPTED
        if any(trial.status is not None for trial in find_sweep(store, last.sweep).trials):
            break
    slow, wild = find_sweep(store, last.sweep).trials
    assert (slow.params["optimizer.lr"], slow.status) == (1e-4, None)
    assert (wild.params["optimizer.lr"], wild.status) == (1e30, Status.DIVERGED)


def test_the_winner_has_its_weights_when_others_diverge_and_when_nothing_is_held_out(store: Store) -> None:
    diverging = sweep(store, "optimizer.kind=sgd", "optimizer.lr=choice(1e30, 1e-6, 1e-7)", trials=3, sampler="grid")[-1]
    assert list((store.run_folder(diverging.best.run) / "checkpoints").glob("*.safetensors"))
    described, document, overrides = load_sweep("digits-mlp", [*TINY, LR, "data.validation=0"])
    described = with_options(described, {"trials": 4, "sampler": "random"}).model_copy(update={"batch": 1})
    whole = list(sweep_runs(described, document, overrides, store))[-1]
    assert list((store.run_folder(whole.best.run) / "checkpoints").glob("*.safetensors"))


def test_a_smaller_total_leaves_what_waits(store: Store) -> None:
    described, document, overrides = load_sweep("digits-mlp", [*TINY, LR])
    events = sweep_runs(with_options(described, {"trials": 9, "sampler": "random"}), document, overrides, store)
    next(event for event in events if isinstance(event, CohortStarted))
    events.close()
    assert sweep(store, LR, trials=4)[-1].trials == {"completed": 4}
    assert sweep(store, LR, trials=9)[-1].trials == {"completed": 9}


def test_a_searched_seed_is_what_it_says(store: Store) -> None:
    last = sweep(store, "train.seed=choice(0, 1)", trials=4)[-1]
    for trial in find_sweep(store, last.sweep).trials:
        assert find_run(store, str(trial.run_id)).config["train"]["seed"] == trial.params["train.seed"]


def test_a_network_that_does_not_fit_the_data_fails_alone(store: Store) -> None:
    described, document, overrides = load_sweep("digits-mlp", [*SHORT, "model.kind=choice(mlp, lenet5)"])
    last = list(sweep_runs(with_options(described, {"trials": 2, "sampler": "grid"}), document, overrides, store))[-1]
    assert last.trials == {"completed": 1, "failed": 1}
    assert "lenet5" in find_sweep(store, last.sweep).trials[1].message


def test_a_float_grid_ends_where_it_says(store: Store) -> None:
    last = sweep(store, "optimizer.lr=range(0.1, 0.4, 0.1)", trials=3, sampler="grid")[-1]
    assert last.trials == {"completed": 3}
    assert sweep(store, "optimizer.lr=range(0.1, 0.4, 0.1)", trials=3, sampler="grid")[-1].status is Status.COMPLETED


def test_two_that_start_together_make_one_sweep(tmp_path: Path, store: Store) -> None:
    command = [sys.executable, "-m", "dlx", "sweep", "digits-mlp", *TINY, LR, "--trials", "2", "--name", "twice", "-q"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as one, subprocess.Popen(command, stderr=subprocess.PIPE) as two:
        codes = sorted((one.wait(timeout=120), two.wait(timeout=120)))
    assert codes in ([0, 0], [0, 75])  # the other came too late, or found it held
    assert len(list_runs(store)) == 2


def test_other_data_under_the_same_name_is_refused(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    words = ["data={kind: csv, path: rows.csv, target: y}", "train.batch_size=8", "optimizer.lr=interval(0.001, 0.1)"]

    def go(trials: int) -> Any:
        described, document, overrides = load_sweep("table", [*words, "train.duration=1 epochs", "model.hidden=[4]"])
        chosen = with_options(described, {"trials": trials, "sampler": "random"})
        return list(sweep_runs(chosen, document, overrides, store, name="rows"))[-1]

    path.write_text("x,y\n" + "".join(f"{i},{i % 2}\n" for i in range(80)))
    assert go(1).status is Status.COMPLETED
    path.write_text("x,y\n" + "".join(f"{i * 2},{i % 2}\n" for i in range(80)))
    with pytest.raises(ConfigError, match="data was "):
        go(2)


def test_a_trial_that_cannot_be_built_fails_and_the_others_go_on(store: Store) -> None:
    events = sweep(store, "train.batch_size=choice(32, 100000)", trials=2, sampler="grid")
    assert events[-1].trials == {"completed": 1, "failed": 1}
    assert "train.batch_size is 100000" in only(events, Notice)[0].text


def test_optunas_own_tables_hold_the_finished_trials(store: Store) -> None:
    last = sweep(store, LR, "model.hidden=[8],[4]", trials=3)[-1]
    storage = optuna.storages.RDBStorage(store.url)
    trials = optuna.load_study(study_name=last.sweep, storage=storage).trials
    storage.remove_session()
    storage.engine.dispose()
    assert len(trials) == 3
    ours = find_sweep(store, last.sweep).trials
    assert [(t.number, t.value, t.params["optimizer.lr"]) for t in trials] == [
        (t.number, t.value, t.params["optimizer.lr"]) for t in ours
    ]


OPENING = """
import sys, time
from types import SimpleNamespace
from dlx.store import heartbeat, open_store
from dlx.sweep.propose import Mirror
store = open_store(sys.argv[1])
with Mirror(store.shared_url(), "fresh", "s1", SimpleNamespace(directions=["minimize"])) as mirror:
    sys.setswitchinterval(1e-5)  # between any two lines, nearly
    opened = mirror.open()
    while not opened.done():
        heartbeat(store)
        time.sleep(0.0005)
"""


def test_statements_do_not_fail_while_optunas_storage_is_opened(tmp_path: Path) -> None:
    """In a fresh process: what is imported for the first time in a thread is half there for the others."""
    told = subprocess.run([sys.executable, "-c", OPENING, str(tmp_path / "dlx.db")], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr


def test_without_an_end_there_is_no_search(store: Store) -> None:
    with pytest.raises(UsageError, match="Give --trials N, or --max-time"):
        sweep(store, LR)


@pytest.mark.slow
@pytest.mark.optimized
@pytest.mark.parametrize("lanes", [1, 8, 64])
def test_a_trial_in_any_lane_is_the_run_that_train_makes(store: Store, lanes: int) -> None:
    """The invariant of the whole program: 20 steps as one of many lanes are 20 steps of `dlx train`, to float tolerance.

    By SGD, which is continuous in the gradient; Adam turns the rounding of a vanishing gradient into a whole step.
    """
    short = ["train.duration=20 steps", "train.evaluate_every=20 steps", "optimizer.kind=sgd", "optimizer.momentum=0.9"]
    last = sweep(store, "optimizer.lr=interval(0.01, 0.1)", "model.dropout=interval(0, 0.5)", *short, trials=lanes)[-1]
    trials = find_sweep(store, last.sweep).trials
    for trial in (trials[0], trials[lanes // 2], trials[-1]):
        own = [f"{key}={value}" for key, value in trial.params.items()]
        config = load_experiment("digits-mlp", [parse_override(text) for text in (*TINY, *short, *own)])
        *_, alone = start(config, store)
        lane = find_run(store, str(trial.run_id)).metrics
        for name in ("validation/loss", "test/loss", "validation/accuracy", "test/accuracy"):
            assert lane[name] == pytest.approx(alone.metrics[name], rel=1e-4)


@pytest.mark.slow
@pytest.mark.optimized
def test_kill_9_loses_nothing_and_changes_no_proposal(tmp_path: Path, store: Store) -> None:
    """A sweep killed in its second batch and started again has the trials of one that was never killed."""
    words = [*TINY, "train.duration=40 epochs", LR, "model.dropout=interval(0, 0.5)", "--trials", "32", "-q", "--name"]
    # Both in processes of their own: this one may run JAX under other settings, and then the last bits differ.
    command = [sys.executable, "-m", "dlx", "sweep", "digits-mlp", *words]
    with subprocess.Popen([*command, "killed"], stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None and _trials(store) <= 16:
            time.sleep(0.02)
        process.kill()
    assert find_sweep(store, "killed").status is Status.LOST
    for name in ("killed", "whole"):
        subprocess.run([*command, name], check=True)
    killed, whole = find_sweep(store, "killed").trials, find_sweep(store, "whole").trials
    assert [(t.params, t.value) for t in killed] == [(t.params, t.value) for t in whole]
    assert len({t.run_id for t in killed}) == 32
    assert all(t.status is Status.COMPLETED for t in killed)


def _trials(store: Store) -> int:
    try:
        return len(find_sweep(store, "killed").trials)
    except UsageError:
        return 0


@pytest.mark.slow
def test_a_second_sweep_on_a_warm_cache_compiles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the persistent cache does not have is compiled and written there: the second sweep, of other values, writes nothing."""
    monkeypatch.setenv("DLX_CACHE", str(tmp_path / "cache"))
    words = [*TINY, LR, "--trials", "8", "--sampler", "random", "-q"]
    compiled = []
    for seed in ("0", "1"):
        line = [sys.executable, "-m", "dlx", "sweep", "digits-mlp", *words, "--seed", seed, "--store", f"{seed}.db"]
        subprocess.run(line, check=True)
        compiled.append({path.name for path in (tmp_path / "cache" / "xla").glob("*-cache")})
    assert compiled[0]
    assert compiled[1] == compiled[0]
