"""Checks of the untrained network: faults are planted in small networks of a user's, and the sound ones are left alone."""

import math
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import jax
import numpy as np
import pytest

from dlx import engine
from dlx.config import Experiment, load_experiment
from dlx.data.arrays import Arrays, from_arrays
from dlx.diagnose.sanity import checks
from dlx.diagnose.sanity.checks import CHECKS, Check, chosen_checks, examine
from dlx.diagnose.sanity.finding import Finding
from dlx.diagnose.sanity.layers import layers
from dlx.diagnose.sanity.of_network import initial_loss, modes, output_activation, symmetry
from dlx.diagnose.sanity.subject import Subject, subject_of
from dlx.errors import ConfigError, DeviceMemoryError, RunFailedError, UsageError
from dlx.events import DataLoaded

RANDOM = np.random.Generator(np.random.Philox(key=5))
KINDS = {"classify": "class", "multilabel": "labels", "regress": "number"}
MLP = {"kind": "mlp", "hidden": [16], "normalization": "none"}


@pytest.fixture(autouse=True)
def configured() -> None:
    engine.configure()


def subject(model: dict[str, Any], task: str | dict[str, Any] = "classify", **sections: Any) -> Subject:
    """150 rows of 6 columns, with targets of two of them."""
    x = RANDOM.standard_normal((150, 6)).astype(np.float32)
    named = {"kind": task} if isinstance(task, str) else task
    y = {"classify": (x[:, :2] > 0).sum(1), "multilabel": x[:, :2] > 0, "regress": x[:, 0] + 3 * x[:, 1]}[named["kind"]]
    data = {"kind": "python", "target": "data.py:load", "test": 0} | sections.pop("data", {})
    train = {"batch_size": 32, "duration": "200 steps", **sections.pop("train", {})}
    config = Experiment.model_validate({"task": named, "data": data, "model": model, "train": train, **sections})
    targets = y if named["kind"] == "regress" else y.astype(int)
    return subject_of(config, from_arrays(Arrays("arrays", (x, targets)), config.data, KINDS[named["kind"]]))


def net(forward: str, init: str = "") -> dict[str, Any]:
    """The config of a network of two layers `a` and `b` in the test's folder, with this forward pass."""
    source = dedent("""
        import jax, jax.numpy as jnp
        from flax import nnx

        class Net(nnx.Module):
            def __init__(self, in_features, out_features, *, rngs):
                zeros = nnx.initializers.zeros
                self.a = nnx.Linear(in_features, 16, rngs=rngs)
                self.b = nnx.Linear(16, out_features, rngs=rngs)
        {init}

            def __call__(self, x, train=False):
        {forward}
    """)
    text = source.format(init=indent(dedent(init), " " * 8), forward=indent(dedent(forward), " " * 8))
    Path("net.py").write_text(text)
    return {"kind": "python", "target": f"{Path('net.py').absolute()}:Net"}


PLAIN = "return self.b(nnx.relu(self.a(x)))"


def said(finding: Finding, verdict: str, *words: str) -> None:
    assert (finding.verdict, [word for word in words if word not in finding.said]) == (verdict, []), finding.said


# ---------------------------------------------------------------------------------------------------------- initial loss


@pytest.mark.parametrize(
    ("task", "chance"),
    [
        ("classify", math.log(3)),
        ({"kind": "classify", "label_smoothing": 0.3, "class_weights": "balanced"}, math.log(3)),
        ("multilabel", math.log(2)),
        ("regress", 1.0),
        ({"kind": "regress", "loss": "mae"}, 0.8),
    ],
)
def test_a_sound_network_begins_by_guessing(task: Any, chance: float) -> None:
    found = initial_loss(subject(net(PLAIN), task))
    assert found.verdict == "pass"
    assert found.numbers["chance"] == pytest.approx(chance, rel=1e-4 if task in ("classify", "multilabel") else 0.4)


@pytest.mark.parametrize(
    ("factor", "verdict", "words"),
    [
        (16, "warn", ("the first steps only shrink the outputs",)),
        (1000, "warn", ("draw the output layer's weights smaller",)),
        ("jnp.nan", "fail", ("the first loss is nan", "256 of 256 examples")),
    ],
)
def test_outputs_that_are_too_large_or_no_numbers(factor: Any, verdict: str, words: tuple[str, ...]) -> None:
    said(initial_loss(subject(net(f"return {factor} * self.b(nnx.relu(self.a(x)))"))), verdict, *words)


