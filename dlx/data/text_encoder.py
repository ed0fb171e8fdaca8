"""Texts as rows of tokens of one length, as a network is given them: what is stored with the run to read new text in the same way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from dlx.data.text_sequences import lengths, padded
from dlx.data.text_tokenizer import Tokenizer
from dlx.data.text_words import without_breaks
from dlx.data.tokens import END, UNKNOWN

Cut = Literal["start", "end"]
"""Which end of a text that is too long is cut off."""


@dataclass(frozen=True)
class TextEncoder:
    """From texts to (n, length) int32."""

    tokenizer: Tokenizer
    length: int
    """Of a row, END included."""
    cut: Cut
    end: bool
    """Whether each text gets END after it, as the sentences of pairs do."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(n, length) int32; each text is cut where it is longer, and filled with PAD where it is shorter."""
        return self.rows(self.tokens(texts))

    def tokens(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Each text as tokens (tokens,) int32 of its own length, without END."""
        return self.tokenizer.encode_all([without_breaks(text) for text in texts])

    def rows(self, tokens: Sequence[np.ndarray]) -> np.ndarray:
        """`encode` of texts that are tokens already."""
        fitted = [self._fitted(text) for text in tokens]
        rows = padded(fitted, self.length)
        if self.end:
            rows[np.arange(len(rows)), lengths(fitted)] = END
        return rows

    def refusal(self, tokens: np.ndarray) -> str | None:
        """Why a sentence (tokens,) cannot be translated: it would be cut, and its translation would be of something else."""
        if not self.end or len(tokens) <= self._room:
            return None
        return f"it has {len(tokens):,} tokens, and this network has learned to read at most {self._room:,}"

    def to_json(self) -> dict[str, Any]:
        """A tree fit for JSON that `from_json` reads."""
        return {"tokenizer": self.tokenizer.to_json(), "length": self.length, "cut": self.cut, "end": self.end}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> "TextEncoder":
        """The encoder whose JSON this is. Raises `KeyError`, `TypeError` or `ValueError` for a tree that is none."""
        cut = tree["cut"]
        if cut not in get_args(Cut):
            raise ValueError(f"it cuts texts at their {cut!r}")
        return cls(Tokenizer.from_json(tree["tokenizer"]), int(tree["length"]), cut, bool(tree["end"]))

    @property
    def _room(self) -> int:
        """The tokens of a text that a row can hold."""
        return self.length - self.end

    def _fitted(self, tokens: np.ndarray) -> np.ndarray:
        """A text as it is but for its END: at most as long as there is room for, and at least one token, UNKNOWN if it has none."""
        room = self._room
        if 0 < len(tokens) <= room:
            return tokens
        if not len(tokens):
            return np.array([UNKNOWN], np.int32)
        return tokens[:room] if self.cut == "end" else tokens[len(tokens) - room :]
