"""Every metric is scikit-learn's, to 1e-9: with ties, absent classes, saturated logits, one example, and on real predictions."""

import gzip
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

from dlx.config.task import Classify, Multilabel, Regress
from dlx.data import Spec
from dlx.errors import DataError, RunFailedError, UsageError
from dlx.evaluation import metrics
from dlx.evaluation.metrics.calibration import bins
from dlx.evaluation.metrics.ranking import curves
from dlx.evaluation.results import Measure
from dlx.tasks.classification import Classification, Multilabelling
from dlx.tasks.regression import Regression

NAN = float("nan")
AGREES = 1e-9


@pytest.fixture(autouse=True)
def undefined_is_no_news() -> Iterator[None]:
    """scikit-learn warns where a metric is not defined. dlx must not: its calls stand outside of this."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="sklearn|numpy")
        yield


def agree(found: Mapping[str, float], expected: Mapping[str, float]) -> None:
    """All that is expected was found, and nothing else."""
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=AGREES, atol=AGREES, err_msg=name)


def values(measures: Mapping[str, Measure]) -> dict[str, float]:
    return {name: each.value for name, each in measures.items()}


def by_column(function: Callable[..., float], truth: np.ndarray, scores: np.ndarray) -> list[float]:
    """A ranking metric of each column; NaN where the column has no positive, or for ROC-AUC no negative."""
    return [
        NAN if not t.any() or (t.all() and function is sk.roc_auc_score) else function(t, s)
        for t, s in zip(truth.T, scores.T, strict=True)
    ]


def mean(each: list[float]) -> float:
    return float(np.nanmean(each)) if not np.isnan(each).all() else NAN


# ------------------------------------------------------------------------------------------------------------- classes


def classes(n: int, k: int, seed: int = 0, skill: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(k, size=n)
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), targets] += skill
    return logits.astype(np.float32), targets


def absent() -> tuple[np.ndarray, np.ndarray]:
    """Of six classes one without an example, one never guessed, one neither."""
    logits, targets = classes(300, 6)
    logits[:, [1, 2]] -= 50
    targets[np.isin(targets, [0, 2])] = 3
    return logits, targets


CLASSES = {
    "two classes": classes(500, 2),
    "three classes": classes(500, 3),
    "ten classes": classes(2000, 10),
    "ties": (np.round(classes(1000, 4)[0]), classes(1000, 4)[1]),
    "two classes, ties": (np.round(classes(400, 2)[0]), classes(400, 2)[1]),
    "saturated": (np.sign(classes(400, 3)[0]) * np.float32(1000), classes(400, 3)[1]),
    "impossible classes": (np.where(classes(400, 3)[0] < -1, -np.inf, 0.0).astype(np.float32), classes(400, 3)[1]),
    "absent classes": absent(),
    "constant": (np.zeros((50, 3), np.float32), classes(50, 3)[1]),
    "one class only": (classes(50, 3)[0], np.full(50, 1)),
    "one example": classes(1, 4),
    "two examples": classes(2, 2, seed=3),
}


def sklearn_classes(logits: np.ndarray, targets: np.ndarray) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    k = logits.shape[1]
    guess, p = logits.argmax(1), scipy.special.softmax(logits.astype(np.float64), axis=1)
    truth = np.eye(k, dtype=int)[targets]
    every = {"labels": range(k), "zero_division": np.nan}
    overall = {
        "accuracy": sk.accuracy_score(targets, guess),
        "f1": sk.f1_score(targets, guess, average="macro", **every),
        "balanced_accuracy": sk.balanced_accuracy_score(targets, guess),
        "mcc": sk.matthews_corrcoef(targets, guess),
        "cohen_kappa": sk.cohen_kappa_score(targets, guess),
        "log_loss": sk.log_loss(targets, p, labels=range(k)),
        "brier": sk.brier_score_loss(targets, p, labels=range(k)),
        "ece": expected_calibration_error(p.max(1), guess == targets),
    }
    for average in ("macro", "micro", "weighted"):
        three = sk.precision_recall_fscore_support(targets, guess, average=average, **every)
        overall |= {f"{name}_{average}": value for name, value in zip(("precision", "recall", "f1"), three, strict=False)}
    del overall["f1_macro"]
    if k > 5:
        likeliest = np.argsort(-logits, axis=1, kind="stable")[:, :5]  # of equal ones the first, as jax.lax.top_k
        overall["accuracy_top5"] = float(np.mean((likeliest == targets[:, None]).any(1)))
    each = dict(
        zip(
            ("precision", "recall", "f1", "support"),
            sk.precision_recall_fscore_support(targets, guess, **every),
            strict=True,
        )
    )
    for name, function in (("roc_auc", sk.roc_auc_score), ("average_precision", sk.average_precision_score)):
        each[name] = by_column(function, truth, p)
        overall |= {name: each[name][1]} if k == 2 else {f"{name}_macro": mean(each[name])}
    return overall, each


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Guo et al. 2017, in plain words."""
    error = 0.0
    for low in range(15):
        inside = (confidence <= (low + 1) / 15) & ((confidence > low / 15) | (low == 0))
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return error


