"""An evaluation in the terminal: metrics with their intervals, classes, mistakes, slices, the worst examples."""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Final

import numpy as np
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from dlx.evaluation.results import Evaluation, Example, Measure
from dlx.report.confusion import confused_pairs
from dlx.report.tables import fitted, grid
from dlx.report.terminal_picture import Pictures, can_show, heat
from dlx.report.words import cut, number, plural

MOST_CLASSES = 20
"""More are shown under -v only."""
MOST_MISTAKES = 8
MOST_COLUMNS = 6
"""Of a row of a table."""
NARROW = 80
"""Characters of a terminal below which a row's columns stand below each other's figures, not beside them."""


def evaluation_lines(evaluation: Evaluation, console: Console, *, verbose: bool) -> Iterator[RenderableType]:
    """All but the simple models, which take longer: `baseline_lines`."""
    name = f" ({escape(evaluation.name)})" if evaluation.name else ""
    where = f"the {evaluation.split} part of " if evaluation.split != "all" else ""
    yield (
        f"run {evaluation.run}{name}: weights of step {evaluation.step} on {where}{escape(evaluation.data)}, "
        f"{plural(evaluation.examples, 'example')}"
    )
    for warning in evaluation.warnings:
        yield f"[yellow]warning:[/] {escape(warning)}"
    shown = [name for name in evaluation.scores.overall if verbose or not name.endswith(_LESS)]
    yield _overall(evaluation, shown)
    if len(evaluation.classes) > 1:
        yield from fitted(_each(evaluation, verbose=verbose), console)
        if not verbose and len(evaluation.classes) > MOST_CLASSES:
            yield f"the {MOST_CLASSES} with the lowest {_by(evaluation)[0]} of {len(evaluation.classes)}; -v shows all"
    if evaluation.scores.confusion is not None:
        yield from _mistakes(evaluation.scores.confusion, evaluation.classes, None if verbose else MOST_MISTAKES)
    if evaluation.scores.reliability is not None:
        yield from _calibration(evaluation, verbose=verbose)
    if evaluation.scores.residuals is not None:
        yield from fitted(_residuals(evaluation), console)
    if evaluation.slices:
        yield from fitted(_slices(evaluation), console)
    if evaluation.importance:
        yield from _importance(evaluation)
    if evaluation.worst:
        yield from _worst(evaluation, console)
        if any(example.because for example in evaluation.worst):
            yield _LEGEND[evaluation.target]


def baseline_lines(evaluation: Evaluation) -> Iterator[RenderableType]:
    """The figures of simple models on the same examples, beside the network's."""
    if not evaluation.baselines:
        return
    names = [name for name in evaluation.scores.overall if any(name in each for each in evaluation.baselines.values())]
    shown = [name for name in dict.fromkeys((evaluation.headline, *_TOLD)) if name in names] or names
    table = grid()
    table.add_column("on the same examples")
    for name in shown:
        table.add_column(name, justify="right")
    table.add_row("this network", *(number(evaluation.scores.overall[name].value) for name in shown))
    for model, metrics in evaluation.baselines.items():
        table.add_row(model, *(number(metrics[name]) if name in metrics else "" for name in shown))
    yield table


_LESS = ("_micro", "_weighted", "_kappa")
"""Endings of metrics that are shown under -v only: they are near, or equal to, others."""
_ADDS = "in brackets: what the column adds, beside the mean example, to "
_LEGEND: Final = MappingProxyType(
    {
        "class": f"{_ADDS}the logit of the predicted class",
        "labels": f"{_ADDS}the logit of the label that is named, the most wrong one",
        "number": f"{_ADDS}the number, of several the most wrong one, which is named, in its own unit",
    }
)
_TOLD = ("f1", "roc_auc", "roc_auc_macro", "log_loss", "subset_accuracy", "f1_macro", "mae", "r2")
"""The metrics in which simple models are shown, beside the headline."""


