"""Checks of the data: each finds the fault it is for, planted in arrays, and is silent on the same arrays without it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dlx.config import Experiment
from dlx.data.arrays import Arrays, Pair, from_arrays
from dlx.data.dataset import Scaling
from dlx.diagnose.sanity.baselines import baselines
from dlx.diagnose.sanity.copies import duplicates, statistics
from dlx.diagnose.sanity.finding import Finding
from dlx.diagnose.sanity.of_data import batch_size, exclusive_labels, labels, lists_among, standardized
from dlx.diagnose.sanity.subject import HELD_OUT, TRAIN, Subject, subject_of

RANDOM = np.random.Generator(np.random.Philox(key=3))
KINDS = {"classify": "class", "multilabel": "labels", "regress": "number"}


def subject(
    examples: Pair, test: Pair | None = None, *, task: Any = "classify", classes: tuple[str, ...] = (), **sections: Any
) -> Subject:
    """Arrays as a user's loader returns them, under an experiment."""
    task = {"kind": task} if isinstance(task, str) else task
    data = {"kind": "python", "target": "data.py:load", "validation": 0.2, "test": 0.2} | sections.pop("data", {})
    config = Experiment.model_validate({"task": task, "data": data, **sections})
    return subject_of(
        config, from_arrays(Arrays("arrays", examples, test=test, classes=classes), config.data, KINDS[task["kind"]])
    )


def rows(count: int = 300, columns: int = 4) -> np.ndarray:
    return RANDOM.standard_normal((count, columns)).astype(np.float32)


def some(classes: int, count: int = 300) -> np.ndarray:
    return np.arange(count) % classes


def said(finding: Finding, verdict: str, *words: str) -> None:
    assert (finding.verdict, [word for word in words if word not in finding.said]) == (verdict, []), finding.said


# ---------------------------------------------------------------------------------------------------------------- labels


def test_balanced_classes_pass() -> None:
    finding = labels(subject((rows(), some(3))))
    said(finding, "pass", "3 classes with 64 to 64 training examples each")
    assert finding.numbers == {"counts": [64, 64, 64], "ratio": 1.0}


def test_a_class_that_is_only_tested_fails() -> None:
    finding = labels(subject((rows(), some(2)), (rows(20), np.full(20, 2)), classes=("a", "b", "owl")))
    said(finding, "fail", "class owl is never in the training part, but 20 times where it is scored")


def test_a_class_that_never_occurs_is_worth_a_look() -> None:
    said(labels(subject((rows(), some(2)), classes=("a", "b", "owl"))), "warn", "class owl is without any example")


def test_rare_classes() -> None:
    said(
        labels(subject((rows(), (np.arange(300) < 8).astype(int)))),
        "warn",
        "class 1 has 5 of 192 training",
        "more, or set task.kind=classify",
    )


@pytest.mark.parametrize(("weights", "verdict"), [("none", "warn"), ("balanced", "pass")])
def test_imbalance_is_mended_by_class_weights(weights: str, verdict: str) -> None:
    y = (np.arange(1000) < 40).astype(int)
    finding = labels(subject((rows(1000), y), task={"kind": "classify", "class_weights": weights}))
    assert finding.verdict == verdict
    assert finding.numbers["ratio"] == pytest.approx(24, rel=0.1)
    assert ("set task.kind=classify task.class_weights=balanced" in finding.said) == (verdict == "warn")
    assert ("class 1 has 2" in finding.said) == (verdict == "warn")


def test_a_single_class_fails() -> None:
    said(
        labels(subject((rows(), np.zeros(300, int)), classes=("cat", "dog"))), "fail", "of class cat: there is nothing to learn"
    )


def test_labels_that_are_never_or_always_there() -> None:
    y = np.stack([some(2), np.zeros(300), np.ones(300), some(3) == 0], 1)
    finding = labels(subject((rows(), y), (rows(50), np.ones((50, 4))), task="multilabel"))
    said(finding, "fail", "label y1 is never in the training part, but 50 times", "label y2 is on every training example")


