"""Pictures of an evaluation: which classes are taken for which, how sure the network may be, how far its numbers are off."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from dlx.evaluation.results import Importance, Reliability, Residuals
from dlx.report.confusion import confused_pairs
from dlx.report.figures import BLACK, BLUE, GREY, SMALL, VERMILLION, dressed, new_axes, new_figure, short, style
from dlx.report.html.picture import ON_COLOR, Drawing
from dlx.report.words import number, plural

CLASSES: Final = 30
"""Classes of a confusion matrix that is drawn; of more, those with the most errors."""
POINTS: Final = 500
"""Points of a residual plot."""
TARGETS: Final = 6
"""Numbers whose residuals are drawn, at most."""
COLUMNS: Final = 30
"""Columns whose importance is drawn, at most."""


def confusion_matrix(counts: np.ndarray, classes: Sequence[str]) -> Drawing:
    """Counts (true, predicted), shaded by their share of the true class; the diagonal is right."""
    chosen = worst_classes(counts)
    part, names = counts[np.ix_(chosen, chosen)], [classes[at] for at in chosen]
    size = len(chosen)
    totals = counts.sum(1)[chosen]
    with style():
        side = min(6.4, 2.4 + 0.34 * size)
        figure, axes = new_axes(side, side)
        axes.grid(visible=False)
        axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), aspect="equal")
        hovers = {}
        for true, guessed in np.argwhere(part > 0).tolist():
            count, share = int(part[true, guessed]), part[true, guessed] / totals[true]
            color, strength = (BLUE, share) if true == guessed else (VERMILLION, math.sqrt(share))
            gid = f"cell {true} {guessed}"
            cell = Rectangle((guessed - 0.5, true - 0.5), 1, 1, fc=color, alpha=0.08 + 0.92 * strength, lw=0, gid=gid)
            axes.add_patch(cell)
            words = f"{count:,} of {totals[true]:,} ({share:.1%})"
            hovers[gid] = f"true {names[true]}, predicted {names[guessed]}: {words}"
            if size <= 16:
                tint = ON_COLOR if strength > 0.45 else BLACK
                size_of_text = 9 if count < 1000 and size <= 12 else 7
                axes.text(guessed, true, str(count), ha="center", va="center", color=tint, fontsize=size_of_text)
        labels = [short(name, 16) for name in names]
        axes.set_xticks(range(size), labels, rotation=90 if max(map(len, labels)) > 2 else 0, fontsize=SMALL + 1)
        axes.set_yticks(range(size), labels, fontsize=SMALL + 1)
        axes.set_xlabel("predicted", fontsize=10)
        axes.set_ylabel("true", fontsize=10)
    right, total = int(np.trace(counts)), int(counts.sum())
    seen = f"{right:,} of {total:,} are on the diagonal, which is right"
    if pairs := confused_pairs(counts, 3):
        most = "; ".join(f"{classes[t]} taken for {classes[p]} {count:,} times" for t, p, count in pairs)
        seen += f"; most confused: {most}"
    title = "Confusion matrix" if size == len(classes) else f"Confusion of the {size} classes with the most errors"
    return Drawing(figure, title, seen, hovers)


def worst_classes(counts: np.ndarray) -> list[int]:
    """All classes in their order, or of many those with the most errors."""
    if len(counts) <= CLASSES:
        return list(range(len(counts)))
    errors = counts.sum(0) + counts.sum(1) - 2 * np.diag(counts)
    return sorted(np.argsort(-errors, kind="stable")[:CLASSES].tolist())


def reliability_diagram(bins: Reliability, ece: float | None) -> Drawing | None:
    """How often the network is right when it is so sure, above how often it is so sure; None without an example."""
    known = np.flatnonzero(bins.count)
    if not len(known):
        return None
    low, high = bins.edges[:-1], bins.edges[1:]
    with style():
        figure = new_figure(5.2, 5)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        dressed(upper).plot([0, 1], [0, 1], color=GREY, lw=1, ls="--", label="as sure as it is right")
        hovers: dict[str, str] = {}
        for at in known.tolist():
            said, right, count = float(bins.confidence[at]), float(bins.right[at]), int(bins.count[at])
            words = (
                f"confidence {low[at]:.2f} to {high[at]:.2f}: {plural(count, 'example')}, mean {said:.3f}, right {right:.3f}"
            )
            for axes, kind, height in ((upper, "right", right), (lower, "count", count)):
                gid = f"{kind} {at}"
                hovers[gid] = words
                axes.bar(low[at], height, high[at] - low[at], align="edge", color=BLUE, alpha=0.75, lw=0).patches[0].set_gid(
                    gid
                )
            upper.plot([said, said], [right, said], color=VERMILLION, lw=2, label="gap" if at == known[0] else "_")
        dressed(lower).set_ylabel("examples", fontsize=10)
        lower.set_xlabel("confidence", fontsize=10)
        if bins.count.max() > 50 * max(1, int(np.median(bins.count[known]))):
            lower.set_yscale("log")
            lower.set_ylim(0.7, None)
        upper.set(xlim=(0, 1), ylim=(0, 1))
        upper.set_ylabel("share that is right", fontsize=10)
        upper.legend(frameon=False, fontsize=SMALL + 1, loc="upper left")
    gaps = np.abs(bins.confidence[known] - bins.right[known])
    worst = known[int(np.argmax(gaps * bins.count[known]))]
    seen = f"most of the error: between {low[worst]:.2f} and {high[worst]:.2f} the mean confidence is "
    seen += f"{bins.confidence[worst]:.3f} and {bins.right[worst]:.3f} are right ({plural(int(bins.count[worst]), 'example')})"
    error = f"expected calibration error {number(ece)}; " if ece is not None and math.isfinite(ece) else ""
    return Drawing(figure, "Reliability diagram", error + seen, hovers)


def residual_plot(residuals: Residuals, names: Sequence[str]) -> Drawing | None:
    """Prediction against truth, and below how far they are apart, for each of the first few numbers."""
    if not len(residuals.actual):
        return None
    shown = min(TARGETS, len(names))
    kept = np.unique(np.linspace(0, len(residuals.actual) - 1, min(POINTS, len(residuals.actual))).round().astype(int))
    with style():
        figure = new_figure(6.4, 3.4 * shown)
        panels = figure.subplots(shown, 2, squeeze=False)
        for at in range(shown):
            actual, predicted = residuals.actual[kept, at], residuals.predicted[kept, at]
            _against_truth(panels[at, 0], actual, predicted, names[at])
            _differences(panels[at, 1], residuals.predicted[:, at] - residuals.actual[:, at])
    seen = []
    for at, name in enumerate(names[:shown]):
        low, middle, high = (residuals.quantiles[key][at] for key in ("0.05", "0.5", "0.95"))
        seen.append(
            f"{name}: half of the residuals are below {number(middle)}, nine of ten between {number(low)} and {number(high)}"
        )
    of_all = f" of the first {shown} of {len(names)} numbers" if shown < len(names) else ""
    return Drawing(figure, f"Residuals{of_all}", "; ".join(seen))


def importance_bars(importances: Sequence[Importance], headline: str) -> Drawing | None:
    """By how much the headline metric gets worse when a column is shuffled, the most important on top."""
    ranked = sorted((each for each in importances if math.isfinite(each.mean)), key=lambda each: -each.mean)[:COLUMNS]
    if not ranked:
        return None
    with style():
        figure, axes = new_axes(6.4, 1.3 + 0.28 * len(ranked))
        axes.barh(range(len(ranked)), [each.mean for each in ranked], color=BLUE, height=0.7)
        spread = [each.deviation if math.isfinite(each.deviation) else 0.0 for each in ranked]
        axes.errorbar([each.mean for each in ranked], range(len(ranked)), xerr=spread, fmt="none", ecolor=BLACK, elinewidth=1)
        axes.set_yticks(range(len(ranked)), [short(each.column, 24) for each in ranked])
        axes.set_ylim(len(ranked) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"how much worse {short(headline)} gets (± standard deviation of the shuffles)", fontsize=9)
    best = "; ".join(f"{each.column} {number(each.mean)} ± {number(each.deviation)}" for each in ranked[:5])
    more = f"; {len(importances) - len(ranked)} more are not drawn" if len(importances) > len(ranked) else ""
    return Drawing(figure, "Permutation importance", f"{headline} gets worse by: {best}{more}")


def _against_truth(axes: Axes, actual: np.ndarray, predicted: np.ndarray, name: str) -> None:
    """Points, of which those on the line are right."""
    finite = np.isfinite(actual) & np.isfinite(predicted)
    dressed(axes).plot(actual[finite], predicted[finite], "o", ms=3, mew=0, alpha=0.4, color=BLUE, ls="")
    both = np.concatenate([actual[finite], predicted[finite]])
    if len(both):
        axes.axline((float(both.mean()), float(both.mean())), slope=1, color=GREY, lw=1, ls="--")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    axes.set_title(short(name, 30), loc="left", fontsize=10, fontweight="bold")
    axes.set_xlabel("true", fontsize=9)
    axes.set_ylabel("predicted", fontsize=9)


def _differences(axes: Axes, differences: np.ndarray) -> None:
    """A histogram of all but the outermost hundredth at each side, whose ends hold these."""
    finite = differences[np.isfinite(differences)]
    dressed(axes)
    if len(finite):
        low, high = np.percentile(finite, [1, 99])
        bins = np.linspace(low, high, 31) if high > low else np.linspace(low - 0.5, low + 0.5, 4)
        axes.hist(np.clip(finite, bins[0], bins[-1]), bins=bins.tolist(), color=BLUE, alpha=0.75)
        axes.axvline(0, color=VERMILLION, lw=1)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel("predicted - true", fontsize=9)
    axes.set_ylabel("examples", fontsize=9)
    axes.xaxis.set_minor_locator(NullLocator())
    if len(axes.get_yticks()) > 6:
        axes.yaxis.set_major_locator(FixedLocator(axes.get_yticks()[::2].tolist()))
