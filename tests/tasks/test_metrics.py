"""Losses and metrics against scikit-learn and NumPy in float64, with padding and uneven batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as sk

from dlx.config.task import Classify, Multilabel, Regress
from dlx.data import Spec
from dlx.errors import ConfigError
from dlx.tasks import build_task, default_task, target_kind
from dlx.tasks.classification import Classification, Multilabelling
from dlx.tasks.regression import Regression

generator = np.random.Generator(np.random.Philox(3))
LOGITS = generator.normal(size=(50, 4)).astype(np.float32)
CLASSES = generator.integers(0, 3, 50).astype(np.int32)  # the fourth class never occurs
LABELS = (generator.random((50, 4)) < 0.3).astype(np.float32)
NUMBERS = (1000 + 50 * generator.normal(size=(50, 2))).astype(np.float32)

CLASS_SPEC = Spec((5,), "class", 4, ("a", "b", "c", "d"), (20, 10, 15, 0), ("kind",), (), (), 45)
LABEL_SPEC = Spec((5,), "labels", 4, ("a", "b", "c", "d"), (10, 5, 40, 0), ("a", "b", "c", "d"), (), (), 45)
NUMBER_SPEC = Spec((5,), "number", 2, (), (), ("x", "y"), (1000.0, 990.0), (50.0, 40.0), 45)


def merged(problem, outputs, targets, batch=16):
    """Sums over batches of 16, the last one padded with rows that must not count."""
    total = {}
    for start in range(0, len(outputs), batch):
        rows = np.arange(start, start + batch)
        weight = (rows < len(outputs)).astype(np.float32)
        rows = np.minimum(rows, len(outputs) - 1)
        sums = problem.sums(jnp.asarray(outputs[rows]), jnp.asarray(targets[rows]), jnp.asarray(weight), full=True)
        sums["count"] = jnp.sum(weight)
        for name, value in sums.items():
            total[name] = total.get(name, 0) + np.asarray(value, np.float64)
    return problem.metrics(total)


def test_classification_agrees_with_scikit_learn():
    found = merged(Classification(Classify(top_k=2), CLASS_SPEC), LOGITS, CLASSES)
    guess = LOGITS.argmax(-1)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(CLASSES, guess), abs=1e-9)
    present = np.union1d(CLASSES, guess)
    assert found["f1"] == pytest.approx(sk.f1_score(CLASSES, guess, average="macro", labels=present), abs=1e-9)
    assert found["accuracy_top2"] == pytest.approx(sk.top_k_accuracy_score(CLASSES, LOGITS, k=2, labels=range(4)), abs=1e-9)


def test_multilabel_agrees_with_scikit_learn():
    found = merged(Multilabelling(Multilabel(), LABEL_SPEC), LOGITS, LABELS)
    guess = LOGITS > 0
    assert found["accuracy"] == pytest.approx(1 - sk.hamming_loss(LABELS, guess), abs=1e-7)
    assert found["subset_accuracy"] == pytest.approx(sk.accuracy_score(LABELS, guess), abs=1e-9)
    assert found["f1"] == pytest.approx(sk.f1_score(LABELS, guess, average="micro"), abs=1e-9)
    assert found["f1_macro"] == pytest.approx(sk.f1_score(LABELS, guess, average="macro"), abs=1e-9)


def test_regression_agrees_with_scikit_learn_in_the_datas_own_units():
    outputs = generator.normal(size=(50, 2)).astype(np.float32)
    found = merged(Regression(Regress(), NUMBER_SPEC), outputs, NUMBERS)
    guess = outputs * [50.0, 40.0] + [1000.0, 990.0]
    rmse = sk.root_mean_squared_error(NUMBERS, guess, multioutput="raw_values").mean()
    assert found["rmse"] == pytest.approx(rmse, rel=1e-5)
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(NUMBERS, guess), rel=1e-5)
    assert found["r2"] == pytest.approx(sk.r2_score(NUMBERS, guess), rel=1e-4)


def test_r2_of_equal_targets_is_zero_not_infinite():
    found = merged(Regression(Regress(), NUMBER_SPEC), np.zeros((3, 2), np.float32), np.full((3, 2), 1000, np.float32))
    assert np.isfinite(found["r2"])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_with_label_smoothing(smoothing):
    each, weight = Classification(Classify(), CLASS_SPEC).loss(Classify(label_smoothing=smoothing), LOGITS, CLASSES)
    logits = LOGITS.astype(np.float64)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    target = np.eye(4)[CLASSES] * (1 - smoothing) + smoothing / 4
    np.testing.assert_allclose(each, -(target * log_p).sum(-1), rtol=1e-5)
    np.testing.assert_array_equal(weight, 1)


def test_balanced_weights_are_those_of_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.repeat([0, 1, 2], [20, 10, 15])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    spec = Spec((5,), "class", 3, ("a", "b", "c"), (20, 10, 15), ("kind",), (), (), 45)
    _, weight = Classification(Classify(class_weights="balanced"), spec).loss(
        Classify(), LOGITS[:, :3], np.int32([0, 1, 2] * 16 + [0, 1])
    )
    np.testing.assert_allclose(weight[:3], expected, rtol=1e-6)


def test_given_weights_multiply_the_loss_of_their_class():
    config = Classify(class_weights=(1, 2, 3, 4))
    _, weight = Classification(config, CLASS_SPEC).loss(config, LOGITS, CLASSES)
    np.testing.assert_array_equal(weight, CLASSES + 1)
    with pytest.raises(ConfigError, match="class_weights has 2 numbers, but the data has 4 classes: a, b, c, d"):
        Classification(Classify(class_weights=(1, 2)), CLASS_SPEC)


def test_balanced_labels_weigh_positives_by_negatives_over_positives():
    problem = Multilabelling(Multilabel(class_weights="balanced"), LABEL_SPEC)
    np.testing.assert_allclose(problem.weights, [35 / 10, 40 / 5, 5 / 40, 45])
    plain, _ = Multilabelling(Multilabel(), LABEL_SPEC).loss(Multilabel(), LOGITS, np.zeros_like(LABELS))
    weighted, _ = problem.loss(Multilabel(), LOGITS, np.zeros_like(LABELS))
    np.testing.assert_array_equal(plain, weighted)


@pytest.mark.parametrize(
    ("kind", "formula"),
    [
        ("mse", np.square),
        ("mae", np.abs),
        ("huber", lambda e: np.where(np.abs(e) < 1, e**2 / 2, np.abs(e) - 0.5)),
    ],
)
def test_regression_losses_are_those_of_standardized_targets(kind, formula):
    outputs = 2 * generator.normal(size=(50, 2)).astype(np.float32)
    each, _ = Regression(Regress(loss=kind), NUMBER_SPEC).loss(Regress(loss=kind), outputs, NUMBERS)
    error = outputs - (NUMBERS.astype(np.float64) - [1000, 990]) / [50, 40]
    np.testing.assert_allclose(each, formula(error).mean(-1), rtol=1e-4)


def test_a_task_refuses_data_of_another_kind():
    with pytest.raises(
        ConfigError, match=r"task.kind is regress, but the target kind holds one class of several: use task.kind=classify"
    ):
        build_task(Regress(), CLASS_SPEC, 10, 5)


@pytest.mark.parametrize("spec", [CLASS_SPEC, LABEL_SPEC, NUMBER_SPEC])
def test_the_default_task_suits_its_target(spec):
    assert target_kind(default_task(spec.target)) == spec.target
    assert build_task(default_task(spec.target), spec, 10, 5).scores


def test_top_k_of_everything_is_refused():
    with pytest.raises(ConfigError, match="every guess would be right"):
        Classification(Classify(top_k=4), CLASS_SPEC)


def test_a_padded_row_may_overflow_and_still_counts_nothing():
    from dlx.config import load_experiment
    from dlx.tasks import Batch

    task = build_task(Classify(), CLASS_SPEC, 10, 5)
    config = load_experiment({"task": {"kind": "classify"}, "data": {"kind": "digits"}, "model": {"kind": "linear"}})
    inputs = jnp.zeros((2, 5)).at[1].set(jnp.inf)
    state = task.init(config, Batch(inputs, jnp.zeros(2, jnp.int32), jnp.ones(2)), jax.random.key(0))
    _, sums = task.evaluate(config, state, Batch(inputs, jnp.zeros(2, jnp.int32), jnp.float32([1, 0])), jax.random.key(0))
    assert sums["count"] == 1
    assert jnp.isfinite(sums["loss"])
