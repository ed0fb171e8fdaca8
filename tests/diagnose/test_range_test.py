"""The range test on real digits: even ladder, seeds as lanes, honest ends, and nothing of the config is changed."""

from typing import Any

import numpy as np
import pytest

from dlx.config import Experiment, load_experiment, parse_override
from dlx.diagnose.range_test import RangeCurve, RangeTest, range_test
from dlx.diagnose.suggest import read
from dlx.errors import ConfigError, UsageError


def config(*words: str) -> Experiment:
    return load_experiment("digits-mlp", [parse_override(word) for word in ("model.hidden=[16]", "model.dropout=0", *words)])


def curve(chosen: Experiment, **settings: Any) -> RangeCurve:
    return list(range_test(chosen, RangeTest(**settings)))[-1]


def test_digits_fall_and_explode_and_the_recommended_rate_lies_between() -> None:
    found = curve(config("optimizer.kind=sgd", "optimizer.momentum=0.9", "model.normalization=none"), seeds=3, highest=100.0)
    assert found.losses.shape == (3, 100)
    np.testing.assert_allclose(found.rates[[0, -1]], [1e-7, 100])
    assert np.isinf(found.median[-1])
    reading = read(found.rates, found.median, found.noise)
    assert 1e-3 < reading.recommended < 1
    assert reading.base < reading.peak


def test_a_seed_alone_is_the_same_as_among_others_and_twice_is_the_same() -> None:
    alone, again, among = (curve(config(), seeds=seeds, steps=20) for seeds in (1, 1, 2))
    np.testing.assert_array_equal(alone.losses, again.losses)
    np.testing.assert_allclose(among.losses[0], alone.losses[0], rtol=1e-4)
    assert not np.allclose(among.losses[0], among.losses[1])


def test_the_first_loss_is_that_of_fresh_weights_and_the_validation_loss_is_one_of_all_its_rows() -> None:
    for validation in (False, True):
        found = curve(config("model.normalization=none"), steps=12, lowest=1e-9, highest=1e-8, validation=validation)
        assert found.losses[0] == pytest.approx(found.losses[0][0], rel=0.5)  # at such rates nothing is learned
        assert (np.ptp(found.losses) < 1e-2) == validation  # and without mini-batches nothing is noise


@pytest.mark.parametrize(
    ("settings", "words", "error", "sentence"),
    [
        ({"lowest": 1.0, "highest": 0.1}, (), UsageError, "the first must be above 0, and below the second"),
        ({"steps": 9}, (), UsageError, "fewer than 10 say nothing"),
        ({"beta": 1.0}, (), UsageError, "at least 0 and below 1"),
        ({"validation": True}, ("data.validation=0",), ConfigError, "--validation needs a validation part"),
        ({}, ("optimizer.kind=rprop", "schedule={kind: constant}"), ConfigError, "there is no rate to find"),
    ],
)
def test_what_cannot_be_tried_is_a_sentence(settings: Any, words: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        curve(config(*words), **settings)
