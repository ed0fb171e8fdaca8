"""How long, how fast, how exact: the loop's own numbers."""

from typing import Annotated, Literal

from pydantic import Field

from dlx.config.duration import Duration, StepDuration
from dlx.config.lane import Config, LaneInt


class Train(Config):
    """The training loop."""

    duration: StepDuration = Duration(30, "epochs")
    """How long to train: `30 epochs` or `2000 steps`."""
    batch_size: Annotated[int, Field(ge=1)] | Literal["full", "auto"] = 64
    """Examples per step; `full` is the whole training part, `auto` is 64 or a quarter of a smaller training part."""
    seed: Annotated[LaneInt, Field(ge=0, lt=2**32)] = 0
    """Decides the initial parameters, dropout and augmentation. (`data.seed` decides split and order.)"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What the network computes in. Parameters and the optimizer are always float32."""
    evaluate_every: StepDuration = Duration(1, "epochs")
    """How often the validation part is scored."""
    checkpoint_every: Duration = Duration(30, "seconds")
    """How much work a kill -9 may cost; looked at after every stretch of steps, about twice a second."""
    monitor: str | None = None
    """The metric that chooses the best checkpoint, such as `validation/loss`. By default the task's own."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Stop after so many evaluations without a better `monitor`."""
