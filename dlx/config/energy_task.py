"""Learning rules of machines with an energy, and the oldest one of networks, the perceptron's."""

from typing import Annotated, Literal

from pydantic import Field

from dlx.config.lane import Config, Lane

Binarize = Literal["none", "threshold", "sample"]


class Boltzmann(Config):
    """Contrastive divergence (Hinton 2002): the free energy of the data falls, that of what the machine makes of them rises.

    Learns the data alone, without targets. For the model `rbm`.
    """

    kind: Literal["boltzmann"] = "boltzmann"
    steps: Annotated[int, Field(ge=1, le=1000)] = 1
    """Gibbs steps from the data, or from where the chains stand, to the samples: the k of CD-k."""
    persistent: bool = False
    """Chains go on from step to step in place of beginning at the data (PCD, Tieleman 2008), as many as a batch has examples."""
    binarize: Binarize = "none"
    """What becomes of values in 0..1: `none` takes them for probabilities, as scikit-learn does, `threshold` cuts at one half, `sample`
    draws 0 or 1 by them anew each time."""
    sparsity_target: Annotated[Lane, Field(gt=0, lt=1)] | None = None
    """How often each hidden unit should be on (Lee, Ekanadham and Ng 2008)."""
    sparsity_cost: Annotated[Lane, Field(ge=0)] = 1.0
    """Weight of the squared distances to `sparsity_target`, summed over the hidden units."""


class Belief(Config):
    """Greedy pre-training of a deep belief network (Hinton, Osindero and Teh 2006), one layer after the other by contrastive divergence.

    Each layer has an equal share of the run's steps, and the whole schedule in it. For the model `dbn`.
    """

    kind: Literal["belief"] = "belief"
    steps: Annotated[int, Field(ge=1, le=1000)] = 1
    """Gibbs steps from the data to the samples: the k of CD-k."""
    binarize: Binarize = "none"
    """What becomes of values in 0..1, as in `boltzmann`. Layers above the first see probabilities."""


class Perceptron(Config):
    """The perceptron's rule (Rosenblatt 1958), of several classes: a wrong guess moves the right row up by the input, the guessed one down.

    With `optimizer: {kind: sgd, lr: 1.0}`, `train.batch_size: 1` and the model `linear` it is the rule of the paper.
    """

    kind: Literal["perceptron"] = "perceptron"
