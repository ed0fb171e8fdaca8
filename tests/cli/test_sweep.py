"""`dlx sweep` as it is typed: one line starts, continues and reports; bad spaces are one sentence; what it prints can be used."""

import csv
import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from dlx.cli.app import main
from dlx.store import find_sweep, open_store

TINY = ["model.hidden=[4]", "train.duration=1 epochs", "data.limit=200"]
LR = "optimizer.lr=tag(log, interval(1e-4, 1e-1))"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["dlx", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


def test_a_search_from_the_first_line_to_the_winner(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ("sweep", "digits-mlp", *TINY, LR, "--trials", "4", "--sampler", "random", "--json")
    assert run(monkeypatch, *line) == 0
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert (answer["status"], answer["trials"], answer["programs"]) == ("completed", {"completed": 4}, 1)
    assert set(answer["best"]) == {"trial", "run", "value", "params"}
    assert "4 trials" in err
    assert "the best so far: optimizer.lr=" in err

    assert run(monkeypatch, *line) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["sweep"], again["best"]["value"], again["programs"]) == (answer["sweep"], answer["best"]["value"], 0)

    run(monkeypatch, "sweep", "export", "latest")
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3"]
    assert float(rows[answer["best"]["trial"]]["optimizer.lr"]) == answer["best"]["params"]["optimizer.lr"]

    run(monkeypatch, "sweep", "show", "latest", "-n", "2")
    shown = capsys.readouterr().out
    assert f"sweep {answer['sweep']} completed: 4 of 4 trials" in shown
    assert answer["best"]["run"] in shown
    run(monkeypatch, "sweep", "ls")
    assert "4/4" in capsys.readouterr().out

    assert run(monkeypatch, "train", "--from", "latest", "--json", "-q") == 0
    winner = json.loads(capsys.readouterr().out)
    run(monkeypatch, "runs", "show", winner["run"], "--json")
    assert json.loads(capsys.readouterr().out)["config"]["optimizer"]["lr"] == answer["best"]["params"]["optimizer.lr"]


def test_a_table_and_a_network_of_ones_own_are_searched_as_they_are_trained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{i % 7},{i % 2}" for i in range(60)]
    Path("rows.csv").write_text("\n".join(["x,y", *rows]) + "\n")
    Path("net.py").write_text(
        "from flax import nnx\n\n"
        "class Net(nnx.Module):\n"
        "    def __init__(self, in_features, out_features, *, rngs, width=2):\n"
        "        self.inner = nnx.Linear(in_features, width, rngs=rngs)\n"
        "        self.outer = nnx.Linear(width, out_features, rngs=rngs)\n"
        "    def __call__(self, x):\n"
        "        return self.outer(nnx.relu(self.inner(x)))\n"
    )
    own = ("--data", "rows.csv", "--target", "y", "--model", "net.py:Net")
    line = ("sweep", *own, LR, "train.duration=1 epochs", "--trials", "2", "--json")
    assert run(monkeypatch, *line) == 0
    best = json.loads(capsys.readouterr().out)["best"]
    run(monkeypatch, "runs", "show", best["run"], "--json")
    config = json.loads(capsys.readouterr().out)["config"]
    assert (config["data"]["kind"], config["data"]["target"], config["model"]["kind"]) == ("csv", "y", "python")
    assert run(monkeypatch, "sweep", "--data", "rows.csv", LR, "--trials", "2") == 2
    assert "name the column to predict with --target COLUMN" in capsys.readouterr().err


def test_options_may_come_before_the_recipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "sweep", "--trials", "1", "-q", "digits-mlp", *TINY, LR) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["optimizer.lrr=interval(1, 2)"], 78, "did you mean optimizer.lr?"),
        (["optimizer.lr=interval(2, 1)"], 78, "low must be below high"),
        (["optimizer.lr=tag(log, interval(0, 1))"], 78, "log"),
        (["model.activation=interval(0, 1)"], 78, "model.activation: a float range, but the field takes one of relu"),
        (["optimizer.lr=interval(1, 2"], 78, "interval(1, 2"),
        ([LR, "train.monitor=validation/acc"], 78, "this run can monitor validation/accuracy"),
        (["optimizer.lr=0.1"], 78, "nothing to search"),
        ([LR, "--sampler", "grid"], 78, "a grid needs its points"),
        ([LR, "--sampler", "gird"], 78, "it is one of random, grid, qmc, tpe"),
        ([LR, "--max-time", "3 epochs"], 2, "wall-clock"),
        ([LR, "--pruner", "medain"], 78, "--pruner medain: it is one of none, median, percentile, successive_halving"),
        ([LR, "--pruner", "patient"], 78, "write pruner: {kind: patient, patience: ...} in a sweep file"),
        ([LR, "--on-fail", "explode"], 78, "--on-fail explode"),
        (
            [LR, "--enqueue", "optimizer.lr=7"],
            78,
            "enqueue: optimizer.lr=7 is not among what is searched; widen search optimizer.lr",
        ),
        ([LR, "--enqueue", "model.dropout=0.1"], 78, "enqueue: model.dropout is not searched; the search has optimizer.lr"),
        ([LR, "--from", "nothing"], 2, "has no sweep 'nothing'; `dlx sweep` makes the first"),
        ([LR, "--store", "mysql://me@127.0.0.1/runs"], 2, "SQLite or PostgreSQL, not in 'mysql'"),
    ],
)
def test_an_impossible_search_is_one_sentence_before_the_first_trial(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], code: int, sentence: str
) -> None:
    assert run(monkeypatch, "sweep", "digits-mlp", *words, "--trials", "2") == code
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert not list(Path("results").glob("runs/*"))


