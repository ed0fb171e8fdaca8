"""The user's own Flax NNX module, from a file or an importable package."""

import inspect
from typing import Any

from flax import nnx

from dlx.config.model import PythonModel
from dlx.errors import ConfigError, DlxError, RunFailedError
from dlx.models.forward import told
from dlx.models.shapes import Features
from dlx.targets import load_target


def build_target(config: PythonModel, in_features: Features, out_features: int, rngs: nnx.Rngs) -> nnx.Module:
    """`Net(in_features, out_features, rngs=rngs, **args)` for the class or function `Net` that `model.target` names.

    Raises `ConfigError` when it cannot be called so or does not make an NNX module, `RunFailedError` when its code raises.
    """
    make, where = load_target(config.target), f"model.target {config.target!r}"
    if not callable(make) or (isinstance(make, type) and not issubclass(make, nnx.Module)):
        raise ConfigError(f"{where} is {_described(make)}: name a subclass of flax.nnx.Module, or a function that returns one")
    _check_arguments(make, config.args, where)
    try:
        model = make(in_features, out_features, rngs=rngs, **config.args)
    except DlxError:
        raise
    except Exception as error:
        raise RunFailedError(f"{where} raised {told(error)} while it was built for in_features={in_features}") from error
    if not isinstance(model, nnx.Module):
        raise ConfigError(f"{where} returned {_described(model)}: return a flax.nnx.Module")
    return model


def _check_arguments(make: Any, args: dict[str, Any], where: str) -> None:
    """A wrong name in `model.args` is a mistake in the config and not in the user's code."""
    # NNX classes are made by a metaclass whose own signature takes anything: ask `__init__`, whose first argument is `self`.
    first, constructor = ((None,), make.__init__) if isinstance(make, type) else ((), make)
    try:
        inspect.signature(constructor).bind(*first, 0, 0, rngs=None, **args)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{where} cannot be built as Net(in_features, out_features, rngs=rngs, **model.args) with "
            f"model.args={args!r}: {error}"
        ) from error


def _described(thing: Any) -> str:
    return f"the class {thing.__name__}" if isinstance(thing, type) else f"a {type(thing).__name__}"
