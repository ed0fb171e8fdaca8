"""The checks that train find every fault that was planted for them, and leave sound experiments alone."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import jax
import numpy as np
import pytest

from dlx.config import Experiment, load_experiment, parse_override
from dlx.diagnose.sanity.finding import Finding
from dlx.diagnose.sanity.of_training import (
    deterministic,
    learning_rate,
    loss_falls,
    overfits_one_batch,
    shuffled_labels,
    uses_its_input,
)
from dlx.diagnose.sanity.one_batch import of_a_constant, one_batch
from dlx.diagnose.sanity.shuffled import groups_of, shuffled
from dlx.diagnose.sanity.subject import Subject, subject_of
from dlx.experiment.assemble import load_data, resolve

CHECKS = (overfits_one_batch, loss_falls, shuffled_labels, uses_its_input, deterministic, learning_rate)

NETWORKS = """
    import jax
    import jax.numpy as jnp
    import numpy as np
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, in_features, out_features, *, rngs, dropout=0.0, normalize=False):
            self.hidden = nnx.Linear(in_features, 16, rngs=rngs)
            self.norm = nnx.BatchNorm(16, rngs=rngs) if normalize else None
            self.drop = nnx.Dropout(dropout, rngs=rngs)
            self.output = nnx.Linear(16, out_features, rngs=rngs)

        def __call__(self, x):
            x = self.hidden(x)
            x = x if self.norm is None else self.norm(x)
            return self.output(self.drop(nnx.relu(x)))

    class Deaf(Net):
        def __call__(self, x):
            return super().__call__(jnp.ones_like(x))

    class Zero(nnx.Module):
        def __init__(self, in_features, out_features, *, rngs):
            self.output = nnx.Linear(in_features, out_features, kernel_init=nnx.initializers.zeros, rngs=rngs)

        def __call__(self, x):
            return self.output(x)

    class Bored(Net):
        def __init__(self, in_features, out_features, *, rngs, share):
            super().__init__(in_features, out_features, rngs=rngs)
            self.share = share

        def __call__(self, x):
            return super().__call__(self.share * x)

    class Frozen(Net):
        def __call__(self, x):
            return jax.lax.stop_gradient(super().__call__(x))

    class Broken(Net):
        def __call__(self, x):
            return super().__call__(x) / 0.0

    class Noisy(Net):
        def __call__(self, x):
            return super().__call__(x + np.random.normal(size=x.shape[1:]))

    @jax.jit
    def noisy(x):
        return x + np.random.normal(size=x.shape[1:])

    class Hidden(Net):
        def __call__(self, x):
            return super().__call__(noisy(x))
"""

DATA = """
    import numpy as np

    def rows(count, seed, kind="class"):
        draw = np.random.default_rng(seed)
        x = draw.normal(size=(count, 6)).astype(np.float32)
        score = x @ np.random.default_rng(9).normal(size=(6, 3)).astype(np.float32)
        targets = {"class": score.argmax(1), "number": score[:, :1].astype(np.float64), "labels": (score > 0).astype(np.int64)}
        return x, targets[kind]

    def load(kind="class"):
        return {"train": rows(240, 0, kind), "validation": rows(120, 1, kind)}

    def copies(kind="class"):
        x, y = rows(240, 0, kind)
        return {"train": (x, y), "validation": (x[::2], y[::2])}

    def few(kind="class"):
        draw = np.random.default_rng(0)
        x = draw.integers(0, 3, size=(360, 4)).astype(np.float32)
        y = draw.integers(0, 3, 360)
        return {"train": (x[:240], y[:240]), "validation": (x[240:], y[240:])}

    def binary(kind="class"):
        parts = few(kind)
        return {name: (np.minimum(x[:, :2], 1), y) for name, (x, y) in parts.items()}
