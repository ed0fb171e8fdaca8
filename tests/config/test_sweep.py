"""Sweep files, and sweeps written on the command line alone."""

from pathlib import Path

import pytest

from dlx.config import Duration
from dlx.config.load import validate
from dlx.config.overrides import Override
from dlx.config.space import Choice, FloatRange, IntRange, check_space
from dlx.config.sweep import Objective, RandomSampler, Sweep, TpeSampler, load_sweep
from dlx.errors import ConfigError, MissingInputError

GOOD = """\
experiment: digits-mlp
search:
  optimizer.lr: {type: float, low: 1e-4, high: 1e-1, log: true}
  model.hidden:
    type: categorical
    choices: [[128], [256, 128]]
  optimizer.momentum: {type: float, low: 0.5, high: 0.99, when: {optimizer.kind: sgd}}
objective: {metric: validation/accuracy, direction: maximize}
sampler: {kind: random, seed: 3}
trials: 256
timeout: 2 h
"""
INLINE = """\
experiment:
  data: {kind: digits}
  optimizer:
    kind: adamw
    lr: -1
search:
  train.batch_size: {type: int, low: 16, high: 64}
"""


def sweep_file(text, name="my.yaml"):
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return name


def complaint(text, *words):
    with pytest.raises(ConfigError) as caught:
        load_sweep(sweep_file(text), words)
    return str(caught.value)


def test_a_sweep_file():
    sweep, document, overrides = load_sweep(sweep_file(GOOD), [])
    assert sweep.search == {
        "optimizer.lr": FloatRange(low=1e-4, high=1e-1, log=True),
        "model.hidden": Choice(choices=([128], [256, 128])),
        "optimizer.momentum": FloatRange(low=0.5, high=0.99, when={"optimizer.kind": "sgd"}),
    }
    assert sweep.objective == Objective(metric="validation/accuracy", direction="maximize")
    assert sweep.sampler == RandomSampler(seed=3)
    assert (sweep.trials, sweep.timeout, sweep.batch) == (256, Duration(7200, "seconds"), None)
    assert (document.name, overrides) == ("recipe digits-mlp", [])
    check_space(sweep.search, document, overrides)
    assert Sweep.model_validate(sweep.model_dump(mode="json")) == sweep


def test_words_add_to_the_file_and_replace_what_it_searches():
    sweep, _, overrides = load_sweep(
        sweep_file(GOOD), ["train.seed=7", "train.batch_size=16,32", "optimizer.lr=interval(0.1, 0.2)"]
    )
    assert overrides == [Override(("train", "seed"), 7)]
    assert sweep.search["optimizer.lr"] == FloatRange(low=0.1, high=0.2)
    assert sweep.search["train.batch_size"] == Choice(choices=(16, 32))
    assert "model.hidden" in sweep.search


def test_a_recipe_is_searched_by_words_alone():
    sweep, document, overrides = load_sweep("digits-mlp", ["optimizer.lr=tag(log, interval(1e-4, 1e-1))", "train.seed=1"])
    assert sweep == Sweep(experiment="digits-mlp", search={"optimizer.lr": FloatRange(low=1e-4, high=1e-1, log=True)})
    assert sweep.sampler == TpeSampler()
    assert validate(document, overrides).train.seed == 1


def test_an_experiment_file_is_searched_by_words_alone():
    name = sweep_file("data: {kind: digits}\n", "experiment.yaml")
    sweep, document, _ = load_sweep(Path(name), ["train.batch_size=int(interval(8, 16))"])
    assert sweep.search == {"train.batch_size": IntRange(low=8, high=16)}
    assert document.tree == {"data": {"kind": "digits"}}


def test_an_experiment_file_lies_beside_its_sweep_file():
    sweep_file("data: {kind: digits, seed: 5}\n", "folder/mine.yaml")
    sweep_file("data: {kind: digits, seed: 6}\n", "mine.yaml")
    name = sweep_file(GOOD.replace("digits-mlp", "mine.yaml"), "folder/sweep.yaml")
    assert validate(load_sweep(name, [])[1]).data.seed == 5
    name = sweep_file(GOOD.replace("digits-mlp", "../mine.yaml"), "folder/sweep.yaml")
    assert validate(load_sweep(name, [])[1]).data.seed == 6
    name = sweep_file(GOOD.replace("digits-mlp", str(Path("mine.yaml").absolute())), "folder/sweep.yaml")
    assert validate(load_sweep(name, [])[1]).data.seed == 6


