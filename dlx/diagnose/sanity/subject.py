"""What is checked: an experiment, its data, and a part of the data that is small enough for seconds."""

from dataclasses import dataclass, replace
from functools import cached_property

from dlx.config import Experiment
from dlx.data import Dataset, some_rows
from dlx.data.dataset import Part
from dlx.diagnose.sanity.trial import Rehearsal, rehearse
from dlx.diagnose.sanity.untrained import Untrained, untrained

TRAIN, HELD_OUT = 4096, 2048
"""Examples of the small part, at most."""


@dataclass(frozen=True)
class Subject:
    """One experiment under examination."""

    config: Experiment
    """Resolved, as it would train."""
    whole: Dataset
    small: Dataset
    """At most `TRAIN` training examples and `HELD_OUT` of each other part, drawn at random; everything else as in `whole`."""

    @cached_property
    def rehearsal(self) -> Rehearsal:
        """A training of a few seconds, which several checks look at: compiled and run once, when it is asked for first."""
        return rehearse(self.config, self.small)

    @cached_property
    def untrained(self) -> Untrained:
        """The network before its first step, built at the first look. Raises what `untrained` raises."""
        return untrained(self.config, self.whole, self.small)


def subject_of(config: Experiment, dataset: Dataset) -> Subject:
    """An experiment, resolved, on its data."""
    small = replace(
        dataset,
        train=_few(dataset.train, TRAIN),
        validation=_few(dataset.validation, HELD_OUT),
        test=_few(dataset.test, HELD_OUT),
    )
    return Subject(config, dataset, small)


def _few(part: Part, most: int) -> Part:
    return part.take(some_rows(len(part), most))
