"""Calling a network, whoever wrote it: in training or evaluation mode, and with its failures told in one sentence."""

import inspect

from flax import nnx
from jax import Array

from dlx.errors import DlxError, RunFailedError


def call(model: nnx.Module, x: Array, *, train: bool) -> Array:
    """`model(x, train=train)` if the model takes that keyword, else `model(x)`: (b, ...) -> (b, out_features).

    Raises `RunFailedError` when the model's own code raises.
    """
    forward = type(model).__call__.__get__(model)
    try:
        return forward(x, train=train) if "train" in inspect.signature(forward).parameters else forward(x)
    except DlxError:
        raise
    except Exception as error:
        name = type(model).__qualname__
        raise RunFailedError(f"model {name} raised {told(error)} when called with an input of shape {x.shape}") from error


def set_mode(model: nnx.Module, train: bool) -> None:
    """Switches every dropout and batch normalization inside `model`, Flax's own and those of `dlx.nn`, in place."""
    # By the class, because a user's network may well have an attribute called `train`.
    (nnx.Module.train if train else nnx.Module.eval)(model)


def told(error: Exception) -> str:
    """An exception as `TypeError: its first line`: JAX's messages go on for a page, and the traceback keeps them."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
