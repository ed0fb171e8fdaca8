"""The order of the training batches: a pure function of (seed, step), so that nothing has to be stored to resume."""

import numpy as np

from dlx.errors import ConfigError


def batch_rows(seed: int, first_step: int, steps: int, examples: int, batch_size: int) -> np.ndarray:
    """Row numbers of the batches of `steps` steps from `first_step` on: (steps, batch_size) int32.

    Each epoch is a new permutation of all examples, cut into whole batches. The examples left over at its end (fewer
    than a batch) are dropped; they are other ones each epoch. Raises `ConfigError` when not one batch can be filled.
    """
    if not 0 < batch_size <= examples:
        raise ConfigError(
            f"train.batch_size={batch_size} does not fit {examples} training examples: set it to {examples} or less"
        )
    per_epoch = examples // batch_size
    first_epoch = first_step // per_epoch
    last_epoch = (first_step + max(steps, 1) - 1) // per_epoch
    batches = np.concatenate(
        [_epoch(seed, epoch, examples, per_epoch, batch_size) for epoch in range(first_epoch, last_epoch + 1)]
    )
    start = first_step - first_epoch * per_epoch
    return batches[start : start + steps]


def _epoch(seed: int, epoch: int, examples: int, per_epoch: int, batch_size: int) -> np.ndarray:
    """All whole batches of one epoch: (per_epoch, batch_size) int32."""
    rows = np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(examples)
    return rows[: per_epoch * batch_size].astype(np.int32).reshape(per_epoch, batch_size)


def some_rows(examples: int, most: int) -> np.ndarray:
    """At most so many of the row numbers below `examples`, drawn at random but always the same, ascending: (n,) int64.

    Evenly spaced ones would all be of one class where the data repeat their classes in order.
    """
    if examples <= most:
        return np.arange(examples)
    return np.sort(np.random.Generator(np.random.Philox(0)).choice(examples, most, replace=False))
