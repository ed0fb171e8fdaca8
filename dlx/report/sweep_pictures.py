"""The pictures of a stored sweep: what is drawn of it, and into which files."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean

from matplotlib.figure import Figure

from dlx.report.figures import save
from dlx.report.sweep_plots import (
    Curve,
    Point,
    history,
    importance,
    learning_curves,
    parallel_coordinates,
    pareto_front,
    slices,
)
from dlx.store import Store, SweepRecord, curves, find_run


def sweep_figures(store: Store, sweep: SweepRecord, importances: Mapping[str, float]) -> dict[str, Figure]:
    """All pictures of a sweep by name, in the order in which they are looked at; `front` only of several objectives."""
    maximize = sweep.direction == "maximize"
    search = sweep.config["search"]
    log = [key for key, dimension in search.items() if dimension.get("log")]
    points = [
        Point(t.number, t.params, t.value if t.value is not None else _last(t.curve), str(t.status or "waiting"))
        for t in sweep.trials
    ]
    figures = {
        "history": history(points, sweep.monitor, maximize),
        "learning_curves": learning_curves(list(_curves(store, sweep)), sweep.monitor, maximize),
        "parallel_coordinates": parallel_coordinates(points, list(search), log, sweep.monitor, maximize),
        "importance": importance(importances, sweep.monitor),
        "slices": slices(points, list(search), log, sweep.monitor, maximize),
    }
    if len(sweep.goals) > 1:
        first, second = sweep.goals[:2]
        values = [(t.number, t.values[0], t.values[1]) for t in sweep.ranked if t.values]
        senses = (first.direction == "maximize", second.direction == "maximize")
        front = [trial.number for trial in sweep.front]
        figures["front"] = pareto_front(values, front, (first.metric, second.metric), senses)
    return figures


def draw_sweep(store: Store, sweep: SweepRecord, importances: Mapping[str, float], folder: Path) -> Iterator[Path]:
    """Draws a sweep into PNG files of a folder, and yields their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in sweep_figures(store, sweep, importances).items():
        path = folder / f"{name}.png"
        save(figure, path)
        yield path


def _curves(store: Store, sweep: SweepRecord) -> Iterator[Curve]:
    """The monitored metric of every trial by epoch: of several seeds the mean, where all have one."""
    for trial in sweep.trials:
        runs = [training.run_id for training in trial.trainings if training.run_id is not None]
        if not runs:
            continue
        each = [dict(curves(store, run, [sweep.monitor]).get(sweep.monitor, [])) for run in runs]
        steps = sorted(set.intersection(*map(set, each)))
        per_epoch = max(1, find_run(store, runs[0]).steps_per_epoch)
        means = [fmean(found[step] for found in each) for step in steps]
        yield Curve(trial.number, [step / per_epoch for step in steps], means, str(trial.status or "waiting"))


def _last(curve: Mapping[int, float]) -> float | None:
    """Where a trial that was not completed had come to."""
    value = curve[max(curve)] if curve else None
    return value if value is not None and math.isfinite(value) else None
