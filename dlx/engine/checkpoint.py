"""Checkpoints of one lane: one safetensors file each, written whole or not at all, and checked when read.

A file `step-00001200.safetensors` holds the lane (parameters, statistics, optimizer) and its best weights, with the host's
numbers in the header. It is written under a temporary name, flushed to the disk and renamed; the two newest are kept, so
that a torn or damaged file costs no more than the time between two checkpoints.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from dlx.errors import CannotWriteError, DataError

FORMAT = "dlx-checkpoint-1"
KEPT = 2
_NAME = re.compile(r"step-(\d+)\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """One lane at one step: a pytree of arrays, plain numbers, and the sums of the interval that was under way."""

    step: int
    tree: Any
    numbers: Mapping[str, float | int | bool]
    pending: Mapping[str, Any]
    damaged: tuple[str, ...] = ()
    """Newer files that could not be read, where this one was."""


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Writes atomically and durably, then removes all but the newest `KEPT`. Raises `CannotWriteError`."""
    arrays = {name: np.asarray(leaf, order="C") for name, leaf in named_leaves(checkpoint.tree)}
    header = {
        "format": FORMAT,
        "state": json.dumps({"step": checkpoint.step, "numbers": checkpoint.numbers, "pending": checkpoint.pending}),
    }
    header["digest"] = _digest(arrays, header["state"])
    path = folder / f"step-{checkpoint.step:08d}.safetensors"
    write_atomically(path, save(arrays, header))
    leftovers = folder.glob(".step-*.tmp")  # of processes that were killed while they wrote
    for old in (*(p for p in _newest_first(folder)[KEPT:] if p != path), *leftovers):
        old.unlink(missing_ok=True)
    return path


def read_checkpoint(folder: Path, template: Any) -> Checkpoint:
    """The newest intact checkpoint of a folder, as a pytree like `template` (whose leaves may carry a lane axis).

    Raises `DataError` when no file is intact, or when an intact one is of another architecture.
    """
    path, arrays, state, damaged = _newest_intact(folder)
    return Checkpoint(state["step"], _shaped(arrays, template, path), state["numbers"], state["pending"], damaged)


@dataclass(frozen=True)
class Weights:
    """The best weights of a run so far, and whence they come."""

    tree: Any
    step: int
    """At which they were found to be the best; -1 where none were scored yet."""
    path: Path
    digest: str
    """Of the weights: equal ones have equal digests."""
    damaged: tuple[str, ...]
    """Newer files that could not be read, where this one was."""


def read_weights(folder: Path, template: Any) -> Weights:
    """The best weights alone of the newest intact checkpoint, as a pytree like `template` (whose leaves carry a lane axis).

    However they were trained: the optimizer's state is not looked at. Raises `DataError` as `read_checkpoint`.
    """
    found = read_named_weights(folder)
    return replace(found, tree=_shaped(found.tree, template, found.path))


def read_named_weights(folder: Path) -> Weights:
    """As `read_weights`, of whatever architecture: the tree is a mapping of names such as `params/output/kernel` to arrays."""
    path, arrays, state, damaged = _newest_intact(folder)
    best = {name.removeprefix("1/"): array for name, array in arrays.items() if name.startswith("1/")}
    return Weights(best, state["numbers"]["best_step"], path, _digest(best, ""), damaged)


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint file of a folder, intact or not; None where there is none."""
    return next(iter(_newest_first(folder)), None)


def newest_step(folder: Path) -> int | None:
    """The step of the newest checkpoint file of a folder; None where there is none."""
    newest = newest_checkpoint(folder)
    return None if newest is None else int(newest.stem.removeprefix("step-"))


def write_atomically(path: Path, content: bytes) -> None:
    """A file that is either the old one or the new one, also after a power cut. Raises `CannotWriteError`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        with contextlib.suppress(OSError):  # there may be nothing to remove; the first error is the one to tell
            temporary.unlink()
        raise CannotWriteError(f"{path}: cannot be written: {error.strerror}; free space or choose another --store") from error


def _newest_intact(folder: Path) -> tuple[Path, dict[str, np.ndarray], Any, tuple[str, ...]]:
    """The newest file that can be read, its arrays, its numbers, and the newer ones that could not be read, with why."""
    damaged: list[str] = []
    for path in _newest_first(folder):
        try:
            arrays, state = _read(path)
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            damaged.append(f"{path.name} ({_first_line(error)})")
            continue
        return path, arrays, state, tuple(damaged)
    found = (
        f"every checkpoint in {folder} is damaged: {', '.join(damaged)}" if damaged else f"there is no checkpoint in {folder}"
    )
    raise DataError(f"{found}; train again under a new name")


def _read(path: Path) -> tuple[dict[str, np.ndarray], Any]:
    with safe_open(path, framework="numpy") as file:
        header = file.metadata() or {}
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    if header.get("format") != FORMAT:
        raise ValueError(f"its format is {header.get('format')!r}, not {FORMAT!r}")
    if header["digest"] != _digest(arrays, header["state"]):
        raise ValueError("its checksum is wrong")
    return arrays, json.loads(header["state"])


def _shaped(arrays: Mapping[str, np.ndarray], template: Any, path: Path) -> Any:
    """The arrays as a pytree like `template`, whose leaves have one more leading axis (the lanes)."""
    wanted = {name: (tuple(leaf.shape[1:]), leaf.dtype) for name, leaf in named_leaves(template)}
    for name, (shape, dtype) in wanted.items():
        if name not in arrays or (arrays[name].shape, arrays[name].dtype) != (shape, dtype):
            found = f"{arrays[name].dtype} {arrays[name].shape}" if name in arrays else "none"
            raise DataError(
                f"{path} is of another architecture: this config's {name} is {dtype} {shape}, the checkpoint has {found}; "
                "resume with the config that the run was started with"
            )
    if extra := sorted(set(arrays) - set(wanted)):
        raise DataError(f"{path} is of another architecture: this config has no {extra[0]}, which the checkpoint holds")
    return jax.tree.unflatten(jax.tree.structure(template), [arrays[name] for name in wanted])


def named_leaves(tree: Any, separator: str = "/") -> list[tuple[str, Any]]:
    """The leaves of a pytree with their places in it, such as `0/learner/params/hidden/0/kernel`."""
    return [
        (jax.tree_util.keystr(path, simple=True, separator=separator), leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]


def _digest(arrays: Mapping[str, np.ndarray], state: str) -> str:
    digest = hashlib.blake2b(state.encode(), digest_size=16)
    for name in sorted(arrays):
        digest.update(f"{name}{arrays[name].dtype}{arrays[name].shape}".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


def _newest_first(folder: Path) -> list[Path]:
    files = [(int(match[1]), path) for path in folder.glob("step-*.safetensors") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(files, reverse=True)]


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
