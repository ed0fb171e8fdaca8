"""One step of a recurrent cell, forwards and backwards, without the products with the weights.

The loop over time (`dlx.nn.recurrent_loop`) makes the products: a cell gets what the input and what the last output give to
its gates, and hands back the gradient of those sums. Each gate is a block of columns, in PyTorch's order.

Letters in the shapes: b examples, h hidden units, g blocks of columns. A state is (output,), or (memory, output) of an LSTM,
each (b, h).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jax import Array, lax

State = tuple[Array, ...]


class Cell(ABC):
    """What one kind of cell computes. Everything is in float32 or wider."""

    blocks: ClassVar[int]
    """g: the columns of its kernels are g * h."""
    memories: ClassVar[int]
    """Arrays of its state."""

    @abstractmethod
    def forward(self, x: Array, y: Array, state: State) -> tuple[State, tuple[Array, ...]]:
        """What input and last output give to the gates (b, g * h), biases added, and the state: to the next one and what `backward` needs."""

    @abstractmethod
    def backward(
        self, kept: tuple[Array, ...], before: State, after: State, gradient: State
    ) -> tuple[tuple[Array, ...], State]:
        """From the gradient of the state `after` a step to those of `x` and `y` (b, g * h), one array if they are the same.

        And to that of the state `before`, but for what passes through the product `y`.
        """


@dataclass(frozen=True)
class Simple(Cell):
    """h' = tanh(x + y): the network of Elman, "Finding Structure in Time" (1990), with tanh as PyTorch has it."""

    blocks, memories = 1, 1

    def forward(self, x: Array, y: Array, state: State) -> tuple[State, tuple[Array, ...]]:
        del state
        return (jnp.tanh(x + y),), ()

    def backward(
        self, kept: tuple[Array, ...], before: State, after: State, gradient: State
    ) -> tuple[tuple[Array, ...], State]:
        del kept
        slope = gradient[0] * (1 - after[0] * after[0])
        return (slope,), (jnp.zeros_like(before[0]),)


@dataclass(frozen=True)
class Lstm(Cell):
    """Long short-term memory (Hochreiter and Schmidhuber 1997) with a forget gate (Gers, Schmidhuber and Cummins 2000).

    (i, f, z, o) = x + y;  c' = sigmoid(f) c + sigmoid(i) tanh(z);  h' = sigmoid(o) tanh(c').
    """

    blocks, memories = 4, 2

    def forward(self, x: Array, y: Array, state: State) -> tuple[State, tuple[Array, ...]]:
        # One pass for all four: sigmoid(a) = tanh(a / 2) / 2 + 1 / 2, and a tanh is vectorized on a CPU.
        scale = jnp.repeat(jnp.array([0.5, 0.5, 1, 0.5], x.dtype), state[0].shape[-1])
        gates = jnp.tanh((x + y) * scale) * scale + (1 - scale)
        i, f, z, o = jnp.split(gates, 4, axis=-1)
        c = f * state[0] + i * z
        return (c, o * jnp.tanh(c)), (gates,)

    def backward(
        self, kept: tuple[Array, ...], before: State, after: State, gradient: State
    ) -> tuple[tuple[Array, ...], State]:
        i, f, z, o = jnp.split(kept[0], 4, axis=-1)
        reach = jnp.tanh(after[0])  # a tanh costs less than an array for every step
        by_h = gradient[1]
        by_c = gradient[0] + by_h * o * (1 - reach * reach)
        # Passes follow, one for each gate; without the barriers XLA computes these three again in each of them, and mixes the
        # passes with the product that comes next, which then has one thread instead of two (measured: 3 % of a training step).
        by_c, by_h, reach = lax.optimization_barrier((by_c, by_h, reach))
        slopes = [by_c * z * i * (1 - i), by_c * before[0] * f * (1 - f), by_c * i * (1 - z * z), by_h * reach * o * (1 - o)]
        slopes, by_before = lax.optimization_barrier((slopes, by_c * f))
        return (jnp.concatenate(slopes, axis=-1),), (by_before, jnp.zeros_like(by_h))


@dataclass(frozen=True)
class Gru(Cell):
    """Gated recurrent unit (Cho et al. 2014) with the reset gate after the product, as cuDNN and PyTorch have it.

    (r, u, n) = blocks;  r = sigmoid(xr + yr);  u = sigmoid(xu + yu);  n = tanh(xn + r yn);  h' = n + u (h - n).
    """

    blocks, memories = 3, 1

    def forward(self, x: Array, y: Array, state: State) -> tuple[State, tuple[Array, ...]]:
        h = state[0].shape[-1]
        gates = _sigmoid(x[..., : 2 * h] + y[..., : 2 * h])
        r, u = gates[..., :h], gates[..., h:]
        inner = y[..., 2 * h :]
        n = jnp.tanh(x[..., 2 * h :] + r * inner)
        return (n + u * (state[0] - n),), (gates, n, inner)

    def backward(
        self, kept: tuple[Array, ...], before: State, after: State, gradient: State
    ) -> tuple[tuple[Array, ...], State]:
        del after
        gates, n, inner = kept
        r, u = jnp.split(gates, 2, axis=-1)
        by_h = gradient[0]
        by_n = by_h * (1 - u) * (1 - n * n)
        by_r = by_n * inner * r * (1 - r)
        by_u = by_h * (before[0] - n) * u * (1 - u)
        by_x = jnp.concatenate([by_r, by_u, by_n], axis=-1)
        by_y = jnp.concatenate([by_r, by_u, by_n * r], axis=-1)
        return (by_x, by_y), (by_h * u,)


def _sigmoid(a: Array) -> Array:
    return 0.5 * jnp.tanh(0.5 * a) + 0.5  # a tanh is vectorized on a CPU
