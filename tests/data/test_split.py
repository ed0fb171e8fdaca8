"""Splits are complete, disjoint, sorted, deterministic, of the exact size, and fair to every class."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlx.config.data import Digits
from dlx.data.split import divide, rarest_label, split_rows
from dlx.errors import DataError

fractions = st.lists(st.floats(0, 0.5), min_size=1, max_size=3).filter(lambda shares: sum(shares) <= 1)
seeds = st.integers(0, 2**32 - 1)
labels = st.lists(st.integers(0, 6), min_size=1, max_size=300).map(np.array)


@given(labels, fractions, seeds, st.booleans())
def test_parts_are_sorted_disjoint_and_complete(labels, fractions, seed, stratified):
    parts = split_rows(len(labels), fractions, seed, labels if stratified else None)
    together = np.concatenate(parts)
    assert sorted(together.tolist()) == list(range(len(labels)))
    for part, fraction in zip(parts[1:], fractions, strict=True):
        assert (np.diff(part) > 0).all()
        assert len(part) <= round(len(labels) * fraction)
    again = split_rows(len(labels), fractions, seed, labels if stratified else None)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))


@given(labels, st.floats(0.05, 0.5), seeds)
def test_every_class_has_its_share(labels, fraction, seed):
    rest, drawn = split_rows(len(labels), [fraction], seed, labels)
    wanted = round(len(labels) * fraction)
    assert len(drawn) == wanted
    for label, members in zip(*np.unique(labels, return_counts=True), strict=True):
        taken = int((labels[drawn] == label).sum())
        # Seven small classes may each keep one row back, which the others make up for.
        assert abs(taken - members * wanted / len(labels)) <= 8
        if wanted <= len(labels) - len(set(labels.tolist())):
            assert (labels[rest] == label).any()


def test_large_classes_have_their_share_give_or_take_one():
    labels = np.repeat([0, 1, 2], [700, 200, 100])
    _, drawn = split_rows(1000, [0.15], 3, labels)
    assert np.bincount(labels[drawn]).tolist() == [105, 30, 15]


def test_a_class_of_one_and_a_class_of_two_stay_in_training():
    labels = np.array([0] * 97 + [1, 2, 2])
    for seed in range(20):
        rest, validation, test = split_rows(100, [0.2, 0.2], seed, labels)
        assert len(validation) == len(test) == 20
        assert {0, 1, 2} == set(labels[rest])


def test_seeds_differ():
    assert not np.array_equal(split_rows(100, [0.2], 0)[1], split_rows(100, [0.2], 1)[1])


def test_rarest_label_names_the_rarest_positive_label():
    labels = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 1], [0, 0, 0], [1, 1, 0]])
    assert rarest_label(labels).tolist() == [1, 0, 2, 3, 1]


def test_limit_shortens_the_training_part_alone():
    labels = np.arange(200) % 4
    full = divide(Digits(validation=0.1, test=0.2), 200, labels)
    short = divide(Digits(validation=0.1, test=0.2, limit=20), 200, labels)
    assert (len(full.train), len(full.validation), len(full.test)) == (144, 16, 40)
    assert np.bincount(labels[short.train]).tolist() == [5, 5, 5, 5]
    assert np.array_equal(full.validation, short.validation)
    assert np.array_equal(full.test, short.test)


def test_own_parts_are_not_cut_out():
    division = divide(Digits(validation=0.5, test=0.5), 10, own_validation=True, own_test=True)
    assert len(division.train) == 10
    assert not len(division.validation)
    assert not len(division.test)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Digits(validation=0.01, test=0), "data.validation=0.01 of 10 examples"),
        (Digits(validation=0, test=0.01), "data.test=0.01 of 10 examples"),
        (Digits(validation=0.5, test=0.99), "no training examples"),
    ],
)
def test_an_empty_part_is_an_error(config, message):
    with pytest.raises(DataError, match=message):
        divide(config, 10)
