"""What is told of a training of two players by what was measured."""

import numpy as np

from dlx.config.adversarial_task import LeastSquares, Standard, WassersteinGp
from dlx.tasks.made_images import image_metrics, troubles


def test_troubles_are_told_by_what_was_measured():
    well = {"train/critic_accuracy": 0.7, "train/critic_loss": 1.2, "train/generator_loss": 1.0, "validation/diversity": 0.8}
    assert troubles(Standard(), well) == {}
    over = well | {"train/critic_accuracy": 0.995, "train/critic_loss": 0.01, "train/generator_loss": 5.0}
    assert "overpowers" in troubles(Standard(), over)["critic overpowers"]
    assert troubles(WassersteinGp(), over) == {}
    assert troubles(Standard(smoothing=0.1), over | {"train/critic_loss": 0.4}) == {}
    assert "collapsed" in troubles(Standard(), well | {"validation/diversity": 0.02})["mode collapse"]


def test_images_of_one_are_no_collapse():
    sums = {name: np.asarray(value) for name, value in (("count", 1), ("apart", 0), ("data_apart", 0))}
    found = image_metrics(sums)
    assert np.isnan(found["diversity"])
    assert troubles(LeastSquares(), {"train/diversity": found["diversity"]}) == {}
