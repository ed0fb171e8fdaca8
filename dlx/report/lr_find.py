"""A range test as it goes on, in a terminal, as JSON, and as a picture."""

from collections.abc import Generator, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from dlx.diagnose.range_curve import Finding, RangeFound, findings_json
from dlx.diagnose.suggest import FALL
from dlx.events import Compiling, DataLoaded, Event, Measured, Notice
from dlx.report.figures import BLUE, GREEN, GREY, ORANGE, SMALL, VERMILLION, name_axes, new_axes, style
from dlx.report.tables import grid
from dlx.report.terminal_plot import TerminalPlot
from dlx.report.words import data_lines, number, plural

COLORS = (BLUE, ORANGE, GREEN, VERMILLION, "#CC79A7", "#56B4E9", "#F0E442", GREY)
"""Of curves that are compared (Okabe and Ito)."""
ABOVE = 0.25
"""How much of the fall is shown above the loss that it begins at; the explosion beyond is left out of the picture."""


def watch_range(events: Generator[Event, None, RangeFound], console: Console, *, quiet: bool) -> RangeFound:
    """Drains a test into a live line of where it is (on a terminal only), and returns what it found."""
    with nullcontext() if quiet else console.status("loading") as status:
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                return end.value
            if isinstance(event, Notice):
                console.print(f"note: {escape(event.text)}", soft_wrap=True)
            if status is None:
                continue
            match event:
                case DataLoaded():
                    for line in data_lines(event):
                        console.print(escape(line), soft_wrap=True)
                case Compiling():
                    status.update(f"compiling {event.program}")
                case Measured():
                    loss = event.metrics[0].get("train/loss")
                    status.update(f"step {event.step}" + ("" if loss is None else f", loss {number(loss)}"))


def range_lines(found: RangeFound, run: str, picture: Path, written: Path | None) -> Iterator[RenderableType]:
    """What was found, for people."""
    test, first = found.test, found.findings[0]
    how = f"{test.steps} steps at each of {test.rates} rates" if test.steps else f"{test.rates} rates, a step each,"
    yield f"run {run}: {how} from {test.lowest:g} to {test.highest:g}, {plural(test.seeds, 'seed')}"
    if len(found.findings) > 1:
        yield _comparison(found)
    else:
        yield _curve(first)
        if first.reading.suggestions:
            yield _rules(first)
    for finding in found.findings:
        label = f"{escape(finding.label)}: " if finding.label else ""
        if not finding.changes:
            yield f"[red]{label}{escape(finding.reading.why)}[/]"
        elif not finding.label:
            yield from _answer(finding)
    if written is not None:
        yield f"{escape(str(written))}: set {_changes(first)}"
    yield str(picture)


def range_json(found: RangeFound, run: str, picture: Path, written: Path | None) -> dict[str, Any]:
    """What was found as one JSON object; the curves are in the run's folder."""
    findings = findings_json(found)
    return {
        "run": run,
        "found": found.falls,
        **({k: v for k, v in findings[0].items() if k != "label"} if len(findings) == 1 else {"compared": findings}),
        "picture": str(picture),
        "curves": str(picture.with_suffix(".json")),
        "written": None if written is None else str(written),
    }


def draw_range(found: RangeFound) -> Figure:
    """The smoothed loss by rate: each seed's raw losses as dots, the band of the seeds, their median, and what was read of it."""
    test = found.test
    with style():
        figure, axes = new_axes(9, 5.5)
        if not test.linear:
            axes.set_xscale("log")
        count = len(found.findings)
        for index, finding in enumerate(found.findings):
            # Each a little thinner than the one before, so that equal curves can all be seen.
            width = 1.8 + 2.4 * (count - 1 - index) / count
            _draw(axes, finding, COLORS[index % len(COLORS)], width, alone=count == 1)
        axes.set_xlim(test.lowest, test.highest)
        axes.set_ylim(*_limits(found))
        band = f", the band is that of {test.seeds} seeds" if test.seeds > 1 else ""
        details = f"{'loss after ' + plural(test.steps, 'step') if test.steps else 'smoothed loss'}{band}"
        name_axes(axes, "Learning-rate range test", details, "learning rate", f"{_split(found)} loss")
        if axes.get_legend_handles_labels()[1]:
            figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=SMALL + 1)
        return figure


