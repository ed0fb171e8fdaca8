"""Calling a network, whoever wrote it: in training or evaluation mode, and with its failures told in one sentence."""

import inspect
import traceback
from pathlib import Path

from flax import nnx
from jax import Array

from dlx.errors import DlxError, RunFailedError

LONGEST = 500
"""Characters of somebody else's error message that are worth repeating."""
_PACKAGE = Path(__file__).parents[1]


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
    """An exception as `TypeError: its text (net.py, line 34)`. JAX's messages go on for a page: the rest is in the traceback."""
    text = " ".join(str(error).split())
    shown = f"{text[:LONGEST]}..." if len(text) > LONGEST else text
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "site-packages" not in f.filename and not f.filename.startswith(str(_PACKAGE))]
    place = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {shown}{place}" if shown else f"{type(error).__name__}{place}"