@pytest.mark.parametrize("case", CLASSES)
def test_classes_agree_with_scikit_learn(case: str) -> None:
    logits, targets = CLASSES[case]
    expected, expected_each = sklearn_classes(logits, targets)
    with warnings.catch_warnings(action="error"):
        scores = metrics.measure("class", logits, targets, resamples=3)
        assert metrics.overall("class", logits, targets) == pytest.approx(values(scores.overall), abs=0, nan_ok=True)
    agree(values(scores.overall), expected)
    agree({name: [m.value for m in several] for name, several in scores.each.items()}, expected_each)
    assert scores.confusion is not None
    np.testing.assert_array_equal(
        scores.confusion, sk.confusion_matrix(targets, logits.argmax(1), labels=range(logits.shape[1]))
    )


def test_the_top_k_is_scikit_learns_where_nothing_ties() -> None:
    logits, targets = CLASSES["ten classes"]
    found = metrics.overall("class", logits, targets, top_k=(2, 3))
    assert "accuracy_top5" not in found
    for k in (2, 3):
        assert found[f"accuracy_top{k}"] == sk.top_k_accuracy_score(targets, logits, k=k)


def test_the_reliability_adds_up_to_the_calibration_error() -> None:
    logits, targets = CLASSES["ten classes"]
    scores = metrics.measure("class", logits, targets, resamples=0)
    reliability = scores.reliability
    assert reliability is not None
    assert reliability.count.sum() == len(targets)
    full = reliability.count > 0
    gaps = np.abs(reliability.right - reliability.confidence)[full]
    assert np.sum(gaps * reliability.count[full]) / len(targets) == pytest.approx(scores.overall["ece"].value, abs=1e-12)
    assert np.isnan(reliability.confidence[~full]).all()


def test_a_confidence_on_an_edge_is_in_the_lower_bin() -> None:
    edge = 1 / 15
    np.testing.assert_array_equal(bins(np.array([0, edge, np.nextafter(edge, 1), 1])), [0, 0, 1, 14])


# -------------------------------------------------------------------------------------------------------------- labels


