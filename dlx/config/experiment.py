"""The whole experiment as one frozen tree: task, data, model, optimizer, schedule, train."""

from typing import Any, get_args

from pydantic import model_validator

from dlx.config.data import DataConfig
from dlx.config.lane import Config
from dlx.config.model import Mlp, ModelConfig
from dlx.config.optimizer import AdamW, OptimizerConfig
from dlx.config.schedule import Constant, ScheduleConfig
from dlx.config.task import TaskConfig
from dlx.config.train import Train


class Experiment(Config):
    """Everything that decides a run's numbers. The resolved tree is stored with every run."""

    task: TaskConfig | None = None
    """What is learned. Without it the task is inferred from the target column and shown."""
    data: DataConfig
    model: ModelConfig = Mlp()
    optimizer: OptimizerConfig = AdamW()
    schedule: ScheduleConfig = Constant()
    train: Train = Train()

    @model_validator(mode="after")
    def _parts_fit_together(self) -> "Experiment":
        kind = self.optimizer.kind
        if kind == "lbfgs" and (self.train.batch_size != "full" or self.schedule.kind != "constant"):
            raise ValueError(
                "optimizer lbfgs searches along a line and needs the same loss at every step: "
                "set train.batch_size=full and schedule.kind=constant"
            )
        if kind == "rprop" and self.schedule.kind != "constant":
            raise ValueError(f"optimizer {kind} sets its own step sizes: set schedule.kind=constant")
        if self.train.patience is not None and self.data.validation == 0:
            raise ValueError("train.patience needs a validation part: set data.validation above 0")
        return self


def kinds(section: str) -> dict[str, type[Config]]:
    """The tagged union of one section (`"model"`, `"optimizer"`, ...): each kind's name and its config class."""
    return variants(Experiment.model_fields[section].annotation)


def variants(annotation: Any) -> dict[str, type[Config]]:
    """The config classes inside a field's annotation, by the kinds that name them; classes without a kind by their own name."""
    if isinstance(annotation, type):
        if not issubclass(annotation, Config):
            return {}
        field = annotation.model_fields.get("kind")
        return dict.fromkeys(get_args(field.annotation), annotation) if field else {annotation.__name__: annotation}
    found: dict[str, type[Config]] = {}
    for argument in get_args(annotation):
        found |= variants(argument)
    return found
