"""Learning curves: of one run training against validation with the learning rate below; of several runs over each other."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from rich.cells import cell_len

from dlx.report.figures import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION, PlainTicks, dressed, new_figure, short, style
from dlx.report.html.picture import Drawing
from dlx.report.words import number, plural

Curves = Mapping[str, Sequence[tuple[int, float]]]
"""By metric (`validation/loss`) the values as (step, value), in order of step."""

DRAWN: Final = 400
"""Points of a line, at most: longer ones are drawn as the lowest and the highest value of each stretch."""
MARKED: Final = 60
"""Points of a line that can be pointed at, at most."""
RATE: Final = "train/learning_rate"
COMPARED: Final = 24
"""Runs whose curves are drawn over each other, at most."""
BEYOND: Final = 1000.0
"""Times the usual range: a line whose best value is farther off may be out of the picture altogether."""
_SPLITS: Final = (("train", BLUE), ("validation", ORANGE), ("test", GREEN))
_COLORS: Final = (BLUE, ORANGE, GREEN, VERMILLION, BLACK, GREY)
_DASHES: Final = ("-", "--", ":", "-.")
_WIDTH: Final = 5.6
_LARGEST: Final = 1e100


@dataclass(frozen=True)
class Line:
    """One line of a panel."""

    label: str
    x: np.ndarray
    y: np.ndarray
    color: str
    dashes: str = "-"


@dataclass(frozen=True)
class Panel:
    """Lines over each other, of one metric."""

    metric: str
    lines: Sequence[Line]
    height: float = 2.2
    may_be_log: bool = True


def run_curves(curves: Curves, monitor: str, best_step: float | None) -> Drawing | None:
    """Loss and monitored metric of training and validation, and the learning rate, over steps; None where nothing was stored."""
    metrics = list(dict.fromkeys(["loss", monitor.partition("/")[2]]))
    panels = [
        Panel(metric, lines)
        for metric in metrics
        if (
            lines := [
                Line(split, *_points(curves[f"{split}/{metric}"]), color)
                for split, color in _SPLITS
                if curves.get(f"{split}/{metric}")
            ]
        )
    ]
    if not panels:
        return None
    seen = [_told(line, panel.metric, "step") for panel in panels for line in panel.lines]
    if curves.get(RATE):
        rate = Line("learning rate", *_points(curves[RATE]), GREY)
        panels.append(Panel("learning rate", [rate], height=1.1, may_be_log=False))
        seen.append(f"the learning rate goes from {number(rate.y[0])} to {number(rate.y[-1])}")
    figure, hovers = _draw(panels, "step", best_step)
    return Drawing(figure, f"By step: {', '.join(metrics)} and the learning rate", "; ".join(seen), hovers)


def compared_curves(runs: Sequence[tuple[str, Curves, int]], monitors: Sequence[str]) -> Drawing | None:
    """Of several runs (name, curves, steps of an epoch) the validation loss and the monitored metrics over epochs.

    None where no run stored any of them.
    """
    shown = runs[:COMPARED]
    panels = []
    for metric in dict.fromkeys(["validation/loss", "train/loss", *monitors]):
        lines = [
            Line(name, x / max(1, per_epoch), y, _COLORS[at % len(_COLORS)], _DASHES[at // len(_COLORS)])
            for at, (name, curves, per_epoch) in enumerate(shown)
            for x, y in [_points(curves.get(metric, ()))]
            if len(x)
        ]
        if lines:
            panels.append(Panel(metric, lines, height=2.6))
    if not panels:
        return None
    seen = [_told(line, f"of {panel.metric}", "epoch") for panel in panels for line in panel.lines]
    figure, hovers = _draw(panels, "epoch", None)
    title = "By epoch" + (f", the first {len(shown)} of {plural(len(runs), 'run')}" if len(runs) > len(shown) else "")
    return Drawing(figure, title, "; ".join(seen), hovers)


def _draw(panels: Sequence[Panel], axis: str, best_step: float | None) -> tuple[Figure, dict[str, str | Sequence[str]]]:
    hovers: dict[str, str | Sequence[str]] = {}
    handles: dict[str, Artist] = {}
    with style():
        heights = [panel.height for panel in panels]
        figure = new_figure(_WIDTH, sum(heights))
        axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for at, (panel, drawn) in enumerate(zip(panels, axes, strict=True)):
            _set_scale(dressed(drawn), panel)
            drawn.set_ylabel(short(panel.metric, 28), fontsize=10)
            for line in panel.lines:
                gid = f"line {at} {len(hovers)}"
                handle, words = _draw_line(drawn, line, panel.metric, axis, gid)
                hovers |= words
                if line.label != "learning rate":
                    handles.setdefault(line.label, handle)
            if best_step is not None:
                handles["best weights"] = drawn.axvline(best_step, color=GREEN, lw=1, ls=":", zorder=1.5)
        last = axes[-1]
        last.set_xlabel(axis, fontsize=10)
        whole = axis == "step" or all((line.x == np.rint(line.x)).all() for panel in panels for line in panel.lines)
        last.xaxis.set_major_locator(MaxNLocator(6, integer=whole, steps=[1, 2, 5, 10], min_n_ticks=1))
        # Not by their labels: Matplotlib hides those that begin with an underscore, and a run may be called so.
        names = [short(label, 27) for label in handles]
        columns = _columns(names)
        figure.legend(handles.values(), names, loc="outside upper left", ncols=columns, frameon=False, fontsize=9)
        figure.set_size_inches(_WIDTH, sum(heights) + 0.7 + 0.2 * math.ceil(len(names) / columns))
    return figure, hovers


def _columns(names: Sequence[str]) -> int:
    """Of a legend: as many as fit beside each other into the figure, at most four."""

    def width(columns: int) -> float:
        parts = np.array_split(np.array(names, object), columns)
        return sum(0.6 + 0.08 * max(map(cell_len, part)) for part in parts if len(part))

    return next((columns for columns in (4, 3, 2) if width(columns) <= _WIDTH), 1)


def _draw_line(axes: Axes, line: Line, metric: str, axis: str, gid: str) -> tuple[Artist, dict[str, Sequence[str]]]:
    """The line, and points that say their values when pointed at: what they say."""
    x, y = _thinned(line.x, line.y)
    (drawn,) = axes.plot(x, y, color=line.color, ls=line.dashes, lw=1.6, label=line.label)
    low, high = sorted(axes.get_ylim())
    inside = np.flatnonzero(np.isfinite(line.y) & (line.y >= low) & (line.y <= high))
    marked = inside[np.unique(np.linspace(0, len(inside) - 1, min(MARKED, len(inside))).round().astype(int))]
    if not len(marked):
        return drawn, {}
    (dots,) = axes.plot(line.x[marked], line.y[marked], "o", ls="", gid=gid, label="_")
    dots.set(ms=2.6 if len(line.x) <= MARKED else 0.1, mew=7, mec=(0, 0, 0, 0), mfc=line.color)
    words = [f"{line.label}, {axis} {number(line.x[at])}: {metric} {number(line.y[at])}" for at in marked]
    return drawn, {gid: words}


def _set_scale(axes: Axes, panel: Panel) -> None:
    """Limits by the bulk of the values, so that a line that diverges leaves the picture; logarithmic over two decades."""
    each = [known for line in panel.lines if len(known := line.y[np.isfinite(line.y)])]
    if not each:
        axes.set_ylim(0, 1)
        return
    values = np.concatenate(each)
    low, high = float(values.min()), float(values.max())
    usual = float(np.percentile(values, 90, method="higher"))
    # Of a line that is worse than the bulk, such as a run of few evaluations, the best is in the picture; far beyond, it diverged.
    usual = max([usual, *(best for line in each if (best := float(line.min())) - low < BEYOND * (usual - low))])
    if high - low > 20 * (usual - low) > 0:
        high = low + 5 * (usual - low)
    if panel.may_be_log and 0 < 100 * low < high:
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(max(low / 1.2, high * 1e-6), high * 1.2)
    else:
        margin = 0.06 * (high - low) or 0.05 * abs(low) or 0.5
        axes.set_ylim(0 if low >= 0 and low - margin < 0 else low - margin, high + margin)
    axes.yaxis.set_major_formatter(PlainTicks())


def _points(curve: Sequence[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values; what cannot be drawn is NaN."""
    pairs = np.array([(step, value if abs(value) < _LARGEST else math.nan) for step, value in curve], float).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest value of each stretch, in their order, with the first and the last point."""
    if len(x) <= DRAWN:
        return x, y
    kept = {0, len(x) - 1}
    for part in np.array_split(np.arange(len(x)), DRAWN // 2):
        finite = part[np.isfinite(y[part])]
        kept |= {int(finite[np.argmin(y[finite])]), int(finite[np.argmax(y[finite])])} if len(finite) else {int(part[0])}
    at = np.array(sorted(kept))
    return x[at], y[at]


def _told(line: Line, metric: str, axis: str) -> str:
    """`validation loss falls from 1.767 to 0.1143 by step 600`."""
    finite = np.flatnonzero(np.isfinite(line.y))
    if not len(finite):
        return f"{line.label} {metric} is never a finite number"
    first, last = float(line.y[finite[0]]), float(line.y[finite[-1]])
    where = f"{axis} {number(line.x[finite[-1]])}"
    if len(finite) == 1 or first == last:
        return f"{line.label} {metric} is {number(last)} at {where}"
    return f"{line.label} {metric} {'rises' if last > first else 'falls'} from {number(first)} to {number(last)} by {where}"