def test_labels_with_few_positives() -> None:
    y = np.stack([some(2), np.arange(300) % 25 == 0], 1).astype(float)
    finding = labels(subject((rows(), y), task="multilabel", data={"validation": 0, "test": 0}))
    said(finding, "warn", "label y1 is set in 12 of 300 training examples: set task.kind=multilabel task.class_weights=")
    for y in (np.arange(300) < 4, np.arange(300) >= 4):
        finding = labels(subject((rows(), np.stack([some(2), y], 1)), task="multilabel", data={"validation": 0, "test": 0}))
        said(finding, "warn", f"label y1 is set in {'4' if y[0] else 'all but 4'} of 300 training examples: collect more")
    said(labels(subject((rows(), np.stack([some(2), some(3) == 0], 1)), task="multilabel")), "pass", "2 labels")


@pytest.mark.parametrize(("loss", "verdict"), [("mse", "warn"), ("huber", "pass"), ("mae", "pass")])
def test_outliers_of_numbers(loss: str, verdict: str) -> None:
    y = np.where(np.arange(300) % 150 == 7, 1000.0, RANDOM.standard_normal(300))
    finding = labels(subject((rows(), y), task={"kind": "regress", "loss": loss}, data={"validation": 0, "test": 0}))
    assert finding.verdict == verdict
    assert finding.numbers["outliers"] == 2
    assert labels(subject((rows(), RANDOM.standard_normal(300)), task="regress")).verdict == "pass"


def test_numbers_that_do_not_vary_in_training_fail() -> None:
    constant = subject((rows(), np.ones(300)), (rows(50), RANDOM.standard_normal(50)), task="regress")
    said(labels(constant), "fail", "the target y is 1 in every training example")


def test_several_rare_classes_or_labels_are_counted() -> None:
    y = np.where(np.arange(300) < 12, np.arange(300) % 3, 3)
    finding = labels(subject((rows(), y), task={"kind": "classify", "class_weights": "balanced"}, data={"validation": 0}))
    said(finding, "warn", "3 classes (0, 1, 2) have fewer than 10 training examples each, the rarest ")
    assert finding.said.endswith(": collect more")
    y = np.stack([some(2), np.arange(300) < 4, np.arange(300) > 2], 1)
    finding = labels(subject((rows(), y), task="multilabel", data={"validation": 0, "test": 0}))
    said(finding, "warn", "2 labels (y1, y2) are set in, or missing from, fewer than 10 training examples each, the rarest 3")


# ---------------------------------------------------------------------------------------------------------- standardized


def test_standardized_inputs_pass_whatever_their_units() -> None:
    said(standardized(subject((rows() * [1, 1e6, 1e-4, 3] + 77, some(2)))), "pass", "4 features")


@pytest.mark.parametrize(
    ("scale", "verdict", "words"),
    [
        (1.0, "pass", ()),
        (50.0, "warn", ("1 of 4 features", "feature 2 (mean", "set data.standardize=true")),
        (1e5, "fail", ("feature 2 (mean", "set data.standardize=true")),
        (1e-3, "warn", ("feature 2 (mean",)),
    ],
)
def test_inputs_as_they_are(scale: float, verdict: str, words: tuple[str, ...]) -> None:
    chosen = subject((rows() * [1, 1, scale, 1], some(2)), data={"standardize": False})
    said(standardized(chosen), verdict, *words)


def test_besides_what_is_broken_the_others_that_are_off_are_named() -> None:
    chosen = subject((rows() * [1, 1, 1e5, 1] + [0, 40, 0, 0], some(2)), data={"standardize": False})
    said(standardized(chosen), "fail", "2 of 4 features", ": feature 2 (mean", "), feature 1 (mean 40")
    finding = standardized(subject((rows(columns=8) * 50, some(2)), data={"standardize": False}))
    assert (finding.verdict, finding.said.count("feature "), "...; set" in finding.said) == ("warn", 5, True)


def test_columns_that_never_vary_are_counted_and_flags_are_left_alone() -> None:
    x = rows()
    x[:, 1], x[:, 3] = 7, np.arange(300) == 5  # a flag that is nearly always 0
    chosen = subject((x, some(2)), data={"standardize": False, "validation": 0, "test": 0})
    said(standardized(chosen), "warn", "1 of 4 features never vary (1): drop them")


def test_images_are_seen_by_channel() -> None:
    images = RANDOM.integers(0, 256, (60, 8, 8, 3)).astype(np.uint8)
    said(standardized(subject((images, some(2, 60)))), "pass", "3 channels")
    images[..., 2] = 9
    said(standardized(subject((images, some(2, 60)))), "warn", "1 of 3 channels never vary (2)")


# ------------------------------------------------------------------------------------------------------------ duplicates


