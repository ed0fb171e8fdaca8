"""How the learning rate moves during the run. `optimizer.lr` is the peak; a schedule multiplies it. All count steps.

`warmup` puts a linear rise before any of them; what follows is stretched over the steps that are left.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dlx.config.duration import Duration, StepDuration
from dlx.config.lane import Config, Lane, LaneInt

Fraction = Annotated[Lane, Field(ge=0, le=1)]
Factor = Annotated[Lane, Field(gt=0, le=1)]


class Schedule(Config):
    """What every schedule has."""

    warmup: Fraction = 0.0
    """The share of all steps in which the rate rises linearly, before the schedule begins."""


class Constant(Schedule):
    """The same rate at every step."""

    kind: Literal["constant"] = "constant"


class Linear(Schedule):
    """A straight line from the peak down to `final` times the peak; with the default it ends at zero."""

    kind: Literal["linear"] = "linear"
    final: Fraction = 0.0


class Polynomial(Schedule):
    """The peak times (1 - t / T) ** power, from 1 down to `final`."""

    kind: Literal["polynomial"] = "polynomial"
    power: Annotated[Lane, Field(gt=0)] = 2.0
    final: Fraction = 0.0


class Cosine(Schedule):
    """Half a cosine from the peak down to `final` times the peak (Loshchilov and Hutter 2017, without restarts)."""

    kind: Literal["cosine"] = "cosine"
    final: Fraction = 0.0


class WarmupCosine(Schedule):
    """`cosine` with a warm-up over a tenth of all steps, where nothing else is said."""

    kind: Literal["warmup-cosine"] = "warmup-cosine"
    warmup: Fraction = 0.1
    final: Fraction = 0.0


class Step(Schedule):
    """Multiplies the rate by `factor` after every `every`."""

    kind: Literal["step"] = "step"
    every: StepDuration = Duration(10, "epochs")
    factor: Factor = 0.1


class Multistep(Schedule):
    """Multiplies the rate by `factor` at each of the `milestones`."""

    kind: Literal["multistep"] = "multistep"
    milestones: Annotated[tuple[StepDuration, ...], Field(min_length=1)]
    factor: Factor = 0.1


class Exponential(Schedule):
    """A smooth decay by `factor` per `every`: lr * factor ** (t / every)."""

    kind: Literal["exponential"] = "exponential"
    every: StepDuration = Duration(1, "epochs")
    factor: Factor = 0.95


class InverseSqrt(Schedule):
    """lr * sqrt(s / (s + t)) with s = `timescale`. With a warm-up as long as s this is the Transformer's (Vaswani et al. 2017)."""

    kind: Literal["inverse-sqrt"] = "inverse-sqrt"
    timescale: StepDuration = Duration(1, "epochs")


class Sgdr(Schedule):
    """Cosines with warm restarts: each falls from the peak to `final`, over a period `multiplier` times as long as the one before.

    Loshchilov and Hutter 2017, equation 5.
    """

    kind: Literal["sgdr"] = "sgdr"
    period: StepDuration = Duration(10, "epochs")
    """The length of the first cosine, T_0."""
    multiplier: Annotated[int, Field(ge=1)] = 1
    """T_mult."""
    final: Fraction = 0.0


class Triangular(Schedule):
    """Straight up from `base` to the peak and down again, over and over (Smith 2015).

    `triangular2` halves the height of each triangle, `exp_range` multiplies it by gamma ** t.
    """

    kind: Literal["triangular", "triangular2", "exp_range"] = "triangular"
    half_cycle: StepDuration = Duration(4, "epochs")
    """Steps from the base to the peak: Smith's stepsize, 2 to 10 epochs."""
    base: Fraction = 0.25
    """The lowest rate, as a part of the peak."""
    gamma: Factor = 0.9999
    """Of `exp_range`, per step."""


