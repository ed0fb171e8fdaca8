"""Recurrent layers that are fast inside a compiled loop: simple, LSTM and GRU.

What an input gives to the gates is one product over all time steps, before the loop; `dlx.nn.recurrent_loop` has the loop and
its gradient, `dlx.nn.recurrent_cells` the formulas.

Letters in the shapes: b examples, t steps, h hidden units, g blocks of columns (1 in a simple layer, 4 in an LSTM, 3 in a GRU).
"""

from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.nn.initializers import Initializer, lecun_normal, orthogonal

from dlx.nn.recurrent_cells import Cell, Gru, Lstm, Simple
from dlx.nn.recurrent_loop import Operands, recur, shares, step

CellKind = Literal["simple", "lstm", "gru"]
Carry = Array | tuple[Array, Array]
"""The state between two steps: (b, h), or of an LSTM (memory, output), each (b, h)."""


class Recurrent(nnx.Module):
    """A recurrent layer over sequences: (b, t, in_features) -> (b, t, hidden), and the state after the last step.

    `cell` is `"simple"` (Elman 1990, tanh), `"lstm"` (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000) or
    `"gru"` (Cho et al. 2014, with the reset gate after the product, as in PyTorch). Parameters: `kernel` (in_features, g * hidden),
    `recurrent_kernel` (hidden, g * hidden), `bias` (g * hidden,) and, of a GRU, `candidate_bias` (hidden,), which the reset gate
    scales. The blocks are in PyTorch's order: i, f, z, o (LSTM) and r, u, n (GRU); its `weight_ih` is `kernel` transposed, and its
    `bias_ih + bias_hh` is `bias`, but that a GRU's `candidate_bias` is the last third of `bias_hh`.

    The initializers draw one block at a time; the LSTM's forget gate begins with the bias `forget_bias` (Jozefowicz et al. 2015).

    Reverse mode works, nested too; forward mode (`jax.jvp`) raises `TypeError`.
    """

    def __init__(
        self,
        in_features: int,
        hidden: int,
        *,
        cell: CellKind,
        reverse: bool = False,
        kernel_init: Initializer | None = None,
        recurrent_init: Initializer | None = None,
        forget_bias: float = 1.0,
        rngs: nnx.Rngs,
    ) -> None:
        self.in_features, self.hidden, self.reverse = in_features, hidden, reverse
        self.cell: CellKind = cell
        blocks = _cell(cell).blocks
        self.kernel = nnx.Param(_blocks(kernel_init or lecun_normal(), rngs, (in_features, hidden), blocks))
        self.recurrent_kernel = nnx.Param(_blocks(recurrent_init or orthogonal(), rngs, (hidden, hidden), blocks))
        bias = jnp.zeros((blocks * hidden,), jnp.float32)
        self.bias = nnx.Param(bias.at[hidden : 2 * hidden].set(forget_bias) if cell == "lstm" else bias)
        self.candidate_bias = nnx.Param(jnp.zeros((hidden,), jnp.float32)) if cell == "gru" else None

    def __call__(self, x: Array, carry: Carry | None = None, lengths: Array | None = None) -> tuple[Array, Carry]:
        """Reads sequences (b, t, in_features), from the state `carry` on (zeros, unless given).

        `lengths` (b,) are whole numbers of steps from 0 to t: past its length an example's outputs are zeros and its state stays, so
        that the carry is the one of its last step. With `reverse` steps are taken from an example's last to its first. Outputs are
        in the wider of the types of input and kernel, the carry is in float32 or wider.
        """
        if x.ndim != 3 or x.shape[2] != self.in_features:
            raise ValueError(f"a recurrent layer reads (examples, steps, {self.in_features} features), not {x.shape}")
        kernel = self.kernel[...]
        dtype = jnp.result_type(x, kernel)
        # Time comes first inside: each step is then one piece of memory.
        by_input = shares(x.astype(dtype).swapaxes(0, 1), kernel.astype(dtype), lengths)
        outputs, state = recur(_cell(self.cell), self.reverse, self._operands(by_input, carry), lengths)
        return outputs.swapaxes(0, 1), self._carry(state)

    def step(self, carry: Carry, x: Array) -> tuple[Carry, Array]:
        """One step, as a decoder takes it: the state and (b, in_features) to the next state and the output (b, hidden)."""
        kernel = self.kernel[...]
        dtype = jnp.result_type(x, kernel)
        state, _ = step(_cell(self.cell), self._operands(x.astype(dtype) @ kernel.astype(dtype), carry))
        return self._carry(state), state[-1].astype(dtype)

    def initial_carry(self, batch_size: int) -> Carry:
        """The state before the first step: zeros (float32)."""
        # Arrays of their own: a program cannot be given one array twice to overwrite.
        return self._carry(tuple(jnp.zeros((batch_size, self.hidden), jnp.float32) for _ in range(_cell(self.cell).memories)))

    def _operands(self, by_input: Array, carry: Carry | None) -> Operands:
        if carry is None:
            carry = self.initial_carry(by_input.shape[-2])
        # A state sums over many steps, which bfloat16 cannot: its 8 bits stop at about 256 equal summands.
        wide = jnp.promote_types(by_input.dtype, jnp.float32)
        state = tuple(each.astype(wide) for each in (carry if isinstance(carry, tuple) else (carry,)))
        kernel, bias = (each[...].astype(by_input.dtype) for each in (self.recurrent_kernel, self.bias))
        candidate = self.candidate_bias
        inner = None if candidate is None else jnp.pad(candidate[...], (2 * self.hidden, 0)).astype(by_input.dtype)
        return Operands(by_input, kernel, bias, inner, state)

    def _carry(self, state: tuple[Array, ...]) -> Carry:
        return (state[0], state[1]) if len(state) == 2 else state[0]


def _cell(kind: CellKind) -> Cell:
    match kind:
        case "simple":
            return Simple()
        case "lstm":
            return Lstm()
        case "gru":
            return Gru()


def _blocks(draw: Initializer, rngs: nnx.Rngs, shape: tuple[int, int], count: int) -> Array:
    """The blocks of a kernel side by side, each drawn for itself: (rows, count * columns)."""
    return jnp.concatenate([draw(rngs.params(), shape, jnp.float32) for _ in range(count)], axis=1)
