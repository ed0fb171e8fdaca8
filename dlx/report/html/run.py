"""The page of one run: outcome, curves, what an evaluation found, config, environment."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dlx.errors import Status
from dlx.evaluation.results import Evaluation
from dlx.report.html.blocks import Column, beside, code, facts, folded, note, pill, table, tiles
from dlx.report.html.curves import Curves, run_curves
from dlx.report.html.evaluated import evaluation_sections, interval, measured, value_or_dash
from dlx.report.html.markup import EMPTY, Html, joined, shareable, tag
from dlx.report.html.page import Section, page
from dlx.report.tables import SPLITS, data_name, generalization, score_names
from dlx.report.words import moment, number, plural, seconds, value_word
from dlx.store import RunRecord

CURVE_ROWS = 50
"""Rows of the table of a run's curves, at most."""


def run_page(run: RunRecord, curves: Curves, evaluation: Evaluation | str, made: str) -> str:
    """The page of one run; `evaluation` is a sentence that says why there is none. `made` is the page's last line."""
    folder = str(run.environment.get("folder", ""))
    title = f"{run.name or run.id}: {run.config['model']['kind']} on {data_name(run.config)}"
    best = run.metrics.get("best/step")
    found = (
        list(evaluation_sections(evaluation))
        if isinstance(evaluation, Evaluation)
        else [Section("Evaluation", note(shareable(evaluation, folder), kind="missing"))]
    )
    sections = [
        Section("Training", joined([beside(_curves(run, curves, best), _scores(run, curves)), _values(curves)])),
        *found,
        Section("Config", config_block(run.config, folder)),
        Section("Where it ran", _environment(run, folder)),
    ]
    return page(title, "dlx run", _head(run, evaluation, best, folder), sections, made)


def status_line(status: Status, message: str, when: str, folder: str = "") -> Html:
    """How it ended, in a pill and in words."""
    said = f" {shareable(message, folder)}" if message else ""
    return tag("p", pill(str(status)), said, f" · {when}")


def config_block(config: Mapping[str, Any], folder: str) -> Html:
    """One line for each field that is set, by its path as it is typed in an override."""
    return facts((section, _words(values, folder)) for section, values in config.items() if isinstance(values, Mapping))


def _words(values: Mapping[str, Any], folder: str) -> Html:
    kind = [str(values["kind"])] if "kind" in values else []
    fields = [
        f"{key}={shareable(value_word(value), folder)}" for key, value in values.items() if key != "kind" and value is not None
    ]
    return joined((code(word) for word in [*kind, *fields]), between=" ")


