"""A sweep as it is seen while it runs: the live table at its moments, plain lines in a log, the last word."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dlx.errors import Status
from dlx.events import (
    CohortStarted,
    Compiled,
    Compiling,
    Measured,
    Notice,
    RungReached,
    SweepFinished,
    SweepStarted,
    TrialFinished,
)
from dlx.report import sweep_progress
from dlx.report.sweep_progress import watch_sweep

HOSTILE = "[red]x[/red] [/] <b>"
STARTED = SweepStarted(
    "abcd1234", HOSTILE, 32, 4, 2, "validation/accuracy", maximize=True, device="cpu (2 cores)", path=Path("/r")
)
COHORT = CohortStarted(tuple(range(4, 20)), 16, 0, 1080, 618, compiled=False)
SURVIVORS = CohortStarted((4, 9, 23), 4, 120, 1080, 618, compiled=False)


def trial(number: int, value: float | None, *, best: bool = False, status: Status = Status.COMPLETED, **more: Any) -> Any:
    params = {"optimizer.lr": 0.01234567, "model.activation": HOSTILE, "model.hidden": [8, 4]}
    return TrialFinished(number, f"run{number}", status, "", value, params, best=best, **more)


def finished(best: TrialFinished | None, **more: Any) -> SweepFinished:
    status = more.pop("status", Status.COMPLETED)
    counts = {Status.PRUNED: 20, Status.COMPLETED: 12}
    return SweepFinished("abcd1234", status, "32 of 32 trials", counts, best, 3, {}, Path("/r"), **more)


class Clock:
    """Time as the views see it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(sweep_progress, "time", made)
    return made


def drawn(board: Any, width: int = 120) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(board.table())
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def test_the_table_at_every_moment_of_a_sweep(clock: Clock) -> None:
    board = sweep_progress._Board()
    assert drawn(board) == ["sweep starting"]
    board.show(STARTED)
    assert drawn(board) == ["trials 4 of 32", "time 0.0 s so far, compiling 0.0 s"]
    board.show(COHORT)
    board.show(Compiling("train"))
    clock.now += 3
    assert drawn(board)[1] == "cohort compiling train: 16 trials on 16 lanes, step 0 of 1,080"
    board.show(Compiled("train"))
    clock.now += 1
    board.show(Measured(120, 1.0, ({},) * 16, True, (None,) * 16))
    assert drawn(board) == [
        "trials 4 of 32",
        "cohort training: 16 trials on 16 lanes, step 120 of 1,080",
        "time 4.0 s so far, compiling 3.0 s",
    ]
    board.show(RungReached(1, 9, tuple(range(10, 20)), 6))
    for number in range(10, 20):
        board.show(trial(number, None, status=Status.PRUNED))
    clock.now += 6
    assert drawn(board) == [
        "trials 14 of 32 (10 pruned)",
        "cohort training: 6 trials on 16 lanes, step 120 of 1,080",
        "time 1 trials/s, 10 s so far, compiling 3.0 s, about 18 s left",
    ]
    board.show(SURVIVORS)
    board.show(trial(4, 0.91, best=True))
    board.show(trial(9, 0.905))
    assert drawn(board)[:3] == [
        "trials 16 of 32 (2 completed, 10 pruned)",
        f"best 0.91 trial 4 optimizer.lr=0.01235 model.activation={HOSTILE} model.hidden=[8, 4]",
        "cohort training: 3 trials on 4 lanes, step 120 of 1,080",
    ]


def test_a_rung_says_how_many_trials_go_on(clock: Clock) -> None:
    board = sweep_progress._Board()
    board.show(STARTED)
    board.show(CohortStarted((0, 1, 2, 3), 16, 0, 100, 618, compiled=False))
    board.show(RungReached(1, 9, (2, 3), 2))
    assert "2 trials on 16 lanes" in drawn(board)[1]


def test_a_sweep_until_its_time_is_up_has_no_total_and_no_time_left(clock: Clock) -> None:
    board = sweep_progress._Board()
    board.show(SweepStarted("abcd1234", None, None, 0, 1, "validation/loss", maximize=False, device="cpu", path=Path("/r")))
    board.show(trial(0, 0.5, best=True))
    clock.now += 2
    assert drawn(board)[0] == "trials 1 (1 completed)"
    assert drawn(board)[-1] == "time 0.5 trials/s, 2.0 s so far, compiling 0.0 s"


@pytest.mark.parametrize("width", [20, 40, 80])
def test_the_table_fits_a_narrow_terminal(clock: Clock, width: int) -> None:
    board = sweep_progress._Board()
    for event in (STARTED, COHORT, trial(4, 0.91, best=True)):
        board.show(event)
    clock.now += 1
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(board.table())
    lines = out.getvalue().splitlines()
    assert len(lines) == 4
    assert all(len(line) <= width for line in lines)