def test_without_an_end_it_asks_for_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "sweep", "digits-mlp", LR) == 2
    assert "Give --trials N" in capsys.readouterr().err


def test_an_unknown_sweep_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(monkeypatch, "sweep", "digits-mlp", *TINY, LR, "--trials", "1", "-q", "--name", "nightly")
    assert run(monkeypatch, "sweep", "show", "nightli") == 2
    assert "has no sweep 'nightli'; it has" in capsys.readouterr().err
    assert run(monkeypatch, "train", "--from", "nightly", "digits-mlp") == 2
    assert "brings its own experiment" in capsys.readouterr().err


def test_gp_without_torch_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("dlx.sweep.propose.find_spec", lambda _: None)
    assert run(monkeypatch, "sweep", "digits-mlp", *TINY, LR, "--trials", "2", "--sampler", "gp") == 78
    assert capsys.readouterr().err == "error: sampler.kind is gp, which needs PyTorch: pip install 'dlx[gp]'\n"


def test_a_store_that_cannot_be_reached_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("psycopg")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"postgresql://me:secret@127.0.0.1:{port}/runs"
    assert run(monkeypatch, "sweep", "digits-mlp", *TINY, LR, "--trials", "2", "--store", url) == 73
    err = capsys.readouterr().err
    assert "the server cannot be reached; check that it runs" in err
    assert err.count("\n") == 1
    assert "secret" not in err


def test_sweep_alone_shows_its_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "sweep") == 2
    told = "".join(capsys.readouterr())
    assert "Search hyperparameters" in told
    assert all(word in told for word in ("run", "ls", "show", "best", "importance", "plot", "export"))
    assert not Path("results").exists()


@pytest.mark.slow
def test_a_dry_run_shows_the_space_and_the_programs_and_stores_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "train.duration=9 epochs",
        "data.limit=200",
        LR,
        "model.hidden=choice([2], [4])",
        "train.batch_size=choice(32, 99999)",
    )
    line = ("sweep", "digits-mlp", *words, "--trials", "8", "--sampler", "grid", "--pruner", "hyperband", "--dry-run")
    assert run(monkeypatch, *line) == 78  # a range has no grid
    assert "a grid needs its points" in capsys.readouterr().err
    line = tuple("random" if word == "grid" else word for word in line)
    assert run(monkeypatch, *line) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "8 trials for the highest validation/accuracy, cpu (" in out
    assert "tag(log, interval(0.0001, 0.1))" in out
    assert "choice([2], [4])" in out
    assert "hyperband: compared after evaluations 1, 3 of 9" in out
    assert "model.hidden=[2]" in out
    assert "cannot be trained: trial " in out
    assert "train.batch_size is 99999" in out
    assert out.rstrip().endswith("nothing was trained")
    assert run(monkeypatch, *line, "--json") == 0
    out, err = capsys.readouterr()
    plan = json.loads(out)
    assert err == ""
    assert (plan["total"], plan["monitor"], plan["rungs"], plan["evaluations"]) == (8, "validation/accuracy", [1, 3], 9)
    assert plan["pruner"]["kind"] == "hyperband"
    assert set(plan["search"]) == {"optimizer.lr", "model.hidden", "train.batch_size"}
    assert sum(group["trials"] for group in plan["groups"]) + len(plan["failures"]) == 8
    for group in plan["groups"]:
        (width,) = group["values"]["model.hidden"]
        assert group["parameters"] == 64 * width + 2 * width + 10 * width + 10
        assert group["memory_bytes"] > 0
    assert not Path("results").exists()