@pytest.mark.parametrize(
    ("experiment", "sentence"),
    [("digits-mpl", "did you mean 'digits-mlp'?"), ("none.yaml", "no such file"), ("x/none", "x/none: no such file")],
)
def test_a_missing_experiment(experiment, sentence):
    with pytest.raises(MissingInputError) as caught:
        load_sweep(sweep_file(GOOD.replace("digits-mlp", experiment)), [])
    assert sentence in str(caught.value)


def test_an_experiment_inside_a_sweep_file_keeps_its_lines():
    sweep, document, _ = load_sweep(sweep_file(INLINE), [])
    assert sweep.experiment == document.tree
    with pytest.raises(ConfigError, match=r"my\.yaml:5: optimizer\.lr: is -1, but should be greater than 0"):
        validate(document)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            GOOD.replace("low: 1e-4", "low: small"),
            "my.yaml:3: search.optimizer.lr.low: is 'small', but should be a valid number",
        ),
        (
            GOOD.replace("low: 1e-4", "lo: 1e-4"),
            "search.optimizer.lr.lo: is not a key of search.optimizer.lr; did you mean search.",
        ),
        (GOOD.replace("low: 1e-4, ", ""), "my.yaml:3: search.optimizer.lr.low: is missing: write low: ... there"),
        (GOOD.replace("low: 1e-4", "low: 0"), "my.yaml:3: search.optimizer.lr: low is 0.0, but a log range never reaches zero"),
        (GOOD.replace("type: float, low: 1e-4", "low: 1e-4"), "search.optimizer.lr: has no type; it is one of float, int, cat"),
        (GOOD.replace("type: float, low: 1e-4", "type: real, low: 1"), "has the unknown type 'real'; it is one of float, int,"),
        (
            GOOD.replace("{type: float, low: 1e-4, high: 1e-1, log: true}", "0.1"),
            "search.optimizer.lr: is 0.1, but should be a map",
        ),
        (
            GOOD.replace("trials:", "trails:"),
            "my.yaml:10: trails: is not a key of a sweep; did you mean trials? known here: exper",
        ),
        (GOOD.replace("trials: 256", "trials: 0"), "my.yaml:10: trials: is 0, but should be greater than or equal to 1"),
        (GOOD.replace("2 h", "2"), "my.yaml:11: timeout: 2 has no unit: write for example '2 minutes'"),
        (GOOD.replace("2 h", "2 epochs"), "timeout: 2 epochs is training, not wall-clock time"),
        (
            GOOD.replace("kind: random", "kind: rnadom"),
            "my.yaml:9: sampler: has the unknown kind 'rnadom'; it is one of random, grid",
        ),
        (
            GOOD.replace("kind: random, seed", "kind: random, sed"),
            "my.yaml:9: sampler.sed: is not a key of sampler; did you mean sampler.s",
        ),
        (GOOD.replace("kind: random, ", ""), "my.yaml:9: sampler: has no kind; it is one of random, grid, tpe"),
        (GOOD.replace("maximize", "up"), "my.yaml:8: objective.direction: is 'up', but should be 'minimize' or 'maximize'"),
        (
            GOOD.replace("metric:", "metrics:"),
            "my.yaml:8: objective.metrics: is not a key of objective; did you mean objective.metr",
        ),
        (GOOD.replace("experiment: digits-mlp", ""), "my.yaml: experiment: is missing"),
        (GOOD.replace("experiment: digits-mlp", "experiment: 3"), "my.yaml:1: experiment: is 3, but should be a valid string"),
        ("experiment: digits-mlp\nsearch: 3\n", "my.yaml:2: search: is 3, but should be a valid dictionary"),
        ("experiment: digits-mlp\nsearch:\n", "my.yaml: there is nothing to search: write search: {optimizer.lr: {type: float"),
        ("experiment: digits-mlp\n", "my.yaml: there is nothing to search"),
        (GOOD + "trials: 1\n", "my.yaml:12: found duplicate key"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_the_remedy(text, sentence):
    assert sentence in complaint(text)


def test_two_mistakes_are_two_lines():
    assert len(complaint(GOOD.replace("low: 1e-4", "low: a").replace("256", "-1", 2).replace("2 h", "2")).splitlines()) == 3


def test_a_recipe_without_words_has_nothing_to_search():
    with pytest.raises(ConfigError, match=r"recipe digits-mlp: there is nothing to search: .*'optimizer.lr=tag\(log"):
        load_sweep("digits-mlp", ["train.seed=1"])
