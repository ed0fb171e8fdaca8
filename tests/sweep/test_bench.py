"""Which trials train together, on how many lanes, and what is compiled for them."""

import pytest

from dlx.config import Experiment, load_experiment, parse_override
from dlx.sweep.bench import MOST_LANES, MOST_MAPPED, Bench


def trials(count: int, *overrides: str) -> list[Experiment]:
    words = ("model.hidden=[4]", "data.limit=200", *overrides)
    return [
        load_experiment("digits-mlp", [parse_override(w) for w in (*words, f"optimizer.lr={i + 1}e-3")]) for i in range(count)
    ]


def test_structure_alone_makes_a_group() -> None:
    bench = Bench()
    small, large = trials(2), trials(2, "model.hidden=[8]")
    configs = [bench.resolve(config) for config in (small[0], large[0], small[1], large[1])]
    assert bench.groups(configs) == [[0, 2], [1, 3]]


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (11, [11]), (MOST_LANES + 3, [MOST_LANES, 3])])
def test_dense_trials_fill_one_program_as_far_as_they_go(count: int, sizes: list[int]) -> None:
    bench = Bench()
    config = bench.resolve(trials(1)[0])
    assert [len(part) for part in bench.split(range(count), config)] == sizes


def test_no_lane_of_a_convolutional_cohort_is_idle() -> None:
    bench = Bench()
    config = bench.resolve(trials(1, "model={kind: convnet, channels: [2], dense: []}")[0])
    assert [len(part) for part in bench.split(range(MOST_MAPPED + 7), config)] == [MOST_MAPPED, 4, 2, 1]


def test_a_program_is_used_again_while_a_quarter_of_its_lanes_has_work() -> None:
    bench = Bench()
    configs = [bench.resolve(config) for config in trials(7)]
    made = [(there, assembly.cohort.lanes) for there, assembly in (bench.assembly(configs[:n]) for n in (7, 2, 1, 1))]
    assert made == [(False, 8), (True, 8), (False, 1), (True, 1)]
    assert bench.programs == 2
