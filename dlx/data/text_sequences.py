"""Sequences of tokens as arrays, and the end that all text data share: a `Dataset` without scaling."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from dlx.data.dataset import Dataset, Part, Scaling, TargetKind
from dlx.data.finish import finish
from dlx.data.order import Order
from dlx.data.scaling import Moments
from dlx.data.target import Targets
from dlx.data.tokens import PAD, UNKNOWN
from dlx.errors import ConfigError

MANY_UNKNOWN = 0.001
"""A share of unknown tokens that is worth telling."""
_SAID = MappingProxyType(
    {"class": "classes", "labels": "labels", "number": "numbers", "tokens": "tokens", "none": "examples alone"}
)


def padded(sequences: Sequence[np.ndarray], length: int) -> np.ndarray:
    """(n, length) int32: each sequence, none of which is longer, and PAD after it."""
    rows = np.full((len(sequences), length), PAD, np.int32)
    if len(sequences):
        rows[np.arange(length) < lengths(sequences)[:, None]] = np.concatenate(sequences)
    return rows


def lengths(sequences: Sequence[np.ndarray]) -> np.ndarray:
    """(n,) int64: how many tokens each has."""
    return np.fromiter(map(len, sequences), np.int64, len(sequences))


def windows(stream: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """A stream of tokens (tokens,) cut into inputs and targets, both (n, length) int32: each token but the last is an input, and
    what follows it the target. The last window is padded; of fewer than two tokens there is none.
    """
    count = -(-max(len(stream) - 1, 0) // length)
    rows = np.full((2, count * length), PAD, np.int32)
    if count:
        rows[0, : len(stream) - 1], rows[1, : len(stream) - 1] = stream[:-1], stream[1:]
    inputs, targets = rows.reshape(2, count, length)
    return inputs, targets


def require_target(name: str, found: TargetKind | None, wanted: TargetKind, what: str) -> None:
    """Raise `ConfigError` where the task predicts something else than these data have."""
    if found not in (None, wanted):
        raise ConfigError(
            f"task: {name} has {what} to predict, and the task is for {_SAID[found]}: leave it out, or choose another"
        )


def unknown_share(name: str, sequences: Sequence[np.ndarray]) -> tuple[str, ...]:
    """How many tokens of a part the training part does not have, if they are worth a sentence."""
    count = int(lengths(sequences).sum())
    unknown = int((np.concatenate(sequences) == UNKNOWN).sum()) if count else 0
    if not count or unknown / count < MANY_UNKNOWN:
        return ()
    return (f"{unknown / count:.1%} of the {name} tokens are unknown (<unk>)",)


def from_tokens(
    name: str,
    targets: Targets,
    parts: tuple[Part, Part, Part],
    tokens: int,
    order: Order,
    preprocessing: Mapping[str, Any],
    report: tuple[str, ...],
) -> Dataset:
    """The `Dataset` of three parts whose inputs are tokens, `tokens` different ones. Their scaling changes nothing."""
    length = parts[0].inputs.shape[1]
    scaling = Scaling(np.zeros(length, np.float32), np.ones(length, np.float32))
    # The numbers of tokens have no mean; `Preparation` reads none where the kind is text.
    moments = Moments(np.zeros(length), np.ones(length))
    return finish(name, targets, parts, scaling, moments, preprocessing, report, tokens=tokens, order=order)
