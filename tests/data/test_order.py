"""The batch order is a pure function of seed and step; an epoch shows each example at most once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlx.data import batch_rows, some_rows
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
