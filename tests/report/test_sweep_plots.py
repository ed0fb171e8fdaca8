"""Pictures of sweeps, read back from what was drawn: points, lines, limits, words; and inputs that break naive plots."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from dlx.errors import CannotWriteError
from dlx.report.figures import BLACK, BLUE, save
from dlx.report.sweep_plots import (
    Curve,
    Point,
    history,
    importance,
    learning_curves,
    parallel_coordinates,
    pareto_front,
)

MONITOR = "validation/accuracy"
HOSTILE = "model.$x_1$ [red]\n\udc80 数 " + "very_long_name." * 12 + "$"
KEYS = ("optimizer.lr", "model.dropout", "model.hidden", "optimizer.momentum")


def only(figure: Figure) -> Axes:
    (axes,) = figure.axes
    return axes


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text) if text.get_visible())


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for drawn in figure.legends for text in drawn.get_texts()]


def labelled(figure: Figure, label: str) -> Line2D:
    return next(line for line in only(figure).get_lines() if line.get_label() == label)


def named(figure: Figure, start: str = "trial ") -> dict[int, Line2D]:
    """The lines of trials, in the order they were drawn in."""
    lines = [line for line in only(figure).get_lines() if (line.get_gid() or "").startswith(start)]
    return {int(str(line.get_gid()).removeprefix(start)): line for line in lines}


def xy(line: Line2D) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)


def value(point: Point) -> float:
    assert point.value is not None
    return point.value


def ticks(figure: Figure, axis: int) -> dict[str, float]:
    """The named positions of one of the parallel axes; only the last one's names are at the right of it."""
    last = len(only(figure).get_xticks()) - 1
    texts = [text for text in only(figure).texts if text.get_bbox_patch() is not None]
    at = {True: lambda x: x > last, False: lambda x: axis - 1 < x < axis}[axis == last]
    return {text.get_text(): text.get_position()[1] for text in texts if at(text.get_position()[0])}


def trials(count: int, seed: int = 0) -> list[Point]:
    rng = np.random.default_rng(seed)
    points = []
    for trial in range(count):
        params = {
            "optimizer.lr": float(10 ** rng.uniform(-4, -1)),
            "model.dropout": float(rng.uniform(0, 0.6)),
            "model.hidden": [[64], [128, 64], [256, 128]][rng.integers(3)],
        }
        if rng.random() < 0.7:
            params["optimizer.momentum"] = float(rng.uniform(0.8, 0.99))
        status = ["completed", "completed", "completed", "pruned", "diverged", "failed"][rng.integers(6)]
        value = None if status in ("diverged", "failed") else float(rng.beta(9, 2))
        points.append(Point(trial, params, value, status))
    return points


def of(values: list[float | None], **params: list) -> list[Point]:
    """Completed trials, or diverged ones where there is no value."""
    return [
        Point(n, {key: column[n] for key, column in params.items()}, value, "diverged" if value is None else "completed")
        for n, value in enumerate(values)
    ]


# ----------------------------------------------------------------------------------------------------------------- history


@pytest.mark.parametrize("maximize", [True, False])
def test_history_has_every_trial_and_the_best_so_far(maximize: bool) -> None:
    points = trials(128)
    figure = history(points, MONITOR, maximize)
    done = [point for point in points if point.status == "completed"]
    pruned = [point for point in points if point.status == "pruned"]
    x, y = xy(labelled(figure, "completed"))
    assert dict(zip(x, y, strict=True)) == {point.number: point.value for point in done}
    assert labelled(figure, "completed").get_marker() != labelled(figure, "pruned (last value)").get_marker()
    assert len(xy(labelled(figure, "pruned (last value)"))[0]) == len(pruned)
    for status in ("diverged", "failed"):
        line = labelled(figure, status)
        assert list(xy(line)[0]) == [point.number for point in points if point.status == status]
        assert set(xy(line)[1]) == {0.02}  # a share of the axis: at the bottom
    x, best = xy(labelled(figure, "best so far"))
    steps = np.diff(best)
    assert (steps >= 0).all() if maximize else (steps <= 0).all()
    assert best[-1] == (max if maximize else min)(value(point) for point in done)
    assert labelled(figure, "best so far").get_drawstyle() == "steps-post"
    assert x[-1] == points[-1].number
    axes = only(figure)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("trial", MONITOR)
    assert f"{len(done)} completed" in words(figure)
    assert ("higher" if maximize else "lower") + " is better" in words(figure)