@pytest.mark.parametrize(("constant", "verdict"), [(1.2, "pass"), (1.7, "warn")])
def test_a_first_loss_is_too_large_from_three_times_guessing_on(constant: float, verdict: str) -> None:
    found = initial_loss(subject(net(f"return {constant} + 0 * self.b(self.a(x))"), "regress"))
    assert found.numbers["ratio"] == pytest.approx(1 + constant**2, rel=0.2)
    assert found.verdict == verdict


def test_a_network_that_knows_the_answer_already() -> None:
    knows = "return (x[:, :1] + 3 * x[:, 1:2]) / 10 ** 0.5 + 0 * self.b(self.a(x))"
    said(initial_loss(subject(net(knows), "regress")), "warn", "does the network see the answer")


# ----------------------------------------------------------------------------------------------------- output activation


@pytest.mark.parametrize(
    ("task", "outputs", "verdict", "words"),
    [
        ("classify", "y", "pass", ("the outputs are free",)),
        ("classify", "jax.nn.softmax(y)", "fail", ("sum to 1", "return the logits, without softmax")),
        ("classify", "jax.nn.sigmoid(y)", "fail", ("as after a sigmoid", "return the logits")),
        ("multilabel", "jax.nn.sigmoid(y)", "fail", ("as after a sigmoid",)),
        ("multilabel", "jax.nn.softmax(y)", "fail", ("sum to 1", "the loss applies its own sigmoid, not softmax")),
        ("multilabel", "y", "pass", ()),
        ("classify", "jax.nn.log_softmax(y)", "pass", ("log-probabilities: harmless",)),
        ("classify", "nnx.relu(y)", "warn", ("no output is ever negative", "as after ReLU")),
        ("regress", "nnx.relu(y)", "fail", ("no output is ever negative",)),
        ("regress", "jax.nn.sigmoid(y)", "warn", ("standardized targets are also negative",)),
        ("regress", "jnp.tanh(y)", "warn", ("as after tanh",)),
        ("regress", "y", "pass", ()),
        ("regress", "y * jnp.nan", "fail", ("every output is NaN or infinite",)),
    ],
)
def test_output_activations(task: str, outputs: str, verdict: str, words: tuple[str, ...]) -> None:
    said(output_activation(subject(net(f"y = self.b(nnx.relu(self.a(x)))\nreturn {outputs}"), task)), verdict, *words)


@pytest.mark.parametrize("init", ["zeros", "normal"])
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_small_outputs_are_not_taken_for_bounded_ones(kind: str, init: str) -> None:
    for task in ("classify", "regress"):
        model = {"kind": kind, "init": init} | ({"hidden": [16], "activation": "tanh"} if kind == "mlp" else {})
        said(output_activation(subject(model, task)), "pass")


# ----------------------------------------------------------------------------------------------------------------- modes


def test_dropout_is_no_difference_between_the_modes() -> None:
    for model in (
        MLP | {"dropout": 0.5},
        net("return self.b(self.drop(nnx.relu(self.a(x))))", "self.drop = nnx.Dropout(0.5, rngs=rngs)"),
        net(
            "return self.b(self.drop(nnx.relu(self.a(x)), deterministic=not train))", "self.drop = nnx.Dropout(0.5, rngs=rngs)"
        ),
    ):
        found = modes(subject(model))
        said(found, "pass", "are equal")
        assert found.numbers["difference"] < 1e-6


def test_a_network_that_looks_at_its_mode_fails() -> None:
    said(modes(subject(net("y = self.b(nnx.relu(self.a(x)))\nreturn y if train else 2 * y"))), "fail", "depends on `train`")
    lost = "y = self.b(nnx.relu(self.a(x)))\nreturn y if train else y * jnp.nan"
    said(modes(subject(net(lost))), "fail", "NaN or infinite in evaluation, and not in training")


def test_random_numbers_of_its_own_cannot_be_switched_off() -> None:
    noise = "y = self.b(self.a(x))\nreturn y + jax.random.normal(self.keys.noise(), y.shape) if train else y"
    said(modes(subject(net(noise, "self.keys = rngs"))), "skip", "cannot be told", "random numbers of its own")
    said(modes(subject(net("return jnp.nan * self.b(self.a(x))"))), "skip", "cannot be told", "NaN or infinite")


def test_dropout_that_stays_on_in_evaluation_fails() -> None:
    always = "return self.b(self.drop(nnx.relu(self.a(x)), deterministic=False))"
    found = modes(subject(net(always, "self.drop = nnx.Dropout(0.5, rngs=rngs)")))
    said(found, "fail", "in evaluation the same inputs give outputs that differ by", "dropout or other random numbers stay on")


