"""What a comparison of runs found: plain numbers, for the table and JSON. No JAX here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dlx.evaluation.results import Measure

Verdict = Literal["better", "worse", "unclear"]
"""`unclear`: no difference that these examples (and seeds) can show; which is not to say that there is none."""
Method = Literal["mcnemar", "bootstrap", "bootstrap over examples and seeds"]


@dataclass(frozen=True)
class Difference:
    """A candidate's metric minus that of the best candidate."""

    value: float
    low: float
    high: float
    """Limits of the 95 % interval of this one difference."""
    p: float
    """Two-sided, of this one difference."""
    p_corrected: float
    """Corrected by Holm for all pairs of candidates, since the best of them was chosen by looking; with two the same as p."""
    method: Method
    discordant: tuple[int, int] | None
    """For McNemar's test: how many examples only this candidate has right, and how many only the best one."""


@dataclass(frozen=True)
class Candidate:
    """One configuration with all its seeds, or one network."""

    name: str
    """As it is shown: the run's name or id; unlike those of the others."""
    runs: tuple[str, ...]
    """Ids, one for each seed."""
    values: tuple[float, ...]
    """The metric of each of them."""
    measure: Measure
    """The mean over seeds, with the 95 % interval."""
    deviation: float | None
    """The standard deviation over seeds; None for a single one."""
    config: Mapping[str, Any]
    """The resolved experiment of the first run."""
    difference: Difference | None
    """None for the best candidate."""
    verdict: Verdict
    """Against the best; of the best itself `better` where all the others are worse, else `unclear`."""


@dataclass(frozen=True)
class Comparison:
    """Runs judged on the same examples, the best first."""

    metric: str
    maximize: bool
    split: str
    examples: int
    resamples: int
    candidates: tuple[Candidate, ...]
    seeds_matter: bool
    """Whether the luck of the seed is in the intervals; if not, they tell of these networks alone."""
    notes: tuple[str, ...]
    """One sentence each: what the comparison does not tell, what was left out."""
