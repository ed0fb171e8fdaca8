"""The score of a sweep: how its trials ended, and which is the best."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dlx.errors import Status
from dlx.events import TrialFinished


class Tally:
    """Counts finished trials and remembers the best completed one; of equals the first."""

    def __init__(self, maximize: bool) -> None:
        self.maximize = maximize
        self.statuses: Counter[Status] = Counter()
        self.best: TrialFinished | None = None

    @property
    def done(self) -> int:
        """How many trials have ended, whichever way."""
        return self.statuses.total()

    def count(self, trial: TrialFinished) -> TrialFinished:
        """Adds a trial, and returns it with whether it is the best so far."""
        self.statuses[trial.status] += 1
        if trial.status is not Status.COMPLETED or not self._is_better(trial.value):
            return trial
        self.best = replace(trial, best=True)
        return self.best

    def keep(self, values: np.ndarray) -> Sequence[int]:
        """Of a cohort's values (K,), NaN for what did not complete: the lane that will be the best of the sweep, or none."""
        if not np.isfinite(values).any():
            return []
        lane = int(np.nanargmax(values) if self.maximize else np.nanargmin(values))
        return [lane] if self._is_better(float(values[lane])) else []

    def _is_better(self, value: float | None) -> bool:
        if value is None or not np.isfinite(value):
            return False
        best = self.best.value if self.best is not None else None
        return best is None or (value > best if self.maximize else value < best)
