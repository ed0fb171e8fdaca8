"""What a network is given: a number of columns for rows, (height, width, channels) for images."""

import math

from dlx.errors import ConfigError

Features = int | tuple[int, ...]


def columns(in_features: Features) -> int:
    """The number of values in one example, an image's pixels laid out in a row."""
    return in_features if isinstance(in_features, int) else math.prod(in_features)


def image(in_features: Features, kind: str) -> tuple[int, int, int]:
    """The (height, width, channels) of the images. Raises `ConfigError` when the examples are not images."""
    if isinstance(in_features, int) or len(in_features) != 3:
        found = f"rows of {in_features} columns" if isinstance(in_features, int) else f"arrays of shape {in_features}"
        raise ConfigError(
            f"model.kind={kind} needs images (height, width, channels) and the data has {found}: "
            "use model.kind=mlp, or data of images"
        )
    height, width, channels = in_features
    return height, width, channels
