"""What the figures of a page draw, and what they say to who cannot see them."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from matplotlib.text import Text

from dlx.evaluation.gallery.pictures import Lines
from dlx.evaluation.results import Importance, Reliability, Residuals
from dlx.report.figures import style
from dlx.report.html.curves import DRAWN, MARKED, compared_curves, run_curves
from dlx.report.html.gallery import gallery
from dlx.report.html.judgement import (
    CLASSES,
    confused_pairs,
    confusion_matrix,
    importance_bars,
    reliability_diagram,
    residual_plot,
    worst_classes,
)
from dlx.report.sweep_plots import Point, slices
from tests.report.html.made_up import curves


def test_training_lies_over_validation_and_the_learning_rate_below() -> None:
    drawing = run_curves(curves(), "validation/accuracy", 40)
    assert drawing is not None
    loss, accuracy, rate = drawing.figure.axes
    assert [axes.get_ylabel() for axes in (loss, accuracy, rate)] == ["loss", "accuracy", "learning rate"]
    assert [line.get_label() for line in loss.get_lines() if line.get_label() in ("train", "validation")] == [
        "train",
        "validation",
    ]
    assert loss.get_xlim() == rate.get_xlim()
    assert any(list(line.get_xdata()) == [40, 40] for line in loss.get_lines())


def test_learning_curves_are_told_in_numbers() -> None:
    drawing = run_curves({"validation/loss": [(20, 2.0), (40, 0.5)], "train/loss": [(20, 1.0)]}, "validation/loss", None)
    assert drawing is not None
    assert drawing.seen == "train loss is 1 at step 20; validation loss falls from 2 to 0.5 by step 40"


def test_each_point_of_a_curve_says_its_value() -> None:
    drawing = run_curves(curves(500), "validation/accuracy", None)
    assert drawing is not None
    assert all(len(words) <= MARKED for words in drawing.hovers.values())
    first = next(iter(drawing.hovers.values()))
    assert first[0] == "train, step 20: loss 1.35"


def test_a_run_without_an_evaluation_has_no_curves() -> None:
    assert run_curves({}, "validation/accuracy", None) is None
    assert run_curves({"train/learning_rate": [(1, 0.1)]}, "validation/accuracy", None) is None


def test_long_curves_keep_their_extremes_and_their_ends() -> None:
    values = [(step, math.sin(step / 50)) for step in range(20_000)]
    values[7_777] = (7_777, 5.0)
    drawing = run_curves({"validation/loss": values}, "validation/loss", None)
    assert drawing is not None
    line = drawing.figure.axes[0].get_lines()[0]
    x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    assert len(x) <= DRAWN + 2
    assert (x[0], x[-1], y.max()) == (0, 19_999, 5.0)


def test_values_that_are_not_finite_are_gaps_and_a_curve_of_nothing_else_says_so() -> None:
    drawing = run_curves(
        {"train/loss": [(1, math.nan), (2, math.inf)], "validation/loss": [(1, 1.0), (2, math.nan), (3, 2.0)]},
        "validation/loss",
        None,
    )
    assert drawing is not None
    assert drawing.seen == "train loss is never a finite number; validation loss rises from 1 to 2 by step 3"


def test_runs_lie_over_each_other_by_epoch() -> None:
    parts = [("a", curves(4, every=20), 20), ("b", curves(4, every=50), 50)]
    drawing = compared_curves(parts, ["validation/accuracy", "validation/accuracy"])
    assert drawing is not None
    ends = {
        line.get_label(): float(np.max(line.get_xdata()))
        for line in drawing.figure.axes[0].get_lines()
        if line.get_label() in "ab"
    }
    assert ends == {"a": 4.0, "b": 4.0}
    assert "b of validation/accuracy rises from 0.275" in drawing.seen
    assert compared_curves([("a", {}, 20)], ["validation/loss"]) is None


def test_a_run_may_be_called_with_an_underscore() -> None:
    drawing = compared_curves([("_under (a1)", curves(), 20), ("plain (a2)", curves(), 20)], ["validation/accuracy"])
    assert drawing is not None
    assert [text.get_text() for text in drawing.figure.legends[0].get_texts()] == ["_under (a1)", "plain (a2)"]


@pytest.mark.parametrize("name", ["a", "digits-mlp", "digits-mlp-with-a-long-name", "数字" * 20])
@pytest.mark.parametrize("count", [1, 4, 8])
def test_the_names_of_runs_do_not_run_out_of_the_picture(name: str, count: int) -> None:
    drawing = compared_curves([(f"{name} (a1b2c3d{at})", curves(), 20) for at in range(count)], ["validation/loss"])
    assert drawing is not None
    with style():
        drawing.figure.draw_without_rendering()
        box = drawing.figure.legends[0].get_window_extent()
    assert box.x1 <= drawing.figure.bbox.x1
    assert box.y0 > drawing.figure.axes[0].bbox.y1


def test_a_worse_run_of_few_evaluations_is_in_the_picture_and_one_that_diverged_is_not() -> None:
    good = {"validation/loss": [(step, 0.05 + 0.05 / step) for step in range(1, 201)]}
    bad = {"validation/loss": [(20 * step, 1.5 - 0.03 * step) for step in range(1, 11)]}
    lost = {"validation/loss": [(20 * step, 1e9 * step) for step in range(1, 11)]}
    drawing = compared_curves([("good", good, 1), ("bad", bad, 1), ("lost", lost, 1)], ["validation/loss"])
    assert drawing is not None
    low, high = drawing.figure.axes[0].get_ylim()
    assert low < 0.05
    assert 1.2 < high < 10


def test_a_confusion_matrix_counts_and_says_what_is_confused_most() -> None:
    counts = np.array([[8, 2, 0], [1, 5, 4], [0, 0, 10]])
    drawing = confusion_matrix(counts, ["cat", "dog", "owl"])
    shown = {text.get_text() for text in drawing.figure.findobj(Text)}
    assert {"8", "2", "1", "5", "4", "10"} <= shown
    assert drawing.seen.startswith("23 of 30 are on the diagonal, which is right; most confused: dog taken for owl 4 times")
    assert drawing.hovers["cell 1 2"] == "true dog, predicted owl: 4 of 10 (40.0%)"
    assert "cell 0 2" not in drawing.hovers


def test_of_many_classes_those_with_the_most_errors_are_drawn() -> None:
    counts = np.diag(np.full(200, 50))
    counts[7, 150], counts[3, 4] = 30, 5
    chosen = worst_classes(counts)
    assert len(chosen) == CLASSES
    assert {7, 150, 3, 4} <= set(chosen)
    assert confused_pairs(counts, 12) == [(7, 150, 30), (3, 4, 5)]
    drawing = confusion_matrix(counts, [f"class {at}" for at in range(200)])
    assert drawing.title == "Confusion of the 30 classes with the most errors"


def test_a_class_without_an_example_divides_by_nothing() -> None:
    drawing = confusion_matrix(np.array([[0, 0], [3, 4]]), ["none", "some"])
    assert drawing.hovers == {
        "cell 1 0": "true some, predicted none: 3 of 7 (42.9%)",
        "cell 1 1": "true some, predicted some: 4 of 7 (57.1%)",
    }


def test_calibration_shows_bins_with_examples_only() -> None:
    bins = Reliability(
        np.linspace(0, 1, 5),
        np.array([np.nan, 0.4, np.nan, 0.9]),
        np.array([np.nan, 0.8, np.nan, 0.6]),  # the wider gap, of few examples
        np.array([0, 10, 0, 100]),
    )
    drawing = reliability_diagram(bins, 0.28)
    assert drawing is not None
    assert drawing.seen == (
        "expected calibration error 0.28; most of the error: between 0.75 and 1.00 the mean confidence is 0.900 and 0.600 are right (100 examples)"
    )
    assert set(drawing.hovers) == {"right 1", "count 1", "right 3", "count 3"}
    nothing = Reliability(bins.edges, bins.confidence, bins.right, np.zeros(4, int))
    assert reliability_diagram(nothing, None) is None


def test_residuals_are_told_by_their_quantiles() -> None:
    actual = np.arange(100.0)[:, None]
    quantiles = {"0.05": [-2.0], "0.5": [0.5], "0.95": [3.0]}
    drawing = residual_plot(Residuals(quantiles, actual + 0.5, actual), ["price"])
    assert drawing is not None
    assert drawing.seen == "price: half of the residuals are below 0.5, nine of ten between -2 and 3"
    points = drawing.figure.axes[0].get_lines()[0]
    assert np.allclose(np.asarray(points.get_ydata()) - np.asarray(points.get_xdata()), 0.5)
    assert residual_plot(Residuals(quantiles, actual[:0], actual[:0]), ["price"]) is None


def test_columns_are_ranked_by_their_importance() -> None:
    found = [Importance("little", 0.01, 0.02), Importance("much", 0.5, 0.1), Importance("unknown", math.nan, 0.0)]
    drawing = importance_bars(found, "accuracy")
    assert drawing is not None
    assert [text.get_text() for text in drawing.figure.axes[0].get_yticklabels()] == ["much", "little"]
    assert drawing.seen == "accuracy gets worse by: much 0.5 ± 0.1; little 0.01 ± 0.02; 1 more are not drawn"
    assert importance_bars([], "accuracy") is None


@pytest.mark.parametrize("constant", [0.0, 3.0])
def test_curves_that_never_move_are_drawn(constant: float) -> None:
    drawing = run_curves({"validation/loss": [(step, constant) for step in range(5)]}, "validation/loss", None)
    assert drawing is not None
    low, high = drawing.figure.axes[0].get_ylim()
    assert low <= constant < high


def trial(number: int, value: float, **params: object) -> Point:
    return Point(number, params, value, "completed")


def test_slices_show_what_was_reached_against_each_value_and_mark_the_best() -> None:
    points = [trial(0, 0.5, lr=0.001, hidden=[64]), trial(1, 0.9, lr=0.01, hidden=[128]), trial(2, 0.7, lr=0.1, hidden=[64])]
    figure = slices(
        [*points, Point(3, {"lr": 1.0, "hidden": [64]}, 0.99, "pruned")], ["lr", "hidden"], ["lr"], "accuracy", maximize=True
    )
    rate, hidden = [axes for axes in figure.axes if axes.get_visible()]
    dots, best = rate.get_lines()
    assert np.allclose(np.asarray(dots.get_xdata()), [0, 0.5, 1])
    assert list(dots.get_ydata()) == [0.5, 0.9, 0.7]
    assert (float(np.ravel(best.get_xdata())[0]), float(np.ravel(best.get_ydata())[0])) == (0.5, 0.9)
    assert rate.get_xlabel() == "lr (log)"
    assert [text.get_text() for text in hidden.get_xticklabels()] == ["[64]", "[128]"]


def test_slices_leave_out_values_that_a_trial_did_not_have_and_say_what_is_beyond() -> None:
    points = [trial(at, 0.9 + at / 1000, lr=0.1) for at in range(20)] + [trial(20, -1e6, lr=0.1), trial(21, 0.95)]
    figure = slices(points, ["lr"], (), "accuracy", maximize=True)
    assert np.isnan(np.asarray(figure.axes[0].get_lines()[0].get_xdata())).sum() == 1
    assert any("1 value beyond the axes" in text.get_text() for text in figure.findobj(Text))


def test_slices_count_the_trials_that_they_draw() -> None:
    figure = slices([trial(0, 0.9, lr=0.1), Point(1, {"lr": 0.2}, 0.5, "pruned")], ["lr"], (), "accuracy", maximize=True)
    assert any(text.get_text().startswith("1 completed; best 0.9") for text in figure.findobj(Text))


@pytest.mark.parametrize(
    ("points", "keys", "said"), [((), ["lr"], "No trial has completed yet."), ((trial(0, 1.0),), [], "No value is searched.")]
)
def test_slices_of_nothing_say_so(points: Sequence[Point], keys: Sequence[str], said: str) -> None:
    figure = slices(points, keys, (), "accuracy", maximize=True)
    assert said in {text.get_text() for text in figure.findobj(Text)}


def test_a_picture_that_cannot_be_drawn_costs_itself_alone() -> None:
    x = np.arange(3.0)
    page = gallery([Lines("One", "", x, {"a": x[:2]}), Lines("Two", "", x, {"a": x})]).text
    assert "One could not be drawn: ValueError" in page
    assert page.count("<svg") == 1
