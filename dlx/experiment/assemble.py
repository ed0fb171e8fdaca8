"""From a config and its data to a cohort that can train: the wiring, seen on one screen."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dlx import engine
from dlx.config import Experiment
from dlx.config.adversarial_task import RivalsCommon
from dlx.config.data import DataConfig
from dlx.config.model import ModelConfig
from dlx.config.task import TaskConfig
from dlx.config.teaches import unsuited
from dlx.config.text_data import Text
from dlx.config.unit_interval import needs_unit_interval, outside_unit_interval
from dlx.data import Dataset, load
from dlx.engine import Cohort, Plan, Program, Shapes
from dlx.engine.examine import EXAMINED
from dlx.errors import ConfigError
from dlx.optim import averages, check_averaging, check_schedule
from dlx.tasks import Task, build_task, default_task, target_kind

MAX_CHUNK = 1000
"""Training steps in one compiled call, at most: bounds the row numbers sent ahead."""
STREAMED_CHUNK_BYTES = 128 * 1024**2
"""Examples sent to the device for one call, at most, when the data does not fit there."""
AUTO_BATCH = 64
"""What `train.batch_size=auto` takes where the training part has four times as many."""
UNCHANGED = ("language", "seq2seq", "cycle")
"""Tasks that learn the inputs as they are, whatever `data.augment` says."""
ROUNDING = 1e-3
"""So much beyond 0..1 is rounding, as of images that were resized."""


@dataclass(frozen=True)
class Assembly:
    """Everything a run needs: the resolved config, the data, the task, and the cohort on its program."""

    config: Experiment
    dataset: Dataset
    task: Task
    cohort: Cohort

    @property
    def plan(self) -> Plan:
        """Steps, evaluations, and what is monitored."""
        return self.cohort.plan

    @property
    def program(self) -> Program:
        """The compiled functions."""
        return self.cohort.program

    def with_configs(self, configs: Sequence[Experiment]) -> "Assembly":
        """The same compiled functions for other configs of the same structure and number."""
        program = self.program.with_configs(engine.stack(configs))
        return replace(self, config=configs[0], cohort=_cohort(program, self.plan, configs))


def load_data(config: Experiment) -> Dataset:
    """Reads the config's data. Raises the `DlxError`s of `data.load`."""
    return load(config.data, target_kind(config.task) if config.task else None)


def resolve(config: Experiment, dataset: Dataset) -> Experiment:
    """The config as it will be stored: with the task that suits the data, and with absolute paths."""
    task = config.task or default_task(dataset.spec.target)
    if unfit := unsuited(task.kind, config.model.kind):
        raise ConfigError(unfit)
    return with_absolute_paths(config.model_copy(update={"task": task}))


def with_absolute_paths(config: Experiment) -> Experiment:
    """The config with absolute paths, so that a run can be resumed from any folder."""
    return config.model_copy(update={"data": _absolute(config.data), "model": _absolute(config.model)})


def _absolute(section: DataConfig | ModelConfig) -> DataConfig | ModelConfig:
    changes: dict[str, str] = {}
    for name in section.file_fields():
        if (path := vars(section)[name]) is not None:
            changes[name] = str(Path(path).expanduser().absolute())
    target = vars(section).get("target")
    if vars(section)["kind"] == "python" and target is not None and ".py:" in target:
        file, _, attribute = target.rpartition(":")
        changes["target"] = f"{Path(file).expanduser().absolute()}:{attribute}"
    return section.model_copy(update=changes) if changes else section


def plan_for(config: Experiment, dataset: Dataset) -> tuple[Task, Plan]:
    """What a resolved config does on its data. Traces nothing. Raises `ConfigError` when it does not fit the data."""
    learned = config.task or default_task(dataset.spec.target)
    _check_augmentation(config, learned, dataset)
    examples = len(dataset.train)
    batch = _batch_size(config, examples)
    if batch > examples:
        shorter = ", or lower data.length, so that there are more" if isinstance(config.data, Text) else ""
        raise ConfigError(
            f"train.batch_size is {batch}, but the training part has {examples} examples; set it to {examples} or less, or to full{shorter}"
        )
    per_epoch = examples // batch
    total = config.train.duration.steps(per_epoch)
    if total >= 2**31:
        raise ConfigError(f"train.duration={config.train.duration} is {total:,} steps; {2**31 - 1:,} is the most: lower it")
    check_schedule(config.schedule, total, per_epoch)
    check_averaging(config.averaging, total, per_epoch)
    _check_normalization(config.model, learned, batch)
    task = build_task(learned, dataset.spec, total, per_epoch)
    _check_range(config, learned, dataset)
    monitor, maximize = _monitor(config, dataset, task)
    plan = Plan(
        total_steps=total,
        steps_per_epoch=per_epoch,
        evaluate_every=config.train.evaluate_every.steps(per_epoch),
        batch_size=batch,
        data_seed=config.data.seed,
        monitor=monitor,
        maximize=maximize,
        patience=config.train.patience,
    )
    return task, plan


def assemble(configs: Sequence[Experiment], dataset: Dataset, *, stream: bool | None = None) -> Assembly:
    """The cohort of K resolved configs of one structure. `stream` forces the data off (or onto) the device.

    Raises `ConfigError` when the config does not fit the data, and whatever the user's own model raises.
    """
    config = configs[0]
    task, plan = plan_for(config, dataset)
    placement = engine.choose_placement(len(configs), lambda: engine.convolves(task, config, dataset, plan.batch_size))
    feed = engine.make_feed(dataset, placement, stream=stream)
    program = Program(task, engine.stack(configs), placement, feed, _shapes(plan, dataset, feed.resident is not None))
    return Assembly(config, dataset, task, _cohort(program, plan, configs))


