"""The loop over time of a recurrent layer, with a gradient written by hand.

Autodiff of a `lax.scan` over a cell puts three products into the backward loop: the gradients of the state, of the input
kernel and of the recurrent kernel. Here only the first, which is recurrent, is in the loop; each of the others is one product
over all steps. Where examples have lengths, loops and products end with the longest of the batch: padding behind it costs next
to nothing, and no other program is compiled for it.

A loop of traced length has no reverse mode of its own. Where the gradient itself is differentiated (a gradient penalty, a
Hessian), JAX differentiates the plain scan over all steps instead.

Letters in the shapes: t steps, b examples, i input features, h hidden units, g blocks of columns (one for each gate).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_batching import custom_vmap

from dlx.nn.recurrent_cells import Cell, State

_CHUNK = 16  # steps of one product where examples have lengths
# Steps of one pass of the loop. Measured on two cores, with an LSTM: eight are a quarter faster than one; what XLA of JAX 0.10 makes
# of eight is a seventh slower than of four.
_UNROLL = 8 if jax.__version_info__ >= (0, 11) else 4


class Operands(NamedTuple):
    """What the states are differentiable functions of."""

    x: Array
    """The input's share in the gates (t, b, g * h), without a bias."""
    kernel: Array
    """Recurrent (h, g * h)."""
    bias: Array
    """Of the input's share (g * h,)."""
    inner: Array | None
    """Bias of the recurrent product (g * h,), where the cell needs one of its own there."""
    state: State
    """Before the first step, each (b, h)."""


class _Trace(NamedTuple):
    """What the backward loop needs of the forward loop."""

    states: State
    """After each step, each (t, b, h)."""
    kept: tuple[Array, ...]


_Outputs = tuple[Array, State]
_Result = tuple[_Outputs, _Trace]


def recur(cell: Cell, reverse: bool, operands: Operands, lengths: Array | None) -> tuple[Array, State]:
    """Outputs (t, b, h) of all steps and the last state; past its length (b,) an example's outputs are zeros, its state stays.

    With `reverse` the steps are taken from the last to the first.
    """
    return _recur(cell, reverse, operands, lengths)[0]


def step(cell: Cell, operands: Operands) -> tuple[State, tuple[Array, ...]]:
    """One step, `operands.x` being (b, g * h): the next state, and what the backward loop needs besides."""
    x, kernel, bias, inner, state = operands
    dtype = state[-1].dtype
    y = jnp.matmul(state[-1].astype(kernel.dtype), kernel, preferred_element_type=dtype)
    return cell.forward(x.astype(dtype) + bias.astype(dtype), y if inner is None else y + inner.astype(dtype), state)


def shares(x: Array, kernel: Array, lengths: Array | None) -> Array:
    """What inputs give to the gates: (t, b, i) @ (i, g * h); where there are lengths (b,), of the steps in use."""
    return _product(x, kernel, None if lengths is None else _longest(lengths))


@custom_vmap
def _longest(lengths: Array) -> Array:
    """The largest of the lengths (b,) of all lanes, so that the lanes' loop is one loop."""
    return lengths.max(initial=0)


@_longest.def_vmap
def _longest_of_lanes(_size: int, _batched: list[bool], lengths: Array) -> tuple[Array, bool]:
    return _longest(lengths.reshape(-1)), False


# ------------------------------------------------------------------------------------------------------------- recurrence


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _recur(cell: Cell, reverse: bool, operands: Operands, lengths: Array | None) -> _Result:
    return _run(cell, reverse, operands, lengths, None if lengths is None else _longest(lengths))


def _run(cell: Cell, reverse: bool, operands: Operands, lengths: Array | None, count: Array | None) -> _Result:
    """All steps, or the first `count` of them."""
    x = operands.x

    def forward(state: State, at: tuple[Array, Array]) -> tuple[State, _Trace]:
        after, kept = step(cell, operands._replace(x=at[1], state=state))
        if lengths is not None:
            after = _where((at[0] < lengths)[:, None], after, state)
        return after, _Trace(after, tuple(each.astype(x.dtype) for each in kept))

    numbers = jnp.arange(x.shape[0])
    last, trace = _loop(forward, operands.state, (numbers, x), count, reverse)
    outputs = trace.states[-1].astype(x.dtype)
    if lengths is not None:
        outputs = jnp.where(_live(numbers, lengths), outputs, 0)
    return (outputs, last), trace


