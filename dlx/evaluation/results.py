"""What an evaluation found: plain numbers and NumPy arrays, for the tables, the report page and JSON. No JAX here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dlx.data.dataset import TargetKind
from dlx.evaluation.gallery.pictures import Picture

if TYPE_CHECKING:
    import pyarrow as pa

    from dlx.data import BadRow


@dataclass(frozen=True)
class Measure:
    """A metric with the limits of its 95 % bootstrap interval (percentiles; of `ece` reflected, as noise only adds to it).

    The limits are None where no interval was drawn; the value is NaN where it is not defined.
    """

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Scores:
    """The metrics of one set of examples."""

    overall: Mapping[str, Measure]
    """By metric name, without the split: `accuracy`, `roc_auc_macro`, `rmse`. The one to judge by comes first."""
    each: Mapping[str, Sequence[Measure]]
    """By metric name, one value for each class, label or number: `precision`, `support`."""
    confusion: np.ndarray | None = None
    """(true classes, predicted classes) int64 counts; None but for classes."""
    reliability: "Reliability | None" = None
    """None for numbers."""
    residuals: "Residuals | None" = None
    """None but for numbers."""


@dataclass(frozen=True)
class Reliability:
    """How often the network is right when it is so sure: equally wide bins of confidence (bins,). Empty bins have count 0, NaN else.

    For classes the confidence is that of the predicted one; for labels that of each label by itself.
    """

    edges: np.ndarray
    """(bins + 1,) from 0 to 1."""
    confidence: np.ndarray
    """(bins,) the mean confidence."""
    right: np.ndarray
    """(bins,) the share that is right (labels: that is 1)."""
    count: np.ndarray
    """(bins,) int64."""


@dataclass(frozen=True)
class Residuals:
    """Prediction minus truth, in the data's own units."""

    quantiles: Mapping[str, Sequence[float]]
    """By the name of the quantile, such as `0.05`, one value for each number."""
    predicted: np.ndarray
    """(points, numbers) of at most 2,000 examples, for a picture."""
    actual: np.ndarray
    """(points, numbers) of the same."""


@dataclass(frozen=True)
class Example:
    """One example, shown because the network is most wrong about it."""

    row: int
    """Its number in the part that was judged, from 0."""
    loss: float
    truth: str
    predicted: str
    confidence: float | None
    """The probability of what was predicted; None for numbers."""
    picture: np.ndarray | None = None
    """(height, width, channels) uint8, for images."""
    saliency: Mapping[str, np.ndarray] | None = None
    """By method (`gradient`, `smoothgrad`, `integrated gradients`) (height, width) float32 of 0..1, for images."""
    columns: Mapping[str, str] | None = None
    """For tables: the row as it was read, by column. For images out of a folder: `file`, the path in it. For texts:
    `text`, as the network reads it."""
    file_row: int | None = None
    """For tables: its number among the rows of the file, from 0, as pandas counts them."""
    because: Mapping[str, float] | None = None
    """For tables: what each column adds to the output that is explained, beside the mean example (integrated gradients), the most first."""
    explained: str | None = None
    """The class, the label or the number whose output that is; None without `because`."""


@dataclass(frozen=True)
class Slice:
    """The examples with one value of a column, or with values in one interval of it."""

    column: str
    value: str
    """Such as `Female`, `[25, 31)`, `missing`."""
    examples: int
    overall: Mapping[str, Measure]


@dataclass(frozen=True)
class Importance:
    """By how much the headline metric gets worse when a column's values are shuffled among the examples (Breiman 2001)."""

    column: str
    mean: float
    """The mean of several shuffles; positive is worse, whatever the metric's sense."""
    deviation: float