@pytest.mark.parametrize(
    ("forward", "init"),
    [
        (
            "return self.b(nnx.relu(self.norm(self.a(x), use_running_average=False)))",
            "self.norm = nnx.BatchNorm(16, rngs=rngs)",
        ),
        ("h = nnx.relu(self.a(x))\nreturn self.b(h * jax.nn.softmax(h, axis=0))", ""),
        ("return self.b(nnx.relu(self.a(x.T.reshape(x.shape))))", ""),
        ("y = self.b(nnx.relu(self.a(x)))\nreturn jnp.broadcast_to(y.mean(0), y.shape)", ""),
    ],
)
def test_examples_that_depend_on_the_others_of_their_batch_fail(forward: str, init: str) -> None:
    found = modes(subject(net(forward, init)))
    said(found, "fail", "in evaluation an example's outputs depend on the other examples of its batch", "over the first axis")
    assert 0.01 < found.numbers["mixed"] < 10


def test_examples_that_depend_on_each_other_in_training_fail_and_a_batch_of_one_is_no_matter() -> None:
    mixed = "h = self.a(x)\nreturn self.b(h - h.mean(0) if train else h)"
    said(modes(subject(net(mixed))), "fail", "in training an example's outputs depend on the other examples of its batch")
    alone = "y = self.b(self.a(x))\nreturn y + y.mean(0)"
    said(modes(subject(net(alone), train={"batch_size": 1})), "pass", "are equal")


NORMALIZED = "return self.b(nnx.relu(self.norm(self.a(x))))"


@pytest.mark.parametrize("momentum", [0.9, 0.99])
def test_running_statistics_that_settle_within_the_training_pass(momentum: float) -> None:
    chosen = subject(
        net(NORMALIZED, f"self.norm = nnx.BatchNorm(16, momentum={momentum}, rngs=rngs)"), train={"duration": "2000 steps"}
    )
    found = modes(chosen)
    said(found, "pass", "with settled running statistics")
    assert found.numbers["ratio"] == pytest.approx(1, abs=0.1)
    assert modes(subject(MLP | {"normalization": "batch"})).verdict == "pass"


@pytest.mark.parametrize(("momentum", "steps"), [(1.0, 2000), (0.9999, 200)])
def test_running_statistics_that_never_settle(momentum: float, steps: int) -> None:
    large = "return 8 * self.b(nnx.relu(self.norm(30 * self.a(x))))"
    model = net(large, f"self.norm = nnx.BatchNorm(16, momentum={momentum}, rngs=rngs)")
    said(
        modes(subject(model, train={"duration": f"{steps} steps"})), "warn", "validation will look unlike training", "momentum"
    )


# ---------------------------------------------------------------------------------------------------------------- layers


@pytest.mark.parametrize(
    ("activation", "normalization"),
    [("relu", "none"), ("relu", "batch"), ("tanh", "none"), ("gelu", "layer"), ("sigmoid", "none")],
)
def test_layers_of_sound_networks(activation: str, normalization: str) -> None:
    init = "he" if activation in ("relu", "gelu") else "xavier"
    model = {"kind": "mlp", "hidden": [24, 16], "activation": activation, "normalization": normalization, "init": init}
    found = layers(subject(model))
    assert found.verdict == "pass", found.said
    kinds = ["linear"] if normalization == "none" else ["linear", "norm"]
    assert [layer["path"] for layer in found.numbers["layers"]] == [f"hidden/{i}/{k}" for i in (0, 1) for k in kinds] + [
        "output"
    ]
    assert all(sum(layer["histogram"]) > 0 and layer["dead"] < 0.5 for layer in found.numbers["layers"])
    assert all(each["gradient"] > 0 for each in found.numbers["parameters"])


