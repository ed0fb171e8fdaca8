"""What a task carries from step to step, and what it sees of the data."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from dlx.config import Experiment

Sums = dict[str, jax.Array]
"""Mergeable sums and counts of one batch: adding two of them gives those of both batches together."""

Key = jax.Array


class Batch(NamedTuple):
    """Examples of one step: standardized inputs (b, ...), targets (b,) or (b, outputs), weight (b,).

    Weight is 1 for an example and 0 for padding, so that an uneven last batch is scored exactly.
    """

    inputs: jax.Array
    targets: jax.Array
    weight: jax.Array


class LearnerState(NamedTuple):
    """One lane's parameters, running statistics, optimizer state, and averaged weights if any. All of it is checkpointed."""

    params: Any
    rest: Any
    opt: Any
    average: Any = ()


class Task(Protocol):
    """One learning problem. Tasks know one lane; only the engine knows that there are many."""

    @property
    def scores(self) -> Mapping[str, bool]:
        """Every metric that it can report, and whether more is better. The first one chooses the best checkpoint."""
        ...

    @property
    def running_scores(self) -> tuple[str, ...]:
        """The scores that the sums of `update` are enough for; the first one chooses where nothing is held out."""
        ...

    def init(self, config: Experiment, example: Batch, key: Key) -> LearnerState:
        """Parameters, running statistics, optimizer state."""
        ...

    def update(self, config: Experiment, state: LearnerState, batch: Batch, key: Key) -> tuple[LearnerState, Sums]:
        """One training step. The sums must hold `loss`, whose non-finite value freezes the lane."""
        ...

    def objective(
        self, config: Experiment, params: Any, rest: Any, batch: Batch, key: Key, *, train: bool = True
    ) -> tuple[jax.Array, tuple[Any, Sums]]:
        """The scalar whose gradient in the parameters `update` follows, with the new statistics and the sums.

        `train=False` is the same in evaluation mode: no dropout, no augmentation, the running statistics.
        """
        ...

    def evaluate(self, config: Experiment, state: LearnerState, batch: Batch, key: Key) -> Sums:
        """Scores one batch; `state.opt` and `state.average` are not looked at."""
        ...

    def predict(self, config: Experiment, state: LearnerState, inputs: jax.Array, key: Key) -> jax.Array:
        """What the network says of standardized inputs (b, ...): (b, outputs) logits of classes or labels, or numbers in the data's
        own units. `state.opt` and `state.average` are not looked at.
        """
        ...

    def averaged(self, state: LearnerState) -> LearnerState:
        """The learner with its averaged weights, where it averages them, in place of the raw ones."""
        ...

    def statistics(self, config: Experiment, state: LearnerState, batch: Batch, key: Key) -> Any:
        """The running statistics (`state.rest`) after one more batch of training, with which nothing is learned."""
        ...

    def rates(self, config: Experiment, step: jax.Array) -> Sums:
        """The scheduled numbers in force at a step, such as `learning_rate`."""
        ...

    def metrics(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Merged sums into metrics, on the host in float64."""
        ...
