"""The search for the largest batch as it goes on, and what it found."""

import math
from collections.abc import Iterator
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from dlx.events import BatchFound, BatchTried, Compiled, Compiling
from dlx.report.tables import grid
from dlx.report.words import bytes_


def watch_sizes(events: Iterator[Compiling | Compiled | BatchTried | BatchFound], console: Console) -> BatchFound:
    """Drains a search into a live line of what is compiled (on a terminal only), and returns its last event."""
    with console.status("loading") as status:
        for event in events:
            match event:
                case Compiling():
                    status.update(escape(f"compiling {event.program}"))
                case BatchFound():
                    found = event
    return found


def batch_lines(found: BatchFound) -> Iterator[RenderableType]:
    """What was tried, and, where a size fits, the answer."""
    yield f"{escape(found.device)}: {bytes_(found.memory_limit)} for the train program, {_data_words(found)}"
    yield tried_table(found)
    if found.batch_size is not None:
        yield escape(answer(found))
    yield "nothing was trained"


def tried_table(found: BatchFound) -> Table:
    """One row for each size for which the program was compiled."""
    table = grid()
    for header in ("batch size", "predicted", "of what there is"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("fits", no_wrap=True)
    for each in found.tried:
        share = each.memory_bytes / found.memory_limit
        table.add_row(
            f"{each.batch_size:,}",
            _bytes_words(each.memory_bytes),
            f"{100 * share:.1f} %" if math.isfinite(share) else "",
            "[green]yes[/]" if each.fits else "[red]no[/]",
        )
    return table


def answer(found: BatchFound) -> str:
    """The result in a sentence."""
    needs = {each.batch_size: _bytes_words(each.memory_bytes) for each in found.tried}
    there = bytes_(found.memory_limit)
    if found.batch_size is None:
        least = min(needs)
        return (
            f"not even train.batch_size={least} fits: its train program needs {needs[least]}, and there is {there}; "
            "lower the model's sizes"
        )
    if found.batch_size == found.largest:
        return f"train.batch_size={found.batch_size} fits, and is as large as it can be ({found.why_largest})"
    sentence = f"train.batch_size={found.batch_size} fits into {there}"
    above = next((each for each in found.tried if each.batch_size > found.batch_size), None)
    if above is None:
        return f"{sentence}; nothing larger was tried"
    share = above.memory_bytes / found.memory_limit
    more = f"{100 * share:.4g} % of it" if math.isfinite(share) else "more than the compiler had"
    return f"{sentence}; {above.batch_size} would need {more}"


def batch_json(found: BatchFound) -> dict[str, Any]:
    """The search as one JSON object."""
    return {**vars(found), "tried": [vars(each) for each in found.tried], "message": answer(found)}


def _bytes_words(value: float) -> str:
    return bytes_(value) if math.isfinite(value) else "more than the compiler had"


def _data_words(found: BatchFound) -> str:
    return "data on the device included" if found.resident else "data streamed"
