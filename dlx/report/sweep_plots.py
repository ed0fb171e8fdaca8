"""Sweeps as pictures: what the trials reached, how they got there, which values mattered.

Every function returns a `Figure` of its own; nothing is shown, and pyplot's global state is not touched.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation, Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from dlx.report.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    SMALL,
    VERMILLION,
    PlainTicks,
    dressed,
    name_axes,
    new_axes,
    new_figure,
    short,
    style,
    tick_labels,
    written,
)
from dlx.report.words import number, plural

COLORS = MappingProxyType({"completed": BLUE, "pruned": ORANGE, "diverged": VERMILLION, "failed": BLACK})
LOST = ("diverged", "failed", "lost")
"""The statuses of trials that have no value to compare."""

LABELLED_FRONT = 12
"""A longer front is drawn without its trials' numbers."""
LARGEST = 1e100
"""What is beyond it, infinite or not a number is not drawn: Matplotlib multiplies coordinates."""
SLICES_ACROSS = 2
"""Panels in a row of the slices."""
SHOWN_TICKS = 16
"""Of a categorical axis; of more choices only every other, every third, ... is named."""


@dataclass(frozen=True)
class Point:
    """A trial: the searched values it had and what it reached."""

    number: int
    params: Mapping[str, Any]
    value: float | None
    status: str


@dataclass(frozen=True)
class Curve:
    """A trial's monitored metric over its epochs."""

    number: int
    epochs: Sequence[float]
    values: Sequence[float]
    status: str


def history(points: Sequence[Point], monitor: str, maximize: bool) -> Figure:
    """What each trial reached, in their order, and the best so far."""
    title = f"{short(monitor)} of each trial"
    with style():
        done = _completed(points)
        if not done:
            return _empty(title, _none_completed(points))
        figure, axes = new_axes(9, 5)
        pruned = [point for point in points if point.status == "pruned" and _drawable(point.value)]
        limits = _padded(*_span([_value(point) for point in [*done, *pruned]], maximize))
        beyond = 0
        for group, label, marker in ((done, "completed", "o"), (pruned, "pruned (last value)", "x")):
            x, y = np.array([point.number for point in group]), np.array([_value(point) for point in group], float)
            inside = (y >= limits[0]) & (y <= limits[1])
            if inside.any():
                color = COLORS[group[0].status]
                axes.plot(x[inside], y[inside], marker, color=color, ms=5, alpha=0.75, label=label, ls="", zorder=3)
            for high, mark in ((True, "^"), (False, "v")):  # at the edge that they are beyond
                outside = x[y > limits[1] if high else y < limits[0]]
                if len(outside):
                    label = "_" if beyond else "beyond the axis"
                    at = np.full(len(outside), limits[high])
                    axes.plot(outside, at, mark, color=GREY, ms=6, ls="", label=label, clip_on=False, zorder=3)
                    beyond += len(outside)
        numbers = [point.number for point in done]
        best = np.maximum.accumulate if maximize else np.minimum.accumulate
        last = max(point.number for point in points if point.status in COLORS)
        steps = best([_value(point) for point in done])
        axes.step([*numbers, last], [*steps, steps[-1]], where="post", color=GREEN, lw=2, label="best so far", zorder=2.5)
        lost = [(point.number, point.status) for point in points if point.status in LOST]
        lost += [(p.number, "not finite") for p in points if p.status == "completed" and not _drawable(p.value)]
        for status in (*LOST, "not finite"):
            x = [trial for trial, its in lost if its == status]
            if x:  # at the bottom: these have no value
                (line,) = axes.plot(x, [0.02] * len(x), "|", color=_color(status), ms=10, mew=1.5, label=status)
                line.set_transform(axes.get_xaxis_transform())
        first, last = min(point.number for point in points), max(point.number for point in points)
        margin = max(0.5, 0.02 * (last - first))
        axes.set_xlim(first - margin, last + margin)
        axes.set_ylim(*limits)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        name_axes(axes, title, _summary(points, done, maximize), "trial", short(monitor))
        _legend(figure)
        return figure


