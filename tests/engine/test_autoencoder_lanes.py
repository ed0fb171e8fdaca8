"""Autoencoders as lanes: they agree with single runs, and resume exactly in the middle of an epoch and of the KL's warm-up."""

import importlib
import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest

from dlx import engine
from dlx.config import load_experiment
from dlx.data import SHUFFLED
from dlx.experiment import assemble as assembling

spec = importlib.util.spec_from_file_location("driving", Path(__file__).with_name("driving.py"))
driving = importlib.util.module_from_spec(spec)
spec.loader.exec_module(driving)
train, drain, lane, assert_same_bits = driving.train, driving.drain, driving.lane, driving.assert_same_bits

TASKS = {
    "reconstruct": ({"kind": "reconstruct", "noise": {"kind": "gaussian"}}, {"kind": "autoencoder", "hidden": [8], "code": 3}),
    "vae": ({"kind": "vae", "warmup": 0.8}, {"kind": "vae", "hidden": [8], "code": 2, "normalization": "batch"}),
}


def config(kind, index):
    """Differing in rate, seed, and the task's own values."""
    task, model = TASKS[kind]
    own = {"noise": {"kind": "gaussian", "std": 0.1 + 0.1 * index}} if kind == "reconstruct" else {"beta": 1.0 + index}
    return load_experiment(
        {
            "task": {**task, **own},
            "data": {"kind": "digits", "standardize": False},
            "model": model,
            "optimizer": {"kind": "adam", "lr": 3e-3 * (1 + index)},
            "train": {"duration": "10 steps", "batch_size": 16, "evaluate_every": "5 steps", "seed": index},
        }
    )


@pytest.mark.parametrize("kind", TASKS)
def test_lanes_agree_with_single_runs(cohort, images, kind):
    together = train(cohort([config(kind, 0), config(kind, 1)], images).cohort)[1]
    for index in range(2):
        alone = train(cohort([config(kind, index)], images).cohort)[1]
        for a, b in zip(lane(together.lanes.learner, index), lane(alone.lanes.learner, 0), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(together.best_value[index], alone.best_value[0], rtol=1e-3)


@pytest.mark.parametrize("kind", TASKS)
def test_each_batch_of_an_evaluation_has_its_own_noise_and_the_same_wherever_it_is_scored(cohort, images, monkeypatch, kind):
    """Here 20 examples in batches of 8: at once, in a call each, and one example at a time for `dlx evaluate`."""
    monkeypatch.setattr(assembling, "EXAMINED", 8)
    monkeypatch.setattr(assembling, "STREAMED_CHUNK_BYTES", 1)
    monkeypatch.setattr(importlib.import_module("dlx.engine.examine"), "EXAMINED", 8)
    whole = cohort([config(kind, 0)], images, stream=False)
    _, progress = drain(whole.cohort.start())
    parted = cohort([config(kind, 0)], images, stream=True)
    assert parted.program.shapes.eval_batches == 1 < whole.program.shapes.eval_batches
    scored = [each.program.evaluate(progress.best, "validation")[0]["loss"] for each in (whole, parted)]
    learner = jax.tree.map(lambda x: x[0], progress.best)

    def examined(part):
        found = engine.examine(whole.task, whole.config, learner, images.scaling, part, SHUFFLED)
        return found.sums(np.eye(len(part)))["loss"]

    np.testing.assert_allclose([*scored, examined(images.validation).sum()], scored[0], rtol=1e-5)
    twice = examined(images.validation.take(np.tile(np.arange(8), 2)))
    assert (np.abs(twice[:8] - twice[8:]) > 1e-5 * np.abs(twice[:8])).any()


def test_a_vae_resumes_exactly_in_the_middle_of_its_warmup(cohort, images, tmp_path):
    assembly = cohort([config("vae", 0)], images)
    whole = train(assembly.cohort)[1]
    _, progress = drain(assembly.cohort.start())
    steps = assembly.cohort.train(progress, driving.Decision(max_steps=3))
    event = next(steps)
    assert event.step == 3
    steps.send(driving.Decision(stop=True, save=(tmp_path,)))
    _, again = drain(assembly.cohort.restore([tmp_path]))
    assert again.lanes.learner.memory[0] == 3
    _, resumed = drain(assembly.cohort.train(again))
    assert_same_bits(resumed.lanes, whole.lanes)
