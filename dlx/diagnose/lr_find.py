"""A range test as a person asks for it: what it found, what to set by that, and how it is kept and read again."""

import json
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from dlx import engine
from dlx.config import Experiment
from dlx.config.load import validate_stored
from dlx.diagnose.range_curve import RangeFound, RangeTest, Skips, from_json, read_curves, reading_json, to_json
from dlx.diagnose.range_test import range_test
from dlx.errors import CannotWriteError, DataError, MissingInputError, Status
from dlx.events import Compiled, Compiling, Event, Notice
from dlx.experiment.environment import capture, command_line
from dlx.experiment.run import RANGE_TEST
from dlx.store import Ending, NewRun, RunRecord, Store, finish_runs, start_run

FILE = "range-test.json"
"""In the folder of its run."""
DEFAULT = RangeTest(seeds=4)
"""What `optimizer.lr=auto` tries."""


def find(
    variants: Mapping[str, Experiment], test: RangeTest, skips: Skips, weights: Path | None = None
) -> Generator[Event, None, RangeFound]:
    """Tests experiments by their labels. Raises what `range_test` raises, and `UsageError` when too much is skipped."""
    curves = yield from range_test(list(variants.values()), test, weights)
    return read_curves(test, list(variants), curves, next(iter(variants.values())).schedule, skips)


def tuned(config: Experiment) -> Generator[Event, None, tuple[Experiment, dict[str, Any]]]:
    """The experiment under the rate that a range test recommends, and what is to be remembered of the test.

    Without a falling region the experiment keeps its own rate, and a notice says so.
    """
    test = find({"": config}, DEFAULT, Skips())
    while True:
        try:
            event = next(test)
        except StopIteration as end:
            finding = end.value.findings[0]
            break
        if isinstance(event, Notice | Compiling | Compiled):  # what is measured and loaded is not the training's own
            yield event
    values = ", ".join(f"{key}={value:g}" for key, value in finding.changes.items())
    reading = finding.reading
    if finding.changes:
        yield Notice(f"optimizer.lr=auto: {values} (confidence {reading.confidence}: {reading.why})")
    else:
        yield Notice(f"optimizer.lr=auto: the rate stays at {config.optimizer.lr:g}: {reading.why}")
    return config.with_values(finding.changes), {"set": dict(finding.changes), **reading_json(reading)}


def keep(store: Store, found: RangeFound, config: Experiment, name: str | None) -> str:
    """Writes a test down as a run of its own, once it is over, and returns the run's id."""
    environment, taken = capture(), found.test.steps or found.test.rates
    new = NewRun(
        config=config.model_dump(mode="json"),
        environment=environment | {RANGE_TEST: True},
        steps_total=taken,
        steps_per_epoch=taken,
        monitor="validation/loss" if found.test.validation else "train/loss",
        direction="minimize",
        name=name,
        command=command_line(),
        device=environment["device"],
    )
    run = start_run(store, new)
    try:
        engine.write_atomically(store.run_folder(run) / FILE, json.dumps(to_json(found), indent=1).encode())
    except CannotWriteError as error:
        finish_runs(store, [Ending(run, Status.FAILED, str(error), 0, 0)])
        raise
    first = found.findings[0]
    rates = {f"lr/{each.rule}": each.rate for each in first.reading.suggestions} | {
        f"lr/{key.rpartition('.')[2]}": value for key, value in first.changes.items()
    }
    said = "; ".join((*(f"{key}={value:g}" for key, value in first.changes.items()), first.reading.why))
    finish_runs(store, [Ending(run, Status.COMPLETED, f"range test: {said}", taken, 1, rates)])
    return run


def reread(run: RunRecord, skips: Skips) -> RangeFound:
    """A stored test, read with other skips: nothing is trained.

    Raises `MissingInputError` for a run that is no range test, `DataError` for a file that is not as it was written.
    """
    path = run.path / FILE
    if not path.is_file():
        raise MissingInputError(f"run {run.id} holds no range test: {path} is not there; `dlx lr-find` makes one")
    config = validate_stored(run.config, f"run {run.id}")
    try:
        test, labels, curves = from_json(json.loads(path.read_text(encoding="utf8")))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not as `dlx lr-find` wrote it ({error}); run the test again") from error
    return read_curves(test, labels, curves, config.schedule, skips)
