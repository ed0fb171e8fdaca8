"""`dlx.nn.conv` is `lax.conv_general_dilated` with another gradient: values and gradients must agree with JAX's own."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from dlx.nn.conv import Conv, conv

# (batch, height, width, in-channels), (kernel height, kernel width), out-channels, the options of `conv`
CASES = {
    "same": ((3, 7, 6, 9), (3, 3), 4, {}),
    "valid": ((3, 7, 6, 9), (3, 3), 4, {"padding": "VALID"}),
    "few in-channels": ((3, 7, 6, 1), (3, 3), 4, {}),
    "several chunks and a rest": ((37, 5, 5, 8), (3, 3), 3, {}),
    "1x1": ((2, 5, 4, 8), (1, 1), 3, {}),
    "even kernel": ((2, 6, 5, 8), (2, 4), 3, {}),
    "asymmetric padding": ((2, 6, 5, 8), (3, 2), 3, {"padding": ((2, 0), (1, 3))}),
    "more padding than kernel": ((2, 4, 4, 8), (2, 2), 3, {"padding": ((3, 2), (0, 4))}),
    "negative padding": ((2, 7, 7, 8), (3, 3), 3, {"padding": ((-1, 1), (0, -2))}),
    "strides": ((3, 8, 7, 9), (3, 3), 4, {"strides": (2, 2)}),
    "uneven strides, valid": ((3, 9, 8, 2), (3, 2), 4, {"strides": (3, 2), "padding": "VALID"}),
    "dilation": ((3, 9, 9, 8), (3, 3), 4, {"dilation": (2, 3)}),
    "strides and dilation": ((3, 11, 9, 3), (3, 2), 4, {"strides": (2, 1), "dilation": (2, 2), "padding": ((1, 0), (2, 1))}),
}


def reference(x: jax.Array, w: jax.Array, strides: Any = (1, 1), padding: Any = "SAME", dilation: Any = (1, 1)) -> jax.Array:
    return lax.conv_general_dilated(x, w, strides, padding, rhs_dilation=dilation, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def draw(case: str) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    shape, kernel, out, options = CASES[case]
    random = np.random.default_rng(0)
    return random.standard_normal(shape), random.standard_normal((*kernel, shape[3], out)), options


def images_and_kernels() -> tuple[jax.Array, jax.Array]:
    x, w, _ = draw("same")
    return jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32)


def value_and_gradients(function: Any, x: jax.Array, w: jax.Array, options: dict[str, Any]) -> tuple[jax.Array, ...]:
    """The output y, and the gradients dx and dw of a weighted sum of it, in which no two weights are equal."""
    y, pull = jax.vjp(lambda x, w: function(x, w, **options), x, w)
    return y, *pull(jnp.cos(jnp.arange(y.size)).reshape(y.shape).astype(y.dtype))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-4)])
def test_value_and_gradients_agree_with_autodiff(case: str, dtype: str, tolerance: float) -> None:
    x, w, options = draw(case)

    @jax.jit
    def both(x: jax.Array, w: jax.Array) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
        return value_and_gradients(conv, x, w, options), value_and_gradients(reference, x, w, options)

    with jax.enable_x64(dtype == "float64"):
        for ours, theirs in zip(*both(x.astype(dtype), w.astype(dtype)), strict=True):
            assert ours.dtype == dtype
            np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", ["several chunks and a rest", "strides"])
def test_bfloat16_stays_bfloat16_and_sums_in_float32(case: str) -> None:
    x, w, options = draw(case)
    narrow = jnp.asarray(x, jnp.bfloat16), jnp.asarray(w, jnp.bfloat16)

    @jax.jit
    def both(x: jax.Array, w: jax.Array) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
        wide = x.astype(jnp.float32), w.astype(jnp.float32)
        return value_and_gradients(conv, x, w, options), value_and_gradients(reference, *wide, options)

    for ours, exact in zip(*both(*narrow), strict=True):
        assert ours.dtype == jnp.bfloat16
        np.testing.assert_allclose(ours.astype(jnp.float32), exact, atol=0.02 * float(jnp.abs(exact).max()))


def test_gradient_under_vmap_and_scan_is_that_of_each_lane() -> None:
    x, w = images_and_kernels()
    kernels = jnp.stack([w, 2 * w, -w])

    def gradient(w: jax.Array) -> jax.Array:
        return jax.grad(lambda w: (conv(x, w) ** 2).sum())(w)

    lanes = jax.jit(lambda k: lax.scan(lambda carry, _: (carry, jax.vmap(gradient)(carry)), k, None, 2)[1][1])(kernels)
    one = jax.jit(gradient)
    np.testing.assert_allclose(lanes, jnp.stack([one(k) for k in kernels]), rtol=1e-3, atol=1e-2)


def test_the_gradient_can_be_differentiated_again_in_reverse() -> None:
    x, w = images_and_kernels()

    def penalty(w: jax.Array, function: Any) -> jax.Array:
        return (jax.grad(lambda x: jnp.tanh(function(x, w)).sum())(x) ** 2).sum()

    ours, theirs = jax.jit(lambda w: [jax.grad(penalty)(w, function) for function in (conv, reference)])(w)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_forward_mode_is_refused_on_a_cpu() -> None:
    x, w = images_and_kernels()
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda x: conv(x, w), (x,), (x,))


def test_other_back_ends_use_the_plain_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    def program() -> str:
        return str(jax.make_jaxpr(lambda: conv(*images_and_kernels(), strides=(2, 1)))())

    assert "custom_vjp" in program()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert "custom_vjp" not in program()


def test_module_is_a_convolution_with_a_bias() -> None:
    def ours_and_theirs(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        layer = Conv(9, 5, (3, 2), strides=2, padding="VALID", rngs=nnx.Rngs(0))
        layer.bias[...] = jnp.arange(5.0)
        return layer(x), reference(x, layer.kernel[...], (2, 2), "VALID") + jnp.arange(5.0)

    ours, theirs = jax.jit(ours_and_theirs)(images_and_kernels()[0])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_module_without_bias_has_only_a_kernel() -> None:
    layer = Conv(3, 5, (3, 2), use_bias=False, kernel_init=jax.nn.initializers.ones, rngs=nnx.Rngs(0))
    assert jax.tree.map(jnp.shape, nnx.to_pure_dict(nnx.state(layer))) == {"kernel": (3, 2, 3, 5)}


@pytest.mark.parametrize(("inputs", "parameters", "outputs"), [("uint8", "float32", "float32"), ("bfloat16",) * 3])
def test_module_computes_in_the_wider_type(inputs: str, parameters: str, outputs: str) -> None:
    def apply(x: jax.Array) -> jax.Array:
        layer = Conv(1, 2, 3, rngs=nnx.Rngs(0))
        nnx.update(layer, jax.tree.map(lambda p: p.astype(parameters), nnx.state(layer)))
        return layer(x)

    assert jax.eval_shape(apply, jax.ShapeDtypeStruct((1, 4, 4, 1), inputs)).dtype == outputs
