"""A gradient check: what goes on, what was found of each parameter, and all built-in models in one table."""

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from dlx.diagnose.differences import Verdict
from dlx.diagnose.gradients import GradientsFound, LeafFound, ModeFound
from dlx.events import Compiling, Event
from dlx.report.tables import fitted, grid
from dlx.report.words import number, plural, seconds

COLORS: Final[dict[Verdict, str]] = {
    "right": "green",
    "wrong": "red",
    "kink": "yellow",
    "zero": "yellow",
    "undecidable": "yellow",
}
MODES: Final = {"training": "training mode", "evaluation": "evaluation mode", "both": "training and evaluation mode alike"}


@dataclass(frozen=True)
class Row:
    """One of many models that were checked."""

    model: str
    task: str
    found: GradientsFound
    seconds: float


def watch_gradients(events: Generator[Event, None, GradientsFound], console: Console, before: str = "") -> GradientsFound:
    """Drains a check into a live line of what it does (on a terminal only), and returns what it found."""
    with console.status(f"{before}loading") as status:
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                return end.value
            if isinstance(event, Compiling):
                status.update(escape(f"{before}{event.program}"))


def gradient_lines(found: GradientsFound, console: Console) -> Iterator[RenderableType]:
    """What was found, for people."""
    check = found.check
    what = "second derivatives" if check.order == 2 else "gradients"
    how = "every coordinate" if check.full else f"{check.directions} random directions a leaf"
    yield f"{what} in {check.dtype} of {found.parameters:,} parameters on {check.batch} examples, {how}"
    for mode in found.modes:
        yield ""
        yield f"[bold]{MODES[mode.mode]}[/], loss {number(mode.loss)}"
        yield from fitted(_table(mode), console) if mode.leaves else ()
        yield from (_remark(leaf) for leaf in mode.leaves if leaf.reading.why)
        yield from _whole(mode, check.dtype)
    yield ""
    yield _summary(found)


def gradient_json(found: GradientsFound) -> dict[str, Any]:
    """What was found as one JSON object."""
    check = found.check
    return {
        "ok": found.ok,
        "dtype": check.dtype,
        "order": check.order,
        "full": check.full,
        "examples": check.batch,
        "parameters": found.parameters,
        "modes": [_mode_json(mode) for mode in found.modes],
    }