"""

Make = Callable[..., Subject]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """`make(net="Deaf", data="copies", kind="number", words)` is that experiment, ready to be checked."""
    (tmp_path / "net.py").write_text(dedent(NETWORKS))
    (tmp_path / "data.py").write_text(dedent(DATA))

    def made(*words: str, net: str | None = None, data: str = "load", kind: str = "class") -> Subject:
        task = {"class": "classify", "number": "regress", "labels": "multilabel"}[kind]
        config = load_experiment(
            {
                "task": {"kind": task},
                "data": {"kind": "python", "target": f"{tmp_path}/data.py:{data}", "args": {"kind": kind}},
                "model": {"kind": "mlp", "hidden": [16]}
                if net is None
                else {"kind": "python", "target": f"{tmp_path}/net.py:{net}"},
                "optimizer": {"kind": "adam", "lr": 0.01},
                "train": {"batch_size": 32},
            },
            [parse_override(word) for word in words],
        )
        return subject(config)

    return made


def subject(config: Experiment) -> Subject:
    dataset = load_data(config)
    return subject_of(resolve(config, dataset), dataset)


def digits(*words: str) -> Subject:
    return subject(load_experiment("digits-mlp", [parse_override(word) for word in words]))


def said(finding: Finding, verdict: str, *parts: str) -> Finding:
    assert finding.verdict == verdict, finding
    assert all(part in finding.said for part in parts), finding.said
    return finding


def test_a_sound_experiment_passes_every_check_in_plain_numbers() -> None:
    checked = digits("model.hidden=[16]", "optimizer.lr=1e-2")
    for check in CHECKS:
        finding = check(checked)
        assert finding.verdict == "pass", finding
        json.dumps(dict(finding.numbers), allow_nan=False)


@pytest.mark.parametrize("kind", ["number", "labels"])
def test_sound_numbers_and_labels_pass_what_looks_at_the_loss(make: Make, kind: str) -> None:
    checked = make(kind=kind)
    for check in (overfits_one_batch, loss_falls, uses_its_input, shuffled_labels, deterministic):
        assert check(checked).verdict == "pass", check(checked)


class TestOverfitsOneBatch:
    def test_a_network_without_gradient_cannot(self, make: Make) -> None:
        finding = said(
            overfits_one_batch(make(net="Frozen")),
            "fail",
            "cannot fit even 16 examples",
            "see the checks above, and `dlx gradcheck`",
        )
        assert finding.numbers["share"] >= 1  # no better than a guess

    def test_what_would_hold_it_back_is_off(self) -> None:
        checked = digits(
            "model.hidden=[32]",
            "model.dropout=0.9",
            "task.label_smoothing=0.5",
            "optimizer.weight_decay=10",
            "optimizer.l2=10",
            "data.augment=[{kind: noise, std: 9}]",
            "averaging={kind: lookahead}",
        )
        said(overfits_one_batch(checked), "pass", "16 examples are learned by heart")

    def test_a_users_own_dropout_does_not_count_against_it(self, make: Make) -> None:
        said(overfits_one_batch(make("model.args={dropout: 0.5, normalize: true}", net="Net")), "pass")

    def test_a_network_of_few_numbers_gets_few_examples(self, make: Make) -> None:
        finding = said(overfits_one_batch(make("model={kind: linear}", kind="number")), "pass", "3 examples")
        assert finding.numbers["first_loss"] == pytest.approx(1.0, abs=0.8)  # the variance of targets that are standardized

    @pytest.mark.parametrize("rate", ["1e30", "1e-12"])
    def test_a_hopeless_rate_is_not_the_networks_fault(self, make: Make, rate: str) -> None:
        finding = said(overfits_one_batch(make("optimizer.kind=sgd", f"optimizer.lr={rate}")), "pass")
        assert 1e-4 <= finding.numbers["lr"] <= 1


class TestLossFalls:
    @pytest.mark.parametrize("words", [(), ("optimizer.kind=sgd", "optimizer.lr=0.1", "schedule={kind: schedule-free}")])
    def test_it_does(self, make: Make, words: tuple[str, ...]) -> None:
        finding = said(loss_falls(make(*words)), "pass", "20 steps")
        assert all(after < before for before, after in zip(finding.numbers["before"], finding.numbers["after"], strict=True))

    def test_a_rate_of_a_thousand_fails(self, make: Make) -> None:
        said(loss_falls(make("optimizer.lr=1e3")), "fail", "lower optimizer.lr", "dlx lr-find")
        said(loss_falls(make("optimizer.kind=sgd", "optimizer.lr=1e30")), "fail", "no number", "lower optimizer.lr")

    def test_a_rate_of_nearly_nothing_is_a_warning(self, make: Make) -> None:
        said(loss_falls(make("optimizer.lr=1e-8")), "warn", "does not fall clearly")

    def test_running_statistics_that_lag_behind_do_not_matter(self, make: Make) -> None:
        said(loss_falls(make("model.args={normalize: true}", net="Net")), "pass")


class TestShuffledLabels:
    @pytest.mark.parametrize("kind", ["class", "number", "labels"])
    def test_copies_are_found(self, make: Make, kind: str) -> None:
        finding = said(shuffled_labels(make(data="copies", kind=kind)), "fail", "holds copies", "of 120 validation examples")
        assert finding.numbers["validation"] > finding.numbers["bound"] > finding.numbers["chance"]

    def test_rows_that_repeat_by_nature_are_a_warning(self, make: Make) -> None:
        said(shuffled_labels(make(data="few")), "warn", "inputs repeat, with different targets")

    def test_where_nothing_is_held_out_nothing_leaks(self) -> None:
        said(shuffled_labels(digits("data.validation=0")), "skip", "nothing is held out")

    def test_equal_inputs_keep_one_target_and_targets_change_places(self, make: Make) -> None:
        small = make(data="copies").small
        made = shuffled(small, 100, 60, seed=0)
        train, held_out = made.dataset.train, made.dataset.validation
        assert (len(train), len(held_out)) == (100, 60)
        groups = groups_of(np.concatenate([train.inputs, held_out.inputs]))
        targets = np.concatenate([train.targets, held_out.targets])
        assert all(len(set(targets[groups == group])) == 1 for group in groups)
        assert np.isin(groups[100:], groups[:100]).all()
        theirs = {row.tobytes() for row in small.train.inputs}
        assert made.copies == sum(row.tobytes() in theirs for row in small.validation.inputs) > 60
        original = {row.tobytes(): target for row, target in zip(small.train.inputs, small.train.targets, strict=True)}
        kept = np.mean([original[row.tobytes()] == target for row, target in zip(train.inputs, train.targets, strict=True)])
        assert 0.2 < kept < 0.6  # of three classes

    def test_without_copies_all_that_is_held_out_is_scored(self, make: Make) -> None:
        small = make().small
        made = shuffled(small, 200, 50, seed=0)
        assert (made.copies, made.different, made.conflicts) == (0, 50, 0.0)
        assert len(np.unique(made.dataset.train.inputs, axis=0)) == 96

    def test_where_nothing_is_learned_nothing_is_said(self, make: Make) -> None:
        said(shuffled_labels(make(data="copies", net="Frozen")), "skip", "no more than chance is learned")

    def test_of_too_few_inputs_nothing_is_said(self, make: Make) -> None:
        said(shuffled_labels(make(data="binary")), "skip", "only 4 different inputs")

    def test_of_few_examples_only_a_large_leak_would_show(self, make: Make) -> None:
        said(shuffled_labels(make()), "pass", "few examples: only a large leak would show")
        finding = shuffled_labels(digits("model.hidden=[16]", "optimizer.lr=1e-2"))
        assert (finding.verdict, "few examples" in finding.said) == ("pass", False)


class TestUsesItsInput:
    def test_a_network_that_does_not_fails(self, make: Make) -> None:
        finding = said(uses_its_input(make(net="Deaf")), "fail", "does not look at its input")
        assert finding.numbers["loss"] == pytest.approx(finding.numbers["blank_loss"], rel=1e-5)

    @pytest.mark.parametrize("words", [(), ("optimizer.lr=1e-9",)])
    def test_of_one_that_has_learned_nothing_nothing_is_said(self, make: Make, words: tuple[str, ...]) -> None:
        said(uses_its_input(make(*words, net="Frozen")), "skip", "nothing is learned in ", "so nothing can be said")

    def test_a_network_that_begins_at_zero_and_stays_there_is_not_deaf(self, make: Make) -> None:
        finding = said(uses_its_input(make("optimizer.lr=1e-12", net="Zero")), "skip", "so nothing can be said")
        assert finding.numbers["loss"] == pytest.approx(finding.numbers["blank_loss"], rel=1e-5)

    def test_inputs_that_hardly_matter_are_a_warning(self, make: Make) -> None:
        said(uses_its_input(make("model.args={share: 1e-4}", net="Bored")), "warn", "help little or nothing")


class TestDeterministic:
    @pytest.mark.parametrize("net", ["Noisy", "Hidden"])
    def test_random_numbers_of_numpy_are_found(self, make: Make, net: str) -> None:
        finding = said(
            deterministic(make(net=net)), "fail", "two runs from one seed differ", ".learner.params", "draw from rngs"
        )
        assert finding.numbers["difference"] > 0

    def test_a_users_dropout_is_repeatable(self, make: Make) -> None:
        said(deterministic(make("model.args={dropout: 0.5}", net="Net")), "pass")


class TestLearningRate:
    def test_a_rate_of_a_thousand_fails(self) -> None:
        finding = said(learning_rate(digits("model.hidden=[16]", "optimizer.lr=1e3")), "fail", "explodes", "dlx lr-find")
        assert finding.numbers["recommended"] < finding.numbers["explodes"] <= 1e3

    def test_a_rate_far_from_the_recommended_one_is_a_warning(self) -> None:
        said(learning_rate(digits("model.hidden=[16]", "optimizer.lr=1e-6")), "warn", "looks low", "dlx lr-find")
        tolerated = "up to 30 times below and 5 above are common"
        said(learning_rate(digits("model.hidden=[16]", "optimizer.lr=1e-2")), "pass", " times below what a range", tolerated)
        finding = said(learning_rate(digits("model.hidden=[16]", "optimizer.lr=1e-5")), "warn", tolerated)
        assert finding.numbers["factor"] == pytest.approx(1e-5 / finding.numbers["recommended"])

    def test_a_loss_that_nothing_moves_is_a_warning(self) -> None:
        said(
            learning_rate(digits("model.hidden=[16]", "optimizer.kind=sgd", "optimizer.clip_norm=1e-12")),
            "warn",
            "no falling region",
        )

    def test_options_of_the_range_test_are_no_advice_here(self, make: Make) -> None:
        assert "--" not in said(learning_rate(make(net="Broken")), "warn", "no falling region").said

    def test_an_optimizer_that_chooses_its_steps_has_no_rate(self) -> None:
        said(learning_rate(digits("optimizer.kind=rprop", "schedule={kind: constant}")), "skip", "chooses its own steps")


def test_what_becomes_no_number_is_a_finding_and_never_an_exception(make: Make) -> None:
    broken = make(net="Broken")
    for check, verdict in zip(CHECKS, ("fail", "fail", "skip", "skip", "pass", "warn"), strict=True):
        said(check(broken), verdict)


@pytest.mark.parametrize(
    "words", [("optimizer.kind=lbfgs", "train.batch_size=full"), ("optimizer.kind=rprop", "train.batch_size=full")]
)
def test_full_batches_are_checked_as_well(make: Make, words: tuple[str, ...]) -> None:
    checked = make(*words)
    for check in (overfits_one_batch, loss_falls, uses_its_input):
        assert check(checked).verdict == "pass", check(checked)


def test_what_is_compiled_once_serves_several_checks(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    checked = make(data="copies")
    assert loss_falls(checked).verdict == "pass"

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("compiles anew")

    monkeypatch.setattr(jax, "jit", refuse)
    assert uses_its_input(checked).verdict == "pass"
    assert shuffled_labels(checked).verdict == "fail"


@pytest.mark.parametrize(("loss", "expected"), [("mse", 8.1875), ("mae", 2.25), ("huber", 1.62)])
def test_numbers_are_measured_against_the_loss_of_a_constant(make: Make, loss: str, expected: float) -> None:
    """The mean of 0, 0, 2 and 7 is 2.25. From their median, 1, they are 1, 1, 1 and 6 away, all more than Huber's 0.9."""
    checked = make(f"task.loss={loss}", "task.huber_delta=0.9", kind="number")
    plain = replace(checked.small, spec=replace(checked.small.spec, target_mean=(0.0,), target_std=(1.0,)))
    assert of_a_constant(checked.config, np.array([[0.0], [0.0], [2.0], [7.0]]), plain) == pytest.approx(expected)


def test_a_batch_is_of_different_inputs_and_of_all_classes(make: Make) -> None:
    part = one_batch(make(data="few").small, 16)
    assert len(part) == len(np.unique(part.inputs, axis=0)) == 16
    assert set(one_batch(make().small, 4).targets) == {0, 1, 2}
    numbers = make(kind="number").small
    assert np.ptp(one_batch(numbers, 8).targets) > 0.4 * np.ptp(numbers.train.targets)