def parallel_coordinates(
    points: Sequence[Point], keys: Sequence[str], log: Collection[str], monitor: str, maximize: bool
) -> Figure:
    """Completed trials as lines through their searched values to what they reached; an absent value breaks the line."""
    title = f"Searched values and {short(monitor, 32)}"
    with style():
        done = _completed(points)
        if why := _nothing_by_value(done, points, keys):
            return _empty(title, why)
        figure, axes = new_axes(max(8, 1.5 * len(keys) + 3), 6)
        verticals = [_vertical([point.params.get(key, math.nan) for point in done], log=key in log) for key in keys]
        values = np.array([_value(point) for point in done], float)
        low, high = _span(values, maximize)
        verticals.append(_vertical(np.clip(values, low, high).tolist(), log=False))
        lines = np.array([vertical.positions for vertical in verticals]).T
        badness = 1 - lines[:, -1] if maximize else lines[:, -1]
        colors = mpl.colormaps["viridis"].resampled(256)
        alpha = min(0.9, max(0.35, 10 / math.sqrt(len(done))))
        # The best are drawn last, of equals the earlier one.
        order = sorted(range(len(done)), key=lambda index: (badness[index], done[index].number), reverse=True)
        for rank, index in enumerate(order):
            color = colors(0.93 * badness[index])  # the brightest yellow cannot be seen on white
            (line,) = axes.plot(lines[index], color=color, alpha=alpha, lw=1.2, marker=".", ms=4, zorder=2 + rank / len(done))
            line.set_gid(f"trial {done[index].number}")
        line.set(lw=2.4, alpha=1)
        _draw_verticals(axes, verticals)
        bottoms = np.linspace(0, 1, 64, endpoint=False)  # what the colours mean
        shades = colors(0.93 * (1 - bottoms if maximize else bottoms))
        axes.bar(len(keys) + 0.02, 1 / 64, 0.05, bottoms, align="edge", color=shades, lw=0, zorder=4)
        names = [f"{_folded(key)}\n(log)" if key in log else _folded(key) for key in keys]
        axes.set_xticks(range(len(verticals)), [*names, _folded(monitor)], fontsize=SMALL + 0.5)
        axes.get_xticklabels()[-1].set_fontweight("bold")
        axes.set_xlim(-0.55, len(keys) + 0.5)
        axes.set_ylim(-0.03, 1.03)
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.tick_params(axis="x", length=0)
        axes.spines[:].set_visible(False)
        beyond = int(((values < low) | (values > high)).sum())
        more = f"; {plural(beyond, 'value')} beyond the last axis" if beyond else ""
        name_axes(axes, title, _summary(done, done, maximize) + more, "", "")
        return figure


def importance(importances: Mapping[str, float], monitor: str) -> Figure:
    """Which searched values mattered, as shares of all that mattered."""
    title = f"Importance for {short(monitor, 32)}"
    with style():
        known = {key: max(0.0, float(value)) for key, value in importances.items() if _drawable(value)}
        total = sum(known.values())
        if not total > 0:
            return _empty(title, "No importance is known: it takes several completed trials whose values differ.")
        ranked = sorted(known.items(), key=lambda item: (-item[1], item[0]))
        shares = [100 * value / total for _, value in ranked]
        figure, axes = new_axes(9, 1.8 + 0.36 * len(ranked))
        bars = axes.barh(range(len(ranked)), shares, color=BLUE, height=0.7)
        axes.bar_label(bars, [_share(share) for share in shares], padding=4, fontsize=SMALL + 1)
        axes.set_yticks(range(len(ranked)), [short(key) for key, _ in ranked])
        axes.set_ylim(len(ranked) - 0.4, -0.6)  # the most important on top
        axes.set_xlim(0, max(shares) * 1.12)
        axes.grid(visible=False, axis="y")
        name_axes(axes, title, f"shares of {plural(len(ranked), 'searched value')}", "share of the importance (%)", "")
        return figure


