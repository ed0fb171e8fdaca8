"""The batch order is a pure function of seed and step; an epoch shows each example at most once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlx.data import Order, batch_rows, evaluation_rows, some_rows
from dlx.errors import ConfigError

sizes = st.tuples(st.integers(1, 60), st.integers(1, 60)).map(lambda pair: (max(pair), min(pair)))


@given(st.integers(0, 2**32 - 1), sizes, st.integers(0, 200), st.integers(1, 40))
def test_a_window_of_steps_equals_the_same_steps_one_by_one(seed, size, first, steps):
    examples, batch = size
    window = batch_rows(seed, first, steps, examples, batch)
    assert window.shape == (steps, batch)
    assert window.dtype == np.int32
    single = [batch_rows(seed, step, 1, examples, batch)[0] for step in range(first, first + steps)]
    assert np.array_equal(window, single)


@given(st.integers(0, 2**32 - 1), sizes, st.integers(0, 5))
def test_an_epoch_shows_each_example_at_most_once(seed, size, epoch):
    examples, batch = size
    per_epoch = examples // batch
    rows = batch_rows(seed, epoch * per_epoch, per_epoch, examples, batch).ravel()
    assert len(set(rows.tolist())) == len(rows) == per_epoch * batch
    assert rows.min() >= 0
    assert rows.max() < examples


def test_epochs_and_seeds_differ_and_the_left_over_examples_too():
    epochs = [set(batch_rows(0, epoch, 1, 10, 9)[0].tolist()) for epoch in range(20)]
    assert len({frozenset(epoch) for epoch in epochs}) > 1
    assert not np.array_equal(batch_rows(0, 0, 1, 100, 100), batch_rows(1, 0, 1, 100, 100))
    assert not np.array_equal(batch_rows(0, 0, 1, 100, 100), batch_rows(0, 1, 1, 100, 100))


def test_no_steps_is_no_batches():
    assert batch_rows(0, 7, 0, 10, 2).shape == (0, 2)


def test_a_batch_larger_than_the_data_is_an_error():
    with pytest.raises(ConfigError, match=r"train.batch_size=64 does not fit 40 training examples"):
        batch_rows(0, 0, 1, 40, 64)


@given(st.integers(0, 500), st.integers(0, 60))
def test_some_rows_are_different_rows_in_order_and_always_the_same(examples, most):
    rows = some_rows(examples, most)
    assert len(rows) == min(examples, most)
    assert np.array_equal(rows, np.unique(rows))
    assert not len(rows) or 0 <= rows[0] <= rows[-1] < examples
    assert np.array_equal(rows, some_rows(examples, most))


def test_some_rows_of_classes_in_turn_are_of_every_class():
    assert len(np.unique(some_rows(40_960, 4096) % 10)) == 10


def test_streams_go_on_where_they_stood_and_a_batch_holds_as_many_as_it_has_places():
    """Ten rows in batches of three: three streams of three rows, in every epoch the same; the last row is left over."""
    rows = batch_rows(0, 0, 4, examples=10, batch_size=3, order=Order("streams"))
    np.testing.assert_array_equal(rows, [[0, 3, 6], [1, 4, 7], [2, 5, 8], [0, 3, 6]])


@given(st.integers(1, 60), st.integers(1, 8), st.integers(0, 5), st.integers(0, 40))
def test_batches_of_similar_lengths_are_a_permutation_of_all_examples(batches, size, epoch, seed):
    """An epoch of buckets has each example at most once, and depends on nothing but the seed and the epoch."""
    examples = batches * size + size // 2
    lengths = np.random.default_rng(seed).integers(1, 50, examples)
    order = Order("lengths", lengths)
    rows = batch_rows(seed, epoch * batches, batches, examples, size, order)
    assert len(np.unique(rows)) == rows.size
    np.testing.assert_array_equal(rows, batch_rows(seed, epoch * batches, batches, examples, size, order))


def test_a_batch_of_similar_lengths_has_little_padding():
    """What every batch is padded to, the longest of it, against the lengths themselves: a few per cent instead of a third."""
    lengths = np.random.default_rng(0).integers(5, 50, 4000)
    padding = {}
    for order in (Order(), Order("lengths", lengths)):
        rows = batch_rows(0, 0, 125, 4000, 32, order)
        padding[order.kind] = 1 - lengths[rows].sum() / (lengths[rows].max(1) * 32).sum()
    assert padding["shuffled"] > 0.4
    assert padding["lengths"] < 0.05


@given(
    st.integers(1, 300),
    st.none() | st.integers(1, 300),
    st.integers(1, 6),
    st.integers(1, 9),
    st.sampled_from(["shuffled", "streams", "lengths"]),
)
def test_evaluation_scores_every_row_once(examples, most, batches, size, kind):
    """Whatever the shapes of a call: each of the rows counts once, and those that fill a batch up do not."""
    calls = evaluation_rows(examples, most, batches, size, Order(kind, np.arange(examples)))
    counted = np.concatenate([rows[counts] for rows, counts in calls])
    wanted = min(examples, most or examples)
    expected = np.arange(wanted) if kind == "streams" else np.arange(wanted) * examples // wanted
    np.testing.assert_array_equal(np.sort(counted), expected)
    assert all(rows.shape == counts.shape == (batches, size) for rows, counts in calls)


def test_each_place_of_an_evaluated_batch_of_streams_reads_on():
    """Seven rows in batches of two: the first place reads rows 0 to 3, the second 4 to 6 and then nothing."""
    ((rows, counts),) = evaluation_rows(7, None, 5, 2, Order("streams"))
    np.testing.assert_array_equal(rows[:4][counts[:4]].tolist(), [0, 4, 1, 5, 2, 6, 3])
    assert not counts[4].any()
