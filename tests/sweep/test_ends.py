"""How sweeps end and what they begin with: targets, failures, too little memory, enqueued trials, a changed space."""

from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from dlx import engine
from dlx.config.pruner import HalvingPruner
from dlx.config.sweep import load_sweep, with_options
from dlx.engine import Program
from dlx.errors import ConfigError, Status, UsageError
from dlx.events import CohortStarted, Notice, TrialFinished
from dlx.store import Store, find_sweep, list_runs, open_store
from dlx.sweep.drive import sweep_runs

TINY = ["model.hidden=[8]", "data.limit=300", "train.duration=2 epochs"]
LR = "optimizer.lr=tag(log, interval(1e-4, 1e-1))"

NETWORKS = """
    from math import prod
    from pathlib import Path
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, in_features, out_features, *, rngs, width=4):
            if width == 13:
                raise ValueError("thirteen brings bad luck")
            self.hidden = nnx.Linear(prod(in_features), width, rngs=rngs)
            self.output = nnx.Linear(width, out_features, rngs=rngs)

        def __call__(self, x):
            return self.output(nnx.relu(self.hidden(x.reshape(x.shape[0], -1))))

    class Wants(Net):
        def __init__(self, in_features, out_features, width, *, rngs):
            super().__init__(in_features, out_features, rngs=rngs, width=width)

    class Called(Net):
        def __call__(self, x):
            if self.hidden.out_features == 14:
                raise ValueError("fourteen too")
            return super().__call__(x)

    class Moody(Net):
        def __call__(self, x):
            failures = Path(__file__).with_name("failures")
            left = int(failures.read_text()) if failures.exists() else 0
            if left:
                failures.write_text(str(left - 1))
                raise OSError("not in the mood")
            return super().__call__(x)
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(str(tmp_path / "results" / "dlx.db")) as opened:
        yield opened


def sweep(
    store: Store,
    *words: str,
    trials: int | None = None,
    sampler: str = "random",
    name: str | None = None,
    change: bool = False,
    **fields: Any,
) -> list[Any]:
    tiny = TINY[1:] if any(word.startswith("model") for word in words) else TINY
    described, document, overrides = load_sweep("digits-mlp", [*tiny, *words])
    chosen = with_options(described, {"trials": trials, "sampler": sampler}).model_copy(update=fields)
    return list(sweep_runs(chosen, document, overrides, store, name=name, change=change))


def only(events: list[Any], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def network(folder: Path, name: str) -> str:
    """An override: a network of the user's own, in a file of its own."""
    (folder / "net.py").write_text(dedent(NETWORKS))
    return f"model={{kind: python, target: '{folder}/net.py:{name}'}}"


def test_a_target_that_is_reached_starts_no_more_trials(store: Store) -> None:
    events = sweep(store, LR, trials=50, target_value=0.01, batch=4)
    assert events[-1].status is Status.COMPLETED
    assert events[-1].trials == {"completed": 4}
    assert events[-1].message == "4 of 50 trials; the target value 0.01 is reached"
    again = sweep(store, LR, trials=50, target_value=0.01, batch=4)
    assert (again[-1].status, only(again, CohortStarted)) == (Status.COMPLETED, [])
    assert sweep(store, LR, trials=6, target_value=1.1, batch=4)[-1].trials == {"completed": 6}


def test_a_target_of_a_loss_is_reached_from_above(store: Store) -> None:
    monitor = "train.monitor=validation/loss"
    assert sweep(store, LR, monitor, trials=4, target_value=1e9, batch=2)[-1].trials == {"completed": 2}
    assert sweep(store, LR, monitor, trials=4, target_value=1e-9, batch=2)[-1].trials == {"completed": 4}


def test_a_plateau_ends_the_search_after_so_many_without_a_better_one(store: Store) -> None:
    events = sweep(store, "optimizer.lr=choice(1e-2, 1e-9, 1e-8, 1e-7, 1e-6)", trials=5, sampler="grid", plateau=2, batch=1)
    last = events[-1]
    assert (last.status, last.trials) == (Status.COMPLETED, {"completed": 3})
    assert last.message == "3 of 5 trials; no better one in 2 trials"
    assert last.best.number == 0


