"""How long, how fast, how exact: the loop's own numbers."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from dlx.config.duration import Duration
from dlx.config.lane import Config, LaneInt


class Train(Config):
    """The training loop."""

    duration: Duration = Duration(30, "epochs")
    """How long to train: `30 epochs` or `2000 steps`."""
    batch_size: Annotated[int, Field(ge=1)] | Literal["full"] = 64
    """Examples per step; `full` takes the whole training part in every step."""
    seed: Annotated[LaneInt, Field(ge=0, lt=2**32)] = 0
    """Decides the initial parameters, dropout and augmentation. (`data.seed` decides split and order.)"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What the network computes in. Parameters and the optimizer are always float32."""
    evaluate_every: Duration = Duration(1, "epochs")
    """How often the validation part is scored."""
    checkpoint_every: Duration = Duration(30, "seconds")
    """How much work a kill -9 may cost."""
    monitor: str | None = None
    """The metric that chooses the best checkpoint, such as `validation/loss`. By default the task's own."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Stop after so many evaluations without a better `monitor`."""

    @field_validator("duration", "evaluate_every")
    @classmethod
    def _in_steps(cls, value: Duration) -> Duration:
        if value.unit == "seconds":
            raise ValueError(f"{value} is wall-clock time: write epochs or steps (and bound the time with --max-time)")
        return value
