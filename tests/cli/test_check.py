"""`dlx check` and `dlx train --check`: findings on stdout, exit codes, and nothing trained where a check fails."""

import json
from pathlib import Path

import pytest

QUICK = ("--only", "labels,batch-size", "--only", "standardized")
SOFTMAX = """
import jax
from flax import nnx

class Net(nnx.Module):
    def __init__(self, in_features, out_features, *, rngs):
        self.layer = nnx.Linear(64, out_features, rngs=rngs)

    def __call__(self, x):
        return jax.nn.softmax(self.layer(x.reshape(len(x), -1)))
"""


@pytest.fixture
def softmax(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(SOFTMAX)
    return "net.py:Net"


def test_a_line_for_each_check_and_a_summary(dlx, tmp_path):
    done = dlx("check", "digits-mlp", *QUICK)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert [line.split()[:2] for line in lines[:-1]] == [["pass", "labels"], ["pass", "standardized"], ["pass", "batch-size"]]
    assert lines[0] == "pass labels              10 classes with 126 to 132 training examples each"
    assert lines[-1].startswith("3 passed, 0 warnings, 0 failures in ")
    assert not (tmp_path / "results").exists()


def test_warnings_are_no_failure(dlx, tiny):
    done = dlx("check", *tiny, "--only", "batch-size")
    assert (done.code, done.out.splitlines()[-1][:33]) == (0, "0 passed, 1 warning, 0 failures i")
    assert "only 40 steps" in done.out


def test_all_quick_checks_of_a_shipped_recipe_pass(dlx, tiny):
    done = dlx("check", "digits-mlp", "--quick", "--json")
    tree = json.loads(done.out)
    assert (done.code, tree["ok"]) == (0, True)
    assert [check["verdict"] for check in tree["checks"]] == ["pass"] * 10
    assert tree["checks"][0]["numbers"]["counts"][0] == 128
    assert tree["seconds"] == pytest.approx(sum(check["seconds"] for check in tree["checks"]))


def test_a_failure_is_exit_code_1(dlx, softmax):
    done = dlx("check", "digits-mlp", "--model", softmax, "--only", "output-activation")
    assert (done.code, done.err) == (1, "")
    assert done.out.startswith("fail output-activation   each example's outputs are from 0 to 1 and sum to 1")
    tree = json.loads(dlx("check", "digits-mlp", "--model", softmax, "--only", "output-activation", "--json").out)
    assert (tree["ok"], tree["checks"][0]["verdict"]) == (False, "fail")


def test_without_a_first_loss_the_later_checks_are_skipped(dlx, tmp_path):
    (tmp_path / "net.py").write_text(SOFTMAX.replace("jax.nn.softmax(", "jax.numpy.nan * ("))
    done = dlx("check", "digits-mlp", "--model", "net.py:Net", "--quick", "--json")
    verdicts = {check["name"]: (check["verdict"], check["said"]) for check in json.loads(done.out)["checks"]}
    skipped = ("skip", "the first loss is no number: see initial-loss")
    assert (done.code, verdicts["initial-loss"][0]) == (1, "fail")
    assert [name for name, each in verdicts.items() if each == skipped] == ["output-activation", "modes"]
    slow = "initial-loss,overfits-one-batch,deterministic,learning-rate"
    done = dlx("check", "digits-mlp", "--model", "net.py:Net", "--only", slow)
    assert done.out.splitlines()[-1].startswith("0 passed, 3 skipped, 0 warnings, 1 failure in ")


def test_verbose_draws_the_layers(dlx, tiny):
    done = dlx("check", *tiny, "--only", "layers", "-v")
    assert done.out.startswith("data digits: 1,298 train, 229 validation, 270 test\n")
    rows = [line.split()[0] for line in done.out.splitlines() if "hidden/0" in line or "output" in line]
    assert rows == ["hidden/0/linear", "hidden/0/norm", "output"]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--only", "lables"), 2, "there is no check 'lables'; there are labels, exclusive-labels, "),
        (("--only", "baselines", "--quick"), 2, "--quick leaves none of baselines"),
        (("digits-mpl",), 66, "did you mean"),
        (("--only", "batch-size", "train.batch_size=5000"), 78, "the training part has 1298 examples"),
        (("--model", "nothing.py:Net", "--only", "modes"), 66, "nothing.py"),
    ],
)
def test_what_is_wrong_is_one_sentence(dlx, words, code, sentence):
    done = dlx("check", *words)
    assert (done.code, done.out) == (code, "")
    assert sentence in done.err
    assert len(done.err.splitlines()) == 1


def test_train_after_the_quick_checks(dlx, tiny):
    done = dlx("train", *tiny, "--check", "--json")
    assert (done.code, json.loads(done.out)["status"]) == (0, "completed")
    assert "note: check batch-size: the whole training has only 40 steps" in done.err
    silent = dlx("train", *tiny, "--check", "--quiet", "--json")
    assert (silent.code, silent.err) == (0, "")


def test_no_training_where_a_check_fails(dlx, tiny, softmax):
    words = ("train", "digits-mlp", "train.duration=40 steps", "--model", softmax, "--check")
    done = dlx(*words)
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith("error: not trained: check output-activation failed: each example's outputs")
    assert done.err.endswith("without softmax; leaving --check out trains all the same\n")
    tree = json.loads(dlx(*words, "--json").out)
    assert (tree["run"], tree["status"], tree["exit_code"]) == (None, "failed", 1)
    assert json.loads(dlx("runs", "ls", "--json").out)["runs"] == []


@pytest.mark.parametrize(("option", "value"), [("--resume", "latest"), ("--dry-run", None)])
def test_checks_are_for_new_runs(dlx, tiny, option, value):
    words = ("--resume", "latest") if value else (*tiny, "--dry-run")
    done = dlx("train", *words, "--check")
    assert (done.code, done.out) == (2, "")
    assert "leave out --check, or run `dlx check`" in done.err
