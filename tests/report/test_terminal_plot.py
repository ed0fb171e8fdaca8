"""A curve in a terminal: as wide as there is room, unbroken, plain where it must be."""

import io
import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from rich.console import Console

from dlx.report.terminal_plot import WIDEST, TerminalPlot, extents

RAMP = [step / 99 for step in range(100)]


def shown(plot: TerminalPlot, width: int = 60, encoding: str = "utf8", terminal: bool = False) -> list[str]:
    """The lines as they are written."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="")
    console = Console(file=file, width=width, force_terminal=terminal, highlight=False, no_color=not terminal)
    console.print(plot)
    file.flush()
    return raw.getvalue().decode(encoding).splitlines()


def plot(values: Sequence[float], floor: float | None = None, rows: int = 8) -> TerminalPlot:
    return TerminalPlot(values, "step 0", f"step {len(values) - 1}", rows, floor)


def columns(lines: list[str]) -> list[list[int]]:
    """For each column of characters, the rows from the top in which something is drawn."""
    curves = [line.partition("|")[2] for line in lines[:-2]]
    width = max(map(len, curves))
    return [[row for row, text in enumerate(curves) if text[column : column + 1].strip()] for column in range(width)]


def test_a_straight_line_goes_from_corner_to_corner() -> None:
    lines = shown(plot(RAMP))
    assert len(lines) == 10
    assert lines[0].startswith("1 ┤")
    assert lines[0][-1] not in " \N{BRAILLE PATTERN BLANK}"
    assert lines[7].startswith("0 ┤⣀")
    assert lines[8].startswith("  └──")
    assert lines[9].split() == ["step", "0", "step", "99"]


@pytest.mark.parametrize("width", [14, 20, 50, 80, 200])
@pytest.mark.parametrize("encoding", ["utf8", "ascii"])
def test_no_line_is_wider_than_the_terminal_nor_than_is_readable(width: int, encoding: str) -> None:
    for values in (RAMP, [1e-7] * 3, [0.00012345, 1e-9]):
        assert max(map(len, shown(plot(values), width, encoding))) <= min(width, WIDEST)


def test_without_unicode_the_line_is_stars() -> None:
    lines = shown(plot(RAMP), encoding="ascii")
    assert lines[7].startswith("0 |*")
    assert lines[0].endswith("*")


@pytest.mark.parametrize("values", [[0, 1] * 10, [0, 0, 9, 9, 3], RAMP, [0, 1] * 5000, np.sin(np.arange(5000) / 100).tolist()])
def test_the_line_is_unbroken_through_every_jump(values: list[float]) -> None:
    drawn = columns(shown(plot(values), encoding="ascii"))
    assert all(drawn)
    for rows in drawn:
        assert rows == list(range(rows[0], rows[-1] + 1))
    for left, right in itertools.pairwise(drawn):
        assert left[0] - 1 <= right[-1]
        assert right[0] - 1 <= left[-1]


def test_what_cannot_be_drawn_is_a_gap() -> None:
    drawn = columns(shown(plot([0.0, 1.0, math.nan, math.inf, 1.0, 0.0]), encoding="ascii"))
    gap = [column for column, rows in enumerate(drawn) if not rows]
    assert len(gap) == pytest.approx(len(drawn) / 3, abs=2)
    for values in ([math.nan], [math.inf, -math.inf]):
        assert shown(plot(values))[0].split() == ["nan", "\N{BOX DRAWINGS LIGHT VERTICAL AND LEFT}"], "no number is made up"
        assert len(shown(plot(values))) == 10


def test_what_is_not_finite_hides_no_neighbour() -> None:
    values = [math.inf, 1.0, -math.inf, 0.5] * 50
    low, high = extents(np.array(values), 10)
    np.testing.assert_array_equal((low, high), ([0.5] * 10, [1.0] * 10))
    assert all(columns(shown(plot(values, rows=2), encoding="ascii")))


def test_the_largest_and_the_smallest_numbers_have_their_places() -> None:
    drawn = columns(shown(plot([-1.7e308, 1.7e308]), encoding="ascii"))
    assert (drawn[0], drawn[-1]) == ([7], [0])


def test_single_points_stand_at_their_own_places() -> None:
    points = [(0.0, 3.0), (0.5, 0.0), (0.5, 2.0), (1.0, math.nan)]
    lines = shown(TerminalPlot([0.0, 0.0], "", "", 3, over=points), encoding="ascii")
    top, middle, bottom = (line.partition("|")[2] for line in lines[:3])
    assert (top[0], middle.strip(), bottom.count("o")) == ("o", "o", 0), "two of one column are one in their middle"
    assert middle.index("o") == pytest.approx((len(lines[3].partition("+")[2]) - 1) / 2, abs=1)


@pytest.mark.parametrize(
    ("values", "floor", "ends"), [([2, 2, 2], 0.0, ("2", "0")), ([3, 4], 0.0, ("4", "0")), ([3, 4], None, ("4", "3"))]
)
def test_the_numbers_beside_it_are_those_of_the_axis(values: list[float], floor: float | None, ends: tuple[str, str]) -> None:
    lines = shown(plot(values, floor))
    assert (lines[0].split()[0], lines[7].split()[0]) == ends


def test_colours_only_on_a_terminal() -> None:
    assert any("\x1b[36m" in line for line in shown(plot(RAMP), terminal=True))
    assert not any("\x1b" in line for line in shown(plot(RAMP)))


def test_extents_are_those_of_each_stretch() -> None:
    low, high = extents(np.array([3.0, 1.0, 2.0, math.nan, math.nan, math.nan]), 2)
    np.testing.assert_array_equal(low, [1, math.nan])
    np.testing.assert_array_equal(high, [3, math.nan])
    low, high = extents(np.array([5.0, 6.0]), 4)
    np.testing.assert_array_equal(low, [5, 5, 6, 6])
    np.testing.assert_array_equal(high, low)
    values = np.random.default_rng(0).normal(size=1003)
    low, high = extents(values, 10)
    assert (low.min(), high.max()) == (values.min(), values.max())
