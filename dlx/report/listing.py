"""The listing of runs: fitted to a terminal where they are few, plain and fast where they are thousands."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dlx.report.tables import colored, data_name, grid, metric_word
from dlx.report.words import moment, plural, printable
from dlx.store import Listing, RunSummary

_WORDS: Final = ("id", "name", "status", "started", "model", "data")
_FIGURES: Final = ("step", "monitored", "test")
"""The columns of the listing, on the left and on the right of their room."""
_LEAST: Final[Mapping[str, int]] = MappingProxyType({"name": 8, "model": 5, "data": 5, "started": 10})
"""Columns that may be cut, to what width, and which of them gets spare room first. The date is the first ten letters of a time."""
_GIVE_WAY: Final = ("data", "model", "started", "step")
"""Columns that a narrow terminal does without, the first of them first."""
_LAID_OUT: Final = 500
"""Rows up to which a terminal gets a table that is fitted to its width: laying one out takes half a millisecond a row."""


def print_runs(found: Listing, console: Console, *, short: bool) -> None:
    """The listing: in colours where a terminal gets few, as plain text else. `short` is one that was cut without being told to be."""
    if not found.runs:
        print_none(found, console)
    elif console.is_terminal and len(found.runs) <= _LAID_OUT:
        console.print(runs_table(found.runs, console.width))
    else:
        console.file.write(runs_text(found.runs))
    if short and len(found.runs) < found.total:
        console.print(f"the first {len(found.runs)} of {plural(found.total, 'run')}; -n N or --all shows more")


def print_none(found: Listing, console: Console) -> None:
    """That there are no such runs, and where a key was mistyped what may have been meant."""
    console.print("no runs" + (f": {escape(found.advice)}" if found.advice else ""), soft_wrap=True)


def runs_table(runs: Sequence[RunSummary], width: int) -> Table:
    """One line per run: what, how far, how good; `width` columns wide at most."""
    rows = [dict(zip(cells, _printable(tuple(cells.values())), strict=True)) for cells in map(_cells, runs)]
    table = grid()
    widths = _widths(rows, width)
    for header, wide in widths.items():
        side = "right" if header in _FIGURES else "left"
        table.add_column(header, justify=side, no_wrap=True, width=wide, overflow="crop" if header == "started" else "ellipsis")
    for run, cells in zip(runs, rows, strict=True):
        table.add_row(*(colored(run.status) if header == "status" else escape(cells[header]) for header in widths))
    return table


def _widths(rows: Sequence[Mapping[str, str]], width: int) -> dict[str, int]:
    """The columns that there is room for, and how wide each is."""
    whole = {header: max(map(_width, (header, *(cells[header] for cells in rows)))) for header in (*_WORDS, *_FIGURES)}
    found = {header: min(wide, _LEAST.get(header, wide)) for header, wide in whole.items()}
    spare = width - sum(found.values()) - 2 * (len(found) - 1)
    for header in _GIVE_WAY:
        if spare < 0:
            spare += found.pop(header) + 2
    for header in (header for header in _LEAST if header in found):
        more = min(whole[header] - found[header], max(0, spare))
        if header != "started" or found[header] + more == whole[header]:  # a time is there or is not
            found[header] += more
            spare -= more
    return found


def runs_text(runs: Sequence[RunSummary]) -> str:
    """`runs_table` without colours and never cut, for thousands of runs."""
    rows = [(*_WORDS, *_FIGURES), *(_printable(tuple(_cells(run).values())) for run in runs)]
    widths = [max(map(len if "".join(column).isascii() else _width, column)) for column in zip(*rows, strict=True)]
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
    return cells if "".join(cells).isprintable() else tuple(map(printable, cells))  # one look in place of nine


def _width(text: str) -> int:
    """Columns in a terminal, where some letters take two or none."""
    return len(text) if text.isascii() else cell_len(text)
