"""The order of the training batches: a pure function of (seed, step), so that nothing has to be stored to resume."""

from dataclasses import dataclass
from typing import Final, Literal, assert_never

import numpy as np

from dlx.errors import ConfigError

_POOL = 64
"""Batches whose examples are sorted by length together: enough that neighbours are alike, few enough that batches differ by epoch."""


@dataclass(frozen=True)
class Order:
    """How training examples are put together to batches.

    `shuffled`: every epoch is a new permutation. `streams`: the rows follow each other as text does, and place b of a batch goes on,
    step by step, where it stood, so that a state carried from step to step stays with its stream. `lengths` (bucketing): a new
    permutation, but examples of one batch are of similar lengths.
    """

    kind: Literal["shuffled", "streams", "lengths"] = "shuffled"
    lengths: np.ndarray | None = None
    """(n,) of the training examples, for `lengths`."""


SHUFFLED: Final = Order()


def batch_rows(seed: int, first_step: int, steps: int, examples: int, batch_size: int, order: Order = SHUFFLED) -> np.ndarray:
    """Row numbers of the batches of `steps` steps from `first_step` on: (steps, batch_size) int32.

    Each epoch has all examples in a new order, cut into whole batches. The examples left over at its end (fewer than a batch)
    are dropped; they are other ones each epoch, but in streams, where they are the last ones. Raises `ConfigError` when not
    one batch can be filled.
    """
    if not 0 < batch_size <= examples:
        raise ConfigError(
            f"train.batch_size={batch_size} does not fit {examples} training examples: set it to {examples} or less"
        )
    per_epoch = examples // batch_size
    first_epoch = first_step // per_epoch
    last_epoch = (first_step + max(steps, 1) - 1) // per_epoch
    batches = np.concatenate(
        [_epoch(seed, epoch, examples, per_epoch, batch_size, order) for epoch in range(first_epoch, last_epoch + 1)]
    )
    start = first_step - first_epoch * per_epoch
    return batches[start : start + steps]


def evaluation_rows(
    examples: int, most: int | None, batches: int, batch_size: int, order: Order
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Row numbers (batches, batch_size) int64 of each call that scores a part, and which of them count (the same shape, bool).

    Scored are all of the `examples`, or `most` of them, spread evenly; of streams the first ones, in which each place of a batch
    goes on where it stood, as in training.
    """
    size = min(examples, most or examples)
    call = batches * batch_size
    found = []
    for start in range(0, size, call):
        count = min(call, size - start)
        streams = order.kind == "streams"
        place = _streams(count, batches, batch_size) if streams else np.arange(call).reshape(batches, batch_size)
        counts = place < count
        rows = np.where(counts, start + place, 0)
        found.append((rows if streams else rows * examples // size, counts))
    return found


def _streams(count: int, batches: int, batch_size: int) -> np.ndarray:
    """As many rows as there are in as few batches as hold them, each place of the batch a stream: (batches, batch_size); others are `count`."""
    each = -(-count // batch_size)
    place = np.full((batches, batch_size), count)
    streams = np.arange(batch_size)[None] * each + np.arange(each)[:, None]  # (each, batch_size)
    place[:each] = np.minimum(streams, count)
    return place


def _epoch(seed: int, epoch: int, examples: int, per_epoch: int, batch_size: int, order: Order) -> np.ndarray:
    """All whole batches of one epoch: (per_epoch, batch_size) int32."""
    if order.kind == "streams":
        return np.arange(per_epoch * batch_size, dtype=np.int32).reshape(batch_size, per_epoch).T
    random = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    batches = random.permutation(examples)[: per_epoch * batch_size].astype(np.int32).reshape(per_epoch, batch_size)
    match order.kind:
        case "shuffled":
            return batches
        case "lengths":
            assert order.lengths is not None
            for start in range(0, per_epoch, _POOL):
                pool = batches[start : start + _POOL].ravel()
                batches[start : start + _POOL] = pool[np.argsort(order.lengths[pool], kind="stable")].reshape(-1, batch_size)
            return batches[random.permutation(per_epoch)]
        case _:
            assert_never(order.kind)


def some_rows(examples: int, most: int) -> np.ndarray:
    """At most so many of the row numbers below `examples`, drawn at random but always the same, ascending: (n,) int64.

    Evenly spaced ones would all be of one class where the data repeat their classes in order.
    """
    if examples <= most:
        return np.arange(examples)
    return np.sort(np.random.Generator(np.random.Philox(0)).choice(examples, most, replace=False))
