"""Numbers, durations and times as people write them."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # see `tables`
    from dlx.events import DataLoaded

CELL: Final = 120
"""Characters of a value that are shown, at most."""


def number(value: float) -> str:
    """Four significant digits, or an integer whole: `0.9926`, `55120`, `1.2e-05`."""
    if abs(value) < 1e7 and value == int(value):
        return f"{int(value)}"
    return f"{value:.0f}" if 1e4 <= abs(value) < 1e7 else f"{value:.4g}"


def seconds(value: float) -> str:
    """`0.2 s`, `12 s`, `3 min 20 s`, `2 h 05 min`."""
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def bytes_(value: float) -> str:
    """`3.2 MiB`."""
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def moment(timestamp: float) -> str:
    """Local time, `2026-11-20 23:31`."""
    return datetime.fromtimestamp(timestamp).isoformat(" ", "minutes")  # noqa: DTZ006 (local is meant)


def plural(count: int, word: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def cut(text: str) -> str:
    """A text for the cell of a table: its beginning, where it is long."""
    return text if len(text) <= CELL else f"{text[: CELL - 1]}…"


def printable(text: str) -> str:
    """A text in one line that does not steer the terminal."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else " " if letter.isspace() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def value_word(value: Any) -> str:
    """A searched value as it is typed in an override."""
    match value:
        case bool() | None | list() | dict():
            return json.dumps(value)
        case float():
            return f"{value:.4g}"
    return str(value)


def data_lines(event: "DataLoaded") -> Iterator[str]:
    """What was loaded: the sizes of its parts, and what was inferred, dropped or filled in."""
    yield f"data {event.name}: {event.train:,} train, {event.validation:,} validation, {event.test:,} test"
    yield from (f"  {sentence}" for sentence in event.report)
