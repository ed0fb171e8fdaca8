"""What a network is given: a number of columns for rows, (height, width, channels) for images, (steps, features) for series, tokens."""

import math
from typing import NamedTuple

from dlx.config.teaches import MAPS
from dlx.errors import ConfigError


class Tokens(NamedTuple):
    """Sequences of tokens, (b, length) int32, each in 0..count - 1; 0 is padding at the end."""

    length: int
    count: int


Features = int | tuple[int, ...] | Tokens


def columns(in_features: Features, kind: str) -> int:
    """The number of values in one example, an image's pixels laid out in a row. Raises `ConfigError` for tokens."""
    if isinstance(in_features, Tokens):
        raise ConfigError(f"model.kind={kind} needs numbers and the data has tokens: {_instead(in_features, kind, 'numbers')}")
    return in_features if isinstance(in_features, int) else math.prod(in_features)


def image(in_features: Features, kind: str) -> tuple[int, int, int]:
    """The (height, width, channels) of the images. Raises `ConfigError` when the examples are not images."""
    if isinstance(in_features, int | Tokens) or len(in_features) != 3:
        raise ConfigError(
            f"model.kind={kind} needs images (height, width, channels) and the data has {_found(in_features)}: "
            f"{_instead(in_features, kind, 'images')}"
        )
    height, width, channels = in_features
    return height, width, channels


def series(in_features: Features, kind: str) -> tuple[int, int]:
    """The (steps, features) of a series of numbers; an image is one row of pixels after the other. Raises `ConfigError` for rows and tokens."""
    if isinstance(in_features, int | Tokens):
        raise ConfigError(
            f"model.kind={kind} needs series (steps, features) and the data has {_found(in_features)}: "
            f"{_instead(in_features, kind, 'series')}"
        )
    return in_features[0], math.prod(in_features[1:])


def _instead(in_features: Features, kind: str, wanted: str) -> str:
    """What to do about it. A model that maps inputs to outputs can be another one; what else is learned suits few."""
    other = f"model.kind={'rnn' if isinstance(in_features, Tokens) else 'mlp'}, or " if kind in MAPS else ""
    return f"use {other}data of {wanted}"


def _found(in_features: Features) -> str:
    if isinstance(in_features, Tokens):
        return f"sequences of {in_features.length} tokens"
    return f"rows of {in_features} columns" if isinstance(in_features, int) else f"arrays of shape {in_features}"
