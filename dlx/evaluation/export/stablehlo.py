"""StableHLO through `jax.export`: one file that JAX runs without dlx, for any batch size, on CPU, CUDA and TPU."""

import contextlib
from collections.abc import Callable, Generator
from typing import Final

import jax
import numpy as np
from jax import export
from jax.extend.core import jaxpr_as_fun

from dlx.errors import DataError, MissingInputError, RunFailedError
from dlx.evaluation.export.description import as_json, describe
from dlx.evaluation.export.exported import Export, compared
from dlx.evaluation.export.traced import Traced, own_outputs, random_inputs, trace
from dlx.experiment.restore import Trained
from dlx.models.forward import told

PLATFORMS: Final = ("cpu", "cuda", "tpu")
_LARGEST = 2**31 - 2**24
"""Bytes of weights. The file's format holds 2 GiB, the program included."""


def to_stablehlo(trained: Trained) -> Export:
    """The network as a serialized `jax.export.Exported` of raw inputs -> outputs, and its description as JSON.

    Raises `MissingInputError` without flatbuffers, `DataError` for a network beyond the format's 2 GiB.
    """
    _require_flatbuffers()
    traced = trace(trained)
    refuse_large(traced.nbytes, "a StableHLO file")
    exported, notes = lowered(traced)
    content = bytes(exported.serialize())
    inputs = random_inputs(trained.preparation)
    outputs = np.asarray(jax.jit(export.deserialize(bytearray(content)).call)(inputs))
    check = compared("JAX", outputs, own_outputs(trained, inputs), precision=trained.config.train.precision)
    description = describe(trained) | {"platforms": list(exported.platforms), "jax": jax.__version__}
    return Export("stablehlo", {"": content, ".json": as_json(description)}, False, check, (*trained.notices, *notes))


def refuse_large(nbytes: int, what: str) -> None:
    """Raises `DataError` where weights of so many bytes do not fit into a file of 2 GiB."""
    if nbytes > _LARGEST:
        raise DataError(
            f"the weights are {nbytes / 2**30:.1f} GiB, and {what} holds less than 2: use --format safetensors, which has no such limit"
        )


def lowered(traced: Traced) -> tuple[export.Exported, list[str]]:
    """The program for every platform that can run it, and what to say of the others."""
    function = jax.jit(lambda x: jaxpr_as_fun(traced.jaxpr)(x)[0])

    def lower(platforms: tuple[str, ...]) -> export.Exported:
        with _without_source_lines():
            return export.export(function, platforms=platforms)(traced.inputs)

    try:
        return lower(PLATFORMS), []
    except Exception as error:  # a network of one's own may use what only some platforms have
        refused = {platform: why for platform in PLATFORMS if (why := _refusal(lower, platform))}
        able = tuple(platform for platform in PLATFORMS if platform not in refused)
        if not able:
            raise RunFailedError(f"the network cannot be lowered to StableHLO: {told(error)}") from error
        return lower(able), [f"it does not run on {platform}: {why}" for platform, why in refused.items()]


def _refusal(lower: Callable[[tuple[str, ...]], export.Exported], platform: str) -> str:
    """Why a program cannot be lowered for one platform; empty where it can."""
    try:
        lower((platform,))
    except Exception as error:
        return told(error)
    return ""


@contextlib.contextmanager
def _without_source_lines() -> Generator[None]:
    """Keeps the paths and lines of source files, dlx's and the user's, out of what is lowered meanwhile."""
    option = "jax_traceback_in_locations_limit"
    before = jax.config.values[option]
    jax.config.update(option, 0)
    try:
        yield
    finally:
        jax.config.update(option, before)


def _require_flatbuffers() -> None:
    try:
        import flatbuffers  # noqa: F401
    except ImportError as error:
        raise MissingInputError("--format stablehlo needs flatbuffers: pip install 'dlx[export]'") from error
