"""The pictures of a stored sweep: what is drawn of it, and into which files."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from dlx.report.sweep_plots import (
    Curve,
    Point,
    history,
    importance,
    learning_curves,
    parallel_coordinates,
    pareto_front,
    save,
)
from dlx.store import Store, SweepRecord, curves, find_run


def draw_sweep(store: Store, sweep: SweepRecord, importances: Mapping[str, float], folder: Path) -> Iterator[Path]:
    """Draws a sweep into PNG files of a folder, and yields their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    maximize = sweep.direction == "maximize"
    search = sweep.config["search"]
    log = [key for key, dimension in search.items() if dimension.get("log")]
    points = [
        Point(t.number, t.params, t.value if t.value is not None else _last(t.curve), str(t.status or "waiting"))
        for t in sweep.trials
    ]
    figures = {
        "history": history(points, sweep.monitor, maximize),
        "parallel_coordinates": parallel_coordinates(points, list(search), log, sweep.monitor, maximize),
        "importance": importance(importances, sweep.monitor),
        "learning_curves": learning_curves(list(_curves(store, sweep)), sweep.monitor, maximize),
    }
    if len(sweep.goals) > 1:
        first, second = sweep.goals[:2]
        values = [(t.number, t.values[0], t.values[1]) for t in sweep.ranked if t.values]
        senses = (first.direction == "maximize", second.direction == "maximize")
        front = [trial.number for trial in sweep.front]
        figures["front"] = pareto_front(values, front, (first.metric, second.metric), senses)
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        save(figure, path)
        yield path


def _curves(store: Store, sweep: SweepRecord) -> Iterator[Curve]:
    """The monitored metric of every run by epoch."""
    for trial in sweep.trials:
        for training in trial.trainings:
            if training.run_id is None:
                continue
            per_epoch = find_run(store, training.run_id).steps_per_epoch
            found = curves(store, training.run_id, [sweep.monitor]).get(sweep.monitor, [])
            epochs = [step / max(1, per_epoch) for step, _ in found]
            yield Curve(trial.number, epochs, [value for _, value in found], str(training.status or "waiting"))


def _last(curve: Mapping[int, float]) -> float | None:
    """Where a trial that was not completed had come to."""
    value = curve[max(curve)] if curve else None
    return value if value is not None and math.isfinite(value) else None
