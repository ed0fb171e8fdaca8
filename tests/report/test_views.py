"""What people see: on a narrow terminal, in a log, with hostile names."""

import io
import json
import re
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from dlx.errors import Status
from dlx.events import DataLoaded, Evaluated, Finished, Measured, Notice, Started
from dlx.report.console import print_json
from dlx.report.listing import print_runs, runs_table, runs_text
from dlx.report.progress import watch
from dlx.report.tables import generalization
from dlx.report.words import bytes_, number, plural, printable, seconds
from dlx.store import Listing, RunSummary

HOSTILE = "[red]x[/red] [/] <b>"


def stream(steps=40):
    """A run as its events tell it."""
    yield DataLoaded("digits", 100, 20, 20, (f"column {HOSTILE}: left out",))
    yield Notice("not the same machine")
    yield Started(
        "abcd1234", HOSTILE, Path("/r/abcd1234"), 0, steps, 10, 64, 1234, "validation/accuracy", "cpu (2 cores)", False
    )
    for step in range(10, steps + 1, 10):
        yield Measured(step, step / 10, ({"train/loss": 1 / step, "train/learning_rate": 0.1},), True, (None,))
        yield Evaluated(step, step / 10, "validation", ({"validation/loss": 0.5, "validation/accuracy": 0.9},), (True,))
    metrics = {"train/accuracy": 0.99, "validation/accuracy": 0.9, "test/accuracy": 0.91}
    for split in ("train", "validation", "test"):
        yield Evaluated(steps, steps / 10, split, ({f"{split}/accuracy": metrics[f"{split}/accuracy"]},), best_steps=(20,))
    yield Finished("abcd1234", Status.COMPLETED, f"trained {steps} steps", steps, metrics, Path("/r/abcd1234"), {"train": 1.5})


def seen(width=100, terminal=False, **options):
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, highlight=False)
    finished = watch(stream(), console, **options)
    assert finished.status is Status.COMPLETED
    return out.getvalue()


def test_a_log_has_plain_lines_and_no_control_characters():
    text = seen()
    assert "\x1b" not in text
    assert "\r" not in text
    assert "note: not the same machine" in text
    assert "best weights: step 20 (epoch 2.0), by validation/accuracy" in text
    assert "train - validation accuracy: +0.0900, overfitting (above 0.05)" in text


def test_names_are_shown_as_they_are():
    assert f"run abcd1234 ({HOSTILE}): 1,234 parameters" in seen()
    assert f"column {HOSTILE}: left out" in seen()


def test_a_log_of_a_long_run_stays_short(monkeypatch):
    """At most a line in five seconds, however many steps there are."""
    assert sum(line.startswith("step ") for line in seen().splitlines()) == 0, "these four evaluations took no time"


def test_quiet_keeps_what_must_be_known():
    assert seen(quiet=True) == "note: not the same machine\n"


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_terminal_may_be_narrow(width):
    text = seen(width, terminal=True)
    assert "abcd1234" in text


def test_json_has_no_nan(capsys):
    print_json({"a": float("nan"), "b": [float("inf"), 1.5], "c": {"d": None}})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": {"d": None}}


@pytest.mark.parametrize(
    ("metrics", "sentence"),
    [
        (
            {"train/accuracy": 0.9, "validation/accuracy": 0.89},
            "train - validation accuracy: +0.0100, no overfitting to speak of",
        ),
        ({"train/f1": 0.9, "validation/f1": 0.8}, "train - validation f1: +0.1000, overfitting (above 0.05)"),
        ({"train/rmse": 2.0, "validation/rmse": 3.0}, "validation / train rmse: 1.50, overfitting (above 1.25)"),
        ({"train/accuracy": 0.9}, None),
    ],
)
def test_the_gap_between_training_and_validation(metrics, sentence):
    assert generalization(metrics) == sentence


def test_numbers_as_people_write_them():
    assert [number(x) for x in (0.99259, 55120.4, 3.0, 1.2e-5, float("nan"), float("inf"))] == [
        "0.9926",
        "55120",
        "3",
        "1.2e-05",
        "nan",
        "inf",
    ]
    assert [seconds(x) for x in (0.21, 12.4, 200, 7500)] == ["0.2 s", "12 s", "3 min 20 s", "2 h 05 min"]
    assert [bytes_(x) for x in (10, 2048, 3 * 2**20, 5 * 2**30)] == ["10 B", "2.0 KiB", "3.0 MiB", "5.0 GiB"]
    assert [plural(1, "run"), plural(1200, "step")] == ["1 run", "1,200 steps"]


