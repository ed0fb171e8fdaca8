"""What people and programs read of a search for the largest batch."""

import io
import json
import math

import pytest
from rich.console import Console

from dlx.events import BatchFound, BatchTried, Compiled, Compiling
from dlx.report.batch_find import answer, batch_json, batch_lines, watch_sizes
from dlx.report.console import print_json

MIB = 1024**2


def found(batch: int | None = 96, *sizes: tuple[int, float]) -> BatchFound:
    sizes = sizes or ((1, 10 * MIB), (96, 99.5 * MIB), (97, 100.2 * MIB))
    tried = tuple(BatchTried(size, needed, needed <= 100 * MIB) for size, needed in sizes)
    return BatchFound(batch, 1000, "the whole training part", tried, 100 * MIB, "cpu (2 cores)", resident=True)


def printed(tree: BatchFound, width: int = 100) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False)
    for line in batch_lines(tree):
        console.print(line)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_row_for_each_size_and_the_answer() -> None:
    assert printed(found()) == [
        "cpu (2 cores): 100.0 MiB for the train program, data on the device included",
        "batch size  predicted  of what there is  fits",
        "         1   10.0 MiB            10.0 %  yes",
        "        96   99.5 MiB            99.5 %  yes",
        "        97  100.2 MiB           100.2 %  no",
        "train.batch_size=96 fits into 100.0 MiB; 97 would need 100.2 % of it",
        "nothing was trained",
    ]


def test_narrow_terminals_keep_the_numbers() -> None:
    assert max(map(len, printed(found(), 50))) <= 50


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        (
            found(1000, (1, MIB), (1000, 2 * MIB)),
            "train.batch_size=1000 fits, and is as large as it can be (the whole training part)",
        ),
        (
            found(None, (1, 200 * MIB)),
            "not even train.batch_size=1 fits: its train program needs 200.0 MiB, and there is 100.0 MiB; lower the model's sizes",
        ),
        (
            found(None, (2, math.inf)),
            "not even train.batch_size=2 fits: its train program needs more than the compiler had, and there is 100.0 MiB; lower the model's sizes",
        ),
        (
            found(8, (8, MIB), (16, math.inf)),
            "train.batch_size=8 fits into 100.0 MiB; 16 would need more than the compiler had",
        ),
        (found(8, (1, MIB), (8, MIB)), "train.batch_size=8 fits into 100.0 MiB; nothing larger was tried"),
    ],
)
def test_the_answer_in_a_sentence(tree: BatchFound, sentence: str) -> None:
    assert answer(tree) == sentence
    assert printed(tree)


def test_json_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    print_json(batch_json(found(8, (8, MIB), (16, math.inf))))
    tree = json.loads(capsys.readouterr().out)
    assert tree["batch_size"] == 8
    assert tree["tried"] == [
        {"batch_size": 8, "memory_bytes": MIB, "fits": True},
        {"batch_size": 16, "memory_bytes": None, "fits": False},
    ]


@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_compiled_is_seen_on_a_terminal_only(terminal: bool) -> None:
    out = io.StringIO()
    events = iter((Compiling("train for [b]atch size 8"), Compiled("train"), BatchTried(8, 1, True), found()))
    assert watch_sizes(events, Console(file=out, width=80, force_terminal=terminal)) == found()
    assert bool(out.getvalue()) == terminal
