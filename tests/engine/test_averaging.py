"""Averaged weights in the loop: judged beside the raw ones, with statistics that fit them, resumed exactly; and plateaus."""

import importlib.util
import json
from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest
from pydantic import ValidationError

from dlx.config.schedule import ReduceOnPlateau
from dlx.data import batch_rows
from dlx.engine import save_lanes
from dlx.engine.plateau import Plateau, after_evaluation
from dlx.engine.state import judged
from dlx.events import Decision, Evaluated, Measured

spec = importlib.util.spec_from_file_location("driving", Path(__file__).with_name("driving.py"))
driving = importlib.util.module_from_spec(spec)
spec.loader.exec_module(driving)
train, drain, lane, assert_same_bits = driving.train, driving.drain, driving.lane, driving.assert_same_bits

TORCH = json.loads((Path(__file__).parents[1] / "optim" / "pytorch_schedules.json").read_text())
SWA = "averaging={kind: swa, start: 0.5, every: 2 steps}"
KINDS = [
    "averaging.kind=ema",
    SWA,
    "averaging.kind=lookahead",
    "schedule.kind=schedule-free",
    "schedule={kind: reduce-on-plateau, patience: 0}",
]


RATES = (1e-2, 3e-2)


@pytest.fixture(scope="module")
def trained(cohort, experiment):
    """`trained(kind)`: two lanes of it, trained once: the assembly, its configs, events and progress."""

    @cache
    def make(kind):
        configs = [experiment(kind, f"optimizer.lr={rate}", f"train.seed={seed}") for seed, rate in enumerate(RATES)]
        assembly = cohort(configs)
        return assembly, configs, *train(assembly.cohort)

    return make


def evaluations(events):
    return [event for event in events if isinstance(event, Evaluated)]


@pytest.mark.parametrize("kind", KINDS[:4])
def test_the_average_has_the_plain_names_and_the_raw_weights_are_scored_beside_it(trained, kind):
    assembly, _, events, progress = trained(kind)
    assert assembly.plan.monitor == "validation/accuracy"
    last = evaluations(events)[-1].metrics[0]
    raw = assembly.program.evaluate(judged(progress.lanes.learner), "validation")[0]
    assert last["validation/raw_loss"] == pytest.approx(assembly.task.metrics(raw)["loss"])
    assert last["validation/raw_loss"] != last["validation/loss"]
    assert set(last) == {f"validation/{mark}{name}" for mark in ("", "raw_") for name in assembly.task.scores}


@pytest.mark.parametrize(("monitor", "differ"), [("validation/loss", True), ("validation/raw_loss", False)])
def test_best_are_the_weights_that_the_monitor_names(cohort, experiment, monitor, differ):
    """At a rate that learns steadily the last evaluation is the best."""
    assembly = cohort(
        [experiment("averaging.kind=ema", f"train.monitor={monitor}", "schedule.kind=constant", "model.dropout=0")]
    )
    events, progress = train(assembly.cohort)
    assert progress.best_step[0] == 20
    assert progress.best_value[0] == pytest.approx(evaluations(events)[-1].metrics[0][monitor])
    raw = jax.tree.leaves(progress.lanes.learner.params)
    kept = jax.tree.leaves(progress.best.params)
    assert differ != all(np.array_equal(a, b) for a, b in zip(raw, kept, strict=True))


def test_without_averaging_no_name_is_raw_and_raw_cannot_be_monitored(cohort, experiment):
    events, _ = train(cohort([experiment()]).cohort)
    assert not [name for name in evaluations(events)[-1].metrics[0] if "raw" in name]
    with pytest.raises(Exception, match="this run can monitor validation/accuracy"):
        cohort([experiment("train.monitor=validation/raw_accuracy")])


