"""What pages are built of: tables, lists of facts, notes, folded parts. Cells and words are text until `tag` escapes them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from dlx.report.html.markup import EMPTY, Content, Html, joined, tag

FOLDED: Final = 34
"""Characters from which on the words of a column are broken over lines."""
_TAGS: Final = re.compile(r"<[^>]*>")
_FOLDS_AFTER: Final = re.compile(r"(?<=[/._,=])(?=\w)")


@dataclass(frozen=True)
class Column:
    """A table's column: its name, and whether it holds numbers, which are set to the right."""

    name: str
    numbers: bool = True


def table(caption: str, columns: Sequence[Column], rows: Iterable[Sequence[Content]], shade: Iterable[int] = ()) -> Html:
    """A table in a box of its own, in which it scrolls where the window is narrow; each row's first cell is its header.

    `shade` has the numbers of rows that stand out, from 0.
    """
    stand_out, rows = frozenset(shade), list(rows)
    kinds = [_kind(column, [row[at] for row in rows]) for at, column in enumerate(columns)]
    names = [
        tag("th", _foldable(column.name), attributes={"scope": "col", "class": kind})
        for column, kind in zip(columns, kinds, strict=True)
    ]
    body = []
    for number, row in enumerate(rows):
        cells = [
            tag("th" if not at else "td", cell, attributes={"class": kind} | ({"scope": "row"} if not at else {}))
            for at, (kind, cell) in enumerate(zip(kinds, row, strict=True))
        ]
        body.append(tag("tr", *cells, attributes={"class": "mark"} if number in stand_out else {}))
    inner = tag("table", tag("caption", tag("span", caption)), tag("thead", tag("tr", *names)), tag("tbody", *body))
    # A box that scrolls can be reached with the keyboard, and then needs a name.
    return tag("div", inner, attributes={"class": "scroll", "tabindex": "0", "role": "region", "aria-label": caption})


def facts(rows: Iterable[tuple[str, Content]]) -> Html:
    """Names and what they stand for; those without anything to say are left out."""
    pairs = [tag("div", tag("dt", name), tag("dd", value)) for name, value in rows if value]
    return tag("dl", *pairs) if pairs else EMPTY


def note(*content: Content, kind: str = "note") -> Html:
    """A sentence that stands out; `kind` is note, warning or missing."""
    return tag("p", *content, attributes={"class": kind})


def folded(title: str, *content: Content) -> Html:
    """What is there for those who want to know; it opens with a click, and is open in print."""
    return tag("details", tag("summary", title), *content)


def code(text: str) -> Html:
    """What is typed, with places to break long lines at."""
    return tag("code", _foldable(text))


def pill(word: str) -> Html:
    """A status in its colour."""
    return tag("span", word, attributes={"class": f"pill {word}" if word.isidentifier() else "pill"})


def tiles(pairs: Iterable[tuple[str, str, str]]) -> Html:
    """The figures that matter, large: name, value, and what there is to say of it."""
    boxes = [
        tag("div", tag("span", name), tag("strong", value), tag("small", _foldable(detail)) if detail else EMPTY)
        for name, value, detail in pairs
        if value
    ]
    return tag("div", *boxes, attributes={"class": "tiles"}) if boxes else EMPTY


def beside(*parts: Html) -> Html:
    """Side by side where there is room, one below the other on a phone."""
    shown = [part for part in parts if part]
    return tag("div", *shown, attributes={"class": "beside"}) if shown else EMPTY


def _kind(column: Column, cells: Sequence[Content]) -> str:
    """The class of a column's cells: numbers, words on one line, or words that fold."""
    if column.numbers:
        return "number"
    lengths = (len(cell if isinstance(cell, str) else _TAGS.sub("", cell.text)) for cell in cells)
    return "long" if max(lengths, default=0) > FOLDED else "text"


def _foldable(text: str) -> Html:
    return joined(_FOLDS_AFTER.split(text), between=tag("wbr"))
