"""Weights that are averaged along the way. The average is what is evaluated and kept as best, beside the raw weights."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dlx.config.duration import Duration, StepDuration
from dlx.config.lane import Config, Lane


class NoAveraging(Config):
    """The weights themselves."""

    kind: Literal["none"] = "none"


class Ema(Config):
    """An exponential moving average of the weights and of their running statistics, after every step.

    Its decay grows from 0.1 as (1 + t) / (10 + t) up to `decay`, so that the first weights are soon forgotten.
    """

    kind: Literal["ema"] = "ema"
    decay: Annotated[Lane, Field(ge=0, lt=1)] = 0.999


class Swa(Config):
    """Stochastic weight averaging (Izmailov et al. 2018): the mean of the weights at the end of every cycle of the last part.

    The running statistics of batch normalization are measured anew for the average, on training examples.
    """

    kind: Literal["swa"] = "swa"
    start: Annotated[Lane, Field(ge=0, lt=1)] = 0.75
    """The share of all steps after which averaging begins."""
    every: StepDuration = Duration(1, "epochs")
    """The length of a cycle, c. Weights join the average at its end."""
    rate: Annotated[Lane, Field(gt=0, le=1)] | None = 0.2
    """From `start` on the rate is this part of the peak, whatever the schedule says; null leaves the schedule alone."""
    lowest: Annotated[Lane, Field(ge=0, le=1)] | None = None
    """Where the rate falls to within each cycle, as a part of the peak; null is a constant rate."""

    @model_validator(mode="after")
    def _cycles_have_a_rate(self) -> "Swa":
        if self.rate is None and self.lowest is not None:
            raise ValueError("lowest is where each cycle's rate falls to: give rate too, or leave lowest out")
        return self


class Lookahead(Config):
    """Slow weights that go a part of the way of fast ones, which then begin again from there (Zhang et al. 2019)."""

    kind: Literal["lookahead"] = "lookahead"
    every: Annotated[int, Field(ge=1)] = 5
    """Steps of the fast weights, k."""
    slow_step: Annotated[Lane, Field(gt=0, le=1)] = 0.5
    """How far the slow weights go, alpha."""


AveragingConfig = Annotated[NoAveraging | Ema | Swa | Lookahead, Field(discriminator="kind")]
