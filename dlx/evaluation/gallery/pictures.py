"""What a network's work looks like, as plain arrays and words: reports draw them, `dlx sample` writes them. No JAX, no Matplotlib."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Images:
    """A grid of small pictures: samples, reconstructions, filters."""

    title: str
    caption: str
    grid: np.ndarray
    """(rows, columns, height, width, channels) float32 in 0..1, with 1 or 3 channels."""
    row_names: tuple[str, ...] = ()
    column_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class HeatMap:
    """A matrix of numbers from 0 up: attention of output tokens (rows) to input tokens (columns)."""

    title: str
    caption: str
    values: np.ndarray
    """(rows, columns)."""
    row_names: tuple[str, ...]
    column_names: tuple[str, ...]


@dataclass(frozen=True)
class Lines:
    """Curves over one axis: a forecast beside what came."""

    title: str
    caption: str
    x: np.ndarray
    """(points,)."""
    series: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Name to (points,); NaN where there is nothing."""
    x_name: str = ""
    y_name: str = ""


@dataclass(frozen=True)
class Scatter:
    """Points in a plane, by group: codes of an autoencoder."""

    title: str
    caption: str
    points: np.ndarray
    """(n, 2)."""
    groups: np.ndarray
    """(n,) int: which of the names."""
    names: tuple[str, ...]


@dataclass(frozen=True)
class Texts:
    """A table of words: source, reference, translation; generated text."""

    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Picture = Images | HeatMap | Lines | Scatter | Texts


@dataclass(frozen=True)
class Sampled:
    """What was made."""

    values: np.ndarray
    """Images (count, height, width, channels), interpolations (count, steps, height, width, channels) in 0..1, or tokens (count, length)."""
    shown: Images | Texts
    """The same, for eyes."""
    notes: tuple[str, ...] = ()
    """What a person should know of how they came about."""
