"""What a task carries from step to step, and what it sees of the data."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from dlx.config import Experiment
from dlx.tasks.network import Network

Sums = dict[str, jax.Array]
"""Mergeable sums and counts of one batch: adding two of them gives those of both batches together."""

Key = jax.Array


class Batch(NamedTuple):
    """Examples of one step: standardized inputs (b, ...) or tokens (b, length), targets (b,) or (b, ...), weight (b,).

    Weight is 1 for an example and 0 for padding, so that an uneven last batch is scored exactly.
    """

    inputs: jax.Array
    targets: jax.Array
    weight: jax.Array


class LearnerState(NamedTuple):
    """One lane's parameters, running statistics, optimizer state, averaged weights if any, and what it remembers from step to step.

    The memory is what a task carries beside what it learns: the hidden state of a recurrent network that reads on where it
    stopped, the persistent chains of a Boltzmann machine. All of it is checkpointed, so that resuming is exact.
    """

    params: Any
    rest: Any
    opt: Any
    average: Any = ()
    memory: Any = ()


@dataclass(frozen=True)
class Asked:
    """What is to be generated."""

    count: int
    """How many images or sequences."""
    temperature: float = 1.0
    """Below 1 the likely becomes likelier; 0 takes the likeliest."""
    top_k: int | None = None
    """Only the so many likeliest tokens are drawn from."""
    length: int = 0
    """Tokens of each sequence."""
    prompt: np.ndarray | None = None
    """(tokens,) int32 that each sequence begins with."""
    classes: np.ndarray | None = None
    """(count,) int32: the class of each, for a network that is told one."""
    steps: int = 0
    """Points on the way from one sample to the next, for interpolation: `count` rows of so many."""


def between(drawn: jax.Array, steps: int) -> jax.Array:
    """Rows (n, steps, width) on the way from each of the normal vectors (n + 1, width) to the next.

    cos(t) * this + sin(t) * next, t from 0 to a quarter turn, is as likely as they are all along.
    """
    turn = jnp.linspace(0.0, np.pi / 2, steps)[:, None]
    return jnp.cos(turn) * drawn[:-1, None] + jnp.sin(turn) * drawn[1:, None]


@runtime_checkable
class Generative(Protocol):
    """A task whose network makes examples."""

    def generate(self, config: Experiment, state: "LearnerState", key: Key, asked: Asked) -> jax.Array:
        """Images (count, height, width, channels) in 0..1, interpolations (count, steps, height, width, channels), or tokens
        (count, length) int32. To be traced: `asked` is structure. Raises `UsageError` for what the network cannot be asked.
        """
        ...


class Examined(ABC):
    """A task that is not judged against a class, labels or numbers of each example: by what each adds to the sums."""

    scores: Mapping[str, bool]

    @abstractmethod
    def memory(self, config: Experiment, batch_size: int) -> Any:
        """The memory at the beginning of the batches of a stream."""

    @abstractmethod
    def metrics(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Merged sums into metrics."""

    @abstractmethod
    def examine(self, config: Experiment, state: "LearnerState", batch: Batch, key: Key) -> tuple[Any, Sums]:
        """The memory after the batch, and each example's part of the sums (b, ...), to be weighted and added up."""

    def evaluate(self, config: Experiment, state: "LearnerState", batch: Batch, key: Key) -> tuple[Any, Sums]:
        """Scores one batch by the sums of what its examples add, and the memory after it."""
        memory, each = self.examine(config, state, batch, key)
        return memory, summed(each, batch.weight)


@runtime_checkable
class Watchful(Protocol):
    """A task that can tell while it trains that it goes wrong in a way in which the loss says nothing of it."""

    def warnings(self, metrics: Mapping[str, float]) -> Mapping[str, str]:
        """What is wrong by the metrics (`train/...`, `validation/...`) of an evaluation: a sentence by a name for each trouble."""
        ...


@runtime_checkable
class Concluding(Protocol):
    """A task of whose training there is something to say when it has come to its end."""

    def conclusion(self, metrics: Mapping[str, float], epochs: float) -> str:
        """What came of so many epochs, by the metrics of the last evaluation."""
        ...


class Task(Protocol):
    """One learning problem. Tasks know one lane; only the engine knows that there are many."""

    @property
    def network(self) -> Network:
        """What is trained, for this data."""
        ...

    @property
    def scores(self) -> Mapping[str, bool]:
        """Every metric that it can report, and whether more is better. The first one chooses the best checkpoint."""
        ...

    @property
    def running_scores(self) -> tuple[str, ...]:
        """The scores that the sums of `update` are enough for; the first one chooses where nothing is held out."""
        ...

    def init(self, config: Experiment, example: Batch, key: Key) -> LearnerState:
        """Parameters, running statistics, optimizer state, and the memory as training begins with it."""
        ...

    def memory(self, config: Experiment, batch_size: int) -> Any:
        """The memory at the beginning of the batches of a stream; `()` for a task that has none."""
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

    def evaluate(self, config: Experiment, state: LearnerState, batch: Batch, key: Key) -> tuple[Any, Sums]:
        """Scores one batch, and the memory after it; `state.opt` and `state.average` are not looked at."""
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


def summed(each: Sums, weight: jax.Array) -> Sums:
    """The sums of a batch from each example's part (b, ...) and weight (b,), and `count`, how many examples there are."""
    sums = {}
    for name, part in each.items():
        w = weight.reshape(weight.shape + (1,) * (part.ndim - 1))
        # What a padding row adds may not be finite: 0 * inf must not become NaN.
        sums[name] = jnp.sum(jnp.where(w > 0, part * w, 0), 0)
    return {"count": jnp.sum(weight), **sums}
