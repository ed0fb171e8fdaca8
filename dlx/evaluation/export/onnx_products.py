"""Matrix products, convolutions and pooling in ONNX, whose images have their channels first."""

from collections.abc import Mapping, Sequence
from string import ascii_lowercase
from typing import Any

import numpy as np

from dlx.evaluation.export.onnx_graph import Graph, Params, Value

Values = Sequence[Value]


def dot_general(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    """`MatMul` where the last axis meets the first one of a matrix, else `Einsum`."""
    left, right = (graph.full(value) for value in values)
    (left_sums, right_sums), (left_batch, right_batch) = params["dimension_numbers"]
    plain = tuple(left_sums) == (len(left.shape) - 1,) and tuple(right_sums) == (0,) and len(right.shape) == 2
    if plain and not left_batch:
        return graph.node("MatMul", [left, right], aval.shape, aval.dtype)
    letters = iter(ascii_lowercase)
    first = {axis: next(letters) for axis in range(len(left.shape))}
    pairs = [*zip(left_sums, right_sums, strict=True), *zip(left_batch, right_batch, strict=True)]
    second = {b: first[a] for a, b in pairs}
    second |= {axis: next(letters) for axis in range(len(right.shape)) if axis not in second}
    batch = "".join(first[axis] for axis in left_batch)
    free = [letter for axis, letter in first.items() if axis not in (*left_sums, *left_batch)]
    free += [second[axis] for axis in range(len(right.shape)) if axis not in (*right_sums, *right_batch)]
    words = ["".join(side[axis] for axis in range(len(side))) for side in (first, second)]
    equation = f"{words[0]},{words[1]}->{batch}{''.join(free)}"
    return graph.node("Einsum", [left, right], aval.shape, aval.dtype, {"equation": equation})


def conv_general_dilated(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    """`Conv`, between transpositions that a runtime cancels against those of its neighbours."""
    if params["batch_group_count"] != 1 or any(step != 1 for step in params["lhs_dilation"]):
        graph.refuse("a transposed convolution")
    if any(width < 0 for pair in params["padding"] for width in pair):
        graph.refuse("a convolution whose padding cuts")
    layout = params["dimension_numbers"]
    images = _moved(graph, graph.full(values[0]), layout.lhs_spec)
    kernel = _moved(graph, graph.full(values[1]), layout.rhs_spec)
    convolved = graph.node(
        "Conv",
        [images, kernel],
        [aval.shape[axis] for axis in layout.out_spec],
        aval.dtype,
        {
            "strides": list(params["window_strides"]),
            "dilations": list(params["rhs_dilation"]),
            "pads": _pads(params["padding"]),
            "group": params["feature_group_count"],
        },
    )
    return _moved(graph, convolved, np.argsort(layout.out_spec).tolist())


def reduce_window_max(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    """Max-pooling of images whose channels come last."""
    return _pool("MaxPool", graph, values, params, aval, {})


def reduce_window_sum(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    """The sums of windows: their means, border included, times their size."""
    if any(step != 1 for step in params["window_dilation"]):
        graph.refuse("sums of windows with holes")
    mean = _pool("AveragePool", graph, values, params, aval, {"count_include_pad": 1})
    size = graph.constant(np.asarray(np.prod(params["window_dimensions"]), mean.dtype))
    return graph.node("Mul", [mean, size], aval.shape, aval.dtype)


def _pool(kind: str, graph: Graph, values: Values, params: Params, aval: Any, more: Mapping[str, int]) -> Value:
    window, last = params["window_dimensions"], len(params["window_dimensions"]) - 1
    moves = zip(window, params["window_strides"], params["padding"], strict=True)
    still = [(size, step, tuple(border)) == (1, 1, (0, 0)) for size, step, border in moves]
    if last < 2 or not (still[0] and still[last]) or any(step != 1 for step in params["base_dilation"]):
        graph.refuse(f"pooling by windows of {tuple(window)}")
    inside = range(1, last)
    holes = [params["window_dilation"][axis] for axis in inside]
    order = (0, last, *inside)
    pooled = graph.node(
        kind,
        [_moved(graph, graph.full(values[0]), order)],
        [aval.shape[axis] for axis in order],
        aval.dtype,
        {
            "kernel_shape": [window[axis] for axis in inside],
            "strides": [params["window_strides"][axis] for axis in inside],
            "pads": _pads([params["padding"][axis] for axis in inside]),
            **({"dilations": holes} if any(hole != 1 for hole in holes) else {}),
            **more,
        },
    )
    return _moved(graph, pooled, np.argsort(order).tolist())


def _pads(padding: Sequence[tuple[int, int]]) -> list[int]:
    """All beginnings, then all ends."""
    return [pair[side] for side in (0, 1) for pair in padding]


def _moved(graph: Graph, value: Value, order: Sequence[int]) -> Value:
    """The axes of a whole value in this order; known arrays are transposed now."""
    if list(order) == sorted(order):
        return value
    if value.constant is not None:
        return graph.constant(np.ascontiguousarray(value.constant.transpose(order)))
    return graph.node("Transpose", [value], [value.shape[axis] for axis in order], value.dtype, {"perm": list(order)})
