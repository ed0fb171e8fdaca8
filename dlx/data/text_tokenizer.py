"""Text as tokens and tokens as text. A `Tokenizer` is made from the training part, stored with the run as JSON, and made of it again."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, takewhile
from typing import TYPE_CHECKING, Any, Literal, assert_never, get_args

import numpy as np

from dlx.config.text_data import TextCommon
from dlx.data.text_words import (
    Words,
    count_words,
    join_words,
    most_frequent,
    normalized,
    pieces_between_spaces,
    words_of_piece,
)
from dlx.data.tokens import BEGIN, END, PAD, SPECIAL, UNKNOWN
from dlx.errors import DataError, MissingInputError

if TYPE_CHECKING:  # an extra
    import tokenizers

Unit = Literal["character", "word", "bpe"]
_MOST_PIECES = 1 << 20  # of which it is kept how they are divided
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Tokenizer:
    """What is a token, and which there are. `lines` is for text that is read as a stream: there END ends a line."""

    unit: Unit
    words: Words
    """How words are found; of no meaning for other units."""
    lower: bool
    lines: bool
    tokens: tuple[str, ...]
    """The token of each number, first the special ones. Byte pairs are written in the letters that stand for bytes."""
    merges: tuple[tuple[str, str], ...] = ()
    """Byte pairs in the order in which they are put together."""

    @classmethod
    def fit(cls, texts: Iterable[str], config: TextCommon, *, lines: bool = False) -> "Tokenizer":
        """The tokens of the training texts: most frequent first, equal ones by the alphabet.

        Raises `DataError` where there are none, `MissingInputError` where byte pairs are asked for and the package is not there.
        """
        lines = lines and config.unit == "word"
        empty = cls.empty(config, lines=lines)
        if config.unit == "bpe":
            assert config.vocabulary is not None  # the config says so
            tokens, merges = _learn_pairs([empty.prepared(text) for text in texts], config.vocabulary)
            return cls(config.unit, config.words, config.lower, lines, (*SPECIAL, *tokens), merges)
        prepared = map(empty.prepared, texts)
        if config.unit == "word":
            counts, least = count_words(prepared, config.words, lines=lines), config.min_frequency
        else:
            counts, least = Counter(chain.from_iterable(prepared)), 1
        if not counts:
            raise DataError("the training texts are empty: look at the files that data names")
        for name in SPECIAL:
            counts.pop(name, None)
        kept = most_frequent(counts, config.vocabulary, least)
        if not kept:
            raise DataError(f"no word is in the training texts {least} times: set data.min_frequency lower")
        return cls(config.unit, config.words, config.lower, lines, (*SPECIAL, *kept))

    @classmethod
    def empty(cls, config: TextCommon, *, lines: bool = False) -> "Tokenizer":
        """One that prepares texts, and finds their words or characters without knowing any. It has no byte pairs."""
        return cls(config.unit, config.words, config.lower, lines, SPECIAL)

    def __len__(self) -> int:
        """How many different tokens there are, special ones included."""
        return len(self.tokens)

    def prepared(self, text: str) -> str:
        """The text as it is looked up. Characters and bytes stay as they are, but for their case."""
        if self.unit == "word":
            return normalized(text, self.words, lower=self.lower)
        return text.lower() if self.lower else text

    def encode(self, text: str) -> np.ndarray:
        """(tokens,) int32. What is not in the vocabulary is UNKNOWN; nothing is put before or after."""
        match self.unit:
            case "character":
                ready = self.prepared(text)
                return np.fromiter(map(self._numbers.__getitem__, ready), np.int32, len(ready))
            case "word":
                pieces = pieces_between_spaces(self.prepared(text), lines=self.lines)
                return np.fromiter(chain.from_iterable(map(self._pieces.__getitem__, pieces)), np.int32)
            case "bpe":
                return self._encode_pairs([text])[0]
            case _:
                assert_never(self.unit)

    def encode_all(self, texts: Sequence[str]) -> list[np.ndarray]:
        """`encode` of each; byte pairs are found on all cores."""
        return self._encode_pairs(texts) if self.unit == "bpe" else [self.encode(text) for text in texts]

    def decode(self, numbers: Iterable[int] | np.ndarray) -> str:
        """The text of tokens: up to the first END, or with `lines` a line for each. PAD and BEGIN are left out."""
        numbers = [int(number) for number in numbers if number not in (PAD, BEGIN)]
        if not self.lines:
            return self._join(takewhile(lambda number: number != END, numbers))
        lines: list[list[int]] = [[]]
        for number in numbers:
            if number == END:
                lines.append([])
            else:
                lines[-1].append(number)
        return "\n".join(self._join(line) for line in lines)

    def to_json(self) -> dict[str, Any]:
        """A tree fit for JSON that `from_json` reads."""
        return {
            "unit": self.unit,
            "words": self.words,
            "lower": self.lower,
            "lines": self.lines,
            "tokens": list(self.tokens),
            "merges": [list(pair) for pair in self.merges],
        }

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> "Tokenizer":
        """The tokenizer whose JSON this is. Raises `KeyError`, `TypeError` or `ValueError` for a tree that is none."""
        unit, words, tokens = tree["unit"], tree["words"], tuple(str(token) for token in tree["tokens"])
        if unit not in get_args(Unit) or words not in get_args(Words):
            raise ValueError(f"its tokens are of {unit!r} and {words!r}")
        if tokens[: len(SPECIAL)] != SPECIAL:
            raise ValueError(f"its tokens do not begin with {', '.join(SPECIAL)}")
        merges = tuple((str(left), str(right)) for left, right in tree["merges"])
        return cls(unit, words, bool(tree["lower"]), bool(tree["lines"]), tokens, merges)

    @cached_property
    def _numbers(self) -> "_Numbers":
        """Of all tokens; the special ones only where a text of words has them itself, as the Penn Treebank has `<unk>`."""
        numbers = _Numbers((token, number) for number, token in enumerate(self.tokens[len(SPECIAL) :], len(SPECIAL)))
        if self.unit == "word":
            numbers |= {SPECIAL[number]: number for number in (UNKNOWN, BEGIN, END)}
        return numbers

    @cached_property
    def _pieces(self) -> "_Pieces":
        return _Pieces(self._numbers, self.words)

    @cached_property
    def _pairs(self) -> "tokenizers.Tokenizer":
        return _pair_tokenizer({token: number for number, token in enumerate(self.tokens[len(SPECIAL) :])}, self.merges)

    def _encode_pairs(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Each line by itself, so that all cores have work even with one long text."""
        lines = [self.prepared(text).splitlines(keepends=True) for text in texts]
        found = iter(self._pairs.encode_batch_fast([line for text in lines for line in text], add_special_tokens=False))
        encoded = []
        for text in lines:
            numbers = [number for _ in text for number in next(found).ids]
            encoded.append(np.array(numbers, np.int32) + len(SPECIAL))
        return encoded

    def _join(self, numbers: Iterable[int]) -> str:
        match self.unit:
            case "character":
                return "".join(self.tokens[number] if number >= len(SPECIAL) else _REPLACEMENT for number in numbers)
            case "word":
                return join_words((self.tokens[number] for number in numbers), self.words)
            case "bpe":
                known = [self.tokens[number] for number in numbers if number >= len(SPECIAL)]
                return self._pairs.decoder.decode(known)
            case _:
                assert_never(self.unit)


