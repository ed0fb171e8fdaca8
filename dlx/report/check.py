"""The checks before training as they end, one line each, and what they come to."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from dlx.diagnose.sanity.checked import Checked, Checking
from dlx.diagnose.sanity.finding import Verdict
from dlx.events import DataLoaded
from dlx.report.tables import grid
from dlx.report.words import data_lines, number, plural, seconds

MARKS: Final[Mapping[Verdict, tuple[str, str]]] = {
    "pass": ("✓", "green"),
    "warn": ("!", "yellow"),
    "fail": ("✗", "red"),
    "skip": ("-", "dim"),
}
BARS, PLAIN_BARS = "▁▂▃▄▅▆▇█", "_.-=+*#@"
NAME = 19
"""Columns for the names of checks."""
MOST = 8
"""Longer lists of numbers are told by their length."""


def watch_checks(
    events: Iterator[DataLoaded | Checking | Checked], people: Console, output: Console | None, *, verbose: bool = False
) -> list[Checked]:
    """Drains an examination: each finding goes to `output` as it comes, and what is looked at is a live line on a terminal."""
    found: list[Checked] = []
    began = time.monotonic()
    with people.status("loading") as status:
        for event in events:
            match event:
                case Checking():
                    status.update(f"checking {escape(event.name)}")
                    continue
                case Checked():
                    found.append(event)
                    lines = [finding_line(event, output), *(_details(event, output) if verbose else ())] if output else []
                case DataLoaded():
                    lines = [escape(line) for line in data_lines(event)] if verbose else []
            if output and lines:
                status.stop()  # both may be the same terminal
                for line in lines:
                    output.print(line, soft_wrap=not output.is_terminal)
                status.start()
    if output:
        output.print(summary(found, time.monotonic() - began))
    return found


def finding_line(checked: Checked, console: Console) -> RenderableType:
    """Mark, name and sentence. On a terminal a sentence longer than the line goes on below itself; in a file it is one line."""
    verdict = checked.finding.verdict
    if not console.is_terminal:
        return escape(f"{verdict} {checked.name:{NAME}} {checked.finding.said}")
    mark, color = MARKS[verdict]
    line = Table.grid(padding=(0, 1))
    line.add_column(no_wrap=True, width=4 if _plain(console) else 1)
    line.add_column(no_wrap=True, width=NAME)
    line.add_column(overflow="fold")
    line.add_row(verdict if _plain(console) else f"[{color}]{mark}[/]", escape(checked.name), escape(checked.finding.said))
    return line


def summary(found: Sequence[Checked], took: float) -> str:
    """`15 passed, 2 skipped, 1 warning, 0 failures in 6.0 s`; of skips only if there are any."""
    count = Counter(each.finding.verdict for each in found)
    skipped = [f"{count['skip']} skipped"] if count["skip"] else []
    words = [f"{count['pass']} passed", *skipped, plural(count["warn"], "warning"), plural(count["fail"], "failure")]
    return f"{', '.join(words)} in {seconds(took)}"


def checks_json(found: Sequence[Checked]) -> dict[str, Any]:
    """All findings as one JSON object; `ok` says that none is a failure."""
    return {
        "ok": not failed(found),
        "seconds": sum(each.seconds for each in found),
        "checks": [
            {
                "name": each.name,
                "question": each.question,
                "verdict": each.finding.verdict,
                "said": each.finding.said,
                "seconds": each.seconds,
                "numbers": dict(each.finding.numbers),
            }
            for each in found
        ],
    }


def failed(found: Sequence[Checked]) -> tuple[Checked, ...]:
    """The checks that failed."""
    return tuple(each for each in found if each.finding.verdict == "fail")


def sparkline(counts: Sequence[int], *, plain: bool = False) -> str:
    """One character for each count, as high as its share of the largest; an empty bin is a blank."""
    bars = PLAIN_BARS if plain else BARS
    largest = max(counts, default=0)
    return "".join(bars[min(len(bars) - 1, count * len(bars) // largest)] if count else " " for count in counts)


def layers_table(layers: Sequence[Mapping[str, Any]], parameters: Sequence[Mapping[str, Any]], *, plain: bool) -> Table:
    """One row for each layer: its activations, their distribution, and the gradient of what it trains."""
    table = grid()
    table.add_column("layer", overflow="fold")
    for header in ("std", "dead", "saturated", "values", "gradient", "gradient / weight"):
        table.add_column(header, justify="left" if header == "values" else "right", no_wrap=True)
    for layer in layers:
        own = [each for each in parameters if each["path"].rpartition("/")[0] == layer["path"]]
        first = max(own, key=lambda each: each["path"].endswith("kernel"), default=None)
        gradient = ("", "") if first is None else (_number(first["gradient"]), _number(first["ratio"]))
        shares = (f"{layer[name]:.0%}" for name in ("dead", "saturated"))
        table.add_row(
            escape(layer["path"]), _number(layer["std"]), *shares, sparkline(layer["histogram"], plain=plain), *gradient
        )
    return table


def _details(checked: Checked, console: Console) -> Iterator[RenderableType]:
    """The numbers behind a finding; of layers a table."""
    numbers = checked.finding.numbers
    words = [f"{key} {word}" for key, value in numbers.items() if (word := _word(value))]
    indent = (0, 0, 0, len("pass ") if _plain(console) else 2)
    if words or checked.seconds >= 0.1:
        said = escape(", ".join([*words, seconds(checked.seconds)]))
        yield Padding(said, indent, style="" if _plain(console) else "dim", expand=False)
    if "layers" in numbers:
        yield Padding(
            layers_table(numbers["layers"], numbers["parameters"], plain=console.options.ascii_only), indent, expand=False
        )


def _word(value: Any) -> str:
    match value:
        case bool() | str():
            return str(value)
        case int() | float():
            return _number(value)
        case list() if value and all(isinstance(each, int | float) for each in value):
            return " ".join(map(_number, value)) if len(value) <= MOST else f"({len(value)} values)"
    return ""


def _number(value: float | None) -> str:
    """As `words.number`, and `nan` or `inf` for what is none."""
    if value is None:
        return ""
    return number(value) if abs(value) < float("inf") else str(value)


def _plain(console: Console) -> bool:
    """Whether there are no colours, or no marks: words say it then."""
    return console.no_color or console.color_system is None or console.options.ascii_only
