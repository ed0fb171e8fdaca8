"""`dlx.nn.conv_transpose` is `lax.conv_transpose` with another gradient; its values are also PyTorch's."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from dlx.nn import ConvTranspose, conv, conv_transpose

# (batch, height, width, in-channels), (kernel height, kernel width), out-channels, the options of `conv_transpose`
CASES = {
    "dcgan": ((3, 4, 5, 9), (4, 4), 8, {"strides": (2, 2)}),
    "to one channel": ((3, 4, 5, 9), (4, 4), 1, {"strides": (2, 2)}),
    "odd kernel": ((3, 4, 5, 2), (3, 5), 8, {"strides": (2, 2)}),
    "stride 1": ((3, 4, 5, 9), (3, 4), 8, {}),
    "from a point": ((3, 1, 1, 9), (4, 3), 8, {"padding": "VALID"}),
    "valid": ((3, 4, 5, 9), (4, 3), 8, {"strides": (2, 2), "padding": "VALID"}),
    "uneven strides": ((3, 4, 5, 2), (5, 4), 8, {"strides": (3, 1)}),
    "strides beyond the kernel": ((3, 3, 4, 2), (2, 1), 8, {"strides": (3, 2), "padding": "VALID"}),
    "the same, padded": ((3, 3, 4, 2), (2, 1), 8, {"strides": (3, 2)}),
}

# torch 2.13, float64: x = arange(1, 9).reshape(1, 2, 2, 2) / 4 (b, i, h, w), w = (7 * arange(32)).reshape(2, 1, 4, 4) % 5 - 2,
# y = conv_transpose2d(x, w, bias=0.5, stride=2, padding=1); then the gradients of (y ** 2).sum().
TORCH_Y = [[0.0, 0.5, -1.25, 3.5], [1.75, -1.25, 5.5, -0.5], [0.0, -1.75, -1.25, 2.0], [-2.25, 0.0, 1.0, -1.5]]
TORCH_DX = [[[5.0, 21.0], [-25.5, 12.5]], [[26.5, -19.5], [29.0, 34.0]]]
TORCH_DW_FIRST = [
    [-2.5, 13.625, -2.875, 8.25],
    [-3.0, -3.75, 5.125, -2.5],
    [-1.25, 5.0, -4.125, 4.25],
    [-1.75, -1.25, 1.125, -0.625],
]


def reference(x: jax.Array, w: jax.Array, strides: Any = (1, 1), padding: Any = "SAME") -> jax.Array:
    return lax.conv_transpose(x, w, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def draw(case: str) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    shape, kernel, out, options = CASES[case]
    random = np.random.default_rng(0)
    return random.standard_normal(shape), random.standard_normal((*kernel, shape[3], out)), options


def value_and_gradients(function: Any, x: jax.Array, w: jax.Array, options: dict[str, Any]) -> tuple[jax.Array, ...]:
    """The output y, and the gradients dx and dw of a weighted sum of it, in which no two weights are equal."""
    y, pull = jax.vjp(lambda x, w: function(x, w, **options), x, w)
    return y, *pull(jnp.cos(jnp.arange(y.size)).reshape(y.shape).astype(y.dtype))


@pytest.mark.parametrize("case", CASES)
def test_value_and_gradients_agree_with_autodiff(case: str) -> None:
    x, w, options = draw(case)

    @jax.jit
    def both(x: jax.Array, w: jax.Array) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
        return value_and_gradients(conv_transpose, x, w, options), value_and_gradients(reference, x, w, options)

    with jax.enable_x64(True):
        for ours, theirs in zip(*both(x, w), strict=True):
            assert ours.dtype == "float64"
            np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)


def test_values_and_gradients_are_those_of_pytorch() -> None:
    with jax.enable_x64(True):
        weight = (np.arange(32.0).reshape(2, 1, 4, 4) * 7) % 5 - 2  # PyTorch's layout (i, o, r, s)
        kernel = jnp.asarray(weight[:, :, ::-1, ::-1].transpose(2, 3, 0, 1))
        x = jnp.arange(1.0, 9).reshape(1, 2, 2, 2).transpose(0, 2, 3, 1) / 4

        def loss(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
            y = conv_transpose(x, kernel, (2, 2)) + 0.5
            return (y**2).sum(), y

        (dx, dw), y = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(x, kernel)
    np.testing.assert_allclose(y[0, :, :, 0], TORCH_Y, atol=1e-12)
    np.testing.assert_allclose(dx[0].transpose(2, 0, 1), TORCH_DX, atol=1e-12)
    np.testing.assert_allclose(dw[::-1, ::-1, 0, 0], TORCH_DW_FIRST, atol=1e-12)


def test_it_is_the_transpose_of_the_convolution() -> None:
    """The inner product of conv(x) with g is that of x with conv_transpose(g), kernels mirrored and channels exchanged."""
    random = np.random.default_rng(0)
    x, g, w = (jnp.asarray(random.standard_normal(shape)) for shape in [(2, 8, 6, 3), (2, 4, 3, 5), (4, 4, 3, 5)])
    left = (conv(x, w, (2, 2)) * g).sum()
    right = (x * conv_transpose(g, jnp.flip(w, (0, 1)).swapaxes(2, 3), (2, 2))).sum()
    np.testing.assert_allclose(left, right, rtol=1e-5)


def test_lanes_agree_with_single_runs_in_a_loop() -> None:
    x, w = (jnp.asarray(a, jnp.float32) for a in draw("dcgan")[:2])
    kernels = jnp.stack([w, 0.5 * w, -w])

    def train(w: jax.Array) -> jax.Array:
        """Three steps of gradient descent."""
        slope = jax.grad(lambda w: (conv_transpose(x, w, (2, 2)) ** 2).mean())
        return lax.fori_loop(0, 3, lambda _, w: w - 0.1 * slope(w), w)

    lanes = jax.jit(jax.vmap(train))(kernels)
    one = jax.jit(train)
    np.testing.assert_allclose(lanes, jnp.stack([one(k) for k in kernels]), rtol=1e-4, atol=1e-5)


def test_other_back_ends_use_the_plain_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w, options = draw("dcgan")

    def program() -> str:
        return str(jax.make_jaxpr(lambda: conv_transpose(jnp.asarray(x), jnp.asarray(w), **options))())

    assert "custom_vjp" in program()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert "custom_vjp" not in program()


def test_module_has_the_parameters_and_the_output_of_flax() -> None:
    x = jnp.asarray(draw("dcgan")[0], jnp.float32)
    ours = ConvTranspose(9, 8, 4, strides=2, rngs=nnx.Rngs(0))
    theirs = nnx.ConvTranspose(9, 8, (4, 4), strides=(2, 2), bias_init=nnx.initializers.normal(), rngs=nnx.Rngs(1))
    nnx.update(ours, nnx.state(theirs, nnx.Param))
    np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


def test_module_without_bias_has_only_a_kernel() -> None:
    layer = ConvTranspose(3, 5, (3, 2), use_bias=False, rngs=nnx.Rngs(0))
    assert jax.tree.map(jnp.shape, nnx.to_pure_dict(nnx.state(layer))) == {"kernel": (3, 2, 3, 5)}


@pytest.mark.parametrize(("inputs", "parameters", "outputs"), [("uint8", "float32", "float32"), ("bfloat16",) * 3])
def test_module_computes_in_the_wider_type(inputs: str, parameters: str, outputs: str) -> None:
    def apply(x: jax.Array) -> jax.Array:
        layer = ConvTranspose(1, 2, 4, strides=2, rngs=nnx.Rngs(0))
        nnx.update(layer, jax.tree.map(lambda p: p.astype(parameters), nnx.state(layer)))
        return layer(x)

    assert jax.eval_shape(apply, jax.ShapeDtypeStruct((1, 4, 4, 1), inputs)).dtype == outputs
