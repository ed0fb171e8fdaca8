"""Pictures of what networks make and see: as figures and pixels for pages and files, as lines and blocks for a terminal."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from rich.console import Console, RenderableType
from rich.markup import escape

from dlx.evaluation.gallery.pictures import HeatMap, Images, Lines, Scatter, Texts
from dlx.report.figures import BLACK, BLUE, GREEN, GREY, ORANGE, SMALL, VERMILLION, new_axes, short, style
from dlx.report.tables import grid
from dlx.report.terminal_picture import Pictures, can_show

GAP: Final = 2
"""Pixels between the pictures of a grid."""
COLORS: Final = (BLUE, ORANGE, GREEN, VERMILLION, BLACK, GREY, "#CC79A7", "#56B4E9", "#F0E442", "#8C564B")
CUT: Final = 24
"""Characters of a token beside a map of attention."""


def pixels(images: Images) -> np.ndarray:
    """The whole grid as one picture (height, width, 1 or 3) uint8, with a white line between pictures."""
    return np.concatenate([row_pixels(row, first=not at) for at, row in enumerate(images.grid)], 0)


def row_pixels(row: np.ndarray, *, first: bool = True) -> np.ndarray:
    """One row of pictures (columns, height, width, channels) of 0..1 beside each other; a white line above all but the first."""
    ready = np.rint(255 * np.asarray(row, np.float64).clip(0, 1)).astype(np.uint8)
    spaced = [
        np.pad(each, ((0 if first else GAP, 0), (GAP if at else 0, 0), (0, 0)), constant_values=255)
        for at, each in enumerate(ready)
    ]
    return np.concatenate(spaced, 1)


def figure_of(picture: HeatMap | Lines | Scatter) -> Figure:
    """The picture as a figure."""
    with style():
        match picture:
            case HeatMap():
                return _heat_map(picture)
            case Lines():
                return _lines(picture)
            case Scatter():
                return _scatter(picture)


def gallery_lines(picture: Images | Texts, console: Console) -> Iterator[RenderableType]:
    """For a terminal: words as a table, small pictures in colours where it has them, or else nothing."""
    match picture:
        case Texts():
            table = grid()
            for name in picture.columns:
                table.add_column(name, overflow="fold")
            for row in picture.rows:
                table.add_row(*map(escape, row))
            yield table
        case Images() if can_show(console):
            shown = np.round(np.clip(picture.grid[:, :8], 0, 1) * 255).astype(np.uint8)
            for row in shown[:4]:
                yield Pictures(list(row), [()] * len(row))


def _heat_map(picture: HeatMap) -> Figure:
    rows, columns = picture.values.shape
    figure, axes = new_axes(min(8.0, 1.6 + 0.32 * columns), min(8.0, 1.4 + 0.3 * rows))
    axes.grid(visible=False)
    axes.imshow(picture.values, cmap="viridis", vmin=0, aspect="auto")
    for axis, names in ((axes.xaxis, picture.column_names), (axes.yaxis, picture.row_names)):
        axis.set_major_locator(FixedLocator(range(len(names))))
        axis.set_minor_locator(NullLocator())
        axis.set_ticklabels([short(name, CUT) for name in names])
    axes.tick_params(axis="x", labelrotation=60, labelsize=SMALL)
    axes.tick_params(axis="y", labelsize=SMALL)
    return figure


def _lines(picture: Lines) -> Figure:
    figure, axes = new_axes(7.2, 3.2)
    for (name, values), color in zip(picture.series.items(), COLORS, strict=False):
        axes.plot(picture.x, values, color=color, lw=1.2, label=short(name))
    axes.set_xlabel(short(picture.x_name), fontsize=10)
    axes.set_ylabel(short(picture.y_name), fontsize=10)
    axes.legend(fontsize=SMALL, frameon=False)
    return figure


def _scatter(picture: Scatter) -> Figure:
    figure, axes = new_axes(5.6, 5.0)
    for group, name in enumerate(picture.names):
        chosen = picture.points[picture.groups == group]
        axes.scatter(chosen[:, 0], chosen[:, 1], s=6, lw=0, color=COLORS[group % len(COLORS)], label=short(name, 16))
    axes.legend(fontsize=SMALL, frameon=False, markerscale=2, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
