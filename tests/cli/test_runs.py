"""`dlx runs`: what was trained, read back."""

import csv
import io
import json
import os
import subprocess
import sys

import pytest

from dlx.cli.runs import SCREENFUL
from dlx.errors import Status
from dlx.store import Ending, NewRun, RunUpdate, finish_runs, open_store, record, start_run
from dlx.store.database import DEFAULT_URL


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


@pytest.fixture
def stored():
    """Makes runs without training any: `stored("a", "b")`, the newest last, each with a curve, better and better."""

    def make(*names, path=None):
        with open_store(DEFAULT_URL) as store:
            for number, name in enumerate(names):
                config = {
                    "data": {"kind": "csv", "path": path} if path else {"kind": "digits"},
                    "model": {"kind": ("mlp", "cnn")[number % 2]},
                    "optimizer": {"lr": 10.0**-number},
                }
                environment = {"device": "cpu", "packages": {"jax": f"0.{number}"}, "data": "f00", "git": None}
                new = NewRun(
                    config=config,
                    environment=environment,
                    steps_total=20,
                    steps_per_epoch=10,
                    monitor="validation/accuracy",
                    direction="maximize",
                    name=name,
                )
                run_id = start_run(store, new)
                splits = ("train/loss", "validation/loss", "train/accuracy", "validation/accuracy", "train/learning_rate")
                record(store, [RunUpdate(run_id, step, step // 10, dict.fromkeys(splits, step / 20)) for step in (10, 20)])
                finish_runs(
                    store,
                    [
                        Ending(
                            run_id, Status.COMPLETED, "", 20, 2, {"test/accuracy": number / 10}, {"train": 0.03, "other": 0.01}
                        )
                    ],
                )

    return make


def names(result):
    assert result.code == 0, result.err
    return [run["name"] for run in json.loads(result.out)["runs"]]


def test_conditions_may_be_joined_and_grouped(dlx, stored):
    stored("a", "b", "c", "d")
    where = 'metrics."test/accuracy" > 0.1 and config.model.kind = mlp'
    assert names(dlx("runs", "ls", "--where", where, "--json")) == ["c"]
    assert names(dlx("runs", "ls", "--where", "name=a or (test/accuracy>=0.2 and not name=c)", "--json")) == ["d", "a"]
    assert names(dlx("runs", "ls", "--where", "name in (a, b, c)", "--where", "config.model.kind=mlp", "--json")) == ["c", "a"]
    assert names(dlx("runs", "ls", "--sort", '-metrics."test/accuracy"', "--json")) == ["d", "c", "b", "a"]


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        ("name=a and acuracy>1", "runs have no 'acuracy', at character 12 (did you mean"),
        ("(name=a", "the parenthesis at character 1 is not closed"),
        ("name=a; DROP TABLE dlx_runs", None),
    ],
)
def test_a_wrong_condition_is_one_sentence(dlx, stored, condition, sentence):
    stored("a")
    result = dlx("runs", "ls", "--where", condition)
    if sentence is None:
        assert (result.code, result.out.strip()) == (0, "no runs")
    else:
        assert result.code == 2
        assert result.err.startswith("error: --where")
        assert sentence in result.err
        assert result.err.count("\n") == 1


def test_a_metric_that_no_run_has_is_named(dlx, stored):
    stored("a")
    result = dlx("runs", "ls", "--where", "test/acuracy > 0")
    assert result.code == 0
    assert result.out.startswith("no runs: no run has test/acuracy (did you mean test/accuracy")


def test_a_terminal_gets_the_newest_and_a_pipe_gets_all(dlx, stored, monkeypatch):
    stored(*(f"run-{number}" for number in range(SCREENFUL + 2)))
    assert len(dlx("runs", "ls").out.splitlines()) == SCREENFUL + 3
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    lines = dlx("runs", "ls").out.splitlines()
    assert lines[1].split()[1] == f"run-{SCREENFUL + 1}"
    assert len(lines) == SCREENFUL + 2
    assert lines[-1] == f"the first {SCREENFUL} of {SCREENFUL + 2} runs; -n N or --all shows more"
    assert lines[:-1] == dlx("runs", "ls", "-n", str(SCREENFUL)).out.splitlines(), "what was asked for needs no remark"
    assert len(dlx("runs", "ls", "--all").out.splitlines()) == SCREENFUL + 3
    assert len(names(dlx("runs", "ls", "--json"))) == SCREENFUL + 2
    assert dlx("runs", "ls", "--all", "-n", "3").code == 2


HOSTILE = ("[red]x[/red]", "<b>bold</b>", "'; DROP TABLE dlx_runs; --", "100 % _", "数 ü", "=1+1")


def test_hostile_names_are_shown_as_they_are(dlx, stored):
    stored(*HOSTILE)
    out = dlx("runs", "ls").out
    for name in HOSTILE:
        assert name in out
        assert f"({name})" in dlx("runs", "show", name).out
        assert names(dlx("runs", "ls", "--where", f'name = "{name}"', "--json")) == [name]
        wrong = dlx("runs", "show", name + "x")
        assert wrong.code == 2
        assert f"did you mean {name}" in wrong.err
    assert len(list(csv.reader(io.StringIO(dlx("runs", "export").out)))) == 1 + len(HOSTILE)


def test_differences_between_runs(dlx, stored):
    stored("a", "b", "c")
    out = dlx("runs", "diff", "a", "b").out
    for line in (["model.kind", "mlp", "cnn"], ["optimizer.lr", "1.0", "0.1"], ["packages.jax", "0.0", "0.1"]):
        assert line in [found.split() for found in out.splitlines()]
    tree = json.loads(dlx("runs", "diff", "a", "b", "c", "--json").out)
    first, second, third = tree["runs"]
    assert tree["config"]["optimizer.lr"] == {first: 1.0, second: 0.1, third: 0.01}
    assert tree["environment"] == {"packages.jax": {first: "0.0", second: "0.1", third: "0.2"}}
    assert "config: no difference" not in dlx("runs", "diff", "a", "c").out
    same = dlx("runs", "diff", "c", "latest")
    assert (same.code, same.out) == (0, "config: no difference\nenvironment: no difference\n")
    assert dlx("runs", "diff", "a").code == 2
    assert dlx("runs", "diff", "a", "no-such-run").code == 2


def test_export_takes_what_a_listing_takes(dlx, stored, tmp_path):
    stored("a", "b", "c")
    rows = list(csv.DictReader(io.StringIO(dlx("runs", "export", "--where", "test/accuracy>0", "--sort", "name").out)))
    assert [(row["name"], row["metrics.test/accuracy"]) for row in rows] == [("b", "0.1"), ("c", "0.2")]
    assert names(dlx("runs", "export", "--format", "json", "-n", "2")) == ["c", "b"]
    curves = list(csv.DictReader(io.StringIO(dlx("runs", "export", "--curves", "--name", "a").out)))
    assert len(curves) == 10
    assert curves[-1] | {"run": ""} == {
        "run": "",
        "name": "a",
        "metric": "validation/loss",
        "step": "20",
        "epoch": "2.0",
        "value": "1.0",
    }
    for name in ("runs.csv", "runs.json", "runs.parquet"):
        result = dlx("runs", "export", "--out", name)
        assert (result.code, result.out) == (0, "")
        assert (tmp_path / name).stat().st_size > 100
    assert dlx("runs", "export", "--format", "parquet").code == 2
    assert dlx("runs", "export", "--format", "xml").code == 2
    assert dlx("runs", "export", "--out", "new/runs.csv").code == 0
    assert dlx("runs", "export", "--out", "runs.csv/below.csv").code == 73


def test_an_export_of_nothing_says_why(dlx, stored):
    stored("a")
    result = dlx("runs", "export", "--where", "test/acuracy>0")
    assert result.code == 0
    assert result.out.startswith("run,name,status,message,")
    assert result.err == "no runs: no run has test/acuracy (did you mean test/accuracy or train/accuracy?)\n"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("arguments", [["ls", "--json"], ["show", "a", "--json"], ["show", "a"], ["ls"]], ids=" ".join)
def test_any_terminal_can_write_the_name_of_any_file(arguments, encoding, stored):
    stored("a", path="/d/\udcff \x1b[2J.csv")
    process = [sys.executable, "-m", "dlx", "runs", *arguments, "--store", DEFAULT_URL]
    done = subprocess.run(process, capture_output=True, env={**os.environ, "PYTHONIOENCODING": f"{encoding}:strict"})
    assert done.returncode == 0, done.stderr
    assert b"\x1b" not in done.stdout
    if "--json" in arguments:
        tree = json.loads(done.stdout.decode(encoding))
        assert tree.get("runs", [tree])[0]["config"]["data"]["path"] == "/d/\udcff \x1b[2J.csv"


def test_however_short_the_time_of_training_is_shown(dlx, stored):
    stored("a")
    assert ["seconds", "train", "0.03"] in [line.split() for line in dlx("runs", "show", "a").out.splitlines()]


def test_showing_with_plots(dlx, stored, tmp_path):
    stored("a")
    out = dlx("runs", "show", "a", "--plot").out
    assert "loss  train line  validation o" in out
    assert "learning rate" in out
    (folder,) = (tmp_path / "results" / "runs").iterdir()
    (folder / "evaluations").mkdir()
    matrix = {"classes": ["cat", "dog"], "counts": [[9, 1], [2, 8]]}
    (folder / "evaluations" / "test.json").write_text(json.dumps({"confusion": matrix}))
    assert "confusion on test" in dlx("runs", "show", "a", "--plot").out
    assert "confusion" not in dlx("runs", "show", "a").out
    assert dlx("runs", "show", "a", "--plot", "--json").code == 2


LOADED = """
import json, sys
sys.argv = ["dlx", *json.loads(sys.argv[1])]
from dlx.cli.app import main
main_out, sys.stdout = sys.stdout, sys.stderr
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=main_out)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["ls", "--where", "test/accuracy>0"],
        ["show", "a"],
        ["show", "a", "--plot"],
        ["diff", "a", "b"],
        ["export"],
        ["export", "--format", "json", "--curves"],
    ],
    ids=" ".join,
)
def test_reading_needs_nothing_heavy(arguments, stored):
    stored("a", "b")
    arguments = json.dumps(["runs", *arguments, "--store", DEFAULT_URL])
    done = subprocess.run([sys.executable, "-c", LOADED, arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not {"jax", "jaxlib", "flax", "optax", "optuna", "pandas", "sklearn", "matplotlib"} & set(json.loads(done.stdout))
