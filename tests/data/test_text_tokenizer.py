"""Text becomes tokens and tokens become text again; the vocabulary is the training part's, and is stored as JSON."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dlx.config.text_data import LabelledText, Text, TextPairs
from dlx.data.text_tokenizer import Tokenizer
from dlx.data.text_words import join_words, normalized, pieces_between_spaces, without_breaks, words_of_piece
from dlx.data.tokens import BEGIN, END, PAD, SPECIAL, UNKNOWN
from dlx.errors import DataError, MissingInputError


def split(text: str) -> list[str]:
    return [word for piece in pieces_between_spaces(text, lines=False) for word in words_of_piece(piece, "punctuation")]


def stored(tokenizer: Tokenizer) -> Tokenizer:
    return Tokenizer.from_json(json.loads(json.dumps(tokenizer.to_json())))


# ------------------------------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I don't, it's fine.", ["I", "don't", ",", "it's", "fine", "."]),
        ("we're l'homme qu'il", ["we'", "re", "l'", "homme", "qu'", "il"]),
        ("'quoted' words'", ["'", "quoted", "'", "words", "'"]),
        ("a well-known t-shirt - ok", ["a", "well-known", "t-shirt", "-", "ok"]),
        ("3.14, 1,000 and 10:30. 5.", ["3.14", ",", "1,000", "and", "10:30", ".", "5", "."]),
        ("été à 100 %!?", ["été", "à", "100", "%", "!", "?"]),
        ("kept <unk> whole <b>", ["kept", "<unk>", "whole", "<", "b", ">"]),
        ("", []),
    ],
)
def test_words_and_punctuation(text, words):
    assert split(text) == words


@pytest.mark.parametrize(
    "text",
    [
        "he said: \"it's fine (really), don't\"!",
        "l'homme est là; qu'il vienne.",
        "a 'b c' d",
        "it costs $5 [or more]",
        "3.14 %",
    ],
)
def test_words_are_joined_as_they_are_written(text):
    assert join_words(split(text), "punctuation") == text.replace(" %", "%")


@given(st.text(alphabet="ab'-.,\"(3% é", max_size=30))
def test_a_joined_sentence_has_the_same_words(text):
    words = split(text)
    assert split(join_words(words, "punctuation")) == words
    assert join_words(words, "spaces").split() == words


def test_text_is_normalized_the_same_however_it_was_written():
    assert (
        normalized("e\N{COMBINING ACUTE ACCENT}te d\N{RIGHT SINGLE QUOTATION MARK}Or", "punctuation", lower=True) == "éte d'or"
    )
    assert normalized("\N{RIGHT SINGLE QUOTATION MARK}A", "spaces", lower=False) == "\N{RIGHT SINGLE QUOTATION MARK}A"
    assert without_breaks("one<br /><BR>two") == "one  two"


# --------------------------------------------------------------------------------------------------------------- vocabulary


def test_special_tokens_come_first_and_then_the_most_frequent_words():
    tokenizer = Tokenizer.fit(["b a b", "c A a d a"], LabelledText(path="x", min_frequency=1))
    assert tokenizer.tokens == (*SPECIAL, "a", "b", "c", "d")
    assert (SPECIAL[PAD], SPECIAL[UNKNOWN], SPECIAL[BEGIN], SPECIAL[END]) == ("<pad>", "<unk>", "<bos>", "<eos>")
    assert tokenizer.encode("A b, e").tolist() == [4, 5, UNKNOWN, UNKNOWN]
    assert tokenizer.encode("").shape == (0,)
    assert tokenizer.encode("a").dtype == np.int32


def test_rare_words_and_those_beyond_the_vocabulary_are_unknown():
    texts = ["a a a b b c c d"]
    assert Tokenizer.fit(texts, LabelledText(path="x", min_frequency=2)).tokens[4:] == ("a", "b", "c")
    assert Tokenizer.fit(texts, LabelledText(path="x", min_frequency=1, vocabulary=2)).tokens[4:] == ("a", "b")
    with pytest.raises(DataError, match=r"no word is in the training texts 9 times: set data\.min_frequency lower"):
        Tokenizer.fit(texts, LabelledText(path="x", min_frequency=9))
    with pytest.raises(DataError, match="the training texts are empty"):
        Tokenizer.fit(["", " "], LabelledText(path="x"))


def test_a_text_of_words_may_have_special_tokens_itself_but_no_padding():
    tokenizer = Tokenizer.fit(["a <unk> b <pad>\na"], Text(path="x", unit="word"), lines=True)
    assert tokenizer.tokens == (*SPECIAL, "a", "b")
    assert tokenizer.encode("a <unk> <eos> <pad>\n").tolist() == [4, UNKNOWN, END, UNKNOWN, END]


def test_each_line_of_a_stream_of_words_ends():
    tokenizer = Tokenizer.fit(["a b\nb\n"], Text(path="x", unit="word"), lines=True)
    tokens = tokenizer.encode("a b\n\nb\n")
    assert tokens.tolist() == [5, 4, END, END, 4, END]
    assert tokenizer.decode(tokens) == "a b\n\nb\n"
    signs = Tokenizer.fit(["a,b\n"], Text(path="x", unit="word", words="punctuation"), lines=True)
    assert signs.decode(signs.encode("a,b\na")) == "a, b\na"


def test_what_is_decoded_ends_at_the_end():
    tokenizer = Tokenizer.fit(["a b"], LabelledText(path="x", min_frequency=1))
    assert tokenizer.decode(np.array([BEGIN, 4, 5, UNKNOWN, END, 4, PAD, PAD])) == "a b <unk>"
    assert tokenizer.decode([]) == ""


@given(st.text(max_size=30))
def test_characters_and_byte_pairs_lose_nothing(text):
    characters = Tokenizer.fit([text + "x"], Text(path="x"), lines=True)
    assert characters.decode(characters.encode(text)) == text
    pairs = Tokenizer.fit(["the cat sat on the mat"], Text(path="x", unit="bpe", vocabulary=260), lines=True)
    assert pairs.decode(pairs.encode(text)) == text


def test_an_unknown_character_is_seen():
    tokenizer = Tokenizer.fit(["ab\n"], Text(path="x"), lines=True)
    assert tokenizer.decode(tokenizer.encode("a?\nb")) == "a\N{REPLACEMENT CHARACTER}\nb"


def test_byte_pairs_are_the_most_frequent_ones_in_order():
    # "ab" stands three times, a space before it twice; then nothing is left to put together twice.
    pairs = Tokenizer.fit(["ab ab ab"], Text(path="x", unit="bpe", vocabulary=258))
    assert pairs.merges == (("a", "b"), ("Ġ", "ab"))
    assert (len(pairs), pairs.tokens[-2:]) == (4 + 258, ("ab", "Ġab"))
    assert pairs.encode("ab ab b").tolist() == [4 + 256, 4 + 257, *pairs.encode(" b").tolist()]
    assert pairs.encode_all(["ab", " ab"])[1].tolist() == [4 + 257]


@pytest.mark.parametrize(
    "config",
    [
        Text(path="x"),
        Text(path="x", unit="word", lower=True),
        Text(path="x", unit="bpe", vocabulary=300),
        LabelledText(path="x", min_frequency=1),
    ],
)
def test_a_tokenizer_is_made_again_of_its_json(config):
    text = "The cat sat.\nThe dog, too.\n"
    tokenizer = Tokenizer.fit([text], config, lines=True)
    again = stored(tokenizer)
    assert again == tokenizer
    assert np.array_equal(again.encode(text), tokenizer.encode(text))
    assert again.decode(tokenizer.encode(text)) == tokenizer.decode(tokenizer.encode(text))


def test_json_of_another_kind_is_refused():
    tree = Tokenizer.fit(["a"], LabelledText(path="x", min_frequency=1)).to_json()
    with pytest.raises(ValueError, match="'syllable'"):
        Tokenizer.from_json({**tree, "unit": "syllable"})
    with pytest.raises(ValueError, match="do not begin with <pad>"):
        Tokenizer.from_json({**tree, "tokens": ["a"]})


def test_without_the_package_byte_pairs_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingInputError, match=r"pip install 'dlx\[text\]'"):
        Tokenizer.fit(["a"], Text(path="x", unit="bpe", vocabulary=300))


# ------------------------------------------------------------------------------------------------------------------ configs


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (Text, {"path": "x", "standardize": True}, "never standardized"),
        (Text, {"path": "x", "augment": [{"kind": "noise"}]}, "no augmentation of text"),
        (Text, {"path": "x", "unit": "bpe"}, "unit bpe needs vocabulary"),
        (LabelledText, {"path": "x", "unit": "bpe", "vocabulary": 255}, "at least the 256 bytes"),
        (TextPairs, {}, "name one file with tabs as path, or two files"),
        (TextPairs, {"path": "x", "source": "a", "target": "b"}, "name one file with tabs as path, or two files"),
        (TextPairs, {"source": "a"}, "source is given without target"),
        (TextPairs, {"path": "x", "test_target": "a"}, "test_target is given without test_source"),
    ],
)
def test_what_makes_no_sense_is_refused(kind, settings, message):
    with pytest.raises(ValidationError, match=message):
        kind(**settings)
