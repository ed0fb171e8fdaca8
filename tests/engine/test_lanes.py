"""Configs as pytrees: lanes are leaves, structure is the treedef."""

import jax
import numpy as np
import pytest

from dlx.config import load_experiment, parse_override
from dlx.config.load import recipes
from dlx.engine import stack, structure


def config(*overrides: str):
    return load_experiment("digits-mlp", [parse_override(text) for text in overrides])


@pytest.mark.parametrize(
    "change",
    [
        "optimizer.lr=0.5",
        "model.dropout=0.4",
        "optimizer.weight_decay=0",
        "schedule.warmup=0.5",
        "train.seed=9",
        "task.label_smoothing=0.1",
    ],
)
def test_a_lane_field_does_not_change_the_program(change):
    assert structure(config(change)) == structure(config())


@pytest.mark.parametrize(
    "change",
    [
        "model.hidden=[128]",
        "train.batch_size=32",
        "optimizer.kind=sgd",
        "optimizer.clip_norm=1",
        "model.activation=tanh",
        "train.duration='31 epochs'",
        "data.seed=1",
        "data.augment=[{kind: noise}]",
    ],
)
def test_every_other_field_does(change):
    assert structure(config(change)) != structure(config())


def test_structure_tells_types_apart():
    one, true = (load_experiment({"data": {"kind": "python", "target": "a.py:f", "args": {"x": x}}}) for x in (1, True))
    assert structure(one) != structure(true)
    assert hash(structure(one)) == hash(structure(one.model_copy()))


@pytest.mark.parametrize("recipe", [recipe.name for recipe in recipes()])
def test_flattening_and_unflattening_gives_the_config_back(recipe):
    whole = load_experiment(recipe)
    structure(whole)
    leaves, treedef = jax.tree.flatten(whole)
    assert jax.tree.unflatten(treedef, leaves) == whole
    assert hash(treedef) == hash(jax.tree.structure(load_experiment(recipe)))


def test_stacking_makes_one_array_a_field():
    stacked = stack([config("optimizer.lr=0.1", "train.seed=4294967295"), config("optimizer.lr=0.2")])
    np.testing.assert_array_equal(stacked.optimizer.lr, np.float32([0.1, 0.2]))
    np.testing.assert_array_equal(stacked.train.seed, np.uint32([4294967295, 0]))
    assert stacked.model.hidden == (128, 64)


def test_lanes_of_different_structure_do_not_stack():
    with pytest.raises(ValueError, match="equal structure"):
        stack([config(), config("model.hidden=[8]")])