def test_the_order_of_the_trials_given_does_not_matter() -> None:
    points = trials(40)
    first, second = (labelled(history(given, MONITOR, True), "best so far") for given in (points, points[::-1]))
    assert np.array_equal(first.get_xydata(), second.get_xydata())


@pytest.mark.parametrize(("maximize", "sign", "marker"), [(False, 1, "^"), (True, -1, "v")])
def test_a_terrible_trial_does_not_squeeze_the_others(maximize: bool, sign: int, marker: str) -> None:
    values: list[float | None] = [sign * (1 + n / 50) for n in range(50)]
    figure = history(of([*values, sign * 1e30]), "loss", maximize)
    low, high = sorted(abs(limit) for limit in only(figure).get_ylim())
    assert 0.8 < low < 1
    assert 1.98 < high < 2.2
    beyond = labelled(figure, "beyond the axis")
    assert (list(xy(beyond)[0]), beyond.get_marker()) == ([50], marker)
    assert len(xy(labelled(figure, "completed"))[0]) == 50


def test_a_completed_trial_without_a_number_is_marked() -> None:
    figure = history(of([0.5, math.nan, 0.7, math.inf, None]), MONITOR, True)
    assert list(xy(labelled(figure, "not finite"))[0]) == [1, 3]
    assert list(xy(labelled(figure, "diverged"))[0]) == [4]


def test_the_best_is_never_beyond_the_axis() -> None:
    figure = history(of([0.5] * 60 + [1e6]), "score", True)
    assert only(figure).get_ylim()[1] > 1e6


# ---------------------------------------------------------------------------------------------------- parallel coordinates


def test_a_line_for_each_completed_trial_through_all_axes() -> None:
    points = trials(128)
    figure = parallel_coordinates(points, KEYS, {"optimizer.lr"}, MONITOR, True)
    done = {point.number: point for point in points if point.status == "completed"}
    lines = named(figure)
    assert lines.keys() == done.keys()
    for trial, line in lines.items():
        missing = [key not in done[trial].params for key in KEYS]
        assert list(np.isnan(xy(line)[1])) == [*missing, False]  # the line is broken where the key is inactive
    order = [value(done[trial]) for trial in lines]
    assert order == sorted(order)  # the best are drawn last
    heads = [label.get_text() for label in only(figure).get_xticklabels()]
    assert heads == ["optimizer.lr\n(log)", "model.dropout", "model.hidden", "optimizer.\nmomentum", "validation/\naccuracy"]


def test_positions_on_a_log_axis() -> None:
    points = of([1.0, 2.0, 3.0], lr=[1e-4, 1e-3, 1e-2])
    log = [xy(line)[1][0] for _, line in sorted(named(parallel_coordinates(points, ["lr"], {"lr"}, "loss", False)).items())]
    even = [xy(line)[1][0] for _, line in sorted(named(parallel_coordinates(points, ["lr"], (), "loss", False)).items())]
    assert log == pytest.approx([0, 0.5, 1])
    assert even == pytest.approx([0, 9e-4 / 9.9e-3, 1])
    figure = parallel_coordinates(points, ["lr"], {"lr"}, "loss", False)
    assert ticks(figure, 0) == pytest.approx({"0.0001": 0, "0.001": 0.5, "0.01": 1})


def test_choices_are_evenly_spaced_and_named() -> None:
    column = [[128, 64], [64], "relu", None, True, "null", ""]
    figure = parallel_coordinates(of([1.0, 2, 3, 4, 5, 6, 7], layers=column), ["layers"], (), "loss", False)
    at = {trial: xy(line)[1][0] for trial, line in named(figure).items()}
    assert np.diff(sorted(at.values())) == pytest.approx([1 / 7] * 6)  # null and "null" are two choices
    marks = ticks(figure, 0)
    assert marks.keys() == {"[128, 64]", "[64]", "relu", "null", "true", '""'}
    assert marks["[64]"] == at[1] < marks["[128, 64]"] == at[0]  # numbers in their order