def learning_curves(curves: Sequence[Curve], monitor: str, maximize: bool) -> Figure:
    """The monitored metric of all trials by epoch, the best trial's on top; a pruned one ends in a small cross."""
    title = f"{short(monitor)} by epoch"
    with style():
        drawn = [(curve, *_finite(curve)) for curve in curves]
        drawn = [(curve, x, y) for curve, x, y in drawn if np.isfinite(y).any()]
        if not drawn:
            return _empty(title, "No trial has been evaluated yet.")
        figure, axes = new_axes(9, 5.5)
        healthy = [entry for entry in drawn if entry[0].status not in LOST] or drawn
        best = np.nanmax if maximize else np.nanmin
        ranked = [entry for entry in healthy if entry[0].status == "completed"] or healthy
        winner = (max if maximize else min)(ranked, key=lambda entry: best(entry[2]))
        # The limits are percentiles of the healthy trials' values (see `_span`) and not their extremes:
        # a few diverging curves leave the picture instead of flattening all others.
        values = np.concatenate([y[np.isfinite(y)] for _, _, y in healthy])
        limits = _padded(*_span(values, maximize))
        alpha = min(0.7, max(0.15, 4 / math.sqrt(len(drawn))))
        for curve, x, y in drawn:
            alone = "." if np.isfinite(y).sum() == 1 else ""  # a line of one point is none
            (line,) = axes.plot(x, y, marker=alone, ms=7, color=_color(curve.status), lw=0.9, alpha=alpha)
            if curve is winner[0]:
                line.set(color=BLACK, lw=2.2, alpha=1, zorder=5)
            line.set_gid(f"trial {curve.number}")
            if curve.status == "pruned":
                end = np.flatnonzero(np.isfinite(y))[-1]
                axes.plot(x[end], y[end], "x", color=ORANGE, ms=5, mew=1.2, gid=f"pruned {curve.number}", zorder=4)
        first, last = min(x.min() for _, x, _ in drawn), max(x.max() for _, x, _ in drawn)
        margin = 0.02 * (last - first) or 0.5
        axes.set_xlim(first - margin, last + margin)
        axes.set_ylim(*limits)
        curve, x, y = winner
        end = np.flatnonzero(np.isfinite(y))[-1]
        at = (x[end], float(np.clip(y[end], *limits)))
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
        label = axes.annotate(
            f"trial {curve.number}", at, (6, 0), textcoords="offset points", va="center", annotation_clip=False
        )
        label.set(bbox=box, fontsize=SMALL + 1, fontweight="bold", zorder=6)
        counts = Counter(curve.status for curve, _, _ in drawn)
        handles = [Line2D([], [], color=BLACK, lw=2.2, label=f"best: trial {curve.number}, {number(float(best(y)))}")]
        for status in sorted(counts):
            mark = "x" if status == "pruned" else ""
            handles.append(Line2D([], [], color=_color(status), marker=mark, ms=5, label=f"{counts[status]} {short(status)}"))
        whole = all((x == np.rint(x)).all() for _, x, _ in drawn)
        axes.xaxis.set_major_locator(MaxNLocator(integer=whole, steps=[1, 2, 5, 10]))
        name_axes(axes, title, f"{plural(len(drawn), 'trial')}; {_better(maximize)}", "epoch", short(monitor))
        figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=SMALL + 1)
        return figure


