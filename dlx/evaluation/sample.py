"""What a trained network makes up: images, text, sequences."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from dlx import engine
from dlx.data.text_tokenizer import Tokenizer
from dlx.errors import UsageError
from dlx.evaluation.gallery.pictures import Images, Sampled, Texts
from dlx.experiment.restore import Trained
from dlx.tasks import Asked, Generative

LENGTH = 500
"""Tokens of a text of which nobody said how long it is to be."""


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


def sample(trained: Trained, wanted: Wanted) -> Sampled:
    """Samples of a generative network, the same for the same seed.

    Raises `UsageError` for a network that makes nothing, or not what is asked.
    """
    task = trained.task
    kind = trained.config.task.kind if trained.config.task else ""
    if not isinstance(task, Generative):
        raise UsageError(f"run {trained.run.id} makes no examples (its task is {kind}): `dlx predict` asks it about examples")
    text = trained.preprocessing.get("target_tokenizer") or trained.preprocessing.get("tokenizer")
    asked = _asked(trained, wanted, text is not None)
    values = _generated(trained, task, asked, wanted.seed)
    if text is not None:
        return Sampled(values, _texts(values, text, wanted.seed, asked.temperature))
    rows = values if asked.steps else _near_square(values, len(wanted.classes))
    title = "Interpolations" if asked.steps else "Samples"
    names = wanted.classes if not asked.steps else ()
    return Sampled(values, Images(title, f"{len(values)} of run {trained.run.id}, seed {wanted.seed}", rows, row_names=names))


def _generated(trained: Trained, task: Generative, asked: Asked, seed: int) -> np.ndarray:
    key = engine.step_key(seed, "sample", 0)
    make = jax.jit(lambda learner, key: task.generate(trained.config, learner, key, asked))
    return np.asarray(make(trained.learner, key))


def _asked(trained: Trained, wanted: Wanted, text: bool) -> Asked:
    if not text and (given := [f"--{name}" for name, there in _of_text(wanted).items() if there]):
        raise UsageError(f"{', '.join(given)}: this network makes images, not text; leave it out")
    if text and wanted.steps:
        raise UsageError("--interpolate: this network makes text, not images; leave it out")
    count = wanted.count or (1 if text else 8 if wanted.classes or wanted.steps else 64)
    classes = None
    if wanted.classes:
        known = trained.preparation.spec.classes
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
