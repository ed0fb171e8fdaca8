"""What scikit-learn reaches in a second or two on the same examples: the figures that a network's have to be seen beside.

The constant guess, a linear model (logistic or ridge regression) and boosted trees; of text a linear model of its words alone.
`dlx check` fits the same ones, with less effort.
Of a series also what its own past says: the last value, the value a season ago, a linear map of the window (`dlx.evaluation.forecasts`).
"""

import importlib
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np

from dlx.data import Part, Scaling, Spec, Supervision, some_rows
from dlx.data.tokens import PAD
from dlx.evaluation.forecasts import forecasts
from dlx.evaluation.metrics import overall

CONSTANT = MappingProxyType({"class": "majority", "labels": "the usual labels", "number": "the mean"})
"""What the constant guess is called."""
MOST, MOST_VALUES = 20_000, 8_000_000
"""Training examples, and values of them, that the models of an evaluation are fitted on."""
MOST_COLUMNS, COMPONENTS = 1000, 50
"""Rows with more columns are reduced to four times so many principal components; for boosting to so many, images always."""
MOST_LINEAR = 100_000_000
"""Values times classes beyond which the linear model, too, sees few components; where those are more, it gets few iterations."""
MOST_LABELS = 20
"""Of more labels, or numbers, only the most balanced (the first) have models; for the others the guess is constant."""
MOST_CLASSES = 40
"""For more there are no boosted trees: a round grows one tree for each class."""
FEWEST = 10
"""Training examples without which there is only the constant guess."""
LEAST = 1e-7
"""Probabilities are not taken to be smaller, nor to be nearer to 1."""
BLOCK_VALUES = 50_000_000


@dataclass(frozen=True)
class Effort:
    """How long the models are fitted."""

    iterations: int
    """Of logistic regression, at most."""
    trees: int
    """Rounds of boosting."""
    leaves: int
    rate: float
    """The learning rate of boosting."""


QUICK = Effort(iterations=30, trees=15, leaves=8, rate=0.3)
MOST_TREES = 500
"""Trees of all classes or labels together."""