@dataclass(frozen=True)
class Evaluation:
    """All that an evaluation of one run on one set of examples found."""

    run: str
    name: str | None
    data: str
    """The data set's name, or the file."""
    split: str
    """`test`, `validation`, `train`, `all`."""
    examples: int
    target: TargetKind
    classes: tuple[str, ...]
    """The names of classes or labels; for numbers the names of the targets."""
    step: int
    """Of the weights that were judged."""
    device: str
    scores: Scores
    headline: str
    """The metric to judge by."""
    maximize: bool
    resamples: int
    """How many bootstrap resamples the intervals are from; 0 for none."""
    baselines: Mapping[str, Mapping[str, float]]
    """By simple model (`majority`, `logistic regression`, `boosted trees`) its overall metrics on the same examples."""
    slices: tuple[Slice, ...]
    worst: tuple[Example, ...]
    importance: tuple[Importance, ...]
    warnings: tuple[str, ...]
    """One sentence each: drifted inputs, classes without an example."""
    seconds: Mapping[str, float]
    """By phase."""
    gallery: tuple[Picture, ...] = ()
    """What the network's work looks like; empty unless it was asked for."""


@dataclass(frozen=True)
class Predicted:
    """The predictions of some rows of new data, in the order of the data, and the rows among them that were left out."""

    table: "pa.Table"
    """`line`, `row` or `file`, then `prediction`, `probability NAME`...: see `dlx.evaluation.predict.columns`."""
    bad: "tuple[BadRow, ...]"
    unseen: Mapping[str, int]
    """By column, how many values are of no category that training had."""
    fitted: int = 0
    """How many images had another size than training's, and were scaled and cut."""
    unknown: int = 0
    """How many tokens of texts are not in the vocabulary."""
    notes: tuple[str, ...] = ()
    """As `Chunk.notes`."""


def evaluation_json(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation as one tree of plain values, without pictures. Metric names are `split/metric`; NaN stands for undefined."""
    scores, split = evaluation.scores, evaluation.split
    return {
        "run": evaluation.run,
        "name": evaluation.name,
        "data": evaluation.data,
        "split": split,
        "examples": evaluation.examples,
        "step": evaluation.step,
        "device": evaluation.device,
        "headline": f"{split}/{evaluation.headline}",
        "metrics": {f"{split}/{name}": each.value for name, each in scores.overall.items()},
        "intervals": _intervals(scores.overall, f"{split}/"),
        "resamples": evaluation.resamples,
        "each": {
            metric: dict(zip(evaluation.classes, [each.value for each in values], strict=True))
            for metric, values in scores.each.items()
        },
        "confusion": None
        if scores.confusion is None
        else {"classes": list(evaluation.classes), "counts": scores.confusion.tolist()},
        "reliability": None
        if scores.reliability is None
        else {name: value.tolist() for name, value in vars(scores.reliability).items()},
        "residuals": None if scores.residuals is None else {q: list(v) for q, v in scores.residuals.quantiles.items()},
        "baselines": {model: dict(metrics) for model, metrics in evaluation.baselines.items()},
        "slices": [
            {
                "column": each.column,
                "value": each.value,
                "examples": each.examples,
                "metrics": {name: measure.value for name, measure in each.overall.items()},
                "intervals": _intervals(each.overall, ""),
            }
            for each in evaluation.slices
        ],
        "worst": [
            {
                "row": each.row,
                "file_row": each.file_row,
                "loss": each.loss,
                "truth": each.truth,
                "predicted": each.predicted,
                "confidence": each.confidence,
                "columns": None if each.columns is None else dict(each.columns),
                "because": None if each.because is None else dict(each.because),
                "explained": each.explained,
            }
            for each in evaluation.worst
        ],
        "importance": [{"column": i.column, "mean": i.mean, "deviation": i.deviation} for i in evaluation.importance],
        "warnings": list(evaluation.warnings),
        "seconds": dict(evaluation.seconds),
    }


def _intervals(measures: Mapping[str, Measure], prefix: str) -> dict[str, list[float]]:
    return {
        f"{prefix}{name}": [each.low, each.high]
        for name, each in measures.items()
        if each.low is not None and each.high is not None
    }
