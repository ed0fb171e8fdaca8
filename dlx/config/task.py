"""What is learned and how it is scored. Tagged by `kind`."""

from typing import Annotated, Literal

from pydantic import Field

from dlx.config.adversarial_task import Adversarial as Adversarial
from dlx.config.adversarial_task import Cycle as Cycle
from dlx.config.adversarial_task import Stacked as Stacked
from dlx.config.autoencoder_task import Reconstruct as Reconstruct
from dlx.config.autoencoder_task import Variational as Variational
from dlx.config.energy_task import Belief as Belief
from dlx.config.energy_task import Boltzmann as Boltzmann
from dlx.config.energy_task import Perceptron as Perceptron
from dlx.config.lane import Config, Lane
from dlx.config.language_task import Language as Language
from dlx.config.translation_task import Seq2Seq as Seq2Seq

ClassWeights = Literal["none", "balanced"] | tuple[Annotated[float, Field(gt=0)], ...]


class Classify(Config):
    """One class of several: softmax cross-entropy."""

    kind: Literal["classify"] = "classify"
    label_smoothing: Annotated[Lane, Field(ge=0, lt=1)] = 0.0
    """Share of the target probability that is spread evenly over all classes (Szegedy et al. 2016)."""
    top_k: Annotated[int, Field(ge=2)] | None = None
    """Also report how often the right class is among the k most probable ones."""
    class_weights: ClassWeights = "none"
    """`balanced` weighs each class by n / (classes * count of the class); a list gives one weight per class."""


class Multilabel(Config):
    """Any number of labels at once: a sigmoid and binary cross-entropy for each label."""

    kind: Literal["multilabel"] = "multilabel"
    class_weights: ClassWeights = "none"
    """Weight of each label's positive examples; `balanced` is negatives / positives of the label."""


class Regress(Config):
    """One number or several. Targets are standardized for training; metrics are in the data's own units."""

    kind: Literal["regress"] = "regress"
    loss: Literal["mse", "mae", "huber"] = "mse"
    huber_delta: Annotated[Lane, Field(gt=0)] = 1.0
    """Where the Huber loss turns from quadratic to linear, in standard deviations of the target."""


TaskConfig = Annotated[
    Classify
    | Multilabel
    | Regress
    | Language
    | Seq2Seq
    | Reconstruct
    | Variational
    | Boltzmann
    | Belief
    | Perceptron
    | Adversarial
    | Stacked
    | Cycle,
    Field(discriminator="kind"),
]
