"""What scikit-learn reaches in a second or two on the same examples: the score that a network has to beat."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlx.data import Dataset, Part, Spec, Supervision, some_rows
from dlx.diagnose.sanity.finding import Finding
from dlx.diagnose.sanity.of_data import MOST_VALUES
from dlx.diagnose.sanity.subject import Subject
from dlx.evaluation.baselines import CONSTANT, FEWEST, MOST_COLUMNS, QUICK, guesses, modelled

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
    name: str
    """Of the part that is scored."""
    plain: bool
    """Whether the columns are those of the inputs."""


def baselines(subject: Subject) -> Finding:
    """What does a network have to beat: the constant guess, a linear model, boosted trees?"""
    spec = subject.whole.spec
    rows = _rows(subject.small)
    if min(len(rows.train), len(rows.scored)) < FEWEST:
        said = f"{len(rows.train)} examples to learn from and {len(rows.scored)} to score on are too few"
        return Finding("skip", f"does not apply: {said}")
    scores = _scores(rows, spec)
    return _judged(spec.supervision, scores, rows, len(subject.whole.train))


def _judged(kind: Supervision, scores: Scores, rows: Rows, examples: int) -> Finding:
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
    constant = CONSTANT[kind]
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


def _told_by(kind: Supervision, rows: Rows) -> str:
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
    plain = len(small.spec.input_shape) == 1 and columns <= MOST_COLUMNS and not small.spec.tokens
    return Rows(flat(train), train.targets, flat(scored), scored.targets, name, plain)


def _scores(rows: Rows, spec: Spec) -> Scores:
    outputs = guesses(rows.train, rows.train_targets, [rows.scored], spec, QUICK)
    match spec.supervision:
        case "class":
            return _classes(outputs, rows.scored_targets)
        case "labels":
            return _labels(outputs, rows)
        case "number":
            return _numbers(outputs, rows)


def _classes(outputs: Mapping[str, np.ndarray], truth: np.ndarray) -> Scores:
    """Accuracy and log loss; of models also by how much the log loss is below that of the class frequencies, with its standard error."""
    losses = {
        model: -np.maximum(logs[np.arange(len(truth)), truth], math.log(LEAST)) for model, logs in outputs.items()
    }  # (n,) each
    found = {
        model: {"accuracy": float(np.mean(logs.argmax(1) == truth)), "log_loss": float(losses[model].mean())}
        for model, logs in outputs.items()
    }
    if np.all(truth == truth[0]):  # whoever is surer of what is frequent gains, whether by the inputs or not
        return found
    for model in [model for model in outputs if model != "constant"]:
        gain = losses["constant"] - losses[model]
        found[model] |= {"log_loss_gain": float(gain.mean()), "log_loss_error": float(gain.std() / np.sqrt(len(gain)))}
    return found


def _labels(outputs: Mapping[str, np.ndarray], rows: Rows) -> Scores:
    """Micro F1 over the labels that have models of their own."""
    chosen = modelled("labels", rows.train_targets)
    truth = rows.scored_targets[:, chosen]

    def f1(guess: np.ndarray) -> dict[str, float]:
        total = float(guess.sum() + truth.sum())
        return {"f1": 2 * float((guess * truth).sum()) / total if total else 0.0}

    return {model: f1(logits[:, chosen] > 0) for model, logits in outputs.items()}


def _numbers(outputs: Mapping[str, np.ndarray], rows: Rows) -> Scores:
    chosen = modelled("number", rows.train_targets)
    truth = rows.scored_targets[:, chosen].astype(np.float64)

    def errors(guess: np.ndarray) -> dict[str, float]:
        squared, total = np.mean((guess - truth) ** 2, 0), truth.var(0)
        explained = np.where(total > 0, 1 - squared / np.where(total > 0, total, 1), 0)
        return {"rmse": float(np.sqrt(squared).mean()), "r2": float(explained.mean())}

    return {model: errors(numbers[:, chosen]) for model, numbers in outputs.items()}


def _no_better(kind: Supervision, values: Mapping[str, float], rows: Rows) -> bool:
    """Whether every model is within the noise of the constant guess."""
    constant, others = values["constant"], [value for model, value in values.items() if model != "constant"]
    if not others:
        return False
    count = len(rows.scored_targets)
    if kind == "number":  # an error's own standard error is about error / sqrt(2 n)
        return min(others) > constant * (1 - ERRORS / np.sqrt(2 * count))
    return max(others) < constant + ERRORS * np.sqrt(max(constant * (1 - constant), 0.01) / count)
