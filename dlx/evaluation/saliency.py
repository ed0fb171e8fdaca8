"""Which inputs an output depends on: gradients, SmoothGrad and integrated gradients, for a handful of examples.

gradient: d output / d input (Simonyan, Vedaldi & Zisserman 2013, "Deep inside convolutional networks").
smoothgrad: its mean over noisy copies of the input (Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise").
integrated gradients: (input - reference) times the mean gradient on the straight way from the reference to the input; they
add up to the difference of the two outputs (Sundararajan, Taly & Yan 2017, "Axiomatic attribution for deep networks").
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

Method = Literal["gradient", "smoothgrad", "integrated gradients"]
METHODS: tuple[Method, ...] = ("gradient", "smoothgrad", "integrated gradients")
COPIES, NOISE = 32, 0.15
"""SmoothGrad's noisy copies of an example, and their noise: this share of the range of the example's own values."""
STEPS = 64
"""Of the midpoint rule between the reference and the example."""
BRIGHT = 99.0
"""The percentile of a map that is drawn as 1: one outlier does not darken the rest."""
BLOCK_VALUES = 1 << 20
"""Input values that go through the network at once, so that its activations stay in memory."""

Predict = Callable[[jax.Array], jax.Array]
"""Standardized inputs (b, ...) to outputs (b, k), each example by itself. A `jax.tree_util.Partial` that binds the weights
keeps them out of the compiled program; weights in a closure work too, and become constants of it."""


def attributions(
    predict: Predict,
    inputs: np.ndarray,
    chosen: np.ndarray,
    *,
    methods: Sequence[Method] = METHODS,
    reference: np.ndarray | None = None,
    seed: int = 0,
) -> dict[Method, np.ndarray]:
    """Of each method what each input contributes to output number `chosen` (b,) of its example: (b, ...) float32 like `inputs`.

    `inputs` are standardized. `reference` (features,) is where integrated gradients start, standardized too: the mean example, which is 0
    (the default) where `data.standardize` is true. Everything goes through one compiled program, in blocks of one size.
    """
    inputs = np.asarray(inputs, np.float32)
    start = np.broadcast_to(np.float32(0) if reference is None else np.asarray(reference, np.float32), inputs.shape)
    points = {method: _points(method, inputs, start, seed) for method in methods}  # (copies, b, ...) each
    lengths = [len(each) for each in points.values()]
    gradients = _gradients(predict, np.concatenate([*points.values()]), np.asarray(chosen))
    found: dict[Method, np.ndarray] = {}
    for method, each in zip(methods, np.split(gradients, np.cumsum(lengths)[:-1]), strict=True):
        mean = each.mean(0, dtype=np.float64)
        found[method] = (mean * (inputs - start) if method == "integrated gradients" else mean).astype(np.float32)
    return found


def pictures(attributed: np.ndarray) -> np.ndarray:
    """Attributions of images (b, height, width, channels) as maps (b, height, width) float32 of 0..1, each as bright as the others.

    A pixel's value is the largest magnitude of its channels, 1 from the 99th percentile of its map on. What depends on nothing is 0.
    """
    strongest = np.abs(attributed).max(-1)
    flat = strongest.reshape(len(strongest), -1)
    bright = np.percentile(flat, BRIGHT, axis=1)
    scale = np.where(bright > 0, bright, flat.max(1))  # where only a few pixels count, all others are 0
    scale = np.where(scale > 0, scale, 1)
    return np.clip(strongest / scale[:, None, None], 0, 1).astype(np.float32)


def by_column(attributed: np.ndarray, columns: Mapping[str, np.ndarray]) -> list[dict[str, float]]:
    """Attributions of encoded rows (b, inputs), added up for each raw column; of each example the strongest column first.

    `columns` has the encoded inputs of each (`dlx.evaluation.importance.encoded`). With integrated gradients they still add up.
    """
    sums = {name: attributed[:, places].sum(1, dtype=np.float64) for name, places in columns.items()}
    return [
        dict(sorted(((name, float(values[row])) for name, values in sums.items()), key=lambda pair: -abs(pair[1])))
        for row in range(len(attributed))
    ]


def _points(method: Method, inputs: np.ndarray, start: np.ndarray, seed: int) -> np.ndarray:
    """Where the gradient is taken: (copies, b, ...) float32."""
    match method:
        case "gradient":
            return inputs[None]
        case "smoothgrad":
            axes = tuple(range(1, inputs.ndim))
            reach = inputs.max(axes, keepdims=True) - inputs.min(axes, keepdims=True)
            noise = np.random.Generator(np.random.Philox(key=seed)).standard_normal((COPIES, *inputs.shape), np.float32)
            return inputs + np.float32(NOISE) * reach * noise
        case "integrated gradients":
            share = ((np.arange(STEPS, dtype=np.float32) + 0.5) / STEPS).reshape(-1, *[1] * inputs.ndim)
            return start + share * (inputs - start)


def _gradients(predict: Predict, points: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The gradient of each example's chosen output at each of its points (copies, b, ...): the same shape."""
    bound = predict if isinstance(predict, jax.tree_util.Partial) else jax.tree_util.Partial(predict)
    copies, examples, *shape = points.shape
    flat, outputs = points.reshape(-1, *shape), np.tile(chosen, copies)
    block = max(1, min(len(flat), BLOCK_VALUES // int(np.prod(shape))))
    found = []
    for first in range(0, len(flat), block):
        rows = np.arange(first, first + block) % len(flat)  # the last block is filled up, so that one program serves all
        found.append(np.asarray(_gradient(bound, flat[rows], outputs[rows])))
    return np.concatenate(found)[: len(flat)].reshape(copies, examples, *shape)


@jax.jit
def _gradient(predict: Predict, inputs: jax.Array, chosen: jax.Array) -> jax.Array:
    def total(inputs: jax.Array) -> jax.Array:
        return jnp.sum(jnp.take_along_axis(predict(inputs), chosen[:, None], axis=1))

    return jax.grad(total)(inputs)  # examples do not depend on each other, so this is each one's own
