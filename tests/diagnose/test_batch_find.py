"""The search for the largest batch: few tries on any curve, and on real digits the compiler's own numbers."""

from collections.abc import Callable

import numpy as np
import pytest

from dlx.config import Experiment, load_experiment, parse_override
from dlx.diagnose.batch_find import MOST_TRIES, NEAR, allowed_sizes, device_memory, find_batch, sized, sizes_to_try
from dlx.engine import memory_limit
from dlx.errors import ConfigError
from dlx.events import BatchFound, Compiled, Compiling
from dlx.experiment.assemble import load_data, resolve
from dlx.experiment.describe import describe


def config(*words: str) -> Experiment:
    base = ("model.hidden=[8]", "model.dropout=0", "train.duration=40 steps")
    return load_experiment("digits-mlp", [parse_override(word) for word in (*base, *words)])


def searched(needs: Callable[[int], float], largest: int, there: float, least: int = 1) -> dict[int, float]:
    """What a search tries, and what it is told."""
    tried: dict[int, float] = {}
    search = sizes_to_try(least, largest, there)
    size = next(search)
    while True:
        assert size not in tried
        assert least <= size <= largest
        tried[size] = needs(size)
        try:
            size = search.send(tried[size])
        except StopIteration:
            return tried


CURVES: dict[str, Callable[[int], float]] = {
    "a line": lambda size: 1000 + 3.7 * size,
    "a line of examples alone": lambda size: size,
    "steps of 64": lambda size: 1000 + 4 * 64 * (size // 64),
    "bent upwards": lambda size: 1000 + size + size**1.5 / 30,
    "bent downwards": lambda size: 1000 + 200 * size**0.6,
    "a jump": lambda size: 1000 + size + (50_000 if size > 5000 else 0),
    "a kink": lambda size: 1000 + 0.1 * min(size, 1000) + 9 * max(0, size - 1000),
    "the compiler gives up": lambda size: 1000 + 4 * size if size <= 7000 else np.inf,
}


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("there", [1500, 9_000, 33_333, 60_000])
def test_the_answer_is_next_to_one_that_does_not_fit(name: str, there: float) -> None:
    tried = searched(CURVES[name], 50_000, there)
    fits = max((size for size, needed in tried.items() if needed <= there), default=0)
    beyond = min((size for size, needed in tried.items() if needed > there), default=None)
    assert len(tried) < MOST_TRIES
    assert beyond is not None or fits == 50_000
    assert beyond is None or fits < beyond <= fits + max(1, NEAR * beyond)


@pytest.mark.parametrize("there", [5_000, 20_000, 100_000])
def test_a_straight_line_takes_a_few_tries(there: float) -> None:
    assert len(searched(CURVES["a line"], 50_000, there)) <= 5


def test_what_all_fits_takes_three_tries_and_what_cannot_fit_one() -> None:
    assert list(searched(CURVES["a line"], 50_000, 1e9)) == [1, 32, 50_000]
    assert list(searched(CURVES["a line"], 20, 1e9)) == [1, 20]
    assert list(searched(CURVES["a line"], 1, 1e9)) == [1]
    assert list(searched(CURVES["a line"], 50_000, 10)) == [1]
    assert list(searched(dict.fromkeys((1, 32, 50_000), 5.0).__getitem__, 50_000, 10)) == [1, 32, 50_000]


def test_on_digits_the_numbers_are_the_compilers() -> None:
    """The same as `--dry-run` says of these sizes; all programs are small, and nothing is run."""
    chosen = config()
    *events, found = find_batch(chosen, 600e3)
    assert isinstance(found, BatchFound)
    assert [type(event) for event in events[:2]] == [Compiling, Compiled]
    assert (found.largest, found.why_largest, found.memory_limit) == (1298, "the whole training part", 600e3)
    beyond = min(each.batch_size for each in found.tried if not each.fits)
    needs = {each.batch_size: each.memory_bytes for each in found.tried}
    assert needs[found.batch_size] <= 600e3 < needs[beyond]
    assert beyond <= found.batch_size + max(1, NEAR * beyond)
    assert len(needs) <= 7
    for size in (found.tried[0].batch_size, found.batch_size):
        assert describe(sized(chosen, size)).memory_bytes == needs[size]


def test_a_machine_with_room_takes_the_whole_training_part() -> None:
    found = list(find_batch(config()))[-1]
    assert isinstance(found, BatchFound)
    assert (found.batch_size, found.memory_limit) == (1298, device_memory())
    assert found.resident


def test_not_even_the_smallest() -> None:
    found = list(find_batch(config(), 1000))[-1]
    assert isinstance(found, BatchFound)
    assert found.batch_size is None
    assert [each.fits for each in found.tried] == [False]


def test_one_run_has_all_of_a_cpus_memory() -> None:
    assert device_memory() >= memory_limit()


@pytest.mark.parametrize(
    ("words", "least", "largest", "why"),
    [
        (("model.normalization=none",), 1, 1298, "the whole training part"),
        (("model.normalization=batch",), 2, 1298, "the whole training part"),
        (("data.limit=100", "model.normalization=none"), 1, None, "the whole training part"),
        # An epoch of fewer steps makes 4 epochs shorter than the period.
        (
            ("schedule={kind: sgdr, period: 30 steps}", "train.duration=4 epochs"),
            2,
            1298 // 8,
            "above it: schedule.period 30 steps: ",
        ),
        # A long epoch makes one epoch longer than the 40 steps.
        (("schedule={kind: sgdr, period: 1 epochs}",), 32, 1298, "the whole training part"),
    ],
)
def test_only_sizes_that_can_be_trained_are_tried(words: tuple[str, ...], least: int, largest: int | None, why: str) -> None:
    chosen = config(*words)
    dataset = load_data(chosen)
    found = allowed_sizes(resolve(chosen, dataset), dataset)
    assert found[:2] == (least, largest or len(dataset.train))
    assert found[2].startswith(why)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("optimizer={kind: lbfgs}", "schedule={kind: constant}", "train.batch_size=full"),
            "lbfgs needs train.batch_size=full",
        ),
        (("schedule={kind: sgdr, period: 99 steps}",), "that is 99 steps, and the training has 40"),
        (("train.monitor=validation/nothing",), "this run can monitor"),
    ],
)
def test_what_no_batch_size_can_mend_is_a_sentence(words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        list(find_batch(config(*words)))
