"""Driving a cohort by hand, as `experiment.session` does."""

from collections.abc import Callable, Generator
from typing import Any

import jax
import numpy as np

from dlx.engine import Cohort, Progress
from dlx.events import Decision, Event

Answer = Callable[[Event], Decision]


def drain(events: Generator[Event, Decision | None, Any], answer: Answer = lambda _: Decision()) -> tuple[list[Event], Any]:
    """All events of a generator, each answered, and what it returns."""
    seen: list[Event] = []
    decision: Decision | None = None
    while True:
        try:
            event = events.send(decision)
        except StopIteration as end:
            return seen, end.value
        seen.append(event)
        decision = answer(event)


def train(cohort: Cohort, answer: Answer = lambda _: Decision()) -> tuple[list[Event], Progress]:
    """From fresh lanes to the plan's end."""
    _, progress = drain(cohort.start())
    return drain(cohort.train(progress), answer)


def lane(tree: Any, index: int) -> list[np.ndarray]:
    """The leaves of one lane, on the host."""
    return [np.array(leaf[index]) for leaf in jax.tree.leaves(tree)]


def assert_same_bits(left: Any, right: Any) -> None:
    """Two trees with the same leaves, bit for bit."""
    pairs = list(zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True))
    assert pairs
    for a, b in pairs:
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
