"""`dlx sweep` as it is typed: one line starts, continues and reports; bad spaces are one sentence; what it prints can be used."""

import csv
import json
from pathlib import Path

import pytest

from dlx.cli.app import main

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
