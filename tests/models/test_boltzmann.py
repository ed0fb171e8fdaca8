"""Boltzmann machines so small that all their states can be added up one by one."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.integrate import dblquad, quad
from scipy.special import logsumexp
from sklearn.neural_network import BernoulliRBM

from dlx.config import energy_model, model
from dlx.models import build
from dlx.models.boltzmann import Layer, drawn

VISIBLE, HIDDEN = 4, 3


def machine(units: str = "bernoulli", visible: int = VISIBLE, hidden: int = HIDDEN) -> tuple[Layer, dict[str, np.ndarray]]:
    """A machine with parameters around 1, and the same parameters in float64."""
    layer = Layer(visible, hidden, units, 0.01, rngs=nnx.Rngs(0))
    random = np.random.Generator(np.random.Philox(1))
    own = {name: random.normal(size=shape) for name, shape in (("w", (visible, hidden)), ("c", hidden), ("b", visible))}
    layer.linear.kernel[...], layer.linear.bias[...], layer.visible[...] = (jnp.asarray(own[n], jnp.float32) for n in "wcb")
    return layer, own


def states(units: int) -> np.ndarray:
    """All (2**units, units) of them."""
    return np.array(list(itertools.product([0.0, 1.0], repeat=units)))


def negative_energies(own: dict[str, np.ndarray], v: np.ndarray, units: str = "bernoulli") -> np.ndarray:
    """-E(v, h) of examples (n, visible) with all states of the hidden units, (n, states), in float64."""
    h = states(len(own["c"]))
    mine = -np.square(v - own["b"]).sum(1) / 2 if units == "gaussian" else v @ own["b"]
    return mine[:, None] + h @ own["c"] + v @ own["w"] @ h.T


@pytest.mark.parametrize("units", ["bernoulli", "gaussian"])
def test_the_free_energy_adds_up_the_hidden_units(units):
    layer, own = machine(units)
    v = np.random.Generator(np.random.Philox(2)).normal(size=(5, VISIBLE))
    expected = -logsumexp(negative_energies(own, v, units), axis=1)
    np.testing.assert_allclose(layer.free_energy(jnp.asarray(v)), expected, rtol=1e-5)


def test_the_likelihoods_of_all_states_add_up_to_one():
    layer, own = machine()
    v = states(VISIBLE)
    expected = logsumexp(negative_energies(own, v))
    assert float(layer.log_partition()) == pytest.approx(expected, rel=1e-6)
    likelihoods = np.exp(-np.asarray(layer.free_energy(jnp.asarray(v)), np.float64) - expected)
    assert likelihoods.sum() == pytest.approx(1, rel=1e-5)


def test_more_hidden_states_than_fit_one_product_are_added_up_too():
    """12 hidden units have 4096 states, four products."""
    layer, own = machine(hidden=12)
    assert float(layer.log_partition()) == pytest.approx(logsumexp(negative_energies(own, states(VISIBLE))), rel=1e-5)


def test_the_density_of_gaussian_units_integrates_to_one():
    layer, own = machine("gaussian", visible=2, hidden=2)

    def density(y: float, x: float) -> float:
        return math.exp(logsumexp(negative_energies(own, np.array([[x, y]]), "gaussian")))

    integral, _ = dblquad(density, -12, 12, -12, 12, epsabs=1e-8)
    assert float(layer.log_partition()) == pytest.approx(math.log(integral), rel=1e-5)


def test_the_pseudo_likelihood_is_scikit_learns_at_the_same_pixels():
    layer, own = machine()
    v = np.random.Generator(np.random.Philox(3)).integers(0, 2, (50, VISIBLE)).astype(np.float64)
    theirs = BernoulliRBM(n_components=HIDDEN, random_state=7).fit(v)
    theirs.components_, theirs.intercept_hidden_, theirs.intercept_visible_ = own["w"].T, own["c"], own["b"]
    position = np.random.RandomState(7).randint(0, VISIBLE, len(v))
    ours = layer.pseudo_log_likelihood(jnp.asarray(v), jnp.asarray(position))
    np.testing.assert_allclose(ours, theirs.score_samples(v), rtol=2e-5)


def test_the_pseudo_likelihood_of_gaussian_units_is_their_conditional_density():
    layer, own = machine("gaussian")
    v = np.random.Generator(np.random.Philox(4)).normal(size=(6, VISIBLE)) * 1.5
    for position in range(VISIBLE):
        ours = layer.pseudo_log_likelihood(jnp.asarray(v), jnp.full(len(v), position))
        for row, found in zip(v, ours, strict=True):

            def density(x: float, row=row, position=position) -> float:
                return math.exp(
                    logsumexp(negative_energies(own, np.where(np.arange(VISIBLE) == position, x, row)[None], "gaussian"))
                )

            expected = VISIBLE * math.log(density(row[position]) / quad(density, -15, 15)[0])
            assert float(found) == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("units", ["bernoulli", "gaussian"])
def test_gibbs_chains_come_to_the_machines_own_distribution(units):
    """Of 20,000 chains the means of the hidden units, against all states added up; 0.5 / sqrt(20000) is 0.0035."""
    layer, own = machine(units)
    hidden = jnp.zeros((20_000, HIDDEN))
    _, h = jax.jit(lambda h: layer.gibbs(h, jax.random.key(0), 200))(hidden)
    if units == "bernoulli":
        weights = np.exp(logsumexp(negative_energies(own, states(VISIBLE)), axis=0))  # of each hidden state
    else:
        down = states(HIDDEN) @ own["w"].T
        weights = np.exp(states(HIDDEN) @ own["c"] + down @ own["b"] + np.square(down).sum(1) / 2)
    np.testing.assert_allclose(np.asarray(h).mean(0), weights @ states(HIDDEN) / weights.sum(), atol=0.016)


def test_at_temperature_zero_the_likelier_state_is_taken():
    logits = jnp.array([[-0.1, 0.1, 3.0]])
    assert drawn(logits, jax.random.key(0), 0).tolist() == [[0, 1, 1]]
    often = np.asarray(drawn(jnp.full((20_000, 1), 1.0), jax.random.key(1), 2.0)).mean()
    assert often == pytest.approx(1 / (1 + math.exp(-0.5)), abs=0.015)


def test_a_stack_has_the_parameters_of_a_network_of_sigmoids():
    """By name and shape, so that a classifier can begin with them; and it computes the same hidden units."""
    shape = (4, 4, 1)
    stack = build(energy_model.Dbn(hidden=(6, 5)), shape, 0, nnx.Rngs(0))
    network = build(model.Mlp(hidden=(6, 5), activation="sigmoid"), shape, 3, nnx.Rngs(1))

    def named(module: nnx.Module) -> dict[str, tuple[int, ...]]:
        leaves = jax.tree_util.tree_leaves_with_path(nnx.as_pure(nnx.state(module, nnx.Param)))
        return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape for path, leaf in leaves}

    shared = named(stack).items() & named(network).items()
    assert {name for name, _ in shared} == {f"hidden/{layer}/linear/{part}" for layer in (0, 1) for part in ("kernel", "bias")}
    for mine, other in zip(network.hidden, stack.hidden, strict=True):
        mine.linear.kernel[...] = other.linear.kernel[...]
    v = jax.random.uniform(jax.random.key(2), (3, 16))
    expected = network.hidden[1](network.hidden[0](v))
    np.testing.assert_allclose(jax.nn.sigmoid(stack.hidden[1].hidden_logits(stack.below(v, 1))), expected, rtol=1e-5)


@pytest.mark.parametrize("config", [energy_model.Rbm(hidden=5), energy_model.Dbn(hidden=(6, 5), visible="gaussian")])
def test_machines_reconstruct_what_they_see(config):
    x = jax.random.uniform(jax.random.key(0), (3, 4, 4, 1))
    y = build(config, (4, 4, 1), 0, nnx.Rngs(0))(x)
    assert y.shape == x.shape
    if config.visible == "bernoulli":
        assert float(y.min()) > 0
        assert float(y.max()) < 1