def test_parts_without_common_rows_pass() -> None:
    finding = duplicates(subject((rows(), some(2))))
    said(finding, "pass", "none of 48 validation and 60 test examples is also a training example")
    assert finding.numbers["distinct"] == 1


def test_copies_are_found_in_the_whole_data_and_their_targets_compared() -> None:
    x, y = rows(TRAIN + 500), some(2, TRAIN + 500)
    test = np.concatenate([x[1::450], rows(300)])
    flipped = np.concatenate([y[1::450], some(2)])
    flipped[0] ^= 1
    found = duplicates(subject((x, y), (test, flipped), data={"validation": 0}))
    said(found, "fail", "11 of 311 test examples (3.54%) are also training examples, 10 with the same target: take them out")
    assert (found.numbers["test_copies"], found.numbers["test_same_target"]) == (11, 10)


def test_few_copies_or_rows_that_repeat_anyway_are_worth_a_look() -> None:
    x, y = rows(2000), some(2, 2000)
    few = duplicates(subject((x, y), (np.concatenate([x[:4], rows(HELD_OUT)]), some(2, HELD_OUT + 4)), data={"validation": 0}))
    said(few, "warn", "4 of 2,052 test examples")
    x = np.floor(rows(2000, 2) * 5)  # a table of small whole numbers: rows repeat in the training part as well
    found = duplicates(subject((x, y)))
    said(found, "warn", "of the training examples are distinct: look why rows repeat")
    assert found.said.count("distinct") == 1


def test_rows_that_repeat_with_their_targets_fail() -> None:
    x, y = rows(400), some(2, 400)
    twice = np.arange(600) % 400
    found = duplicates(subject((x[twice], y[twice])))
    assert found.numbers["distinct"] < 0.9
    said(found, "fail", "with the same target: take them out", "of the training examples are distinct: look why rows repeat")
    assert found.said.count("distinct") == 1
    other = y[twice] ^ (np.arange(600) < 200)  # as targets are that follow from no input
    said(duplicates(subject((x[twice], other))), "warn")
    few = np.arange(415) % 400
    assert duplicates(subject((x[few], y[few]))).verdict == "warn"


def test_near_copies_and_signed_zeros() -> None:
    x, y = rows(), some(2)
    x[0, 0] = 0.0
    test = np.concatenate([x[:6] + np.float32(1e-4), x[:1], rows(100)])
    test[6, 0] = -0.0
    found = duplicates(subject((x, y), (test, some(2, 107)), data={"validation": 0}))
    said(
        found,
        "warn",
        "1 of 107 test examples (0.93%) are also training examples",
        "6 test examples are nearly equal to one of 300",
    )


def test_wide_rows_are_compared_by_projections() -> None:
    x = rows(200, 400)
    test = np.concatenate([x[:7] * np.float32(1.0001), rows(60, 400)])
    said(
        duplicates(subject((x, some(2, 200)), (test, some(2, 67)), data={"validation": 0})),
        "warn",
        "7 test examples are nearly equal",
    )


def test_nothing_held_out() -> None:
    alone = subject((rows(), some(2)), data={"validation": 0, "test": 0})
    assert [check(alone).verdict for check in (duplicates, statistics)] == ["skip", "skip"]


# ------------------------------------------------------------------------------------------------------------ statistics


def skewed(count: int = 400) -> np.ndarray:
    return np.exp(rows(count, 6)) * 5


def test_columns_standardized_before_the_split_fail() -> None:
    x = skewed()
    leaked = (x - x.mean(0)) / x.std(0)
    found = statistics(subject((leaked, some(2, 400))))
    said(found, "fail", "6 of 6 features are standardized together with validation and test", "data.standardize=true")
    said(statistics(subject((leaked, some(2, 400)), data={"test": 0})), "warn", "together with validation")
    said(statistics(subject((x, some(2, 400)))), "pass", "no feature is scaled by what is in validation and test")


def test_columns_standardized_by_the_training_part_pass() -> None:
    x, test = skewed(), skewed(100)
    mean, std = x.mean(0), x.std(0)
    kept = subject(((x - mean) / std, some(2, 400)), ((test - mean) / std, some(2, 100)), data={"validation": 0})
    said(statistics(kept), "pass")


