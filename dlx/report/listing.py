"""The listing of runs: fitted to a terminal where they are few, plain and fast where they are thousands."""

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dlx.report.tables import colored, data_name, grid, metric_word
from dlx.report.words import moment, plural
from dlx.store import Listing, RunSummary

_WORDS: Final = ("id", "name", "status", "started", "model", "data")
_FIGURES: Final = ("step", "monitored", "test")
"""The columns of the listing, on the left and on the right of their room."""
_LAID_OUT: Final = 500
"""Rows up to which a terminal gets a table that is fitted to its width: laying one out takes half a millisecond a row."""


def print_runs(found: Listing, console: Console, *, short: bool) -> None:
    """The listing: in colours where a terminal gets few, as plain text else. `short` is one that was cut without being told to be."""
    if not found.runs:
        console.print("no runs" + (f": {escape(found.advice)}" if found.advice else ""), soft_wrap=True)
    elif console.is_terminal and len(found.runs) <= _LAID_OUT:
        console.print(runs_table(found.runs))
    else:
        console.file.write(runs_text(found.runs))
    if short and len(found.runs) < found.total:
        console.print(f"the first {len(found.runs)} of {plural(found.total, 'run')}; -n N or --all shows more")


def runs_table(runs: Sequence[RunSummary]) -> Table:
    """One line per run: what, how far, how good."""
    table = grid()
    # On a narrow terminal the words give way before the id and the status do.
    for header, least in zip(_WORDS, (8, 4, 11, 1, 1, 1), strict=True):
        table.add_column(header, no_wrap=True, min_width=least)
    for header in _FIGURES:
        table.add_column(header, justify="right", no_wrap=True)
    for run in runs:
        cells = _cells(run)
        words = [colored(run.status) if header == "status" else escape(cells[header]) for header in _WORDS]
        table.add_row(*words, *(cells[header] for header in _FIGURES))
    return table


def runs_text(runs: Sequence[RunSummary]) -> str:
    """`runs_table` without colours and never cut, for thousands of runs."""
    rows = [(*_WORDS, *_FIGURES), *(_printable(tuple(_cells(run).values())) for run in runs)]
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    words, figures = widths[: len(_WORDS)], widths[len(_WORDS) :]
    line = "  ".join([*(f"{{:<{width}}}" for width in words), *(f"{{:>{width}}}" for width in figures)])
    return "".join(f"{line.format(*row) if ''.join(row).isascii() else _aligned(row, widths)}".rstrip() + "\n" for row in rows)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    """A line of `runs_text` with letters that take two columns or none, which no format string knows."""
    blanks = [" " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
    pairs = enumerate(zip(row, blanks, strict=True))
    return "  ".join(cell + blank if at < len(_WORDS) else blank + cell for at, (cell, blank) in pairs)


def _cells(run: RunSummary) -> dict[str, str]:
    """What the listing says of a run, by the header of the column."""
    config = run.config
    return {
        "id": run.id,
        "name": run.name or "",
        "status": str(run.status),
        "started": moment(run.created),
        "model": str(config["model"]["kind"]),
        "data": data_name(config),
        "step": f"{run.step}/{run.steps_total}",
        "monitored": metric_word(run.metrics, run.monitor),
        "test": metric_word(run.metrics, f"test/{run.monitor.partition('/')[2]}"),
    }


def _printable(cells: tuple[str, ...]) -> tuple[str, ...]:
    """Without what would break the line or steer the terminal."""
    if "".join(cells).isprintable():
        return cells
    return tuple("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in cell) for cell in cells)


def _width(text: str) -> int:
    """Columns in a terminal, where some letters take two or none."""
    return len(text) if text.isascii() else cell_len(text)
