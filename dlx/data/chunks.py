"""New data piece by piece: what every stream yields, cut to one length, with the policy for rows that cannot be used."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

import numpy as np

from dlx.errors import DataError

OnBad = Literal["stop", "skip"]
"""What a row that cannot be used does: it ends the stream with a `DataError`, or it is left out and told in `Chunk.bad`."""


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used."""

    line: int
    """As in `Chunk.rows`."""
    why: str


@dataclass(frozen=True)
class Chunk:
    """Some rows of new data, in the order of the file, ready for the network but for scaling: as `Part.inputs`."""

    inputs: np.ndarray
    """(n, ...) of the training inputs' shape and type. n is 0 only where a stream ends with bad rows."""
    rows: np.ndarray
    """(n,) int64: the line of the file that each row begins in, from 1; for Parquet, NPZ and images its number, from 1."""
    names: tuple[str, ...] | None = None
    """(n,) the path of each image in its folder; None for all else."""
    bad: tuple[BadRow, ...] = ()
    """The rows that were left out of this chunk, in the order of the file."""
    unseen: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """By column, how many values are of no category of the training part where it has no category `other`: all zeros.
    Exact in sum over a stream; a chunk may have those of a few rows of the next one."""
    fitted: int = 0
    """How many images had another size, where those of training all had one, and were scaled and cut. In sum as `unseen`."""
    unknown: int = 0
    """How many tokens of the texts are not in the vocabulary. In sum as `unseen`."""
    notes: tuple[str, ...] = ()
    """Of the first chunk: a sentence for each thing that was done to the data as a whole."""

    def __len__(self) -> int:
        return len(self.inputs)


def stop_at_bad(pieces: Iterable[Chunk], where: str, numbers: str) -> Iterator[Chunk]:
    """The pieces, up to a bad row, which is a `DataError`. `numbers` is what rows are counted in: `line`, `row`, `image`, `file`."""
    for piece in pieces:
        if piece.bad:
            row = piece.bad[0]
            raise DataError(
                f"{where}, {numbers} {row.line:,}: {row.why}: correct the row, or leave such rows out with --on-bad skip"
            )
        yield piece


def in_chunks(pieces: Iterable[Chunk], length: int) -> Iterator[Chunk]:
    """The same rows in chunks of `length`; only the last may be shorter. It alone may have no rows, if there are bad ones."""
    held: deque[Chunk] = deque()
    count = 0
    for piece in pieces:
        held.append(piece)
        count += len(piece)
        while count >= length:
            yield _joined(_taken(held, length))
            count -= length
    if count or any(piece.bad for piece in held):
        yield _joined(list(held))


def _taken(held: deque[Chunk], length: int) -> list[Chunk]:
    """The pieces with the first `length` rows, out of `held`; one is divided where need be."""
    taken: list[Chunk] = []
    while length:
        piece = held.popleft()
        if len(piece) > length:
            line = int(piece.rows[length])
            names = piece.names
            tail = Chunk(
                piece.inputs[length:],
                piece.rows[length:],
                None if names is None else names[length:],
                tuple(row for row in piece.bad if row.line > line),
            )
            held.appendleft(tail)
            piece = replace(
                piece,
                inputs=piece.inputs[:length],
                rows=piece.rows[:length],
                names=None if names is None else names[:length],
                bad=tuple(row for row in piece.bad if row.line < line),
            )
        taken.append(piece)
        length -= len(piece)
    return taken


def _joined(pieces: list[Chunk]) -> Chunk:
    unseen: Counter[str] = Counter()
    for piece in pieces:
        unseen.update(piece.unseen)
    names = tuple(name for piece in pieces for name in piece.names or ())
    return Chunk(
        pieces[0].inputs if len(pieces) == 1 else np.concatenate([piece.inputs for piece in pieces]),
        np.concatenate([piece.rows for piece in pieces]),
        None if pieces[0].names is None else names,
        tuple(row for piece in pieces for row in piece.bad),
        MappingProxyType(dict(unseen)),
        sum(piece.fitted for piece in pieces),
        sum(piece.unknown for piece in pieces),
        tuple(note for piece in pieces for note in piece.notes),
    )