def _overall(evaluation: Evaluation, names: Sequence[str]) -> Table:
    """One row for each of these metrics."""
    table = grid()
    table.add_column("")
    table.add_column(evaluation.split, justify="right")
    if evaluation.resamples:
        table.add_column("95 % interval")
    for name in names:
        measure = evaluation.scores.overall[name]
        cells = [_value(measure), interval(measure)]
        table.add_row(name, *cells[: 1 + bool(evaluation.resamples)])
    return table


def _by(evaluation: Evaluation) -> tuple[str, Sequence[Measure]]:
    """The metric of classes, labels or numbers by which they are told apart."""
    each = evaluation.scores.each
    name = next(name for name in ("f1", "r2", *each) if name in each)
    return name, each[name]


def _each(evaluation: Evaluation, *, verbose: bool) -> Table:
    """One row for each class, label or number; the worst ones of many."""
    table = grid()
    table.add_column({"class": "class", "labels": "label", "number": "number"}[evaluation.target])
    for name in evaluation.scores.each:
        table.add_column(name, justify="right")
    rows = range(len(evaluation.classes))
    if not verbose and len(rows) > MOST_CLASSES:
        by = [each.value for each in _by(evaluation)[1]]
        rows = sorted(rows, key=lambda row: (np.isnan(by[row]), by[row]))[:MOST_CLASSES]
    for row in rows:
        values = [each[row] for each in evaluation.scores.each.values()]
        table.add_row(escape(evaluation.classes[row]), *map(_value, values))
    return table


def _mistakes(confusion: np.ndarray, classes: Sequence[str], most: int | None) -> Iterator[str]:
    """Which class is taken for which, the most frequent first."""
    pairs = confused_pairs(confusion)
    if not pairs:
        return
    said = [f"{escape(classes[true])} for {escape(classes[guess])} ({count:,})" for true, guess, count in pairs[:most]]
    left = sum(count for *_, count in pairs[len(said) :])
    more = f", others ({left:,})" if left else ""
    yield f"mistakes ({sum(count for *_, count in pairs):,}): took {', '.join(said)}{more}"


def _calibration(evaluation: Evaluation, *, verbose: bool) -> Iterator[RenderableType]:
    """How often it is right when it is so sure; in a sentence the bin with the most weight in the error."""
    reliability = evaluation.scores.reliability
    assert reliability is not None
    filled = np.flatnonzero(reliability.count)
    if not len(filled):
        return
    gap = np.where(reliability.count > 0, reliability.count * np.abs(reliability.confidence - reliability.right), 0)
    largest = int(np.argmax(np.nan_to_num(gap)))
    low, high = reliability.edges[largest], reliability.edges[largest + 1]
    count, average, right = (values[largest] for values in (reliability.count, reliability.confidence, reliability.right))
    labels = evaluation.target == "labels"
    if labels:
        said = f"{count:,} labels of examples that it holds for {low:.0%} to {high:.0%} probable ({average:.1%} on average) {right:.1%} are there"
    else:
        said = (
            f"{count:,} examples of which it is {low:.0%} to {high:.0%} sure ({average:.1%} on average) {right:.1%} are right"
        )
    yield f"calibration: of {said}"
    if verbose:
        table = grid()
        for header in ("probability", "labels", "mean", "there") if labels else ("confidence", "examples", "mean", "right"):
            table.add_column(header, justify="right")
        for place in filled.tolist():
            low, high = reliability.edges[place], reliability.edges[place + 1]
            cells = (reliability.confidence[place], reliability.right[place])
            table.add_row(f"{low:.2f} to {high:.2f}", f"{reliability.count[place]:,}", *(f"{cell:.3f}" for cell in cells))
        yield table


def _residuals(evaluation: Evaluation) -> Table:
    """Quantiles of prediction minus truth, one row for each number."""
    assert evaluation.scores.residuals is not None
    quantiles = evaluation.scores.residuals.quantiles
    table = grid()
    table.add_column("prediction - truth")
    for name in quantiles:
        table.add_column(f"{float(name):.0%}", justify="right")
    for row, target in enumerate(evaluation.classes):
        table.add_row(escape(target), *(number(values[row]) for values in quantiles.values()))
    return table


