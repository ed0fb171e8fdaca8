"""What a schedule does to the rates of a training: as a picture, as a table of every step, in words, and in a terminal."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.console import RenderableType
from rich.markup import escape

from dlx.events import PlannedRates
from dlx.report.figures import BLUE, SMALL, PlainTicks, dressed, name_axes, new_figure, style
from dlx.report.files import make_folder, whole_file
from dlx.report.terminal_plot import TerminalPlot, extents
from dlx.report.words import number, plural

DRAWN = 2000
"""Points of a line, at most: more steps are drawn as the lowest and the highest value of each stretch of them."""
FEW = 40
"""Steps up to which each one is marked."""
MAIN = "learning_rate"


def draw_schedule(plan: PlannedRates, name: str) -> Figure:
    """One panel for each rate, over steps, with the epochs below."""
    with style():
        figure = new_figure(9, 5 if len(plan.rates) == 1 else 7)
        heights = [2.0 if rate == MAIN else 1.0 for rate in plan.rates]
        panels = figure.subplots(len(plan.rates), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (rate, values) in zip(panels, plan.rates.items(), strict=True):
            _draw(dressed(axes), np.asarray(values), from_zero=rate != "momentum")
            axes.set_ylabel(_spoken(rate), fontsize=10)
        first, last = panels[0], panels[-1]
        words = " and ".join(map(_spoken, plan.rates))
        name_axes(first, f"{name}: {words}".replace("$", r"\$"), _details(plan), "", _spoken(next(iter(plan.rates))))
        last.set_xlabel("step", fontsize=10)
        last.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
        _mark_epochs(last, plan.steps_per_epoch)
        return figure


def write_rates(plan: PlannedRates, path: Path) -> None:
    """A CSV with one row for each step: `step,epoch,learning_rate` and what else moves. Raises `CannotWriteError`."""
    steps = np.arange(_steps(plan))
    columns = [steps.tolist(), np.round(steps / plan.steps_per_epoch, 6).tolist(), *map(_shortest, plan.rates.values())]
    with whole_file(path) as temporary, temporary.open("w", encoding="utf8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("step", "epoch", *plan.rates))
        writer.writerows(zip(*columns, strict=True))


def files_in(folder: Path, name: str) -> tuple[Path, Path]:
    """Where the picture and the table of an experiment go; the folder is made. Raises `CannotWriteError`."""
    make_folder(folder)
    return folder / f"{name}-schedule.png", folder / f"{name}-schedule.csv"


def schedule_lines(plan: PlannedRates, name: str) -> Iterator[RenderableType]:
    """The rates in words, and the learning rate as a small picture."""
    yield escape(f"{name}: {_details(plan)}")
    for rate, values in plan.rates.items():
        found = _numbers(values)
        if found["lowest"] == found["peak"]:
            yield f"{_spoken(rate)}: {number(found['first'])} at every step"
            continue
        yield (
            f"{_spoken(rate)}: first {number(found['first'])}, highest {number(found['peak'])} (step {found['peak_step']:,}), "
            f"lowest {number(found['lowest'])} (step {found['lowest_step']:,}), last {number(found['last'])}"
        )
    last = _steps(plan) - 1
    right = f"step {last:,}, epoch {last / plan.steps_per_epoch:.1f}"
    yield TerminalPlot(next(iter(plan.rates.values())), "step 0", right, floor=0.0)
    yield from map(escape, plan.notes)


def schedule_json(plan: PlannedRates, picture: Path, table: Path) -> dict[str, Any]:
    """Where the files are, and the numbers in short."""
    return {
        "png": str(picture),
        "csv": str(table),
        "schedule": plan.schedule,
        "steps": _steps(plan),
        "steps_per_epoch": plan.steps_per_epoch,
        **{rate: _numbers(values) for rate, values in plan.rates.items()},
        "notes": list(plan.notes),
    }


def _draw(axes: Axes, values: np.ndarray, *, from_zero: bool) -> None:
    known = values[np.isfinite(values)]
    x, y = np.arange(len(values)), np.where(np.isfinite(values), values, np.nan)
    if len(values) > DRAWN:
        parts = DRAWN // 2
        x = np.repeat(np.arange(parts) * len(values) // parts, 2)
        y = np.stack(extents(y, parts), axis=1).ravel()
    axes.plot(x, y, color=BLUE, lw=1.8, marker="." if len(values) <= FEW else "", ms=6)
    if len(known):
        low, high = min(0.0, float(known.min())) if from_zero else float(known.min()), float(known.max())
        margin = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
        axes.set_ylim(low if low == 0 and high > 0 else low - margin, high + margin)
    axes.set_xlim(-0.02 * len(values), 1.02 * len(values))


def _mark_epochs(axes: Axes, steps_per_epoch: int) -> None:
    """A second axis below the steps, in epochs."""

    def in_epochs(steps: Any) -> Any:
        return steps / steps_per_epoch

    def in_steps(epochs: Any) -> Any:
        return epochs * steps_per_epoch

    epochs = axes.secondary_xaxis("bottom", functions=(in_epochs, in_steps))
    epochs.spines["bottom"].set_position(("outward", 40))
    low, high = axes.get_xlim()
    whole = high - low > 2 * steps_per_epoch
    epochs.xaxis.set_major_locator(MaxNLocator(integer=whole, steps=[1, 2, 5, 10]))
    epochs.xaxis.set_major_formatter(PlainTicks())
    epochs.tick_params(labelsize=SMALL + 1)
    epochs.set_xlabel("epoch", fontsize=10)


def _details(plan: PlannedRates) -> str:
    return f"{plan.schedule} over {plural(_steps(plan), 'step')}, {plan.steps_per_epoch:,} an epoch"


def _numbers(values: Sequence[float]) -> dict[str, float]:
    """The first, the highest, the lowest and the last of a rate, and the first steps with the highest and the lowest."""
    array: np.ndarray = np.asarray(values, np.float32)
    at = {"first": 0, "peak": int(np.argmax(array)), "lowest": int(np.argmin(array)), "last": len(array) - 1}
    found = {word: float(str(array[step])) for word, step in at.items()}
    return {**found, "peak_step": at["peak"], "lowest_step": at["lowest"]}


def _shortest(values: Sequence[float]) -> list[str]:
    """Each number in the fewest digits from which float32, in which training computes it, can be read back."""
    return np.asarray(values, np.float32).astype(str).tolist()


def _steps(plan: PlannedRates) -> int:
    return len(next(iter(plan.rates.values())))


def _spoken(rate: str) -> str:
    return rate.replace("_", " ")
