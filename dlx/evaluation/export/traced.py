"""A trained network as one pure function of raw inputs: traced once for every batch size, without what does not reach the outputs."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import export
from jax.extend.core import ClosedJaxpr

from dlx import engine
from dlx.data import Preparation
from dlx.errors import RunFailedError
from dlx.evaluation.export.exported import EXAMPLES
from dlx.experiment.restore import Trained
from dlx.models.forward import told
from dlx.tasks import LearnerState


@dataclass(frozen=True)
class Traced:
    """The network in evaluation mode: raw inputs (b, ...) -> outputs (b, outputs), the standardization inside."""

    jaxpr: ClosedJaxpr
    """One argument, one result; the weights are its constants."""
    inputs: jax.ShapeDtypeStruct
    """Shape and type of the argument. The first axis is symbolic: any number of examples."""
    nbytes: int
    """Of the weights."""


def trace(trained: Trained) -> Traced:
    """The function of a trained network, for any batch size.

    Raises `RunFailedError` for a network whose computation cannot be told for all batch sizes at once.
    """
    inputs = symbolic(trained.preparation)

    def forward(x: jax.Array) -> jax.Array:
        return engine.predict(trained.task, trained.config, trained.learner, trained.preparation.scaling, x)

    try:
        jaxpr = jax.jit(forward).trace(inputs).jaxpr
    except Exception as error:
        # The network itself works: it was trained. Whatever fails now fails because the batch size is not known.
        raise RunFailedError(f"the network cannot be traced for every batch size at once: {told(error)}") from error
    weights = jax.tree.leaves((trained.learner.params, trained.learner.rest))
    return Traced(live(jaxpr), inputs, sum(leaf.nbytes for leaf in weights))


def symbolic(preparation: Preparation) -> jax.ShapeDtypeStruct:
    """The raw inputs of a network, with the batch axis left open."""
    (batch,) = export.symbolic_shape("batch")
    return jax.ShapeDtypeStruct((batch, *preparation.spec.input_shape), preparation.dtype)


def live(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The program without the equations and constants that its results do not depend on.

    A network is rebuilt from its config inside each trace, with initial weights that nobody uses. The compiler drops them, but a
    file would keep them.
    """
    jaxpr = closed.jaxpr
    wanted = {id(variable) for variable in jaxpr.outvars}
    kept: list[Any] = []
    for equation in reversed(jaxpr.eqns):
        if equation.effects or any(id(variable) in wanted for variable in equation.outvars):
            kept.append(equation)
            wanted.update(id(variable) for variable in equation.invars)
    constants = [pair for pair in zip(jaxpr.constvars, closed.consts, strict=True) if id(pair[0]) in wanted]
    pruned = jaxpr.replace(eqns=kept[::-1], constvars=[variable for variable, _ in constants])
    return ClosedJaxpr(pruned, [value for _, value in constants])


def random_inputs(preparation: Preparation, examples: int = EXAMPLES) -> np.ndarray:
    """Raw inputs (examples, ...) that spread as the training inputs did. The same ones at every call."""
    scaling = preparation.scaling
    noise = np.random.default_rng(0).normal(size=(examples, *preparation.spec.input_shape)).astype(np.float32)
    raw = scaling.mean + noise / scaling.inverse_std
    if preparation.dtype == np.uint8:
        raw = np.clip(np.rint(raw), 0, preparation.pixel_range)
    return raw.astype(preparation.dtype)


def own_outputs(trained: Trained, inputs: np.ndarray, learner: LearnerState | None = None) -> np.ndarray:
    """What dlx itself says of raw inputs (n, ...): (n, outputs), computed in one batch, by other weights if they are given."""

    def forward(learner: LearnerState, x: jax.Array) -> jax.Array:
        return engine.predict(trained.task, trained.config, learner, trained.preparation.scaling, x)

    return np.asarray(jax.jit(forward)(trained.learner if learner is None else learner, inputs))
