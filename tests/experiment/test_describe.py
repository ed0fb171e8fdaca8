"""The rates that are shown are those that training uses: from the same functions, at every step, with what changes on the way."""

import numpy as np
import pytest

from dlx.config import Experiment, kinds, load_experiment, parse_override
from dlx.errors import ConfigError, UsageError
from dlx.experiment.describe import describe_rates
from dlx.experiment.run import start
from dlx.optim import build_momentum, build_schedule
from dlx.store import curves, list_runs, open_store

NEEDED = {"multistep": "milestones: [20 steps, 1.5 epochs]", "sgdr": "period: 15 steps", "triangular": "half_cycle: 7 steps"}
NEEDED |= {"triangular2": "half_cycle: 7 steps", "exp_range": "half_cycle: 7 steps, gamma: 0.99"}


def config(*words: str) -> Experiment:
    base = ("model.hidden=[8]", "train.duration=40 steps", "train.evaluate_every=10 steps", "optimizer.lr=0.02")
    return load_experiment("digits-mlp", [parse_override(word) for word in (*base, *words)])


def schedule(kind: str) -> str:
    return f"schedule={{kind: {kind}, warmup: 0.1{', ' * (kind in NEEDED)}{NEEDED.get(kind, '')}}}"


@pytest.mark.parametrize("kind", sorted(set(kinds("schedule")) - {"reduce-on-plateau"}))
def test_every_step_of_every_kind(kind: str) -> None:
    chosen = config(schedule(kind))
    found = describe_rates(chosen)
    assert (found.schedule, found.steps_per_epoch) == (kind, 20)
    rate, momentum = build_schedule(chosen.schedule, 0.02, 40, 20), build_momentum(chosen.schedule, 40)
    np.testing.assert_allclose(found.rates["learning_rate"], [float(rate(step)) for step in range(40)], rtol=1e-6, atol=2e-8)
    assert ("momentum" in found.rates) == (kind == "onecycle")
    if momentum is not None:
        np.testing.assert_allclose(found.rates["momentum"], [float(momentum(step)) for step in range(40)], rtol=1e-6)
    assert not found.notes


@pytest.mark.parametrize(
    "words",
    [
        ("schedule={kind: onecycle}",),
        ("replay=[{at: 10, values: {optimizer.lr: 0.5}}, {at: 25, values: {optimizer.lr: 0.1}}]",),
    ],
)
def test_a_training_stores_the_same_rates(words: tuple[str, ...]) -> None:
    """What is stored after so many steps is the rate of the last of them."""
    chosen = config(*words)
    planned = describe_rates(chosen)
    with open_store(None) as store:
        list(start(chosen, store))
        (run,) = list_runs(store)
        for name, values in planned.rates.items():
            stored = dict(curves(store, run.id, [f"train/{name}"])[f"train/{name}"])
            assert set(stored) >= {10, 20, 30, 40}
            np.testing.assert_allclose([values[step - 1] for step in stored], list(stored.values()), rtol=1e-6)


def test_steps_are_counted_on_the_data() -> None:
    found = describe_rates(config("train.duration=2.5 epochs", "train.batch_size=128"))
    assert (len(found.rates["learning_rate"]), found.steps_per_epoch) == (25, 10)


def test_what_cannot_be_shown_is_a_sentence() -> None:
    with pytest.raises(UsageError, match="at most 10,000,000 are shown one by one"):
        describe_rates(config("train.duration=1e7 epochs"))
    with pytest.raises(ConfigError, match="that is 99 steps, and the training has 40"):
        describe_rates(config("schedule={kind: sgdr, period: 99 steps}"))
