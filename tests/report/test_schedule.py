"""The picture and the table of a schedule, read back from what was drawn and written."""

import csv
import io
import math
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from rich.console import Console

from dlx.errors import CannotWriteError
from dlx.events import PlannedRates
from dlx.report.figures import save
from dlx.report.schedule import DRAWN, draw_schedule, files_in, schedule_json, schedule_lines, write_rates

HOSTILE = "mine $x^2$ [red]"


def plan(steps: int = 100, momentum: bool = False, per_epoch: int = 20) -> PlannedRates:
    rate = np.linspace(0.003, 0.0, steps, dtype=np.float32)
    rates = {"learning_rate": tuple(rate.tolist())}
    if momentum:
        rates["momentum"] = tuple(np.linspace(0.85, 0.95, steps, dtype=np.float32).tolist())
    return PlannedRates("linear", per_epoch, rates, ("the rate before any reduction",))


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text) if text.get_visible())


def printed(found: PlannedRates, width: int) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False)
    for line in schedule_lines(found, HOSTILE):
        console.print(line)
    return out.getvalue()


def test_one_panel_for_each_rate_over_steps_and_epochs() -> None:
    figure = draw_schedule(plan(momentum=True), "fashion-mlp")
    rate, momentum = figure.axes
    for axes, values in zip((rate, momentum), plan(momentum=True).rates.values(), strict=True):
        (line,) = axes.get_lines()
        np.testing.assert_array_equal(line.get_xydata(), np.stack([np.arange(100), values], axis=1))
    assert rate.get_ylim()[0] == 0
    assert 0.8 < momentum.get_ylim()[0] < 0.85
    assert (rate.get_ylabel(), momentum.get_ylabel(), momentum.get_xlabel()) == ("learning rate", "momentum", "step")
    (epochs,) = momentum.child_axes
    figure.draw_without_rendering()
    assert epochs.get_xlabel() == "epoch"
    assert np.array(epochs.get_xlim()) == pytest.approx(np.array(momentum.get_xlim()) / 20)
    assert "fashion-mlp: learning rate and momentum" in words(figure)
    assert "linear over 100 steps, 20 an epoch" in words(figure)


def test_a_rate_alone_has_one_panel() -> None:
    assert len(draw_schedule(plan(), "a").axes) == 1


@pytest.mark.parametrize("steps", [1, 2, 40])
def test_few_steps_are_marked(steps: int) -> None:
    (line,) = draw_schedule(plan(steps), "a").axes[0].get_lines()
    assert line.get_marker() == "."
    assert len(line.get_xydata()) == steps


def test_many_steps_are_drawn_with_their_extremes() -> None:
    rates = np.full(100_000, 0.5)
    rates[777], rates[778] = 1.0, 0.1
    (line,) = draw_schedule(PlannedRates("x", 10, {"learning_rate": tuple(rates)}), "a").axes[0].get_lines()
    drawn = np.asarray(line.get_ydata())
    assert len(drawn) <= DRAWN
    assert (drawn.min(), drawn.max()) == (0.1, 1.0)


@pytest.mark.parametrize(
    "found", [plan(1), plan(3, momentum=True, per_epoch=1000), PlannedRates("x", 5, {"learning_rate": (math.inf, math.nan)})]
)
def test_nothing_is_cut_off_and_strange_names_are_shown(found: PlannedRates, tmp_path: Path) -> None:
    figure = draw_schedule(found, HOSTILE)
    figure.draw_without_rendering()
    width, height = figure.get_size_inches()
    box = figure.get_tightbbox()
    assert min(box.x0, box.y0) > -0.02
    assert box.x1 < width + 0.02
    assert box.y1 < height + 0.02
    save(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_has_a_row_for_each_step_that_reads_back_exactly(tmp_path: Path) -> None:
    found = plan(50, momentum=True)
    write_rates(found, tmp_path / "a.csv")
    header, *rows = list(csv.reader((tmp_path / "a.csv").read_text().splitlines()))
    assert header == ["step", "epoch", "learning_rate", "momentum"]
    assert [int(row[0]) for row in rows] == list(range(50))
    assert [float(row[1]) for row in rows] == pytest.approx(np.arange(50) / 20)
    for column, values in zip((2, 3), found.rates.values(), strict=True):
        np.testing.assert_array_equal(np.float32([row[column] for row in rows]), np.float32(values))
    assert rows[0][2:] == ["0.003", "0.85"]


def test_a_file_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWriteError, match="cannot be made a folder"):
        files_in(tmp_path / "file", "a")
    full = patch.object(Path, "replace", side_effect=OSError(28, "No space left on device"))
    with full, pytest.raises(CannotWriteError, match="No space left"):
        write_rates(plan(), tmp_path / "a.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_numbers_in_words_and_as_json() -> None:
    text = " ".join(printed(plan(momentum=True), 50).split())
    assert f"{HOSTILE}: linear over 100 steps, 20 an epoch" in text
    assert "learning rate: first 0.003, highest 0.003 (step 0), lowest 0 (step 99), last 0" in text
    assert "step 99, epoch 5.0" in text
    assert "the rate before any reduction" in text
    tree = schedule_json(plan(momentum=True), Path("/a.png"), Path("/a.csv"))
    assert tree["momentum"] == {"first": 0.85, "peak": 0.95, "lowest": 0.85, "last": 0.95, "peak_step": 99, "lowest_step": 0}
    assert (tree["png"], tree["csv"], tree["steps"], tree["steps_per_epoch"]) == ("/a.png", "/a.csv", 100, 20)


def test_a_constant_rate_is_said_once() -> None:
    assert "learning rate: 0.1 at every step" in printed(PlannedRates("constant", 5, {"learning_rate": (0.1, 0.1)}), 80)


@pytest.mark.parametrize("width", [20, 50, 200])
def test_a_terminal_may_be_narrow(width: int) -> None:
    assert max(map(len, printed(plan(), width).splitlines())) <= width
