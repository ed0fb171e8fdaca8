"""Targets that change places between inputs, and the score that is then left to chance."""

from dataclasses import dataclass, replace

import numpy as np

from dlx.config import Experiment
from dlx.config.task import Classify, Multilabel, Perceptron, Regress
from dlx.data import Dataset, some_rows
from dlx.data.dataset import Part
from dlx.diagnose.sanity.alike import groups_of
from dlx.errors import ConfigError

FEW, LEAST = 96, 48
"""Training examples under shuffled targets, and held-out ones at least."""
ERRORS = 4.0
"""A score so many standard errors above chance is better than chance."""


@dataclass(frozen=True)
class Shuffled:
    """Data whose targets say nothing of the inputs, but that equal inputs have equal ones."""

    dataset: Dataset
    copies: int
    """Held-out examples of the small data whose inputs are among its training examples."""
    different: int
    """Different inputs among the held-out examples that are left."""
    conflicts: float
    """The part of the inputs occurring more than once that had different targets before. Copies have the same."""


def shuffled(small: Dataset, train: int, held_out: int, seed: int) -> Shuffled:
    """So many examples of both parts under shuffled targets, the training's from `FEW` that can soon be learned by heart.

    Where copies are held out, these come first in training, and few others are held out beside them.
    """
    groups = groups_of(np.concatenate([small.train.inputs, small.validation.inputs]))
    targets = np.concatenate([small.train.targets, small.validation.targets])
    ours, theirs = groups[: len(small.train)], groups[len(small.train) :]
    of_group = np.unique(groups, return_index=True)[1]
    drawn = targets[np.random.default_rng(seed).permutation(of_group)][groups]
    known = _first(np.isin(ours, theirs), min(train, FEW))
    copied = np.isin(theirs, ours[known])
    count = max(int(copied.sum()), LEAST) if copied.any() else held_out
    unknown = _first(copied, min(count, held_out))
    dataset = replace(
        small,
        train=Part(small.train.inputs, drawn[: len(ours)]).take(np.resize(known, train)),
        validation=Part(small.validation.inputs, drawn[len(ours) :]).take(np.resize(unknown, held_out)),
    )
    differs = targets[of_group][groups] != targets
    return Shuffled(dataset, int(np.isin(theirs, ours).sum()), len(np.unique(theirs[unknown])), _conflicts(groups, differs))


def by_chance(config: Experiment, targets: np.ndarray, different: int) -> tuple[str, float, float]:
    """The score that tells, what it is for the best guess that knows no input, and what it reaches by luck.

    Numbers that follow no input correlate with `different` targets by ERRORS / sqrt(n) at most, and r2 is at most the square.
    """
    match config.task:
        case Classify() | Perceptron() | None:
            metric, chance = "accuracy", float(np.max(np.bincount(targets)) / len(targets))
        case Multilabel():
            metric, chance = "accuracy", float(np.maximum(targets.mean(0), 1 - targets.mean(0)).mean())
        case Regress():
            return "r2", 0.0, min(1.0, ERRORS**2 / different)
        case _:
            raise ConfigError(f"task.kind={config.task.kind} has no score that chance alone would reach")
    return metric, chance, chance + ERRORS * float(np.sqrt(chance * (1 - chance) / different))


def _first(wanted: np.ndarray, count: int) -> np.ndarray:
    """The numbers of `count` rows at most: of the wanted ones, then of others, each evenly spread."""
    there, others = np.flatnonzero(wanted), np.flatnonzero(~wanted)
    there = there[some_rows(len(there), count)]
    return np.concatenate([there, others[some_rows(len(others), count - len(there))]])


def _conflicts(groups: np.ndarray, differs: np.ndarray) -> float:
    """The part of the groups of several rows in which a row's target `differs` (n, ...) from the group's first."""
    several = np.bincount(groups) > 1
    conflicting = np.zeros(len(several), bool)
    conflicting[groups[differs.reshape(len(groups), -1).any(1)]] = True
    return float(conflicting[several].mean()) if several.any() else 0.0
