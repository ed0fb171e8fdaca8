"""From text to words, and back: two simple ways, both written here in full."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

from dlx.data.tokens import END, SPECIAL

Words = Literal["spaces", "punctuation"]
"""`spaces`: words are what stands between spaces, for text that was tokenized already. `punctuation`: see `_WORD`."""

# A number with points or commas in it; else letters and digits, with hyphens inside (`t-shirt`); and an apostrophe with one letter
# after it (`don't`, `it's`) belongs to its word, before more letters it ends one (`l' homme`, `we' re`); else one sign by itself.
_WORD = re.compile(r"\d+(?:[.,:]\d+)+|\w+(?:-\w+)*(?:'(?:\w\b|(?=\w)))?|[^\w\s]")
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_APOSTROPHES = "’ʼ"
_NONE_BEFORE = frozenset(".,!?;:)]}%…”»")
_NONE_AFTER = frozenset("([{¿¡$£€#“«")
_QUOTES = frozenset("\"'")


def without_breaks(text: str) -> str:
    """The text with a space for each `<br />` of HTML, which reviews from the web are full of."""
    return _BREAK.sub(" ", text) if "<" in text else text


def normalized(text: str, words: Words, *, lower: bool) -> str:
    """The text as it is looked up: accents composed (Unicode NFC), lower case if asked; for `punctuation` one sort of apostrophe."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
        for mark in _APOSTROPHES if words == "punctuation" else "":
            text = text.replace(mark, "'")
    return text.lower() if lower else text


def pieces_between_spaces(text: str, *, lines: bool) -> list[str]:
    """What stands between spaces, in order. With `lines` each newline is a piece, `<eos>`; else it is a space."""
    return (text.replace("\n", f" {SPECIAL[END]} ") if lines else text).split()


def words_of_piece(piece: str, words: Words) -> list[str]:
    """The words of what stands between spaces. The names of special tokens are words in any text."""
    return [piece] if words == "spaces" or piece in SPECIAL else _WORD.findall(piece)


def count_words(texts: Iterable[str], words: Words, *, lines: bool) -> Counter[str]:
    """How often each word occurs in normalized texts."""
    pieces: Counter[str] = Counter()
    for text in texts:
        pieces.update(pieces_between_spaces(text, lines=lines))
    if words == "spaces":
        return pieces
    counts: Counter[str] = Counter()
    for piece, count in pieces.items():  # most pieces occur many times, and are divided once
        for word in words_of_piece(piece, words):
            counts[word] += count
    return counts


def join_words(found: Iterable[str], words: Words) -> str:
    """The words as a sentence: with spaces; for `punctuation` without one before a full stop, or inside brackets and quotes."""
    if words == "spaces":
        return " ".join(found)
    pieces: list[str] = []
    opened: set[str] = set()
    apart = False
    for word in found:
        closing = word in opened
        if apart and not closing and word not in _NONE_BEFORE:
            pieces.append(" ")
        pieces.append(word)
        apart = word not in _NONE_AFTER and not (len(word) > 1 and word.endswith("'"))
        if word in _QUOTES:
            opened.symmetric_difference_update((word,))
            apart = closing
    return "".join(pieces)


def most_frequent(counts: Mapping[str, int], most: int | None, least: int) -> list[str]:
    """The words by how often they occur, most frequent first and then by the alphabet: at most `most`, each at least `least` times."""
    kept = sorted((-count, word) for word, count in counts.items() if count >= least)
    return [word for _, word in kept[:most]]
