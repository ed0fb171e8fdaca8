"""A traced program as an ONNX graph: calls are inlined, loops of known length unrolled, what is known already is computed."""

from collections.abc import Sequence
from typing import Any, Final

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, jaxpr_as_fun

from dlx.evaluation.export.onnx_graph import Graph, Value
from dlx.evaluation.export.onnx_operations import operation
from dlx.evaluation.export.onnx_shapes import cut

_CALLS: Final = ("jaxpr", "call_jaxpr", "fun_jaxpr")
"""Where a primitive that calls a function keeps it."""
_CALLERS: Final = frozenset(
    "jit pjit closed_call core_call remat remat2 checkpoint custom_jvp_call custom_vjp_call custom_vjp_call_jaxpr "
    "custom_vmap_call".split()
)
_UNCHANGED: Final = frozenset("stop_gradient copy copy_p optimization_barrier sharding_constraint name".split())
_LONGEST: Final = 1000
"""Rounds of a loop that is unrolled."""


def add_program(graph: Graph, program: ClosedJaxpr, inputs: Sequence[Value]) -> list[Value]:
    """The results of a program on values of the graph. Raises `RunFailedError` naming what ONNX cannot say."""
    pairs = zip(program.consts, program.jaxpr.constvars, strict=True)
    return _add(graph, program.jaxpr, [_known(graph, constant, variable.aval) for constant, variable in pairs], inputs)


def _add(graph: Graph, jaxpr: Jaxpr, constants: Sequence[Value], inputs: Sequence[Value]) -> list[Value]:
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *inputs], strict=True))

    def value(atom: Any) -> Value:
        return _known(graph, atom.val, atom.aval) if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        results = _equation(graph, jaxpr, equation, [value(atom) for atom in equation.invars])
        values.update(zip(equation.outvars, results, strict=True))
    return [value(atom) for atom in jaxpr.outvars]


def _equation(graph: Graph, jaxpr: Jaxpr, equation: Any, values: list[Value]) -> list[Value]:
    name, params = equation.primitive.name, equation.params
    if name in _CALLERS:
        called = next(params[key] for key in _CALLS if key in params)
        if isinstance(called, ClosedJaxpr):
            return add_program(graph, called, values)
        return _add(graph, called, [], values)
    if name == "dim_as_value":
        return [graph.dimension(params["dim"], equation.outvars[0].aval.dtype)]
    if all(value.constant is not None for value in values) and _fixed(equation):
        return _computed(graph, jaxpr, equation, values)
    if name in _UNCHANGED:
        return values
    avals = [variable.aval for variable in equation.outvars]
    match name:
        case "scan":
            return _unrolled(graph, equation, values)
        case "cond" if values[0].constant is not None:
            branches = params["branches"]
            return add_program(graph, branches[min(max(int(values[0].constant), 0), len(branches) - 1)], values[1:])
        case "split":
            return _split(graph, values[0], params, avals)
    known = operation(name)
    if known is None:
        graph.refuse(f"the operation {name}")
    return [known(graph, values, params, avals[0])]


def _known(graph: Graph, array: Any, aval: Any) -> Value:
    if jax.dtypes.issubdtype(aval.dtype, jax.dtypes.extended):
        graph.refuse("random numbers in evaluation mode")
    return graph.constant(np.asarray(array, aval.dtype))


def _fixed(equation: Any) -> bool:
    """Whether the results have shapes that do not depend on the batch."""
    shapes = [variable.aval.shape for variable in (*equation.invars, *equation.outvars)]
    return all(isinstance(dim, int) for shape in shapes for dim in shape)


def _computed(graph: Graph, jaxpr: Jaxpr, equation: Any, values: list[Value]) -> list[Value]:
    """What an equation of known arrays gives, computed by JAX."""
    arrays = {}
    for value, atom in zip(values, equation.invars, strict=True):
        if not isinstance(atom, Literal):
            arrays[atom] = np.broadcast_to(np.asarray(value.constant), atom.aval.shape).astype(atom.aval.dtype)
    alone = jaxpr.replace(
        constvars=[], invars=list(arrays), outvars=list(equation.outvars), eqns=[equation], debug_info=jaxpr.debug_info
    )
    results = jaxpr_as_fun(ClosedJaxpr(alone, []))(*arrays.values())
    return [_known(graph, each, variable.aval) for each, variable in zip(results, equation.outvars, strict=True)]


def _unrolled(graph: Graph, equation: Any, values: list[Value]) -> list[Value]:
    """A `lax.scan` of known length, round by round: a recurrent network over steps."""
    length, body = equation.params["length"], equation.params["jaxpr"]
    if not isinstance(length, int) or length > _LONGEST:
        graph.refuse(f"a loop of {length} rounds")
    # Constants, then what is carried, then rows; only rows have another shape inside, and only stacks another one outside.
    sliced = [a.aval.shape != b.aval.shape for a, b in zip(equation.invars, body.jaxpr.invars, strict=True)].count(True)
    carried = [a.aval.shape == b.aval.shape for a, b in zip(equation.outvars, body.jaxpr.outvars, strict=True)].count(True)
    fixed, rows = values[: len(values) - sliced - carried], values[len(values) - sliced :]
    carry = values[len(fixed) : len(fixed) + carried]
    stacks: list[list[Value]] = []
    order = range(length - 1, -1, -1) if equation.params["reverse"] else range(length)
    for index in order:
        results = add_program(graph, body, [*fixed, *carry, *(_row(graph, each, index) for each in rows)])
        carry = results[:carried]
        stacks.append(results[carried:])
    if equation.params["reverse"]:
        stacks.reverse()
    return [*carry, *(_stacked(graph, column) for column in zip(*stacks, strict=True))]


def _row(graph: Graph, value: Value, index: int) -> Value:
    value = graph.full(value)
    if value.constant is not None:
        return graph.constant(value.constant[index])
    return graph.node("Gather", [value, graph.constant(np.int64(index))], value.shape[1:], value.dtype, {"axis": 0})


def _stacked(graph: Graph, rows: Sequence[Value]) -> Value:
    first = graph.integers([0])
    raised = [graph.node("Unsqueeze", [graph.full(row), first], (1, *row.shape), row.dtype) for row in rows]
    return graph.node("Concat", raised, (len(rows), *rows[0].shape), rows[0].dtype, {"axis": 0})


def _split(graph: Graph, value: Value, params: Any, avals: Sequence[Any]) -> list[Value]:
    found, start = [], 0
    for size, aval in zip(params["sizes"], avals, strict=True):
        starts, ends = [0] * len(value.shape), list(value.shape)
        starts[params["axis"]], ends[params["axis"]] = start, start + size
        found.append(cut(graph, value, starts, ends, (1,) * len(starts), aval.shape))
        start += size
    return found