def _recur_forward(cell: Cell, reverse: bool, operands: Operands, lengths: Array | None) -> tuple[_Result, Any]:
    result = _recur(cell, reverse, operands, lengths)  # itself, so that this too can be differentiated
    return result, (operands, lengths, result[1])


def _recur_backward(cell: Cell, reverse: bool, residuals: Any, gradient: Any) -> tuple[Operands, None]:
    # Nobody sees the trace, so its gradient is zero: `_gradients` answers for it, as a function of the operands.
    return _gradients(cell, reverse, *residuals, gradient[0]), None


_recur.defvjp(_recur_forward, _recur_backward)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _gradients(
    cell: Cell, reverse: bool, operands: Operands, lengths: Array | None, trace: _Trace, gradient: _Outputs
) -> Operands:
    """The gradient of the operands from that of the outputs (t, b, h) and of the last state."""
    x, kernel, bias, inner, first = operands
    by_outputs, by_last = gradient
    dtype = first[-1].dtype
    turned = kernel.T  # here, because the product with a transposed kernel is slow inside the loop
    numbers, count = jnp.arange(x.shape[0]), None if lengths is None else _longest(lengths)

    def backward(by_state: State, at: Any) -> tuple[State, tuple[Array, ...]]:
        number, before, after, kept, by_output = at
        live = None if lengths is None else (number < lengths)[:, None]
        by_output = by_output if live is None else jnp.where(live, by_output, 0)
        by_state = (*by_state[:-1], by_state[-1] + by_output.astype(dtype))
        slopes, by_before = cell.backward(tuple(each.astype(dtype) for each in kept), before, after, by_state)
        if live is not None:
            slopes = tuple(jnp.where(live, slope, 0) for slope in slopes)
            by_before = _where(live, by_before, by_state)
        slopes = tuple(slope.astype(kernel.dtype) for slope in slopes)
        through = jnp.matmul(slopes[-1], turned, preferred_element_type=dtype)
        return (*by_before[:-1], by_before[-1] + through), slopes

    before = _before(trace.states, first, reverse, lengths)
    steps = numbers, before, trace.states, trace.kept, by_outputs
    by_first, slopes = _loop(backward, by_last, steps, count, not reverse)
    by_x, by_y = slopes[0], slopes[-1]  # one array, where the cell adds both products
    by_kernel = _outer(before[-1].astype(kernel.dtype), by_y, count)
    # In bfloat16 the sums over all steps would lose most of the biases' gradients.
    by_bias = by_x.sum((0, 1), dtype=dtype).astype(bias.dtype)
    by_inner = None if inner is None else by_y.sum((0, 1), dtype=dtype).astype(inner.dtype)
    return Operands(by_x.astype(x.dtype), by_kernel, by_bias, by_inner, by_first)


def _gradients_forward(
    cell: Cell, reverse: bool, operands: Operands, lengths: Array | None, trace: _Trace, gradient: _Outputs
) -> tuple[Operands, Any]:
    return _gradients(cell, reverse, operands, lengths, trace, gradient), (operands, lengths, gradient)


def _gradients_backward(cell: Cell, reverse: bool, residuals: Any, change: Operands) -> tuple[Operands, None, None, _Outputs]:
    operands, lengths, gradient = residuals

    def plain(operands: Operands, gradient: _Outputs) -> Operands:
        return jax.vjp(lambda operands: _run(cell, reverse, operands, lengths, None)[0], operands)[1](gradient)[0]

    by_operands, by_gradient = jax.vjp(plain, operands, gradient)[1](change)
    return by_operands, None, None, by_gradient


_gradients.defvjp(_gradients_forward, _gradients_backward)


def _before(states: State, first: State, reverse: bool, lengths: Array | None) -> State:
    """The states (t, b, h) before each step, from those after it. Where no step is taken, whatever there is."""
    if not reverse:
        return tuple(jnp.concatenate([begin[None], each[:-1]]) for each, begin in zip(states, first, strict=True))
    before = tuple(jnp.concatenate([each[1:], begin[None]]) for each, begin in zip(states, first, strict=True))
    if lengths is None:
        return before
    # An example begins with its own last step, wherever that is.
    begun = _live(jnp.arange(1, before[0].shape[0] + 1), lengths)
    return tuple(jnp.where(begun, each, begin) for each, begin in zip(before, first, strict=True))


def _live(numbers: Array, lengths: Array) -> Array:
    """Which steps (t,) are within the lengths (b,): (t, b, 1)."""
    return (numbers[:, None] < lengths)[..., None]


