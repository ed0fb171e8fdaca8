"""What a trained network makes up: images, text, sequences."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from dlx import engine
from dlx.data.text_tokenizer import Tokenizer
from dlx.data.tokens import UNKNOWN
from dlx.errors import UsageError
from dlx.evaluation.gallery.pictures import Images, Sampled, Texts
from dlx.experiment.restore import Trained
from dlx.tasks import Asked, Generative, LearnerState, Supervised

LENGTH = 500
"""Tokens of a text of which nobody said how long it is to be."""
CHUNK = 500
"""Images or texts of one call at most: what a network holds while it makes them does not grow with how many are asked for."""


@dataclass(frozen=True)
class Wanted:
    """What a person asks for; None for what the network may choose."""

    count: int | None = None
    seed: int = 0
    temperature: float | None = None
    top_k: int | None = None
    length: int | None = None
    prompt: str | None = None
    classes: tuple[str, ...] = ()
    """Names of classes: `count` samples of each."""
    steps: int = 0
    """Points between two samples, for interpolation."""


def makes_images(trained: Trained) -> bool:
    """Whether what the network makes is images, and not text. Raises `UsageError` for a network that makes nothing."""
    if not isinstance(trained.task, Generative):
        kind = trained.config.task.kind if trained.config.task else ""
        asks = (
            "`dlx predict` asks it about examples"
            if isinstance(trained.task, Supervised)
            else "`dlx report` shows what it does"
        )
        raise UsageError(f"run {trained.run.id} makes no examples (its task is {kind}): {asks}")
    return _written_in(trained) is None


def sample(trained: Trained, wanted: Wanted) -> Sampled:
    """Samples of a generative network, the same for the same seed.

    Raises `UsageError` for a network that makes nothing, or not what is asked.
    """
    text = None if makes_images(trained) else _written_in(trained)
    asked = _asked(trained, wanted, text is not None)
    values = drawn(trained, asked, engine.step_key(wanted.seed, "sample", 0))
    if text is not None:
        return Sampled(values, _texts(values, text, wanted.seed, asked.temperature), _unknown(asked.prompt))
    rows = values if asked.steps else _near_square(values, len(wanted.classes))
    title = "Interpolations" if asked.steps else "Samples"
    names = wanted.classes if not asked.steps else ()
    return Sampled(values, Images(title, f"{len(values)} of run {trained.run.id}, seed {wanted.seed}", rows, row_names=names))


def drawn(trained: Trained, asked: Asked, key: jax.Array) -> np.ndarray:
    """All that is asked of a generative network, `Generative.generate` with at most `CHUNK` images or texts in a call.

    Classes that were not asked for come in turn, from the first one on in each call; so do the ways of an interpolation begin anew.
    Raises `UsageError` for what the network cannot be asked.
    """
    task = trained.task
    assert isinstance(task, Generative)
    count = min(asked.count, max(1, CHUNK // max(asked.steps, 1)))

    def made(learner: LearnerState, key: jax.Array, classes: tuple[int, ...] | None) -> jax.Array:
        told = None if classes is None else np.array(classes, np.int32)
        return task.generate(trained.config, learner, key, replace(asked, count=count, classes=told))

    make, chunks = jax.jit(made, static_argnums=2), []
    for start in range(0, asked.count, count):
        classes = None
        if asked.classes is not None:  # filled up: one program makes all chunks of one class
            few = asked.classes[start : start + count]
            classes = tuple(np.pad(few, (0, count - len(few)), mode="edge").tolist())
        chunks.append(np.asarray(make(trained.learner, jax.random.fold_in(key, start) if start else key, classes)))
    return np.concatenate(chunks)[: asked.count]


def _written_in(trained: Trained) -> Mapping[str, Any] | None:
    """The stored tokenizer of what the network writes; None for images."""
    return trained.preprocessing.get("target_tokenizer") or trained.preprocessing.get("tokenizer")


def _asked(trained: Trained, wanted: Wanted, text: bool) -> Asked:
    if not text and (given := [f"--{name}" for name, there in _of_text(wanted).items() if there]):
        raise UsageError(f"{', '.join(given)}: this network makes images, not text; leave it out")
    if text and wanted.steps:
        raise UsageError("--interpolate: this network makes text, not images; leave it out")
    if text and wanted.classes:
        raise UsageError(f"--class {wanted.classes[0]}: this network makes text, and is told no class; leave it out")
    count = wanted.count or (1 if text else 8 if wanted.classes or wanted.steps else 64)
    classes = None
    if wanted.classes:
        known = trained.preparation.spec.classes
        if not known:
            raise UsageError(f"--class {wanted.classes[0]}: this network's data has no classes; leave it out")
        if unknown := [name for name in wanted.classes if name not in known]:
            raise UsageError(f"--class {unknown[0]}: there is no such class; there are {', '.join(known)}")
        classes = np.repeat([known.index(name) for name in wanted.classes], count).astype(np.int32)
        count = len(classes)
    prompt = None
    if wanted.prompt is not None:
        read = trained.preparation.texts
        if read is None:
            raise UsageError("--prompt: this network reads images, not text; leave it out")
        prompt = read.tokenizer.encode(wanted.prompt)
        if not len(prompt):
            raise UsageError(f"--prompt {wanted.prompt!r} holds no token: give some text, or leave it out")
    translates = (
        "target_tokenizer" in trained.preprocessing
    )  # the best translation, of its own length, unless another is asked for
    length = wanted.length or (0 if translates or not text else LENGTH)
    temperature = wanted.temperature if wanted.temperature is not None else 0.0 if translates else 1.0
    return Asked(count, temperature, wanted.top_k, length, prompt, classes, wanted.steps)


def _unknown(prompt: np.ndarray | None) -> tuple[str, ...]:
    """A sentence about tokens (length,) that the network never learned."""
    if prompt is None or not (count := int((prompt == UNKNOWN).sum())):
        return ()
    return (
        f"of the {len(prompt):,} tokens of the prompt {count:,} are not in the vocabulary, and say nothing to this network",
    )


def _of_text(wanted: Wanted) -> Mapping[str, Any]:
    """Which options that only text has were given."""
    return {
        "prompt": wanted.prompt is not None,
        "length": wanted.length is not None,
        "top-k": wanted.top_k is not None,
    }


def _texts(values: np.ndarray, tree: Mapping[str, Any], seed: int, temperature: float) -> Texts:
    tokenizer = Tokenizer.from_json(tree)
    rows = tuple((tokenizer.decode(tokens),) for tokens in values)
    return Texts("Samples", f"seed {seed}, temperature {temperature:g}", ("text",), rows)


def _near_square(images: np.ndarray, rows: int) -> np.ndarray:
    """(count, h, w, c) as a grid (rows, columns, h, w, c); places that are left over are white."""
    rows = rows or math.isqrt(len(images))
    columns = -(-len(images) // rows)
    white = np.ones((rows * columns - len(images), *images.shape[1:]), images.dtype)
    return np.concatenate([images, white]).reshape(rows, columns, *images.shape[1:])
