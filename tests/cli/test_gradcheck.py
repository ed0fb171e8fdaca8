"""`dlx gradcheck`: a table and a verdict, the same as JSON, exit codes, and every built-in model."""

import json

import pytest
from rich.console import Console

from dlx.config.experiment import kinds
from dlx.diagnose.built_in import MODELS, OWN, TASKS, check_combination, combinations
from dlx.diagnose.gradients import GradCheck
from dlx.report.gradcheck import watch_gradients

WRONG = """
import jax
from flax import nnx

@jax.custom_vjp
def affine(x, w, b):
    return x @ w + b

affine.defvjp(lambda x, w, b: (x @ w + b, (x, w)), lambda saved, g: (g @ saved[1].T, 0.5 * saved[0].T @ g, g.sum(0)))

class Net(nnx.Module):
    def __init__(self, in_features, out_features, *, rngs):
        self.layer = nnx.Linear(64, out_features, rngs=rngs)

    def __call__(self, x):
        return affine(x.reshape(len(x), -1), self.layer.kernel[...], self.layer.bias[...])

class Nothing(nnx.Module):
    def __init__(self, in_features, out_features, *, rngs):
        self.outputs = out_features

    def __call__(self, x):
        return x.reshape(len(x), -1)[:, : self.outputs]

class Infinite(Net):
    def __call__(self, x):
        return super().__call__(x) / 0
"""


@pytest.fixture
def users_net(tmp_path):
    (tmp_path / "net.py").write_text(WRONG)


def test_a_table_for_each_mode_and_a_verdict(dlx):
    done = dlx("gradcheck", "digits-mlp", "--shrink", "4")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "gradients in float64 of 338 parameters on 8 examples, 4 random directions a leaf"
    assert [line.partition(",")[0] for line in lines if "mode," in line and "forward" not in line] == [
        "training mode",
        "evaluation mode",
    ]
    assert sum(line.split()[-1:] == ["right"] for line in lines) == 18  # 8 parameters and the inputs, in both modes
    assert sum(line.startswith("forward mode, without custom rules, agrees") for line in lines) == 2
    assert lines[-1] == "nothing is wrong: 18 right; relative errors up to 5.5e-07 pass"


def test_a_wrong_gradient_is_named_and_ends_with_1(dlx, users_net):
    done = dlx("gradcheck", "digits-mlp", "--model", "net.py:Net")
    assert done.code == 1
    assert "layer/kernel: wrong: it is 0.5 times what it should be" in done.out
    assert done.out.splitlines()[-1] == "wrong: 2 right, 1 wrong, forward mode disagrees"


def test_json_is_one_object(dlx, users_net):
    done = dlx("gradcheck", "digits-mlp", "--model", "net.py:Net", "--full", "--json")
    tree = json.loads(done.out)
    assert (done.code, tree["ok"], tree["full"]) == (1, False, True)
    (mode,) = tree["modes"]
    assert mode["mode"] == "both"
    leaves = {leaf["parameter"]: leaf for leaf in mode["leaves"]}
    assert {name: leaf["verdict"] for name, leaf in leaves.items()} == {
        "layer/bias": "right",
        "layer/kernel": "wrong",
        "inputs": "right",
    }
    assert leaves["layer/kernel"]["relative_error"] == pytest.approx(1 / 3, rel=1e-6)  # |g/2 - g| / (|g/2| + |g|)
    assert leaves["layer/kernel"]["order"] == pytest.approx(1, abs=0.05)
    assert leaves["layer/kernel"]["shape"] == [64, 10]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("digits-mlp", "--model", "net.py:Nothing"), 78, "net.py:Nothing has no parameters: there is no gradient to check"),
        (("digits-mlp", "--model", "net.py:Infinite"), 1, "at the initial parameters, before any step: `dlx check` shows"),
        (
            ("digits-mlp", "model.kind=linear", "--shrink", "3"),
            78,
            "--shrink 3 knows the layers of mlp and convnet, not those of linear",
        ),
        (("digits-mlp", "--full", "--directions", "2"), 2, "--full takes every coordinate"),
        (("all", "optimizer.lr=1"), 2, "gradcheck all is of the built-in models"),
        (("digits-mpl",), 66, "did you mean"),
    ],
)
def test_bad_input_is_one_sentence(dlx, users_net, words, code, sentence):
    done = dlx("gradcheck", *words)
    assert done.code == code
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert sentence in done.err


def test_every_model_kind_has_a_small_one():
    own = {each["model"]["kind"] for each in OWN.values()}
    # Two players made of many convolutions: their gradients are checked by tests/tasks/test_adversarial.py, in less time.
    assert set(MODELS) | own | {"stackgan", "cyclegan"} == set(kinds("model")) - {"python"}


def without_repeats():
    """Every model, and every task: of the shared tasks (`dlx gradcheck all` takes each with each) all with the models that cost least."""
    for each in combinations():
        if each.task == "classify" or each.task not in TASKS or each.model in ("linear", "mlp"):
            # A kink of dcgan is found by what the compiler makes of it; the others run for longer than they are compiled.
            optimized = each.model in ("dcgan", "lenet5") or each.model.endswith("depth 2")
            marks = [pytest.mark.optimized] if optimized else []
            yield pytest.param(each, id=f"{each.model}: {each.task}", marks=marks)


@pytest.mark.parametrize("combination", list(without_repeats()))
def test_every_built_in_model_and_every_task_is_right(combination):
    found = watch_gradients(check_combination(combination, GradCheck()), Console(quiet=True))
    assert found.ok
    assert all(mode.forward is not None for mode in found.modes)
    verdicts = {leaf.name: leaf.reading.verdict for mode in found.modes for leaf in mode.leaves}
    idle = {name for name, verdict in verdicts.items() if verdict == "zero"}
    # DCGAN draws small kernels: a gradient of 1e-6 beside a loss of 1 agrees, and gradcheck says truly that it cannot be sure.
    unsure = [leaf.reading for mode in found.modes for leaf in mode.leaves if leaf.reading.verdict == "undecidable"]
    assert all(abs(reading.analytic) < 1e-5 and reading.error < 1e-5 for reading in unsure)
    assert set(verdicts.values()) <= {"right", "kink", "zero"} | ({"undecidable"} if combination.model == "dcgan" else set())
    # Whole numbers have no gradient; of a stack only the first layer learns in the first step.
    assert all(name == "inputs" or combination.task == "greedy layers" for name in idle), idle


def test_all_prints_a_line_for_each_model_and_task(dlx, monkeypatch):
    few = list(combinations())[:2]
    monkeypatch.setattr("dlx.diagnose.built_in.combinations", lambda: few)
    done = dlx("gradcheck", "all")
    header, *lines, last = done.out.splitlines()
    assert done.code == 0
    assert header.split() == ["model", "task", "leaves", "worst", "error", "order", "forward", "mode", "seconds", "verdict"]
    assert [line.split()[:2] for line in lines] == [["linear", "classify"], ["linear", "multilabel"]]
    assert last.startswith("2 networks in ")
    assert last.endswith(": nothing is wrong")
    tree = json.loads(dlx("gradcheck", "all", "--json").out)
    assert tree["ok"]
    assert [each["model"] for each in tree["checked"]] == ["linear", "linear"]
