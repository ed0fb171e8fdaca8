"""What a run says while it goes on: frozen, plain numbers. The display, the store and the pruner read the same stream.

Tuples of mappings hold one mapping of metric name to value per lane, in lane order. Metric names are `split/metric`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlx.errors import Status

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class DataLoaded:
    """The data set is in memory and divided."""

    name: str
    train: int
    validation: int
    test: int
    report: tuple[str, ...]
    """One sentence for each thing that was inferred, dropped or filled in."""


@dataclass(frozen=True)
class Notice:
    """Something a person should know although the run goes on."""

    text: str


@dataclass(frozen=True)
class Compiling:
    """A program is about to be compiled; the next event is `Compiled`."""

    program: str


@dataclass(frozen=True)
class Compiled:
    """A program was compiled, or found in the persistent cache."""

    program: str


@dataclass(frozen=True)
class Started:
    """Training begins, at `step` 0 or where a checkpoint left off."""

    run: str
    name: str | None
    path: Path
    step: int
    total_steps: int
    steps_per_epoch: int
    batch_size: int
    parameters: int
    monitor: str
    """The metric that chooses the best weights."""
    device: str
    resumed: bool


@dataclass(frozen=True)
class Measured:
    """Steps were taken. The metrics are means over the examples since the last evaluation."""

    step: int
    epoch: float
    metrics: tuple[Metrics, ...]
    complete: bool
    """Whether the interval up to the next evaluation is complete; only complete ones are stored."""
    diverged_at: tuple[int | None, ...]
    """The step at which each lane's loss turned non-finite, or None."""


@dataclass(frozen=True)
class Evaluated:
    """A part of the data was scored, by the current weights or by the best ones."""

    step: int
    epoch: float
    split: str
    metrics: tuple[Metrics, ...]
    improved: tuple[bool, ...] = ()
    """Whether each lane's monitored metric is now the best it has been."""
    counts: tuple[bool, ...] = ()
    """Whether each lane still trained: neither diverged nor stopped before this evaluation."""
    best_steps: tuple[int | None, ...] = ()
    """The step of the weights that were scored, when they were the best ones."""


@dataclass(frozen=True)
class Checkpointed:
    """The whole state was written; a run can continue from here."""

    step: int
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class Finished:
    """The run's last word."""

    run: str
    status: Status
    message: str
    step: int
    metrics: Metrics
    path: Path
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class LayerLine:
    """One layer of a network, for a table. The output shape is one example's; None for a layer that is not called."""

    path: str
    kind: str
    output_shape: tuple[int, ...] | None
    parameters: int


@dataclass(frozen=True)
class Planned:
    """What a dry run found. Not part of a run's stream: nothing was started."""

    config: Mapping[str, Any]
    """The resolved experiment, as it would be stored."""
    data: str
    examples: Mapping[str, int]
    input_shape: tuple[int, ...]
    outputs: int
    classes: tuple[str, ...]
    report: tuple[str, ...]
    layers: tuple[LayerLine, ...]
    parameters: int
    batch_size: int
    steps_per_epoch: int
    total_steps: int
    evaluate_every: int
    monitor: str
    device: str
    resident: bool
    """Whether the data lies on the device, or is streamed to it."""
    memory_bytes: int
    """Of the train program: data, state and workspace, as the compiler reports it."""
    compile_seconds: float
    """What compiling the train program took just now; the cache keeps it, so that training need not wait again."""


@dataclass(frozen=True)
class SweepStarted:
    """A sweep begins, or goes on: `done` of its `total` trials were finished before."""

    sweep: str
    name: str | None
    total: int | None
    """None for a sweep that goes on until its time is up."""
    done: int
    dimensions: int
    monitor: str
    maximize: bool
    device: str
    path: Path


@dataclass(frozen=True)
class CohortStarted:
    """Trials of equal structure begin to train together. `lanes` is their number rounded up to what the program has."""

    trials: tuple[int, ...]
    lanes: int
    step: int
    """Where they stand: 0, or a rung that they have passed."""
    total_steps: int
    parameters: int
    compiled: bool
    """Whether the program was compiled for an earlier cohort."""


