"""Sweep files, and sweeps written on the command line alone."""

from pathlib import Path

import pytest

from dlx.config import Duration
from dlx.config.load import validate
from dlx.config.overrides import Override
from dlx.config.pruner import HalvingPruner, MedianPruner, NoPruner, PatientPruner
from dlx.config.sampler import CmaEsSampler, GridSampler, RandomSampler, TpeSampler
from dlx.config.space import Choice, FloatRange, IntRange, check_space
from dlx.config.sweep import Objective, Sweep, load_sweep, with_options
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
        (
            GOOD.replace("kind: random, ", ""),
            "my.yaml:9: sampler: has no kind; it is one of random, grid, qmc, tpe, cmaes, nsga2, gp",
        ),
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


PRUNERS = "none, median, percentile, successive_halving, hyperband, threshold"
MEDIANS = "known here: warmup_steps, interval_steps, kind, startup_trials"
BASE = GOOD[: GOOD.index("objective:")]
PLACE = "my.yaml:8: "


def read(text):
    return load_sweep(sweep_file(BASE + text), [])[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {"pruner": NoPruner(), "seeds": 1, "keep": 1, "target_value": None, "plateau": None, "on_fail": "continue"}),
        ("pruner: {kind: median, startup_trials: 3}", {"pruner": MedianPruner(startup_trials=3)}),
        (
            "pruner: {kind: patient, patience: 4, wrapped: {kind: successive_halving, reduction_factor: 2}}",
            {"pruner": PatientPruner(patience=4, wrapped=HalvingPruner(reduction_factor=2))},
        ),
        ("seeds: 5\nkeep: 3", {"seeds": 5, "keep": 3}),
        ("target_value: 0.95\nplateau: 20", {"target_value": 0.95, "plateau": 20}),
        ("on_fail: stop\nretries: 2", {"on_fail": "stop", "retries": 2}),
        ("max_consecutive_failures: null", {"max_consecutive_failures": None}),
        ("objective: {direction: minimize}", {"objectives": (Objective(direction="minimize"),)}),
        (
            "objective: [{metric: validation/accuracy}, {metric: parameters, direction: minimize}]",
            {"objectives": (Objective(metric="validation/accuracy"), Objective(metric="parameters", direction="minimize"))},
        ),
        ("objective: [{}]", {"objectives": (Objective(),)}),
        ("", {"objectives": (Objective(),)}),
    ],
)
def test_what_a_sweep_file_says(text, expected):
    sweep = read(text)
    assert {name: getattr(sweep, name) for name in expected} == expected
    assert Sweep.model_validate(sweep.model_dump(mode="json")) == sweep


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("pruner: {kind: asha}", f"my.yaml:8: pruner: has the unknown kind 'asha'; it is one of {PRUNERS}, patient"),
        ("pruner: {}", f"my.yaml:8: pruner: has no kind; it is one of {PRUNERS}, patient"),
        ("pruner: median", "my.yaml:8: pruner: is 'median', but should be a valid dictionary"),
        (
            "pruner: {kind: median, startup: 3}",
            "my.yaml:8: pruner.startup: is not a key of pruner; did you mean pruner.startup_trials? known here: warmup_steps,",
        ),
        ("pruner: {kind: hyperband, reduction_factor: 1}", "my.yaml:8: pruner.reduction_factor: is 1, but should be greater"),
        ("pruner:\n  kind: percentile\n  percentile: 100", "my.yaml:10: pruner.percentile: is 100, but should be less than"),
        ("pruner: {kind: patient}", "my.yaml:8: pruner.patience: is missing: write patience: ... there"),
        ("pruner: {kind: threshold}", "my.yaml:8: pruner: there is no limit: write lower, upper or both"),
        (
            "pruner: {kind: patient, patience: 3, wrapped: {kind: median, startup_trials: -1}}",
            "my.yaml:8: pruner.wrapped.startup_trials: is -1, but should be greater than or equal to 0",
        ),
        (
            "sampler: {kind: cmaes, populaton: 9}",
            "sampler.populaton: is not a key of sampler; did you mean sampler.population?",
        ),
        ("sampler: {kind: grid, seed: 1}", "sampler.seed: is not a key of sampler; known here: kind"),
        (
            "sampler: {kind: cmaes, population: 3}",
            "my.yaml:8: sampler.population: is 3, but should be greater than or equal to 4",
        ),
        ("sampler: {kind: nsga2, population: 1}", "sampler.population: is 1, but should be greater than or equal to 2"),
        ("sampler: {kind: nsga2, crossover: 1.5}", "sampler.crossover: is 1.5, but should be less than or equal to 1"),
        ("sampler: {kind: tpe, seed: 4294967296}", "sampler.seed: is 4294967296, but should be less than 4294967296"),
        ("seeds: 0", "my.yaml:8: seeds: is 0, but should be greater than or equal to 1"),
        ("target_value: high", "my.yaml:8: target_value: is 'high', but should be a valid number"),
        ("target_value: .nan", "my.yaml:8: target_value: is nan, but should be a finite number"),
        ("plateau: 0", "my.yaml:8: plateau: is 0, but should be greater than or equal to 1"),
        ("on_fail: abort", "my.yaml:8: on_fail: is 'abort', but should be 'continue' or 'stop'"),
        ("max_consecutive_failures: 0", "max_consecutive_failures: is 0, but should be greater than or equal to 1"),
        ("retries: -1", "my.yaml:8: retries: is -1, but should be greater than or equal to 0"),
        ("keep: 0", "my.yaml:8: keep: is 0, but should be greater than or equal to 1"),
        ("objective: 3", "my.yaml:8: objective: is 3, but should be a"),
        ("objective: []", "my.yaml:8: objective: is [], but should"),
    ],
)
def test_a_mistake_in_a_section_is_one_sentence(text, sentence):
    found = complaint(BASE + text)
    assert sentence in found
    assert "\n" not in found


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "pruner: {kind: patient, patience: 3, wrapped: {kind: patient, patience: 1}}",
            f"my.yaml:8: pruner.wrapped: has the unknown kind 'patient'; it is one of {PRUNERS}",
        ),
        (
            "pruner: {kind: patient, patience: 3, wrapped: {kind: asha}}",
            f"my.yaml:8: pruner.wrapped: has the unknown kind 'asha'; it is one of {PRUNERS}",
        ),
        (
            "pruner: {kind: patient, patience: 3, wrapped: {}}",
            f"my.yaml:8: pruner.wrapped: has no kind; it is one of {PRUNERS}",
        ),
        (
            "pruner: {kind: patient, patience: 3, wrapped: {kind: median, startup: 1}}",
            f"{PLACE}pruner.wrapped.startup: is not a key of pruner.wrapped; did you mean pruner.wrapped.startup_trials? {MEDIANS}",
        ),
        (
            "objective: {metrics: x}",
            f"{PLACE}objective.metrics: is not a key of objective; did you mean objective.metric? known here: metric, direction",
        ),
        ("objective: {direction: up}", "my.yaml:8: objective.direction: is 'up', but should be 'minimize' or 'maximize'"),
        (
            "objective: [{metrics: x}]",
            f"{PLACE}objective.0.metrics: is not a key of objective.0; did you mean objective.0.metric? known here: metric, direction",
        ),
        ("objective: [{direction: up}]", "my.yaml:8: objective.0.direction: is 'up', but should be 'minimize' or 'maximize'"),
    ],
)
def test_a_mistake_in_a_nested_section_is_one_sentence_with_its_own_choices(text, sentence):
    assert complaint(BASE + text) == sentence


