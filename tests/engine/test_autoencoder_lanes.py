"""Autoencoders as lanes: they agree with single runs, and resume exactly in the middle of an epoch and of the KL's warm-up."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from dlx.config import load_experiment

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
