"""A trained network out of the store: its config, what its data went through, and its best weights."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dlx import engine
from dlx.config import Experiment
from dlx.config.load import validate_stored
from dlx.data import Dataset, Preparation, load
from dlx.engine import Forward
from dlx.errors import DataError, MissingInputError, Status, UsageError
from dlx.experiment.assemble import fingerprint
from dlx.experiment.environment import sources
from dlx.experiment.run import RANGE_TEST
from dlx.experiment.session import checkpoint_folder
from dlx.store import RunRecord, Store
from dlx.tasks import LearnerState, Task, build_task, target_kind


@dataclass(frozen=True)
class Trained:
    """A run's network as it is judged: evaluation mode, best weights."""

    run: RunRecord
    config: Experiment
    preprocessing: Mapping[str, Any]
    """As it is stored; `preparation` is made of it."""
    preparation: Preparation
    task: Task
    learner: LearnerState
    """Parameters and running statistics, in host memory."""
    step: int
    """At which the weights were found to be the best."""
    digest: str
    """Of the weights."""
    notices: tuple[str, ...]
    """One sentence for each thing that is not as it was in training."""
    changed: tuple[str, ...] = ()
    """The user's own source files that are not as they were in training."""

    @cached_property
    def forward(self) -> Forward:
        """The compiled network, for raw examples such as those of `Part.inputs`."""
        example = np.zeros(self.preparation.spec.input_shape, self.preparation.dtype)
        return Forward(self.task, self.config, self.learner, self.preparation.scaling, example)

    def dataset(self, *, keep_rows: bool = False) -> Dataset:
        """The data that the run was trained and tested on. Raises `DataError` when it is not what it was."""
        dataset = load(self.config.data, target_kind(self.config.task) if self.config.task else None, keep_rows=keep_rows)
        if self.run.environment.get("data") not in (None, fingerprint(dataset)):
            raise DataError(
                f"{dataset.name} is not the data that run {self.run.id} was trained on (another digest): "
                "bring that data back, or name what to judge with --data FILE"
            )
        return dataset


def restore(run: RunRecord, store: Store) -> Trained:
    """The network of a run, with the best weights of its newest checkpoint.

    Raises `UsageError` for a range test, `MissingInputError` for a run that has none yet, or none any more, `DataError` when the
    newest is damaged or does not fit its config, `ConfigError` for a config that this dlx does not know.
    """
    engine.configure()
    if RANGE_TEST in run.environment:
        raise UsageError(
            f"run {run.id} is a range test of `dlx lr-find`, in which nothing was trained to be kept: name another run"
        )
    config = validate_stored(run.config, f"run {run.id}")
    folder = store.run_folder(run.id)
    if engine.newest_checkpoint(checkpoint_folder(folder)) is None:
        raise _without_checkpoint(run)
    preprocessing = _preprocessing(run, store)
    preparation = Preparation.from_json(preprocessing)
    assert config.task is not None  # a stored config is resolved
    spec = preparation.spec
    task = build_task(config.task, spec, run.steps_total, run.steps_per_epoch)
    target = np.zeros(spec.target_shape, np.int32 if spec.target in ("class", "tokens") else np.float32)
    weights = engine.read_weights(checkpoint_folder(folder), engine.weights_template(task, config, spec.input_shape, target))
    if weights.damaged:
        raise DataError(
            f"the newest checkpoint of run {run.id} is damaged: {weights.damaged[0]} in {weights.path.parent}; remove that file to "
            f"use the one before, {weights.path.name}, or train again"
        )
    if weights.step < 0:
        what = "wait" if run.status == Status.RUNNING else f"continue it with `dlx train --resume {run.id}`"
        raise MissingInputError(f"run {run.id} ({run.status}) has no weights that were both scored and saved: {what}")
    now = sources(config)
    changed = tuple(file for file, digest in run.environment.get("sources", {}).items() if now.get(file) != digest)
    notices = tuple(_notices(run, changed, weights.step))
    return Trained(run, config, preprocessing, preparation, task, weights.tree, weights.step, weights.digest, notices, changed)


def _preprocessing(run: RunRecord, store: Store) -> Mapping[str, Any]:
    path = store.run_folder(run.id) / "preprocessing.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingInputError(
            f"{path} cannot be read ({error.strerror}): bring it back, or train again; without it nothing is known of the run's inputs"
        ) from error
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}): bring it back, or train again") from error


def _without_checkpoint(run: RunRecord) -> MissingInputError:
    if not run.path.exists():
        return MissingInputError(f"run {run.id} has no folder {run.path} any more: bring it back, or train again")
    kept = "" if run.status is Status.COMPLETED else f" ({run.status}: {run.message or 'nothing was saved yet'})"
    return MissingInputError(
        f"run {run.id}{kept} has no checkpoint in {checkpoint_folder(run.path)}: a sweep keeps those of its best trials only; "
        "name another run, or train it again"
    )


def _notices(run: RunRecord, changed: Sequence[str], step: int) -> list[str]:
    """What of the run, whose weights are of that step, is not as it was."""
    notices = [f"{file} has changed since run {run.id} was trained: its weights now meet other code" for file in changed]
    if run.status is not Status.COMPLETED:
        notices.append(
            f"run {run.id} is {run.status}, at step {max(run.step, step)} of {run.steps_total}: these are its best weights so far"
        )
    return notices