def test_signs_in_equal_number_are_no_leak() -> None:
    x = np.array([[a, b] for a in (-1, 1) for b in (-1, 1)] * 50, np.float32)
    said(statistics(subject((x, some(2, 200)))), "pass")


def test_columns_scaled_to_a_range_before_the_split() -> None:
    x = skewed()
    found = statistics(subject(((x - x.min(0)) / np.ptp(x, 0), some(2, 400)), data={"validation": 0.3, "test": 0.3}))
    said(found, "warn", "features are scaled to 0..1 together with validation and test")
    pixels = np.round(np.clip(rows(400, 20) * 60 + 90, 0, 250)) / 255
    said(statistics(subject((pixels, some(2, 400)))), "pass")


def test_a_scaling_that_is_not_the_training_parts_own_fails() -> None:
    chosen = subject((rows(), some(2)))
    own = chosen.whole.scaling
    other = replace(chosen.whole, scaling=Scaling(own.mean + np.float32(0.1), own.inverse_std))
    said(statistics(replace(chosen, whole=other)), "fail", "4 features are not standardized by the training part")


def test_images_are_as_they_were_measured() -> None:
    images = RANDOM.integers(0, 256, (60, 8, 8, 3)).astype(np.uint8)
    said(statistics(subject((images, some(2, 60)))), "pass", "the inputs come as they are measured")


# ------------------------------------------------------------------------------------- exclusive labels, and batch sizes


def test_one_label_each_is_a_class() -> None:
    said(exclusive_labels(subject((rows(), np.eye(3)[some(3)]), task="multilabel")), "fail", "exactly one label", "classify")
    y = np.stack([some(2), some(3) == 0], 1)
    said(exclusive_labels(subject((rows(), y), task="multilabel")), "pass", "0.83 labels each, from 0 to 2")


@pytest.mark.parametrize(
    ("classes", "found"),
    [
        (("cat", "dog", "cat,dog"), ("cat,dog",)),
        (("a|b", "b|c", "a|c"), ("a|b", "b|c", "a|c")),
        (("cat", "dog"), ()),
        (("Paris, France", "Rome, Italy"), ()),
        ((",", "a"), ()),
    ],
)
def test_lists_of_labels_among_classes(classes: tuple[str, ...], found: tuple[str, ...]) -> None:
    assert lists_among(classes) == found
    finding = exclusive_labels(subject((rows(), some(len(classes))), classes=classes))
    assert finding.verdict == ("warn" if found else "pass")


def test_numbers_are_neither() -> None:
    said(exclusive_labels(subject((rows(), rows()[:, 0]), task="regress")), "skip", "does not apply")


@pytest.mark.parametrize(
    ("train", "verdict", "words"),
    [
        ({"batch_size": 16}, "pass", ("360 steps of 16 examples, 12 an epoch",)),
        ({"batch_size": 64}, "warn", ("an epoch has only 3 steps", "only 90 steps")),
        ({"batch_size": 150}, "warn", ("a batch of 150 is more than half of the 192",)),
        ({"batch_size": "full", "duration": "200 epochs"}, "pass", ("200 steps of 192",)),
        ({"batch_size": 16, "duration": "3 epochs"}, "warn", ("the whole training has only 36 steps",)),
        ({"batch_size": 4}, "warn", ("batch normalization takes its mean from 4 examples",)),
    ],
)
def test_batch_sizes(train: dict[str, Any], verdict: str, words: tuple[str, ...]) -> None:
    said(batch_size(subject((rows(), some(2)), train=train, model={"kind": "mlp", "normalization": "batch"})), verdict, *words)


# ------------------------------------------------------------------------------------------------------------- baselines


@pytest.mark.parametrize(
    ("task", "metric", "constant"),
    [("classify", "accuracy", "majority"), ("multilabel", "f1", "labels"), ("regress", "rmse", "mean")],
)
def test_models_that_a_network_must_beat(task: str, metric: str, constant: str) -> None:
    x = rows(400, 5)
    signal = {"classify": x[:, 0] > 0, "multilabel": x[:, :2] > 0, "regress": x @ np.arange(5) + 100}[task]
    targets = np.asarray(signal, float if task == "regress" else int)
    found = baselines(subject((x, targets), task=task))
    said(found, "pass", f"a network must beat {metric}", constant, "on validation data")
    scores = {model: each[metric] for model, each in found.numbers["models"].items()}
    assert {*scores} == {"constant", "boosted trees", "ridge regression" if task == "regress" else "logistic regression"}
    best = max(value * (-1 if task == "regress" else 1) for value in scores.values())
    assert best == pytest.approx(-0.2 if task == "regress" else 0.95, abs=0.2)

    blind = baselines(subject((x, RANDOM.permutation(targets)), task=task, data={"seed": 1}))
    said(blind, "warn", "the inputs tell little about the target")