def labels(n: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = (rng.random((n, k)) < 0.35).astype(np.float32)
    return (rng.normal(size=(n, k)) + 1.5 * targets - 0.5).astype(np.float32), targets


LABELS = {
    "five labels": labels(800, 5),
    "two labels": labels(100, 2),
    "ties": (np.round(labels(800, 5)[0]), labels(800, 5)[1]),
    "saturated": (np.sign(labels(300, 4)[0]) * np.float32(1000), labels(300, 4)[1]),
    "an absent label": (labels(200, 4)[0], labels(200, 4)[1] * np.float32([1, 0, 1, 1])),
    "a label on all": (labels(200, 3)[0], np.maximum(labels(200, 3)[1], np.float32([0, 0, 1]))),
    "constant": (np.zeros((60, 3), np.float32), labels(60, 3)[1]),
    "nothing true, nothing guessed": (np.full((20, 3), -1, np.float32), np.zeros((20, 3), np.float32)),
    "one example": labels(1, 5, seed=1),
}


def sklearn_labels(logits: np.ndarray, targets: np.ndarray) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    guess, p, truth = (logits > 0).astype(int), scipy.special.expit(logits.astype(np.float64)), targets.astype(int)
    each = dict(
        zip(
            ("precision", "recall", "f1", "support"),
            sk.precision_recall_fscore_support(truth, guess, zero_division=np.nan),
            strict=True,
        )
    )
    curve = {"roc_auc": sk.roc_auc_score, "average_precision": sk.average_precision_score}
    each |= {name: by_column(function, truth, p) for name, function in curve.items()}
    overall = {
        "f1": np.nan_to_num(sk.f1_score(truth, guess, average="micro", zero_division=np.nan)),
        "f1_macro": np.nan_to_num(mean(each["f1"])),
        "accuracy": np.mean(truth == guess),
        "subset_accuracy": sk.accuracy_score(truth, guess),
        "hamming_loss": sk.hamming_loss(truth, guess),
        "jaccard": sk.jaccard_score(truth, guess, average="samples", zero_division=1),
        "label_ranking_average_precision": sk.label_ranking_average_precision_score(truth, p),
        "coverage_error": sk.coverage_error(truth, p),
        "label_ranking_loss": sk.label_ranking_loss(truth, p),
        "log_loss": np.mean([sk.log_loss(t, s, labels=[0, 1]) for t, s in zip(truth.T, p.T, strict=True)]),
        "ece": expected_calibration_error(p.ravel(), truth.ravel()),
    }
    for name in ("precision", "recall"):
        function = {"precision": sk.precision_score, "recall": sk.recall_score}[name]
        overall[f"{name}_micro"] = function(truth, guess, average="micro", zero_division=np.nan)
        overall[f"{name}_macro"] = mean(each[name])
    for name, function in curve.items():
        overall[f"{name}_macro"] = mean(each[name])
        overall[f"{name}_micro"] = by_column(function, truth.reshape(-1, 1), p.reshape(-1, 1))[0]
    return overall, each


@pytest.mark.parametrize("case", LABELS)
def test_labels_agree_with_scikit_learn(case: str) -> None:
    logits, targets = LABELS[case]
    expected, expected_each = sklearn_labels(logits, targets)
    with warnings.catch_warnings(action="error"):
        scores = metrics.measure("labels", logits, targets, resamples=3)
        assert metrics.overall("labels", logits, targets) == pytest.approx(values(scores.overall), abs=0, nan_ok=True)
    agree(values(scores.overall), expected)
    agree({name: [m.value for m in several] for name, several in scores.each.items()}, expected_each)
    assert scores.reliability is not None
    assert scores.reliability.count.sum() == targets.size


# ------------------------------------------------------------------------------------------------------------- numbers


def numbers(n: int, k: int, seed: int = 0, offset: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.normal(offset, [1, 30, 0.1][:k], size=(n, k))
    return (targets + rng.normal(0.1, 0.5, size=(n, k))).astype(np.float32), targets.astype(np.float32)


NUMBERS = {
    "one number": numbers(500, 1),
    "three numbers": numbers(501, 3),
    "far from zero": numbers(500, 1, offset=1e4),
    "ties": tuple(np.round(each) for each in numbers(300, 2)),
    "constant predictions": (np.ones((40, 2), np.float32), numbers(40, 2)[1]),
    "constant truth": (numbers(40, 2)[0], np.full((40, 2), np.float32(0.1))),
    "one example": numbers(1, 2),
    "perfect": (numbers(30, 1)[1], numbers(30, 1)[1]),
}


def sklearn_numbers(predicted: np.ndarray, actual: np.ndarray) -> dict[str, np.ndarray]:
    predicted, actual = predicted.astype(np.float64), actual.astype(np.float64)
    varied = np.ptp(actual, 0) > 0  # where all truths are equal dlx has 0, as in training; scikit-learn 0, 1 or NaN
    several = {"multioutput": "raw_values"}
    return {
        "rmse": sk.root_mean_squared_error(actual, predicted, **several),
        "mae": sk.mean_absolute_error(actual, predicted, **several),
        "median_absolute_error": sk.median_absolute_error(actual, predicted, **several),
        "r2": np.where(varied, sk.r2_score(actual, predicted, **several), 0.0),
        "explained_variance": np.where(varied, sk.explained_variance_score(actual, predicted, **several), 0.0),
        "bias": np.mean(predicted - actual, 0),
        "max_error": [sk.max_error(a, p) for a, p in zip(actual.T, predicted.T, strict=True)],
    }


@pytest.mark.parametrize("case", NUMBERS)
def test_numbers_agree_with_scikit_learn(case: str) -> None:
    predicted, actual = NUMBERS[case]
    expected = sklearn_numbers(predicted, actual)
    with warnings.catch_warnings(action="error"):
        scores = metrics.measure("number", predicted, actual, resamples=3)
        assert metrics.overall("number", predicted, actual) == pytest.approx(values(scores.overall), abs=0)
    agree({name: [m.value for m in several] for name, several in scores.each.items()}, expected)
    agree(values(scores.overall), {name: np.mean(several) for name, several in expected.items()})


def test_residuals_have_quantiles_of_all_and_points_of_some() -> None:
    predicted, actual = numbers(5000, 2)
    residuals = metrics.measure("number", predicted, actual, resamples=0, seed=1).residuals
    assert residuals is not None
    assert list(residuals.quantiles) == ["0.01", "0.05", "0.25", "0.5", "0.75", "0.95", "0.99"]
    error = predicted.astype(np.float64) - actual
    np.testing.assert_allclose(residuals.quantiles["0.05"], np.quantile(error, 0.05, axis=0), rtol=AGREES)
    assert residuals.predicted.shape == residuals.actual.shape == (2000, 2)
    pairs = {tuple(row) for row in np.hstack([predicted, actual])}
    assert {tuple(row) for row in np.hstack([residuals.predicted, residuals.actual])} < pairs
    again = metrics.measure("number", predicted, actual, resamples=0, seed=1).residuals
    assert again is not None
    np.testing.assert_array_equal(again.predicted, residuals.predicted)


# ------------------------------------------------------------------------------------------- curves, training, real data


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 3)), min_size=1, max_size=40))
def test_areas_of_weighted_and_tied_scores_are_scikit_learns(items: list[tuple[int, bool, int]]) -> None:
    scores, positive, weights = (np.array(column) for column in zip(*items, strict=True))
    curve = curves(scores.astype(np.float64), positive)
    roc, precision = curve.statistics(weights[curve.rows][None].astype(np.uint8))[0]
    left = {"y_true": positive[weights > 0], "y_score": scores[weights > 0], "sample_weight": weights[weights > 0]}
    if left["y_true"].any():
        assert precision == pytest.approx(sk.average_precision_score(**left), abs=AGREES)
    else:
        assert np.isnan(precision)
    if left["y_true"].any() and not left["y_true"].all():
        assert roc == pytest.approx(sk.roc_auc_score(**left), abs=AGREES)
    else:
        assert np.isnan(roc)


