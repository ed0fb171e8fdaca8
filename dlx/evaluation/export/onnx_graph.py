"""An ONNX graph under construction: values, nodes, weights, and shapes that depend on the batch."""

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from dlx.errors import RunFailedError

BATCH: Final = "batch"
Dim = Any
"""An int, or a symbolic dimension of JAX: the batch size, or an expression of it."""
Params = Mapping[str, Any]
"""The parameters of a primitive."""


@dataclass(frozen=True)
class Value:
    """One array of the graph. ONNX broadcasts as NumPy does, so an axis that repeats one element is kept with length 1."""

    name: str
    """Empty for a constant that no node has asked for."""
    shape: tuple[Dim, ...]
    """As JAX sees it."""
    held: tuple[Dim, ...]
    """As the graph holds it: 1 in place of an axis that repeats."""
    dtype: np.dtype[Any]
    """float32 stands for bfloat16, which few ONNX kernels know."""
    constant: np.ndarray | None = None


class Graph:
    """Nodes in order. Every method that adds one returns the value it makes."""

    def __init__(self, inputs: jax.ShapeDtypeStruct) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self.batch = inputs.shape[0]
        self.inputs = Value("inputs", inputs.shape, inputs.shape, np.dtype(inputs.dtype))
        self._count = 0
        self._batch_size: Value | None = None
        self._stored: dict[Hashable, str] = {}

    def node(
        self,
        kind: str,
        inputs: Sequence[Value | str],
        shape: Sequence[Dim],
        dtype: Any,
        attributes: Mapping[str, Any] = MappingProxyType({}),
    ) -> Value:
        """A node of one output. `shape` is what it really has."""
        names = [self.name(value) if isinstance(value, Value) else value for value in inputs]
        made = self._name(kind.lower())
        self.nodes.append(helper.make_node(kind, names, [made], name=made, **attributes))
        return Value(made, tuple(shape), tuple(shape), graph_dtype(dtype))

    def constant(self, array: Any) -> Value:
        """An array that is known now; it is stored where a node asks for it."""
        known = np.asarray(array)
        known = known.astype(graph_dtype(known.dtype), copy=False)
        return Value("", known.shape, known.shape, known.dtype, known)

    def name(self, value: Value) -> str:
        """The name by which nodes know a value. Equal weights that several nodes use are stored once."""
        if value.constant is None:
            return value.name
        array = np.asarray(value.constant, order="C")
        key = (array.dtype, array.shape, hashlib.blake2b(array.data, digest_size=16).digest())
        if key not in self._stored:
            self._stored[key] = self._name("weight")
            self.weights.append(numpy_helper.from_array(array, self._stored[key]))
        return self._stored[key]

    def integers(self, numbers: Sequence[int]) -> str:
        """The name of a constant int64 vector: axes, starts, shapes."""
        return self.name(self.constant(np.asarray(numbers, np.int64)))

    def full(self, value: Value) -> Value:
        """The value with every axis at its whole length."""
        if value.held == value.shape:
            return value
        if value.constant is not None and all(isinstance(dim, int) for dim in value.shape):
            return self.constant(np.broadcast_to(value.constant, value.shape))
        wanted = [1 if held == dim else dim for held, dim in zip(value.held, value.shape, strict=True)]
        return self.node("Expand", [value, self._lengths(wanted)], value.shape, value.dtype)

    def reshaped(self, value: Value, shape: Sequence[Dim]) -> Value:
        """The elements of `value` in order, in another shape."""
        value = self.full(value)
        symbolic = [dim for dim in shape if not isinstance(dim, int)]
        if len(symbolic) > 1:
            self.refuse(f"a shape in which the batch size occurs twice, {tuple(shape)}")
        lengths = self.integers([dim if isinstance(dim, int) else -1 for dim in shape])
        return self.node("Reshape", [value, lengths], shape, value.dtype)

    def cast(self, value: Value, dtype: Any) -> Value:
        """In another type. A bfloat16 is a float32 that was rounded."""
        to = graph_dtype(dtype)
        if value.constant is not None:
            rounded = value.constant.astype(dtype).astype(to)
            return Value("", value.shape, value.held, to, rounded)
        if np.dtype(dtype) == jnp.bfloat16:
            short = self.node("Cast", [value], value.held, dtype, {"to": TensorProto.BFLOAT16})
            wide = self.node("Cast", [short], value.held, to, {"to": TensorProto.FLOAT})
        elif to == value.dtype:
            return value
        else:
            wide = self.node("Cast", [value], value.held, to, {"to": helper.np_dtype_to_tensor_dtype(to)})
        return Value(wide.name, value.shape, value.held, to)

    def dimension(self, dim: Dim, dtype: Any) -> Value:
        """The batch size as a number."""
        number = self.node("Squeeze", [self._length(dim), self.integers([0])], (), np.int64)
        return self.cast(number, dtype)

    def refuse(self, what: str) -> NoReturn:
        """Raises `RunFailedError`: the network has something that this converter does not know."""
        raise RunFailedError(f"the network has {what}, which cannot be put into ONNX: use --format stablehlo")

    def _lengths(self, shape: Sequence[Dim]) -> str:
        """The name of a shape, as an int64 vector that the graph computes where the batch size is in it."""
        if all(isinstance(dim, int) for dim in shape):
            return self.integers(list(shape))
        parts = [self.integers([dim]) if isinstance(dim, int) else self._length(dim) for dim in shape]
        return self.node("Concat", parts, (len(shape),), np.int64, {"axis": 0}).name

    def _length(self, dim: Dim) -> Value:
        """A symbolic dimension as an int64 vector of one element."""
        if dim != self.batch:
            self.refuse(f"a shape that depends on the batch size as {dim}")
        if self._batch_size is None:
            self._batch_size = self.node("Shape", [self.inputs], (1,), np.int64, {"start": 0, "end": 1})
        return self._batch_size

    def _name(self, word: str) -> str:
        self._count += 1
        return f"{word}_{self._count}"


def graph_dtype(dtype: Any) -> np.dtype[Any]:
    """The type in the graph: float32 for bfloat16, else itself."""
    return np.dtype(np.float32) if np.dtype(dtype) == jnp.bfloat16 else np.dtype(dtype)


Operation = Callable[[Graph, Sequence[Value], Params, Any], Value]
"""(graph, values that go in, parameters of the primitive, JAX's abstract result) -> the result"""
