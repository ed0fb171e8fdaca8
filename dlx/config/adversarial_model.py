"""Networks of two players, a generator and a critic. Tagged by `kind`; layer sizes are structure, rates and weights are `Lane`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dlx.config.lane import Config, Lane
from dlx.config.model_fields import Normalization, Rate, Width

Channels = Annotated[int, Field(ge=1, le=4096)]


class Codes(Config):
    """Codes beside the noise, which the critic reads off the image, so that they come to mean something (InfoGAN, Chen et al. 2016)."""

    categorical: tuple[Annotated[int, Field(ge=2, le=1000)], ...] = (10,)
    """How many values each code of one of several values has."""
    continuous: Annotated[int, Field(ge=0, le=100)] = 2
    """How many codes are numbers, uniform on -1..1."""
    weight: Annotated[Lane, Field(ge=0)] = 1.0
    """Of the mutual information in both losses, lambda."""

    @model_validator(mode="after")
    def _some_code(self) -> "Codes":
        if not self.categorical and not self.continuous:
            raise ValueError("there is no code: give categorical or continuous ones, or set model.codes=null")
        return self


class AdversaryCommon(Config):
    """What all generators of noise have."""

    latent: Width = 64
    """Numbers of noise, normally distributed, that an image is made of."""
    generator_normalization: Normalization = "batch"
    critic_normalization: Normalization = "none"
    critic_dropout: Rate = 0.0
    """After each hidden layer of the critic."""


class Gan(AdversaryCommon):
    """Fully connected generator and critic (Goodfellow et al. 2014)."""

    kind: Literal["gan"] = "gan"
    hidden: tuple[Width, ...] = (256, 512)
    """Of the generator."""
    critic_hidden: tuple[Width, ...] = (512, 256)
    codes: Codes | None = None


class Dcgan(AdversaryCommon):
    """Convolutions with stride 2 in the critic, transposed ones in the generator (Radford, Metz and Chintala 2016).

    A class is told to the generator beside the noise, and to the critic by projection (Miyato and Koyama 2018).
    """

    kind: Literal["dcgan"] = "dcgan"
    channels: tuple[Channels, ...] = (128, 64)
    """Of the feature maps, from the smallest to the largest: each is twice as high and wide as the one before, the image twice
    as large as the last."""
    critic_normalization: Normalization = "batch"
    codes: Codes | None = None


class StackGan(AdversaryCommon):
    """Two generators and two critics of `dcgan`'s kind: images of half the size, and whole ones made of them (Zhang et al. 2017)."""

    kind: Literal["stackgan"] = "stackgan"
    channels: tuple[Channels, ...] = (64,)
    """Of the first stage's feature maps, from the smallest to the largest; its images are half as high and wide as the data's."""
    refine: Channels = 32
    """Of the second stage's feature maps at half size."""
    blocks: Annotated[int, Field(ge=0, le=16)] = 2
    """Residual blocks of the second stage, at half size."""


class CycleGan(Config):
    """Two residual generators with instance normalization and two critics of patches (Zhu et al. 2017)."""

    kind: Literal["cyclegan"] = "cyclegan"
    channels: Channels = 32
    """Of the generators' first and last feature maps; each halving doubles them."""
    halvings: Annotated[int, Field(ge=0, le=4)] = 2
    """How often the generators halve the image before the blocks and double it after them."""
    blocks: Annotated[int, Field(ge=0, le=32)] = 3
    """Residual blocks of each generator."""
    critic_channels: tuple[Channels, ...] = (32, 64)
    """Of the critics' feature maps, each half the size of the one before."""