def listed(name, path, **changes):
    config = {"data": {"kind": "csv", "path": path}, "model": {"kind": "mlp"}}
    facts = {"id": "abcd1234", "status": Status.COMPLETED, "message": "", "created": 0.0, "finished": None, "heartbeat": 0.0}
    counts = {"step": 40, "epoch": 4, "steps_total": 40, "steps_per_epoch": 10, "lanes": 1, "lane": 0, "pid": 1}
    words = {"monitor": "validation/accuracy", "direction": "maximize", "host": "vm", "runs_folder": Path("/r")}
    metrics = {"validation/accuracy": 0.98765, "test/accuracy": 1.0}
    return RunSummary(
        **{
            **facts,
            **counts,
            **words,
            "name": name,
            "metrics": metrics,
            "seconds_text": "{}",
            "config_text": json.dumps(config),
            **changes,
        }
    )


RUNS = (
    listed("night", "/d/titanic.csv"),
    listed(HOSTILE, "x.csv", status=Status.LOST, metrics={}),
    listed(None, "データ.csv", step=123456, steps_total=1234567),
    listed("{0} %s", "x.csv", metrics={"validation/accuracy": float("nan"), "test/accuracy": float("inf")}),
)


def printed(found, width=200, terminal=False, short=False):
    out = io.StringIO()
    print_runs(found, Console(file=out, width=width, force_terminal=terminal, highlight=False), short=short)
    return out.getvalue()


def test_thousands_of_runs_are_listed_as_a_few_are():
    table = io.StringIO()
    Console(file=table, width=200, highlight=False).print(runs_table(RUNS, 200))
    text = runs_text(RUNS)
    assert [line.split() for line in text.splitlines()] == [line.split() for line in table.getvalue().splitlines()]
    header, *lines = text.splitlines()
    status = header.index("status")
    assert [cell_len(line.partition(word)[0]) for line, word in zip(lines, ("completed", "lost"), strict=False)] == [status] * 2
    assert {cell_len(line) for line in (header, lines[0], *lines[2:])} == {len(header)}, "figures end at the right"
    assert printed(Listing(RUNS, 4)) == runs_text(RUNS)
    assert "\x1b[" in printed(Listing(RUNS, 4), terminal=True)
    assert printed(Listing(RUNS * 200, 800), terminal=True) == runs_text(RUNS * 200)


@pytest.mark.parametrize(
    ("width", "gone"),
    [
        (200, []),
        (80, []),
        (70, ["data", "model"]),
        (60, ["data", "model", "started"]),
        (50, ["data", "model", "started", "step"]),
    ],
)
def test_a_narrow_terminal_loses_words_and_no_figures(width, gone):
    runs = [listed(name, "/d/titanic.csv") for name in ("night", "sw/quite-a-long-name", "[red]x[/red]")]
    header, *lines = re.sub(r"\x1b\[\d+m", "", printed(Listing(runs, 3), width, terminal=True)).splitlines()
    every = ("id", "name", "status", "started", "model", "data", "step", "monitored", "test")
    assert header.split() == [column for column in every if column not in gone]
    for line in lines:
        assert cell_len(line) <= width
        assert line.split()[0] == "abcd1234"
        assert "completed" in line
        assert line.split()[-2:] == ["0.9877", "1"]
        assert bool(re.search(r" 19\d\d-\d\d-\d\d ", line)) == ("started" not in gone)
        assert "\N{HORIZONTAL ELLIPSIS}" not in line or width < 200


def test_a_name_cannot_steer_the_terminal_or_break_a_line():
    text = runs_text([listed("a", "x\x1b[2J\n\u202e\udc80.csv")])
    assert len(text.splitlines()) == 2
    assert text.isascii() or text.replace("\n", "").isprintable()
    assert "x\N{REPLACEMENT CHARACTER}[2J" in text
    assert printable("a\nb\tc\x1b[31m\udcff") == "a b c\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}"


def test_a_listing_that_was_cut_says_so_and_an_empty_one_says_why():
    assert printed(Listing(RUNS, 10), short=True).endswith("the first 4 of 10 runs; -n N or --all shows more\n")
    assert printed(Listing(RUNS, 10)) == runs_text(RUNS)
    assert printed(Listing(RUNS, 4), short=True) == runs_text(RUNS)
    assert printed(Listing((), 0)) == "no runs\n"
    assert printed(Listing((), 0, f"no run has {HOSTILE}")) == f"no runs: no run has {HOSTILE}\n"