def baselines(
    train: Part, judged: Part, spec: Spec, scaling: Scaling, season: int | None = None
) -> dict[str, dict[str, float]]:
    """By model its metrics on the judged part, by the same functions as the network's. The constant guess comes first.

    `season` is given for windows of a series, whose first feature is the target's past: the steps of a day, a week or a year. Fitted on at most `MOST` training examples, drawn at random but always the same. Deterministic.
    """
    columns = math.prod(spec.input_shape)
    few = train.take(some_rows(len(train), min(MOST, max(FEWEST, MOST_VALUES // columns))))
    rounds = min(50, MOST_TREES // max(1, min(spec.outputs, MOST_LABELS) if spec.supervision != "class" else spec.outputs))
    effort = Effort(iterations=100, trees=max(rounds, QUICK.trees), leaves=31, rate=0.1 if rounds >= 50 else 0.3)

    def blocks() -> Iterator[np.ndarray]:
        size = max(1, BLOCK_VALUES // columns)
        for first in range(0, len(judged), size):
            yield scaling.apply(judged.inputs[first : first + size]).reshape(-1, columns)

    x = scaling.apply(few.inputs).reshape(-1, columns)
    found = guesses(x, few.targets, blocks(), spec, effort)
    if season is not None:
        found |= forecasts(train, judged, season)
    return {
        CONSTANT[spec.supervision] if model == "constant" else model: overall(spec.supervision, outputs, judged.targets)
        for model, outputs in found.items()
    }


def guesses(
    train: np.ndarray, targets: np.ndarray, judged: Iterable[np.ndarray], spec: Spec, effort: Effort
) -> dict[str, np.ndarray]:
    """By model (`constant`, a linear one, `boosted trees`) its outputs (n, k) float64 for the judged rows, block after block.

    They are what a network's are: logarithms of the probabilities of classes, logits of labels, or numbers in the data's own units. `train` and
    `judged` are standardized rows (n, columns).
    """
    from threadpoolctl import threadpool_limits

    # One thread: the problems are small, and where other work has the cores threads wait for each other much longer. Only of
    # libraries that are loaded the threads can be limited, and this one loads OpenMP.
    importlib.import_module("sklearn.ensemble")
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        warnings.simplefilter("ignore")  # of iterations that are few on purpose, and of classes without an example
        models = _fitted(train, targets, spec, effort)
        found = [[predict(block) for predict in models.values()] for block in judged]
    return {name: np.concatenate(each).astype(np.float64) for name, each in zip(models, zip(*found, strict=True), strict=True)}


def modelled(target: Supervision, targets: np.ndarray) -> np.ndarray:
    """The labels, or numbers, that have models of their own (m,): those that vary, the most balanced first."""
    if target == "number":
        return np.arange(min(targets.shape[1], MOST_LABELS))
    share = targets.mean(0)
    varied = np.flatnonzero((share > 0) & (share < 1))
    return varied[np.argsort(np.abs(share[varied] - 0.5), kind="stable")][:MOST_LABELS]


Predict = Callable[[np.ndarray], np.ndarray]
"""Standardized rows (n, columns) to outputs (n, k)."""


def _fitted(x: np.ndarray, y: np.ndarray, spec: Spec, effort: Effort) -> dict[str, Predict]:
    constant = _constant(y, spec)
    models: dict[str, Predict] = {"constant": lambda z: np.tile(constant, (len(z), 1))}
    present = len(np.unique(y)) if spec.supervision == "class" else len(modelled(spec.supervision, y))
    if len(x) < FEWEST or present < (2 if spec.supervision == "class" else 1):
        return models
    name = "ridge regression" if spec.supervision == "number" else "logistic regression"
    if spec.tokens:
        words = _word_weights(x)
        models[f"TF-IDF, {name}"] = _model(lambda: _linear(spec.supervision, effort, 10.0), words, x, y, spec, constant)
        return models
    columns, images = x.shape[1], len(spec.input_shape) > 1
    few = _components(x, COMPONENTS) if images or columns > MOST_COLUMNS else _as_it_is
    linear = _components(x, 4 * COMPONENTS) if columns > MOST_COLUMNS else _as_it_is
    classes = present if spec.supervision == "class" else 1
    if min(columns, MOST_COLUMNS) * len(x) * classes > MOST_LINEAR:
        linear = _components(x, COMPONENTS)
    if COMPONENTS * len(x) * classes > MOST_LINEAR:
        effort = replace(effort, iterations=min(effort.iterations, QUICK.iterations))
    models[name] = _model(lambda: _linear(spec.supervision, effort, 0.1), linear, x, y, spec, constant)
    if spec.supervision != "class" or present <= MOST_CLASSES:
        models["boosted trees"] = _model(lambda: _boosting(spec.supervision, effort), few, x, y, spec, constant)
    return models


def _model(make: Callable[[], Any], reduce: Predict, x: np.ndarray, y: np.ndarray, spec: Spec, constant: np.ndarray) -> Predict:
    """A classifier of all classes; or an estimator for each label or number, and the constant guess for those without one."""
    seen = reduce(x)
    if spec.supervision == "class":
        classifier = make().fit(seen, y)

        def classes(z: np.ndarray) -> np.ndarray:
            chances = np.zeros((len(z), spec.outputs))
            chances[:, classifier.classes_] = classifier.predict_proba(reduce(z))
            return np.log(np.maximum(chances, LEAST))

        return classes
    chosen = modelled(spec.supervision, y)
    estimators = [make().fit(seen, column) for column in y[:, chosen].astype(np.float64).T]

    def columns(z: np.ndarray) -> np.ndarray:
        outputs, few = np.tile(constant, (len(z), 1)), reduce(z)
        for column, estimator in zip(chosen, estimators, strict=True):
            outputs[:, column] = (
                estimator.predict(few) if spec.supervision == "number" else _logit(estimator.predict_proba(few)[:, 1])
            )
        return outputs

    return columns


def _constant(y: np.ndarray, spec: Spec) -> np.ndarray:
    """The outputs (k,) of whoever does not look at the inputs."""
    match spec.supervision:
        case "class":
            return np.log(np.maximum(np.bincount(y, minlength=spec.outputs) / len(y), LEAST))
        case "labels":
            return _logit(y.mean(0, dtype=np.float64))
        case "number":
            return y.mean(0, dtype=np.float64)


def _logit(chance: np.ndarray) -> np.ndarray:
    bounded = np.clip(chance, LEAST, 1 - LEAST)
    return np.log(bounded) - np.log1p(-bounded)


def _as_it_is(z: np.ndarray) -> np.ndarray:
    return z


def _components(x: np.ndarray, count: int) -> Predict:
    """Rows to the first principal components of x."""
    from sklearn.decomposition import PCA

    return PCA(min(count, *x.shape), svd_solver="randomized", iterated_power=2, random_state=0).fit(x).transform


def _word_weights(x: np.ndarray) -> Predict:
    """Rows of tokens to the TF-IDF weights (sparse) of the tokens and pairs of neighbours that x has; the order is forgotten."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    def counted(row: np.ndarray) -> list[tuple[int, ...]]:
        tokens = row[row != PAD].astype(np.int64).tolist()
        return [*zip(tokens), *pairwise(tokens)]

    return TfidfVectorizer(analyzer=counted, sublinear_tf=True).fit(x).transform


def _linear(target: Supervision, effort: Effort, c: float) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge

    return Ridge(alpha=1.0) if target == "number" else LogisticRegression(C=c, max_iter=effort.iterations)


def _boosting(target: Supervision, effort: Effort) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    return (HistGradientBoostingRegressor if target == "number" else HistGradientBoostingClassifier)(
        max_iter=effort.trees,
        max_leaf_nodes=effort.leaves,
        learning_rate=effort.rate,
        early_stopping=False,
        random_state=0,
    )
