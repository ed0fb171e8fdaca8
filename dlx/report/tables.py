"""Records and results as tables."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from dlx.errors import Status
from dlx.report.words import moment, number, printable, seconds
from dlx.store import RunRecord, RunSummary, Segment

if TYPE_CHECKING:  # `dlx runs` has no use for the events of a training, and 10 ms to spare for nothing
    from dlx.events import Finished, Started

SPLITS: Final = ("train", "validation", "test")
_COLORS: Final = {
    Status.COMPLETED: "green",
    Status.RUNNING: "cyan",
    Status.PRUNED: "blue",
    Status.INTERRUPTED: "yellow",
    Status.DIVERGED: "red",
    Status.FAILED: "red",
    Status.LOST: "red",
}


def finished_lines(
    event: "Finished", splits: Mapping[str, Mapping[str, float]], best_step: int | None, started: "Started | None"
) -> Iterator[RenderableType]:
    """The end of a run: how it ended, its scores by split, whether it overfits, where it lies."""
    train = event.seconds.get("train")
    took = f" in {seconds(train)} of training" if train and event.status is Status.COMPLETED else ""
    yield f"run {event.run} {colored(event.status)}: {escape(event.message)}{took}"
    if best_step is not None and started is not None:
        yield f"best weights: step {best_step} (epoch {best_step / started.steps_per_epoch:.1f}), by {started.monitor}"
    if scores := {name: dict(metrics) for name, metrics in splits.items()} or _by_split(event.metrics):
        yield scores_table(scores)
        if sentence := generalization(event.metrics):
            yield sentence
    yield escape(str(event.path))


def scores_table(splits: Mapping[str, Mapping[str, float]]) -> Table:
    """One row per split, one column per metric."""
    table = grid()
    names = score_names([name for metrics in splits.values() for name in metrics])
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right")
    for split in (s for s in SPLITS if s in splits):
        values = [splits[split].get(f"{split}/{name}") for name in names]
        table.add_row(split, *("" if value is None else number(value) for value in values))
    return table


def score_names(metrics: Iterable[str]) -> list[str]:
    """The scores among metrics such as `test/loss`, by which parts of the data can be compared: not rates, nor what training alone measures."""
    parts: dict[str, set[str]] = {}
    for metric in metrics:
        part, _, name = metric.partition("/")
        if part in SPLITS and not name.endswith("learning_rate"):
            parts.setdefault(name, set()).add(part)
    several = len(set().union(*parts.values())) > 1
    return [name for name, found in parts.items() if not several or found != {"train"}]


def generalization(metrics: Mapping[str, float]) -> str | None:
    """The gap between training and validation at the best weights, and whether it is overfitting."""
    for name, limit in (("accuracy", 0.05), ("f1", 0.05)):
        train, validation = metrics.get(f"train/{name}"), metrics.get(f"validation/{name}")
        if train is not None and validation is not None:
            verdict = f"overfitting (above {limit:g})" if train - validation > limit else "no overfitting to speak of"
            return f"train - validation {name}: {train - validation:+.4f}, {verdict}"
    train, validation = metrics.get("train/rmse"), metrics.get("validation/rmse")
    if train and validation is not None:
        verdict = "overfitting (above 1.25)" if validation / train > 1.25 else "no overfitting to speak of"
        return f"validation / train rmse: {validation / train:.2f}, {verdict}"
    return None


def run_lines(run: RunRecord) -> Iterator[RenderableType]:
    """Everything about one run."""
    name = f" ({escape(run.name)})" if run.name else ""
    yield f"run {run.id}{name} {colored(run.status)}{': ' + escape(printable(run.message)) if run.message else ''}"
    facts = grid(header=False)
    facts.add_column()
    facts.add_column(overflow="fold")
    ended = f", ended {moment(run.finished)}" if run.finished else ""
    environment = run.environment
    git = environment.get("git") or {}
    packages = environment.get("packages", {})
    rows = {
        "command": run.command,
        "started": moment(run.created) + ended,
        "progress": f"step {run.step} of {run.steps_total}, epoch {run.epoch}",
        "monitored": f"{run.monitor} ({run.direction})",
        "device": str(environment.get("device", "")),
        "versions": ", ".join(f"{k} {v}" for k, v in packages.items() if k in ("dlx", "jax", "flax", "optax")),
        "commit": f"{git['commit'][:12]}{' with changes' if git.get('dirty') else ''}" if git.get("commit") else "",
        "seconds": ", ".join(
            f"{k} {v:.1f}" if v >= 0.05 else f"{k} {v:.1g}" for k, v in run.seconds.items() if v >= 0.05 or k == "train"
        ),
        "stretches": "; ".join(_stretch(s) for s in run.segments) if len(run.segments) > 1 else "",
        "folder": str(run.path),
    }
    for key, value in rows.items():
        if value:
            facts.add_row(key, escape(printable(value)))
    yield facts
    if scores := _by_split(run.metrics):
        yield scores_table(scores)
    if sentence := generalization(run.metrics):
        yield sentence
    yield config_table(run.config)


def metric_lines(run: RunSummary, curves: Mapping[str, Sequence[tuple[int, float]]]) -> list[tuple[int, str]]:
    """One line per step at which something was stored, with that step."""
    by_step: dict[int, dict[str, float]] = {}
    for name, points in curves.items():
        for step, value in points:
            by_step.setdefault(step, {})[name] = value
    return [
        (step, f"step {step}/{run.steps_total} epoch {step / run.steps_per_epoch:.1f}  {metric_words(metrics)}")
        for step, metrics in sorted(by_step.items())
    ]


def metric_words(metrics: Mapping[str, float]) -> str:
    """`train/loss 0.31  validation/accuracy 0.886`."""
    return "  ".join(f"{name} {number(value)}" for name, value in metrics.items())


def config_table(config: Mapping[str, Any]) -> Table:
    """One row per section: its kind and its keys."""
    table = grid(header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for section, values in config.items():
        if isinstance(values, Mapping):
            words = [
                f"{k}={str(v).lower() if isinstance(v, bool) else v}"
                for k, v in values.items()
                if k != "kind" and v is not None
            ]
            table.add_row(section, escape(printable(" ".join([str(values.get("kind", "")), *words]).strip())))
    return table


def rows_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A plain table of words; the last column folds."""
    table = grid()
    for header in headers[:-1]:
        table.add_column(header, no_wrap=True)
    table.add_column(headers[-1], overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    return table


def colored(status: Status) -> str:
    """The status in its colour, as Rich markup."""
    return f"[{_COLORS[status]}]{status}[/]"


def data_name(config: Mapping[str, Any]) -> str:
    """The data's kind, or its file for tables and folders."""
    data = config["data"]
    own = data["kind"] in ("csv", "parquet", "npz", "image-folder", "python")
    return str(data.get("path") or data.get("target")).rpartition("/")[2] if own else str(data["kind"])


def finished_json(event: "Finished", imported: float) -> dict[str, Any]:
    """The last word of `dlx train --json`; `imported` is the seconds that the imports took."""
    return {
        "run": event.run,
        "status": str(event.status),
        "message": event.message,
        "metrics": dict(event.metrics),
        "steps": event.step,
        "seconds": {"import": imported, **event.seconds},
        "path": str(event.path),
    }


def run_json(run: RunSummary) -> dict[str, Any]:
    """A run as one JSON object."""
    tree = {
        "run": run.id,
        "name": run.name,
        "status": str(run.status),
        "message": run.message,
        "step": run.step,
        "epoch": run.epoch,
        "steps": run.steps_total,
        "monitor": run.monitor,
        "created": run.created,
        "finished": run.finished,
        "metrics": dict(run.metrics),
        "seconds": dict(run.seconds),
        "path": str(run.path),
        "config": run.config,
    }
    if isinstance(run, RunRecord):
        tree |= {"command": run.command, "environment": dict(run.environment)}
        tree["segments"] = [{"from_step": s.from_step, "to_step": s.to_step, "host": s.host} for s in run.segments]
    return tree


def _stretch(segment: Segment) -> str:
    return f"{segment.from_step}-{segment.to_step if segment.to_step is not None else ''} {segment.outcome or Status.RUNNING}"


def _by_split(metrics: Mapping[str, float]) -> dict[str, dict[str, float]]:
    return {
        split: found
        for split in SPLITS
        if (found := {name: value for name, value in metrics.items() if name.startswith(f"{split}/")})
    }


def metric_word(metrics: Mapping[str, float], name: str) -> str:
    """The value of a metric, or nothing where there is none."""
    return number(metrics[name]) if name in metrics else ""


def grid(*, header: bool = True) -> Table:
    """A table without lines, as all of dlx's are."""
    return Table(box=None, show_header=header, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))


def fitted(table: Table, console: Console) -> Iterator[RenderableType]:
    """The table, or where it is wider than the console a line for each row, `header value` after `header value`."""
    if Measurement.get(console, console.options.update(max_width=10_000), table).maximum <= console.width:
        yield table
        return
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        named = zip((str(column.header) for column in table.columns), cells, strict=True)
        yield "  ".join(f"{escape(header)} {cell}" for header, cell in named if cell)
