"""Two networks that learn against each other: what each of them minimizes. Tagged by `kind`."""

from typing import Annotated, Literal

from pydantic import Field

from dlx.config.lane import Config, Lane


class Standard(Config):
    """Cross-entropy: real or generated? The generator maximizes what the critic believes of it (non-saturating, Goodfellow et al. 2014)."""

    kind: Literal["standard"] = "standard"
    smoothing: Annotated[Lane, Field(ge=0, lt=0.5)] = 0.0
    """The critic is told that real examples are real with probability 1 - smoothing (one-sided, Salimans et al. 2016)."""


class LeastSquares(Config):
    """Squares of what the critic's score is away from 1 for real and 0 for generated examples (Mao et al. 2017)."""

    kind: Literal["least-squares"] = "least-squares"


class Wasserstein(Config):
    """The difference of the mean scores, by a critic whose weights are clipped (Arjovsky, Chintala and Bottou 2017)."""

    kind: Literal["wasserstein"] = "wasserstein"
    clip: Annotated[Lane, Field(gt=0)] = 0.01
    """After each of its steps all numbers of the critic are cut to -clip..clip."""


class WassersteinGp(Config):
    """The difference of the mean scores, by a critic whose slope between examples is kept at 1 (Gulrajani et al. 2017)."""

    kind: Literal["wasserstein-gp"] = "wasserstein-gp"
    penalty: Annotated[Lane, Field(gt=0)] = 10.0
    """The weight of the mean of (|slope| - 1)^2, on straight lines between real and generated examples."""


AdversarialLoss = Standard | LeastSquares | Wasserstein | WassersteinGp


class RivalsCommon(Config):
    """What all tasks of a generator and a critic have. The generator's learning rate is `optimizer.lr`."""

    critic_steps: Annotated[int, Field(ge=1, le=100)] = 1
    """Steps of the critic before each one of the generator. Each sees its own part of the batch."""
    critic_lr_ratio: Annotated[Lane, Field(gt=0)] = 1.0
    """The critic's learning rate is this many times the generator's (two time scales, Heusel et al. 2017)."""


class Adversarial(RivalsCommon):
    """A generator makes images out of noise, a critic tells them from real ones, and each learns against the other.

    Needs `data.standardize: false`, and a model that has both, such as `dcgan`. With `model.codes` it is InfoGAN (Chen et al. 2016).
    """

    kind: Literal["adversarial"] = "adversarial"
    loss: Annotated[AdversarialLoss, Field(discriminator="kind")] = Standard()
    conditional: bool = False
    """Both networks are told the class of each image (Mirza and Osindero 2014), so that one can be asked for."""


class Stacked(RivalsCommon):
    """Two generators, one after the other: the first draws small images, the second makes large ones of them (Zhang et al. 2017).

    Both are told the class. The second begins when the first has ended, which does not change any more. Needs
    `data.standardize: false` and the model `stackgan`.
    """

    kind: Literal["stacked"] = "stacked"
    loss: Annotated[AdversarialLoss, Field(discriminator="kind")] = Standard()
    first: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """The share of all steps in which the first stage learns."""


class Cycle(RivalsCommon):
    """Two generators, each translating images of one kind into the other, without pairs to learn from (Zhu et al. 2017).

    What is translated there and back must be what it was. Needs `data.kind: unpaired-images`, `data.standardize: false` and the
    model `cyclegan`.
    """

    kind: Literal["cycle"] = "cycle"
    loss: Annotated[Standard | LeastSquares, Field(discriminator="kind")] = LeastSquares()
    cycle: Annotated[Lane, Field(ge=0)] = 10.0
    """The weight of the mean absolute difference after going there and back."""
    identity: Annotated[Lane, Field(ge=0)] = 5.0
    """The weight of the mean absolute change of an image that is of the wanted kind already."""