def slices(points: Sequence[Point], keys: Sequence[str], log: Collection[str], monitor: str, maximize: bool) -> Figure:
    """What completed trials reached against each searched value by itself, the best trial marked; limits as in the history."""
    title = f"{short(monitor)} by each searched value"
    with style():
        done = _completed(points)
        if why := _nothing_by_value(done, points, keys):
            return _empty(title, why)
        rows = math.ceil(len(keys) / SLICES_ACROSS)
        figure = new_figure(9, 1.1 + 2.3 * rows)
        panels = figure.subplots(rows, SLICES_ACROSS, squeeze=False, sharey=True).ravel()
        values = np.array([_value(point) for point in done], float)
        best = (max if maximize else min)(range(len(done)), key=lambda index: values[index])  # of equals the earlier one
        limits = _padded(*_span(values, maximize))
        inside = (values >= limits[0]) & (values <= limits[1])
        for axes, key in zip(panels, keys, strict=False):
            vertical = _vertical([point.params.get(key, math.nan) for point in done], log=key in log)
            dressed(axes).plot(vertical.positions[inside], values[inside], "o", ls="", ms=4.5, mew=0, color=BLUE, alpha=0.6)
            axes.plot(vertical.positions[best], values[best], "D", ls="", ms=7, color=VERMILLION, mec="white", zorder=3)
            ticks = _apart(vertical.ticks)
            axes.set_xticks([at for at, _ in ticks], [label for _, label in ticks], fontsize=SMALL)
            axes.set(xlim=(-0.05, 1.05), ylim=limits)
            axes.set_xlabel(f"{short(key)} (log)" if key in log else short(key), fontsize=9)
        for axes in panels[len(keys) :]:
            axes.set_visible(False)
        beyond = int((~inside).sum())
        more = f"; {plural(beyond, 'value')} beyond the axes" if beyond else ""
        name_axes(panels[0], title, _summary(done, done, maximize) + more, panels[0].get_xlabel(), "")
        panels[0].texts[-1].set_in_layout(False)  # it goes on above the next panel
        figure.supylabel(short(monitor), fontsize=10)
        return figure


def pareto_front(
    values: Sequence[tuple[int, float, float]],
    front: Collection[int],
    names: tuple[str, str],
    maximize: tuple[bool, bool] | None = None,
) -> Figure:
    """Two objectives of each trial, the front's members joined. Unless told, the points show which way is better."""
    title = f"{short(names[1], 26)} against {short(names[0], 26)}"
    with style():
        drawn = [entry for entry in values if _drawable(entry[1]) and _drawable(entry[2])]
        if not drawn:
            return _empty(title, "No trial has completed yet with both objectives.")
        figure, axes = new_axes(8, 6)
        members = sorted((entry for entry in drawn if entry[0] in front), key=lambda entry: entry[1:])
        others = [entry for entry in drawn if entry[0] not in front]
        on, off = (np.array([entry[1:] for entry in part], float).reshape(-1, 2) for part in (members, others))
        senses = maximize or _senses(on, off)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        for column, name in enumerate("xy"):
            shown = [*_span([entry[1 + column] for entry in drawn], senses[column]), *on[:, column]]
            low, high = min(shown), max(shown)
            if 0 < 100 * low <= high:  # parameters, seconds: most would be in a corner
                axes.set(**{f"{name}scale": "log", f"{name}lim": (low / 1.3, high * 1.3)})
            else:
                axes.set(**{f"{name}lim": _padded(low, high)})
        for scale in (axes.xaxis, axes.yaxis):
            scale.set_major_formatter(PlainTicks())  # a new scale brought its own
        box = Bbox.from_extents(axes.get_xlim()[0], axes.get_ylim()[0], axes.get_xlim()[1], axes.get_ylim()[1])
        beyond = sum(not box.contains(x, y) for x, y in off)
        if len(off):
            axes.plot(off[:, 0], off[:, 1], "o", color=GREY, ms=5, alpha=0.55, mew=0, label="dominated")
        if len(on):
            # Between two members the better side ends where one of them is as good: the step's corner is on the bad side.
            axes.step(on[:, 0], on[:, 1], where="pre" if senses[0] else "post", color=VERMILLION, lw=1.2, gid="front", zorder=3)
            axes.plot(on[:, 0], on[:, 1], "D", color=VERMILLION, mec="white", ms=7, label="on the front", zorder=4)
        details = f"{plural(len(drawn), 'trial')}, {len(on)} on the front"
        details += f"; {beyond} beyond the axes" if beyond else ""
        ways = [
            f"{short(name, 30)} ({'higher' if high else 'lower'} is better)" for name, high in zip(names, senses, strict=True)
        ]
        name_axes(axes, title, details, *(ways if maximize or len(drawn) > 1 else map(short, names)))
        _legend(figure)
        if 0 < len(members) <= LABELLED_FRONT:
            _label_front(figure, axes, members)
        return figure


