"""Learning curves and confusion matrices in a terminal: narrow, plain, with holes and hostile names."""

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dlx.errors import Status
from dlx.report.run_plots import confusion_plots, curve_plots
from dlx.report.terminal_plot import WIDEST
from dlx.store import RunSummary

CURVES = {
    "train/loss": [(step, 1 / step) for step in range(10, 201, 10)],
    "validation/loss": [(step, 1.2 / step) for step in range(50, 201, 50)],
    "train/accuracy": [(step, 1 - 1 / step) for step in range(10, 201, 10)],
    "validation/accuracy": [(step, 0.9 - 1 / step) for step in range(50, 201, 50)],
    "train/learning_rate": [(step, 1e-3 * (200 - step)) for step in range(10, 201, 10)],
}


def a_run(monitor: str = "validation/accuracy") -> RunSummary:
    return RunSummary(
        id="abcd1234",
        name="night",
        status=Status.COMPLETED,
        message="",
        created=0.0,
        finished=None,
        heartbeat=0.0,
        step=200,
        epoch=20,
        steps_total=200,
        steps_per_epoch=10,
        lanes=1,
        lane=0,
        monitor=monitor,
        direction="maximize",
        host="vm",
        pid=1,
        metrics={},
        seconds_text="{}",
        runs_folder=Path("/r"),
        config_text="{}",
    )


def shown(lines: Any, width: int = 80, encoding: str = "utf8", terminal: bool = False) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="")
    console = Console(file=file, width=width, force_terminal=terminal, highlight=False, no_color=not terminal)
    for line in lines:
        console.print(line)
    file.flush()
    return raw.getvalue().decode(encoding)


def plots(text: str) -> list[str]:
    """The text in parts, each from a title to the labels below the plot."""
    parts: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith(("loss", "accuracy", "rmse", "learning rate")):
            parts.append([])
        parts[-1].append(line)
    return ["\n".join(part) for part in parts]


def test_loss_and_monitored_metric_stand_above_the_learning_rate() -> None:
    loss, accuracy, rate = plots(shown(curve_plots(a_run(), CURVES)))
    assert loss.startswith("loss  train line  validation o")
    assert accuracy.startswith("accuracy  train line  validation o")
    assert rate.startswith("learning rate\n")
    for plot in (loss, accuracy):
        assert sum(line.partition("│")[2].count("o") + line.partition("┤")[2].count("o") for line in plot.splitlines()) == 4
        assert plot.splitlines()[-1].split() == ["step", "10", "step", "200,", "epoch", "20.0"]
    assert len(plots(shown(curve_plots(a_run("validation/loss"), CURVES)))) == 2, "the loss is drawn once"