class _Numbers(dict[str, int]):
    """The number of each token. What is none is UNKNOWN, and not added."""

    def __missing__(self, token: str) -> int:
        return UNKNOWN


class _Pieces(dict[str, tuple[int, ...]]):
    """The numbers of the words in what stands between spaces: found once for each of them, as most occur many times."""

    def __init__(self, numbers: _Numbers, words: Words) -> None:
        self._words_and_numbers = words, numbers

    def __missing__(self, piece: str) -> tuple[int, ...]:
        words, numbers = self._words_and_numbers
        found = tuple(numbers[word] for word in words_of_piece(piece, words))
        if len(self) < _MOST_PIECES:
            self[piece] = found
        return found


def _learn_pairs(texts: Sequence[str], count: int) -> tuple[list[str], tuple[tuple[str, str], ...]]:
    """`count` tokens and the merges that make them: all bytes, and then what stands together most often in the texts."""
    import json

    pairs = _pair_tokenizer({}, ())
    from tokenizers import pre_tokenizers, trainers

    trainer = trainers.BpeTrainer(
        vocab_size=count, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=[]
    )
    pairs.train_from_iterator((line for text in texts for line in text.splitlines(keepends=True)), trainer)
    model = json.loads(pairs.to_str())["model"]
    return sorted(model["vocab"], key=model["vocab"].__getitem__), tuple((left, right) for left, right in model["merges"])


def _pair_tokenizer(numbers: dict[str, int], merges: Iterable[tuple[str, str]]) -> "tokenizers.Tokenizer":
    """Byte-pair encoding on bytes (Radford 2019, "Language models are unsupervised multitask learners"): nothing is unknown."""
    try:
        import tokenizers
    except ImportError as error:
        raise MissingInputError("data.unit=bpe needs the package tokenizers: pip install 'dlx[text]'") from error
    pairs = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=numbers, merges=list(merges)))
    pairs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    pairs.decoder = tokenizers.decoders.ByteLevel()
    return pairs