def test_on_fail_stop_ends_with_the_first_failure(store: Store, tmp_path: Path) -> None:
    words = (network(tmp_path, "Net"), "model.args.width=choice(4, 13, 5, 6)")
    last = sweep(store, *words, trials=4, sampler="grid", on_fail="stop", batch=1)[-1]
    assert (last.status, last.status.exit_code, last.trials) == (Status.FAILED, 1, {"completed": 1, "failed": 1})
    assert last.message.startswith("a trial failed, and on_fail is stop, after 2 of 4 trials: ")
    assert find_sweep(store, last.sweep).status is Status.FAILED
    again = sweep(store, *words, trials=4, sampler="grid", batch=1)[-1]  # what ended stays; the rest is trained
    assert (again.sweep, again.trials) == (last.sweep, {"completed": 3, "failed": 1})


def test_failures_one_after_the_other_end_the_sweep(store: Store) -> None:
    words = ("train.batch_size=choice(100000, 100001, 100002, 100003, 100004)",)
    last = sweep(store, *words, trials=5, sampler="grid", max_consecutive_failures=3, batch=1)[-1]
    assert (last.status, last.trials) == (Status.FAILED, {"failed": 3})
    assert last.message.startswith("3 trials failed one after the other, after 3 of 5 trials")


def test_failures_with_successes_between_them_do_not_end_it(store: Store) -> None:
    words = ("train.batch_size=choice(100000, 32, 100001, 16, 100002)",)
    last = sweep(store, *words, trials=5, sampler="grid", max_consecutive_failures=2, batch=1)[-1]
    assert (last.status, last.trials) == (Status.COMPLETED, {"failed": 3, "completed": 2})


def moody(store: Store, folder: Path, failures: int, *, trials: int, retries: int) -> list[Any]:
    """A sweep over a network that reads a file while it is traced, which begins to fail when the first cohort does."""
    described, document, overrides = load_sweep("digits-mlp", [*TINY[1:], network(folder, "Moody"), LR])
    chosen = with_options(described, {"trials": trials, "sampler": "random", "retries": retries})
    events = []
    for event in sweep_runs(chosen, document, overrides, store):
        if isinstance(event, CohortStarted) and not only(events, CohortStarted):
            (folder / "failures").write_text(str(failures))
        events.append(event)
    return events


@pytest.mark.parametrize(("retries", "outcome"), [(0, "failed"), (1, "completed")])
def test_what_fails_once_begins_again_while_it_has_retries(store: Store, tmp_path: Path, retries: int, outcome: str) -> None:
    events = moody(store, tmp_path, 1, trials=2, retries=retries)
    assert events[-1].trials == {outcome: 2}
    notice = only(events, Notice)[0].text
    assert notice.startswith("trials 0, 1 begin again: " if retries else "trials 0, 1 failed: ")
    assert "not in the mood" in notice
    assert len(list_runs(store)) == (2 if retries else 0)
    assert {run.status for run in list_runs(store)} <= {Status.COMPLETED}


def test_retries_have_an_end(store: Store, tmp_path: Path) -> None:
    events = moody(store, tmp_path, 99, trials=1, retries=2)
    assert events[-1].trials == {"failed": 1}
    assert [notice.text.partition(":")[0] for notice in only(events, Notice)] == [
        "trials 0 begin again",
        "trials 0 begin again",
        "trials 0 failed",
    ]
    assert "not in the mood" in find_sweep(store, events[-1].sweep).trials[0].message


def test_a_network_whose_searched_argument_has_no_default_can_be_searched(store: Store, tmp_path: Path) -> None:
    events = sweep(store, network(tmp_path, "Wants"), "model.args.width=choice(4, 5)", trials=2, sampler="grid")
    assert events[-1].trials == {"completed": 2}


