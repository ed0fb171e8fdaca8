"""Losses rewritten, as JAX's own expressions: without custom reverse-mode rules, or with straight-through estimators held still."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, jaxpr_as_fun, jaxprs_in_params
from jax.extend.core.primitives import closed_call_p, custom_vjp_call_p

from dlx.diagnose.gradients import EPSILON
from dlx.nn.estimator import passed_straight_through

Vector = jax.Array | np.ndarray
Loss = Callable[[Vector], jax.Array]
Rewrite = Callable[[JaxprEqn], Any]
"""From a call of a `jax.custom_vjp` function to the expression in its place, or None to leave it."""
_POINTS = "points"
"""The axis along which a loss is evaluated at two points at once."""


def traced(loss: Loss, x: Vector) -> ClosedJaxpr:
    """The expression that a loss is, traced anew: JAX remembers what it has traced only by the function."""
    return jax.make_jaxpr(lambda y: loss(y))(x)  # noqa: PLW0108


def evaluated(expression: ClosedJaxpr) -> Loss:
    """The loss that an expression is."""
    return lambda x: jaxpr_as_fun(expression)(x)[0]


def equal(one: ClosedJaxpr, other: ClosedJaxpr) -> bool:
    """Whether two expressions compute the same, constants included."""
    return str(one) == str(other) and all(a is b or np.array_equal(a, b) for a, b in zip(one.consts, other.consts, strict=True))


def plain(loss: Loss, x: Vector) -> Loss:
    """The same loss, in which JAX differentiates the bodies of `jax.custom_vjp` functions itself, at any depth.

    So forward mode works where a custom rule allows reverse mode only, and tells what the rule should give.
    """
    return evaluated(_rewritten(traced(loss, x), lambda call: call.params["call_jaxpr"]))


def estimators(expression: Any) -> int:
    """At how many places a loss uses `dlx.nn.straight_through`: not in the bodies of other custom rules, which are not rewritten."""
    return sum(
        _is_estimator(equation)
        if equation.primitive is custom_vjp_call_p
        else sum(map(estimators, jaxprs_in_params(equation.params)))
        for equation in _open(expression).eqns
    )


def coarsest(expression: ClosedJaxpr) -> str:
    """The floating-point type of least precision in which a loss computes anything of its argument: `float64`, unless it casts."""
    return max({"float64"} | _types(expression, [True]), key=lambda name: EPSILON[name])


def held_still(expression: ClosedJaxpr) -> Callable[[Vector, Vector], jax.Array]:
    """(where, x) to the loss at x, if straight-through estimators added to their surrogates what they add at `where`.

    Its derivative in x at x = where is what the estimators claim to be the loss's own. Both points are evaluated at once, along
    an axis: each estimator looks its own value up at the other point.
    """

    def surrogate(call: JaxprEqn) -> Any:
        if not _is_estimator(call):
            return None
        still = jax.make_jaxpr(lambda v, s: s + jax.lax.all_gather(v - s, _POINTS)[0], axis_env=[(_POINTS, 2)])
        return still(*(operand.aval for operand in call.invars))

    both = evaluated(_rewritten(expression, surrogate))
    return lambda where, x: jax.vmap(both, axis_name=_POINTS)(jnp.stack([where, x]))[1]


def _types(value: Any, depends: Sequence[bool]) -> set[str]:
    """The known floating-point types of what is computed from those inputs of an expression that `depends`."""
    jaxpr, found = _open(value), set[str]()
    marked = {id(variable) for variable, marks in zip(jaxpr.invars, depends, strict=True) if marks}
    for equation in jaxpr.eqns:
        inputs = [id(variable) in marked for variable in equation.invars]
        if not any(inputs):
            continue
        # What is compared or counted has no gradient, whatever type is made of it.
        arrays = [(id(v), v.aval) for v in equation.outvars if isinstance(v.aval, ShapedArray)]
        types = {key: str(aval.dtype) for key, aval in arrays if jnp.issubdtype(aval.dtype, jnp.floating)}
        marked |= types.keys()
        found |= EPSILON.keys() & types.values()
        for inner in jaxprs_in_params(equation.params):
            count = len(_open(inner).invars)
            found |= _types(inner, inputs if len(inputs) == count else [True] * count)
    return found


def _is_estimator(call: JaxprEqn) -> bool:
    inner = call.params["call_jaxpr"]
    return _open(inner).debug_info.func_name == passed_straight_through.__name__


def _open(value: Any) -> Jaxpr:
    """Since JAX 0.11 every Jaxpr is closed."""
    return value if isinstance(value, Jaxpr) else value.jaxpr


def _rewritten(value: Any, rewrite: Rewrite) -> Any:
    match value:
        case ClosedJaxpr() if not isinstance(value, Jaxpr):
            return value.replace(jaxpr=_rewritten(value.jaxpr, rewrite))
        case Jaxpr():
            return value.replace(eqns=[_equation(equation, rewrite) for equation in value.eqns])
        case tuple() if any(isinstance(each, ClosedJaxpr | Jaxpr) for each in value):
            parts = [_rewritten(each, rewrite) for each in value]
            return tuple(parts) if type(value) is tuple else type(value)(*parts)  # a cond's branches, or a solver's named parts
    return value


def _equation(equation: JaxprEqn, rewrite: Rewrite) -> JaxprEqn:
    if equation.primitive is custom_vjp_call_p and (instead := rewrite(equation)) is not None:
        return equation.replace(primitive=closed_call_p, params={"call_jaxpr": _rewritten(instead, rewrite)})
    if equation.primitive is custom_vjp_call_p:  # its rules were made for the body that it has
        return equation
    return equation.replace(params={name: _rewritten(value, rewrite) for name, value in equation.params.items()})
