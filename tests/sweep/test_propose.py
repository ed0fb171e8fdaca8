"""Proposals: inside the space, a function of (seed, records), and the same whether or not a sweep was stopped between."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState
from pydantic import ValidationError
from scipy.stats import qmc

from dlx.config.grammar import parse_dimension
from dlx.config.sampler import (
    CmaEsSampler,
    GpSampler,
    GridSampler,
    Nsga2Sampler,
    QmcSampler,
    RandomSampler,
    SamplerConfig,
    TpeSampler,
)
from dlx.config.space import Choice, FloatRange, IntRange, Space, fits
from dlx.errors import ConfigError, Status
from dlx.store import Goal, Proposal, SweepRecord, Training, TrialRecord
from dlx.sweep.propose import LEAST_TRIALS, Proposer, grid, grid_size, importances

BASE = {"optimizer": {"kind": "adamw", "lr": 1e-3}, "model": {"hidden": [8]}}
ONE, TWO = [Goal("validation/accuracy", "maximize")], [Goal("a", "minimize"), Goal("b", "minimize")]

MIXED: Space = {
    "optimizer.lr": FloatRange(low=1e-4, high=1e-1, log=True),
    "model.depth": IntRange(low=1, high=4),
    "model.hidden": Choice(choices=([8], [16, 8], None)),
    "optimizer.kind": Choice(choices=("sgd", "adamw")),
    "optimizer.momentum": FloatRange(low=0.5, high=0.99, when={"optimizer.kind": "sgd"}),
    "optimizer.nesterov": Choice(choices=(True, False), when={"optimizer.momentum": [0.5], "optimizer.kind": "sgd"}),
    "model.dropout": FloatRange(low=0, high=0.5, step=0.1),
    "train.batch_size": IntRange(low=8, high=64, log=True),
}
STEPS: Space = {
    "model.depth": IntRange(low=1, high=3),
    "optimizer.kind": Choice(choices=("sgd", "adamw")),
    "optimizer.momentum": Choice(choices=(0.5, 0.9), when={"optimizer.kind": "sgd"}),
}
PLANE: Space = {key: FloatRange(low=-1, high=1) for key in ("optimizer.x", "optimizer.y")}

SAMPLERS = [
    RandomSampler(seed=1),
    GridSampler(),
    QmcSampler(seed=1),
    TpeSampler(seed=1, startup_trials=4),
    TpeSampler(seed=1, startup_trials=4, multivariate=False),
    CmaEsSampler(seed=1, population=6),
    CmaEsSampler(seed=1, population=6, margin=True),
    Nsga2Sampler(seed=1, population=6),
]


def each(samplers: Sequence[SamplerConfig]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("sampler", samplers, ids=lambda s: "-".join(map(str, s.model_dump().values())))


EVERY, SEEDED = each(SAMPLERS), each([sampler for sampler in SAMPLERS if not isinstance(sampler, GridSampler)])

Score = Callable[[dict[str, Any]], tuple[float, ...]]


def space(**dimensions: str) -> dict[str, Any]:
    return {key.replace("__", "."): parse_dimension(text) for key, text in dimensions.items()}


def proposer(sampler: SamplerConfig, searched: Space = MIXED, goals: Sequence[Goal] = ONE, **more: Any) -> Proposer:
    return Proposer(searched, sampler, BASE, goals, **more)


def trial(number: int, proposal: Proposal, status: Status | None, *values: float, curve: Any = None) -> TrialRecord:
    return TrialRecord(
        number, proposal.params, (Training(0, status=status, values=values or None, curve=curve or {}),), proposal.notes
    )


def ended(number: int, proposal: Proposal, score: Score) -> TrialRecord:
    """One in eight diverges, one in eight is pruned and one in eight is still at work."""
    values = score(dict(proposal.params))
    how = {3: Status.DIVERGED, 5: Status.PRUNED, 6: None}.get(number % 8, Status.COMPLETED)
    return trial(number, proposal, how, *values if how is Status.COMPLETED else (), curve={1: values[0] - 1, 2: values[0]})


def search(asked: Proposer, score: Score, batches: int, size: int, end: Any = ended) -> list[TrialRecord]:
    """Asks and tells again and again."""
    past: list[TrialRecord] = []
    for _ in range(batches):
        past += [end(len(past) + i, p, score) for i, p in enumerate(asked.ask(past, size))]
    return past


def all_completed(number: int, proposal: Proposal, score: Score) -> TrialRecord:
    return trial(number, proposal, Status.COMPLETED, *score(dict(proposal.params)))


def near_a_hundredth(params: dict[str, Any]) -> tuple[float, ...]:
    return (-abs(math.log(params.get("optimizer.lr", 0.01) / 0.01)) - 0.1 * params.get("model.depth", 0),)


def restored(record: TrialRecord) -> TrialRecord:
    """The record as a store in JSON gives it back to another process."""
    params, notes = json.loads(json.dumps([record.params, record.notes], allow_nan=False))
    return replace(record, params=params, notes=notes)


@EVERY
def test_proposals_lie_in_the_space_and_carry_their_conditions(sampler: SamplerConfig) -> None:
    searched = STEPS if isinstance(sampler, GridSampler) else MIXED
    found = [record.params for record in search(proposer(sampler, searched, group=1), near_a_hundredth, 5, 6)]
    assert len(found) == (9 if searched is STEPS else 30)
    for params in found:
        assert fits(searched, params)
        assert ("optimizer.momentum" in params) == (params["optimizer.kind"] == "sgd")
        assert ("optimizer.nesterov" in params) == (params.get("optimizer.momentum") == 0.5 and searched is MIXED)
        always = {key for key, dimension in searched.items() if not dimension.when}
        assert always <= params.keys() <= searched.keys()
    assert {params["optimizer.kind"] for params in found} == {"sgd", "adamw"}


@EVERY
def test_what_is_proposed_and_noted_is_plain_json(sampler: SamplerConfig) -> None:
    searched = STEPS if isinstance(sampler, GridSampler) else MIXED
    for record in search(proposer(sampler, searched), near_a_hundredth, 4, 6):
        assert restored(record) == record
        for key, value in record.params.items():
            assert type(value) in (bool, int, float, str, list, type(None))
            if not isinstance(searched[key], Choice):
                assert type(value) is (int if isinstance(searched[key], IntRange) else float)


@EVERY
def test_a_sweep_that_was_stopped_proposes_what_the_other_would_have(sampler: SamplerConfig) -> None:
    searched = STEPS if isinstance(sampler, GridSampler) else MIXED
    size = 3 if searched is STEPS else 6
    whole, past = proposer(sampler, searched), []
    for _ in range(4):
        batch = whole.ask(past, size)
        assert proposer(sampler, searched).ask([restored(record) for record in past], size) == batch
        assert whole.ask(past, size) == batch  # and it keeps nothing between two questions
        past += [ended(len(past) + i, p, near_a_hundredth) for i, p in enumerate(batch)]
    assert past[:size] != past[size : 2 * size]


@SEEDED
def test_another_seed_proposes_others(sampler: SamplerConfig) -> None:
    other = sampler.model_copy(update={"seed": 2})
    assert proposer(sampler).ask([], 6) != proposer(other).ask([], 6)


@pytest.mark.parametrize(
    "sampler",
    [RandomSampler(), QmcSampler(), TpeSampler(startup_trials=4), Nsga2Sampler(population=6)],
    ids=lambda s: s.kind,
)
def test_several_objectives(sampler: SamplerConfig) -> None:
    past = search(proposer(sampler, MIXED, TWO), lambda p: (p["optimizer.lr"], -p["optimizer.lr"]), 4, 6)
    assert all(fits(MIXED, record.params) for record in past)
    again = [restored(record) for record in past]
    assert proposer(sampler, MIXED, TWO).ask(again, 6) == proposer(sampler, MIXED, TWO).ask(past, 6)


def test_cmaes_has_one_objective() -> None:
    with pytest.raises(ConfigError, match=r"sampler\.kind is cmaes, which has one objective: use nsga2, tpe or gp"):
        proposer(CmaEsSampler(), MIXED, TWO)


def test_nothing_is_asked_for_nothing() -> None:
    for sampler in SAMPLERS:
        assert proposer(sampler, STEPS).ask([], 0) == []


@pytest.mark.parametrize(
    ("sampler", "batch"),
    [
        (RandomSampler(), None),
        (GridSampler(), None),
        (QmcSampler(), None),
        (TpeSampler(), 16),
        (CmaEsSampler(), 4 + int(3 * math.log(2))),
        (CmaEsSampler(population=9), 9),
        (Nsga2Sampler(population=12), 12),
    ],
)
def test_a_batch_is_what_a_sampler_learns_from_at_once(sampler: SamplerConfig, batch: int | None) -> None:
    assert proposer(sampler, PLANE).batch == batch


class TestTpe:
    def test_it_learns(self) -> None:
        """Half of its later proposals lie within a factor of three of the optimum; a third of random ones would."""
        learner = proposer(TpeSampler(seed=0), {"optimizer.lr": MIXED["optimizer.lr"]})
        past = search(learner, lambda p: (-abs(p["optimizer.lr"] - 0.01),), 5, 10, all_completed)
        late = [proposal.params["optimizer.lr"] for proposal in learner.ask(past, 20)]
        assert sum(0.01 / 3 < lr < 0.03 for lr in late) >= 10

    def test_a_value_that_is_no_number_counts_as_a_failure(self) -> None:
        learner = proposer(TpeSampler(startup_trials=1))
        (first,) = learner.ask([], 1)
        for value in (math.nan, math.inf):
            record = trial(0, first, Status.COMPLETED, value)
            assert learner.frozen(record).state is TrialState.FAIL
            assert len(learner.ask([record], 1)) == 1

    def test_a_pruned_trial_is_known_by_its_curve(self) -> None:
        learner = proposer(TpeSampler())
        (first,) = learner.ask([], 1)
        frozen = learner.frozen(trial(0, first, Status.PRUNED, curve={1: 0.25, 2: 0.5}))
        assert (frozen.state, frozen.intermediate_values) == (TrialState.PRUNED, {1: 0.25, 2: 0.5})


class TestQmc:
    def test_its_points_are_those_of_the_sobol_sequence(self) -> None:
        searched: Space = {
            "a": FloatRange(low=-2, high=2),
            "b": FloatRange(low=1e-4, high=1, log=True),
            "c": IntRange(low=3, high=6),
            "d": Choice(choices=("x", "y", "z")),
            "e": FloatRange(low=0, high=1, step=0.25),
            "f": IntRange(low=1, high=100, log=True),
        }
        found = [p.params for p in proposer(QmcSampler(seed=5), searched).ask([], 16)]
        seed = int(np.random.SeedSequence([5, 0]).generate_state(1)[0])
        points = qmc.Sobol(6, scramble=True, rng=np.random.default_rng(seed)).random(16)
        for params, (a, b, c, d, e, f) in zip(found, points, strict=True):
            assert params["a"] == pytest.approx(-2 + 4 * a)
            assert params["b"] == pytest.approx(1e-4 ** (1 - b))
            assert params["c"] == 3 + int(4 * c)
            assert params["d"] == "xyz"[int(3 * d)]
            assert params["e"] == [0, 0.25, 0.5, 0.75, 1][int(5 * e)]
            assert params["f"] == round(0.5 * 201**f)
        assert [sorted(p["d"] for p in found).count(d) for d in "xyz"] in ([5, 5, 6], [5, 6, 5], [6, 5, 5])

    def test_it_covers_a_range_more_evenly_than_random_values(self) -> None:
        searched: Space = {"optimizer.lr": MIXED["optimizer.lr"]}

        def widest_gap(sampler: SamplerConfig) -> float:
            found = [math.log10(p.params["optimizer.lr"]) for p in proposer(sampler, searched).ask([], 64)]
            return float(np.diff(sorted([-4, *found, -1])).max())

        for seed in range(5):
            assert widest_gap(QmcSampler(seed=seed)) <= 2 * 3 / 64 < widest_gap(RandomSampler(seed=seed))

    def test_asking_in_parts_is_asking_at_once(self) -> None:
        asked = proposer(QmcSampler(seed=2))
        once = asked.ask([], 8)
        first = asked.ask([], 5)
        past = [trial(n, p, None) for n, p in enumerate(first)]
        assert [*first, *asked.ask(past, 3)] == once

    def test_what_is_inactive_shifts_nothing(self) -> None:
        searched = {key: MIXED[key] for key in ("optimizer.lr", "optimizer.kind", "optimizer.momentum")}
        plain: Space = {key: dimension.model_copy(update={"when": {}}) for key, dimension in searched.items()}
        some, all_ = (proposer(QmcSampler(), each).ask([], 16) for each in (searched, plain))
        assert [p.params for p in some] == [{k: p.params[k] for k in q.params} for p, q in zip(all_, some, strict=True)]
        assert {len(p.params) for p in some} == {2, 3}


class TestCmaes:
    def test_it_learns_generation_by_generation(self) -> None:
        """On a quadratic 20 generations get 100 times as close as the first one."""
        asked = proposer(CmaEsSampler(seed=0, population=8), PLANE, [Goal("loss", "minimize")])
        bowl = lambda p: ((p["optimizer.x"] - 0.3) ** 2 + 4 * (p["optimizer.y"] + 0.5) ** 2,)  # noqa: E731
        past = search(asked, bowl, 20, 8, all_completed)
        costs = [record.value for record in past]
        assert min(costs[-8:]) < min(costs[:8]) / 100
        best = min(past, key=lambda record: record.value).params
        assert (best["optimizer.x"], best["optimizer.y"]) == (pytest.approx(0.3, abs=0.03), pytest.approx(-0.5, abs=0.03))

    def test_its_state_is_in_the_notes(self) -> None:
        asked = proposer(CmaEsSampler(seed=0, population=4), PLANE)
        past = search(asked, lambda p: (-sum(map(abs, p.values())),), 6, 4, all_completed)
        generations = [record.notes.get("cma:generation") for record in past]
        assert generations == [None] * 4 + [n for n in range(5) for _ in range(4)]  # the first are random
        assert all("cma:optimizer:0" in record.notes for record in past[8:])
        forgotten = [replace(record, notes={}) for record in past]
        assert asked.ask(forgotten, 4) != asked.ask(past, 4)
        assert {p.notes["cma:generation"] for p in asked.ask(forgotten, 4)} == {0}
        assert {p.notes["cma:generation"] for p in asked.ask(past, 4)} == {5}

    def test_trials_that_diverge_do_not_count_into_a_generation(self) -> None:
        asked = proposer(CmaEsSampler(seed=0, population=4), PLANE)
        past = search(asked, lambda p: (-sum(map(abs, p.values())),), 3, 4, all_completed)
        assert {p.notes["cma:generation"] for p in asked.ask(past, 2)} == {2}
        lost = [*past[:-1], trial(11, Proposal(past[-1].params, past[-1].notes), Status.DIVERGED)]
        assert {p.notes["cma:generation"] for p in asked.ask(lost, 2)} == {1}

    def test_choices_are_random_and_numbers_are_learned(self) -> None:
        searched = {**PLANE, "optimizer.kind": Choice(choices=("sgd", "adamw"))}
        asked = proposer(CmaEsSampler(seed=0, population=6), searched)
        past = search(asked, lambda p: (-(p["optimizer.x"] ** 2) - p["optimizer.y"] ** 2,), 12, 6, all_completed)
        late = [record.params for record in past[-12:]]
        assert max(abs(params["optimizer.x"]) for params in late) < 0.3
        assert {params["optimizer.kind"] for params in late} == {"sgd", "adamw"}

    @pytest.mark.parametrize("margin", [False, True])
    def test_one_dimension_is_enough(self, margin: bool) -> None:
        searched: Space = {"model.depth": IntRange(low=1, high=40)}
        asked = proposer(CmaEsSampler(seed=0, population=4, margin=margin), searched)
        past = search(asked, lambda p: (-abs(p["model.depth"] - 30),), 10, 4, all_completed)
        assert max(record.value for record in past) >= -1

    @pytest.mark.parametrize("population", [1, 2, 3])
    def test_a_population_too_small_to_learn_from_is_refused(self, population: int) -> None:
        with pytest.raises(ValidationError, match=r"population\n  Input should be greater than or equal to 4"):
            CmaEsSampler(population=population)

    @pytest.mark.parametrize("dimensions", [1, 2])
    @pytest.mark.parametrize("population", [4, None])
    def test_the_smallest_population_works(self, population: int | None, dimensions: int) -> None:
        searched = dict(list(PLANE.items())[:dimensions])
        asked = proposer(CmaEsSampler(seed=0, population=population), searched)
        assert len(search(asked, lambda p: (-sum(map(abs, p.values())),), 4, 4, all_completed)) == 16


class TestNsga2:
    def test_it_finds_a_front(self) -> None:
        """Between (0, 0) and (1, 1) every point of the line is best for some weighting, and none off it is."""
        goals = [Goal("a", "minimize"), Goal("b", "maximize")]
        searched: Space = {key: FloatRange(low=-2, high=2) for key in ("optimizer.x", "optimizer.y")}

        def score(params: dict[str, Any]) -> tuple[float, ...]:
            x, y = params["optimizer.x"], params["optimizer.y"]
            return x**2 + y**2, -((x - 1) ** 2) - (y - 1) ** 2

        past = search(proposer(Nsga2Sampler(seed=0, population=12), searched, goals), score, 12, 12, all_completed)

        def excess(record: TrialRecord) -> float:
            """How much worse than the front, of the two squared distances together: 0 on it, where they add up to a line."""
            a, b = record.values or ()
            return math.sqrt(a) + math.sqrt(-b) - math.sqrt(2)

        early, late = ([excess(record) for record in part] for part in (past[:24], past[-24:]))
        assert np.median(late) < np.median(early) / 2
        generations = [record.notes["NSGAIISampler:generation"] for record in past]
        assert generations == [n for n in range(12) for _ in range(12)]

    def test_one_objective_will_do(self) -> None:
        asked = proposer(Nsga2Sampler(seed=0, population=8, mutation=0.1), PLANE)
        past = search(asked, lambda p: (-sum(map(abs, p.values())),), 20, 8, all_completed)
        values = [record.value for record in past]
        assert np.median(values[-8:]) > np.median(values[:8]) / 4


class TestFirst:
    FIRST = ({"optimizer.lr": 0.05, "model.depth": 2}, {"optimizer.lr": 0.07})

    @SEEDED
    def test_what_is_given_is_tried_first(self, sampler: SamplerConfig) -> None:
        """And what it leaves open is sampled."""
        asked = proposer(sampler, first=self.FIRST)
        found = asked.ask([], 6)
        for given, proposal in zip(self.FIRST, found, strict=False):
            assert {k: v for k, v in proposal.params.items() if k in given} == given
        assert all(fits(MIXED, proposal.params) for proposal in found)
        assert {proposal.params["optimizer.lr"] for proposal in found[2:]}.isdisjoint({0.05, 0.07})
        past = [trial(n, p, Status.COMPLETED, 0.5) for n, p in enumerate(asked.ask([], 1))]
        assert asked.ask([restored(record) for record in past], 1)[0].params["optimizer.lr"] == 0.07


class TestGroups:
    STRUCTURE = ("model.depth", "model.hidden", "optimizer.kind", "train.batch_size")

    def structures(self, proposals: Sequence[Proposal]) -> list[str]:
        return [json.dumps([p.params[key] for key in self.STRUCTURE]) for p in proposals]

    @pytest.mark.parametrize("sampler", [TpeSampler(seed=1, startup_trials=4), RandomSampler(seed=1)], ids=lambda s: s.kind)
    def test_so_many_trials_share_a_structure_and_differ_in_the_rest(self, sampler: SamplerConfig) -> None:
        asked = proposer(sampler, group=4)
        past = search(asked, near_a_hundredth, 3, 8)
        for batch in (past[:8], past[8:16], past[16:]):
            shapes = self.structures([Proposal(record.params, {}) for record in batch])
            assert [len(set(part)) for part in (shapes[:4], shapes[4:])] == [1, 1]
            assert len({record.params["optimizer.lr"] for record in batch}) == 8
        assert len(set(self.structures([Proposal(record.params, {}) for record in past]))) > 3
        for record in past:
            assert fits(MIXED, record.params)
            assert ("optimizer.momentum" in record.params) == (record.params["optimizer.kind"] == "sgd")

    @pytest.mark.parametrize(("count", "structures"), [(16, 4), (8, 4), (4, 4), (2, 2), (1, 1)])
    def test_while_structures_are_untried_a_batch_has_several(self, count: int, structures: int) -> None:
        searched: Space = {
            "optimizer.lr": MIXED["optimizer.lr"],
            "train.batch_size": Choice(choices=(32, 64)),
            "model.activation": Choice(choices=("relu", "tanh", "gelu")),
        }
        asked = proposer(TpeSampler(seed=3), searched)

        def shapes(past: Sequence[TrialRecord]) -> list[tuple[Any, ...]]:
            return [(t.params["train.batch_size"], t.params["model.activation"]) for t in past]

        past = search(asked, near_a_hundredth, 1, count)
        assert len(set(shapes(past))) == structures
        past = search(asked, near_a_hundredth, -(-6 // structures), count)
        assert len(set(shapes(past))) == 6  # all of them, before the sampler chooses

    def test_where_only_structure_is_searched_nothing_is_repeated_while_something_is_untried(self) -> None:
        searched: Space = {"train.batch_size": IntRange(low=1, high=10)}
        past = search(proposer(TpeSampler(seed=0), searched), near_a_hundredth, 3, 4)
        assert sorted(record.params["train.batch_size"] for record in past[:10]) == list(range(1, 11))

    def test_only_a_sampler_that_learns_groups_by_itself(self) -> None:
        assert (proposer(TpeSampler()).group > 1, proposer(RandomSampler()).group) == (True, 1)
        assert proposer(TpeSampler(), {"optimizer.lr": MIXED["optimizer.lr"]}).group == 1


class TestGrid:
    def test_it_is_every_point_once_and_then_nothing(self) -> None:
        searched = space(model__depth="range(1, 4)", optimizer__kind="sgd,adamw")
        searched["optimizer.momentum"] = Choice(choices=(0.5, 0.9), when={"optimizer.kind": "sgd"})
        asked = proposer(GridSampler(), searched)
        first = asked.ask([], 4)
        past = [trial(n, p, Status.COMPLETED, 0.5) for n, p in enumerate(first)]
        rest = asked.ask(past, 100)
        past += [trial(n, p, Status.FAILED) for n, p in enumerate(rest, 4)]
        assert [p.params for p in (*first, *rest)] == list(grid(searched, BASE))
        assert len(past) == 3 * (2 + 1)
        assert asked.ask(past, 1) == []

    def test_one_too_large_to_count_costs_what_is_asked_of_it(self) -> None:
        huge = space(optimizer__lr="range(0.001, 1, 0.00001)", model__dropout="range(0, 0.5, 0.00001)")
        assert grid_size(huge, BASE, 100) == 100
        assert len(proposer(GridSampler(), huge).ask([], 3)) == 3

    def test_a_continuous_range_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"search optimizer.lr: a grid needs its points: give choice"):
            list(grid({"optimizer.lr": MIXED["optimizer.lr"]}, BASE))


@pytest.mark.skipif(find_spec("torch") is not None, reason="PyTorch is installed")
def test_gp_needs_pytorch_and_says_so_at_once() -> None:
    with pytest.raises(ConfigError, match=r"sampler\.kind is gp, which needs PyTorch: pip install 'dlx\[gp\]'"):
        proposer(GpSampler())


@EVERY
def test_trials_of_another_space_are_failures_and_shift_nothing(sampler: SamplerConfig) -> None:
    searched = STEPS if isinstance(sampler, GridSampler) else {k: MIXED[k] for k in ("optimizer.lr", "model.depth")}
    asked = proposer(sampler, searched)
    strange = [{"optimizer.wd": 0.1, "model.depth": 1}, {"model.depth": 99}, {"optimizer.lr": "fast"}, {"model.depth": True}]
    past = [trial(n, Proposal(params, {}), Status.COMPLETED, 1e9) for n, params in enumerate(strange)]
    for record in past:
        frozen = asked.frozen(record)
        assert (frozen.state, frozen.values, frozen.params) == (TrialState.FAIL, None, {})
    failed = [trial(n, Proposal({}, {}), Status.FAILED) for n in range(4)]
    assert asked.ask(past, 5) == asked.ask(failed, 5)
    assert all(fits(searched, proposal.params) for proposal in asked.ask(past, 5))
    if isinstance(sampler, GridSampler | QmcSampler):
        assert asked.ask(past, 5) == asked.ask([], 9)[4:]


@SEEDED
def test_a_search_goes_on_in_a_wider_space(sampler: SamplerConfig) -> None:
    """What was found in the narrow one is known in the wide one."""
    narrow: Space = {"optimizer.lr": MIXED["optimizer.lr"], "model.depth": MIXED["model.depth"]}
    past = search(proposer(sampler, narrow), near_a_hundredth, 3, 6)
    wide = proposer(sampler)
    assert wide.frozen(past[0]).state is TrialState.COMPLETE
    assert all(fits(MIXED, proposal.params) for proposal in wide.ask(past, 6))


class TestImportances:
    @staticmethod
    def sweep(count: int, score: Score, searched: Space = MIXED, *, end: Any = ended) -> SweepRecord:
        """A sweep of random trials, as the store has it."""
        search_ = {key: dimension.model_dump(mode="json") for key, dimension in searched.items()}
        trials = search(proposer(RandomSampler(seed=0), searched), score, 1, count, end)
        return SweepRecord(
            "0123abcd", None, Status.RUNNING, "", 0.0, None, count, "validation/accuracy", "maximize", {}, {"search": search_},
            "", tuple(map(restored, trials)), (),
        )  # fmt: skip

    def test_the_one_key_that_matters_is_the_most_important(self) -> None:
        found = importances(self.sweep(200, lambda p: (-abs(math.log(p["optimizer.lr"] / 0.01)),)))
        assert next(iter(found)) == "optimizer.lr"
        assert found["optimizer.lr"] > 0.5
        assert sum(found.values()) == pytest.approx(1)
        assert list(found.values()) == sorted(found.values(), reverse=True)
        assert all(type(share) is float and 0 <= share <= 1 for share in found.values())

    def test_a_choice_can_matter(self) -> None:
        searched = {key: MIXED[key] for key in ("optimizer.lr", "model.hidden", "model.dropout")}
        found = importances(self.sweep(200, lambda p: (float(p["model.hidden"] == [16, 8]),), searched))
        assert next(iter(found)) == "model.hidden"

    def test_the_first_of_several_objectives_is_explained(self) -> None:
        found = importances(self.sweep(150, lambda p: (-abs(p["optimizer.x"]), abs(p["optimizer.y"])), PLANE))
        assert found["optimizer.x"] > 0.8

    @pytest.mark.parametrize("count", [0, 1, LEAST_TRIALS - 1])
    def test_too_few_trials_tell_nothing(self, count: int) -> None:
        assert importances(self.sweep(count, near_a_hundredth, end=all_completed)) == {}

    def test_as_few_as_that_tell_something_and_without_a_warning(self) -> None:
        assert sum(importances(self.sweep(LEAST_TRIALS, near_a_hundredth, end=all_completed)).values()) == pytest.approx(1)

    def test_trials_that_were_not_completed_tell_nothing(self) -> None:
        sweep = self.sweep(50, near_a_hundredth)
        pruned = [trial(t.number, Proposal(t.params, {}), Status.PRUNED, curve={1: 0.5}) for t in sweep.trials]
        assert importances(replace(sweep, trials=tuple(pruned))) == {}

    def test_trials_of_another_space_tell_nothing(self) -> None:
        sweep = self.sweep(100, lambda p: (p["optimizer.x"],), PLANE)
        strange = [trial(n, Proposal({"optimizer.x": -9.0}, {}), Status.COMPLETED, 9.0) for n in range(100, 120)]
        assert importances(replace(sweep, trials=(*sweep.trials, *strange))) == importances(sweep)
