"""What all data sources have in common: shares, order, and random changes to training examples."""

from typing import Annotated, Literal

from pydantic import Field

from dlx.config.lane import Config, Lane


class Flip(Config):
    """Mirrors each image left to right with probability one half."""

    kind: Literal["flip"] = "flip"


class Shift(Config):
    """Moves each image by up to `pixels` in each direction; the border takes each channel's lowest value in the batch."""

    kind: Literal["shift"] = "shift"
    pixels: Annotated[int, Field(ge=1, le=32)] = 2


class Noise(Config):
    """Adds Gaussian noise of standard deviation `std`, in units of the standardized input."""

    kind: Literal["noise"] = "noise"
    std: Annotated[Lane, Field(ge=0)] = 0.1


Augment = Annotated[Flip | Shift | Noise, Field(discriminator="kind")]


class DataCommon(Config):
    """The fields of every data source."""

    validation: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the training part that is held out to choose the best checkpoint."""
    test: Annotated[float, Field(ge=0, lt=1)] = 0.15
    """Share of all examples that is held out as the test part. Ignored where the source has an official test part."""
    standardize: bool = True
    """Subtract the mean and divide by the standard deviation, both taken from the training part alone."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Decides the split and the order of the batches."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Use only so many training examples (a stratified draw), for quick looks."""
    augment: tuple[Augment, ...] = ()
    """Random changes to each training image or row, drawn anew each step."""