def test_without_a_validation_part_a_fifth_is_scored() -> None:
    x = rows(200)
    said(
        baselines(subject((x, (x[:, 0] > 0).astype(int)), data={"validation": 0, "test": 0})),
        "pass",
        "on held-out training data",
    )


def test_images_and_wide_rows_are_reduced() -> None:
    images = RANDOM.integers(0, 256, (200, 20, 20, 3)).astype(np.uint8)
    y = some(2, 200)
    images[y == 1, :10] //= 2
    assert baselines(subject((images, y))).numbers["models"]["logistic regression"]["accuracy"] > 0.8


def test_too_few_examples_for_baselines() -> None:
    said(baselines(subject((rows(12), some(2, 12)))), "skip", "does not apply")


LEAKS = {"classify": some(2, 700), "multilabel": np.stack([some(2, 700), some(3, 700) == 0], 1), "regress": rows(700)[:, 0]}


@pytest.mark.parametrize("task", LEAKS)
def test_a_target_among_the_inputs_is_named(task: str) -> None:
    y = LEAKS[task]
    x = rows(700)
    assert baselines(subject((x, y), task=task)).verdict == "warn"  # nothing is learned from noise
    x[:, 2] = 7 * np.reshape(y, (700, -1))[:, 0] + 3
    if task == "multilabel":
        x[:, 3] = y[:, 1]
    found = baselines(subject((x, y), task=task))
    which = "inputs 2, 3, each of which tells" if task == "multilabel" else "input 2, which tells"
    said(found, "warn", "is perfect (or nearly): is the target among the inputs?", f"Look at {which} it alone")


def test_a_code_for_each_of_several_classes_is_named() -> None:
    x, y = rows(700), some(3, 700)
    x[:, 1] = np.array([5, -1, 2])[y]
    said(baselines(subject((x, y))), "warn", "Look at input 1, which tells it alone")
    together = np.eye(3)[y] @ RANDOM.standard_normal((3, 4)) + 0.01 * rows(700)  # no column alone
    assert baselines(subject((together, y))).said.endswith("is the target among the inputs?")


def test_few_examples_or_a_single_class_are_no_leak() -> None:
    x = rows()
    x[:, 1] = some(2)
    said(baselines(subject((x, some(2)))), "pass", "a network must beat accuracy 1 ")
    rare = (np.arange(700) < 1).astype(int)
    said(
        baselines(subject((rows(700), rare), data={"seed": 2})), "skip", "nothing can be said: only ", " are not of the largest"
    )


def test_rare_classes_that_inputs_tell_something_of() -> None:
    x = rows(3000)
    y = (RANDOM.random(3000) < 0.1 / (1 + np.exp(-2 * x[:, 0]))).astype(int)
    found = baselines(subject((x, y)))
    said(found, "pass", "a network must beat log loss ", "; class frequencies ", "accuracy tells little here: majority 0.9")
    scores = found.numbers["models"]["logistic regression"]
    assert scores["log_loss_gain"] > 2 * scores["log_loss_error"] > 0
    assert scores["log_loss"] + scores["log_loss_gain"] == pytest.approx(found.numbers["models"]["constant"]["log_loss"])
    said(baselines(subject((x, RANDOM.permutation(y)))), "warn", "no model beats majority (accuracy 0.9")


def test_of_how_many_examples_baselines_are_fitted() -> None:
    x, y = rows(TRAIN + 500), RANDOM.integers(0, 2, TRAIN + 500)
    x[:, 0] += y
    found = baselines(subject((x, y), data={"validation": 0.05, "test": 0}))
    said(found, "pass", f"; fitted on {TRAIN:,} of {len(x) - round(len(x) * 0.05):,} training examples")
    alone = baselines(subject((x, y), data={"validation": 0, "test": 0}))
    said(alone, "pass", f"; fitted on {TRAIN * 4 // 5:,} of {len(x):,} training examples")
    assert "fitted" not in baselines(subject((x[:900], y[:900]), data={"validation": 0, "test": 0})).said
