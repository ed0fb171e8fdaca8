"""What people and programs read of the checks."""

import io
import json

import pytest
from rich.console import Console

from dlx.diagnose.sanity.checked import Checked, Checking, finding_of
from dlx.diagnose.sanity.finding import Finding
from dlx.events import DataLoaded
from dlx.report.check import checks_json, failed, finding_line, layers_table, sparkline, summary, watch_checks

LAYER = {"path": "hidden/0", "std": 0.5, "dead": 0.25, "saturated": 0.0, "histogram": [8, 4, 1, 0], "judged": True}
PARAMETERS = [
    {"path": "hidden/0/bias", "gradient": 9.0, "ratio": None},
    {"path": "hidden/0/kernel", "gradient": 1.5, "ratio": 0.25},
]
LONG = "the first loss is 23.4, 10.2 times that of guessing (2.3): the outputs are far too large; draw the weights smaller"
FOUND = (
    Checked("labels", "enough?", Finding("pass", "10 classes [x]", {"counts": [1, 2], "ratio": 1.5}), 0.01),
    Checked("layers", "sound?", Finding("warn", "half dead", {"layers": [LAYER], "parameters": PARAMETERS}), 0.2),
    Checked("initial-loss", "guessing?", Finding("fail", LONG, {"loss": 23.4, "many": [1.0] * 9, "none": []}), 1.0),
)


def events():
    yield DataLoaded("digits", 10, 2, 3, ("a column was dropped",))
    for each in FOUND:
        yield Checking(each.name)
        yield each


def shown(
    *, width: int = 60, terminal: bool = True, verbose: bool = False, color: str | None = None, encoding: str = "utf8"
) -> list[str]:
    raw = io.BytesIO()
    out = Console(
        file=io.TextIOWrapper(raw, encoding=encoding, write_through=True),
        width=width,
        force_terminal=terminal,
        color_system=color,
        no_color=color is None,
        highlight=False,
    )
    people = Console(file=io.StringIO(), width=width)
    assert watch_checks(events(), people, out, verbose=verbose) == list(FOUND)
    return [line.rstrip() for line in raw.getvalue().decode(encoding).splitlines()]


def test_a_line_for_each_finding_goes_on_below_itself() -> None:
    lines = shown()
    assert lines[:2] == ["pass labels              10 classes [x]", "warn layers              half dead"]
    assert lines[2] == "fail initial-loss        the first loss is 23.4, 10.2 times"
    assert all(line.startswith(" " * 25) and len(line) <= 60 for line in lines[3:-1])
    assert " ".join(" ".join(line[25:] for line in lines[2:-1]).split()) == LONG
    assert lines[-1].startswith("1 passed, 1 warning, 1 failure in 0.")


def test_what_is_skipped_has_a_dash() -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="utf8")
    console = Console(file=file, force_terminal=True, color_system="standard", no_color=False)
    skipped = Checked("statistics", "leaked?", Finding("skip", "nothing is held out"), 0.0)
    with console.capture() as captured:
        console.print(finding_line(skipped, console))
    assert captured.get().startswith("\x1b[2m-\x1b[0m statistics")


def test_in_a_file_each_finding_is_one_line() -> None:
    assert shown(terminal=False)[2] == f"fail initial-loss        {LONG}"


def test_colours_have_marks() -> None:
    lines = shown(color="standard")
    assert [mark in line for mark, line in zip("✓!✗", lines, strict=False)] == [True] * 3
    assert "\x1b[31m✗" in lines[2]


def test_verbose_shows_numbers_and_layers() -> None:
    lines = shown(verbose=True, width=100)
    assert lines[:2] == ["data digits: 10 train, 2 validation, 3 test", "  a column was dropped"]
    assert lines[3] == "     counts 1 2, ratio 1.5, 0.0 s"
    assert lines[6].split() == ["layer", "std", "dead", "saturated", "values", "gradient", "gradient", "/", "weight"]
    assert lines[7].split() == ["hidden/0", "0.5", "25%", "0%", "█▅▂", "1.5", "0.25"]
    assert "     loss 23.4, many (9 values), 1.0 s" in lines
    assert "@+. " in "\n".join(shown(verbose=True, width=100, encoding="ascii", terminal=False))


@pytest.mark.parametrize(
    ("counts", "drawn"), [([], ""), ([0, 0], "  "), ([1], "█"), ([8, 7, 4, 1, 0], "██▅▂ "), ([1000, 1], "█▁")]
)
def test_sparklines(counts: list[int], drawn: str) -> None:
    assert sparkline(counts) == drawn
    assert len(sparkline(counts, plain=True).encode("ascii")) == len(drawn)


def test_layers_without_a_kernel_and_without_numbers() -> None:
    norm = LAYER | {"path": "norm", "std": float("nan")}
    out = io.StringIO()
    own = [{"path": "norm/scale", "gradient": float("inf"), "ratio": None}]
    Console(file=out, width=100).print(layers_table([norm, LAYER], own, plain=False))
    assert out.getvalue().splitlines()[1].split() == ["norm", "nan", "25%", "0%", "█▅▂", "inf"]


def test_json_is_fit_for_programs() -> None:
    tree = json.loads(json.dumps(checks_json(FOUND)))
    assert (tree["ok"], tree["seconds"], failed(FOUND)) == (False, pytest.approx(1.21), FOUND[2:])
    assert tree["checks"][0] == {
        "name": "labels",
        "question": "enough?",
        "verdict": "pass",
        "said": "10 classes [x]",
        "seconds": 0.01,
        "numbers": {"counts": [1, 2], "ratio": 1.5},
    }
    assert checks_json(FOUND[:2])["ok"]


def test_the_summary_counts() -> None:
    assert summary(FOUND[:1], 12.3) == "1 passed, 0 warnings, 0 failures in 12 s"
    skipped = Checked("statistics", "leaked?", Finding("skip", "nothing is held out"), 0.0)
    assert summary([*FOUND, skipped, skipped], 6.0) == "1 passed, 2 skipped, 1 warning, 1 failure in 6.0 s"


def test_a_finding_is_as_bad_as_its_worst_problem() -> None:
    assert finding_of([], "fine", {"a": 1}) == Finding("pass", "fine", {"a": 1})
    both = finding_of([("warn", "slow"), ("fail", "broken"), ("warn", "dull")], "fine")
    assert (both.verdict, both.said) == ("fail", "broken; slow; dull")
    assert finding_of([("warn", "slow")], "fine").verdict == "warn"
