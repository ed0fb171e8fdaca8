"""Restricted Boltzmann machines and stacks of them: energies, Gibbs sampling, likelihoods.

The parameters are laid out as those of an `mlp` of sigmoids (`hidden/0/linear/kernel`), with the biases of the visible units
beside them, so that a classifier can begin with what a machine has learned.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from dlx.config.energy_model import Dbn as DbnConfig
from dlx.config.energy_model import Rbm as RbmConfig
from dlx.config.energy_model import Visible
from dlx.models.shapes import Features, columns

ENUMERABLE = 16
"""Hidden units of which all 2**n states are added up."""
_STATES = 1024
"""Hidden states of one product, when all are added up."""
_FAR, _APART = 12, 0.5
"""Points at which a density of Gaussian units is added up. Of a function as smooth as a Gaussian of deviation one the sum over points
half a deviation apart is the integral to all digits of float64."""


class Layer(nnx.Module):
    """One machine: visible units v (b, visible) and hidden units h (b, hidden).

    Its energy is -h.c - v.W h - v.b for Bernoulli units, and |v - b|**2 / 2 in place of -v.b for Gaussian ones.
    """

    def __init__(self, visible: int, hidden: int, units: Visible, std: Array | float, *, rngs: nnx.Rngs) -> None:
        self.linear = nnx.Linear(visible, hidden, kernel_init=jax.nn.initializers.normal(std), rngs=rngs)
        self.visible = nnx.Param(jnp.zeros(visible))
        self.units = units

    def __call__(self, v: Array) -> Array:
        """What the hidden units' probabilities make of v, (b, visible)."""
        return self.mean_visible(jax.nn.sigmoid(self.hidden_logits(v)))

    def hidden_logits(self, v: Array) -> Array:
        """Of the hidden units given v: (b, visible) -> (b, hidden), in float32 or wider."""
        return _wide(self.linear(v.astype(self.linear.kernel.dtype)))

    def visible_logits(self, h: Array) -> Array:
        """Of the visible units given h, or their means if they are Gaussian: (b, hidden) -> (b, visible)."""
        kernel = self.linear.kernel[...]
        return _wide(h.astype(kernel.dtype) @ kernel.T) + _wide(self.visible[...])

    def mean_visible(self, h: Array) -> Array:
        """The expectation of the visible units given h: (b, hidden) -> (b, visible)."""
        logits = self.visible_logits(h)
        return logits if self.units == "gaussian" else jax.nn.sigmoid(logits)

    def draw_hidden(self, v: Array, key: Array, temperature: float = 1.0) -> Array:
        """Hidden units (b, hidden) of 0 and 1, given v."""
        return drawn(self.hidden_logits(v), key, temperature)

    def draw_visible(self, h: Array, key: Array, temperature: float = 1.0) -> Array:
        """Visible units (b, visible), given h."""
        logits = self.visible_logits(h)
        if self.units == "bernoulli":
            return drawn(logits, key, temperature)
        return logits + math.sqrt(temperature) * jax.random.normal(key, logits.shape, logits.dtype)

    def free_energy(self, v: Array) -> Array:
        """F(v) = -log of the sum over h of exp(-energy), (b,): v has the probability exp(-F(v)) / Z."""
        v = _wide(v)
        hidden = jnp.sum(jax.nn.softplus(self.hidden_logits(v)), -1)
        bias = _wide(self.visible[...])
        own = jnp.sum(jnp.square(v - bias), -1) / 2 if self.units == "gaussian" else -v @ bias
        return own - hidden

    def gibbs(self, h: Array, key: Array, steps: int, temperature: float = 1.0) -> tuple[Array, Array]:
        """(v, h) after so many steps, at least one, of drawing v given h and then h given v."""

        def step(state: tuple[Array, Array], key: Array) -> tuple[tuple[Array, Array], None]:
            above, below = jax.random.split(key)
            v = self.draw_visible(state[1], above, temperature)
            return (v, self.draw_hidden(v, below, temperature)), None

        keys = jax.random.split(key, steps)
        (v, h), _ = step((h, h), keys[0])
        return (v, h) if steps == 1 else jax.lax.scan(step, (v, h), keys[1:])[0]

    def pseudo_log_likelihood(self, v: Array, position: Array) -> Array:
        """The number of visible units times log p(v_i | the others), (b,), i the `position` (b,) int of each example.

        Its mean over all i is the pseudo-likelihood of Besag 1975. scikit-learn's `BernoulliRBM.score_samples` is this at a random i.
        """
        v, activations = _wide(v), self.hidden_logits(v)  # (b, visible), (b, hidden)
        kernel, bias = _wide(self.linear.kernel[...])[position], _wide(self.visible[...])[position]  # (b, hidden), (b,)
        value = jnp.take_along_axis(v, position[:, None], 1)[:, 0]

        def negative_energy(x: Array) -> Array:
            """-F of v with x (b,) at the position, but for what the other visible units add to it."""
            hidden = jnp.sum(jax.nn.softplus(activations + (x - value)[:, None] * kernel), -1)
            return hidden - jnp.square(x - bias) / 2 if self.units == "gaussian" else hidden + bias * x

        if self.units == "bernoulli":
            return v.shape[1] * jax.nn.log_sigmoid(negative_energy(value) - negative_energy(1 - value))
        mean = self.mean_visible(jax.nn.sigmoid(activations))
        center = jnp.take_along_axis(mean, position[:, None], 1)[:, 0]
        # What lies within reach of the hidden units' mean and of the value itself holds all that there is of the density.
        points = jnp.arange(-_FAR, _FAR + _APART, _APART, v.dtype)[:, None] + center  # (points, b)
        total = jax.nn.logsumexp(jax.lax.map(negative_energy, points), 0) + math.log(_APART)
        return v.shape[1] * (negative_energy(value) - total)

    def log_partition(self) -> Array:
        """The scalar log Z, by adding up all 2**hidden states: for machines of at most `ENUMERABLE` hidden units."""
        assert self.linear.bias is not None
        kernel, above, below = (_wide(p[...]) for p in (self.linear.kernel, self.linear.bias, self.visible))
        visible, hidden = kernel.shape
        states = min(_STATES, 2**hidden)

        def add(number: Array) -> Array:
            """Of `states` states of the hidden units, the log of what they add to Z."""
            numbers = number * states + jnp.arange(states)
            h = (numbers[:, None] >> jnp.arange(hidden) & 1).astype(kernel.dtype)  # (states, hidden)
            down = h @ kernel.T  # (states, visible)
            if self.units == "gaussian":
                own = down @ below + jnp.sum(jnp.square(down), -1) / 2 + visible / 2 * math.log(2 * math.pi)
            else:
                own = jnp.sum(jax.nn.softplus(down + below), -1)
            return jax.nn.logsumexp(h @ above + own)

        return jax.nn.logsumexp(jax.lax.map(add, jnp.arange(2**hidden // states)))


class Stack(nnx.Module):
    """Machines on top of each other: the visible units of one are the hidden ones of the one below. Images are flattened."""

    def __init__(self, in_features: int, widths: Sequence[int], units: Visible, std: Array | float, rngs: nnx.Rngs) -> None:
        kinds: list[Visible] = [units, *("bernoulli" for _ in widths[1:])]
        shapes = zip((in_features, *widths), widths, kinds, strict=False)
        self.hidden = nnx.List([Layer(below, above, kind, std, rngs=rngs) for below, above, kind in shapes])

    def __call__(self, x: Array) -> Array:
        """The reconstruction of x from the top layer's probabilities: (b, ...) -> (b, ...)."""
        top = len(self.hidden) - 1
        return self.down(self.hidden[top](self.below(x.reshape(x.shape[0], -1), top)), top).reshape(x.shape)

    def below(self, v: Array, layer: int) -> Array:
        """What a layer sees of the data v (b, visible): the probabilities of the hidden units below it."""
        for each in self.hidden[:layer]:
            v = jax.nn.sigmoid(each.hidden_logits(v))
        return v

    def down(self, h: Array, layer: int) -> Array:
        """What the visible units of a layer, h, mean in the data, by the expectations of all layers below: (b, visible)."""
        for each in reversed(self.hidden[:layer]):
            h = each.mean_visible(h)
        return h


class Rbm(Stack):
    """One machine."""

    def __init__(self, in_features: Features, out_features: int, config: RbmConfig, *, rngs: nnx.Rngs) -> None:
        del out_features  # of the targets, which it does not learn
        super().__init__(columns(in_features, "rbm"), (config.hidden,), config.visible, config.std, rngs)


class Steps(nnx.Variable):
    """How many steps were taken: what decides which layer of a stack learns, and is judged."""


class Dbn(Stack):
    """A stack of machines that learn one after the other."""

    def __init__(self, in_features: Features, out_features: int, config: DbnConfig, *, rngs: nnx.Rngs) -> None:
        del out_features  # of the targets, which it does not learn
        super().__init__(columns(in_features, "dbn"), config.hidden, config.visible, config.std, rngs)
        self.steps = Steps(jnp.zeros((), jnp.int32))


def drawn(logits: Array, key: Array, temperature: float = 1.0) -> Array:
    """0 or 1 by probabilities sigmoid(logits / temperature); at temperature 0 the likelier of the two."""
    if temperature == 0:
        return (logits > 0).astype(logits.dtype)
    chances = jax.nn.sigmoid(logits / temperature)
    return (jax.random.uniform(key, logits.shape, logits.dtype) < chances).astype(logits.dtype)


def _wide(x: Array) -> Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
