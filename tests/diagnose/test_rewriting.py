"""Losses without their custom rules, and with straight-through estimators held still."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlx.diagnose.rewriting import coarsest, equal, estimators, held_still, plain, traced
from dlx.nn import straight_through


@jax.custom_vjp
def twice_the_slope(x):
    return jnp.sin(x)


twice_the_slope.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (2 * g * jnp.cos(x),))


def inside_everything(x):
    """The custom rule inside a compiled function, a scan and a branch."""

    def body(carry, _):
        return twice_the_slope(carry) + 0.1, None

    y = jax.jit(lambda x: jax.lax.scan(body, x, None, length=2)[0])(x).sum()
    return jax.lax.cond(y > 0, twice_the_slope, jnp.cos, y)


def test_the_plain_loss_has_the_same_value_and_jax_own_gradient_in_both_modes():
    x = jnp.array([0.3, 0.8])
    bare = plain(inside_everything, x)
    slope = jnp.cos(jnp.sin(x) + 0.1) * jnp.cos(x) * jnp.cos((jnp.sin(jnp.sin(x) + 0.1) + 0.1).sum())
    np.testing.assert_allclose(bare(x), inside_everything(x), rtol=1e-6)
    np.testing.assert_allclose(jax.grad(bare)(x), slope, rtol=1e-5)
    np.testing.assert_allclose(jax.jvp(bare, (x,), (jnp.array([1.0, 0.0]),))[1], slope[0], rtol=1e-5)
    np.testing.assert_allclose(jax.grad(inside_everything)(x), 8 * slope, rtol=1e-5)  # the rule counts three times


def rounded(x):
    def body(carry, _):
        return straight_through(3 * carry, jnp.round, jnp.tanh) + x, None

    return (jax.jit(lambda x: jax.lax.scan(body, x, None, length=2)[0])(x) ** 2).sum()


def test_estimators_are_counted_at_any_depth():
    x = jnp.ones(2)
    assert estimators(traced(rounded, x)) == 1
    assert estimators(traced(lambda x: straight_through(x, jnp.sign).sum() + rounded(x), x)) == 2
    assert estimators(traced(inside_everything, x)) == 0


def test_the_gradient_through_an_estimator_is_that_of_the_loss_with_its_offset_held_still():
    with jax.enable_x64(True):
        x = jnp.array([0.3, -0.7, 1.2])
        still = held_still(traced(rounded, x))
        assert still(x, x) == rounded(x)
        h = 1e-6
        numeric = [(still(x, x + h * e) - still(x, x - h * e)) / (2 * h) for e in jnp.eye(3)]
        np.testing.assert_allclose(jax.grad(rounded)(x), numeric, rtol=1e-7)


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        (lambda x: jnp.sin(x).sum(), "float64"),
        (lambda x: jnp.sin(x.astype(jnp.float32)).astype(float).sum(), "float32"),
        (lambda x: (jax.jit(lambda x: x.astype(jnp.bfloat16) * 2)(x) + x.astype(jnp.float32)).sum().astype(float), "bfloat16"),
        # Constants and what is counted have no gradient: their types do not matter.
        (
            lambda x: (x * jnp.exp(jnp.ones(3, jnp.float32))).sum() + 0 * (x > 0).astype(jnp.bfloat16).sum().astype(float),
            "float64",
        ),
        (inside_everything, "float64"),
    ],
)
def test_the_coarsest_type_is_one_that_the_argument_goes_through(loss, name):
    with jax.enable_x64(True):
        assert coarsest(traced(loss, jnp.ones(3))) == name


def test_expressions_are_equal_if_they_compute_the_same():
    def drawn(x):
        return (x * np.random.default_rng().normal(size=3)).sum()

    x = jnp.ones(3)
    assert equal(traced(inside_everything, x), traced(inside_everything, x))
    assert not equal(traced(inside_everything, x), traced(rounded, x))
    assert not equal(traced(drawn, x), traced(drawn, x))  # the same operations with other constants


def test_a_linear_solver_keeps_its_parts():
    def solved(x):
        return jnp.linalg.solve(jnp.eye(3) + jnp.outer(x, x), x).sum()

    x = jnp.array([0.3, -0.7, 1.2])
    np.testing.assert_allclose(jax.grad(plain(solved, x))(x), jax.grad(solved)(x), rtol=1e-6)


@pytest.mark.parametrize(("forward", "surrogate"), [(jnp.sign, jnp.tanh), (jnp.round, lambda x: x)])
def test_straight_through_has_the_value_of_one_function_and_the_gradient_of_the_other(forward, surrogate):
    x = jnp.array([-1.3, 0.2, 2.6])
    value, pull = jax.vjp(lambda x: straight_through(x, forward, surrogate), x)
    np.testing.assert_array_equal(value, forward(x))
    np.testing.assert_allclose(pull(jnp.ones(3))[0], jax.vjp(surrogate, x)[1](jnp.ones(3))[0], rtol=1e-6)
