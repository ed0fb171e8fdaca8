"""JAX's primitives that move elements and compute none, in ONNX's operators."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dlx.evaluation.export.onnx_graph import Dim, Graph, Params, Value

Values = Sequence[Value]


def broadcast_in_dim(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    """New axes, and axes that repeat. Neither is carried out: what repeats is held once."""
    value, dimensions = values[0], params["broadcast_dimensions"]
    added = [axis for axis in range(len(aval.shape)) if axis not in dimensions]
    held: list[Dim] = [1] * len(aval.shape)
    for axis, dim in zip(dimensions, value.held, strict=True):
        held[axis] = dim
    if value.constant is not None:
        return Value("", tuple(aval.shape), tuple(held), value.dtype, value.constant.reshape(held))
    name = graph.node("Unsqueeze", [value, graph.integers(added)], held, value.dtype).name if added else value.name
    return Value(name, tuple(aval.shape), tuple(held), value.dtype)


def reshape(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    """The elements in order, in another shape."""
    if params.get("dimensions") is not None:
        graph.refuse("a reshape that also transposes")
    return graph.reshaped(values[0], aval.shape)


def squeeze(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    """Without axes of length 1."""
    value, gone = values[0], [axis % len(values[0].shape) for axis in params["dimensions"]]
    held = tuple(dim for axis, dim in enumerate(value.held) if axis not in gone)
    if not gone:
        return value
    name = graph.node("Squeeze", [value, graph.integers(gone)], held, value.dtype).name
    return Value(name, tuple(aval.shape), held, value.dtype)


def transpose(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    """Axes in another order."""
    value, order = values[0], params["permutation"]
    held = tuple(value.held[axis] for axis in order)
    name = graph.node("Transpose", [value], held, value.dtype, {"perm": list(order)}).name
    return Value(name, tuple(aval.shape), held, value.dtype)


def concatenate(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    """One behind the other along an axis."""
    whole = [graph.full(value) for value in values]
    return graph.node("Concat", whole, aval.shape, aval.dtype, {"axis": params["dimension"]})


def slice_(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    """Every so many elements from a start to an end, along each axis."""
    starts, ends = params["start_indices"], params["limit_indices"]
    return cut(graph, values[0], starts, ends, params["strides"] or (1,) * len(starts), aval.shape)


def cut(
    graph: Graph,
    value: Value,
    starts: Sequence[Dim],
    ends: Sequence[Dim],
    steps: Sequence[int],
    shape: Sequence[Dim],
) -> Value:
    """`value[start:end:step, ...]`, which has this shape. Axes that stay whole may depend on the batch."""
    value = graph.full(value)
    every = zip(range(len(starts)), starts, ends, steps, value.shape, strict=True)
    axes = [(axis, start, end, step) for axis, start, end, step, dim in every if (start, end, step) != (0, dim, 1)]
    if not axes:
        return value
    if not all(isinstance(number, int | np.integer) for each in axes for number in each):
        graph.refuse("a slice whose ends depend on the batch")
    columns = [[int(each[place]) for each in axes] for place in (1, 2, 0, 3)]  # starts, ends, axes, steps
    return graph.node("Slice", [value, *(graph.integers(column) for column in columns)], shape, value.dtype)


def rev(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    """Axes from their ends to their beginnings."""
    axes = list(params["dimensions"])
    least = int(np.iinfo(np.int64).min)
    columns = ([-1] * len(axes), [least] * len(axes), axes, [-1] * len(axes))
    inputs = [graph.full(values[0]), *(graph.integers(column) for column in columns)]
    return graph.node("Slice", inputs, aval.shape, aval.dtype)


def pad(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    """A border of one value; a negative width cuts."""
    value, filling = graph.full(values[0]), values[1]
    config = params["padding_config"]
    if any(inside for *_, inside in config):
        graph.refuse("padding between the elements")
    shape = [dim - max(-low, 0) - max(-high, 0) for dim, (low, high, _) in zip(value.shape, config, strict=True)]
    starts = [max(-low, 0) for low, _, _ in config]
    ends = [start + dim for start, dim in zip(starts, shape, strict=True)]
    value = cut(graph, value, starts, ends, (1,) * len(config), shape)
    widths = [max(each[side], 0) for side in (0, 1) for each in config]
    if not any(widths):
        return value
    return graph.node("Pad", [value, graph.integers(widths), filling], aval.shape, aval.dtype)


def dynamic_slice(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    """A slice of constant size; its start must be known."""
    value, *where = values
    if any(start.constant is None for start in where):
        graph.refuse("a slice that begins where the inputs say (dynamic_slice)")
    starts = [start.constant.item() for start in where if start.constant is not None]
    return _window(graph, value, starts, params["slice_sizes"], aval.shape)


def gather(graph: Graph, values: Values, params: Params, aval: Any) -> Value:
    """`x[:, 3]`, and elements along one axis in any order: `jnp.take`, the rows of an embedding."""
    value, indices = values
    numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
    if numbers.operand_batching_dims:
        graph.refuse("a gather with its own indices for each example")
    if indices.constant is not None and len(indices.shape) == 1:
        starts = [0] * len(sizes)
        for axis, start in zip(numbers.start_index_map, indices.constant.tolist(), strict=True):
            starts[axis] = start
        kept = [size for axis, size in enumerate(sizes) if axis not in numbers.collapsed_slice_dims]
        found = _window(graph, value, starts, sizes, sizes)
        gone = graph.integers(list(numbers.collapsed_slice_dims))
        return graph.node("Squeeze", [found, gone], kept, value.dtype) if len(kept) < len(sizes) else found
    axis = numbers.start_index_map[0]
    whole = all(size == dim for place, (size, dim) in enumerate(zip(sizes, value.shape, strict=True)) if place != axis)
    if len(numbers.start_index_map) > 1 or tuple(numbers.collapsed_slice_dims) != (axis,) or not whole:
        graph.refuse("a gather of windows")
    added = [place for place in range(len(aval.shape)) if place not in numbers.offset_dims]
    if added != list(range(axis, axis + len(added))):
        graph.refuse("a gather that moves its axis")
    flat = graph.node("Squeeze", [graph.full(indices), graph.integers([-1])], indices.shape[:-1], indices.dtype)
    return graph.node("Gather", [graph.full(value), flat], aval.shape, value.dtype, {"axis": axis})


def _window(graph: Graph, value: Value, starts: Sequence[int], sizes: Sequence[Dim], shape: Sequence[Dim]) -> Value:
    """A window of these sizes, moved inside where it would reach out, as JAX does."""
    begins, ends = [], []
    for start, size, dim in zip(starts, sizes, value.shape, strict=True):
        whole = size == dim
        begins.append(0 if whole else min(max(int(start), 0), dim - size))
        ends.append(dim if whole else begins[-1] + size)
    return cut(graph, value, begins, ends, (1,) * len(starts), shape)
