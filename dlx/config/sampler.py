"""What proposes the trials of a sweep, in Optuna's words. Every option is here: Optuna changes its defaults."""

from typing import Annotated, Literal

from pydantic import Field

from dlx.config.lane import Config

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class RandomSampler(Config):
    """Independent random values (Bergstra and Bengio 2012)."""

    kind: Literal["random"] = "random"
    seed: Seed = 0


class GridSampler(Config):
    """Every combination once."""

    kind: Literal["grid"] = "grid"


class QmcSampler(Config):
    """A scrambled Sobol sequence, which covers the space more evenly than random values (Sobol 1967, Owen 1998)."""

    kind: Literal["qmc"] = "qmc"
    seed: Seed = 0


class TpeSampler(Config):
    """Tree-structured Parzen estimator (Bergstra et al. 2011)."""

    kind: Literal["tpe"] = "tpe"
    seed: Seed = 0
    startup_trials: Count = 10
    """Random trials before the first estimate."""
    candidates: Count = 24
    """Values drawn for each proposal; the one with the highest expected improvement is taken."""
    multivariate: bool = True
    """Estimate all dimensions jointly (Falkner et al. 2018)."""


class CmaEsSampler(Config):
    """Covariance matrix adaptation (Hansen and Ostermeier 2001). Searches numbers; choices are random."""

    kind: Literal["cmaes"] = "cmaes"
    seed: Seed = 0
    startup_trials: Count = 1
    """Random trials before the first generation."""
    population: Annotated[int, Field(ge=4)] | None = None
    """Trials of a generation: 4 + 3 ln(dimensions) unless given."""
    margin: bool = False
    """Keep whole numbers from collapsing (Hamano et al. 2022)."""


class Nsga2Sampler(Config):
    """Nondominated sorting genetic algorithm (Deb et al. 2002), for several objectives."""

    kind: Literal["nsga2"] = "nsga2"
    seed: Seed = 0
    population: Annotated[int, Field(ge=2)] = 50
    """Trials of a generation."""
    mutation: Share | None = None
    """Probability that a value is drawn anew: 1 / dimensions unless given."""
    crossover: Share = 0.9
    """Probability that a trial has two parents."""
    swapping: Share = 0.5
    """Probability that a value comes from the second parent."""


class GpSampler(Config):
    """Gaussian process with expected improvement in the logarithm (Ament et al. 2023). Needs PyTorch: `dlx[gp]`."""

    kind: Literal["gp"] = "gp"
    seed: Seed = 0
    startup_trials: Count = 10
    """Random trials before the first estimate."""


class PbtSampler(Config):
    """Population-based training (Jaderberg et al. 2017): all trials train at once, and at every interval the worst take over
    the weights of the best, with their values a little changed. Searches values that choose no program.
    """

    kind: Literal["pbt"] = "pbt"
    seed: Seed = 0
    interval: Count = 1
    """Evaluations from one exchange to the next."""
    quantile: Annotated[float, Field(gt=0, le=0.5)] = 0.25
    """The share of the population that is replaced, and the share that it is replaced by."""
    resample: Share = 0.25
    """Probability that a value is drawn anew; else it is multiplied by a factor."""
    factors: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (0.8, 1.25)


SamplerConfig = Annotated[
    RandomSampler | GridSampler | QmcSampler | TpeSampler | CmaEsSampler | Nsga2Sampler | GpSampler | PbtSampler,
    Field(discriminator="kind"),
]