@pytest.mark.parametrize("count", [20, 60, 500])
@pytest.mark.parametrize("steps", [lambda at: 10 * at, lambda at: at**3], ids=["even", "uneven"])
def test_no_value_is_lost_between_two_places(count: int, steps: Any) -> None:
    values = [1.0] * count
    values[count // 2], values[count // 2 + 3] = 100.0, -50.0
    (loss,) = plots(
        shown(curve_plots(a_run("validation/loss"), {"train/loss": [(steps(at), v) for at, v in enumerate(values)]}))
    )
    rows = loss.splitlines()[1:9]
    assert (rows[0].split()[0], rows[7].split()[0]) == ("100", "-50")
    assert rows[0].partition("\N{BOX DRAWINGS LIGHT VERTICAL AND LEFT}")[2].strip()


@pytest.mark.parametrize("count", [3, 200])
def test_a_value_that_is_not_finite_is_a_gap(count: int) -> None:
    points = [(step, math.inf if step == 1 else 1 / (step + 1)) for step in range(count)]
    (loss,) = plots(shown(curve_plots(a_run("validation/loss"), {"train/loss": points})))
    assert (loss.splitlines()[1].split()[0], loss.splitlines()[8].split()[0]) == ("1", f"{1 / count:.4g}")


def test_validation_stands_where_it_was_measured() -> None:
    curves = {"train/loss": [(0, 0.0), (100, 0.0)], "validation/loss": [(0, 1.0), (25, 1.0), (100, 1.0)]}
    (loss,) = plots(shown(curve_plots(a_run("validation/loss"), curves)))
    top = loss.splitlines()[1].partition("┤")[2]
    places = [index for index, letter in enumerate(top) if letter == "o"]
    assert len(places) == 3
    assert places[1] / places[2] == pytest.approx(0.25, abs=0.02)
    assert places[0] == 0


@pytest.mark.parametrize("curves", [{}, {"train/loss": [(5, 1.0)]}, {"validation/rmse": [(5, math.nan), (9, math.inf)]}])
def test_few_values_or_none_are_no_error(curves: dict[str, Any]) -> None:
    text = shown(curve_plots(a_run("validation/rmse"), curves))
    assert text
    assert ("nothing was measured yet" in text) == (not curves)


def test_only_what_there_is_is_drawn() -> None:
    (loss,) = plots(shown(curve_plots(a_run(), {"validation/loss": CURVES["validation/loss"]})))
    assert loss.startswith("loss  validation line\n")


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("encoding", ["utf8", "ascii"])
@pytest.mark.parametrize("size", [2, 10, 40])
def test_nothing_is_wider_than_the_window(width: int, encoding: str, size: int, tmp_path: Path) -> None:
    text = shown([*curve_plots(a_run(), CURVES), *matrix(tmp_path, size)], width, encoding)
    assert max(map(len, text.splitlines())) <= width
    assert max(map(len, shown(curve_plots(a_run(), CURVES), width, encoding).splitlines())) <= WIDEST


def matrix(folder: Path, size: int, split: str = "test", names: list[str] | None = None) -> Any:
    counts = [
        [100 if row == column else 7 if column == (row + 1) % size else 0 for column in range(size)] for row in range(size)
    ]
    classes = names or [f"class {index}" for index in range(size)]
    write(folder, split, {"confusion": {"classes": classes, "counts": counts}})
    return confusion_plots(folder)


def write(folder: Path, split: str, tree: Any) -> None:
    (folder / "evaluations").mkdir(exist_ok=True)
    (folder / "evaluations" / f"{split}.json").write_text(tree if isinstance(tree, str) else json.dumps(tree))


def test_a_matrix_with_room_has_every_number(tmp_path: Path) -> None:
    lines = shown(matrix(tmp_path, 3, names=["cat", "dog", "[red]x[/]"])).splitlines()
    assert lines[0] == "confusion on test: truth in rows, prediction in columns, 321 examples"
    assert lines[1].split() == ["0", "1", "2"]
    assert lines[2].split() == ["cat", "0", "█100", "░", "7", "0"]
    assert lines[4].split() == ["[red]x[/]", "2", "░", "7", "0", "█100"]
    assert len({len(line) for line in lines[1:]}) == 1
    short = shown(matrix(tmp_path, 2, names=["a", "b"])).splitlines()
    assert short[1].split() == ["a", "b"]
    assert "#100" in shown(matrix(tmp_path, 2), encoding="ascii")


@pytest.mark.parametrize(("size", "width"), [(40, 200), (10, 40)])
def test_a_matrix_without_room_becomes_the_most_confused_pairs(size: int, width: int, tmp_path: Path) -> None:
    lines = shown(matrix(tmp_path, size), width, encoding="ascii").splitlines()
    assert f"{100 * size:,} of {107 * size:,} right" in " ".join(lines[:3])
    pairs = " ".join(" ".join(lines).split())
    assert "7 class 0 taken for class 1 (6.5 % of class 0) 7 class 1 taken for" in pairs
    assert pairs.count(" taken for ") == 10


def test_test_comes_before_validation_and_neither_is_needed(tmp_path: Path) -> None:
    assert list(confusion_plots(tmp_path)) == []
    assert "on validation" in shown(matrix(tmp_path, 2, "validation"))
    assert "on test" in shown(matrix(tmp_path, 2, "test"))
    write(tmp_path, "test", {"metrics": {}, "confusion": None})
    assert list(confusion_plots(tmp_path)) == [], "a regression has none"


@pytest.mark.parametrize(
    "tree",
    [
        "{",
        "[]",
        {"confusion": 3},
        {"confusion": {"classes": ["a"], "counts": [[1, 2]]}},
        {"confusion": {"classes": ["a", "b"], "counts": [[1], [2, 3]]}},
        {"confusion": {"classes": ["a"], "counts": [["x"]]}},
        {"confusion": {"classes": ["a"], "counts": [[-1]]}},
        {"confusion": {"classes": ["a"], "counts": [[1e400]]}},
    ],
)
def test_a_damaged_evaluation_is_one_sentence(tree: Any, tmp_path: Path) -> None:
    write(tmp_path, "test", tree)
    (line,) = confusion_plots(tmp_path)
    assert "test.json: no evaluation can be read there" in str(line)
    assert "`dlx evaluate` writes it anew" in str(line)


def test_a_class_without_an_example_is_no_division_by_zero(tmp_path: Path) -> None:
    write(tmp_path, "test", {"confusion": {"classes": ["a", "b\x1b[2J"], "counts": [[0, 0], [0, 0]]}})
    text = shown(confusion_plots(tmp_path))
    assert "0 examples" in text
    assert "\x1b" not in text


def test_colours_only_on_a_terminal(tmp_path: Path) -> None:
    lines = [*curve_plots(a_run(), CURVES), *matrix(tmp_path, 3)]
    assert "\x1b[" in shown(lines, terminal=True)
    assert "\x1b" not in shown(lines)
