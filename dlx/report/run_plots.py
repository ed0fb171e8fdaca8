"""What a run learned, in a terminal: its learning curves, and where its network confuses classes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.text import Text

from dlx.report.confusion import confused_pairs
from dlx.report.terminal_plot import WIDEST, TerminalPlot
from dlx.report.words import plural, printable
from dlx.store import RunSummary

Points = Sequence[tuple[int, float]]

_PAIRS: Final = 10
"""How many confused pairs are listed where the matrix has no room."""
_CLASSES: Final = 30
"""Larger matrices are read by nobody."""
_SHADES: Final = " ░▒▓█"
_PLAIN_SHADES: Final = " .:*#"
_STRETCHES: Final = 8 * WIDEST
"""In so many parts a line is handed to the plot, whose columns are wider."""


def curve_plots(run: RunSummary, curves: Mapping[str, Points]) -> Iterator[RenderableType]:
    """The loss and the monitored metric, train against validation, and the learning rate under them."""
    monitored = run.monitor.partition("/")[2]
    steps = [step for points in curves.values() for step, _ in points]
    if not steps:
        yield "no learning curves: nothing was measured yet"
        return
    first, last = min(steps), max(steps)
    ends = f"step {first:,}", f"step {last:,}, epoch {last / max(1, run.steps_per_epoch):.1f}"
    for metric in dict.fromkeys(("loss", monitored)):
        lines = {split: curves[f"{split}/{metric}"] for split in ("train", "validation") if curves.get(f"{split}/{metric}")}
        if not lines:
            continue
        (name, points), *rest = lines.items()
        yield _title(metric, [name, *(split for split, _ in rest)])
        over = [((step - first) / max(1, last - first), value) for step, value in rest[0][1]] if rest else ()
        yield TerminalPlot(_evenly(points, first, last), *ends, over=over)
    if rates := curves.get("train/learning_rate"):
        yield "learning rate"
        yield TerminalPlot(_evenly(rates, first, last), *ends, rows=4, floor=0.0)


def confusion_plots(folder: Path) -> Iterator[RenderableType]:
    """The confusion matrix that `dlx evaluate` left in a run's folder: of the test part, or else of the validation part."""
    for split in ("test", "validation"):
        path = folder / "evaluations" / f"{split}.json"
        if not path.is_file():
            continue
        try:
            tree = json.loads(path.read_text(encoding="utf8"))
            found = _confusion(tree)
        except (OSError, ValueError) as error:
            yield escape(f"{path}: no evaluation can be read there ({error}); `dlx evaluate` writes it anew")
            return
        if found is not None:
            examples = plural(int(found.counts.sum()), "example")
            weights = f" of the weights of step {tree['step']}" if "step" in tree else ""  # a resumed run may have better ones
            yield escape(f"confusion on {split}{weights}: truth in rows, prediction in columns, {examples}")
            yield found
        return


@dataclass(frozen=True)
class ConfusionPlot:
    """Counts (true classes, predicted classes): shaded by their share of the row, or, where there is no room, the worst pairs."""

    classes: Sequence[str]
    counts: np.ndarray

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Rich's hook."""
        columns = [str(index) for index in range(len(self.classes))]
        wide = max(len(columns[-1]), len(str(self.counts.max(initial=0)))) + 2  # a blank and the shade before the number
        named = max(map(cell_len, self.classes)) < wide
        labels = list(self.classes) if named else [f"{name} {index}" for name, index in zip(self.classes, columns, strict=True)]
        margin = max(map(cell_len, labels))
        if len(self.classes) > _CLASSES or margin + wide * len(self.classes) > min(options.max_width, 2 * WIDEST):
            yield from self._worst()
            return
        heads = self.classes if named else columns
        yield _row(" " * margin + "".join(" " * (wide - cell_len(head)) + head for head in heads), "bold")
        for row, label in enumerate(labels):
            yield self._line(row, " " * (margin - cell_len(label)) + label, wide, plain=options.ascii_only)

    def _line(self, row: int, label: str, wide: int, *, plain: bool) -> Text:
        total, shades = int(self.counts[row].sum()), _PLAIN_SHADES if plain else _SHADES
        line = _row(label)
        for column, count in enumerate(self.counts[row].tolist()):
            share = count / total if total else 0.0
            # Any count at all is seen; the darkest is for three quarters and more.
            shade = shades[min(4, 1 + int(4 * share))] if count else shades[0]
            style = "green" if row == column else "red" if count else "dim"
            line.append(f" {shade}{count:>{wide - 2}}", style if count or row == column else "dim")
        return line

    def _worst(self) -> Iterator[Text]:
        rights, every = int(np.trace(self.counts)), int(self.counts.sum())
        yield _row(
            f"{rights:,} of {every:,} right; for a matrix of {len(self.classes)} classes there is no room here, the most confused:"
        )
        for truth, predicted, count in confused_pairs(self.counts, _PAIRS):
            share = 100 * count / int(self.counts[truth].sum())
            yield _row(
                f"{count:>7,}  {self.classes[truth]} taken for {self.classes[predicted]} ({share:.1f} % of {self.classes[truth]})"
            )


def _confusion(tree: Any) -> ConfusionPlot | None:
    """That of an evaluation; None where it has none. Raises `ValueError` for what is no matrix of counts."""
    match tree:
        case {"confusion": {"classes": [*classes], "counts": [*counts]}} if classes:
            try:
                matrix = np.array(counts, np.int64)
            except (TypeError, OverflowError) as error:
                raise ValueError(str(error)) from error
            if matrix.shape != (len(classes), len(classes)) or (matrix < 0).any():
                raise ValueError(f"{len(classes)} classes, but counts of shape {matrix.shape}")
            return ConfusionPlot([printable(str(name)) for name in classes], matrix)
        case {"confusion": matrix} if matrix is not None:
            raise ValueError("its confusion matrix has no classes or no counts")
        case {}:
            return None
    raise ValueError("it is no JSON object")


def _title(metric: str, splits: Sequence[str]) -> Text:
    title = Text.assemble((metric, "bold"), "  ", (f"{splits[0]} line", "cyan"))
    return title if len(splits) == 1 else title.append("  ").append(f"{splits[1]} o", "bold yellow")


def _evenly(points: Points, first: int, last: int) -> np.ndarray:
    """A curve in equal parts of the way from the `first` to the `last` step, each its lowest and its highest value there.

    Between the points are straight lines, or gaps (NaN) beside what is not finite. No point is lost, however close they are.
    """
    steps, values = np.array([step for step, _ in points], float), np.array([value for _, value in points], float)
    if last == first:
        return values
    at = np.union1d(np.linspace(first, last, _STRETCHES + 1), steps)
    line = np.interp(at, steps, values, left=np.nan, right=np.nan)
    line[~np.isfinite(line)] = np.nan
    part = np.minimum((at - first) / (last - first) * _STRETCHES, _STRETCHES - 1).astype(int)
    low, high = np.full((2, _STRETCHES), np.nan)
    np.fmin.at(low, part, line)
    np.fmax.at(high, part, line)
    return np.stack([low, high], axis=1).ravel()


def _row(text: str, style: str = "") -> Text:
    return Text(text, style, overflow="fold", end="\n")
