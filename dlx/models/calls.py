"""Looking at the calls of one module without changing its class for other networks."""

from collections.abc import Callable
from types import new_class
from typing import Any

from flax import nnx


def watch_calls(module: nnx.Module, before: Callable[[tuple[Any, ...]], Any], after: Callable[[Any], Any]) -> None:
    """Makes this one instance report the arguments of each call, then its output.

    Python looks `__call__` up in the class, so the instance gets a class of its own; the original, which other networks
    share, stays as it is.
    """
    original = type(module)

    def watched(self: nnx.Module, *args: Any, **kwargs: Any) -> Any:
        before(args)
        output = original.__call__(self, *args, **kwargs)
        after(output)
        return output

    watching = new_class(original.__name__, (original,), exec_body=lambda namespace: namespace.update(__call__=watched))
    object.__setattr__(module, "__class__", watching)
