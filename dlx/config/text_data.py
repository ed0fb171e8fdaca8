"""Where text comes from and how it becomes tokens. Tagged by `kind`; every field here is structure."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from dlx.config.lane import File
from dlx.config.source import Augment, DataCommon

BYTES = 256
"""Byte pairs are made from all bytes, so that no text is unknown to them."""


class TextCommon(DataCommon):
    """How text becomes tokens. What the tokens are is decided by the training part alone."""

    standardize: bool = False
    """Tokens are names and no quantities: they are never standardized."""
    unit: Literal["character", "word", "bpe"]
    """What a token is: a character, a word, or a group of bytes that often stand together (byte-pair encoding, Sennrich 2016)."""
    words: Literal["spaces", "punctuation"]
    """What words are: all that stands between spaces, or words, numbers and each punctuation mark by itself."""
    lower: bool
    """Turn all letters into lower case."""
    vocabulary: Annotated[int, Field(ge=1)] | None
    """Keep so many of the most frequent tokens, beside the four special ones; null keeps all. Byte pairs need it: how many there are."""
    min_frequency: Annotated[int, Field(ge=1)]
    """A word that the training part has fewer times becomes `<unk>`. Characters and byte pairs are kept."""

    @field_validator("standardize")
    @classmethod
    def _no_quantities(cls, value: bool) -> bool:
        if value:
            raise ValueError("tokens are names and no quantities, so text is never standardized: leave it out")
        return value

    @field_validator("augment")
    @classmethod
    def _no_pictures(cls, value: tuple[Augment, ...]) -> tuple[Augment, ...]:
        if value:
            raise ValueError("there is no augmentation of text: leave it out")
        return value

    @model_validator(mode="after")
    def _bytes_fit(self) -> "TextCommon":
        if self.unit == "bpe" and (self.vocabulary is None or self.vocabulary < BYTES):
            raise ValueError(f"unit bpe needs vocabulary, at least the {BYTES} bytes: set it, for instance to 4096")
        return self


class Text(TextCommon):
    """One long text, read as a stream in windows of `length` tokens, each to be predicted from those before it."""

    kind: Literal["text"] = "text"
    path: File
    """A file, compressed or not; or a folder or zip archive with files called `train`, `valid` and `test`. Of a single file the
    validation and test parts are the end."""
    length: Annotated[int, Field(ge=1)] = 64
    """Tokens of one window: how far gradients go back (truncated backpropagation through time)."""
    unit: Literal["character", "word", "bpe"] = "character"
    words: Literal["spaces", "punctuation"] = "spaces"
    lower: bool = False
    vocabulary: Annotated[int, Field(ge=1)] | None = None
    min_frequency: Annotated[int, Field(ge=1)] = 1


class LabelledText(TextCommon):
    """Sentences or documents with a class: JSON lines, CSV, a file per class with one text a line, or a folder per class."""

    kind: Literal["labelled-text"] = "labelled-text"
    path: File
    """A file of JSON lines or CSV, compressed or not; or a folder: with the `files`, or with a folder of .txt files per class."""
    files: dict[str, str] = {}
    """By class, its file in `path`, with one text a line: `{positive: rt-polarity.pos, negative: rt-polarity.neg}`."""
    test_path: File | None = None
    """The same again with other texts, used as the test part."""
    text: str = "text"
    """The field of JSON lines, or the column of CSV, that holds the text."""
    target: str = "label"
    """The field or column that holds the class."""
    length: Annotated[int, Field(ge=1)] = 256
    """The most tokens of a text."""
    cut: Literal["start", "end"] = "end"
    """Which end of a longer text is cut off."""
    bucket: bool = True
    """Put texts of similar lengths together in a batch."""
    unit: Literal["character", "word", "bpe"] = "word"
    words: Literal["spaces", "punctuation"] = "punctuation"
    lower: bool = True
    vocabulary: Annotated[int, Field(ge=1)] | None = 20_000
    min_frequency: Annotated[int, Field(ge=1)] = 2


class TextPairs(TextCommon):
    """Sentences and their translations: two files line by line, or one file with tabs between them."""

    kind: Literal["text-pairs"] = "text-pairs"
    path: File | None = None
    """A file with a tab between the two, compressed or in a zip archive; or leave it out and name `source` and `target`."""
    columns: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] = (0, 1)
    """Which of the columns of `path`, from 0, are source and target."""
    source: File | None = None
    """A file of sentences, one a line, compressed or not."""
    target: File | None = None
    """Their translations, line by line."""
    validation_source: File | None = None
    """The same for the validation part; without it that is drawn from the training part."""
    validation_target: File | None = None
    """The translations of `validation_source`."""
    test_source: File | None = None
    """The same for the test part."""
    test_target: File | None = None
    """The translations of `test_source`."""
    length: Annotated[int, Field(ge=1)] = 50
    """The most tokens of a sentence, source or target; pairs with a longer one are left out."""
    bucket: bool = True
    """Put pairs of similar lengths together in a batch."""
    unit: Literal["character", "word", "bpe"] = "word"
    words: Literal["spaces", "punctuation"] = "punctuation"
    lower: bool = True
    vocabulary: Annotated[int, Field(ge=1)] | None = None
    min_frequency: Annotated[int, Field(ge=1)] = 2

    @model_validator(mode="after")
    def _whole_pairs(self) -> "TextPairs":
        for part in ("", "validation_", "test_"):
            source, target = vars(self)[f"{part}source"], vars(self)[f"{part}target"]
            if (source is None) != (target is None):
                given, needed = ("source", "target") if target is None else ("target", "source")
                raise ValueError(f"{part}{given} is given without {part}{needed}: name both files")
        if (self.path is None) == (self.source is None):
            both = ", and set the others to null" if self.path is not None else ""
            raise ValueError(f"name one file with tabs as path, or two files as source and target{both}")
        return self