@dataclass(frozen=True)
class RungReached:
    """Trials were compared after an evaluation."""

    evaluation: int
    evaluations: int
    """Of a whole training."""
    pruned: tuple[int, ...]
    going: int
    """How many of the cohort's trials go on."""


@dataclass(frozen=True)
class TrialFinished:
    """What came of a trial. `value` is the monitored metric at its best weights, the mean over its seeds."""

    number: int
    run: str | None
    status: Status
    message: str
    value: float | None
    params: Mapping[str, Any]
    best: bool
    """Whether it is the best of the sweep so far."""
    values: tuple[float, ...] = ()
    """All objectives."""
    deviation: float | None = None
    """The standard deviation over several seeds."""


@dataclass(frozen=True)
class SweepFinished:
    """The sweep's last word. `trials` counts its trials by status; `best` is the best trial, if any was completed."""

    sweep: str
    status: Status
    message: str
    trials: Mapping[Status, int]
    best: TrialFinished | None
    programs: int
    seconds: Mapping[str, float]
    path: Path
    front: tuple[TrialFinished, ...] = ()
    """Of several objectives: the trials that none beats in all."""


@dataclass(frozen=True)
class PlannedGroup:
    """Trials of a first batch that would train on one program."""

    trials: int
    lanes: int
    parameters: int
    total_steps: int
    memory_bytes: int
    compile_seconds: float
    values: Mapping[str, Any]
    """Those of the searched values that choose the program."""


@dataclass(frozen=True)
class SweepPlanned:
    """What a sweep's dry run found. Nothing was started or stored."""

    total: int | None
    batch: int
    monitor: str
    maximize: bool
    device: str
    search: Mapping[str, Any]
    sampler: Mapping[str, Any]
    pruner: Mapping[str, Any]
    rungs: tuple[int, ...]
    """The evaluations at which trials are compared, and how many there are in all."""
    evaluations: int
    groups: tuple[PlannedGroup, ...]
    failures: tuple[str, ...]
    """What is wrong with proposals that could not be trained."""


@dataclass(frozen=True)
class PlannedRates:
    """The rates of a whole training, step by step, as its schedule plans them. Nothing was trained."""

    schedule: str
    """Its kind."""
    steps_per_epoch: int
    rates: Mapping[str, Sequence[float]]
    """`learning_rate`, and what else moves, such as `momentum`: one value for each step, from step 0 on."""
    notes: tuple[str, ...] = ()
    """What a training can do to them that nobody knows before."""


@dataclass(frozen=True)
class BatchTried:
    """A batch size for which the train program was compiled. It was not run."""

    batch_size: int
    memory_bytes: float
    """Of the train program, as the compiler reports it; infinite where the compiler itself had too little."""
    fits: bool


@dataclass(frozen=True)
class BatchFound:
    """The largest batch size that fits, None where not even the smallest does; and what was tried, by size."""

    batch_size: int | None
    largest: int
    """The largest that the experiment can have at all."""
    why_largest: str
    """What the limit to that is."""
    tried: tuple[BatchTried, ...]
    memory_limit: float
    """The bytes that there are, or that there were said to be."""
    device: str
    resident: bool
    """Whether the data lies on the device, and is part of what the program needs, or is streamed to it."""


SweepEvent = SweepStarted | CohortStarted | RungReached | TrialFinished | SweepFinished
Event = DataLoaded | Notice | Compiling | Compiled | Started | Measured | Evaluated | Checkpointed | Finished


@dataclass(frozen=True)
class Decision:
    """The answer to an event: what the loop does next. Pruning and stopping are decisions, not exceptions."""

    stop: bool = False
    save: tuple[Path | None, ...] = ()
    """Folders, one per lane, in which to write a checkpoint now; None for a lane that is not to be saved."""
    max_steps: int | None = None
    """At most so many steps before the next event, so that a signal is answered soon."""
    out: tuple[int, ...] = ()
    """Lanes that stop here, while the others go on."""
