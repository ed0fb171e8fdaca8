"""Networks with an energy: Boltzmann machines, alone and in a stack. Layer sizes are structure."""

from typing import Annotated, Literal

from pydantic import Field

from dlx.config.lane import Config, Lane
from dlx.config.model_fields import Width

Visible = Literal["bernoulli", "gaussian"]
Deviation = Annotated[Lane, Field(gt=0)]


class Rbm(Config):
    """A restricted Boltzmann machine (Smolensky 1986; Hinton 2002): visible and binary hidden units, each joined to all of the others."""

    kind: Literal["rbm"] = "rbm"
    hidden: Width = 256
    """Hidden units."""
    visible: Visible = "bernoulli"
    """`bernoulli` for values in 0..1, such as pixels with `data.standardize: false`; `gaussian` for standardized numbers, with a
    deviation of one about their mean (Hinton and Salakhutdinov 2006)."""
    std: Deviation = 0.01
    """The deviation of the first weights (Hinton 2010); biases begin at zero."""


class Dbn(Config):
    """A deep belief network (Hinton, Osindero and Teh 2006): a stack of Boltzmann machines, each on the hidden units of the one below."""

    kind: Literal["dbn"] = "dbn"
    hidden: Annotated[tuple[Width, ...], Field(min_length=1)] = (500, 500)
    """Hidden units of each layer, from the data upwards."""
    visible: Visible = "bernoulli"
    """The units of the data, as in `rbm`; those of the layers above are binary."""
    std: Deviation = 0.01
    """The deviation of the first weights; biases begin at zero."""
