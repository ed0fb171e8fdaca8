"""What a range test looks like: curves that can be seen, also where nothing falls, and what is to be set."""

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from dlx.config.schedule import Constant, Triangular
from dlx.diagnose.range_curve import RangeCurve, RangeFound, RangeTest, Skips, read_curves
from dlx.report.lr_find import draw_range, range_json, range_lines

TEST = RangeTest(1e-5, 1.0, 50, seeds=2)


def found(*curves: np.ndarray, schedule=Constant(), labels=("",), test=TEST) -> RangeFound:  # noqa: B008 (frozen)
    made = [RangeCurve(test.ladder, np.stack([curve] * 2), np.stack([curve] * 2)) for curve in curves]
    return read_curves(test, labels, made, schedule, Skips())


def falling(middle: float = -3) -> np.ndarray:
    x = np.log10(TEST.ladder)
    return 2.3 - 2 / (1 + np.exp(-(x - middle) * 4)) + 50 * np.maximum(x + 0.5, 0) ** 2


RISING = np.linspace(0.3, 3.0, 50)


def printed(result: RangeFound, width: int = 100) -> list[str]:
    console = Console(width=width, record=True, file=StringIO())
    for line in range_lines(result, "abcd1234", Path("range-test.png"), None):
        console.print(line)
    return console.export_text().splitlines()


def test_a_fall_is_shown_without_the_explosion_behind_it_and_with_what_is_recommended():
    result = found(falling())
    lines = printed(result)
    rate = f"{result.findings[0].reading.recommended:.2g}"
    assert any(line.strip().startswith("lr 1e-05") and f"▲ {rate}" in line for line in lines)
    low, high = draw_range(result).axes[0].get_ylim()
    assert low < 0.3
    assert 2.3 < high < 3.5
    assert any(line == f"to set      optimizer.lr={result.findings[0].changes['optimizer.lr']:g}" for line in lines)


def test_where_nothing_falls_the_curve_is_shown_all_the_same():
    result = found(RISING)
    lines = printed(result)
    rows = [line for line in lines if "┤" in line or "│" in line]
    assert sum(len(row.partition("┤")[2].strip() or row.partition("│")[2].strip()) > 0 for row in rows) == 8
    assert any(line.startswith("no falling region: ") for line in lines)
    low, high = draw_range(result).axes[0].get_ylim()
    assert low < 0.3
    assert high > 0.59  # up to twice the start


def test_no_number_at_all_is_told_and_drawn_as_nothing():
    result = found(np.full(50, np.inf))
    assert "no rate came to a number" in "\n".join(printed(result))
    draw_range(result)


def test_cyclical_bounds_say_what_they_are():
    (line,) = (line for line in printed(found(falling(), schedule=Triangular()), 120) if line.startswith("to set"))
    assert line.endswith("(the upper bound, and the lower one as a part of it)")


def test_compared_curves_have_a_line_each_and_equal_ones_can_all_be_seen():
    result = found(falling(), falling(), RISING, labels=("a=1", "a=2", "a=3"))
    lines = printed(result)
    assert [line.split()[0] for line in lines[2:5]] == ["a=1", "a=2", "a=3"]
    assert any(line.startswith("a=3: no falling region") for line in lines)
    axes = draw_range(result).axes[0]
    widths = [line.get_linewidth() for line in axes.get_lines() if line.get_label() in ("a=1", "a=2", "a=3")]
    assert widths == sorted(widths, reverse=True)
    assert len(set(widths)) == 3


@pytest.mark.parametrize("width", [30, 50])
def test_narrow_terminals_cut_no_word(width):
    assert all(len(line) <= width for line in printed(found(falling()), width))


def test_json_has_the_reading_once_or_one_for_each():
    single = range_json(found(falling()), "abcd1234", Path("p/range-test.png"), None)
    assert single["found"] is True
    assert {"set", "recommended", "suggestions", "base", "peak"} <= single.keys()
    assert single["curves"] == "p/range-test.json"
    several = range_json(found(falling(), RISING, labels=("a", "b")), "abcd1234", Path("p/range-test.png"), None)
    assert several["found"] is False
    assert [each["label"] for each in several["compared"]] == ["a", "b"]