def test_numbers_beside_words_are_choices() -> None:
    figure = parallel_coordinates(of([1.0, 2.0, 3.0], clip=[0.5, "off", 10]), ["clip"], (), "loss", False)
    assert ticks(figure, 0).keys() == {"0.5", "10", "off"}


def test_many_choices_are_thinned_in_names_only() -> None:
    figure = parallel_coordinates(of([float(n) for n in range(60)], k=[f"c{n}" for n in range(60)]), ["k"], (), "x", True)
    assert len(ticks(figure, 0)) <= 16
    assert len({xy(line)[1][0] for line in named(figure).values()}) == 60


@pytest.mark.parametrize("maximize", [True, False])
def test_the_best_is_dark_on_both_scales(maximize: bool) -> None:
    figure = parallel_coordinates(of([0.1, 0.5, 0.9], a=[1, 2, 3]), ["a"], (), "x", maximize)
    shades = {trial: sum(mpl.colors.to_rgb(line.get_color())) for trial, line in named(figure).items()}
    assert sorted(shades, key=lambda trial: shades[trial]) == ([2, 1, 0] if maximize else [0, 1, 2])
    best = named(figure)[2 if maximize else 0]
    assert best.get_linewidth() > named(figure)[1].get_linewidth()


def test_ticks_tell_close_values_apart() -> None:
    figure = parallel_coordinates(of([1000001.0, 1000002, 1000003], a=[0.50001, 0.50002, 0.50003]), ["a"], (), "x", True)
    for axis in (0, 1):
        marks = ticks(figure, axis)
        numbers = [float(label) for label in sorted(marks, key=lambda label: marks[label])]
        assert len(numbers) >= 3
        assert (np.diff(numbers) > 0).all()


@pytest.mark.parametrize("column", [[3, 3, 3], [math.nan] * 3, [0, -1, math.inf], [10**400, 1, 2]])
def test_columns_without_a_range(column: list) -> None:
    for log in ((), ("a",)):
        figure = parallel_coordinates(of([1.0, 2.0, 3.0], a=column), ["a"], log, "x", True)
        places = np.array([xy(line)[1][0] for line in named(figure).values()])
        assert ((places >= 0) & (places <= 1) | np.isnan(places)).all()


def test_the_last_axis_is_robust() -> None:
    figure = parallel_coordinates(of([*np.linspace(1, 2, 50).tolist(), 1e9], a=list(range(51))), ["a"], (), "loss", False)
    ends = [xy(line)[1][-1] for line in named(figure).values()]
    assert np.ptp(sorted(ends)[:-1]) > 0.9
    assert "1 value beyond the last axis" in words(figure)


# -------------------------------------------------------------------------------------------------------------- importance


def test_importance_in_percent_from_the_top() -> None:
    figure = importance({"b": 0.2, "a": 0.6, "c": 0.0, "d": math.nan, "e": 0.0002}, MONITOR)
    axes = only(figure)
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["a", "b", "e", "c"]
    assert [bar.get_bbox().width for bar in axes.patches if isinstance(bar, Rectangle)] == pytest.approx(
        [74.98, 24.99, 0.025, 0], abs=0.01
    )
    assert [text for text in ("75 %", "25 %", "< 0.1 %", "0 %") if text not in words(figure)] == []
    bottom, top = axes.get_ylim()
    assert bottom > top  # the first is on top
    assert MONITOR in axes.get_title(loc="left")


@pytest.mark.parametrize("shares", [{}, {"a": 0.0}, {"a": math.nan, "b": -1.0}])
def test_no_importance(shares: dict[str, float]) -> None:
    assert "No importance is known" in words(importance(shares, MONITOR))


# --------------------------------------------------------------------------------------------------------- learning curves


