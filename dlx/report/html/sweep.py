"""The page of a sweep: its pictures, its best trials, what it searched, what failed."""

import json
import math
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from matplotlib.figure import Figure

from dlx.errors import Status
from dlx.report.html.blocks import Column, beside, code, facts, note, table, tiles
from dlx.report.html.evaluated import value_or_dash
from dlx.report.html.markup import EMPTY, Html, joined, shareable, tag
from dlx.report.html.page import Section, page
from dlx.report.html.picture import Drawing
from dlx.report.html.run import config_block, span, status_line
from dlx.report.plan import dimension_words
from dlx.report.tables import data_name
from dlx.report.words import number, plural, seconds, value_word
from dlx.store import SweepRecord, TrialRecord

BEST: Final = 25
"""Trials of the table of the best."""
FAILURES: Final = 25
"""Messages of trials that did not end well, at most."""
PARALLEL: Final = "parallel_coordinates"
WIDTH: Final = 6.4
"""Inches: the pictures are as wide, and their letters so larger on a narrow window; the parallel axes need more."""


def sweep_page(sweep: SweepRecord, figures: Mapping[str, Figure], importances: Mapping[str, float], made: str) -> str:
    """The page of a sweep. `figures` are those of `sweep_figures`, `made` is the page's last line."""
    title = f"{sweep.name or sweep.id}: sweep over {data_name(sweep.config['experiment'])}"
    sections = [
        Section("Pictures", _pictures(sweep, figures, importances)),
        Section("Best trials", _best(sweep)),
        Section("Search space", _space(sweep)),
        Section("Trials that did not end well", _failures(sweep)),
        Section("Experiment", config_block(sweep.config["experiment"], "")),
        Section("How it ran", _ran(sweep)),
    ]
    return page(title, "dlx sweep", _head(sweep), sections, made)


def _head(sweep: SweepRecord) -> Html:
    lost = "its process is gone; the same command continues" if sweep.status is Status.LOST else ""
    named = f"sweep {sweep.id}" + (f", {sweep.name}" if sweep.name else "")
    when = f"{named} · {span(sweep.created, sweep.finished)}"
    return joined([status_line(sweep.status, sweep.message or lost, when), tiles(_tiles(sweep))])


def _tiles(sweep: SweepRecord) -> Iterator[tuple[str, str, str]]:
    if sweep.ranked:
        best = sweep.ranked[0]
        yield f"best {sweep.monitor}", value_or_dash(best.value), f"trial {best.number}, run {best.run_id or 'removed'}"
    counts = Counter(str(trial.status or "waiting") for trial in sweep.trials)
    total = f" of {sweep.trials_total}" if sweep.trials_total is not None else ""
    yield "trials", f"{len(sweep.trials)}{total}", ", ".join(f"{n} {status}" for status, n in counts.most_common())
    if len(sweep.goals) > 1:
        yield "on the front", str(len(sweep.front)), ", ".join(f"{g.metric} ({g.direction})" for g in sweep.goals)
    yield "searched values", str(len(sweep.config["search"])), _kinds(sweep)
    if sweep.seconds.get("train"):
        yield "training", seconds(sweep.seconds["train"]), "of all trials"


def _kinds(sweep: SweepRecord) -> str:
    return ", ".join(f"{part} {sweep.config[part]['kind']}" for part in ("sampler", "pruner") if part in sweep.config)


# ---------------------------------------------------------------------------------------------------------------- pictures


def _pictures(sweep: SweepRecord, figures: Mapping[str, Figure], importances: Mapping[str, float]) -> Html:
    told = _seen(sweep, importances)
    blocks = {name: Drawing(_fitted(name, figure), *told[name]).block(name) for name, figure in figures.items()}
    parallel = tag("div", blocks.pop(PARALLEL), attributes={"class": "wide"}) if PARALLEL in blocks else EMPTY
    return joined([beside(*blocks.values()), parallel])


def _fitted(name: str, figure: Figure) -> Figure:
    """The picture in the page's width, without its title, which stands above it in larger letters."""
    if name != PARALLEL:
        width, height = figure.get_size_inches()
        figure.set_size_inches(min(width, WIDTH), height * min(1.0, (WIDTH / width) ** 0.5))
    for axes in figure.axes:
        axes.set_title(" ", loc="left")
    return figure