# ------------------------------------------------------------------------------------------------------------ which values


def _drawable(value: Any) -> bool:
    return _numeric(value) and abs(value) < LARGEST


def _numeric(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _value(point: Point) -> float:
    assert point.value is not None
    return float(point.value)


def _completed(points: Iterable[Point]) -> list[Point]:
    """In the order of their numbers."""
    done = [point for point in points if point.status == "completed" and _drawable(point.value)]
    return sorted(done, key=lambda point: point.number)


def _finite(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """Epochs and values; what cannot be drawn is a gap."""
    pairs = [(x, y if _drawable(y) else math.nan) for x, y in zip(curve.epochs, curve.values, strict=False) if _drawable(x)]
    table = np.array(pairs, float).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _span(values: Sequence[float] | np.ndarray, maximize: bool) -> tuple[float, float]:
    """From the best value to the worst that is within five times the distance from the best to the 90th percentile.

    So a few values that are worse by orders of magnitude do not squeeze the others into a line.
    """
    ranked = np.sort(-np.asarray(values, float) if maximize else np.asarray(values, float))
    usual = np.percentile(ranked, 90, method="lower") - ranked[0]
    worst = ranked[ranked <= ranked[0] + 5 * usual][-1] if usual > 0 else ranked[-1]
    return (-float(worst), -float(ranked[0])) if maximize else (float(ranked[0]), float(worst))


def _padded(low: float, high: float) -> tuple[float, float]:
    """With a margin, also around a single value."""
    margin = 0.06 * (high - low)
    if margin <= 1e-12 * max(abs(low), abs(high)):
        margin = 0.05 * abs(low) or 0.5
    return low - margin, high + margin


def _senses(on: np.ndarray, off: np.ndarray) -> tuple[bool, bool]:
    """Which objectives are maximized: as it must be for the front to dominate the others and not itself."""

    def explained(senses: tuple[bool, bool]) -> int:
        sign = np.where(senses, -1.0, 1.0)
        members, others = on * sign, off * sign
        below = (members[:, None] <= others).all(-1).any(0).sum() if len(on) else 0
        within = ((members[:, None] <= members).all(-1) & (members[:, None] < members).any(-1)).any(0).sum()
        return int(below) - 2 * len(off) * int(within) - int(within)

    return max((False, False), (False, True), (True, False), (True, True), key=explained)  # of equals the first: both minimized


# --------------------------------------------------------------------------------------------------------------- verticals


@dataclass(frozen=True)
class _Vertical:
    """One axis of the parallel ones: where each trial crosses it, from 0 to 1 or nowhere (NaN), and its ticks."""

    positions: np.ndarray
    ticks: Sequence[tuple[float, str]]


def _vertical(values: Sequence[Any], *, log: bool) -> _Vertical:
    """An absent value is NaN."""
    present = [value for value in values if not (isinstance(value, float) and math.isnan(value))]
    if not all(_numeric(value) for value in present):
        return _categorical(values)
    raw = np.array([float(value) if _drawable(value) and (value > 0 or not log) else math.nan for value in values])
    shown = raw[np.isfinite(raw)]
    if not len(shown):
        return _Vertical(raw, ())
    low, high = float(shown.min()), float(shown.max())
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        return _Vertical(np.where(np.isfinite(raw), 0.5, math.nan), [(0.5, number(low))])
    whole = all(value == int(value) for value in shown)
    ticks = _log_ticks(low, high) if log else []
    if len(ticks) < 2:
        even = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=whole).tick_values(low, high)
        slack = 1e-9 * (high - low)
        ticks = [float(tick) for tick in even if low - slack <= tick <= high + slack]
    scale = math.log10 if log else float
    start, width = scale(low), scale(high) - scale(low)
    named = [((scale(tick) - start) / width, label) for tick, label in zip(ticks, tick_labels(ticks), strict=True)]
    for at, end in ((0.0, low), (1.0, high)):  # how far the trials went, where there is room for it
        if all(abs(at - place) > 0.045 for place, _ in named):
            named.append((at, written(end, 0.01 * (abs(end) if log else high - low))))
    return _Vertical(((np.log10(raw) if log else raw) - start) / width, named)


def _apart(ticks: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Those whose names do not run into each other in a row, the first come first."""
    kept: list[tuple[float, str]] = []
    for at, label in ticks:
        if all(abs(at - other) > 0.014 * (len(label) + len(name)) for other, name in kept):
            kept.append((at, label))
    return kept


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, or parts of them where there would be too few; nothing where the axis is too short for these."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for parts in ((1,), (1, 3), (1, 2, 5)):
        every = [float(f"{part}e{decade}") for decade in decades for part in parts]
        ticks = [tick for tick in every if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(ticks) >= 3:
            return ticks[:: math.ceil(len(ticks) / 8)]
    return []


def _categorical(values: Sequence[Any]) -> _Vertical:
    """Choices at even distances; null is a choice, an absent value is none."""
    names = [None if isinstance(value, float) and math.isnan(value) else _choice(value) for value in values]
    choices = sorted({name for name in names if name is not None}, key=_natural)
    places = {name: (at + 0.5) / len(choices) for at, name in enumerate(choices)}
    every = math.ceil(len(choices) / SHOWN_TICKS)
    ticks = [(places[name], short(_unquoted(name), 16)) for name in choices[::every]]
    return _Vertical(np.array([math.nan if name is None else places[name] for name in names]), ticks)


def _choice(value: Any) -> str:
    """JSON, in which a text, a number and null cannot be the same."""
    return json.dumps(value, default=str, ensure_ascii=False)


def _unquoted(choice: str) -> str:
    """A text without its quotes, unless it is empty."""
    return json.loads(choice) or choice if choice.startswith('"') else choice


def _natural(text: str) -> tuple[str | int, ...]:
    """`[64]` before `[128]`: texts and numbers alternate, so that like is compared with like."""
    return tuple(int(part) if at % 2 else part for at, part in enumerate(re.split(r"([0-9]{1,18})", text)))


def _draw_verticals(axes: Axes, verticals: Sequence[_Vertical]) -> None:
    """The axes' lines and their ticks' names, left of them; those of the last, where no trial goes on, at its right."""
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8}
    for x, vertical in enumerate(verticals):
        last = x == len(verticals) - 1
        axes.axvline(x, ymin=0.03 / 1.06, ymax=1.03 / 1.06, color=BLACK, lw=1, zorder=3.5)
        for y, label in vertical.ticks:
            axes.plot([x - 0.02, x], [y, y], color=BLACK, lw=1, zorder=3.5)
            place, side = (0.1, "left") if last else (-0.04, "right")
            axes.text(x + place, y, label, ha=side, va="center", fontsize=SMALL, bbox=box, zorder=5)


# ------------------------------------------------------------------------------------------------------------------- words


def _folded(text: str, width: int = 16) -> str:
    """On up to three lines, broken after a dot, slash or underscore where there is one."""
    lines = [""]
    for part in re.findall(rf"[^._/]{{0,{width - 1}}}[._/]|[^._/]{{1,{width}}}", " ".join(text.split())):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    if len(lines) > 3:  # its end tells a key from its neighbours
        lines = [f"…{lines[-3]}", *lines[-2:]]
    return "\n".join(short(line, width + 1) for line in lines)


def _share(percent: float) -> str:
    return f"{percent:.0f} %" if percent >= 9.95 or percent == 0 else f"{percent:.1f} %" if percent >= 0.05 else "< 0.1 %"


def _better(maximize: bool) -> str:
    return "higher is better" if maximize else "lower is better"


def _counts(points: Iterable[Point]) -> str:
    """`90 completed, 8 diverged`, the most frequent first."""
    counts = sorted(Counter(short(point.status) for point in points).items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {status}" for status, count in counts)


def _nothing_by_value(done: Sequence[Point], points: Sequence[Point], keys: Sequence[str]) -> str:
    """Why there is nothing to draw by searched values; empty where there is something."""
    if not done:
        return _none_completed(points)
    return "" if keys else "No value is searched."


def _none_completed(points: Sequence[Point]) -> str:
    if any(point.status == "completed" for point in points):
        return f"No completed trial has a finite value: {_counts(points)}."
    return f"No trial has completed yet: {_counts(points)}." if points else "No trial has completed yet."


def _summary(points: Sequence[Point], done: Sequence[Point], maximize: bool) -> str:
    best = (max if maximize else min)(done, key=_value)
    return f"{_counts(points)}; best {number(_value(best))} (trial {best.number}), {_better(maximize)}"


def _color(status: str) -> str:
    return COLORS.get(status, GREY)


# ----------------------------------------------------------------------------------------------------------------- figures


def _legend(figure: Figure) -> None:
    figure.legend(loc="outside lower center", ncols=6, frameon=False, fontsize=SMALL + 1)


def _empty(title: str, sentence: str) -> Figure:
    figure, axes = new_axes(8, 4)
    axes.set_axis_off()
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold")
    axes.text(0.5, 0.5, sentence, ha="center", va="center", fontsize=11, color="#444444", wrap=True, transform=axes.transAxes)
    return figure


def _label_front(figure: Figure, axes: Axes, members: Sequence[tuple[int, float, float]]) -> None:
    """Each number beside its point, at the first place where it covers neither another number nor a point."""
    figure.draw_without_rendering()  # the layout decides where the points are
    dots = [axes.transData.transform(entry[1:]) for entry in members]
    taken: list[Bbox] = []
    places = [(r * dx, r * dy) for r in (7, 16, 26) for dx, dy in ((1, 1), (-1, -1), (1, -1), (-1, 1), (1.4, 0), (-1.4, 0))]
    for trial, x, y in members:
        for dx, dy in places:
            arrow = {"arrowstyle": "-", "lw": 0.5, "color": GREY} if abs(dx) > 10 else None
            label = axes.annotate(str(trial), (x, y), (dx, dy), textcoords="offset points", arrowprops=arrow)
            label.set(ha="left" if dx > 0 else "right", va="bottom" if dy > 0 else "top" if dy < 0 else "center")
            label.set(fontsize=SMALL + 1, fontweight="bold", zorder=6, gid=f"trial {trial}")
            box = _text_box(label)
            inside = axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1) and axes.bbox.containsy(box.y0)
            if inside and not any(box.overlaps(other) for other in taken) and not any(box.contains(*dot) for dot in dots):
                break
            label.remove()
        else:  # nowhere is free: then as near as possible
            label = axes.annotate(str(trial), (x, y), places[0], textcoords="offset points", gid=f"trial {trial}")
            label.set(fontsize=SMALL + 1, fontweight="bold", zorder=6)
            box = _text_box(label)
        taken.append(box)


def _text_box(label: Annotation) -> Bbox:
    """In pixels, without its arrow."""
    label.get_window_extent()  # places the text
    return Text.get_window_extent(label)
