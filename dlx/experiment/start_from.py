"""Beginning a training with weights of another run: a classifier with the encoder of an autoencoder."""

import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from dlx import engine
from dlx.config import Experiment
from dlx.engine import Cohort, Progress
from dlx.errors import ConfigError, DataError, MissingInputError, first_of
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
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    """Of the other run's data, as it is stored; empty where it cannot be read any more."""

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
    standardized = run.config.get("data", {}).get("standardize")
    return Origin(run.id, found.tree, found.digest, standardized, _preprocessing(run))


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


def check_origin(
    origin: Origin, cohort: Cohort, config: Experiment, preprocessing: Mapping[str, Any] = MappingProxyType({})
) -> tuple[str, ...]:
    """A sentence for each thing to know of beginning so. Raises `ConfigError` where it cannot be, or where no weight suits.

    `preprocessing` is that of the new run's data. Where its tokens are other ones than the other run's, weights that have a row for each
    token cannot be taken; where its classes are, a sentence says so.
    """
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
    shapes = {name: origin.weights[name].shape for name in taken}
    _check_tokens(origin, preprocessing, shapes)
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
    notes.extend(_other_classes(origin, preprocessing, shapes))
    return tuple(notes)


def begin(cohort: Cohort, origin: Origin | None, notes: Sequence[str] = ()) -> Generator[Event, Decision | None, Progress]:
    """Lanes at step 0, fresh but for the weights of `origin`; `notes` are told first."""
    for note in notes:
        yield Notice(note)
    return (yield from (cohort.start() if origin is None else cohort.start_from(origin.weights)))


def _preprocessing(run: RunRecord) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = json.loads((run.path / "preprocessing.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # its weights are there, and it is they that are asked for
        return {}
    return found


def _check_tokens(origin: Origin, preprocessing: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raises `ConfigError` where weights with a row for each token are to be taken, and the rows stand for other tokens."""
    for key in ("tokenizer", "target_tokenizer"):
        theirs, mine = (list(tree.get(key, {}).get("tokens", ())) for tree in (origin.preprocessing, preprocessing))
        rows = [name for name, shape in shapes.items() if len(mine) in shape]
        if theirs == mine or len(theirs) != len(mine) or not rows:
            continue
        at = next(number for number, (one, other) in enumerate(zip(theirs, mine, strict=True)) if one != other)
        raise ConfigError(
            f"--start-from {origin.run}: both runs know {len(mine):,} tokens, but not the same ones (token {at} is {theirs[at]!r} there and "
            f"{mine[at]!r} here), so {_names(rows)} would stand for others: set data.vocabulary to another number, and they are drawn"
        )


def _other_classes(origin: Origin, preprocessing: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """A sentence where outputs are taken that stand for other classes, or for the same ones in another order."""
    theirs, mine = ([str(name) for name in tree.get("classes", ())] for tree in (origin.preprocessing, preprocessing))
    rows = [name for name, shape in shapes.items() if "output" in name.split("/") and shape[-1:] == (len(mine),)]
    if not theirs or not mine or theirs == mine or not rows:
        return []
    said = f"run {origin.run} tells {first_of(theirs, SHOWN)} apart, in this order, and this one {first_of(mine, SHOWN)}"
    return [f"{said}: its {_names(rows)} begin as those of other classes"]


def _names(weights: Sequence[str] | dict[str, np.ndarray]) -> str:
    return first_of([name.removeprefix("params/") for name in weights], SHOWN)