@pytest.mark.parametrize(("name", "bad", "sentence"), [("Net", 13, "thirteen brings bad luck"), ("Called", 14, "fourteen too")])
def test_a_network_that_raises_for_some_values_fails_only_their_trials(
    store: Store, tmp_path: Path, name: str, bad: int, sentence: str
) -> None:
    events = sweep(store, network(tmp_path, name), f"model.args.width=choice(4, {bad}, 5)", trials=3, sampler="grid")
    assert events[-1].trials == {"completed": 2, "failed": 1}
    trials = find_sweep(store, events[-1].sweep).trials
    assert [trial.status for trial in trials] == [Status.COMPLETED, Status.FAILED, Status.COMPLETED]
    assert sentence in trials[1].message
    assert "\n" not in trials[1].message
    assert events[-1].status is Status.COMPLETED
    assert not [run for run in list_runs(store) if run.status is Status.RUNNING]


def memory_for(monkeypatch: pytest.MonkeyPatch, lanes: float) -> None:
    """A device that holds the programs of so many lanes."""
    monkeypatch.setattr(Program, "memory_bytes", lambda program: program.placement.lanes * 1_000_000_000)
    monkeypatch.setattr(engine, "memory_limit", lambda: lanes * 1e9)


def test_lanes_that_do_not_fit_are_as_few_as_the_prediction_says(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    memory_for(monkeypatch, 2.5)
    events = sweep(store, LR, trials=8)
    assert (events[-1].status, events[-1].trials) == (Status.COMPLETED, {"completed": 8})
    assert [cohort.lanes for cohort in only(events, CohortStarted)] == [8, 2, 2, 2, 2]
    (notice,) = (notice.text for notice in only(events, Notice))
    assert notice.startswith("a program of 8 lanes needs 8.0 GB, and the device has 2.5 GB")
    assert notice.endswith("; 2 lanes at a time from here on")
    assert len(list_runs(store)) == 8


def test_a_trial_that_cannot_fit_alone_fails_with_its_size_and_the_others_go_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Program, "memory_bytes", lambda program: program.parameters() * 1_000_000_000)
    monkeypatch.setattr(engine, "memory_limit", lambda: 1000e9)
    events = sweep(store, "model.hidden=choice([2], [4], [64])", trials=3, sampler="grid")
    assert events[-1].trials == {"completed": 2, "failed": 1}
    bad = find_sweep(store, events[-1].sweep).trials[2]
    assert bad.message.startswith(
        "a program of 1 lane needs 4874.0 GB, and the device has 1000.0 GB: lower train.batch_size or"
    )
    assert bad.run_id is None


