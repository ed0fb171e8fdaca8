"""Generated images, judged by a classifier: a judge whose answers are known, and a judge that is none."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dlx.data import Spec
from dlx.errors import DataError, UsageError
from dlx.evaluation.frechet import judged_images
from dlx.tasks import Supervised

SPEC = Spec((2, 2, 1), "class", 4, ("a", "b", "c", "d"), (1, 1, 1, 1), ("y",), (), (), 4)


def judge(spec: Spec = SPEC) -> Any:
    """Takes an image for the class of its brightest pixel, and says the pixels as its logits."""
    task = object.__new__(Supervised)
    preparation = SimpleNamespace(spec=spec, pixel_range=255, dtype=np.dtype(np.uint8))
    run = SimpleNamespace(id="1234")
    return SimpleNamespace(
        task=task, run=run, preparation=preparation, forward=lambda x: x.reshape(len(x), -1).astype(np.float32) / 255
    )


def bright(classes: np.ndarray) -> np.ndarray:
    """Images (n, 2, 2, 1) in 0..1 with one bright pixel, the class's."""
    return np.eye(4, dtype=np.float32)[classes].reshape(-1, 2, 2, 1)


def test_a_generator_that_copies_is_right_and_covers_all():
    classes = np.arange(40) % 4
    found = judged_images(judge(), (255 * bright(classes)).astype(np.uint8), bright(classes), classes)
    assert found.right == 1
    assert (found.coverage, found.classes, found.count) == (4, 4, 40)
    assert found.frechet_logits == pytest.approx(0, abs=1e-9)


def test_a_generator_of_one_image_covers_one_class():
    """Its Frechet distance is what the real logits lie from it: |m1 - m2|^2 + tr C."""
    classes, one = np.arange(40) % 4, np.zeros(40, int)
    real = (255 * bright(classes)).astype(np.uint8)
    found = judged_images(judge(), real, bright(one), classes)
    assert found.right == pytest.approx(0.25)
    assert found.coverage == 1
    logits = real.reshape(40, 4) / 255
    expected = np.sum((logits.mean(0) - [1, 0, 0, 0]) ** 2) + np.trace(np.cov(logits, rowvar=False))
    assert found.frechet_logits == pytest.approx(expected, rel=1e-6)


def test_a_rare_class_does_not_occur():
    """One of 400 is less than a tenth of the even share of 100."""
    classes = np.array([0] * 200 + [1] * 199 + [2])
    assert judged_images(judge(), (255 * bright(classes)).astype(np.uint8), bright(classes)).coverage == 2


def test_what_cannot_be_judged():
    images = bright(np.arange(4))
    with pytest.raises(UsageError, match="does not tell classes"):
        judged_images(judge(Spec((2, 2, 1), "number", 1, (), (), ("y",), (0.0,), (1.0,), 4)), images, images)
    with pytest.raises(DataError, match="knows images of shape"):
        judged_images(judge(), images, np.zeros((3, 4, 4, 1)))