def _draw(axes: Axes, finding: Finding, color: str, width: float, *, alone: bool) -> None:
    curve, reading = finding.curve, finding.reading
    smoothed = np.where(np.isfinite(curve.smoothed), curve.smoothed, np.nan)
    median = np.where(np.isfinite(curve.median), curve.median, np.nan)
    if alone:
        for seed in curve.losses:
            axes.plot(curve.rates, seed, ".", color=GREY, ms=2.5, alpha=0.35, zorder=1)
    some = np.isfinite(curve.median)
    low, high = (edge(smoothed[:, some], axis=0) for edge in (np.nanmin, np.nanmax))
    axes.fill_between(curve.rates[some], low, high, color=color, alpha=0.18, lw=0, zorder=2)
    axes.plot(curve.rates, median, color=color, lw=width, zorder=3, label=finding.label or None)
    if reading.recommended is None or reading.base is None or reading.peak is None:
        return
    at = _on(curve.rates, median, reading.recommended)
    recommended = f"recommended {reading.recommended:.2g}"
    label = recommended if alone else None
    axes.plot([reading.recommended], [at], "*", color=VERMILLION if alone else color, ms=15, mec="white", zorder=5, label=label)
    if alone:
        axes.axvspan(reading.base, reading.peak, color=GREEN, alpha=0.1, lw=0, zorder=0, label=f"cyclical {_span(finding)}")
        for each, marker in zip(reading.suggestions, "osDv^P", strict=False):
            height = _on(curve.rates, median, each.rate)
            axes.plot(
                [each.rate], [height], marker, color=BLUE, mec="white", ms=7, zorder=4, label=f"{each.rule} {each.rate:.2g}"
            )


def _limits(found: RangeFound) -> tuple[float, float]:
    """From below the lowest loss to a little above where the curves begin."""
    medians = [finding.curve.median for finding in found.findings if np.isfinite(finding.curve.median).any()]
    if not medians:
        return 0.0, 1.0
    low, high = min(float(median.min()) for median in medians), max(map(_highest, medians))
    margin = 0.08 * max(high - low, 1e-9)
    return low - margin, high + margin


def _highest(median: np.ndarray) -> float:
    """The highest loss that is worth showing: a little above the start of a fall; where nothing falls, up to twice the start."""
    known = median[np.isfinite(median)]
    start, fall = float(known[0]), float(known[0] - known.min())
    return start + ABOVE * fall if fall > FALL * abs(start) else min(float(known.max()), start + abs(start))


def _on(rates: np.ndarray, losses: np.ndarray, rate: float) -> float:
    """The height of the curve at a rate."""
    known = np.isfinite(losses)
    return float(np.interp(np.log(rate), np.log(rates[known]), losses[known]))


def _curve(finding: Finding) -> RenderableType:
    """The part of the curve that can be seen: without the explosion at its end."""
    median, rates, rate = finding.curve.median, finding.curve.rates, finding.reading.recommended
    if not np.isfinite(median).any():
        return "[red]no rate came to a number[/]"
    shown = np.where(median <= _highest(median), median, np.nan)
    mark = None if rate is None else (float(np.interp(rate, rates, np.linspace(0, 1, len(rates)))), f"{rate:.2g}")
    return TerminalPlot(shown.tolist(), f"lr {rates[0]:g}", f"{rates[-1]:g}", mark=mark)


def _rules(finding: Finding) -> Table:
    table = grid()
    for header in ("rule", "rate", ""):
        table.add_column(header, no_wrap=header != "")
    for each in finding.reading.suggestions:
        table.add_row(each.rule, f"{each.rate:.2g}", each.why)
    return table


def _comparison(found: RangeFound) -> Table:
    table = grid()
    for header in ("", "rate", "cyclical", "lowest loss", "confidence"):
        table.add_column(header, no_wrap=True)
    for finding in found.findings:
        reading, median = finding.reading, finding.curve.median
        known = median[np.isfinite(median)]
        rate = "none" if reading.recommended is None else f"{reading.recommended:.2g}"
        lowest = number(float(known.min())) if len(known) else ""
        table.add_row(escape(finding.label), rate, _span(finding), lowest, reading.confidence)
    return table


def _answer(finding: Finding) -> Iterator[str]:
    reading = finding.reading
    yield f"[bold]recommended {reading.recommended:.2g}[/] (confidence {reading.confidence}: {reading.why})"
    yield f"cyclical    {_span(finding)}"
    meaning = " (the upper bound, and the lower one as a part of it)" if len(finding.changes) > 1 else ""
    yield f"to set      {_changes(finding)}{meaning}"


def _span(finding: Finding) -> str:
    reading = finding.reading
    return "" if reading.base is None else f"{reading.base:.2g} to {reading.peak:.2g}"


def _changes(finding: Finding) -> str:
    return " ".join(f"{key}={value:g}" for key, value in finding.changes.items())


def _split(found: RangeFound) -> str:
    return "validation" if found.test.validation else "training"