def _seen(sweep: SweepRecord, importances: Mapping[str, float]) -> dict[str, tuple[str, str]]:
    """By picture its title and what it shows."""
    counts = Counter(str(trial.status or "waiting") for trial in sweep.trials)
    trials = ", ".join(f"{n} {status}" for status, n in counts.most_common()) or "no trial yet"
    best = (
        f"the best is trial {sweep.ranked[0].number} with {_scores(sweep, sweep.ranked[0])}"
        if sweep.ranked
        else _none_ranked(sweep).lower()
    )
    values = f"; its values: {_values(sweep, sweep.ranked[0])}" if sweep.ranked else ""
    total = sum(max(0.0, share) for share in importances.values() if math.isfinite(share))
    shares = (
        [f"{key} {share / total:.0%}" for key, share in sorted(importances.items(), key=lambda item: -item[1])]
        if total > 0
        else []
    )
    first = sweep.trials[0].value if sweep.trials else None
    began = f", the first trial reached {number(first)}" if first is not None else ""
    return {
        "history": (f"History: {sweep.monitor} of each trial", f"{sweep.monitor} of each trial: {trials}; {best}{began}"),
        "learning_curves": (
            f"Learning curves: {sweep.monitor} by epoch",
            f"{sweep.monitor} by epoch of all trials: {trials}; {best}",
        ),
        "parallel_coordinates": (
            "Parallel coordinates: searched values and what they led to",
            f"a line for each completed trial through its values; {best}{values}",
        ),
        "importance": ("Importance of each searched value", "; ".join(shares) or "too few trials to tell which values matter"),
        "slices": (
            f"Slices: {sweep.monitor} by each searched value",
            f"{sweep.monitor} against each of {', '.join(sweep.config['search'])}; {best}{values}",
        ),
        "front": (
            "Pareto front",
            f"{plural(len(sweep.front), 'trial')} that no other beats: "
            + "; ".join(f"trial {t.number}: {_scores(sweep, t)}" for t in sweep.front[:20]),
        ),
    }


def _none_ranked(sweep: SweepRecord) -> str:
    """Why there is no best trial, as the pictures have it."""
    completed = any(trial.status is Status.COMPLETED for trial in sweep.trials)
    return "No completed trial has a finite value" if completed else "No trial has completed yet"


def _scores(sweep: SweepRecord, trial: TrialRecord) -> str:
    return ", ".join(f"{g.metric} {value_or_dash(v)}" for g, v in zip(sweep.goals, trial.values or (), strict=False))


def _values(sweep: SweepRecord, trial: TrialRecord) -> str:
    return ", ".join(f"{key}={value_word(trial.final[key])}" for key in sweep.config["search"] if key in trial.final)


# ------------------------------------------------------------------------------------------------------------------ tables


def _best(sweep: SweepRecord) -> Html:
    if not sweep.ranked:
        return note(f"{_none_ranked(sweep)}.", kind="missing")
    several = len(sweep.goals) > 1
    front = {trial.number for trial in sweep.front} if several else set()
    seeds = any(len(trial.trainings) > 1 for trial in sweep.trials)
    keys = list(sweep.config["search"])
    columns = [Column("trial"), Column("run", numbers=False), *(Column(goal.metric) for goal in sweep.goals)]
    columns += ([Column("± over seeds")] if seeds else []) + ([Column("on the front", numbers=False)] if several else [])
    columns += [Column(key) for key in keys]
    shown = sorted(sweep.ranked, key=lambda trial: trial.number not in front)[:BEST]
    rows = [
        [
            str(trial.number),
            trial.run_id or "",
            *(value_or_dash(value) for value in trial.values or ()),
            *([value_or_dash(trial.deviation)] if seeds else []),
            *(["yes" if trial.number in front else ""] if several else []),
            *(value_word(trial.final[key]) if key in trial.final else "" for key in keys),
        ]
        for trial in shown
    ]
    made = table(f"The best {len(rows)} of {plural(len(sweep.ranked), 'completed trial')}", columns, rows)
    return joined([made, tag("p", "The best again: ", code(_overrides(sweep.ranked[0])))])


def _overrides(trial: TrialRecord) -> str:
    """The trial's values in full, as they are typed after `dlx train`."""
    words = (f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in trial.final.items())
    return " ".join(map(shlex.quote, words))


def _space(sweep: SweepRecord) -> Html:
    rows = [[key, dimension_words(dimension)] for key, dimension in sweep.config["search"].items()]
    columns = [Column("key", numbers=False), Column("values", numbers=False)]
    return table(f"What was searched, by {_kinds(sweep)}", columns, rows) if rows else note("No value is searched.")


def _failures(sweep: SweepRecord) -> Html:
    """One row for each message, with the trials that ended so."""
    found: dict[tuple[str, str], list[int]] = {}
    for trial in sweep.trials:
        if trial.status in (Status.FAILED, Status.DIVERGED):
            found.setdefault((str(trial.status), trial.message), []).append(trial.number)
    if not found:
        return EMPTY
    rows = [
        [str(len(numbers)), status, shareable(message), _numbers(numbers)]
        for (status, message), numbers in sorted(found.items(), key=lambda item: -len(item[1]))[:FAILURES]
    ]
    columns = [Column("trials"), *(Column(name, numbers=False) for name in ("status", "message", "which"))]
    caption = "By what was said" + (f", the first {FAILURES} of {len(found)} messages" if len(found) > FAILURES else "")
    return table(caption, columns, rows)


def _numbers(numbers: Sequence[int]) -> str:
    more = f" and {len(numbers) - 12} more" if len(numbers) > 12 else ""
    return ", ".join(map(str, numbers[:12])) + more


def _ran(sweep: SweepRecord) -> Html:
    rest: dict[str, Any] = {key: sweep.config.get(key) for key in ("sampler", "pruner", "objective", "seeds")}
    words = ((key, code(json.dumps(value, ensure_ascii=False))) for key, value in rest.items() if value is not None)
    spent = ", ".join(f"{phase} {value:.1f}" for phase, value in sweep.seconds.items() if value >= 0.05)
    return facts(
        [
            ("command", code(shareable(sweep.command))),
            *words,
            ("data fingerprint", str(sweep.config.get("data") or "")),
            ("seconds", spent),
        ]
    )
