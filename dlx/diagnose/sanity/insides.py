"""What happens inside a network while it computes: each module's inputs and outputs, reported as they pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.extend.core import get_opaque_trace_state

from dlx.models.calls import watch_calls

SAMPLE = 4096
"""Values of a layer that are kept, at most."""


@dataclass(frozen=True)
class Seen:
    """What went into a module or came out of it: its place in the network, its shape, and a sample of its values."""

    path: str
    out: bool
    shape: tuple[int, ...]
    """Of the whole batch, (b, ..., units)."""
    values: np.ndarray
    """At most `SAMPLE` of them, evenly spread."""
    alive: np.ndarray
    """Which units (units,) are not zero for every example."""
    finite: bool
    """Whether no value at all is NaN or infinite."""


def watch(
    model: nnx.Module, examples: int, report: Callable[[str, bool, jax.Array], None], called: Callable[[str], None]
) -> None:
    """Makes this one model report what goes into its innermost modules, and what comes out of all modules but itself.

    `called` gets the path of every module that is called, wherever that happens.

    Reported are arrays (b, ..., units) of floats, for each module only at its first call, and nothing of what happens inside
    another transformation, such as the scan of a recurrent layer: values cannot leave that.
    """
    modules: dict[Sequence[Any], nnx.Module] = dict(nnx.iter_modules(model))
    parents = {path[:depth] for path in modules for depth in range(len(path))}
    here = _trace()

    def tell(path: str, out: bool, value: Any, told: set[bool]) -> None:
        y = next(iter(jax.tree.leaves(value)), None)
        known = isinstance(y, jax.Array) and jnp.issubdtype(y.dtype, jnp.floating) and y.ndim > 1 and len(y) == examples
        if known and out not in told and _trace() == here:
            told.add(out)
            report(path, out, y)

    for path, module in modules.items():
        if path:
            _watch(module, "/".join(map(str, path)), innermost=path not in parents, tell=tell, called=called)


def looked_at(y: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A sample of the values of y (b, ..., units), which of its units are not zero for every example, and whether all are finite."""
    step = max(1, -(-y.size // SAMPLE))
    while gcd(step, y.shape[-1]) > 1:  # or the sample would come from some of the units alone
        step += 1
    return y.reshape(-1)[::step].astype(jnp.float32), jnp.any(y != 0, range(y.ndim - 1)), jnp.isfinite(y).all()


def _watch(
    module: nnx.Module,
    path: str,
    *,
    innermost: bool,
    tell: Callable[[str, bool, Any, set[bool]], None],
    called: Callable[[str], None],
) -> None:
    told = set[bool]()

    def before(args: tuple[Any, ...]) -> None:
        called(path)
        if innermost:
            tell(path, False, args, told)

    watch_calls(module, before, lambda output: tell(path, True, output, told))


def _trace() -> Any:
    return get_opaque_trace_state(convention="nnx")
