"""`dlx runs`: what was trained, read back."""

import json

import pytest


@pytest.fixture
def trained(dlx, tiny):
    for name, rate in (("low", "1e-4"), ("high", "1e-2")):
        assert dlx("train", *tiny, f"optimizer.lr={rate}", "--name", name, "-q").code == 0


def test_listing(dlx, trained):
    lines = dlx("runs", "ls").out.splitlines()
    assert lines[0].split()[:4] == ["id", "name", "status", "started"]
    assert [line.split()[1] for line in lines[1:]] == ["high", "low"], "the newest first"
    assert all("completed" in line and "40/40" in line for line in lines[1:])
    found = json.loads(dlx("runs", "ls", "--where", "config.optimizer.lr>0.001", "--json").out)["runs"]
    assert [run["name"] for run in found] == ["high"]
    by_score = json.loads(dlx("runs", "ls", "--sort", "-test/accuracy", "--json").out)["runs"]
    assert by_score[0]["metrics"]["test/accuracy"] >= by_score[1]["metrics"]["test/accuracy"]
    assert dlx("runs", "ls", "--status", "failed").out.strip() == "no runs"


def test_showing(dlx, trained):
    out = dlx("runs", "show", "high").out
    for text in ("completed: trained 40 steps", "dlx train digits-mlp", "adamw lr=0.01", "validation/accuracy (maximize)"):
        assert text in out
    tree = json.loads(dlx("runs", "show", "latest", "--json").out)
    assert {"status", "step", "epoch", "config", "metrics"} <= tree.keys()
    assert tree["run"] == json.loads(dlx("runs", "show", tree["run"][:6], "--json").out)["run"]


def test_tail_of_a_finished_run(dlx, trained):
    lines = dlx("runs", "tail", "high").out.splitlines()
    assert [line.split()[1] for line in lines[:-1]] == ["20/40", "40/40"]
    assert "completed" in lines[-1]


def test_removing_asks_unless_told(dlx, trained, tmp_path):
    refused = dlx("runs", "rm", "low")
    assert refused.code == 2
    assert "Say --yes where nobody can be asked" in refused.err
    assert dlx("runs", "rm", "low", "high", "--yes").code == 0
    assert dlx("runs", "ls").out.strip() == "no runs"
    assert not list((tmp_path / "results" / "runs").iterdir())


def test_an_unknown_run_names_the_nearest(dlx, trained):
    result = dlx("runs", "show", "hihg")
    assert result.code == 2
    assert "high" in result.err


def test_no_store_yet(dlx):
    result = dlx("runs", "ls")
    assert result.code == 66
    assert "no store" in result.err
    assert "dlx train" in result.err
