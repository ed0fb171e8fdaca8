"""Tiny data and tiny experiments: every program here compiles in about a second and trains in milliseconds."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from dlx import engine
from dlx.config import Experiment, load_experiment, parse_override
from dlx.data import Dataset, Part, Scaling, Spec
from dlx.experiment.assemble import Assembly, assemble


@pytest.fixture(scope="session", autouse=True)
def jax_is_configured() -> None:
    engine.configure()


def draw_rows(count: int, generator: np.random.Generator) -> Part:
    """Three classes of four-column rows around three corners."""
    classes = generator.integers(0, 3, count)
    corners = np.eye(3, 4) * 2
    return Part((corners[classes] + generator.normal(size=(count, 4))).astype(np.float32), classes.astype(np.int32))


@pytest.fixture(scope="session")
def rows() -> Dataset:
    """Rows of three classes: 128 to train on, 40 to validate, 33 to test (none a multiple of a batch)."""
    generator = np.random.Generator(np.random.Philox(7))
    parts = [draw_rows(count, generator) for count in (128, 40, 33)]
    spec = Spec((4,), "class", 3, ("a", "b", "c"), tuple(np.bincount(parts[0].targets).tolist()), ("kind",), (), (), 128)
    return Dataset("rows", spec, *parts, Scaling(np.zeros(4, np.float32), np.ones(4, np.float32)), {}, ())


@pytest.fixture(scope="session")
def images() -> Dataset:
    """8x8 grey images of two classes: a bright left or a bright right half."""
    generator = np.random.Generator(np.random.Philox(8))

    def draw(count: int) -> Part:
        classes = generator.integers(0, 2, count)
        pixels = generator.integers(0, 120, (count, 8, 8, 1))
        pixels[classes == 0, :, :4] += 100
        pixels[classes == 1, :, 4:] += 100
        return Part(pixels.astype(np.uint8), classes.astype(np.int32))

    parts = [draw(count) for count in (64, 20, 20)]
    spec = Spec((8, 8, 1), "class", 2, ("left", "right"), tuple(np.bincount(parts[0].targets).tolist()), ("side",), (), (), 64)
    scaling = Scaling(np.full(1, 110, np.float32), np.full(1, 1 / 60, np.float32))
    return Dataset("images", spec, *parts, scaling, {}, ())


BASE = {
    "task": {"kind": "classify"},
    "data": {"kind": "digits"},
    "model": {"kind": "mlp", "hidden": [8], "normalization": "batch", "dropout": 0.2},
    "optimizer": {"kind": "adamw", "lr": 1e-2},
    "schedule": {"kind": "cosine"},
    "train": {"duration": "20 steps", "batch_size": 16, "evaluate_every": "5 steps"},
}


@pytest.fixture(scope="session")
def experiment() -> Callable[..., Experiment]:
    """`experiment("optimizer.lr=0.1")`: the base config under overrides."""

    def make(*overrides: str) -> Experiment:
        return load_experiment(BASE, [parse_override(text) for text in overrides])

    return make


@pytest.fixture(scope="session")
def cohort(rows: Dataset) -> Callable[..., Assembly]:
    """`cohort([config, ...])`: those lanes on the rows (or on other data)."""

    def make(configs: Sequence[Experiment], dataset: Dataset = rows, stream: bool | None = None) -> Assembly:
        return assemble(configs, dataset, stream=stream)

    return make
