"""What scikit-learn reaches in a second or two on the same examples: the score that a network has to beat."""

import importlib
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlx.data import Dataset, Part, some_rows
from dlx.diagnose.sanity.finding import Finding
from dlx.diagnose.sanity.of_data import MOST_VALUES
from dlx.diagnose.sanity.subject import Subject

MOST_COLUMNS, COMPONENTS = 1000, 50
"""Rows with more columns are reduced to so many principal components; for boosting, images always are."""
MOST_LABELS = 20
"""Of more labels only the most balanced are scored."""
ITERATIONS, TREES, LEAVES, RATE = 30, 15, 8, 0.3
"""Of logistic regression, and of boosting: its rounds, the leaves of a tree, and its learning rate."""
FEWEST = 10
"""Examples without which nothing can be said."""
ERRORS = 2.0
"""Standard errors of a score by which a model must beat the constant guess to have learned something."""
PERFECT, ENOUGH = 0.9999, 100
"""A score (or a correlation) that is too good to be true, and the scored examples without which it may be luck."""
LEAST = 1e-4
"""Probabilities are not taken to be smaller: a sure mistake costs so much and no more."""

Scores = Mapping[str, Mapping[str, float]]
"""Metric name to value, of each model."""


@dataclass(frozen=True)
class Rows:
    """Standardized inputs (n, columns) with their targets, to fit and to score on."""

    train: np.ndarray
    train_targets: np.ndarray
    scored: np.ndarray
    scored_targets: np.ndarray
    reduced: tuple[np.ndarray, np.ndarray]
    """The inputs of both as trees want them: few columns."""
    name: str
    """Of the part that is scored."""
    plain: bool
    """Whether the columns are those of the inputs."""


def baselines(subject: Subject) -> Finding:
    """What does a network have to beat: the constant guess, a linear model, boosted trees?"""
    from threadpoolctl import threadpool_limits

    kind = subject.whole.spec.target
    score = {"class": _classes, "labels": _labels, "number": _numbers}[kind]
    # One thread: the problems are small, and where other work has the cores threads wait for each other much longer. Only of
    # libraries that are loaded the threads can be limited, and this one loads OpenMP.
    importlib.import_module("sklearn.ensemble")
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        warnings.simplefilter("ignore")  # of iterations that are few on purpose, and of classes without an example
        rows = _rows(subject.small)
        if min(len(rows.train), len(rows.scored)) < FEWEST:
            said = f"{len(rows.train)} examples to learn from and {len(rows.scored)} to score on are too few"
            return Finding("skip", f"does not apply: {said}")
        scores = score(rows)
    return _judged(kind, scores, rows, len(subject.whole.train))


def _judged(kind: str, scores: Scores, rows: Rows, examples: int) -> Finding:
    """What the scores come to. There are so many training examples in all."""
    metric = next(iter(scores["constant"]))
    values = {model: each[metric] for model, each in scores.items()}
    best = (min if metric == "rmse" else max)(values, key=lambda model: values[model])
    numbers: dict[str, Any] = {
        "metric": metric,
        "scored": rows.name,
        "fitted": len(rows.train),
        "models": {model: dict(each) for model, each in scores.items()},
    }
    constant = {"class": "majority", "labels": "the usual labels", "number": "the mean"}[kind]
    words = {model: f"{constant if model == 'constant' else model} {value:.3g}" for model, value in values.items()}
    used = len(rows.train) + (0 if rows.name == "validation" else len(rows.scored))
    fitted = f"; fitted on {len(rows.train):,} of {examples:,} training examples" if used < examples else ""
    explained = f", r2 {scores[best]['r2']:.3g}" if "r2" in scores[best] else ""
    on = f"on {rows.name} data"
    if not _no_better(kind, values, rows):
        seen = f"{metric} {values[best]:.3g} ({best}{explained}) {on}"
        if scores[best].get("r2", values[best]) >= PERFECT and len(rows.scored) >= ENOUGH:
            alone = _told_by(kind, rows)
            said = f"{seen} is perfect (or nearly): is the target among the inputs?"
            return Finding("warn", f"{said} Look at {alone}" if alone else said, numbers)
        others = [words[model] for model in values if model not in (best, "constant")]
        return Finding("pass", f"a network must beat {seen}; {', '.join([*others, words['constant']])}{fitted}", numbers)
    if informed := [model for model in values if _informed(scores[model])]:
        model = min(informed, key=lambda model: scores[model]["log_loss"])
        seen = (
            f"log loss {scores[model]['log_loss']:.3g} ({model}) {on}; class frequencies {scores['constant']['log_loss']:.3g}"
        )
        said = f"a network must beat {seen}; {metric} tells little here: {', '.join(words.values())}"
        return Finding("pass", said + fitted, numbers)
    if kind == "class" and (other := len(rows.scored) - int(np.max(np.bincount(rows.scored_targets)))) < FEWEST:
        said = f"nothing can be said: only {other} of {len(rows.scored)} examples of the {rows.name} data"
        return Finding("skip", f"{said} are not of the largest class", numbers)
    models = ", ".join(words[model] for model in values if model != "constant")
    said = f"no model beats {constant} ({metric} {values['constant']:.3g}) {on} by more than luck: {models}{fitted}"
    cure = "the inputs tell little about the target: look whether rows and targets belong together"
    return Finding("warn", f"{said}; {cure}", numbers)