def test_survivors_that_did_not_fit_begin_where_they_stood(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that runs out at a rung: the lanes are parked, and go on in halves."""
    monkeypatch.setattr(engine, "memory_limit", lambda: 4.5e9)
    monkeypatch.setattr(
        Program, "memory_bytes", lambda program: 1e9 * (1 if program.placement.lanes == 32 else program.placement.lanes)
    )
    monkeypatch.setattr("dlx.sweep.bench.Bench.most_lanes", lambda bench, config: bench._most.get(engine.structure(config), 32))
    monkeypatch.setattr("dlx.sweep.bench.Bench.pays", lambda *_: True)
    steps = ("train.duration=9 steps", "train.evaluate_every=1 steps", "train.monitor=validation/loss")
    events = sweep(store, LR, *steps, trials=24, pruner=HalvingPruner(min_resource=3))
    cohorts = [(cohort.lanes, cohort.step) for cohort in only(events, CohortStarted)]
    assert cohorts[:2] == [(32, 0), (8, 3)]
    assert {step for _, step in cohorts[2:]} == {3}
    assert events[-1].trials == {"completed": 8, "pruned": 16}


def test_enqueued_trials_are_the_first(store: Store) -> None:
    first = ({"optimizer.lr": 0.05, "model.dropout": 0.25}, {"optimizer.lr": 0.001})
    for sampler in ("random", "tpe", "qmc"):
        words = ("model.hidden=[8]", LR, "model.dropout=interval(0, 0.5)")
        trials = find_sweep(store, sweep(store, *words, trials=4, sampler=sampler, enqueue=first)[-1].sweep).trials
        assert trials[0].params == first[0]
        assert trials[1].params["optimizer.lr"] == 0.001
        assert 0 <= trials[1].params["model.dropout"] <= 0.5
        assert trials[2].params["optimizer.lr"] not in (0.05, 0.001)
        assert [trial.status for trial in trials] == [Status.COMPLETED] * 4


def test_what_is_enqueued_later_is_told_to_be_left_out(store: Store) -> None:
    first, other = {"optimizer.lr": 0.05}, {"optimizer.lr": 0.001}
    for trials, enqueue, told in ((1, (first,), 0), (2, (first,), 0), (3, (other,), 1)):
        events = sweep(store, LR, trials=trials, enqueue=enqueue)
        assert [notice.text for notice in only(events, Notice)] == [
            "trials are enqueued by a sweep's first command alone: those given now are left out"
        ] * told
    assert other not in [trial.params for trial in find_sweep(store, events[-1].sweep).trials]


@pytest.mark.parametrize(
    ("params", "sampler", "sentence"),
    [
        ({"optimizer.momentum": 0.9}, "random", "enqueue: optimizer.momentum is not searched; the search has optimizer.lr"),
        ({"optimizer.lr": 5.0}, "random", "enqueue: optimizer.lr=5.0 is not among what is searched"),
        ({"optimizer.lr": "high"}, "random", "enqueue: optimizer.lr=high is not among what is searched"),
        ({"optimizer.lr": 0.01}, "grid", "enqueue: a grid has its own order"),
    ],
)
def test_a_trial_that_cannot_be_enqueued_is_one_sentence(
    store: Store, params: dict[str, Any], sampler: str, sentence: str
) -> None:
    searched = LR if sampler == "random" else "optimizer.lr=choice(0.01, 0.1)"
    with pytest.raises(ConfigError) as caught:
        sweep(store, searched, trials=2, sampler=sampler, enqueue=(params,))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError):
        find_sweep(store, "latest")


def test_a_changed_space_goes_on_when_it_is_allowed_and_what_was_tried_stays(store: Store) -> None:
    first = sweep(store, LR, trials=3, name="nightly")[-1]
    old = find_sweep(store, first.sweep).trials
    wider = ("model.hidden=[8]", LR.replace("1e-1", "2e-1"), "model.dropout=interval(0, 0.5)")
    with pytest.raises(ConfigError) as caught:
        sweep(store, *wider, trials=5, name="nightly")
    assert "search.optimizer.lr.high was 0.1, now 0.2" in str(caught.value)
    assert "search.model.dropout" in str(caught.value)
    assert "\n" not in str(caught.value)
    events = sweep(store, *wider, trials=6, name="nightly", change=True)
    assert (events[-1].sweep, events[-1].trials) == (first.sweep, {"completed": 6})
    record = find_sweep(store, "nightly")
    assert record.trials[:3] == old
    assert [event.number for event in only(events, TrialFinished)] == [3, 4, 5]
    assert all("model.dropout" in trial.params for trial in record.trials[3:])
    assert set(record.config["search"]) == {"optimizer.lr", "model.dropout"}
    assert sweep(store, *wider, trials=6, name="nightly")[-1].status is Status.COMPLETED  # now it is that sweep


def test_a_narrower_space_keeps_trials_outside_of_it_and_a_learning_sampler_goes_on(store: Store) -> None:
    sweep(store, "optimizer.kind=sgd", LR, trials=3, name="nightly")
    narrow = "optimizer.lr=tag(log, interval(1e-4, 2e-4))"
    last = sweep(store, "optimizer.kind=sgd", narrow, trials=5, name="nightly", change=True, sampler="tpe")[-1]
    assert last.trials == {"completed": 5}
    assert all(trial.params["optimizer.lr"] <= 2e-4 for trial in find_sweep(store, "nightly").trials[3:])