def _where(live: Array, new: State, old: State) -> State:
    return tuple(jnp.where(live, a, b) for a, b in zip(new, old, strict=True))


# ------------------------------------------------------------------------------------------------ as many steps as there are


def _loop(
    step: Callable[[Any, Any], tuple[Any, Any]], state: Any, xs: Any, count: Array | None, reverse: bool
) -> tuple[Any, Any]:
    """`lax.scan` over the first `count` of the steps, or over all of them. What other steps would give is zero."""
    if count is None:
        return lax.scan(step, state, xs, reverse=reverse, unroll=_UNROLL)

    def one(number: Array, carried: tuple[Any, Any]) -> tuple[Any, Any]:
        state, ys = carried
        at = count - 1 - number if reverse else number
        state, y = step(state, jax.tree.map(lambda each: lax.dynamic_index_in_dim(each, at, keepdims=False), xs))
        return state, jax.tree.map(lambda each, new: lax.dynamic_update_index_in_dim(each, new, at, 0), ys, y)

    shapes = jax.eval_shape(lambda state, xs: step(state, jax.tree.map(lambda each: each[0], xs))[1], state, xs)
    steps = jax.tree.leaves(xs)[0].shape[0]
    zeros = jax.tree.map(lambda each: jnp.zeros((steps, *each.shape), each.dtype), shapes)
    return lax.fori_loop(0, count, one, (state, zeros))


@jax.custom_vjp
def _product(x: Array, kernel: Array, count: Array | None) -> Array:
    """(t, b, i) @ (i, n) of all steps or of the first `count`; of others whatever there is.

    Its own gradient, because on a CPU autodiff's product for the kernel, over two axes at once, takes three times as long.
    """
    if count is None:
        return (x.reshape(-1, x.shape[2]) @ kernel).reshape(*x.shape[:2], -1)
    size = min(_CHUNK, x.shape[0])

    def one(number: Array, y: Array) -> Array:
        part = lax.dynamic_slice_in_dim(x, number * size, size)  # the last one begins earlier, where it would not fit
        return lax.dynamic_update_slice_in_dim(y, part @ kernel, number * size, 0)

    return lax.fori_loop(0, (count + size - 1) // size, one, jnp.zeros((*x.shape[:2], kernel.shape[1]), x.dtype))


def _product_forward(x: Array, kernel: Array, count: Array | None) -> tuple[Array, Any]:
    return _product(x, kernel, count), (x, kernel, count)


def _product_backward(residuals: Any, by_y: Array) -> tuple[Array, Array, None]:
    x, kernel, count = residuals
    return _product(by_y, kernel.T, count), _outer(x, by_y, count), None


_product.defvjp(_product_forward, _product_backward)


@jax.custom_vjp
def _outer(x: Array, y: Array, count: Array | None) -> Array:
    """The sum of the products of (t, b, m) and (t, b, n) over the examples and all or the first `count` steps: (m, n)."""
    if count is None:
        return _sum_of_products(x, y).astype(x.dtype)
    size = min(_CHUNK, x.shape[0])
    numbers = jnp.arange(x.shape[0])

    def one(number: Array, total: Array) -> Array:
        at, a, b = (lax.dynamic_slice_in_dim(each, number * size, size) for each in (numbers, x, y))
        new = (at >= number * size) & (at < count)
        return total + _sum_of_products(a, jnp.where(new[:, None, None], b, 0))

    zeros = jnp.zeros((x.shape[2], y.shape[2]), jnp.promote_types(x.dtype, jnp.float32))
    return lax.fori_loop(0, (count + size - 1) // size, one, zeros).astype(x.dtype)


def _outer_forward(x: Array, y: Array, count: Array | None) -> tuple[Array, Any]:
    return _outer(x, y, count), (x, y, count)


def _outer_backward(residuals: Any, by_sum: Array) -> tuple[Array, Array, None]:
    x, y, count = residuals
    return _product(y, by_sum.T, count), _product(x, by_sum, count), None


_outer.defvjp(_outer_forward, _outer_backward)


def _sum_of_products(x: Array, y: Array) -> Array:
    """(t, b, m), (t, b, n) -> (m, n), in float32 or wider."""
    accumulator = jnp.promote_types(x.dtype, jnp.float32)
    return jnp.matmul(x.reshape(-1, x.shape[2]).T, y.reshape(-1, y.shape[2]), preferred_element_type=accumulator)