def _informed(score: Mapping[str, float]) -> bool:
    """Whether a classifier's log loss is below that of the class frequencies by more than noise, if it has one."""
    return "log_loss_gain" in score and score["log_loss_gain"] > ERRORS * score["log_loss_error"]


def _told_by(kind: str, rows: Rows) -> str:
    """`input 3, which tells it alone`; empty where no single one does."""
    if not rows.plain:
        return ""
    x, y = rows.train.astype(np.float64), rows.train_targets
    found = np.zeros(x.shape[1], bool)
    if kind == "class":
        present = np.unique(y)
        constant = np.all([np.ptp(x[y == each], axis=0) == 0 for each in present], axis=0)
        values = np.sort([x[np.argmax(y == each)] for each in present], axis=0)  # (classes, columns)
        found = constant & (np.diff(values, axis=0) > 0).all(0)
        y = (y == present[-1])[:, None] if len(present) == 2 else np.zeros((len(y), 0))
    with np.errstate(all="ignore"):  # what is constant correlates with nothing
        x, y = ((each - each.mean(0)) / each.std(0) for each in (x, y.astype(np.float64)))
        found |= (np.abs(x.T @ y) / len(x) > PERFECT).any(1)
    chosen = np.flatnonzero(found)
    shown = ", ".join(map(str, chosen[:3])) + (", ..." if len(chosen) > 3 else "")
    if not len(chosen):
        return ""
    return f"input {shown}, which tells it alone" if len(chosen) == 1 else f"inputs {shown}, each of which tells it alone"