def _cohort(program: Program, plan: Plan, configs: Sequence[Experiment]) -> Cohort:
    """A cohort of these configs, with what changes on their way."""
    stages = zip(*(config.stages() for config in configs), strict=True)
    changes = [(stage[0][0], program.with_configs(engine.stack([changed for _, changed in stage]))) for stage in stages]
    return Cohort(program, plan, changes)


def fingerprint(dataset: Dataset) -> str:
    """A digest of every example: a run resumes exactly only on the data it was started with."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (dataset.train, dataset.validation, dataset.test):
        for array in (part.inputs, part.targets):
            digest.update(f"{array.shape}{array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _shapes(plan: Plan, dataset: Dataset, resident: bool) -> Shapes:
    chunk = min(plan.evaluate_every, plan.total_steps, MAX_CHUNK)
    largest = max(len(dataset.validation), len(dataset.test), min(len(dataset.train), engine.TRAIN_SAMPLE))
    # Each place of a batch of streams begins without a memory: few places, as in training, tell more truly how good it is.
    eval_batch = min(plan.batch_size if dataset.order.kind == "streams" else EXAMINED, largest)
    statistics = max(1, min(plan.steps_per_epoch, engine.TRAIN_SAMPLE // plan.batch_size))
    shapes = Shapes(plan.batch_size, chunk, eval_batch, -(-largest // eval_batch), statistics)
    if resident:
        return shapes
    example = dataset.train.inputs[:1].nbytes + dataset.train.targets[:1].nbytes
    most = max(1, STREAMED_CHUNK_BYTES // example)
    return replace(
        shapes,
        chunk=max(1, min(shapes.chunk, most // shapes.batch)),
        statistics=max(1, min(shapes.statistics, most // shapes.batch)),
        eval_batches=max(1, min(shapes.eval_batches, most // shapes.eval_batch)),
    )


def _batch_size(config: Experiment, examples: int) -> int:
    match config.train.batch_size:
        case "full":
            return examples
        case "auto":
            return max(min(2, examples), min(AUTO_BATCH, examples // 4))
        case size:
            return size


def monitored(config: Experiment, dataset: Dataset, task: Task) -> dict[str, bool]:
    """The metrics that a run can be judged by, the task's own first, and whether more of each is better.

    Where weights are averaged, those of the raw weights come last.
    """
    if not len(dataset.validation):
        return {f"train/{metric}": task.scores[metric] for metric in task.running_scores}
    marks = ("", engine.RAW) if averages(config.averaging, config.schedule) else ("",)
    return {f"validation/{mark}{metric}": more for mark in marks for metric, more in task.scores.items()}


def _monitor(config: Experiment, dataset: Dataset, task: Task) -> tuple[str, bool]:
    """The metric that decides what is best, and whether more of it is better."""
    allowed = monitored(config, dataset, task)
    name = config.train.monitor or next(iter(allowed))
    if name not in allowed:
        raise ConfigError(f"train.monitor is {name!r}; this run can monitor {', '.join(allowed)}")
    return name, allowed[name]


def _check_augmentation(config: Experiment, task: TaskConfig, dataset: Dataset) -> None:
    if config.data.augment and task.kind in UNCHANGED:
        raise ConfigError(
            f"data.augment changes the inputs of a step, and task.kind={task.kind} learns them as they are: leave it out"
        )
    shape = dataset.spec.input_shape
    found = "rows" if len(shape) == 1 else f"examples of shape {shape}"
    for change in config.data.augment:
        if change.kind != "noise" and len(shape) != 3:
            raise ConfigError(f"data.augment has {change.kind!r}, which needs images; this data has {found}: leave it out")


def _check_normalization(model: ModelConfig, task: TaskConfig, batch: int) -> None:
    """Over a single example there is nothing to normalize by. Each step of a critic sees a part of the batch."""
    parts = task.critic_steps if isinstance(task, RivalsCommon) else 1
    names = ("normalization", "generator_normalization", "critic_normalization")
    found = [f"model.{name}=batch" for name in names if vars(model).get(name) == "batch"]
    if not found or batch // parts > 1:
        return
    if parts == 1:
        raise ConfigError(f"{found[0]} needs more than one example a step: raise train.batch_size")
    raise ConfigError(
        f"{' and '.join(found)}: more than one example a step is needed, and task.critic_steps={parts} divides each batch of {batch} "
        "into parts of one: raise train.batch_size, or lower task.critic_steps"
    )


def _check_range(config: Experiment, task: TaskConfig, dataset: Dataset) -> None:
    """Bytes are pixels and scaled to 0..1; numbers stay as they are."""
    images = len(dataset.spec.input_shape) == 3
    if unfit := outside_unit_interval(task, config.model, config.data, images=images):
        raise ConfigError(unfit)
    why, inputs = needs_unit_interval(task, config.model, images=images), dataset.train.inputs
    if why is None or inputs.dtype == np.uint8:
        return
    low, high = float(inputs.min()), float(inputs.max())
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise ConfigError(f"{why}, and the inputs of the training part are {low:g} to {high:g}: bring them to 0..1 in the data")
