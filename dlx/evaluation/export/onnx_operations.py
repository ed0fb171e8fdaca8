"""JAX's elementwise primitives and reductions in ONNX's operators, and the table of all that can be converted.

An operation is called with the graph, the values that go in, the primitive's parameters, and the shape and type that JAX gives the
result. Elementwise ones keep an axis that all their values repeat at length 1 (`Value.held`).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from dlx.evaluation.export import onnx_products as products
from dlx.evaluation.export import onnx_shapes as shapes
from dlx.evaluation.export.onnx_graph import Graph, Operation, Params, Value

Values = Sequence[Value]


def _apply(kind: str, graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    """One operator on values of one rank, or scalars."""
    del params
    rank = len(aval.shape)
    helds = [(1,) * (rank - len(value.held)) + value.held for value in values]
    held = tuple(next((dim for dim in dims if not _is_one(dim)), 1) for dims in zip(*helds, strict=True))
    made = graph.node(kind, values, held, aval.dtype)
    return Value(made.name, tuple(aval.shape), held, made.dtype)


def _is_one(dim: Any) -> bool:
    return isinstance(dim, int) and dim == 1


def _logical(kind: str, graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    """`And` of truth values, `BitwiseAnd` of integers."""
    return _apply(kind if values[0].dtype == np.bool_ else f"Bitwise{kind}", graph, values, params, aval)


def _in_turn(kinds: tuple[str, ...], graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    """The first operator on all values, each further one on the result."""
    for kind in kinds:
        values = [_apply(kind, graph, values, params, aval)]
    return values[0]


def _with_number(value: Value, number: float, graph: Graph) -> Values:
    return [value, graph.constant(np.asarray(number, value.dtype))]


def _square(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    return _apply("Mul", graph, [values[0], values[0]], params, aval)


def _integer_pow(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    if params["y"] == 2:
        return _square(graph, values, params, aval)
    return _apply("Pow", graph, _with_number(values[0], params["y"], graph), params, aval)


def _log1p(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    plus_one = _apply("Add", graph, _with_number(values[0], 1, graph), params, aval)
    return _apply("Log", graph, [plus_one], params, aval)


def _expm1(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    power = _apply("Exp", graph, values, params, aval)
    return _apply("Sub", graph, _with_number(power, 1, graph), params, aval)


def _erfc(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    value, one = _with_number(_apply("Erf", graph, values, params, aval), 1, graph)
    return _apply("Sub", graph, [one, value], params, aval)


def _exp2(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    value, two = _with_number(values[0], 2, graph)
    return _apply("Pow", graph, [two, value], params, aval)


def _is_finite(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    either = [_apply(kind, graph, values, params, aval) for kind in ("IsInf", "IsNaN")]
    return _in_turn(("Or", "Not"), graph, either, params, aval)


def _clamp(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    least, value, most = values
    return _apply("Min", graph, [_apply("Max", graph, [value, least], params, aval), most], params, aval)


def _select(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    which, *cases = values
    if len(cases) != 2 or which.dtype != np.bool_:
        graph.refuse(f"a choice among {len(cases)} arrays by number")
    return _apply("Where", graph, [which, cases[1], cases[0]], params, aval)


def _round(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    if int(params["rounding_method"]) != 1:
        graph.refuse("a rounding of halves away from zero")
    return _apply("Round", graph, values, params, aval)


def _remainder(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    del params
    whole = [graph.full(value) for value in values]
    return graph.node("Mod", whole, aval.shape, aval.dtype, {"fmod": 1})


def _convert(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    del aval
    return graph.cast(values[0], params["new_dtype"])


def _reduce(kind: str, graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    if not params["axes"]:  # ONNX would take none for all
        return values[0]
    axes = graph.integers(params["axes"])
    return graph.node(kind, [graph.full(values[0]), axes], aval.shape, aval.dtype, {"keepdims": 0})


def _reduce_truth(kind: str, graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    if not params["axes"]:
        return values[0]
    numbers = graph.full(graph.cast(values[0], np.int32))
    found = graph.node(kind, [numbers, graph.integers(params["axes"])], aval.shape, np.int32, {"keepdims": 0})
    return graph.cast(found, np.bool_)


def _place(kind: str, graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    (axis,) = params["axes"]
    found = graph.node(kind, [graph.full(values[0])], aval.shape, np.int64, {"axis": axis, "keepdims": 0})
    return graph.cast(found, aval.dtype)


def _cumsum(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    axis = graph.constant(np.asarray(params["axis"], np.int64))
    return graph.node("CumSum", [graph.full(values[0]), axis], aval.shape, aval.dtype, {"reverse": int(params["reverse"])})


_SAME: Final = MappingProxyType(
    {
        "abs": "Abs",
        "acos": "Acos",
        "add": "Add",
        "add_any": "Add",
        "asin": "Asin",
        "atan": "Atan",
        "ceil": "Ceil",
        "cos": "Cos",
        "cosh": "Cosh",
        "div": "Div",
        "eq": "Equal",
        "erf": "Erf",
        "exp": "Exp",
        "floor": "Floor",
        "ge": "GreaterOrEqual",
        "gt": "Greater",
        "le": "LessOrEqual",
        "log": "Log",
        "logistic": "Sigmoid",
        "lt": "Less",
        "max": "Max",
        "min": "Min",
        "mul": "Mul",
        "neg": "Neg",
        "pow": "Pow",
        "sign": "Sign",
        "sin": "Sin",
        "sinh": "Sinh",
        "sqrt": "Sqrt",
        "sub": "Sub",
        "tan": "Tan",
        "tanh": "Tanh",
    }
)
"""Primitives that are one operator of the same arguments."""

_OTHERS: Final[Mapping[str, Operation]] = MappingProxyType(
    {
        "and": partial(_logical, "And"),
        "argmax": partial(_place, "ArgMax"),
        "argmin": partial(_place, "ArgMin"),
        "broadcast_in_dim": shapes.broadcast_in_dim,
        "clamp": _clamp,
        "concatenate": shapes.concatenate,
        "conv_general_dilated": products.conv_general_dilated,
        "convert_element_type": _convert,
        "cumsum": _cumsum,
        "dot_general": products.dot_general,
        "dynamic_slice": shapes.dynamic_slice,
        "erfc": _erfc,
        "exp2": _exp2,
        "expm1": _expm1,
        "gather": shapes.gather,
        "integer_pow": _integer_pow,
        "is_finite": _is_finite,
        "log1p": _log1p,
        "ne": partial(_in_turn, ("Equal", "Not")),
        "not": partial(_logical, "Not"),
        "or": partial(_logical, "Or"),
        "pad": shapes.pad,
        "reduce_and": partial(_reduce_truth, "ReduceMin"),
        "reduce_max": partial(_reduce, "ReduceMax"),
        "reduce_min": partial(_reduce, "ReduceMin"),
        "reduce_or": partial(_reduce_truth, "ReduceMax"),
        "reduce_prod": partial(_reduce, "ReduceProd"),
        "reduce_sum": partial(_reduce, "ReduceSum"),
        "reduce_window_max": products.reduce_window_max,
        "reduce_window_sum": products.reduce_window_sum,
        "rem": _remainder,
        "reshape": shapes.reshape,
        "rev": shapes.rev,
        "round": _round,
        "rsqrt": partial(_in_turn, ("Sqrt", "Reciprocal")),
        "select_n": _select,
        "slice": shapes.slice_,
        "square": _square,
        "squeeze": shapes.squeeze,
        "transpose": shapes.transpose,
        "xor": partial(_logical, "Xor"),
    }
)
"""The other primitives of one result."""


def operation(primitive: str) -> Operation | None:
    """What a primitive of that name is in ONNX; None where this converter does not know it."""
    return partial(_apply, _SAME[primitive]) if primitive in _SAME else _OTHERS.get(primitive)