def runs(count: int, diverged: int = 0) -> list[Curve]:
    rng = np.random.default_rng(1)
    curves = []
    for trial in range(count):
        end = 20 if trial % 3 else 5
        values = 2.3 * np.exp(-np.arange(1, end + 1) * rng.uniform(0.05, 0.3)) + rng.uniform(0.1, 0.3)
        curves.append(Curve(trial, range(1, end + 1), values.tolist(), "completed" if trial % 3 else "pruned"))
    bad = [1.0, 1e4, 1e12, math.inf, math.nan]
    return curves + [Curve(count + n, range(1, 6), bad, "diverged") for n in range(diverged)]


def test_curves_and_the_best_of_them() -> None:
    curves = runs(60)
    figure = learning_curves(curves, "validation/loss", False)
    lines = named(figure)
    assert lines.keys() == {curve.number for curve in curves}
    for curve in curves:
        assert xy(lines[curve.number])[1].tolist() == curve.values
    best = min((curve for curve in curves if curve.status == "completed"), key=lambda curve: min(curve.values)).number
    assert to_hex(lines[best].get_color()) == BLACK
    assert lines[best].get_zorder() > max(line.get_zorder() for trial, line in lines.items() if trial != best)
    assert all((line.get_alpha() or 1) < 1 for trial, line in lines.items() if trial != best)
    assert f"trial {best}" in [text.get_text() for text in only(figure).texts]
    marks = named(figure, "pruned ")
    assert marks.keys() == {curve.number for curve in curves if curve.status == "pruned"}
    assert all(xy(mark)[0].tolist() == [5] for mark in marks.values())
    assert legend(figure)[1:] == ["40 completed", "20 pruned"]
    assert (only(figure).get_xlabel(), only(figure).get_ylabel()) == ("epoch", "validation/loss")


def test_diverging_curves_leave_the_limits_alone() -> None:
    calm = only(learning_curves(runs(60), "loss", False)).get_ylim()
    wild = only(learning_curves(runs(60, diverged=9), "loss", False)).get_ylim()
    assert wild == calm
    told_completed = [*runs(60), Curve(99, [1, 2, 3], [2.0, 1e9, 1e15], "completed")]
    assert only(learning_curves(told_completed, "loss", False)).get_ylim()[1] < 10
    high = [Curve(c.number, c.epochs, [-v for v in c.values], c.status) for c in told_completed]
    assert only(learning_curves(high, "score", True)).get_ylim()[0] > -10


def test_curves_of_a_running_sweep() -> None:
    curves = [Curve(0, [1], [0.5], "running"), Curve(1, [1, 2], [0.4, math.nan], "running"), Curve(2, [], [], "waiting")]
    figure = learning_curves(curves, MONITOR, True)
    assert named(figure).keys() == {0, 1}
    assert named(figure)[0].get_marker() == "."  # one point is no line
    assert legend(figure) == ["best: trial 0, 0.5", "2 running"]


# ------------------------------------------------------------------------------------------------------------------ pareto


def front_of(values: list[tuple[int, float, float]], senses: tuple[bool, bool]) -> set[int]:
    sign = [-1 if high else 1 for high in senses]
    keyed = [(n, sign[0] * x, sign[1] * y) for n, x, y in values]
    return {n for n, x, y in keyed if not any(a <= x and b <= y and (a, b) != (x, y) for _, a, b in keyed)}