def spec(target: str, outputs: int, targets: np.ndarray) -> Spec:
    names = tuple(map(str, range(outputs)))
    several = targets.reshape(len(targets), -1)
    return Spec(
        input_shape=(3,),
        target=target,
        outputs=outputs,
        classes=names,
        target_names=(),
        class_counts=(1,) * outputs,
        target_mean=tuple(several.mean(0).tolist()),
        target_std=tuple((several.std(0) + (several.std(0) == 0)).tolist()),
        examples=len(targets),
    )


def test_metrics_of_the_same_name_are_those_of_training() -> None:
    for case, (logits, targets) in CLASSES.items():
        if np.isfinite(logits).all():
            k = logits.shape[1]
            task = Classification(Classify(top_k=5 if k > 5 else None), spec("class", k, targets))
            trained = task.metrics(sums(task, logits, targets))
            agree_in_single(metrics.overall("class", logits, targets), trained, case)
    for case, (logits, targets) in LABELS.items():
        task = Multilabelling(Multilabel(), spec("labels", logits.shape[1], targets))
        agree_in_single(metrics.overall("labels", logits, targets), task.metrics(sums(task, logits, targets)), case)
    for case in ("one number", "three numbers", "constant truth"):
        predicted, actual = NUMBERS[case]
        task = Regression(Regress(), spec("number", actual.shape[1], actual))
        trained = task.metrics(sums(task, (predicted - task.mean) / task.std, actual))
        agree_in_single(metrics.overall("number", predicted, actual), trained, case)