def seen(*events: Any, width: int = 200, terminal: bool = False, **options: Any) -> list[str]:
    out = io.StringIO()
    watch_sweep(iter(events), Console(file=out, width=width, force_terminal=terminal, highlight=False), **options)
    return out.getvalue().splitlines()


BEST = trial(4, 0.91, best=True)


def test_a_log_has_a_line_for_each_cohort_rung_and_better_trial(clock: Clock) -> None:
    events = (
        STARTED,
        COHORT,
        RungReached(1, 9, tuple(range(10, 20)), 6),
        trial(10, None, status=Status.PRUNED),
        RungReached(2, 9, (), 6),
        SURVIVORS,
        BEST,
        trial(9, 0.905),
        finished(BEST),
    )
    assert seen(*events) == [
        f"sweep abcd1234 ({HOSTILE}): 32 trials, 4 of them done, 2 values searched for the highest validation/accuracy, cpu (2 cores)",
        "0.0 s: 16 trials (4-19) on 16 lanes, 618 parameters each",
        "0.0 s: evaluation 1 of 9: 10 trials pruned, 6 going on",
        "0.0 s: 3 trials (4, 9, 23) on 4 lanes from step 120, 618 parameters each",
        f"trial 4 completed 0.91, the best so far: optimizer.lr=0.01235 model.activation={HOSTILE} model.hidden=[8, 4]",
        "sweep abcd1234 completed: 32 of 32 trials (12 completed, 20 pruned), 3 programs, 0.0 s",
        f"best: trial 4 validation/accuracy 0.91  optimizer.lr=0.01235 model.activation={HOSTILE} model.hidden=[8, 4]",
        "`dlx train --from abcd1234` trains it as a run of its own; `dlx sweep show abcd1234` has the others",
    ]


def test_survivors_on_a_known_program_are_told_only_to_those_who_want_every_word(clock: Clock) -> None:
    known = CohortStarted((4, 9, 23), 4, 120, 1080, 618, compiled=True)
    assert len(seen(STARTED, known, finished(None))) == 2
    told = seen(STARTED, known, finished(None), verbose=True)
    assert told[1] == "0.0 s: 3 trials (4, 9, 23) on 4 lanes from step 120, 618 parameters each, compiled before"


def test_verbose_tells_every_trial_and_quiet_only_notices_and_bad_news(clock: Clock) -> None:
    events = (STARTED, COHORT, Notice(HOSTILE), trial(10, None, status=Status.PRUNED), BEST)
    verbose = seen(*events, finished(BEST), verbose=True)
    assert any(line.startswith("trial 10 pruned: optimizer.lr=") for line in verbose)
    assert seen(*events, finished(BEST), quiet=True) == [f"note: {HOSTILE}"]
    bad = seen(*events, finished(None, status=Status.FAILED), quiet=True)
    assert bad[1] == "sweep abcd1234 failed: 32 of 32 trials (12 completed, 20 pruned), 3 programs, 0.0 s"


def test_a_trial_of_several_seeds_is_told_with_its_deviation(clock: Clock) -> None:
    best = trial(4, 0.91, best=True, values=(0.91,), deviation=0.0123)
    lines = seen(STARTED, COHORT, best, finished(best))
    assert any(line.startswith("trial 4 completed 0.91 ± 0.0123, the best so far: ") for line in lines)
    assert any(line.startswith("best: trial 4 validation/accuracy 0.91 ± 0.0123  ") for line in lines)


def test_of_several_objectives_the_last_word_is_the_front(clock: Clock) -> None:
    front = tuple(trial(number, 0.9 - number / 100, values=(0.9 - number / 100, 1000.0 * number)) for number in range(1, 15))
    lines = seen(STARTED, COHORT, *front, finished(front[0], front=front))
    told = [line for line in lines if line.startswith("on the front: ")]
    assert told[0].startswith("on the front: trial 1 validation/accuracy 0.89, 1000  ")
    assert len(told) == 12
    assert not any(line.startswith("best:") for line in lines)


def test_numbers_of_trials_that_are_not_in_a_row_are_listed(clock: Clock) -> None:
    many = CohortStarted(tuple(range(0, 40, 2)), 32, 0, 100, 618, compiled=False)
    one = CohortStarted((7,), 1, 0, 100, 618, compiled=False)
    lines = seen(STARTED, many, one, finished(None))
    assert "20 trials (0, 2, 4, 6, 8, 10, 12, 14, ...) on 32 lanes" in lines[1]
    assert "1 trial (7) on 1 lane," in lines[2]


def test_a_log_has_no_control_characters_and_a_terminal_may_be_narrow() -> None:
    events = (STARTED, COHORT, RungReached(1, 9, (4, 5), 14), BEST, finished(BEST))
    assert not any("\x1b" in line or "\r" in line for line in seen(*events))
    assert any("abcd1234" in line for line in seen(*events, width=20, terminal=True))