@pytest.mark.parametrize(
    ("forward", "init", "verdict", "words"),
    [
        (PLAIN, "", "pass", ()),
        (PLAIN, "self.a.bias[...] = self.a.bias[...] - 50", "fail", ("every unit of a is 0 for every example",)),
        (PLAIN, "self.a.bias[...] = self.a.bias[...].at[:10].set(-50.0)", "warn", ("62% of the units of a are 0",)),
        ("return self.b(1e-5 * self.a(x))", "", "fail", ("the activations of a have a standard deviation of",)),
        ("return self.b(1e4 * self.a(x))", "", "fail", ("the activations of a have a standard deviation of",)),
        ("return self.b(500 * self.a(x))", "", "warn", ("the activations of a have a standard deviation of",)),
        ("return self.b(jnp.tanh(100 * self.a(x)))", "", "warn", ("of the activations of a are saturated",)),
        ("return self.b(jax.nn.sigmoid(100 * self.a(x)))", "", "warn", ("of the activations of a are saturated",)),
        ("return self.b(jnp.log(self.a(x)))", "", "fail", ("NaN or infinite",)),
        ("return jax.lax.stop_gradient(self.b(self.a(x)))", "", "fail", ("every gradient is 0",)),
        (
            "return self.b(jnp.where(self.a(x) > 0, jnp.sqrt(jnp.abs(x[:, :1] * 0 * self.a(x))), 1))",
            "",
            "fail",
            ("gradient", "NaN"),
        ),
    ],
)
def test_faults_inside(forward: str, init: str, verdict: str, words: tuple[str, ...]) -> None:
    said(layers(subject(net(forward, init))), verdict, *words)


CUT = ("the gradient of {} is exactly 0: it is not used, or cut off", "`dlx gradcheck` tells which")


@pytest.mark.parametrize(
    ("forward", "init", "verdict", "words"),
    [
        ("return self.b(jax.lax.stop_gradient(nnx.relu(self.a(x))))", "", "fail", (CUT[0].format("a/kernel"), CUT[1])),
        ("return self.b(jnp.round(4 * self.a(x)) / 4)", "", "fail", (CUT[0].format("a/kernel"), CUT[1])),
        (
            "x = self.a(x)\nreturn self.b(x + jax.lax.stop_gradient(self.c(x)))",
            "self.c = nnx.Linear(16, 16, rngs=rngs)",
            "warn",
            (CUT[0].format("c/kernel"),),
        ),
        (PLAIN, "self.c = nnx.Linear(3, 4, rngs=rngs)", "warn", ("never called, with a gradient of exactly 0: c; ",)),
        (f"{PLAIN} / jnp.zeros(())", "", "fail", ("every layer is finite, and the outputs are not: look at what follows b",)),
    ],
)
def test_layers_that_learn_nothing_and_numbers_lost_after_the_last(
    forward: str, init: str, verdict: str, words: tuple[str, ...]
) -> None:
    penalized = {"kind": "sgd", "lr": 0.1, "l2": 0.1}  # a penalty is no use of a parameter
    found = layers(subject(net(forward, init), optimizer=penalized))
    said(found, verdict, *words)
    assert not [word for word in ("vanish", "explode", "a/bias") if word in found.said]
    assert found.numbers["first_to_last_gradient"] not in (0, math.inf)


def test_advice_is_for_the_kind_of_model() -> None:
    zeros = net(PLAIN, "self.a.kernel[...] = 0 * self.a.kernel[...]")
    for check in (layers, symmetry):
        said(check(subject(zeros)), "fail", "its kernel_init")
        assert "model.init" not in check(subject(zeros)).said
        said(check(subject(MLP | {"init": "zeros"})), "fail", "model.init=he")


def test_a_network_without_parameters_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match=r"net.py:Net has no parameters: there is nothing to train"):
        layers(subject(net("return x[:, :3]", "del self.a, self.b")))


def test_vanishing_and_exploding_gradients() -> None:
    deep = {"kind": "mlp", "hidden": [16] * 8, "activation": "sigmoid", "init": "xavier"}
    said(layers(subject(deep)), "fail", "gradients vanish")
    explode = (
        "return self.b(jax.lax.stop_gradient(1 - 2e4) * self.a(x) + jax.lax.stop_gradient((2e4 - 1) * self.a(x)) + self.a(x))"
    )
    said(layers(subject(net(explode))), "fail", "gradients explode")


def test_an_output_layer_that_begins_at_zero_is_sound() -> None:
    zero = net(PLAIN, "self.b = nnx.Linear(16, out_features, kernel_init=zeros, rngs=rngs)")
    assert layers(subject(zero)).verdict == "pass"
    assert layers(subject({"kind": "linear", "init": "zeros"})).verdict == "pass"


def test_a_branch_whose_last_layer_begins_at_zero_is_not_cut_off() -> None:
    branch = "self.c, self.d = nnx.Linear(16, 16, rngs=rngs), nnx.Linear(16, 16, kernel_init=zeros, rngs=rngs)"
    found = layers(subject(net("x = nnx.relu(self.a(x))\nreturn self.b(x + self.d(nnx.relu(self.c(x))))", branch)))
    assert found.verdict == "pass", found.said


