"""One process's work on a sweep: what it knows of it, what it reports, whose weights it keeps."""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dlx.errors import Status
from dlx.events import TrialFinished
from dlx.experiment.session import checkpoint_folder
from dlx.store import Result, Store, SweepRecord, TrialRecord, reload_sweep, report_results

Key = tuple[int, int]
"""Which training: its trial's number, and which of the trial's seeds."""


class Work:
    """A worker's share of a sweep. `record` is the sweep as it stood at the last report."""

    def __init__(self, store: Store, record: SweepRecord, worker: int, keep: int, environment: Mapping[str, Any]) -> None:
        self.store, self.record, self.worker, self.keep, self.environment = store, record, worker, keep, environment
        self._saved = self.keepers(record)
        self._told = {trial.number for trial in record.trials if trial.status is not None}
        self.failures = 0
        """Trials that failed one after the other."""

    @property
    def maximize(self) -> bool:
        """Whether more of the first objective is better."""
        return self.record.direction == "maximize"

    @property
    def leads(self) -> bool:
        """Whether this is the first of the workers that are there: what only one may do is its business."""
        return self.worker == min((each.number for each in self.record.workers if each.alive), default=self.worker)

    def checkpoints(self, run: str) -> Path:
        """Where a run's checkpoints are."""
        return checkpoint_folder(self.store.run_folder(run))

    def statuses(self) -> dict[Status, int]:
        """How many trials have ended, by how."""
        return dict(Counter(trial.status for trial in self.record.trials if trial.status is not None))

    def report(self, results: Sequence[Result]) -> Iterator[TrialFinished]:
        """Writes results down, says which trials have ended with them, and removes weights that are no longer among the best."""
        if not results:
            return
        self.record = report_results(self.store, self.record.id, self.worker, results, self.record)
        keepers = self.keepers(self.record)
        self._remove({*self._saved, *((r.trial, r.seed) for r in results if r.status is not None)} - keepers)
        self._saved = keepers
        yield from self.news()

    def tidy(self) -> None:
        """Removes weights that a trial of another worker has overtaken since this one's last report, and the other way round."""
        self.record = reload_sweep(self.store, self.record)
        ended = {(t.number, each.seed) for t in self.record.trials for each in t.trainings if each.status is not None}
        self._remove(ended - self.keepers(self.record))

    def note(self, results: Sequence[Result]) -> None:
        """Writes down how far trainings have come."""
        self.record = report_results(self.store, self.record.id, self.worker, results, self.record)

    def news(self) -> Iterator[TrialFinished]:
        """The trials that have ended and were not told yet, those of other workers too."""
        for trial in self.record.trials:
            if trial.status is not None and trial.number not in self._told:
                self._told.add(trial.number)
                self.failures = self.failures + 1 if trial.status is Status.FAILED else 0
                yield self.finished(trial)

    def finished(self, trial: TrialRecord) -> TrialFinished:
        """A trial that has ended, as it is told."""
        best = self.record.ranked[:1]
        return TrialFinished(
            trial.number,
            trial.run_id,
            trial.status or Status.RUNNING,
            trial.message,
            trial.value,
            trial.final,
            best=bool(best) and best[0].number == trial.number,
            values=trial.values or (),
            deviation=trial.deviation,
        )

    def keepers(self, record: SweepRecord) -> set[Key]:
        """The trainings whose weights are kept: those of the best trials, or of several objectives of all on the front.

        Also those of trials that may become one: some of their seeds are still to be trained.
        """
        best = record.front if len(record.goals) > 1 else record.ranked[: self.keep]
        unknown = [trial for trial in record.trials if trial.status is None]
        return {(trial.number, each.seed) for trial in best for each in trial.trainings} | {
            (trial.number, each.seed) for trial in unknown for each in trial.trainings if each.status is Status.COMPLETED
        }

    def _remove(self, keys: Iterable[Key]) -> None:
        for number, seed in keys:
            run = next(each.run_id for each in self.record.trials[number].trainings if each.seed == seed)
            if run is not None:
                shutil.rmtree(self.checkpoints(run), ignore_errors=True)
