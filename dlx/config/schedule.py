"""How the learning rate moves during the run. `optimizer.lr` is the peak; a schedule multiplies it. All count steps."""

from typing import Annotated, Literal

from pydantic import Field

from dlx.config.duration import Duration, StepDuration
from dlx.config.lane import Config, Lane

Fraction = Annotated[Lane, Field(ge=0, le=1)]


class Constant(Config):
    """The same rate at every step."""

    kind: Literal["constant"] = "constant"


class Cosine(Config):
    """Half a cosine from the peak down to `final` times the peak (Loshchilov and Hutter 2017, without restarts)."""

    kind: Literal["cosine"] = "cosine"
    final: Fraction = 0.0


class WarmupCosine(Config):
    """A linear rise over the first `warmup` of all steps, then a cosine down to `final` times the peak."""

    kind: Literal["warmup-cosine"] = "warmup-cosine"
    warmup: Fraction = 0.1
    final: Fraction = 0.0


class Step(Config):
    """Multiplies the rate by `factor` after every `every`."""

    kind: Literal["step"] = "step"
    every: StepDuration = Duration(10, "epochs")
    factor: Annotated[Lane, Field(gt=0, le=1)] = 0.1


class Exponential(Config):
    """A smooth decay by `factor` per `every`: lr * factor ** (t / every)."""

    kind: Literal["exponential"] = "exponential"
    every: StepDuration = Duration(1, "epochs")
    factor: Annotated[Lane, Field(gt=0, le=1)] = 0.95


ScheduleConfig = Annotated[Constant | Cosine | WarmupCosine | Step | Exponential, Field(discriminator="kind")]
