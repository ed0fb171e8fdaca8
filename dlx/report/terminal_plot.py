"""A curve in a terminal, in the dots of Braille characters: eight to a character, two across and four down."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console, ConsoleOptions
from rich.text import Text

from dlx.report.words import number

WIDEST = 76
"""Columns: wider terminals, and files, get no more."""
NARROWEST = 8
"""Columns of the curve itself, however long the numbers beside it are."""
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bits of U+2800 by row and column of the dot."""


@dataclass(frozen=True)
class TerminalPlot:
    """A line through `values` (n,) at even distances, as wide as the terminal allows, with the lowest and the highest value beside it.

    What is not finite is left out. Where only ASCII can be written the dots are stars.
    """

    values: Sequence[float] | np.ndarray
    left: str
    """Below the first value."""
    right: str
    """Below the last value."""
    rows: int = 8
    floor: float | None = None
    """The lowest value of the axis, unless one of the values is lower."""
    mark: tuple[float, str] | None = None
    """A place between the first value (0) and the last (1) that is pointed at from below, and what it is called."""
    over: Sequence[tuple[float, float]] = ()
    """Single points, each with its place as that of `mark`: an `o`, so that it needs no colour to be told from the line."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Rich's hook: the rows of the curve, its axis, and what is below it."""
        values, (at, over) = np.asarray(self.values, float), np.asarray(self.over, float).reshape(-1, 2).T
        known = np.concatenate([each[np.isfinite(each)] for each in (values, over)])
        low, high = (float(known.min()), float(known.max())) if len(known) else (math.nan, math.nan)
        low = low if self.floor is None else min(low, self.floor)
        beside = {0: number(high), self.rows - 1: number(low)} if high > low else {0: number(high)}
        margin = max(map(len, beside.values()))
        columns = max(NARROWEST, min(options.max_width, WIDEST) - margin - 2)
        plain = options.ascii_only
        tick, line, corner, across = ("|", "|", "+", "-") if plain else ("┤", "│", "└", "─")
        half = high / 2 - low / 2  # all of it can be more than the largest number
        place, above = (
            (each / 2 - low / 2) / half if half > 0 else np.where(np.isfinite(each), 1.0, np.nan) for each in (values, over)
        )
        circles = _circles(at, above, columns, self.rows)
        for row, cells in enumerate(_stars(place, columns, self.rows) if plain else _braille(place, columns, self.rows)):
            label = beside.get(row, "")
            yield _line(f"{label:>{margin}} {tick if label else line}", cells, circles.get(row, ()))
        yield _line(f"{'':{margin}} {corner}{across * columns}")
        yield _line(f"{'':{margin}}  {self._below(columns, '^' if plain else '▲')}")

    def _below(self, columns: int, pointer: str) -> str:
        """The first value's label, the mark where there is room for it, and the last value's label."""
        gap = columns - len(self.left) - len(self.right)
        if gap <= 0:
            return self.right
        if self.mark is not None:
            place, name = self.mark
            before, pointed = round(place * (columns - 1)) - len(self.left), f"{pointer} {name}"
            if before > 0 and before + len(pointed) < gap:
                return f"{self.left}{' ' * before}{pointed}{' ' * (gap - before - len(pointed))}{self.right}"
        return f"{self.left}{' ' * gap}{self.right}"


def extents(values: np.ndarray, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest value in each of `parts` equal stretches of values (n,): two arrays (parts,).

    Of fewer values than parts each is repeated. What is not finite does not count; NaN where a stretch has nothing else.
    """
    edges = np.arange(parts + 1) * len(values) // parts
    stretches = [slice(start, max(end, start + 1)) for start, end in itertools.pairwise(edges.tolist())]
    low, high = (np.where(np.isfinite(values), values, nothing) for nothing in (np.inf, -np.inf))
    lows, highs = np.array([low[each].min() for each in stretches]), np.array([high[each].max() for each in stretches])
    empty = np.isinf(lows)
    return np.where(empty, np.nan, lows), np.where(empty, np.nan, highs)


def _braille(place: np.ndarray, columns: int, rows: int) -> list[str]:
    dots = _dots(place, 2 * columns, 4 * rows)
    cells = np.zeros((rows, columns), int)
    for down, bits in enumerate(DOTS):
        for right, bit in enumerate(bits):
            cells += bit * dots[down::4, right::2]
    return ["".join(chr(0x2800 + bits) if bits else " " for bits in row) for row in cells.tolist()]


def _stars(place: np.ndarray, columns: int, rows: int) -> list[str]:
    return ["".join("*" if dot else " " for dot in row) for row in _dots(place, columns, rows).tolist()]


def _circles(at: np.ndarray, above: np.ndarray, columns: int, rows: int) -> dict[int, list[int]]:
    """By row, the columns that have a point there (m,), or the middle of their points; `at` and `above` go from 0 to 1."""
    found: dict[int, list[int]] = {}
    by_column: dict[int, list[float]] = {}
    for place, value in zip(at.tolist(), above.tolist(), strict=True):
        if math.isfinite(value):
            by_column.setdefault(round(place * (columns - 1)), []).append(value)
    for column, values in sorted(by_column.items()):
        middle = (min(values) + max(values)) / 2
        found.setdefault(round((1 - middle) * (rows - 1)), []).append(column)
    return found


def _dots(place: np.ndarray, width: int, height: int) -> np.ndarray:
    """Which dots (height, width) the line goes through; `place` is 0 at the bottom and 1 at the top."""
    dots = np.zeros((height, width), bool)
    before_low = before_high = np.nan
    for column, (low, high) in enumerate(zip(*extents(place, width), strict=True)):
        if not np.isnan(low):
            # A jump is a line too, from the nearer end of the column before. (`fmin` is the other one where that has no end.)
            bottom, top = (round((1 - at) * (height - 1)) for at in (np.fmin(low, before_high), np.fmax(high, before_low)))
            dots[top : bottom + 1, column] = True
        before_low, before_high = low, high
    return dots


def _line(axis: str, curve: str = "", circles: Sequence[int] = ()) -> Text:
    text = Text.assemble(axis, no_wrap=True, overflow="crop", end="\n")
    start = 0
    for column in circles:
        text.append(f"{curve[start:column]:{column - start}}", "cyan").append("o", "bold yellow")
        start = column + 1
    return text.append(curve[start:].rstrip(), "cyan")
