"""What a gradient check is asked, and what it found. Plain numbers: the views read this without JAX."""

from dataclasses import dataclass
from typing import Final, Literal

from dlx.diagnose.differences import LeafReading, Verdict, tolerance

Dtype = Literal["float64", "float32", "bfloat16"]
EPSILON: Final = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
"""The distance from 1 to the next number."""
Mode = Literal["training", "evaluation", "both"]


@dataclass(frozen=True)
class GradCheck:
    """What is to be checked, and how."""

    dtype: Dtype = "float64"
    """What the gradient is computed in. The losses that it is compared with always are in float64."""
    order: Literal[1, 2] = 1
    """2: the gradient of the loss's slope along a random direction, as a gradient penalty needs it."""
    full: bool = False
    """Every coordinate of every leaf, in place of random directions."""
    directions: int = 4
    batch: int = 8
    """Examples."""


@dataclass(frozen=True)
class LeafFound:
    """One parameter, or the inputs."""

    name: str
    shape: tuple[int, ...]
    reading: LeafReading
    """That of the point which decides."""
    analytic: float
    """The norm of the gradient, by its slopes along the directions; exact where they are all coordinates."""
    numeric: float
    """The same of the differences."""


@dataclass(frozen=True)
class ModeFound:
    """The loss in one mode."""

    mode: Mode
    """`both`: dropout, augmentation and statistics make no difference."""
    dtype: str
    """The coarsest type that the gradient is computed in: that of the check, unless the network casts by itself."""
    loss: float
    leaves: tuple[LeafFound, ...]
    forward: float | None
    """The largest relative difference between the gradient and forward mode, which sets custom reverse rules aside. None: there
    is no forward mode."""
    forward_said: str
    """Why there is no forward mode."""
    apart: float
    """How far two evaluations of the same loss and gradient lie apart, relative to their greatest number. What is more than the
    tolerance is not looked at any further: there are no leaves then."""
    apart_said: str
    """What differs; empty if nothing does, to the last bit."""
    estimators: int
    """Straight-through estimators in the loss: what they add to their surrogates is held still while losses are compared."""

    @property
    def tolerance(self) -> float:
        """The largest relative error that passes."""
        return tolerance(EPSILON[self.dtype])

    @property
    def ok(self) -> bool:
        """No leaf is wrong, forward mode agrees, and the loss is the same twice."""
        agrees = self.forward is None or self.forward <= self.tolerance
        return agrees and self.apart <= self.tolerance and not self.count("wrong")

    def count(self, verdict: Verdict) -> int:
        """How many leaves have it."""
        return sum(leaf.reading.verdict == verdict for leaf in self.leaves)


@dataclass(frozen=True)
class GradientsFound:
    """What was found of one experiment."""

    check: GradCheck
    parameters: int
    modes: tuple[ModeFound, ...]

    @property
    def ok(self) -> bool:
        """Nothing is wrong in any mode."""
        return all(mode.ok for mode in self.modes)
