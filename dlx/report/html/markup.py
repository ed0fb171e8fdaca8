"""HTML that cannot be forgotten to be escaped: a `str` is text and is escaped where it is put in; only `Html` is not."""

import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

_NO_ATTRIBUTES: Final[Mapping[str, str]] = MappingProxyType({})
_VOID: Final = frozenset({"br", "img", "meta", "wbr"})
_NAME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9-]*")
_NOT_TEXT: Final = re.compile(
    r"[^\t\n\x20-\x7e\x85\xa0-\u2029\u202f-\u2065\u206a-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010fffd]"
)
"""Control characters, halves of surrogate pairs and noncharacters, which HTML and XML know no way to write; and overrides of the
direction of writing, which make the words beside them read as others."""
_HOMES: Final = re.compile(r"(?<![\w.~/-])(?:/home/[^/\s:'\"]+|/Users/[^/\s:'\"]+|/root)(?![\w.-])")


@dataclass(frozen=True)
class Html:
    """Markup. It is made by `tag` and `joined` from text, which they escape; who writes `Html(...)` vouches for it."""

    text: str

    def __str__(self) -> str:
        """Never: a page is put together by `joined`, and an f-string would mix escaped and unescaped text."""
        raise TypeError("markup is put together with tag() and joined(), not as text")

    def __bool__(self) -> bool:
        """Whether there is anything in it."""
        return bool(self.text)


Content = Html | str
EMPTY: Final = Html("")


def joined(parts: Iterable[Content], between: Content = EMPTY) -> Html:
    """One after the other; what is text is escaped."""
    return Html(_markup(between).join(_markup(part) for part in parts))


def tag(name: str, *children: Content, attributes: Mapping[str, str] = _NO_ATTRIBUTES) -> Html:
    """An element. Attribute values are text, and escaped; an attribute whose value is empty is written as a bare word."""
    for word in (name, *attributes):
        if not _NAME.fullmatch(word):
            raise ValueError(f"{word!r} is no name of an element or an attribute")
    words = "".join(f" {key}" if value == "" else f' {key}="{escaped(value)}"' for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{words}>")
    return Html(f"<{name}{words}>{joined(children).text}</{name}>")


def escaped(text: str) -> str:
    """The text as it stands in an element or a quoted attribute; what HTML cannot hold is shown as a replacement character."""
    return html.escape(plain(text))


def plain(text: str) -> str:
    """The text without the characters that HTML and XML know no way to write."""
    return _NOT_TEXT.sub("\N{REPLACEMENT CHARACTER}", text)


def shareable(text: str, folder: str = "") -> str:
    """The text without what tells of the machine: paths below `folder` become relative, homes become `~`."""
    if len(folder) > 1:
        text = re.sub(
            rf"(?<![\w.~/-]){re.escape(folder)}(?:/|(?![\w.-]))", lambda found: "" if found[0][-1:] == "/" else ".", text
        )
    home = str(Path.home())
    if len(home) > 1:
        text = re.sub(rf"(?<![\w.~/-]){re.escape(home)}(?![\w.-])", "~", text)
    return _HOMES.sub("~", text)


def _markup(part: Content) -> str:
    return part.text if isinstance(part, Html) else escaped(part)
