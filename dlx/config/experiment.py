"""The whole experiment as one frozen tree: task, data, model, optimizer, schedule, train."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar, get_args

from pydantic import Field, model_validator

from dlx.config.adversaries import unfit_adversaries
from dlx.config.autoencoder_task import Gaussian, Variational
from dlx.config.averaging import AveragingConfig, NoAveraging
from dlx.config.data import DataConfig
from dlx.config.lane import Config
from dlx.config.model import Mlp, ModelConfig
from dlx.config.optimizer import AdamW, OptimizerConfig, PolyakSgd
from dlx.config.schedule import Constant, ScheduleConfig
from dlx.config.task import Seq2Seq, TaskConfig
from dlx.config.teaches import unsuited
from dlx.config.train import Train
from dlx.config.unit_interval import outside_unit_interval

C = TypeVar("C", bound=Config)
FREE = ("sgd", "adam", "adamw")
"""Optimizers that schedule-free learning is known to work with. Their own momentum, or b1, is off."""


class Change(Config):
    """Values that hold from a step of the training on: rates, decays, dropout, seed, but nothing that chooses the program."""

    at: Annotated[int, Field(ge=1)]
    """How many steps were taken before."""
    values: dict[str, float | int]
    """By dotted key, such as `optimizer.lr`."""


class Experiment(Config):
    """Everything that decides a run's numbers. The resolved tree is stored with every run."""

    task: TaskConfig | None = None
    """What is learned. Without it the task is inferred from the target column and shown."""
    data: DataConfig
    model: ModelConfig = Mlp()
    optimizer: OptimizerConfig = AdamW()
    schedule: ScheduleConfig = Constant()
    averaging: AveragingConfig = NoAveraging()
    train: Train = Train()
    replay: tuple[Change, ...] = ()
    """Values that change on the way, as population-based training found them. Steps ascend."""

    @model_validator(mode="after")
    def _parts_fit_together(self) -> "Experiment":
        if self.task and (unfit := unsuited(self.task.kind, self.model.kind)):
            raise ValueError(unfit)
        if isinstance(self.task, Seq2Seq) and self.data.kind == "text":
            raise ValueError(
                "task seq2seq writes one sequence of another, and data.kind=text is one text to read on: set task.kind=language, or "
                "data.kind=text-pairs"
            )
        if self.task and (unfit := outside_unit_interval(self.task, self.model, self.data, images=False)):
            raise ValueError(unfit)
        if isinstance(self.optimizer, PolyakSgd) and _falls_below(self.task, self.optimizer.f_min):
            raise ValueError(
                f"optimizer polyak_sgd goes uphill where the loss is below optimizer.f_min={self.optimizer.f_min:g}, and that of a "
                "gaussian likelihood with a small task.likelihood.std is: use adam, or lower f_min"
            )
        kind = self.optimizer.kind
        moves = self.schedule.kind != "constant" or self.schedule.warmup > 0
        if kind == "lbfgs" and (self.train.batch_size != "full" or moves):
            raise ValueError(
                "optimizer lbfgs searches along a line and needs the same loss at every step: "
                "set train.batch_size=full and schedule.kind=constant"
            )
        if kind == "rprop" and moves:
            raise ValueError(f"optimizer {kind} sets its own step sizes: set schedule.kind=constant, without warmup")
        if kind in ("lbfgs", "rprop") and self.averaging.kind == "lookahead":
            raise ValueError(
                f"optimizer {kind} remembers where it was: averaging.kind=lookahead cannot set it back; use another"
            )
        if self.schedule.kind == "schedule-free":
            if self.averaging.kind != "none":
                raise ValueError("schedule schedule-free averages the weights itself: set averaging.kind=none")
            if kind not in FREE:
                raise ValueError(f"schedule schedule-free works with the optimizers {', '.join(FREE)}, not with {kind}")
        if self.schedule.kind == "reduce-on-plateau" and self.data.validation == 0:
            raise ValueError("schedule reduce-on-plateau needs a validation part: set data.validation above 0")
        if self.train.patience is not None and self.data.validation == 0:
            raise ValueError("train.patience needs a validation part: set data.validation above 0")
        if unfit := unfit_adversaries(self.task, self.model, self.optimizer, self.schedule, self.train):
            raise ValueError(unfit)
        steps = [change.at for change in self.replay]
        if steps != sorted(set(steps)):
            raise ValueError(f"replay: the steps must ascend, and they are {', '.join(map(str, steps))}")
        for key in sorted({key for change in self.replay for key in change.values if not is_lane(key)}):
            raise ValueError(f"replay: {key} chooses the program, and cannot change on the way")
        for _, changed in self.stages():
            alone = changed.model_copy(update={"replay": ()})
            type(self).model_validate(alone.model_dump(mode="json"))  # raises what is wrong with a value
        return self

    def stages(self) -> Iterator[tuple[int, "Experiment"]]:
        """The experiment as it is from each step of its replay on: (step, experiment)."""
        changed = self
        for change in self.replay:
            changed = changed.with_values(change.values)
            yield change.at, changed

    def with_values(self, values: Mapping[str, Any]) -> "Experiment":
        """The experiment with other numbers by dotted key, each of the type that is there; other than that they are not validated.

        Raises `ValueError` for a key that is not there, or holds no number.
        """
        changed = self
        for key, value in values.items():
            changed = _with_value(changed, key.split("."), value)
        return changed


def is_lane(key: str) -> bool:
    """Whether a dotted key of an experiment is a value that may differ between the lanes of one program."""
    *sections, name = key.split(".")
    holders: list[type[Config]] = [Experiment]
    for section in sections:
        fields = [holder.model_fields[section] for holder in holders if section in holder.model_fields]
        holders = [cls for field in fields for cls in variants(field.annotation).values()]
    holders = [holder for holder in holders if name in holder.model_fields]
    return bool(holders) and all(name in holder.lane_fields() for holder in holders)


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


def _falls_below(task: TaskConfig | None, lowest: float) -> bool:
    """Whether a task's loss may fall below `lowest`, if that is 0 or more: nats of a density greater than 1 are negative."""
    if not isinstance(task, Variational) or not isinstance(task.likelihood, Gaussian):
        return False
    return lowest >= 0 and task.likelihood.std < 1 / math.sqrt(2 * math.pi)


def _with_value(config: C, path: Sequence[str], value: Any) -> C:
    name, *rest = path
    if name not in vars(config):
        raise ValueError(f"{name} is not a key of {type(config).__name__}")
    old = vars(config)[name]
    if rest:
        return config.model_copy(update={name: _with_value(old, rest, value)})
    if not isinstance(old, int | float):
        raise ValueError(f"{name} is {old!r} and cannot become {value}: give it a number from the start")
    # Lanes are stacked by type: an int among floats would round the others.
    if isinstance(old, int) and value != int(value):
        raise ValueError(f"{name} takes whole numbers, not {value}")
    return config.model_copy(update={name: type(old)(value)})