@pytest.mark.parametrize("senses", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("told", [True, False])
def test_the_front_has_all_others_on_its_bad_side(senses: tuple[bool, bool], told: bool) -> None:
    rng = np.random.default_rng(2)
    values = [(n, x, y) for n, (x, y) in enumerate(rng.normal(size=(200, 2)).tolist())]
    front = front_of(values, senses)
    figure = pareto_front(values, front, ("x", "y"), senses if told else None)
    axes = only(figure)
    x, y = xy(labelled(figure, "on the front"))
    assert set(zip(x, y, strict=True)) == {(x, y) for n, x, y in values if n in front}
    assert len(xy(labelled(figure, "dominated"))[0]) == 200 - len(front)
    assert [("higher" in label) for label in (axes.get_xlabel(), axes.get_ylabel())] == list(senses)
    labels = {text.get_text() for text in axes.texts if (text.get_gid() or "").startswith("trial")}
    assert labels == {str(n) for n in front}
    (step,) = [line for line in axes.get_lines() if line.get_gid() == "front"]
    x, y = xy(step)
    corners = zip(x[1:], y[:-1], strict=True) if step.get_drawstyle() == "steps-post" else zip(x[:-1], y[1:], strict=True)
    for a, b in corners:  # what one of the members is better than
        assert any((a <= p if senses[0] else a >= p) and (b <= q if senses[1] else b >= q) for p, q in zip(x, y, strict=True))


def test_a_long_front_has_no_numbers() -> None:
    values = [(n, float(n), float(-n)) for n in range(13)]
    for count, shown in ((13, 0), (12, 12)):
        figure = pareto_front(values[:count], range(count), ("a", "b"))
        assert len([text for text in only(figure).texts if text.get_gid()]) == shown


def test_numbers_of_crowded_members_do_not_overlap() -> None:
    values = [(n + 100, 1 + n / 400, 2 - n / 400) for n in range(6)] + [(200, 3.0, 1.0)]
    figure = pareto_front(values, [n for n, _, _ in values], ("a", "b"))
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(text) for text in only(figure).texts if text.get_gid()]
    assert len(boxes) == 7
    assert not any(one.overlaps(other) for n, one in enumerate(boxes) for other in boxes[:n])


def test_an_objective_over_orders_of_magnitude_is_on_a_log_axis() -> None:
    values = [(n, 10.0 ** (n / 10), 1 - n / 100) for n in range(40)]
    figure = pareto_front(values, range(40), ("parameters", "error"))
    axes = only(figure)
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "linear")
    figure.draw_without_rendering()
    shown = [float(label.get_text()) for label in axes.get_xticklabels() if label.get_text()]
    assert np.diff(np.log10(shown)) == pytest.approx([1] * (len(shown) - 1))


# ------------------------------------------------------------------------------------------------------------- hard inputs


def all_of(points: list[Point], keys: list[str], monitor: str, maximize: bool) -> dict[str, Figure]:
    """The five pictures of one sweep."""
    curves = [Curve(p.number, [1, 2], [math.nan if p.value is None else p.value] * 2, p.status) for p in points]
    both = [(p.number, p.value, p.value) for p in points if p.value is not None]
    return {
        "history": history(points, monitor, maximize),
        "parallel": parallel_coordinates(points, keys, keys[:1], monitor, maximize),
        "curves": learning_curves(curves, monitor, maximize),
        "importance": importance({key: n + 1.0 for n, key in enumerate(keys)}, monitor),
        "pareto": pareto_front(both, [n for n, _, _ in both][:3], (monitor, keys[0])),
    }


def whole(figure: Figure) -> None:
    """Nothing is cut off, no text is smaller than 8 points, the ground is white."""
    figure.draw_without_rendering()
    width, height = figure.get_size_inches()
    box = figure.get_tightbbox()
    assert box.x0 > -0.02
    assert box.y0 > -0.02
    assert box.x1 < width + 0.02
    assert box.y1 < height + 0.02
    shown = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
    assert shown
    assert min(float(text.get_fontsize()) for text in shown) >= 8
    assert not any("^" in text.get_text() for text in shown)  # exponents would be smaller
    assert to_hex(figure.get_facecolor()) == "#ffffff"


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize(
    "points",
    [
        pytest.param(of([0.9], lr=[0.1]), id="one"),
        pytest.param(of([0.5, 0.5, 0.5], lr=[0.1, 0.1, 0.1]), id="same"),
        pytest.param(of([0.1, math.nan, math.inf, -math.inf, 1e308, 0.3, None], lr=[1, 2, 3, 4, 5, 6, 7]), id="not finite"),
        pytest.param(of([-1e99, 1e99, 0.0], lr=[1e-300, 1, 1e99]), id="huge"),
        pytest.param(of([0.0, 0.0], lr=[math.nan, math.nan]), id="zero"),
    ],
)
def test_hard_values(points: list[Point], maximize: bool) -> None:
    for figure in all_of(points, ["lr"], "loss", maximize).values():
        whole(figure)