def _slices(evaluation: Evaluation) -> Table:
    """One row for each slice, with the metrics that matter and the interval of the first."""
    table = grid()
    for header in ("slice", ""):
        table.add_column(header)
    table.add_column("examples", justify="right")
    shown = [
        evaluation.headline,
        *(name for name in _TOLD if name in evaluation.slices[0].overall and name != evaluation.headline),
    ]
    table.add_column(shown[0], justify="right")
    table.add_column("95 % interval")
    for name in shown[1:]:
        table.add_column(name, justify="right")
    for each in evaluation.slices:
        first, *rest = (each.overall[name] for name in shown)
        table.add_row(
            escape(each.column), escape(each.value), f"{each.examples:,}", _value(first), interval(first), *map(_value, rest)
        )
    return table


def _importance(evaluation: Evaluation) -> Iterator[RenderableType]:
    """What shuffling a column costs."""
    yield f"by how much {evaluation.headline} gets worse when a column is shuffled among the examples:"
    table = grid(header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    for each in evaluation.importance:
        table.add_row(escape(each.column), number(each.mean), f"± {number(each.deviation)}")
    yield table


def _worst(evaluation: Evaluation, console: Console) -> Iterator[RenderableType]:
    """The examples with the highest losses: pictures where the terminal can, rows as rows."""
    examples = evaluation.worst
    yield "most wrong about:"
    if examples[0].picture is not None and can_show(console):
        yield _pictures(examples)
        return
    told, sure = any(each.columns for each in examples), any(each.confidence is not None for each in examples)
    table = grid()
    table.add_column("row" if examples[0].file_row is None else "row of the file", justify="right")
    for header in ("truth", "predicted"):
        table.add_column(header)
    for header in ("confidence", "loss") if sure else ("loss",):
        table.add_column(header, justify="right")
    if told:
        table.add_column("", overflow="fold")
    for each in examples:
        place = each.row if each.file_row is None else each.file_row
        cells = [str(place), escape(each.truth), escape(each.predicted), *([_sure(each)] if sure else []), number(each.loss)]
        table.add_row(*cells, *([_explained(each, evaluation) + _row(each)] if told else []))
    yield from fitted(table, console) if console.width < NARROW else [table]


def _pictures(examples: Sequence[Example]) -> Pictures:
    """Each example, followed by its map where there is one."""
    pictures, captions = [], []
    for each in examples:
        if each.picture is None:
            continue
        pictures.append(each.picture)
        file = (each.columns or {}).get("file")
        place = f"row {each.row}" if file is None else PurePosixPath(file).name
        captions.append((place, each.truth, f"not {each.predicted} {_sure(each)}"))
        for method in list(each.saliency or {})[-1:]:
            pictures.append(heat((each.saliency or {})[method]))
            captions.append((method,))
    return Pictures(pictures, captions)


def _row(example: Example) -> str:
    """Its columns; the ones that its prediction depends on most come first, with what they add to it, where that is known."""
    columns, because = example.columns or {}, example.because or {}
    names = [name for name in because if name in columns] or list(columns)
    added = {name: f" ({because[name]:+.2g})" for name in names if name in because}
    shown = [f"{escape(name)}={escape(cut(columns[name]))}{added.get(name, '')}" for name in names[:MOST_COLUMNS]]
    return " ".join(shown) + (" ..." if len(columns) > MOST_COLUMNS else "")


def _explained(example: Example, evaluation: Evaluation) -> str:
    """The output that the row's figures explain, where there are several that are no classes."""
    several = evaluation.target != "class" and len(evaluation.classes) > 1
    return f"{escape(example.explained)}: " if several and example.explained is not None else ""


def _sure(example: Example) -> str:
    return "" if example.confidence is None else f"{example.confidence:.0%}"


def _value(measure: Measure) -> str:
    return "undefined" if np.isnan(measure.value) else number(measure.value)


def interval(measure: Measure) -> str:
    """`0.973 to 0.989`; nothing where none was drawn, or the metric is not defined."""
    if measure.low is None or measure.high is None or np.isnan(measure.low) or np.isnan(measure.high):
        return ""
    return f"{number(measure.low)} to {number(measure.high)}"
