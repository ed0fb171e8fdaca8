"""Which examples have equal inputs."""

import hashlib
import math

import numpy as np


def digests(inputs: np.ndarray) -> list[bytes]:
    """One digest for each row of inputs (n, ...); equal rows have equal ones."""
    rows = np.ascontiguousarray(inputs).reshape(len(inputs), math.prod(inputs.shape[1:]))
    rows = rows if rows.dtype == np.uint8 else rows + np.float32(0)  # minus zero becomes zero
    return [hashlib.blake2b(row.data, digest_size=16).digest() for row in rows]


def groups_of(inputs: np.ndarray) -> np.ndarray:
    """The number (n,) of each row of inputs (n, ...); equal rows have equal numbers."""
    return np.unique(np.array(digests(inputs), dtype="V16"), return_inverse=True)[1] if len(inputs) else np.zeros(0, int)
