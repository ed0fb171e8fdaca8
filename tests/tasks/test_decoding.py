"""Writing token by token against exhaustive search: every sequence of a tiny vocabulary is tried."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlx.data.tokens import BEGIN, END, PAD
from dlx.tasks.decoding import beam_search, drawing, repeated, write

COUNT, LENGTH = 6, 4  # PAD, UNKNOWN, BEGIN, END and two words
WRITABLE = [token for token in range(COUNT) if token not in (PAD, BEGIN)]


def tables(examples, seed=0):
    """A network that remembers which tokens it wrote: logits by example, place and the last two tokens."""
    random = np.random.Generator(np.random.Philox(seed))
    return 2 * random.normal(size=(examples, LENGTH, COUNT, COUNT, COUNT))


def network(table):
    """As `step`, with the state (example, the token before the last)."""
    table = jnp.asarray(table, jnp.float32)

    def step(state, token, place):
        example, before = state
        return (example, token), table[example, place, before, token]

    return step


def start(examples):
    return jnp.arange(examples), jnp.full(examples, PAD)


def log_probability(table, sequence):
    """Of one example's sequence: the sum over its tokens up to END."""
    total, before, last = 0.0, PAD, BEGIN
    for place, token in enumerate(sequence):
        logits = table[place, before, last]
        total += logits[token] - np.log(np.exp(logits).sum())
        before, last = last, token
        if token == END:
            break
    return total


def all_sequences():
    """Every sequence that can be written: up to END, or of the full length."""
    seen = set()
    for tokens in product(WRITABLE, repeat=LENGTH):
        end = tokens.index(END) + 1 if END in tokens else LENGTH
        seen.add(tokens[:end])
    return sorted(seen)


def score(table, sequence, penalty):
    return log_probability(table, sequence) / ((5 + len(sequence)) / 6) ** penalty


@pytest.mark.parametrize("penalty", [0.0, 0.6, 3.0])
def test_a_beam_that_keeps_everything_finds_the_best_of_all_sequences(penalty):
    table, sequences = tables(5), all_sequences()
    beams = len(WRITABLE) ** LENGTH
    found = beam_search(network(table), repeated(start(5), beams), 5, LENGTH, beams, penalty)
    for example in range(5):
        worth = [score(table[example], sequence, penalty) for sequence in sequences]
        best = sequences[int(np.argmax(worth))]
        assert [int(t) for t in found.tokens[example, 0] if t != PAD] == list(best)
        kept = np.isfinite(found.scores[example])
        assert kept.sum() == len(sequences)  # each once
        np.testing.assert_allclose(found.scores[example][kept], sorted(worth, reverse=True), rtol=1e-5)


def test_the_length_penalty_prefers_longer_sequences():
    table = tables(20, seed=1)
    lengths = {}
    for penalty in (0.0, 3.0):
        found = beam_search(network(table), repeated(start(20), 16), 20, LENGTH, 16, penalty)
        lengths[penalty] = int((found.tokens[:, 0] != PAD).sum())
    assert lengths[0.0] < lengths[3.0]


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_one_beam_is_greedy(penalty):
    table = tables(30, seed=2)
    greedy = write(network(table), start(30), 30, LENGTH)
    found = beam_search(network(table), start(30), 30, LENGTH, 1, penalty)
    np.testing.assert_array_equal(found.tokens[:, 0], greedy)


def test_greedy_takes_the_likeliest_token_at_every_place_up_to_the_end():
    table = tables(30, seed=3)
    greedy = np.asarray(write(network(table), start(30), 30, LENGTH))
    for example in range(30):
        expected, before, last = [], PAD, BEGIN
        for place in range(LENGTH):
            token = max(WRITABLE, key=lambda t: table[example, place, before, last, t])
            expected.append(token)
            before, last = last, token
            if token == END:
                break
        np.testing.assert_array_equal(greedy[example], [*expected, *[PAD] * (LENGTH - len(expected))])
    assert (greedy == END).any()
    assert ((greedy != PAD).sum(1) == LENGTH).any()


def test_the_mean_of_many_draws_is_the_probability():
    table = np.repeat(tables(1, seed=4), 4000, axis=0)
    drawn = np.asarray(write(network(table), start(4000), 4000, LENGTH, drawing(jax.random.key(0), 2.0, None)))
    logits = table[0, 0, PAD, BEGIN][WRITABLE] / 2.0
    expected = np.exp(logits) / np.exp(logits).sum()
    shares = [(drawn[:, 0] == token).mean() for token in WRITABLE]
    np.testing.assert_allclose(shares, expected, atol=4 * np.sqrt(0.25 / 4000))
    assert not np.isin(drawn, [BEGIN]).any()


def test_top_k_draws_the_likeliest_only():
    table = np.repeat(tables(1, seed=4), 500, axis=0)
    drawn = np.asarray(write(network(table), start(500), 500, LENGTH, drawing(jax.random.key(1), 5.0, 2)))
    allowed = sorted(WRITABLE, key=lambda t: -table[0, 0, PAD, BEGIN, t])[:2]
    assert set(drawn[:, 0].tolist()) == set(allowed)


def test_lanes_write_what_they_would_alone():
    many = np.stack([tables(6, seed=seed) for seed in range(3)])

    def one(table):
        return beam_search(network(table), repeated(start(6), 3), 6, LENGTH, 3, 0.6).tokens

    together = jax.vmap(one)(many)
    for lane in range(3):
        np.testing.assert_array_equal(together[lane], one(many[lane]))
