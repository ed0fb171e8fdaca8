"""Learning what examples are made of, without being told what they are: autoencoders, plain and variational."""

from typing import Annotated, Literal

from pydantic import Field

from dlx.config.lane import Config, Lane


class NoNoise(Config):
    """Inputs as they are."""

    kind: Literal["none"] = "none"


class GaussianNoise(Config):
    """Adds normal noise to every number."""

    kind: Literal["gaussian"] = "gaussian"
    std: Annotated[Lane, Field(gt=0)] = 0.3
    """In units of what the network sees: pixels in 0..1 where `data.standardize` is false."""


class MaskingNoise(Config):
    """Sets numbers to 0, drawn anew for each example."""

    kind: Literal["masking"] = "masking"
    share: Annotated[Lane, Field(gt=0, lt=1)] = 0.25


class NotSparse(Config):
    """Codes as they come."""

    kind: Literal["none"] = "none"


class L1Sparsity(Config):
    """Punishes the sum of the code's absolute values, in the mean over the examples."""

    kind: Literal["l1"] = "l1"
    weight: Annotated[Lane, Field(ge=0)] = 1e-4


class KlSparsity(Config):
    """Punishes units of the code that are active more or less often than `target` (Ng 2011): the sum of KL(target || mean of the batch).

    The units are sigmoids: `model.code_activation: sigmoid`.
    """

    kind: Literal["kl"] = "kl"
    target: Annotated[Lane, Field(gt=0, lt=1)] = 0.05
    weight: Annotated[Lane, Field(ge=0)] = 1e-2


class Reconstruct(Config):
    """An autoencoder: the example again, through a code. With `noise` a denoising one (Vincent et al. 2008)."""

    kind: Literal["reconstruct"] = "reconstruct"
    loss: Literal["mse", "cross-entropy"] = "mse"
    """Of each number, in the mean. Cross-entropy takes numbers in 0..1 for probabilities."""
    noise: Annotated[NoNoise | GaussianNoise | MaskingNoise, Field(discriminator="kind")] = NoNoise()
    """What is done to the inputs, from which the clean ones are to be made again; in evaluation too."""
    sparsity: Annotated[NotSparse | L1Sparsity | KlSparsity, Field(discriminator="kind")] = NotSparse()


class Bernoulli(Config):
    """Every number is black or white: p(x | z) is the product of the pixels' probabilities. For inputs in 0..1."""

    kind: Literal["bernoulli"] = "bernoulli"
    binarize: Literal["none", "threshold", "sample"] = "sample"
    """`sample` draws each pixel with its value as probability, anew at every step (Burda et al. 2016); `threshold` cuts at one
    half; `none` leaves the greys, whose ELBO then bounds no likelihood of theirs."""


class Gaussian(Config):
    """Every number is normal around what the decoder says."""

    kind: Literal["gaussian"] = "gaussian"
    std: Annotated[Lane, Field(gt=0)] = 0.1
    """Of all numbers alike, in units of what the network sees."""


class Variational(Config):
    """A variational autoencoder (Kingma and Welling 2014): maximizes a lower bound of the log-likelihood, the ELBO, with one sample."""

    kind: Literal["vae"] = "vae"
    likelihood: Annotated[Bernoulli | Gaussian, Field(discriminator="kind")] = Bernoulli()
    beta: Annotated[Lane, Field(ge=0)] = 1.0
    """The weight of the KL divergence in the loss (Higgins et al. 2017); the metric `elbo` always has 1."""
    warmup: Annotated[Lane, Field(ge=0, le=1)] = 0.0
    """The share of the training in which that weight rises from 0 to `beta` (Bowman et al. 2016)."""
    conditional: bool = False
    """Tells encoder and decoder the class of each example (Sohn, Lee and Yan 2015)."""
