"""Beginning a training with weights of another run: a classifier with the encoder of an autoencoder."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlx import engine
from dlx.config import Experiment
from dlx.engine import Cohort, Progress
from dlx.errors import ConfigError, DataError, MissingInputError
from dlx.events import Decision, Event, Notice
from dlx.experiment.session import checkpoint_folder
from dlx.store import RunRecord, Store, find_run

SHOWN = 6
"""Names of weights that are told one by one."""


@dataclass(frozen=True)
class Origin:
    """The weights that a run begins with, as far as they suit it."""

    run: str
    weights: dict[str, np.ndarray]
    """By name, such as `params/hidden/0/linear/kernel`."""
    digest: str
    standardized: bool | None
    """Whether the other run's inputs were; None where the data has no such thing."""

    @property
    def record(self) -> dict[str, Any]:
        """What the environment of the run that begins so keeps of it."""
        return {"run": self.run, "weights": self.digest}


def origin_of(run: RunRecord) -> Origin:
    """The best weights of a run's newest intact checkpoint. Raises `MissingInputError` where there are none."""
    folder = checkpoint_folder(run.path)
    found = engine.read_named_weights(folder) if engine.newest_checkpoint(folder) is not None else None
    if found is None or found.step < 0:
        raise MissingInputError(
            f"run {run.id} ({run.status}) has no weights to start from: name a run that was trained and kept"
        )
    return Origin(run.id, found.tree, found.digest, run.config.get("data", {}).get("standardize"))


def origin_recorded(run: RunRecord, store: Store) -> Origin | None:
    """The weights with which a run began, for beginning again; None for one that began with fresh ones.

    Raises `DataError` where the other run's weights are no longer those.
    """
    record = run.environment.get("start_from")
    if record is None:
        return None
    origin = origin_of(find_run(store, record["run"]))
    if origin.digest != record["weights"]:
        raise DataError(
            f"run {run.id} began with weights of run {origin.run}, which has others by now, and it has no checkpoint yet: start it anew"
        )
    return origin


def check_origin(origin: Origin, cohort: Cohort, config: Experiment) -> tuple[str, ...]:
    """A sentence for each thing to know of beginning so. Raises `ConfigError` where it cannot be, or where no weight suits."""
    if config.averaging.kind != "none" or config.schedule.kind == "schedule-free":
        raise ConfigError(
            "--start-from does not go with averaged weights, whose average begins with fresh ones: set averaging.kind=none and another schedule"
        )
    taken, drawn = cohort.agreeing(origin.weights)
    if not taken:
        raise ConfigError(
            f"no weight of run {origin.run} suits this network by name and shape: it has {_names(origin.weights)}; "
            f"this network needs {_names(drawn)}"
        )
    numbers = sum(origin.weights[name].size for name in taken)
    left = f"; {_names(drawn)} are drawn" if drawn else ""
    notes = [f"begins with weights of run {origin.run}: {_names(taken)} ({numbers:,} numbers){left}"]
    standardized = vars(config.data).get("standardize")
    if standardized != origin.standardized:
        was, now = (str(value).lower() for value in (origin.standardized, standardized))
        notes.append(
            f"run {origin.run} has data.standardize={was}, and this one {now}: its weights meet inputs of another scale; "
            f"set data.standardize={was}"
        )
    return tuple(notes)


def begin(cohort: Cohort, origin: Origin | None, notes: Sequence[str] = ()) -> Generator[Event, Decision | None, Progress]:
    """Lanes at step 0, fresh but for the weights of `origin`; `notes` are told first."""
    for note in notes:
        yield Notice(note)
    return (yield from (cohort.start() if origin is None else cohort.start_from(origin.weights)))


def _names(weights: Sequence[str] | dict[str, np.ndarray]) -> str:
    names = [name.removeprefix("params/") for name in weights]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
