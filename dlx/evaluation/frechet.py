"""Judging generated images by a classifier that was trained here: are they like the data, of the class asked for, of all classes?"""

from dataclasses import dataclass

import jax
import numpy as np

from dlx.data import Preparation
from dlx.errors import DataError, UsageError, first_of
from dlx.evaluation.sample import CHUNK, drawn
from dlx.experiment.restore import Trained
from dlx.tasks import Asked, Generative, Supervised
from dlx.tasks.frechet import frechet

SHARE = 0.1
"""A class occurs when it has at least this part of its even share of the images."""
SHOWN = 10
"""Names of classes in a sentence."""


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


def check_judge(trained: Trained, judge: Trained) -> None:
    """Whether a run's images can be judged by a classifier: before anything is computed.

    Raises `UsageError` for a network that makes no images and for a judge that tells no classes, `DataError` where the two learned from
    images of other shapes, pixels or classes.
    """
    _require_images(trained)
    _require_classes(judge)
    one, other = _images(trained.preparation), _images(judge.preparation)
    if unlike := [
        f"{what} {theirs}, not {own}" for (what, theirs), own in zip(other.items(), one.values(), strict=True) if own != theirs
    ]:
        raise DataError(
            f"--judge {judge.run.id} was trained on other images than run {trained.run.id}: it knows {'; '.join(unlike)}: "
            "name a classifier of the same images"
        )
    named, known = trained.preparation.spec.classes, judge.preparation.spec.classes
    if named and named != known:
        raise DataError(
            f"--judge {judge.run.id} tells other classes than those of run {trained.run.id}, or in another order: {first_of(known, SHOWN)}, "
            f"not {first_of(named, SHOWN)}: name a classifier of the same data"
        )


def sampled(trained: Trained, count: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray | None]:
    """So many images (count, h, w, c) in 0..1 of a generator, and their classes (count,), one after the other, if it is told any.

    Raises `UsageError` for a network that makes none.
    """
    _require_images(trained)
    known = int(vars(trained.task).get("classes", 0))
    made = drawn(trained, Asked(count), jax.random.key(seed))
    # Those that nobody asked for come in turn in each call.
    return made, (np.arange(count) % CHUNK % known).astype(np.int32) if known else None


def judged_images(judge: Trained, real: np.ndarray, made: np.ndarray, asked: np.ndarray | None = None) -> JudgedImages:
    """What a trained classifier says of generated images (n, h, w, c) in 0..1, beside real ones (m, h, w, c) as its data have them.

    `asked` (n,) are the classes that were asked for. Its features are its logits: the layer before them has no name that all
    networks share. Raises `UsageError` for a judge that does not classify, `DataError` for images of another shape.
    """
    _require_classes(judge)
    spec, preparation = judge.preparation.spec, judge.preparation
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


def _require_images(trained: Trained) -> None:
    spec = trained.preparation.spec
    if not isinstance(trained.task, Generative) or spec.tokens or spec.target == "tokens" or len(spec.input_shape) != 3:
        kind = trained.config.task.kind if trained.config.task else ""
        raise UsageError(
            f"run {trained.run.id} makes no images out of noise (its task is {kind}): --judge is for tasks that do, "
            "such as adversarial, stacked, vae and boltzmann; leave it out"
        )
    if vars(trained.config.model).get("visible") == "gaussian":
        raise UsageError(
            f"run {trained.run.id} makes images whose grey scale is its own (model.visible is gaussian), and --judge compares them with "
            "the data's: leave it out"
        )


def _require_classes(judge: Trained) -> None:
    if not isinstance(judge.task, Supervised) or judge.preparation.spec.target != "class":
        raise UsageError(f"--judge {judge.run.id}: that run does not tell classes: name a run of the task classify")


def _images(preparation: Preparation) -> dict[str, str]:
    """What images are, as it is told."""
    shape = " x ".join(str(length) for length in preparation.spec.input_shape)
    highest = f" from 0 to {preparation.pixel_range}" if preparation.dtype == np.uint8 else ""
    return {"images of": shape, "pixels of type": f"{preparation.dtype.name}{highest}"}


def _cloud(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of features (n, f), float64."""
    wide = features.astype(np.float64)
    return wide.mean(0), np.cov(wide, rowvar=False).reshape(wide.shape[1], wide.shape[1])
