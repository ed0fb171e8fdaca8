"""The page around the sections: its head, its style, its list of contents. It loads nothing, and could not."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from dlx.report.html.markup import EMPTY, Html, plain, tag

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What the page may load: nothing but what is in it. A browser holds it to that."""
_COMMENT: Final = re.compile(r"/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading. A section without content is left out."""

    heading: str
    content: Html


def page(title: str, kind: str, head: Html, sections: Sequence[Section], made: str) -> str:
    """The whole document. `kind` says above the title what it is, `head` follows the title, `made` is the last line."""
    shown = [section for section in sections if section.content]
    links = [tag("a", section.heading, attributes={"href": f"#section-{at}"}) for at, section in enumerate(shown)]
    parts = [
        tag("section", tag("h2", section.heading, attributes={"id": f"section-{at}"}), section.content)
        for at, section in enumerate(shown)
    ]
    top = tag("header", tag("p", kind, attributes={"class": "kind"}), tag("h1", title), head)
    nav = tag("nav", *links, attributes={"aria-label": "contents"}) if len(links) > 1 else EMPTY
    body = tag("body", top, nav, tag("main", *parts), tag("footer", tag("p", made)))
    document = tag("html", _head(title), body, attributes={"lang": "en"})
    return f"<!doctype html>\n{document.text}\n"


def _head(title: str) -> Html:
    metas = (
        {"charset": "utf-8"},
        {"http-equiv": "Content-Security-Policy", "content": POLICY},
        {"name": "viewport", "content": "width=device-width, initial-scale=1"},
        {"name": "color-scheme", "content": "light dark"},
        {"name": "referrer", "content": "no-referrer"},
        {"name": "generator", "content": "dlx"},
    )
    return tag("head", *(tag("meta", attributes=each) for each in metas), tag("title", plain(title)), tag("style", _style()))


@cache
def _style() -> Html:
    """The style sheet, which is ours and holds nothing from outside; in a style element nothing is escaped."""
    text = files("dlx.report.html").joinpath("style.css").read_text(encoding="utf8")
    return Html("\n" + "\n".join(line for line in _COMMENT.sub("", text).splitlines() if line.strip()) + "\n")