def _rows(small: Dataset) -> Rows:
    """The small training part, and the validation part to score on, or a fifth of the training part."""
    columns = math.prod(small.spec.input_shape)
    most = max(FEWEST, MOST_VALUES // columns)

    def flat(part: Part) -> np.ndarray:
        return small.scaling.apply(part.inputs).reshape(-1, columns)

    if len(small.validation):
        train, scored, name = small.train, small.validation, "validation"
    else:
        order = np.random.Generator(np.random.Philox(key=0)).permutation(len(small.train))
        cut = len(order) * 4 // 5
        train, scored, name = small.train.take(order[:cut]), small.train.take(order[cut:]), "held-out training"
    train, scored = (part.take(some_rows(len(part), most)) for part in (train, scored))
    x, z = flat(train), flat(scored)
    images = len(small.spec.input_shape) > 1
    reduced = _components(x, z, COMPONENTS) if images or x.shape[1] > MOST_COLUMNS else (x, z)
    if x.shape[1] > MOST_COLUMNS:
        x, z = _components(x, z, 4 * COMPONENTS)
    return Rows(x, train.targets, z, scored.targets, reduced, name, plain=not images and columns <= MOST_COLUMNS)


def _components(x: np.ndarray, z: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first principal components of x, for x and for z."""
    from sklearn.decomposition import PCA

    few = min(count, *x.shape)
    fitted = PCA(few, svd_solver="randomized", iterated_power=2, random_state=0).fit(x)
    return fitted.transform(x), fitted.transform(z)


def _classes(rows: Rows) -> Scores:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

    y, truth = rows.train_targets, rows.scored_targets
    present, counts = np.unique(y, return_counts=True)
    classes = len(present)

    def losses(chances: np.ndarray) -> np.ndarray:
        """Of each example (n,), by the chances (n, classes) of the classes that are present."""
        own = np.where(truth[:, None] == present, chances, 0).sum(1)
        return -np.log(np.maximum(own, LEAST))

    def score(chances: np.ndarray) -> dict[str, float]:
        return {"accuracy": float(np.mean(present[chances.argmax(1)] == truth)), "log_loss": float(losses(chances).mean())}

    frequent = np.tile(counts / len(y), (len(truth), 1))

    def against(chances: np.ndarray) -> dict[str, float]:
        """Its score, and by how much its log loss is below that of the class frequencies, with the standard error of that."""
        if np.all(truth == truth[0]):  # whoever is surer of what is frequent gains, whether by the inputs or not
            return score(chances)
        gain = losses(frequent) - losses(chances)
        error = float(gain.std() / np.sqrt(len(gain)))
        return score(chances) | {"log_loss_gain": float(gain.mean()), "log_loss_error": error}

    found = {"constant": score(frequent)}
    if classes > 1:
        linear = LogisticRegression(C=0.1, max_iter=ITERATIONS).fit(rows.train, y)
        found["logistic regression"] = against(linear.predict_proba(rows.scored))
    if 1 < classes <= 2 * MOST_LABELS:  # a round grows one tree for each class
        trees = _boosting(HistGradientBoostingClassifier).fit(rows.reduced[0], y)
        found["boosted trees"] = against(trees.predict_proba(rows.reduced[1]))
    return found


def _labels(rows: Rows) -> Scores:
    """Micro F1 over the labels of which both values occur, each with a model of its own."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression

    share = rows.train_targets.mean(0)
    varied = np.flatnonzero((share > 0) & (share < 1))
    chosen = varied[np.argsort(np.abs(share[varied] - 0.5), kind="stable")][:MOST_LABELS]
    y, truth = rows.train_targets[:, chosen], rows.scored_targets[:, chosen]

    def f1(guess: np.ndarray) -> dict[str, float]:
        total = float(guess.sum() + truth.sum())
        return {"f1": 2 * float((guess * truth).sum()) / total if total else 0.0}

    def each(make: Callable[[], Any], x: np.ndarray, z: np.ndarray) -> np.ndarray:
        return np.stack([make().fit(x, column).predict(z) for column in y.T], axis=1)  # (n, labels)

    found = {"constant": f1(np.tile(y.mean(0) > 0.5, (len(truth), 1)).astype(np.float32))}
    if len(chosen):
        found["logistic regression"] = f1(each(lambda: LogisticRegression(C=0.1, max_iter=ITERATIONS), rows.train, rows.scored))
        found["boosted trees"] = f1(each(lambda: _boosting(HistGradientBoostingClassifier), *rows.reduced))
    return found


def _numbers(rows: Rows) -> Scores:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.linear_model import Ridge

    y, truth = rows.train_targets.astype(np.float64), rows.scored_targets.astype(np.float64)

    def errors(guess: np.ndarray) -> dict[str, float]:
        squared, total = np.mean((guess - truth) ** 2, 0), truth.var(0)
        explained = np.where(total > 0, 1 - squared / np.where(total > 0, total, 1), 0)
        return {"rmse": float(np.sqrt(squared).mean()), "r2": float(explained.mean())}

    chosen = range(min(y.shape[1], MOST_LABELS))
    y, truth = y[:, chosen], truth[:, chosen]
    trees = [_boosting(HistGradientBoostingRegressor).fit(rows.reduced[0], column) for column in y.T]
    return {
        "constant": errors(np.tile(y.mean(0), (len(truth), 1))),
        "ridge regression": errors(Ridge(alpha=1.0).fit(rows.train, y).predict(rows.scored).reshape(truth.shape)),
        "boosted trees": errors(np.stack([each.predict(rows.reduced[1]) for each in trees], axis=1)),
    }


def _boosting(make: Callable[..., Any]) -> Any:
    return make(max_iter=TREES, max_leaf_nodes=LEAVES, learning_rate=RATE, early_stopping=False, random_state=0)


def _no_better(kind: str, values: Mapping[str, float], rows: Rows) -> bool:
    """Whether every model is within the noise of the constant guess."""
    constant, others = values["constant"], [value for model, value in values.items() if model != "constant"]
    if not others:
        return False
    count = len(rows.scored_targets)
    if kind == "number":  # an error's own standard error is about error / sqrt(2 n)
        return min(others) > constant * (1 - ERRORS / np.sqrt(2 * count))
    return max(others) < constant + ERRORS * np.sqrt(max(constant * (1 - constant), 0.01) / count)
