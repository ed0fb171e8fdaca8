"""What simple models reach: figures of the same metric functions as a network's, on the same examples."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, f1_score, log_loss, root_mean_squared_error

from dlx.config.data import Digits
from dlx.data import Part, Scaling, Spec, load
from dlx.evaluation.baselines import MOST, QUICK, baselines, guesses, modelled

RANDOM = np.random.Generator(np.random.Philox(key=12))
AS_IS = Scaling(np.zeros(4, np.float32), np.ones(4, np.float32))


def spec(target: str, outputs: int, shape: tuple[int, ...] = (4,)) -> Spec:
    names = tuple(f"c{place}" for place in range(outputs))
    classes = () if target == "number" else names
    return Spec(shape, target, outputs, classes, (1,) * len(classes), names, (), (), 2)  # ty: ignore[invalid-argument-type]


def part(target: str, count: int, outputs: int = 3) -> Part:
    x = RANDOM.standard_normal((count, 4)).astype(np.float32)
    signal = 2 * x[:, :outputs] + RANDOM.standard_normal((count, outputs))
    y = {"class": signal.argmax(1), "labels": (signal > 0.5).astype(np.float32), "number": 100 + 7 * signal}[target]
    return Part(x, y)


def test_classes() -> None:
    train, test = part("class", 400), part("class", 300)
    found = baselines(train, test, spec("class", 3), AS_IS)
    assert list(found) == ["majority", "logistic regression", "boosted trees"]
    dummy = DummyClassifier(strategy="prior").fit(train.inputs, train.targets)
    assert found["majority"]["accuracy"] == accuracy_score(test.targets, dummy.predict(test.inputs))
    assert found["majority"]["log_loss"] == pytest.approx(log_loss(test.targets, dummy.predict_proba(test.inputs)))
    linear = LogisticRegression(C=0.1, max_iter=100).fit(train.inputs, train.targets)
    assert found["logistic regression"]["accuracy"] == accuracy_score(test.targets, linear.predict(test.inputs))
    assert found["logistic regression"]["log_loss"] == pytest.approx(log_loss(test.targets, linear.predict_proba(test.inputs)))
    assert found["boosted trees"]["accuracy"] > found["majority"]["accuracy"] + 0.2


def test_labels() -> None:
    train, test = part("labels", 400), part("labels", 300)
    found = baselines(train, test, spec("labels", 3), AS_IS)
    assert list(found) == ["the usual labels", "logistic regression", "boosted trees"]
    each = [LogisticRegression(C=0.1).fit(train.inputs, y).predict(test.inputs) for y in train.targets.T]
    assert found["logistic regression"]["f1"] == pytest.approx(f1_score(test.targets, np.stack(each, 1), average="micro"))
    assert found["the usual labels"]["f1"] == 0  # none is on more than half of the rows
    assert found["boosted trees"]["f1"] > 0.6


def test_numbers() -> None:
    train, test = part("number", 400), part("number", 300)
    found = baselines(train, test, spec("number", 3), AS_IS)
    assert list(found) == ["the mean", "ridge regression", "boosted trees"]
    mean = DummyRegressor().fit(train.inputs, train.targets).predict(test.inputs)
    assert found["the mean"]["rmse"] == pytest.approx(root_mean_squared_error(test.targets, mean))
    ridge = Ridge(alpha=1.0).fit(train.inputs, train.targets).predict(test.inputs)
    assert found["ridge regression"]["rmse"] == pytest.approx(root_mean_squared_error(test.targets, ridge), rel=1e-5)
    assert found["boosted trees"]["r2"] > 0.5


def test_a_class_without_training_examples_is_never_guessed_and_costs_no_infinity() -> None:
    train, test = part("class", 200), part("class", 100)
    train = train.take(np.flatnonzero(train.targets != 1))
    found = baselines(train, test, spec("class", 3), AS_IS)
    for metrics in found.values():
        assert np.isfinite(metrics["log_loss"])
        assert metrics["accuracy"] <= (test.targets != 1).mean()
    for outputs in guesses(train.inputs, train.targets, [test.inputs], spec("class", 3), QUICK).values():
        assert outputs[:, 1].max() == pytest.approx(np.log(1e-7))
        assert outputs[:, [0, 2]].max(1).min() > np.log(0.49)


def test_without_examples_of_two_classes_there_is_only_the_constant_guess() -> None:
    train, test = part("class", 50), part("class", 50)
    alone = Part(train.inputs, np.zeros(50, int))
    assert list(baselines(alone, test, spec("class", 3), AS_IS)) == ["majority"]
    assert list(baselines(train.take(np.arange(5)), test, spec("class", 3), AS_IS)) == ["majority"]


def test_labels_that_never_vary_have_the_constant_guess() -> None:
    targets = np.stack([np.arange(60) % 2, np.ones(60), np.zeros(60), np.arange(60) % 5 == 0], 1).astype(np.float32)
    assert modelled("labels", targets).tolist() == [0, 3]
    x = RANDOM.standard_normal((60, 4)).astype(np.float32)
    found = guesses(x, targets, [x[:7], x[7:]], spec("labels", 4), QUICK)
    for outputs in found.values():
        assert outputs.shape == (60, 4)
        assert (outputs[:, 1] > 10).all()
        assert (outputs[:, 2] < -10).all()
    assert np.ptp(found["constant"], axis=0).max() == 0


def test_text_is_weighed_by_its_words_and_pairs_of_words_wherever_they_stand() -> None:
    """Token numbers are names, not sizes: what decides here is whether 7 and 8 are neighbours, in a text of any length."""
    tokens = RANDOM.integers(4, 30, (1000, 12)).astype(np.float32)
    tokens[tokens == 7] = 9
    y = np.arange(1000) % 2
    for row, place in enumerate(RANDOM.integers(0, 8, 1000)):
        tokens[row, [place, place + 1 + (y[row] == 0)]] = 7, 8
    tokens[::3, 10:] = 0  # padding
    text = replace(spec("class", 2, (12,)), tokens=30)
    unscaled = Scaling(np.zeros(12, np.float32), np.ones(12, np.float32))
    found = baselines(Part(tokens[:800], y[:800]), Part(tokens[800:], y[800:]), text, unscaled)
    assert list(found) == ["majority", "TF-IDF, logistic regression"]
    assert found["TF-IDF, logistic regression"]["accuracy"] > 0.9


def test_images_and_wide_rows_are_reduced() -> None:
    images = RANDOM.integers(0, 256, (120, 20, 20, 3)).astype(np.uint8)
    y = np.arange(120) % 2
    images[y == 1, :10] //= 2
    scaling = Scaling(np.full(3, 127, np.float32), np.full(3, 1 / 70, np.float32))
    train, test = Part(images[:80], y[:80]), Part(images[80:], y[80:])
    found = baselines(train, test, spec("class", 2, (20, 20, 3)), scaling)
    assert found["logistic regression"]["accuracy"] > 0.9


def test_the_same_figures_again_of_some_of_many_rows() -> None:
    train, test = part("class", MOST + 500, 2), part("class", 200, 2)
    first, again = (baselines(train, test, spec("class", 2), AS_IS) for _ in range(2))
    assert first == again


def test_digits() -> None:
    digits = load(Digits.model_validate({"kind": "digits"}))
    found = baselines(digits.train, digits.test, digits.spec, digits.scaling)
    assert found["majority"]["accuracy"] < 0.15
    assert found["logistic regression"]["accuracy"] > 0.95
    assert found["boosted trees"]["accuracy"] > 0.95
