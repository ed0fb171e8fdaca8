"""BLEU against the figures of sacrebleu 2.6.0 (`tokenize="none"`, no smoothing), and against counting by hand."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlx.data.tokens import END, UNKNOWN
from dlx.tasks.bleu import ORDER, corpus_bleu, ngram_matches

WORDS = {word: number for number, word in enumerate("the cat sat on a mat today dog barks at big loudly is".split(), 4)}


def rows(sentences, length=None):
    """Tokens padded with zeros, each sentence ending in END."""
    length = length or max(map(len, sentences)) + 1
    return jnp.asarray([[*s, END, *[0] * (length - len(s) - 1)] for s in sentences], jnp.int32)


def words(*texts):
    return [[WORDS[word] for word in text.split()] for text in texts]


def of_corpus(said, wanted):
    counts = {name: np.asarray(each, np.float64).sum(0) for name, each in ngram_matches(rows(said), rows(wanted)).items()}
    return counts, corpus_bleu(counts["matches"], counts["ngrams"], float(counts["said"]), float(counts["wanted"]))


def random_corpus(seed, sentences, kinds, low, high, noise):
    """References, and the same with some words changed, cut or added."""
    random = np.random.Generator(np.random.Philox(seed))
    wanted = [random.integers(4, 4 + kinds, random.integers(low, high)).tolist() for _ in range(sentences)]
    said = []
    for reference in wanted:
        guess = [t if random.random() > noise else int(random.integers(4, 4 + kinds)) for t in reference]
        guess = guess[: max(1, len(guess) - int(random.integers(0, 3)))]
        said.append(guess + random.integers(4, 4 + kinds, random.integers(0, 2)).tolist())
    return said, wanted


@pytest.mark.parametrize(
    ("corpus", "score", "matches", "ngrams"),
    [
        ((0, 20, 9, 4, 12, 0.3), 39.42805102088551, [117, 68, 39, 23], [163, 143, 123, 103]),
        ((1, 50, 30, 1, 20, 0.4), 27.475256574796994, [303, 150, 83, 42], [467, 417, 369, 326]),
        ((2, 30, 5, 2, 9, 0.5), 23.601556324073375, [86, 36, 13, 5], [129, 99, 70, 47]),
    ],
)
def test_random_corpora_have_the_bleu_of_sacrebleu(corpus, score, matches, ngrams):
    counts, bleu = of_corpus(*random_corpus(*corpus))
    np.testing.assert_array_equal(counts["matches"], matches)
    np.testing.assert_array_equal(counts["ngrams"], ngrams)
    assert bleu == pytest.approx(score, rel=1e-12)


def test_a_word_counts_as_often_as_the_reference_has_it():
    """The example of Papineni et al. 2002: of seven times `the` two count."""
    counts, bleu = of_corpus(words("the the the the the the the"), words("the cat is on the mat"))
    np.testing.assert_array_equal(counts["matches"], [2, 0, 0, 0])
    np.testing.assert_array_equal(counts["ngrams"], [7, 6, 5, 4])
    assert bleu == 0


def test_short_translations_are_punished_for_their_brevity():
    counts, bleu = of_corpus(words("the cat sat on the"), words("the cat sat on the mat today"))
    np.testing.assert_array_equal(counts["matches"], [5, 4, 3, 2])
    assert bleu == pytest.approx(100 * np.exp(1 - 7 / 5), rel=1e-12)  # 67.032, as sacrebleu says


def test_a_corpus_is_not_the_mean_of_its_sentences():
    said = words("the cat sat on the mat today", "a dog barks at the big cat")
    wanted = words("the cat sat on a mat today", "a dog barks at the cat loudly")
    counts, bleu = of_corpus(said, wanted)
    np.testing.assert_array_equal(counts["matches"], [12, 8, 5, 3])
    assert bleu == pytest.approx(57.21248424548516, rel=1e-12)


def test_an_unknown_word_matches_nothing_but_counts_as_a_word():
    sentence = [*words("the cat")[0], UNKNOWN, *words("on the mat")[0]]
    counts, _ = of_corpus([sentence], [sentence])
    np.testing.assert_array_equal(counts["matches"], [5, 3, 1, 0])
    np.testing.assert_array_equal(counts["ngrams"], [6, 5, 4, 3])


def test_what_stands_behind_the_end_does_not_count():
    said = jnp.asarray([[4, 5, 6, 7, 8, END, 4, 5, 6, 7]])
    plain = ngram_matches(said[:, :6], rows([[4, 5, 6, 7, 8]]))
    for name, count in ngram_matches(said, rows([[4, 5, 6, 7, 8]], length=9)).items():
        np.testing.assert_array_equal(count, plain[name])


@pytest.mark.parametrize("length", [1, 2, 3, 9])
def test_counts_are_those_of_python(length):
    """Hypotheses and references of other lengths, in a loop over Counters; also shorter than the longest n-gram."""
    random = np.random.Generator(np.random.Philox(length))
    said = [random.integers(4, 7, random.integers(0, length + 1)).tolist() for _ in range(40)]
    wanted = [random.integers(4, 7, random.integers(0, 6)).tolist() for _ in range(40)]
    found = jax.jit(ngram_matches)(rows(said, length + 1), rows(wanted, 7))
    for row, (guess, reference) in enumerate(zip(said, wanted, strict=True)):
        for order in range(1, ORDER + 1):
            a, b = (Counter(zip(*(s[i:] for i in range(order)), strict=False)) for s in (guess, reference))
            assert found["matches"][row, order - 1] == (a & b).total()
            assert found["ngrams"][row, order - 1] == a.total()