class OneCycle(Schedule):
    """Up to the peak, then down far below where it began, with momentum going the other way (Smith 2018).

    As PyTorch's OneCycleLR: the rate begins at the peak / `div` and ends at that / `final_div`. With `three_phase` it falls to
    the first rate in as many steps as it rose, and to the last one in what is left.
    """

    kind: Literal["onecycle"] = "onecycle"
    rise: Annotated[Lane, Field(gt=0, lt=1)] = 0.3
    """The share of the steps that go up."""
    div: Annotated[Lane, Field(ge=1)] = 25.0
    final_div: Annotated[Lane, Field(ge=1)] = 1e4
    anneal: Literal["cosine", "linear"] = "cosine"
    three_phase: bool = False
    cycle_momentum: bool = True
    """Whether the momentum (of Adam and its kin: b1) goes from `high_momentum` down to `low_momentum` and back."""
    low_momentum: Annotated[Lane, Field(ge=0, lt=1)] = 0.85
    high_momentum: Annotated[Lane, Field(ge=0, lt=1)] = 0.95

    @model_validator(mode="after")
    def _phases_fit(self) -> "OneCycle":
        if self.three_phase and self.rise > 0.5:
            raise ValueError(
                f"rise {self.rise:g}: with three_phase the rate falls for as long as it rises, so that is at most 0.5"
            )
        return self


class WarmupStableDecay(Schedule):
    """A warm-up, the peak for most of the time, and a straight fall to `final` in the last `decay` of all steps (Hu et al. 2024)."""

    kind: Literal["warmup-stable-decay"] = "warmup-stable-decay"
    warmup: Fraction = 0.05
    decay: Fraction = 0.2
    final: Fraction = 0.0

    @model_validator(mode="after")
    def _phases_fit(self) -> "WarmupStableDecay":
        if self.warmup + self.decay > 1:
            raise ValueError(f"warmup {self.warmup:g} and decay {self.decay:g} are more than all steps: their sum is at most 1")
        return self


class ReduceOnPlateau(Schedule):
    """The peak, multiplied by `factor` whenever the monitored metric has not become better for more than `patience` evaluations.

    As PyTorch's ReduceLROnPlateau, but counted in evaluations of the validation part (`train.evaluate_every`).
    """

    kind: Literal["reduce-on-plateau"] = "reduce-on-plateau"
    factor: Annotated[Lane, Field(gt=0, lt=1)] = 0.1
    patience: Annotated[LaneInt, Field(ge=0)] = 10
    threshold: Annotated[Lane, Field(ge=0)] = 1e-4
    """Better is by more than this part of the best value so far."""
    cooldown: Annotated[LaneInt, Field(ge=0)] = 0
    """Evaluations after a reduction in which none is counted."""
    lowest: Fraction = 0.0
    """No reduction goes below this part of the peak."""


class ScheduleFree(Schedule):
    """No decay: the average of the weights takes its place (Defazio et al. 2024). With sgd, adam or adamw, without their momentum.

    Gradients are taken between the fast weights and their average, which is what is judged.
    """

    kind: Literal["schedule-free"] = "schedule-free"
    b1: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """How near to the average gradients are taken. It cannot change on the way: the weights would have to move."""


class Ramp(Schedule):
    """From the first rate, `optimizer.lr`, up to `to` times it in the last step: the ladder of a range test."""

    kind: Literal["ramp"] = "ramp"
    to: Annotated[Lane, Field(gt=0)] = 1e3
    shape: Literal["exponential", "linear"] = "exponential"


ScheduleConfig = Annotated[
    Constant
    | Linear
    | Polynomial
    | Cosine
    | WarmupCosine
    | Step
    | Multistep
    | Exponential
    | InverseSqrt
    | Sgdr
    | Triangular
    | OneCycle
    | WarmupStableDecay
    | ReduceOnPlateau
    | ScheduleFree
    | Ramp,
    Field(discriminator="kind"),
]