def test_a_branch_that_begins_at_zero_is_sound() -> None:
    branch = "self.c = nnx.Linear(16, 16, kernel_init=zeros, rngs=rngs)"
    forward = "x = nnx.relu(self.a(x))\nreturn self.b({} + self.c(x))"
    assert layers(subject(net(forward.format("x"), branch))).verdict == "pass"
    said(layers(subject(net(forward.format("0 * x"), branch))), "fail", "every unit of c is 0")


def test_layers_inside_a_scan_are_left_out_and_shared_ones_told_once() -> None:
    model = net(
        "return self.b(self.a(self.a(self.rnn(x[:, :, None])[:, -1])))",
        "self.rnn = nnx.RNN(nnx.SimpleCell(1, 16, rngs=rngs))\nself.a = nnx.Linear(16, 16, rngs=rngs)",
    )
    assert [layer["path"] for layer in layers(subject(model)).numbers["layers"]] == ["a", "b"]


def test_convolutions_count_dead_channels() -> None:
    x = RANDOM.integers(0, 256, (60, 8, 8, 1)).astype(np.uint8)
    config = Experiment.model_validate(
        {
            "task": {"kind": "classify"},
            "data": {"kind": "python", "target": "data.py:load"},
            "model": {"kind": "convnet", "channels": [4], "dense": [8]},
            "train": {"batch_size": 16},
        }
    )
    found = layers(subject_of(config, from_arrays(Arrays("images", (x, np.arange(60) % 2)), config.data, "class")))
    assert [layer["path"] for layer in found.numbers["layers"]] == [
        "blocks/0/layers/0/conv",
        "head/hidden/0/linear",
        "head/output",
    ]
    assert found.verdict == "pass"


# -------------------------------------------------------------------------------------------------------------- symmetry


def test_hidden_units_that_stay_the_same_fail() -> None:
    said(
        symmetry(subject(MLP | {"init": "zeros"})),
        "fail",
        "hidden/0/linear/kernel (16)",
        "are still the same after 2 steps",
    )


def test_an_output_layer_of_zeros_becomes_different() -> None:
    zero = net(PLAIN, "self.b = nnx.Linear(16, out_features, kernel_init=zeros, rngs=rngs)")
    found = symmetry(subject(zero))
    said(found, "pass", "the units of all 2 layers differ")
    assert found.numbers["equal_units"] == {"a/kernel": 0, "b/kernel": 0}


def test_no_number_is_no_symmetry() -> None:
    said(symmetry(subject(net("return jnp.nan * self.b(self.a(x))"))), "skip", "cannot be told")


# ------------------------------------------------------------------------------------------------------- the examination


def test_an_examination_tells_each_check_as_it_ends() -> None:
    Path("data.py").write_text(
        "import numpy as np\ndef load():\n    x = np.random.default_rng(0).standard_normal((120, 3))\n    return x, x[:, 0] > 0\n"
    )
    sections = {"data": {"kind": "python", "target": "data.py:load"}, "model": MLP, "train": {"batch_size": 16}}
    events = list(examine(Experiment.model_validate(sections), only=frozenset({"modes", "labels"})))
    assert isinstance(events[0], DataLoaded)
    assert [type(event).__name__ for event in events[1:]] == ["Checking", "Checked"] * 2
    assert [event.name for event in events[2::2]] == ["labels", "modes"]
    assert all(event.seconds >= 0 and event.question.endswith("?") for event in events[2::2])


def test_checks_are_chosen_by_name() -> None:
    assert chosen_checks(None, quick=False) == CHECKS
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    quick = chosen_checks(None, quick=True)
    assert {"labels", "layers"} < {check.name for check in quick} < {check.name for check in CHECKS}
    with pytest.raises(UsageError, match="there is no check 'lables'; there are labels, "):
        chosen_checks(frozenset({"lables"}), quick=False)
    with pytest.raises(UsageError, match="--quick leaves none of baselines"):
        chosen_checks(frozenset({"baselines"}), quick=True)


def test_a_device_that_gives_up_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(subject: Subject) -> Finding:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(checks, "CHECKS", (Check("greedy", "?", give_up, quick=True),))
    with pytest.raises(DeviceMemoryError):
        list(examine(load_experiment("digits-mlp", [])))


def test_a_network_that_raises_ends_the_examination() -> None:
    chosen = subject(net("raise ValueError('no such thing')"))
    with pytest.raises(RunFailedError, match="no such thing"):
        initial_loss(chosen)
