"""Generated images, judged by a classifier: a judge whose answers are known, and a judge that is none."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlx.data import Spec
from dlx.errors import DataError, UsageError
from dlx.evaluation.frechet import check_judge, judged_images
from dlx.evaluation.sample import drawn
from dlx.tasks import Asked, Supervised

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


def generator(spec: Spec = SPEC, dtype: type = np.uint8, pixel_range: int = 255) -> Any:
    """Makes images (count, 1, 1, 2) of a random number and a class."""

    def generate(config: Any, state: Any, key: jax.Array, asked: Asked) -> jax.Array:
        classes = np.arange(asked.count) % 3 if asked.classes is None else asked.classes
        return jnp.stack([jax.random.uniform(key, (asked.count,)), jnp.asarray(classes, jnp.float32)], 1)[:, None, None]

    preparation = SimpleNamespace(spec=spec, pixel_range=pixel_range, dtype=np.dtype(dtype))
    config = SimpleNamespace(task=SimpleNamespace(kind="adversarial"), model=SimpleNamespace(kind="dcgan"))
    return SimpleNamespace(
        task=SimpleNamespace(generate=generate),
        run=SimpleNamespace(id="5678"),
        config=config,
        learner={},
        preparation=preparation,
    )


def test_a_judge_of_the_same_images_suits():
    check_judge(generator(), judge())
    check_judge(generator(replace(SPEC, classes=())), judge())


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (generator(replace(SPEC, classes=("b", "a", "c", "d"))), "in another order: a, b, c, d, not b, a, c, d"),
        (generator(dtype=np.float32), "pixels of type uint8 from 0 to 255, not float32"),
        (generator(pixel_range=16), "from 0 to 255, not uint8 from 0 to 16"),
        (generator(replace(SPEC, input_shape=(4, 2, 1))), "images of 2 x 2 x 1, not 4 x 2 x 1"),
    ],
    ids=["classes", "type", "range", "shape"],
)
def test_a_judge_of_other_images_is_refused(made, sentence):
    with pytest.raises(DataError, match=sentence):
        check_judge(made, judge())


def test_samples_are_made_in_chunks(monkeypatch):
    """What fits into one call is as it was; classes stay in their order; what is left over of the last call is cut off."""
    key, whole = jax.random.key(3), drawn(generator(), Asked(4), jax.random.key(3))
    monkeypatch.setattr("dlx.evaluation.sample.CHUNK", 4)
    found = drawn(generator(), Asked(10), key)
    assert found.shape == (10, 1, 1, 2)
    np.testing.assert_array_equal(found[:4], whole)
    assert len(np.unique(found[..., 0])) == 10
    assert found[..., 1].ravel().tolist() == [0, 1, 2, 0, 0, 1, 2, 0, 0, 1]
    asked = np.repeat([2, 5], 5).astype(np.int32)
    assert drawn(generator(), Asked(10, classes=asked), key)[..., 1].ravel().tolist() == asked.tolist()
