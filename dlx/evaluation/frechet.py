"""Judging generated images by a classifier that was trained here: are they like the data, of the class asked for, of all classes?"""

from dataclasses import dataclass

import jax
import numpy as np

from dlx.errors import DataError, UsageError
from dlx.experiment.restore import Trained
from dlx.tasks import Asked, Generative, Supervised
from dlx.tasks.frechet import frechet

SHARE = 0.1
"""A class occurs when it has at least this part of its even share of the images."""
CHUNK = 500
"""Images of one call."""


@dataclass(frozen=True)
class JudgedImages:
    """What a classifier says of generated images."""

    count: int
    frechet_logits: float
    """The squared Frechet distance of its logits of generated and of real images (Heusel et al. 2017, with logits as features)."""
    right: float | None
    """The share that it takes for the class that was asked for; None where none was."""
    coverage: int
    """How many classes occur."""
    classes: int


def sampled(trained: Trained, count: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """So many images (count, h, w, c) in 0..1 of a generator, and their classes (count,), one after the other, if it is told any.

    Raises `UsageError` for a network that makes none.
    """
    task, learner = trained.task, trained.learner
    if not isinstance(task, Generative):
        raise UsageError(
            f"run {trained.run.id} makes no images out of noise: name a run of the task adversarial, stacked or vae"
        )
    known = int(vars(task).get("classes", 0))
    starts = range(0, count, CHUNK)
    # Classes come one after the other in each call, which is one program for all calls.
    classes = (np.arange(CHUNK) % known).astype(np.int32) if known else None
    make = jax.jit(lambda learner, key: task.generate(trained.config, learner, key, Asked(CHUNK, classes=classes)))
    chunks = [np.asarray(make(learner, jax.random.fold_in(jax.random.key(seed), start))) for start in starts]
    return np.concatenate(chunks)[:count], None if classes is None else np.tile(classes, len(starts))[:count]


def judged_images(judge: Trained, real: np.ndarray, made: np.ndarray, asked: np.ndarray | None = None) -> JudgedImages:
    """What a trained classifier says of generated images (n, h, w, c) in 0..1, beside real ones (m, h, w, c) as its data have them.

    `asked` (n,) are the classes that were asked for. Its features are its logits: the layer before them has no name that all
    networks share. Raises `UsageError` for a judge that does not classify, `DataError` for images of another shape.
    """
    spec, preparation = judge.preparation.spec, judge.preparation
    if not isinstance(judge.task, Supervised) or spec.target != "class":
        raise UsageError(f"--judge {judge.run.id}: that run does not tell classes: name a run of the task classify")
    for images in (real, made):
        if images.shape[1:] != spec.input_shape:
            raise DataError(
                f"--judge {judge.run.id} knows images of shape {spec.input_shape}, and these are {images.shape[1:]}"
            )
    if min(len(real), len(made)) < 2:
        raise DataError("a Frechet distance needs two images of each kind: ask for more")
    pixels = made * (preparation.pixel_range if preparation.dtype == np.uint8 else 1)
    pixels = np.round(pixels).astype(np.uint8) if preparation.dtype == np.uint8 else pixels.astype(np.float32)
    of_real, of_made = judge.forward(real), judge.forward(pixels)
    guesses = of_made.argmax(1)
    counts = np.bincount(guesses, minlength=spec.outputs)
    return JudgedImages(
        len(made),
        frechet(_cloud(of_real), _cloud(of_made)),
        None if asked is None else float(np.mean(guesses == asked)),
        int(np.sum(counts >= SHARE * len(made) / spec.outputs)),
        spec.outputs,
    )


def _cloud(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of features (n, f), float64."""
    wide = features.astype(np.float64)
    return wide.mean(0), np.cov(wide, rowvar=False).reshape(wide.shape[1], wide.shape[1])
