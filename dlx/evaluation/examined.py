"""Judging tasks that have no answer for each example: by the task's own metrics of what each example adds to its sums."""

from collections.abc import Mapping

import numpy as np

from dlx import engine
from dlx.config.model import Autoencoder, ConvAutoencoder
from dlx.config.task import Reconstruct
from dlx.data import Order, Part
from dlx.errors import UsageError
from dlx.evaluation import bootstrap
from dlx.evaluation.pca import pca_errors
from dlx.evaluation.results import Measure, Scores
from dlx.experiment.restore import Trained
from dlx.tasks import Examined, Supervised


def require_answers(trained: Trained) -> None:
    """Raises `UsageError` for a task that has no answer for each example: what its network puts out is no prediction of a target."""
    if not isinstance(trained.task, Supervised):
        kind = trained.config.task.kind if trained.config.task else ""
        raise UsageError(
            f"run {trained.run.id} has no answer for each example (its task is {kind}), neither a class nor a number: name another run; "
            "`dlx evaluate` and `dlx report` show what this one does"
        )


def examined_scores(trained: Trained, task: Examined, part: Part, order: Order, resamples: int) -> Scores:
    """Every metric of the task on a part, with intervals from so many bootstrap resamples of its examples (0 for none)."""
    found = engine.examine(task, trained.config, trained.learner, trained.preparation.scaling, part, order)
    point = _metrics(task, found.sums(np.ones((1, len(part)))))[0]
    drawn = [
        metrics
        for weights in (bootstrap.counts(len(part), resamples, seed=0) if resamples else ())
        for metrics in _metrics(task, found.sums(weights))
    ]
    names = [name for name in (*task.scores, *point) if name in point]
    return Scores({name: _measure(point[name], [each[name] for each in drawn]) for name in dict.fromkeys(names)}, {})


def own_simple_models(trained: Trained, train: Part, judged: Part) -> Mapping[str, Mapping[str, float]]:
    """What stands beside a task that has no answer for each example, by the task's own metrics; nothing where nothing simple is known."""
    config, scaling = trained.config, trained.preparation.scaling
    match config.task, config.model:
        case Reconstruct(noise=noise), Autoencoder(code=code) | ConvAutoencoder(code=code):
            return pca_errors(train, judged, scaling, code, noise=noise.model_dump())
        case _:
            return {}


def _metrics(task: Examined, sums: Mapping[str, np.ndarray]) -> list[dict[str, float]]:
    """The metrics of each resample's sums (resamples, ...)."""
    return [task.metrics({name: values[row] for name, values in sums.items()}) for row in range(len(sums["count"]))]


def _measure(value: float, drawn: list[float]) -> Measure:
    if not drawn:
        return Measure(value)
    low, high = bootstrap.interval(np.asarray(drawn))
    return Measure(value, float(low), float(high))