class TestOptions:
    """What the command line says beside the file."""

    def test_it_replaces_what_the_file_says_and_keeps_the_rest(self):
        sweep = read("sampler: {kind: tpe, candidates: 7}\ntrials: 5\nplateau: 9")
        changed = with_options(
            sweep, {"trials": 8, "seeds": 3, "target_value": 0.5, "plateau": None, "on_fail": "stop", "retries": 0}
        )
        assert changed == sweep.model_copy(
            update={"trials": 8, "seeds": 3, "target_value": 0.5, "on_fail": "stop", "retries": 0}
        )
        assert (sweep.trials, changed.plateau, changed.sampler) == (5, 9, TpeSampler(candidates=7))
        assert with_options(sweep, {}) == with_options(sweep, {"trials": None, "sampler": None, "seed": None}) == sweep

    def test_a_kind_that_the_file_has_keeps_its_options_and_another_drops_them(self):
        sweep = read("sampler: {kind: tpe, candidates: 7}\npruner: {kind: median, startup_trials: 3}")
        same = with_options(sweep, {"sampler": "tpe", "pruner": "median"})
        assert (same.sampler, same.pruner) == (TpeSampler(candidates=7), MedianPruner(startup_trials=3))
        other = with_options(sweep, {"sampler": "random", "pruner": "successive_halving"})
        assert (other.sampler, other.pruner) == (RandomSampler(), HalvingPruner())
        assert with_options(sweep, {"pruner": "none"}).pruner == NoPruner()

    def test_the_seed_is_the_samplers(self):
        sweep = read("sampler: {kind: tpe, candidates: 7, seed: 1}")
        assert with_options(sweep, {"seed": 0}).sampler == TpeSampler(candidates=7, seed=0)
        assert with_options(sweep, {"sampler": "cmaes", "seed": 4}).sampler == CmaEsSampler(seed=4)
        assert with_options(read(""), {"seed": 3}).sampler == TpeSampler(seed=3)
        assert with_options(sweep, {"sampler": "grid"}).sampler == GridSampler()

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            ({"sampler": "bayes"}, "--sampler bayes: it is one of random, grid, qmc, tpe, cmaes, nsga2, gp"),
            ({"pruner": "asha"}, f"--pruner asha: it is one of {PRUNERS}, patient"),
            ({"sampler": "grid", "seed": 1}, "--seed: a grid has no seed, its points are all tried"),
            (
                {"pruner": "patient"},
                "--pruner patient: it has no patience: write pruner: {kind: patient, patience: ...} in a sweep file",
            ),
            ({"trials": 0}, "--trials 0: input should be greater than or equal to 1"),
            ({"target_value": float("nan")}, "--target-value nan: input should be a finite number"),
            ({"on_fail": "abort"}, "--on-fail abort: input should be 'continue' or 'stop'"),
            ({"max_consecutive_failures": 0}, "--max-consecutive-failures 0: input should be greater than or equal to 1"),
            ({"seed": -1}, "--seed -1: input should be greater than or equal to 0"),
            ({"sampler": "random", "seed": 2**32}, "--seed 4294967296: input should be less than 4294967296"),
            (
                {"timeout": "2 epochs"},
                "--timeout 2 epochs: 2 epochs is training, not wall-clock time: write seconds, minutes or",
            ),
        ],
    )
    def test_a_mistake_names_the_option(self, options, sentence):
        with pytest.raises(ConfigError) as caught:
            with_options(read(""), options)
        assert str(caught.value).startswith(sentence)
        assert "\n" not in str(caught.value)
