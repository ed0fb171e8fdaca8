"""The best of a sweep: completed, finite, the first of equals, in either direction."""

import numpy as np
import pytest

from dlx.errors import Status
from dlx.events import TrialFinished
from dlx.sweep.tally import Tally


def trial(number: int, value: float | None, status: Status = Status.COMPLETED) -> TrialFinished:
    return TrialFinished(number, None, status, "", value, {}, best=False)


@pytest.mark.parametrize(("maximize", "bests"), [(True, [0, 3]), (False, [0, 1])])
def test_only_a_completed_finite_and_strictly_better_trial_is_the_best(maximize: bool, bests: list[int]) -> None:
    tally = Tally(maximize)
    values = [0.5, 0.2, float("nan"), 0.9, 0.9, 0.2]
    assert [n for n, value in enumerate(values) if tally.count(trial(n, value)).best] == bests
    assert not tally.count(trial(6, 99.0 if maximize else -99.0, Status.DIVERGED)).best
    assert (tally.done, tally.statuses[Status.DIVERGED]) == (7, 1)


def test_a_cohort_keeps_the_lane_that_beats_the_sweep() -> None:
    tally = Tally(maximize=True)
    assert tally.keep(np.array([np.nan, np.nan])) == []
    assert tally.keep(np.array([np.nan, 0.4, 0.6, 0.6])) == [2]
    tally.count(trial(0, 0.6))
    assert tally.keep(np.array([0.6, 0.1])) == []
