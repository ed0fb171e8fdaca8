"""`dlx.nn.conv` is `lax.conv_general_dilated` with another gradient: values and gradients must agree with JAX's own."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.extend.core import jaxprs_in_params

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
    "strides and an even kernel": ((3, 8, 6, 9), (4, 4), 4, {"strides": (2, 2)}),
    "strides beyond the kernel": ((3, 8, 7, 9), (1, 2), 4, {"strides": (2, 3)}),
    "strides and wide padding": ((2, 5, 4, 8), (2, 3), 3, {"strides": (2, 2), "padding": ((4, 3), (0, 5))}),
    "strides and negative padding": ((2, 9, 9, 8), (3, 3), 3, {"strides": (2, 2), "padding": ((-1, 1), (0, -2))}),
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


@pytest.mark.parametrize("case", ["same", "strides", "strides and an even kernel", "few in-channels", "strides and dilation"])
@pytest.mark.parametrize("product", [0, 1, 2], ids=["convolve", "spread", "correlate"])
def test_second_derivatives_of_every_product_agree_with_autodiff(case: str, product: int) -> None:
    """y, dx and dw are a product each. The gradient of the sum of a product's squares needs the second derivatives."""
    x, w, options = draw(case)

    def gradients(function: Any, x: jax.Array, w: jax.Array) -> tuple[jax.Array, ...]:
        return jax.grad(lambda x, w: (value_and_gradients(function, x, w, options)[product] ** 2).sum(), argnums=(0, 1))(x, w)

    with jax.enable_x64(True):
        ours, theirs = jax.jit(lambda x, w: [gradients(function, x, w) for function in (conv, reference)])(x, w)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-8)


def critic_loss(convolution: Any, weights: list[jax.Array], real: jax.Array, fake: jax.Array) -> jax.Array:
    """The loss of a Wasserstein critic with gradient penalty (Gulrajani et al. 2017, algorithm 1)."""

    def critic(x: jax.Array) -> jax.Array:
        x = nnx.leaky_relu(convolution(x, weights[0]), 0.2)
        x = nnx.leaky_relu(convolution(x, weights[1], (2, 2)), 0.2)
        return x.reshape(x.shape[0], -1) @ weights[2]

    slope = jax.grad(lambda x: critic(x).sum())(0.3 * real + 0.7 * fake)
    return (critic(fake) - critic(real)).mean() + 10 * ((jnp.sqrt((slope**2).sum((1, 2, 3))) - 1) ** 2).mean()


def critic_inputs() -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    shapes = [(3, 3, 2, 8), (4, 4, 8, 9), (4 * 3 * 9,)]
    weights = [random.standard_normal(s) / np.sqrt(np.prod(s[:-1])) for s in shapes]
    return weights, random.standard_normal((5, 8, 6, 2)), random.standard_normal((5, 8, 6, 2))


def test_gradient_of_a_gradient_penalty_in_a_loop_agrees_with_autodiff() -> None:
    """Three steps of a critic, in a compiled loop, by its gradient that goes through a gradient by the images."""

    def train(convolution: Any, weights: list[jax.Array], real: jax.Array, fake: jax.Array) -> list[jax.Array]:
        slope = jax.grad(partial(critic_loss, convolution))

        def step(_: jax.Array, weights: list[jax.Array]) -> list[jax.Array]:
            return [w - 0.01 * d for w, d in zip(weights, slope(weights, real, fake), strict=True)]

        return lax.fori_loop(0, 3, step, weights)

    with jax.enable_x64(True):
        weights, real, fake = jax.tree.map(jnp.asarray, critic_inputs())
        ours, theirs = (jax.jit(partial(train, function))(weights, real, fake) for function in (conv, reference))
    for a, b, start in zip(ours, theirs, critic_inputs()[0], strict=True):
        assert np.abs(np.asarray(a) - start).max() > 1e-3
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def test_every_convolution_of_a_gradient_penalty_has_the_fast_form() -> None:
    """XLA:CPU runs any other form as a naive loop: images NHWC, kernels HWIO, no gaps in the images, one group."""

    def forms(convolution: Any) -> list[bool]:
        program = jax.make_jaxpr(jax.grad(partial(critic_loss, convolution)))(*jax.tree.map(jnp.float32, critic_inputs()))
        return [is_fast(equation.params) for equation in convolutions(program.jaxpr)]

    assert len(forms(conv)) > 10
    assert all(forms(conv))
    assert not all(forms(reference))


def is_fast(options: dict[str, Any]) -> bool:
    canonical = lax.conv_dimension_numbers((1,) * 4, (1,) * 4, ("NHWC", "HWIO", "NHWC"))
    groups = options["feature_group_count"], options["batch_group_count"]
    return options["dimension_numbers"] == canonical and options["lhs_dilation"] == groups == (1, 1)


def convolutions(jaxpr: Any) -> Iterator[Any]:
    """The equations that convolve, at any depth."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from convolutions(inner)


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
