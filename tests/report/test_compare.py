"""What people and programs read of a comparison."""

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from dlx.evaluation.comparison import Candidate, Comparison, Difference
from dlx.evaluation.results import Measure
from dlx.report.compare import answer, comparison_json, comparison_lines
from dlx.report.console import print_json


def difference(**changes: Any) -> Difference:
    return replace(Difference(-0.0222, -0.0389, -0.0056, 0.0117, 0.0117, "mcnemar", (2, 10)), **changes)


def candidate(
    name: str, accuracy: float, against: Difference | None = None, verdict: Any = "worse", **config: Any
) -> Candidate:
    measure = Measure(accuracy, accuracy - 0.02, accuracy + 0.02)
    tree = {"model": config, "train": {"seed": 0}}
    return Candidate(name, (f"id-{name}",), (accuracy,), measure, None, tree, against, verdict)


def compared(*candidates: Candidate, **changes: Any) -> Comparison:
    pair = (candidate("wide", 0.9722, verdict="better", hidden=[64]), candidate("narrow", 0.95, difference(), hidden=[8]))
    return replace(Comparison("accuracy", True, "test", 360, 1000, candidates or pair, False, ("only a note",)), **changes)


def printed(found: Comparison, width: int = 200) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False)
    for line in comparison_lines(found, console):
        console.print(line)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_row_for_each_the_answer_the_method_and_what_differs() -> None:
    assert printed(compared()) == [
        "name    seeds  test/accuracy              difference to the best            p  verdict",
        "wide        1  0.9722 (0.9522 to 0.9922)                                       better",
        "narrow      1  0.9500 (0.9300 to 0.9700)  -0.0222 (-0.0389 to -0.0056)  0.012  worse",
        answer(compared()),
        "p: McNemar's test (mid-p)",
        "",
        "differs       wide  narrow",
        "model.hidden  [64]  [8]",
        "note: only a note",
    ]
    assert answer(compared()) == (
        "wide is better than narrow: difference in accuracy 0.0222 (95 % interval 0.0056 to 0.0389), p = 0.012; "
        "10 examples only wide has right, 2 only narrow"
    )


def test_what_is_not_shown_is_not_called_equal() -> None:
    unclear = difference(high=0.005, p=0.2, p_corrected=0.2, method="bootstrap", discordant=None)
    found = compared(candidate("a", 0.97, verdict="unclear"), candidate("b", 0.95, unclear, "unclear"))
    assert answer(found) == (
        "no difference between a and b that these 360 test examples can show: difference in accuracy 0.0222 "
        "(95 % interval -0.0050 to 0.0389), p = 0.200"
    )
    assert "equal" not in "".join(printed(found))
    assert printed(found)[2].endswith("no difference shown")


def test_several_candidates_and_seeds() -> None:
    of_seeds = difference(method="bootstrap over examples and seeds", discordant=None, p_corrected=0.00001)
    best = replace(candidate("a", 0.97, verdict="unclear"), runs=("1", "2"), values=(0.96, 0.98), deviation=0.0141)
    others = (candidate("b", 0.95, of_seeds), candidate("c", 0.96, replace(of_seeds, p_corrected=0.4), "unclear"))
    found = compared(best, *others, seeds_matter=True)
    assert answer(found) == "a is better than b; no difference to c that these 360 test examples and 4 seeds can show"
    alike = compared(best, *(replace(each, verdict="unclear") for each in others), seeds_matter=True)
    assert answer(alike) == "no difference between a and any of b, c that these 360 test examples and 4 seeds can show"
    lines = printed(found)
    assert lines[0].split()[2:6] == ["test/accuracy", "sd", "over", "seeds"]
    assert "0.0141" in lines[1]
    assert "<0.001" in lines[2]
    assert "p corrected for 3 pairs (Holm)" in lines[5]


@pytest.mark.parametrize("width", [30, 40, 80])
def test_narrow_terminals_keep_every_figure(width: int) -> None:
    lines = printed(compared(), width)
    assert max(map(len, lines)) <= width
    words = " ".join(lines)
    for figure in ("0.9722", "0.9500", "-0.0222", "-0.0389", "0.012", "worse", "model.hidden"):
        assert figure in words


def test_names_are_not_markup() -> None:
    found = compared(candidate("[red]x[/]", 0.97, verdict="better"), candidate("<b>", 0.95, difference()))
    assert "[red]x[/] is better than <b>" in "\n".join(printed(found))
    assert printed(found)[1].startswith("[red]x[/]")


def test_seeds_are_told_where_they_are_no_repeats() -> None:
    pair = compared().candidates
    other = replace(pair[1], config={"model": {"hidden": [64], "kind": "mlp"}, "train": {"seed": 7}})
    lines = printed(compared(pair[0], other))
    assert "model.kind  -     mlp" in lines
    assert "train.seed  0     7" in lines
    assert not [line for line in printed(compared(pair[0], other, seeds_matter=True)) if line.startswith("train.seed")]


@pytest.mark.parametrize(
    ("value", "reach", "shown"), [(52340.0, 900.0, "52340 "), (0.00123456, 0.0004, "0.001235 "), (3.14159, 0.00031, "3.14159 ")]
)
def test_as_many_decimals_as_the_figures_need(value: float, reach: float, shown: str) -> None:
    against = Difference(reach, 0.0, 2 * reach, 0.05, 0.05, "bootstrap", None)
    found = compared(candidate("a", value), candidate("b", value + reach, against), metric="rmse", maximize=False)
    assert f" {shown}" in printed(found)[1]


def test_json_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    print_json(comparison_json(compared()))
    tree = json.loads(capsys.readouterr().out)
    assert (tree["metric"], tree["direction"], tree["examples"]) == ("test/accuracy", "maximize", 360)
    best, other = tree["candidates"]
    assert (best["difference"], best["verdict"], best["config"]) == (None, "better", {"model.hidden": [64]})
    assert other["difference"] == {
        "value": -0.0222,
        "low": -0.0389,
        "high": -0.0056,
        "p": 0.0117,
        "p_corrected": 0.0117,
        "method": "mcnemar",
        "discordant": [2, 10],
    }
    assert tree["message"] == answer(compared())
