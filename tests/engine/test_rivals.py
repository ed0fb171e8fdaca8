"""Two players in the loop: lanes, resuming, and troubles that are told."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from dlx.config import load_experiment
from dlx.config.averaging import NoAveraging
from dlx.data import Scaling
from dlx.engine.troubles import LASTING, Troubles
from dlx.events import Decision, Measured, Notice

spec = importlib.util.spec_from_file_location("driving", Path(__file__).with_name("driving.py"))
assert spec is not None
assert spec.loader is not None
driving = importlib.util.module_from_spec(spec)
spec.loader.exec_module(driving)

BASE = {
    "task": {"kind": "adversarial", "conditional": True, "critic_steps": 2},
    "data": {"kind": "digits", "standardize": False},
    "model": {"kind": "gan", "latent": 4, "hidden": [8], "critic_hidden": [8], "critic_dropout": 0.1},
    "optimizer": {"kind": "adam", "lr": 1e-2, "b1": 0.5},
    "averaging": {"kind": "ema", "decay": 0.9},
    "train": {"duration": "20 steps", "batch_size": 16, "evaluate_every": "5 steps"},
}


@pytest.fixture
def scaled(images):
    """The images with pixels of 0 to 1."""
    return replace(images, scaling=Scaling(np.zeros(1, np.float32), np.full(1, 1 / 255, np.float32)))


def config(**changes):
    tree = {name: {**section, **changes.get(name, {})} for name, section in BASE.items()}
    return load_experiment(tree)


def test_lanes_agree_with_single_runs(cohort, scaled):
    four = [config(optimizer={"lr": 1e-3 * 3**i}, task={"critic_lr_ratio": 0.5 + i}, train={"seed": i}) for i in range(4)]
    together = driving.train(cohort(four, scaled).cohort)[1]
    for index in (0, 3):
        alone = driving.train(cohort([four[index]], scaled).cohort)[1]
        pairs = zip(driving.lane(together.lanes.learner, index), driving.lane(alone.lanes.learner, 0), strict=True)
        for a, b in pairs:
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_resuming_in_the_middle_of_an_epoch_changes_no_bit(cohort, scaled, tmp_path):
    made = cohort([config()], scaled).cohort
    whole = driving.train(made)[1]

    def answer(event):
        """Two steps after the first evaluation, at 5, it is saved and ends."""
        if isinstance(event, Measured) and event.step == 7:
            return Decision(save=(tmp_path,), stop=True)
        return Decision(max_steps=2)

    driving.drain(made.train(driving.drain(made.start())[1], Decision(max_steps=5)), answer)
    _, again = driving.drain(made.restore([tmp_path]))
    assert again.step == 7
    rest = driving.drain(made.train(again))[1]
    driving.assert_same_bits(jax.tree.leaves(rest.lanes), jax.tree.leaves(whole.lanes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {
                "task": {"critic_lr_ratio": 100.0, "critic_steps": 1},
                "model": {"critic_dropout": 0.0, "critic_hidden": [64]},
                "optimizer": {"lr": 1e-4},
            },
            "overpowers",
        ),
        ({"optimizer": {"lr": 1e-9}, "model": {"generator_normalization": "none", "latent": 1}}, "collapsed"),
    ],
)
def test_configs_made_to_fail_are_told_once(cohort, scaled, changes, said):
    """A critic that learns a hundred times as fast; a generator that makes about one image, whatever the noise, which is one number."""
    long = {"duration": "200 steps", "evaluate_every": "20 steps"}
    failing = config(train=long, **changes).model_copy(update={"averaging": NoAveraging()})
    events, _ = driving.train(cohort([failing], scaled).cohort)
    told = [event.text for event in events if isinstance(event, Notice)]
    assert sum(said in text for text in told) == 1


def test_a_trouble_is_told_when_it_lasts_and_only_once():
    troubles = Troubles()
    assert [troubles.new([{"a": "it is bad"}]) for _ in range(LASTING)] == [[]] * (LASTING - 1) + [["it is bad"]]
    assert troubles.new([{"a": "it is bad"}]) == []


def test_a_trouble_that_goes_away_begins_anew():
    troubles = Troubles()
    for said in ([{"a": "bad"}], [{"a": "bad"}], [{}], [{"a": "bad"}]):
        assert troubles.new(said) == []


def test_of_several_lanes_it_is_said_which():
    troubles = Troubles()
    found = [troubles.new([{}, {"a": "bad"}]) for _ in range(LASTING)]
    assert found[-1] == ["lane 1: bad"]