def sums(task: Classification | Multilabelling | Regression, outputs: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
    ones = np.ones(len(targets), np.float32)
    found = {name: np.asarray(value) for name, value in task.sums(outputs, targets, ones, full=True).items()}
    return found | {"count": np.asarray(float(len(targets)))}


def agree_in_single(found: Mapping[str, float], trained: Mapping[str, float], case: str) -> None:
    assert {name: found[name] for name in trained} == pytest.approx(trained, rel=2e-5, abs=1e-6), case


def test_real_predictions_of_digits() -> None:
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    x, y = load_digits(return_X_y=True)
    model = LogisticRegression(max_iter=200, C=0.01).fit(x[:900] / 16, y[:900])
    logits = model.decision_function(x[900:] / 16).astype(np.float32)
    agree(metrics.overall("class", logits, y[900:]), sklearn_classes(logits, y[900:])[0])
    assert metrics.overall("class", logits, y[900:])["accuracy"] > 0.8


def test_real_predictions_of_labels(real_data: Callable[[str], Path]) -> None:
    text = gzip.decompress(real_data("multilabel/yeast.arff.gz").read_bytes()).decode()
    rows = np.array([line.split(",") for line in re.split("@data", text, flags=re.IGNORECASE)[1].split()], np.float64)
    x, y = np.hstack([rows[:, :103], np.ones((len(rows), 1))]), rows[:, 103:]
    logits = (8 * x[1000:] @ np.linalg.lstsq(x[:1000], y[:1000] - 0.5, rcond=None)[0]).astype(np.float32)
    agree(metrics.overall("labels", logits, y[1000:]), sklearn_labels(logits, y[1000:])[0])
    assert metrics.overall("labels", logits, y[1000:])["f1"] > 0.6


def test_real_predictions_of_numbers(real_data: Callable[[str], Path]) -> None:
    rows = np.loadtxt(real_data("wine-quality/winequality-white.csv"), delimiter=";", skiprows=1)
    x, y = np.hstack([rows[:, :-1], np.ones((len(rows), 1))]), rows[:, -1:].astype(np.float32)
    predicted = (x[2000:] @ np.linalg.lstsq(x[:2000], y[:2000], rcond=None)[0]).astype(np.float32)
    expected = {name: np.mean(several) for name, several in sklearn_numbers(predicted, y[2000:]).items()}
    agree(metrics.overall("number", predicted, y[2000:]), expected)
    assert expected["r2"] > 0.2


# ------------------------------------------------------------------------------------------------------------ the rest


@pytest.mark.parametrize(
    ("target", "case"), [("class", CLASSES["ties"]), ("labels", LABELS["ties"]), ("number", NUMBERS["ties"])]
)
def test_one_score_is_that_of_all_and_the_one_to_judge_by_comes_first(target: str, case: tuple[np.ndarray, np.ndarray]) -> None:
    found = metrics.overall(target, *case)
    assert next(iter(found)) == metrics.headline(target)[0]
    for name in set(found) - {"max_error"}:
        assert metrics.score(target, *case, name) == found[name]


def test_probabilities_are_of_the_outputs_kind() -> None:
    logits = np.float32([[0, 1000, -np.inf], [-1, 0, 1]])
    np.testing.assert_allclose(metrics.probabilities("class", logits), scipy.special.softmax(logits.astype(float), axis=1))
    np.testing.assert_allclose(metrics.probabilities("labels", logits), scipy.special.expit(logits.astype(float)))
    np.testing.assert_array_equal(metrics.probabilities("number", logits), logits)


def test_an_unknown_metric_is_told_with_those_there_are() -> None:
    logits, targets = CLASSES["two classes"]
    with pytest.raises(UsageError, match=r"no metric 'roc_auc_macro'.*roc_auc"):
        metrics.paired("class", [logits], targets, "roc_auc_macro", resamples=2, seed=0)
    with pytest.raises(UsageError, match="no metric 'accuracy_topx'"):
        metrics.score("class", logits, targets, "accuracy_topx")


def test_outputs_that_are_not_finite_are_an_error_and_so_is_no_example() -> None:
    logits, targets = classes(9, 3)
    with pytest.raises(DataError, match="no example"):
        metrics.overall("class", logits[:0], targets[:0])
    logits[2, 1], logits[4], logits[5, 0] = np.nan, -np.inf, np.inf
    with pytest.raises(RunFailedError, match="3 of 9 examples are not finite"):
        metrics.overall("class", logits, targets)
    with pytest.raises(RunFailedError, match="1 of 2 examples"):
        metrics.overall("number", np.float32([[1], [np.inf]]), np.float32([[1], [2]]))