def environment_facts(environment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Device, versions, source code. Host and folder are left out: a page is sent to others."""
    yield "device", str(environment.get("device", ""))
    yield "python", str(environment.get("python", ""))
    yield "packages", ", ".join(f"{name} {version}" for name, version in (environment.get("packages") or {}).items())
    yield "platform", str(environment.get("platform", ""))
    git = environment.get("git") or {}
    changes = " with uncommitted changes" if git.get("dirty") else ""
    yield "commit", f"{git['commit']}{changes}" if git.get("commit") else ""
    yield "variables", shareable(", ".join(f"{key}={value}" for key, value in (environment.get("variables") or {}).items()))
    yield "data fingerprint", str(environment.get("data") or "")
    own = environment.get("sources") or {}
    yield (
        "own source files",
        ", ".join(f"{name.rpartition('/')[2]} (sha256 {str(digest)[:12]})" for name, digest in own.items()),
    )


def span(created: float, finished: float | None) -> str:
    """`2026-11-20 23:31, 3 min 20 s`."""
    return moment(created) + (f", {seconds(finished - created)}" if finished else "")


def _head(run: RunRecord, evaluation: Evaluation | str, best: float | None, folder: str) -> Html:
    when = span(run.created, run.finished)
    named = f"run {run.id}" + (f", {run.name}" if run.name else "")
    parts = [status_line(run.status, run.message, f"{named} · {when}", folder), tiles(_tiles(run, evaluation, best))]
    if isinstance(evaluation, Evaluation):
        parts += [note(shareable(sentence, folder), kind="warning") for sentence in evaluation.warnings]
    if sentence := generalization(run.metrics):
        parts.append(note(f"{sentence}.", kind="warning" if "overfitting (" in sentence else "note"))
    return joined(parts)


def _tiles(run: RunRecord, evaluation: Evaluation | str, best: float | None) -> Iterator[tuple[str, str, str]]:
    base = run.monitor.partition("/")[2]
    if isinstance(evaluation, Evaluation):
        first = evaluation.scores.overall[evaluation.headline]
        limits = interval(first)
        yield (
            f"{evaluation.split} {evaluation.headline}",
            measured(first),
            f"95 %: {limits}" if limits else plural(evaluation.examples, "example"),
        )
        rivals = {
            name: found[evaluation.headline] for name, found in evaluation.baselines.items() if evaluation.headline in found
        }
        rivals = {name: value for name, value in rivals.items() if not math.isnan(value)}
        if rivals:
            name = (max if evaluation.maximize else min)(rivals, key=lambda key: rivals[key])
            better = rivals[name] > first.value if evaluation.maximize else rivals[name] < first.value
            yield "best simple model", number(rivals[name]), f"{name}, better than the network" if better else name
    for split in ("validation", "test"):
        value = run.metrics.get(f"{split}/{base}")
        told = isinstance(evaluation, Evaluation) and (evaluation.split, evaluation.headline) == (split, base)
        if value is not None and not told:
            yield f"{split} {base}", value_or_dash(value), "at the best weights" if best is not None else ""
    if best is not None:
        yield "best weights", f"step {number(best)}", f"epoch {best / max(1, run.steps_per_epoch):.1f}, by {run.monitor}"
    epochs = run.step / max(1, run.steps_per_epoch)
    yield (
        "steps",
        f"{run.step:,}",
        f"{number(round(epochs, 2))} epochs" + (f", of {run.steps_total:,}" if run.step < run.steps_total else ""),
    )
    if "parameters" in run.metrics:
        yield "parameters", f"{int(run.metrics['parameters']):,}", ""
    if run.seconds.get("train"):
        yield "training", seconds(run.seconds["train"]), f"on {run.environment.get('device', 'an unknown device')}"


def _curves(run: RunRecord, curves: Curves, best: float | None) -> Html:
    drawing = run_curves(curves, run.monitor, best)
    if drawing is None:
        reason = "it ended before its first evaluation" if run.status is not Status.RUNNING else "it has not been evaluated yet"
        return note(f"There are no curves of this run: {reason} (step {run.step} of {run.steps_total}).", kind="missing")
    return drawing.block("curves")


def _values(curves: Curves) -> Html:
    """A row for each step at which something was stored, or for so many of them, evenly drawn."""
    if not curves:
        return EMPTY
    by_step: dict[int, dict[str, float]] = {}
    for name, points in curves.items():
        for step, value in points:
            by_step.setdefault(step, {})[name] = value
    steps = sorted(by_step)
    shown = (
        [steps[round(at * (len(steps) - 1) / max(1, CURVE_ROWS - 1))] for at in range(min(CURVE_ROWS, len(steps)))]
        if len(steps) > CURVE_ROWS
        else steps
    )
    names = sorted(curves)
    rows = [[str(step), *(value_or_dash(by_step[step].get(name)) for name in names)] for step in shown]
    some = f", {len(shown)} of {len(steps)}" if len(shown) < len(steps) else ""
    made = table(f"Metrics by step{some}", [Column("step"), *map(Column, names)], rows)
    return folded("The curves as a table", made)


def latest_parts(run: RunRecord, curves: Curves) -> list[str]:
    """The parts of the data that were scored on the latest weights, not on the best: in a sweep those of training."""
    best = run.metrics.get("best/step")

    def latest(name: str, value: float) -> bool:
        step, last = curves[name][-1] if curves.get(name) else (best, value)
        return best is None or (step != best and last == value)

    of_part = {
        split: [
            latest(name, value)
            for name, value in run.metrics.items()
            if name.startswith(f"{split}/") and name != f"{split}/learning_rate"
        ]
        for split in SPLITS
    }
    return [split for split, found in of_part.items() if found and all(found)]


def _scores(run: RunRecord, curves: Curves) -> Html:
    """A row for each part of the data, as `dlx runs show` has it."""
    names = score_names(run.metrics)
    splits = [split for split in SPLITS if any(f"{split}/{name}" in run.metrics for name in names)]
    if not splits:
        return EMPTY
    rows = [[split, *(value_or_dash(run.metrics.get(f"{split}/{name}")) for name in names)] for split in splits]
    latest = latest_parts(run, curves)
    whose = "at the best weights" + (f"; {' and '.join(latest)}: the latest values" if latest else "")
    caption = f"By part of the data, {'the latest values' if latest == splits else whose}"
    return table(caption, [Column("part", numbers=False), *map(Column, names)], rows)


def _environment(run: RunRecord, folder: str) -> Html:
    rows: Sequence[tuple[str, Html | str]] = [
        ("command", code(shareable(run.command, folder)) if run.command else EMPTY),
        *environment_facts(run.environment),
        ("seconds", ", ".join(f"{phase} {spent:.1f}" for phase, spent in run.seconds.items() if spent >= 0.05)),
        (
            "stretches",
            "; ".join(
                f"steps {s.from_step} to {s.to_step if s.to_step is not None else '?'} on {s.device}: {s.outcome or Status.RUNNING}"
                for s in run.segments
            )
            if len(run.segments) > 1
            else "",
        ),
    ]
    return facts(rows)
