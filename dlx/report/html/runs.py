"""The page of several runs: their curves over each other, their metrics side by side, where their configs differ."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dlx.report.html.blocks import Column, code, note, pill, table
from dlx.report.html.curves import Curves, compared_curves
from dlx.report.html.evaluated import value_or_dash
from dlx.report.html.markup import EMPTY, Content, Html, joined, shareable, tag
from dlx.report.html.page import Section, page
from dlx.report.html.run import latest_parts, span
from dlx.report.runs_export import config_word, differing, flattened
from dlx.report.tables import SPLITS, data_name
from dlx.report.words import plural
from dlx.store import RunRecord

_SHOWN_FIRST = ("test", "validation", "train")


@dataclass(frozen=True)
class Compared:
    """A run with its curves."""

    run: RunRecord
    curves: Curves

    @property
    def label(self) -> str:
        """Its name and its id, as it is called on the page."""
        return f"{self.run.name} ({self.run.id})" if self.run.name else self.run.id


def runs_page(compared: Sequence[Compared], made: str) -> str:
    """The page of several runs, in the order given. `made` is its last line."""
    names = ", ".join(each.run.name or each.run.id for each in compared)
    title = f"{plural(len(compared), 'run')}: {names if len(names) <= 80 else names[:79] + '…'}"
    head = table("The runs", _run_columns(), [_run_row(each) for each in compared])
    sections = [
        Section("Learning curves", _curves(compared)),
        Section("Metrics", _metrics(compared)),
        Section("Where their configs differ", _differences(compared)),
        Section("Where they ran", _environments(compared)),
    ]
    return page(title, "dlx runs", head, sections, made)


def _run_columns() -> list[Column]:
    words = ("run", "status", "started", "model", "data")
    return [*(Column(word, numbers=False) for word in words), Column("step"), Column("best step"), Column("parameters")]


def _run_row(each: Compared) -> list[Content]:
    run = each.run
    best, parameters = run.metrics.get("best/step"), run.metrics.get("parameters")
    return [
        each.label,
        pill(str(run.status)),
        span(run.created, run.finished),
        str(run.config["model"]["kind"]),
        data_name(run.config),
        f"{run.step}/{run.steps_total}",
        "" if best is None else f"{int(best)}",
        "" if parameters is None else f"{int(parameters):,}",
    ]


def _curves(compared: Sequence[Compared]) -> Html:
    parts = [(each.label, each.curves, each.run.steps_per_epoch) for each in compared]
    drawing = compared_curves(parts, [each.run.monitor for each in compared])
    return drawing.block("curves") if drawing else note("None of these runs was evaluated before it ended.", kind="missing")


def _metrics(compared: Sequence[Compared]) -> Html:
    """A row for each metric, a column for each run; the best of a monitored metric is said below."""
    found = {name for each in compared for name in each.run.metrics if name.partition("/")[0] in SPLITS}
    found -= {name for name in found if name.endswith("/learning_rate")}
    names = sorted(found, key=lambda name: (_SHOWN_FIRST.index(name.partition("/")[0]), name))
    if not names:
        return note("None of these runs has a metric.", kind="missing")
    rows = [[name, *(value_or_dash(each.run.metrics.get(name)) for each in compared)] for name in names]
    columns = [Column("metric", numbers=False), *(Column(each.label) for each in compared)]
    return joined([table(_whose(compared), columns, rows), _best(compared)])


def _whose(compared: Sequence[Compared]) -> str:
    """Which weights the metrics are of: a run that did not end has no best ones yet."""
    if not any("best/step" in each.run.metrics for each in compared):
        return "The latest values of each run"
    latest = [
        f"{each.label} ({' and '.join(parts)})" if "best/step" in each.run.metrics else each.label
        for each in compared
        if (parts := latest_parts(each.run, each.curves))
    ]
    return "At the best weights of each run" + (f"; the latest values of {', '.join(latest)}" if latest else "")


def _best(compared: Sequence[Compared]) -> Html:
    """Which run is the best by what all of them monitor, if they do; and that this alone proves little."""
    first = compared[0].run
    if any((each.run.monitor, each.run.direction) != (first.monitor, first.direction) for each in compared):
        return note("These runs were judged by different metrics while they trained.")
    known = [each for each in compared if not math.isnan(each.run.metrics.get(first.monitor, math.nan))]
    if len(known) < 2:
        return EMPTY
    best = (max if first.direction == "maximize" else min)(known, key=lambda each: each.run.metrics[first.monitor])
    words = f"The best {first.monitor} is that of {best.label}: {value_or_dash(best.run.metrics[first.monitor])}. "
    return tag("p", words, code("dlx runs compare"), " tells whether the difference is more than chance.")


def _differences(compared: Sequence[Compared]) -> Html:
    """What `dlx runs diff` finds in the configs."""
    runs = [each.run for each in compared]
    found = differing(runs)["config"]
    if not found:
        return note("Their configs are equal.")
    rows = [
        [key, *(shareable(config_word(values[run.id])) if run.id in values else "" for run in runs)]
        for key, values in found.items()
    ]
    columns = [Column("key", numbers=False), *(Column(each.label, numbers=False) for each in compared)]
    equal = len({key for run in runs for key in flattened(run.config)}) - len(found)
    same = f"; {plural(equal, 'field')} the same"
    return table(f"{plural(len(found), 'field')} differ{'s' if len(found) == 1 else ''}{same}", columns, rows)


def _environments(compared: Sequence[Compared]) -> Html:
    rows = []
    for each in compared:
        environment = each.run.environment
        packages = environment.get("packages") or {}
        git = environment.get("git") or {}
        commit = f"{git['commit'][:12]}{' with changes' if git.get('dirty') else ''}" if git.get("commit") else ""
        versions = ", ".join(f"{name} {packages[name]}" for name in ("dlx", "jax", "flax", "optax") if name in packages)
        data = str(environment.get("data") or "")[:12]
        rows.append([each.label, str(environment.get("device", "")), versions, commit, data, shareable(each.run.command)])
    words = ("run", "device", "versions", "commit", "data fingerprint", "command")
    return table("Devices, versions, commands", [Column(word, numbers=False) for word in words], rows)
