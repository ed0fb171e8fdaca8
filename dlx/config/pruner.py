"""Which trials of a sweep are stopped early. Steps and resources count evaluations, and the first evaluation is 1.

The names and defaults are Optuna's. What is compared is the best value of the objective so far.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dlx.config.lane import Config
from dlx.config.sampler import Count

NotNegative = Annotated[int, Field(ge=0)]
Factor = Annotated[int, Field(ge=2)]


class Regular(Config):
    """What a pruner with evenly spaced comparisons has."""

    warmup_steps: NotNegative = 0
    """Evaluations at the beginning of a trial that are never compared."""
    interval_steps: Count = 1
    """Evaluations from one comparison to the next."""


class NoPruner(Config):
    """Every trial runs to its end."""

    kind: Literal["none"] = "none"


class MedianPruner(Regular):
    """Stops what is worse than the median of all trials at the same evaluation (Golovin et al. 2017)."""

    kind: Literal["median"] = "median"
    startup_trials: NotNegative = 5
    """Nothing is stopped while fewer trials than this can be compared."""


class PercentilePruner(Regular):
    """Stops what is not among the best `percentile` per cent of all trials at the same evaluation."""

    kind: Literal["percentile"] = "percentile"
    percentile: Annotated[float, Field(gt=0, lt=100)] = 25.0
    """The share that survives; 50 is the median pruner."""
    startup_trials: NotNegative = 5
    """Nothing is stopped while fewer trials than this can be compared."""


class HalvingPruner(Config):
    """Keeps the best 1 / reduction_factor at rungs that grow by that factor (Karnin et al. 2013, Jamieson and Talwalkar 2016).

    A trial is compared with all that have reached its rung so far, as in ASHA (Li et al. 2018).
    """

    kind: Literal["successive_halving"] = "successive_halving"
    min_resource: Count | None = None
    """The evaluation of the first rung; by default all evaluations // reduction_factor**3, at least 1."""
    reduction_factor: Factor = 3
    min_early_stopping_rate: NotNegative = 0
    """How many of the first rungs are left out."""


class HyperbandPruner(Config):
    """Successive halving in several brackets, each of which lets its trials run longer before the first rung (Li et al. 2018)."""

    kind: Literal["hyperband"] = "hyperband"
    min_resource: Count | None = None
    """The first rung of the first bracket; by default all evaluations // reduction_factor**4, at least 1: five brackets."""
    reduction_factor: Factor = 3


class ThresholdPruner(Regular):
    """Stops what lies outside of two limits, or is NaN."""

    kind: Literal["threshold"] = "threshold"
    lower: float | None = None
    """The lowest value that goes on."""
    upper: float | None = None
    """The highest value that goes on."""

    @model_validator(mode="after")
    def _limits(self) -> "ThresholdPruner":
        if self.lower is None and self.upper is None:
            raise ValueError("there is no limit: write lower, upper or both")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ValueError(f"lower is {self.lower} and upper is {self.upper}: lower must be below upper")
        return self


class PatientPruner(Config):
    """Lets another pruner stop only what has not improved for a while. Without another, that alone stops a trial."""

    kind: Literal["patient"] = "patient"
    wrapped: Annotated[
        NoPruner | MedianPruner | PercentilePruner | HalvingPruner | HyperbandPruner | ThresholdPruner,
        Field(discriminator="kind"),
    ] = NoPruner()
    """The other pruner."""
    patience: NotNegative
    """How many evaluations a trial may go without improving; 0 is as 1."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """An improvement is one by more than this."""


PrunerConfig = Annotated[
    NoPruner | MedianPruner | PercentilePruner | HalvingPruner | HyperbandPruner | ThresholdPruner | PatientPruner,
    Field(discriminator="kind"),
]