@pytest.fixture
def of_two_goals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What `dlx sweep --json` said of a sweep with two seeds and two objectives."""
    Path("sweep.yaml").write_text(
        "experiment: digits-mlp\n"
        "search:\n"
        "  optimizer.lr: {type: float, low: 1.0e-4, high: 1.0e-1, log: true}\n"
        "  model.hidden: {type: categorical, choices: [[2], [4], [8]]}\n"
        "objective: [{metric: validation/loss}, {metric: parameters}]\n"
        "sampler: {kind: random}\n"
        "seeds: 2\n"
        "trials: 6\n"
    )
    assert run(monkeypatch, "sweep", "sweep.yaml", *TINY[1:], "--json", "-q", "--name", "two") == 0
    return json.loads(capsys.readouterr().out)


def test_the_json_object_has_what_scripts_need(of_two_goals: dict[str, Any]) -> None:
    assert {"sweep", "status", "trials", "best", "seconds", "programs", "message", "front", "path"} == set(of_two_goals)
    assert {"value", "params", "run", "trial"} == set(of_two_goals["best"])
    assert of_two_goals["trials"] == {"completed": 6}
    assert all(isinstance(value, float) and value >= 0 for value in of_two_goals["seconds"].values())
    assert {"import", "compile", "train", "evaluate", "store"} <= set(of_two_goals["seconds"])
    assert {"values", "params", "run", "trial"} == set(of_two_goals["front"][0])


def test_an_export_has_all_objectives_and_the_deviation(
    of_two_goals: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "sweep", "export", "two") == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert list(rows[0]) == [
        *("trial", "run", "status", "validation/loss", "parameters", "deviation"),
        *("optimizer.lr", "model.hidden", "message"),
    ]
    assert run(monkeypatch, "sweep", "export", "two", "--format", "json") == 0
    trials = json.loads(capsys.readouterr().out)["trials"]
    for row, trial in zip(rows, trials, strict=True):
        assert [float(row["validation/loss"]), float(row["parameters"])] == trial["values"]
        assert float(row["deviation"]) == trial["deviation"]
        assert json.loads(row["model.hidden"]) == trial["params"]["model.hidden"]
        assert len(trial["runs"]) == 2
    front = {entry["trial"]: entry["values"] for entry in of_two_goals["front"]}
    assert front == {number: trials[number]["values"] for number in front}
    assert run(monkeypatch, "sweep", "export", "two", "--format", "xml") == 2


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_sweep_is_shown_on_any_width_without_colours(
    of_two_goals: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    """As on a terminal of that width."""
    from rich.console import Console

    monkeypatch.setattr("dlx.report.console.for_output", lambda: Console(width=width, force_terminal=True, highlight=False))
    for words in (("show", "two"), ("best", "two"), ("ls",)):
        assert run(monkeypatch, "sweep", *words) == 0
        raw = capsys.readouterr().out
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]", raw)  # a colour; bold is none
        shown = re.sub(r"\x1b\[[0-9;]*m", "", raw)
        assert all(len(line) <= width for line in shown.splitlines())
        assert of_two_goals["sweep"] in shown
        if words[0] != "ls" and width >= 80:
            assert of_two_goals["best"]["run"] in shown


@pytest.mark.slow
def test_importance_tells_what_matters_and_when_it_cannot(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("model.hidden=[4]", "data.limit=200", "train.duration=2 epochs", "optimizer.kind=sgd")
    searched = ("optimizer.lr=tag(log, interval(1e-6, 1e-1))", "optimizer.weight_decay=tag(log, interval(1e-9, 1e-8))")
    chosen = ("--sampler", "random", "--name", "nightly", "-q")
    run(monkeypatch, "sweep", "digits-mlp", *words, *searched, "--trials", "1", *chosen)
    assert run(monkeypatch, "sweep", "importance", "nightly") == 2
    assert "has 1 completed trials: too few to tell what matters" in capsys.readouterr().err
    run(monkeypatch, "sweep", "digits-mlp", *words, *searched, "--trials", "48", *chosen)
    assert run(monkeypatch, "sweep", "importance", "nightly", "--json") == 0
    shares = json.loads(capsys.readouterr().out)["importance"]
    assert list(shares) == ["optimizer.lr", "optimizer.weight_decay"]
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["optimizer.lr"] > 0.6
    assert run(monkeypatch, "sweep", "importance", "nightly") == 0
    assert f"{shares['optimizer.lr']:.1%}" in capsys.readouterr().out


def test_plots_are_png_files_whose_paths_are_told(
    of_two_goals: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, folder in (((), Path("results/sweeps") / of_two_goals["sweep"]), (("--to", "pictures"), Path("pictures"))):
        assert run(monkeypatch, "sweep", "plot", "two", *words) == 0
        told = [Path(line) for line in capsys.readouterr().out.splitlines()]
        assert {path.stem for path in told} == {
            "history",
            "parallel_coordinates",
            "importance",
            "slices",
            "learning_curves",
            "front",
        }
        assert all(path.resolve().parent == folder.resolve() for path in told)
        assert all(path.read_bytes().startswith(b"\x89PNG\r\n") for path in told)


def test_a_pruned_sweep_can_be_shown_exported_and_drawn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("model.hidden=[4]", "data.limit=200", "train.duration=9 steps", "train.evaluate_every=1 steps")
    line = (
        "sweep",
        "digits-mlp",
        *words,
        LR,
        "--trials",
        "9",
        "--sampler",
        "random",
        "--pruner",
        "successive_halving",
        "--json",
    )
    assert run(monkeypatch, *line) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["trials"] == {"pruned": 8, "completed": 1}
    run(monkeypatch, "sweep", "show", "latest")
    assert "trials: 1 completed, 8 pruned" in capsys.readouterr().out
    run(monkeypatch, "sweep", "export", "latest")
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert sum(row["message"].startswith("pruned after evaluation") for row in rows) == 8
    assert run(monkeypatch, "sweep", "plot", "latest") == 0


def test_a_sweep_begins_with_the_best_of_another_and_what_is_enqueued(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ("--sampler", "random", "-q")
    run(monkeypatch, "sweep", "digits-mlp", *TINY, LR, "--trials", "10", "--name", "first", *chosen)
    wider = (LR.replace("1e-1", "2e-1"), "model.dropout=interval(0, 0.5)")
    more = ("--from", "first", "--enqueue", "optimizer.lr=0.15 model.dropout=0.25")
    assert run(monkeypatch, "sweep", "digits-mlp", *TINY, *wider, *more, "--trials", "10", "--name", "second", *chosen) == 0
    with open_store(None) as store:
        before = [trial.params["optimizer.lr"] for trial in find_sweep(store, "first").ranked]
        after = [dict(trial.params) for trial in find_sweep(store, "second").trials]
    assert after[0] == {"optimizer.lr": 0.15, "model.dropout": 0.25}
    assert [params["optimizer.lr"] for params in after[1:9]] == before[:8]
    assert after[9]["optimizer.lr"] not in before
    assert all(0 <= params["model.dropout"] <= 0.5 for params in after)


def test_options_of_the_end_are_those_of_a_sweep_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = (
        "--target-value",
        "0.01",
        "--plateau",
        "30",
        "--on-fail",
        "stop",
        "--max-consecutive-failures",
        "3",
        "--retries",
        "1",
    )
    assert run(monkeypatch, "sweep", "digits-mlp", *TINY, LR, "--trials", "500", "--json", "-q", *ends, "--seed", "3") == 0
    answer = json.loads(capsys.readouterr().out)
    assert "the target value 0.01 is reached" in answer["message"]
    assert answer["trials"]["completed"] < 500


def test_a_changed_space_needs_a_word(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ("--sampler", "random", "-q", "--name", "nightly")
    run(monkeypatch, "sweep", "digits-mlp", *TINY, LR, "--trials", "2", *chosen)
    wider = LR.replace("1e-1", "2e-1")
    assert run(monkeypatch, "sweep", "digits-mlp", *TINY, wider, "--trials", "3", *chosen) == 78
    err = capsys.readouterr().err
    assert "search.optimizer.lr.high was 0.1, now 0.2; choose another --name, or go on with --allow-changed-space" in err
    assert err.count("\n") == 1
    assert run(monkeypatch, "sweep", "digits-mlp", *TINY, wider, "--trials", "3", *chosen, "--allow-changed-space") == 0
