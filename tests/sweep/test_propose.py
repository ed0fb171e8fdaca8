"""Proposals: inside the space, a function of (seed, history), and the same whether or not a sweep was stopped between."""

from typing import Any

import pytest

from dlx.config.grammar import parse_dimension
from dlx.config.space import Choice, FloatRange, IntRange, Space
from dlx.config.sweep import GridSampler, RandomSampler, SamplerConfig, TpeSampler
from dlx.errors import ConfigError, Status
from dlx.store import TrialRecord
from dlx.sweep.propose import Proposer, grid, grid_size

BASE = {"optimizer": {"kind": "adamw", "lr": 1e-3}, "model": {"hidden": [8]}}


def space(**dimensions: str) -> dict[str, Any]:
    return {key.replace("__", "."): parse_dimension(text) for key, text in dimensions.items()}


MIXED: Space = {
    "optimizer.lr": FloatRange(type="float", low=1e-4, high=1e-1, log=True),
    "model.depth": IntRange(type="int", low=1, high=4),
    "model.hidden": Choice(type="categorical", choices=([8], [16, 8], None)),
    "optimizer.kind": Choice(type="categorical", choices=("sgd", "adamw")),
    "optimizer.momentum": FloatRange(type="float", low=0.5, high=0.99, when={"optimizer.kind": "sgd"}),
}


def proposer(sampler: SamplerConfig, searched: Space = MIXED, past: tuple[TrialRecord, ...] = ()) -> Proposer:
    return Proposer(searched, sampler, BASE, "maximize", past)


def value(params: dict[str, Any]) -> float:
    return -abs(params["optimizer.lr"] - 0.01)


@pytest.mark.parametrize("sampler", [RandomSampler(seed=1), TpeSampler(seed=1, startup_trials=4)], ids=lambda s: s.kind)
def test_proposals_lie_in_the_space_and_carry_their_conditions(sampler: SamplerConfig) -> None:
    found = proposer(sampler).ask(30)
    assert list(found) == list(range(30))
    for params in found.values():
        assert 1e-4 <= params["optimizer.lr"] <= 1e-1
        assert params["model.depth"] in range(1, 5)
        assert params["model.hidden"] in ([8], [16, 8], None)
        assert ("optimizer.momentum" in params) == (params["optimizer.kind"] == "sgd")
    assert {params["optimizer.kind"] for params in found.values()} == {"sgd", "adamw"}


@pytest.mark.parametrize("sampler", [RandomSampler(seed=3), TpeSampler(seed=3, startup_trials=4)], ids=lambda s: s.kind)
def test_a_sweep_that_was_stopped_proposes_what_the_other_would_have(sampler: SamplerConfig) -> None:
    whole = proposer(sampler)
    stored: list[TrialRecord] = []
    batches = []
    for _ in range(3):
        batch = whole.ask(6)
        batches.append(batch)
        for number, params in batch.items():
            status = Status.DIVERGED if number == 2 else Status.COMPLETED
            score = None if number == 2 else value(params)
            whole.tell(number, status, score)
            stored.append(TrialRecord(number, params, f"run{number}", status, score))
    for told in (6, 12):
        assert proposer(sampler, past=tuple(stored[:told])).ask(6) == batches[told // 6]
    assert batches[0] != batches[1]


def test_trials_that_were_left_waiting_are_told_by_their_number() -> None:
    stored = proposer(RandomSampler()).ask(2)
    again = proposer(RandomSampler(), past=tuple(TrialRecord(n, p, None, None, None) for n, p in stored.items()))
    again.tell(1, Status.COMPLETED, 0.5)
    again.tell(0, Status.FAILED, None)
    assert list(again.ask(1)) == [2]


def test_tpe_learns() -> None:
    """Half of its later proposals lie within a factor of three of the optimum; a sixth of random ones would."""
    searched: Space = {"optimizer.lr": MIXED["optimizer.lr"]}
    learner = proposer(TpeSampler(seed=0), searched)
    for _ in range(5):
        for number, params in learner.ask(10).items():
            learner.tell(number, Status.COMPLETED, -abs(params["optimizer.lr"] - 0.01))
    late = [params["optimizer.lr"] for params in learner.ask(20).values()]
    assert sum(0.01 / 3 < lr < 0.03 for lr in late) >= 10


def test_a_grid_is_every_point_once_and_then_nothing() -> None:
    searched = space(model__depth="range(1, 4)", optimizer__kind="sgd,adamw")
    searched["optimizer.momentum"] = Choice(type="categorical", choices=(0.5, 0.9), when={"optimizer.kind": "sgd"})
    points = proposer(GridSampler(), searched)
    first, rest, none = points.ask(4), points.ask(100), points.ask(1)
    assert [*first.values(), *rest.values()] == list(grid(searched, BASE))
    assert len(first) + len(rest) == 3 * (2 + 1)
    assert none == {}


def test_a_grid_too_large_to_count_costs_what_is_asked_of_it() -> None:
    huge = space(optimizer__lr="range(0.001, 1, 0.00001)", model__dropout="range(0, 0.5, 0.00001)")
    assert grid_size(huge, BASE, 100) == 100
    assert len(proposer(GridSampler(), huge).ask(3)) == 3


def test_a_grid_of_a_continuous_range_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"search optimizer.lr: a grid needs its points: give choice"):
        list(grid({"optimizer.lr": MIXED["optimizer.lr"]}, BASE))


def test_a_value_that_is_no_number_counts_as_a_failure() -> None:
    learner = proposer(TpeSampler())
    learner.ask(1)
    learner.tell(0, Status.COMPLETED, float("nan"))
    assert list(learner.ask(1)) == [1]