@pytest.mark.filterwarnings("ignore:Glyph")
def test_hostile_names(tmp_path: Path) -> None:
    keys = [f"{HOSTILE}{n}" for n in range(12)]
    points = [Point(n, dict.fromkeys(keys, HOSTILE if n % 2 else n), n / 9, "completed") for n in range(9)]
    for name, figure in all_of(points, keys, HOSTILE, True).items():
        whole(figure)
        save(figure, tmp_path / f"{name}.png")


@pytest.mark.parametrize(("count", "keys"), [(3, 12), (500, 1), (500, 12)])
def test_few_and_many(count: int, keys: int) -> None:
    names = [f"section_{n}.some_value" for n in range(keys)]
    rng = np.random.default_rng(0)
    points = [Point(n, dict(zip(names, rng.random(keys).tolist(), strict=True)), n / count, "completed") for n in range(count)]
    for figure in all_of(points, names, MONITOR, True).values():
        whole(figure)


@pytest.mark.parametrize(
    ("draw", "sentence"),
    [
        (lambda: history([], MONITOR, True), "No trial has completed yet."),
        (lambda: history(of([None, None]), MONITOR, True), "No trial has completed yet: 2 diverged."),
        (lambda: history(of([math.nan]), MONITOR, True), "No completed trial has a finite value: 1 completed."),
        (lambda: parallel_coordinates(of([None]), ["lr"], (), MONITOR, True), "No trial has completed yet: 1 diverged."),
        (lambda: parallel_coordinates(of([1.0]), [], (), MONITOR, True), "No value is searched."),
        (lambda: learning_curves([Curve(0, [1], [math.inf], "failed")], MONITOR, True), "No trial has been evaluated yet."),
        (lambda: learning_curves([], MONITOR, True), "No trial has been evaluated yet."),
        (lambda: pareto_front([(0, math.nan, 1.0)], [0], ("a", "b")), "No trial has completed yet with both objectives."),
    ],
)
def test_nothing_to_draw_is_a_sentence(draw: Callable[[], Figure], sentence: str) -> None:
    figure = draw()
    assert [text.get_text() for text in only(figure).texts] == [sentence]
    assert not only(figure).get_lines()
    whole(figure)


def test_a_dark_style_of_the_users_changes_nothing() -> None:
    with mpl.rc_context({"axes.facecolor": "black", "text.color": "white", "font.size": 3, "figure.facecolor": "black"}):
        figure = history(trials(20), MONITOR, True)
        whole(figure)
        assert to_hex(only(figure).get_facecolor()) == "#ffffff"
        assert mpl.rcParams["font.size"] == 3
    assert to_hex(labelled(figure, "completed").get_color()) == BLUE.lower()


# -------------------------------------------------------------------------------------------------------------------- save


def test_save_replaces_the_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "history.png"
    path.write_text("old")
    save(history(trials(5), MONITOR, True), path)
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = (int.from_bytes(content[at : at + 4]) for at in (16, 20))
    assert (width, height) == (9 * 150, 5 * 150)
    assert list(tmp_path.iterdir()) == [path]


def test_save_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "history.png"
    path.write_text("old")
    figure = history(trials(5), MONITOR, True)
    full = patch.object(Path, "replace", side_effect=OSError(28, "No space left on device"))
    with full, pytest.raises(CannotWriteError, match="No space left"):
        save(figure, path)
    assert (path.read_text(), list(tmp_path.iterdir())) == ("old", [path])
    with pytest.raises(CannotWriteError, match="No such file"):
        save(figure, tmp_path / "absent" / "history.png")


def test_values_as_json_has_them(tmp_path: Path) -> None:
    """The store's parameters come from JSON: what comes back from it must be drawable."""
    params = json.loads('{"a": [1, null], "b": {"k": 1e-3}, "c": null, "d": false, "e": 1e400, "f": "x", "g": -0.0}')
    points = [
        Point(n, {key: value for m, (key, value) in enumerate(params.items()) if m != n}, n / 7, "completed") for n in range(7)
    ]
    save(parallel_coordinates(points, list(params), ["g", "e"], MONITOR, True), tmp_path / "a.png")