def row_table(rows: Sequence[Row]) -> Table:
    """Of each model under each task what was worst."""
    table = grid()
    for header in ("model", "task"):
        table.add_column(header)
    for header in ("leaves", "worst error", "order", "forward mode", "seconds"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("verdict")
    for row in rows:
        leaves = [leaf for mode in row.found.modes for leaf in mode.leaves]
        judged = [leaf.reading for leaf in leaves if leaf.reading.verdict in ("right", "wrong")]
        orders = [reading.order for reading in judged if reading.order is not None]
        forward = [mode.forward for mode in row.found.modes if mode.forward is not None]
        table.add_row(
            row.model,
            row.task,
            str(len(leaves)),
            f"{max((reading.error for reading in judged), default=math.nan):.0e}",
            f"{min(orders):.2f}" if orders else "",
            f"{max(forward):.0e}" if forward else "none",
            f"{row.seconds:.1f}",
            _counts(row.found),
        )
    return table


def rows_summary(rows: Sequence[Row]) -> str:
    """The last line below the table."""
    wrong = sum(not row.found.ok for row in rows)
    took = seconds(sum(row.seconds for row in rows))
    said = f"[red]{plural(wrong, 'network')} with something wrong[/]" if wrong else "[green]nothing is wrong[/]"
    return f"{plural(len(rows), 'network')} in {took}: {said}"


def rows_json(rows: Sequence[Row]) -> dict[str, Any]:
    """All models as one JSON object."""
    checked = [{"model": r.model, "task": r.task, "seconds": r.seconds, **gradient_json(r.found)} for r in rows]
    return {"ok": all(row.found.ok for row in rows), "checked": checked}


def _table(mode: ModeFound) -> Table:
    table = grid()
    table.add_column("parameter")
    table.add_column("shape", no_wrap=True)
    for header in ("analytic", "numeric", "rel. error", "order", "step"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for leaf in mode.leaves:
        reading = leaf.reading
        table.add_row(
            escape(leaf.name),
            "x".join(map(str, leaf.shape)) or "1",
            f"{leaf.analytic:.3g}",
            f"{leaf.numeric:.3g}",
            f"{reading.error:.1e}",
            "" if reading.order is None else f"{reading.order:.2f}",
            f"{reading.step:.0e}",
            f"[{COLORS[reading.verdict]}]{reading.verdict}[/]",
        )
    return table


def _remark(leaf: LeafFound) -> str:
    return f"[{COLORS[leaf.reading.verdict]}]{escape(leaf.name)}: {leaf.reading.verdict}[/]: {escape(leaf.reading.why)}"


def _whole(mode: ModeFound, dtype: str) -> Iterator[str]:
    """What holds of all leaves together."""
    if mode.dtype != dtype:
        yield f"the network computes in {mode.dtype} by itself: relative errors up to {mode.tolerance:.2g} pass"
    if mode.estimators:
        yield f"{plural(mode.estimators, 'straight-through estimator')}: no gradient of this loss, but checked against that of the surrogate"
    if mode.apart_said:
        yield f"[{'red' if mode.apart > mode.tolerance else 'yellow'}]the loss is not the same twice ({mode.apart:.1e})[/]: {escape(mode.apart_said)}"
    if mode.forward is not None:
        color, word = ("green", "agrees") if mode.forward <= mode.tolerance else ("red", "disagrees")
        yield f"forward mode, without custom rules, [{color}]{word}[/] ({mode.forward:.1e})"
    elif mode.forward_said:
        yield f"there is no forward mode: {escape(mode.forward_said)}"


def _summary(found: GradientsFound) -> str:
    if not found.ok:
        return f"[red]wrong[/]: {_counts(found)}"
    largest = max(mode.tolerance for mode in found.modes)
    unclear = any(mode.count("undecidable") for mode in found.modes)
    word = "[yellow]nothing wrong was found[/]" if unclear else "[green]nothing is wrong[/]"
    return f"{word}: {_counts(found)}; relative errors up to {largest:.2g} pass"


def _counts(found: GradientsFound) -> str:
    verdicts = {verdict: sum(mode.count(verdict) for mode in found.modes) for verdict in COLORS}
    words = [f"{count} {verdict}" for verdict, count in verdicts.items() if count]
    if any(mode.apart > mode.tolerance for mode in found.modes):
        words.append("a loss that is not the same twice")
    if any(mode.forward is not None and mode.forward > mode.tolerance for mode in found.modes):
        words.append("forward mode disagrees")
    return ", ".join(words)


def _mode_json(mode: ModeFound) -> dict[str, Any]:
    return {
        "mode": mode.mode,
        "dtype": mode.dtype,
        "tolerance": mode.tolerance,
        "loss": mode.loss,
        "forward_mode_error": mode.forward,
        "forward_mode_missing": mode.forward_said or None,
        "straight_through_estimators": mode.estimators,
        "apart": mode.apart,
        "apart_why": mode.apart_said or None,
        "leaves": [
            {
                "parameter": leaf.name,
                "shape": list(leaf.shape),
                "analytic_norm": leaf.analytic,
                "numeric_norm": leaf.numeric,
                "relative_error": leaf.reading.error,
                "uncertainty": leaf.reading.uncertainty,
                "order": leaf.reading.order,
                "step": leaf.reading.step,
                "verdict": leaf.reading.verdict,
                "why": leaf.reading.why or None,
            }
            for leaf in mode.leaves
        ],
    }