@pytest.mark.parametrize("kind", [SWA, "schedule.kind=schedule-free"])
def test_running_statistics_of_an_average_are_the_means_over_training_batches(trained, rows, kind):
    """Every batch's own mean and variance, in float64, under the averaged weights. (Dropout comes after the first layer's.)"""
    assembly, _, _, progress = trained(kind)
    weights = assembly.cohort._averaged(progress)
    kernel = np.asarray(weights.params["hidden"][0]["linear"]["kernel"][0], np.float64)  # (features, units); no bias
    batches = batch_rows(0, 0, 8, 128, 16)
    hidden = rows.train.inputs.astype(np.float64)[batches] @ kernel  # (batches, b, units)
    statistics = {path[-1].key: np.asarray(leaf[0]) for path, leaf in jax.tree_util.tree_leaves_with_path(weights.rest)}
    np.testing.assert_allclose(statistics["mean"], hidden.mean(1).mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(statistics["var"], hidden.var(1).mean(0), rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_saved_in_the_middle_of_a_cycle_goes_on_bit_for_bit(trained, tmp_path, kind):
    assembly, _, _, whole = trained(kind)
    _, stopped = train(
        assembly.cohort, lambda event: Decision(stop=isinstance(event, Measured) and event.step == 13, max_steps=1)
    )
    assert stopped.step == 13
    folders = [tmp_path / str(index) for index in range(2)]
    save_lanes(stopped, folders)
    _, progress = drain(assembly.cohort.restore(folders))
    _, resumed = drain(assembly.cohort.train(progress))
    assert_same_bits(resumed.lanes, whole.lanes)
    assert_same_bits(resumed.best, whole.best)


@pytest.mark.parametrize("kind", [KINDS[1], KINDS[4]])
def test_lanes_agree_with_single_runs(trained, cohort, kind):
    _, configs, _, together = trained(kind)
    _, alone = train(cohort(configs[1:]).cohort)
    for a, b in zip(lane(together.best, 1), lane(alone.best, 0), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("min", {"factor": 0.5, "patience": 2}),
        ("max", {"factor": 0.5, "patience": 2}),
        ("cooldown", {"factor": 0.3, "patience": 1, "cooldown": 4, "threshold": 0.05, "lowest": 0.02}),
    ],
)
def test_plateaus_as_pytorch_has_them(name, settings):
    sign = -1 if name == "max" else 1
    config, zero = ReduceOnPlateau(**settings), np.zeros(1, np.int32)
    plateau, found = Plateau(np.ones(1), np.full(1, np.inf), zero, zero), []
    for metric in TORCH["plateau"]["metrics"]:
        value = np.array([np.nan if metric is None else sign * metric])
        plateau = after_evaluation(config, plateau, value, maximize=name == "max")
        found.append(float(plateau.scale[0]) * TORCH["peak"])
    np.testing.assert_allclose(found, TORCH["plateau"][name], rtol=1e-5)


def test_each_lane_has_its_own_plateaus_and_trains_at_the_rate_they_leave(cohort, experiment):
    patient, hasty = "{kind: reduce-on-plateau, patience: 99}", "{kind: reduce-on-plateau, patience: 0, threshold: 100.0}"
    events, progress = train(cohort([experiment(f"schedule={each}") for each in (patient, hasty)]).cohort)
    np.testing.assert_allclose(progress.lanes.plateau.scale, [1.0, 1e-3], rtol=1e-5)  # the first of 4 evaluations is the best
    rates = [[lane["train/learning_rate"] for lane in event.metrics] for event in events if isinstance(event, Measured)]
    np.testing.assert_allclose(rates[-1], [1e-2, 1e-4], rtol=1e-5)


def test_what_does_not_go_together_is_a_sentence(experiment):
    for words, sentence in (
        (("schedule.kind=reduce-on-plateau", "data.validation=0"), "needs a validation part"),
        (("schedule.kind=schedule-free", "averaging.kind=ema"), "averages the weights itself"),
        (("schedule.kind=schedule-free", "optimizer.kind=lion"), "works with the optimizers sgd, adam, adamw"),
    ):
        with pytest.raises(Exception, match=sentence):
            experiment(*words)
    with pytest.raises(ValidationError):
        ReduceOnPlateau(factor=1.0)


NET = """
import jax.numpy as jnp
from flax import nnx


class Net(nnx.Module):
    def __init__(self, in_features, out_features, *, rngs):
        self.scale = nnx.Variable(jnp.full((in_features,), 2.0))
        self.hidden = nnx.Linear(in_features, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, momentum=0.99, rngs=rngs)
        self.output = nnx.Linear(8, out_features, rngs=rngs)

    def __call__(self, x):
        return self.output(self.norm(self.hidden(x * self.scale[...])))
"""


def test_a_users_own_constants_hold_while_statistics_are_measured(cohort, experiment, rows, tmp_path):
    """Flax's own batch normalization, at another momentum, behind a constant that is no parameter and no statistic."""
    (tmp_path / "net.py").write_text(NET)
    assembly = cohort([experiment(SWA, f"model={{kind: python, target: {tmp_path / 'net.py'}:Net}}")])
    _, progress = train(assembly.cohort)
    weights = assembly.cohort._averaged(progress)
    np.testing.assert_array_equal(weights.rest["scale"], progress.lanes.learner.rest["scale"])
    kernel, bias = (np.asarray(weights.params["hidden"][name][0], np.float64) for name in ("kernel", "bias"))
    hidden = 2 * rows.train.inputs.astype(np.float64)[batch_rows(0, 0, 8, 128, 16)] @ kernel + bias  # (batches, b, units)
    np.testing.assert_allclose(weights.rest["norm"]["mean"][0], hidden.mean(1).mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(weights.rest["norm"]["var"][0], hidden.var(1).mean(0), rtol=1e-4)
