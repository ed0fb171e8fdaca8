"""What an evaluation found, as pictures for TensorBoard: those of the report page, and the worst examples in one."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dlx.evaluation.results import Evaluation, Example
from dlx.report.figures import SMALL, new_figure, short, style
from dlx.report.html.judgement import confusion_matrix, reliability_diagram, residual_plot
from dlx.report.html.picture import Drawing

_ROW: Final = 5
"""Examples beside each other."""
_MOST: Final = 20
"""Examples, at most."""


def evaluation_figures(evaluation: Evaluation) -> Iterator[tuple[str, Figure]]:
    """Each picture that there is something for, by its name."""
    scores, ece = evaluation.scores, evaluation.scores.overall.get("ece")
    drawings: dict[str, Drawing | None] = {}
    if scores.confusion is not None:
        drawings["confusion_matrix"] = confusion_matrix(scores.confusion, evaluation.classes)
    if scores.reliability is not None:
        drawings["reliability"] = reliability_diagram(scores.reliability, None if ece is None else ece.value)
    if scores.residuals is not None:
        drawings["residuals"] = residual_plot(scores.residuals, evaluation.classes)
    yield from ((name, drawing.figure) for name, drawing in drawings.items() if drawing is not None)
    if pictured := [each for each in evaluation.worst if each.picture is not None][:_MOST]:
        yield "worst_examples", worst_examples(pictured)


def pixels(figure: Figure) -> np.ndarray:
    """The figure as (height, width, 3) uint8."""
    canvas = FigureCanvasAgg(figure)
    with style():
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def worst_examples(examples: Sequence[Example]) -> Figure:
    """The pictures of examples, each under what it is and what the network takes it for."""
    rows = -(-len(examples) // _ROW)
    with style():
        figure = new_figure(1.8 * _ROW, 2.3 * rows)
        panels = figure.subplots(rows, _ROW, squeeze=False).ravel()
        for axes in panels:
            axes.set_axis_off()
        for axes, example in zip(panels, examples, strict=False):
            picture = np.asarray(example.picture)
            axes.imshow(picture.squeeze(-1) if picture.shape[-1] == 1 else picture[..., :3], cmap="gray", vmin=0, vmax=255)
            sure = "" if example.confidence is None else f" {example.confidence:.0%}"
            words = f"row {example.row}: {short(example.truth, 14)}\n→ {short(example.predicted, 14)}{sure}"
            axes.set_title(words, fontsize=SMALL)
    return figure
