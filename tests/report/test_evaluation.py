"""An evaluation in the terminal: what is told by default, under -v, in narrow windows and of hostile names."""

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from dlx.evaluation.results import Evaluation, Example, Measure, Reliability, Scores, Slice
from dlx.report.evaluation import baseline_lines, evaluation_lines
from dlx.report.terminal_picture import Pictures, heat


def made(classes: int = 2, **changes: object) -> Evaluation:
    names = tuple(f"[red]c{number}" for number in range(classes))
    counts = np.full((classes, classes), 1) + 9 * np.eye(classes, dtype=np.int64)
    counts[0, -1] = 7
    each = [Measure(0.5 + number / 100) for number in range(classes)]
    filled = np.arange(15) == 14
    reliability = Reliability(
        np.linspace(0, 1, 16), np.where(filled, 0.97, np.nan), np.where(filled, 0.9, np.nan), np.where(filled, 30, 0)
    )
    evaluation = Evaluation(
        run="0a1b2c3d",
        name="<b>",
        data="people",
        split="test",
        examples=int(counts.sum()),
        target="class",
        classes=names,
        step=7,
        device="cpu",
        scores=Scores(
            {"accuracy": Measure(0.9, 0.8, 0.95), "f1_micro": Measure(0.9), "roc_auc": Measure(float("nan"))},
            {"f1": each},
            counts,
            reliability,
        ),
        headline="accuracy",
        maximize=True,
        resamples=1000,
        baselines={"majority": {"accuracy": 0.5, "roc_auc": 0.5}},
        slices=(),
        worst=(Example(3, 2.5, "[red]c0", "c1", 0.75, columns={"age": "[/]", "city": "Oslo"}, file_row=17),),
        importance=(),
        warnings=("age: far [bold]away",),
        seconds={},
    )
    return replace(evaluation, **changes)


def shown(evaluation: Evaluation, width: int = 100, *, verbose: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    for line in (*evaluation_lines(evaluation, console, verbose=verbose), *baseline_lines(evaluation)):
        console.print(line)
    return console.file.getvalue()


def test_names_are_shown_as_they_are():
    text = shown(made())
    for name in ("<b>", "[red]c0", "[/]", "far [bold]away"):
        assert name in text


def test_what_is_not_defined_is_said_and_what_repeats_is_for_verbose():
    text = shown(made())
    assert "undefined" in text
    assert "f1_micro" not in text
    assert "f1_micro" in shown(made(), verbose=True)


def test_simple_models_stand_beside_the_network_in_what_both_have():
    """An autoencoder that is judged by its cross-entropy, beside principal components, which have none."""
    errors = Scores({"loss": Measure(0.0805), "mse": Measure(0.0064), "rmse": Measure(0.08)}, {})
    text = shown(made(scores=errors, headline="loss", baselines={"PCA": {"mse": 0.0121, "rmse": 0.11}}))
    table = [line.split() for line in text[text.index("on the same examples") :].splitlines()]
    assert table == [
        ["on", "the", "same", "examples", "mse", "rmse"],
        ["this", "network", "0.0064", "0.08"],
        ["PCA", "0.0121", "0.11"],
    ]


def test_mistakes_say_what_was_taken_for_what():
    assert "mistakes (8): took [red]c0 for [red]c1 (7), [red]c1 for [red]c0 (1)" in shown(made())


def test_calibration_names_the_bin_that_counts_most():
    assert "of 30 examples of which it is 93% to 100% sure (97.0% on average) 90.0% are right" in shown(made())


def test_of_many_classes_the_worst_are_shown():
    text = shown(made(30))
    assert "the 20 with the lowest f1 of 30" in text
    assert "[red]c19" in text
    assert "[red]c20 " not in text
    assert "[red]c29 " in shown(made(30), verbose=True)


def test_rows_are_named_by_the_file_and_their_reasons_come_first():
    example = Example(
        3, 2.5, "a", "b", 0.75, columns={"age": "61", "city": "Oslo"}, file_row=17, because={"city": 1.5, "age": -0.25}
    )
    text = shown(made(worst=(example,)))
    assert "row of the file" in text
    assert "city=Oslo (+1.5) age=61 (-0.25)" in text
    assert "in brackets: what the column adds" in text
    assert "in brackets" not in shown(made())


def test_of_labels_it_is_said_which_one_is_explained_and_what_is_counted():
    example = Example(3, 2.5, "a", "b", 0.75, columns={"age": "61"}, file_row=17, because={"age": -0.25}, explained="sun")
    text = shown(made(target="labels", worst=(example,)), 150)
    assert "sun: age=61 (-0.25)" in text
    assert "of 30 labels of examples that it holds for 93% to 100% probable (97.0% on average) 90.0% are there" in text
    assert "sun: " not in shown(made(worst=(example,)))


def test_in_a_narrow_window_a_row_is_a_line():
    example = Example(3, 2.5, "a", "b", 0.75, columns={"a column with a name of some length": "some words"}, file_row=17)
    assert "a column with a name of some length=some words" in shown(made(worst=(example,)), 50).replace("\n", " ")


@pytest.mark.parametrize("width", [40, 60, 200])
def test_a_narrow_window_loses_no_figure(width):
    each = Slice("city", "Oslo", 12, {"accuracy": Measure(0.75, 0.5, 0.875), "roc_auc": Measure(0.625)})
    text = shown(made(slices=(each,)), width)
    for figure in ("0.9", "0.8 to 0.95", "0.75", "0.625", "majority"):
        assert figure in text.replace("\n", " ")


@pytest.mark.parametrize(("width", "rows"), [(60, 1), (40, 2)])
def test_pictures_are_two_pixels_to_a_character_in_as_many_rows_as_it_takes(width, rows):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system="truecolor", no_color=False)
    picture = np.zeros((4, 4, 1), np.uint8)
    picture[0, 0] = 255
    console.print(Pictures([picture, heat(np.eye(64))], [("row 3", "cat"), ("gradient",)]))
    text = console.file.getvalue()
    assert text.splitlines()[0].count("▀") == 4 + (32 if rows == 1 else 0)
    assert "38;2;255;255;255;48;2;0;0;0m▀" in text.splitlines()[0]
    assert text.count("▀") == 4 * 2 + 32 * 16
    assert ("row 3" in text, "cat" in text, "gradient" in text) == (True, True, True)
