"""The look that all of dlx's pictures share: colours, axes, ticks, titles; and how a picture becomes a file."""

import contextlib
import itertools
import warnings
from collections.abc import Generator, Sequence
from pathlib import Path

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter

from dlx.report.files import whole_file

# Okabe and Ito's colours, which the color-blind can tell apart.
BLUE, ORANGE, VERMILLION, GREEN, BLACK, GREY = "#0072B2", "#E69F00", "#D55E00", "#009E73", "#000000", "#7A7A7A"

SMALL = 8
"""Points of the smallest text."""


@contextlib.contextmanager
def style() -> Generator[None]:
    """Matplotlib's own look, whatever the user's settings are; no warning of a name in a script that the font lacks."""
    with matplotlib.style.context("default"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


def new_figure(width: float, height: float) -> Figure:
    """A white one, in inches, whose layout leaves room for its texts."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def new_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of one panel."""
    figure = new_figure(width, height)
    return figure, dressed(figure.add_subplot())


def dressed(axes: Axes) -> Axes:
    """The panel with light lines, small ticks and plain numbers."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color="#DDDDDD", lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=SMALL + 1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PlainTicks())
    return axes


def name_axes(axes: Axes, title: str, details: str, x: str, y: str) -> None:
    """The title's second line says what of it is drawn."""
    axes.set_title(f"{title}\n", loc="left", fontsize=12, fontweight="bold")
    line = axes.annotate(details, (0, 1), (0, 7), "axes fraction", "offset points", annotation_clip=False)
    line.set(fontsize=SMALL + 1, color="#444444")
    axes.set_xlabel(x, fontsize=10)
    axes.set_ylabel(y, fontsize=10)


class PlainTicks(Formatter):
    """Ticks as `tick_labels` writes them: no offset and no power of ten above the axis."""

    def __call__(self, x: float, pos: int | None = None) -> str:  # noqa: ARG002
        return f"{x:.3g}"

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """All of an axis's, told apart."""
        return tick_labels([float(value) for value in values])


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Three significant digits, or as many as it takes to tell neighbours apart."""
    near = min(
        (abs(after - before) for before, after in itertools.pairwise(ticks)), default=0.05 * max(map(abs, ticks), default=0.0)
    )
    return [written(tick, 0.1 * near) for tick in ticks]


def written(value: float, tolerance: float) -> str:
    """Three significant digits, or as many as come this near to it; whole numbers below a million in full."""
    if abs(value) < 0.1 * tolerance:
        return "0"
    if 1000 <= abs(value) < 1e6 and value == int(value):
        return str(int(value))
    return next((text for n in range(3, 17) if abs(float(text := f"{value:.{n}g}") - value) <= tolerance), f"{value:.17g}")


def short(text: str, width: int = 40) -> str:
    """On one line, without its middle where it is long, and never a formula."""
    text = " ".join(text.encode("utf-8", "replace").decode().split())
    if len(text) > width:
        kept = width - 1
        text = f"{text[: kept // 2]}…{text[len(text) - (kept - kept // 2) :]}"
    return text.replace("$", r"\$")


def save(figure: Figure, path: Path) -> None:
    """As PNG; the file is the old picture or the new one, never half of it. Raises `CannotWriteError`."""
    with whole_file(path) as temporary, style():
        figure.savefig(temporary, format="png", dpi=150, facecolor="white")
