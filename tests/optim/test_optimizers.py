"""Every optimizer under its Optax name: the same steps as Optax takes, in lanes, with the usual weight-decay mask."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlx.config.experiment import kinds
from dlx.config.optimizer import AdamW, Sgd
from dlx.config.schedule import Constant
from dlx.optim import build_optimizer, build_schedule, penalty

KINDS = kinds("optimizer")
PARAMS = {"kernel": jnp.linspace(-1, 1, 12, dtype=jnp.float32).reshape(3, 4), "bias": jnp.full(4, 0.5, jnp.float32)}
CURVATURE = jnp.arange(1, 13, dtype=jnp.float32).reshape(3, 4) / 12


def loss(params):
    return jnp.sum(CURVATURE * jnp.square(params["kernel"])) + jnp.sum(jnp.square(params["bias"] - 1))


def walk(transform, steps, params=PARAMS):
    """The losses and the last parameters of `steps` steps."""

    def step(carry, _):
        params, state = carry
        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = transform.update(gradient, state, params, value=value, grad=gradient, value_fn=loss)
        return (optax.apply_updates(params, updates), state), value

    (params, _), losses = jax.lax.scan(step, (params, transform.init(params)), None, steps)
    return losses, params


def ours(config, lr=None):
    lr = config.lr if lr is None else lr
    return build_optimizer(config, build_schedule(Constant(), lr, 1000, 10))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_descends_in_lanes_of_different_rates(kind):
    """The rate is a traced number, one per lane, for every kind."""
    config = KINDS[kind](kind=kind)

    def lane(lr):
        return walk(ours(config.model_copy(update={"lr": lr}), lr), 30)[0]

    losses = jax.jit(jax.vmap(lane))(jnp.float32([config.lr, config.lr / 3]))
    assert jnp.isfinite(losses).all()
    assert (losses[:, -1] < losses[:, 0]).all()


THEIRS = {
    "sgd": lambda lr: optax.sgd(lr, momentum=0.9, nesterov=True),
    "adam": optax.adam,
    "nadam": optax.nadam,
    "amsgrad": optax.amsgrad,
    "radam": optax.radam,
    "adamax": optax.adamax,
    "adagrad": optax.adagrad,
    "rmsprop": optax.rmsprop,
    "lion": lambda lr: optax.lion(lr, weight_decay=0.0),
    "adamw": lambda lr: optax.adamw(lr, weight_decay=0.1, mask={"kernel": True, "bias": False}),
    "lamb": optax.lamb,
    "sm3": optax.sm3,
    "muon": optax.contrib.muon,
    "lbfgs": optax.lbfgs,
}
CHANGES = {"sgd": {"momentum": 0.9, "nesterov": True}, "lion": {"weight_decay": 0.0}, "adamw": {"weight_decay": 0.1}}


@pytest.mark.parametrize("kind", THEIRS)
def test_steps_are_those_of_optax(kind):
    config = KINDS[kind](kind=kind, **CHANGES.get(kind, {}))
    found, expected = (jax.jit(lambda t=t: walk(t, 5)[1])() for t in (ours(config), THEIRS[kind](config.lr)))
    for name in PARAMS:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, atol=1e-7)


def decayed(kind):
    return "weight_decay" in KINDS[kind].model_fields


@pytest.mark.parametrize("kind", [k for k in KINDS if decayed(k)])
def test_weight_decay_moves_weights_and_never_biases(kind):
    """The trap of `optax.inject_hyperparams`: it takes the mask for a schedule and drops the decay without a word."""
    gradient = jax.tree.map(lambda p: jnp.full_like(p, 1e-3), PARAMS)

    def update(decay):
        transform = ours(KINDS[kind](kind=kind, lr=0.1, weight_decay=decay))
        return transform.update(gradient, transform.init(PARAMS), PARAMS, value=1.0, grad=gradient, value_fn=loss)[0]

    plain, shrunk = update(0.0), update(0.5)
    np.testing.assert_array_equal(plain["bias"], shrunk["bias"])
    assert (jnp.abs(plain["kernel"] - shrunk["kernel"]) > 0).any()


def test_decoupled_decay_of_sgd_is_lr_times_decay_times_weight():
    transform = ours(Sgd(lr=0.1, weight_decay=0.01))
    zero = jax.tree.map(jnp.zeros_like, PARAMS)
    updates, _ = transform.update(zero, transform.init(PARAMS), PARAMS, value=0.0, grad=zero, value_fn=loss)
    np.testing.assert_allclose(updates["kernel"], -0.1 * 0.01 * PARAMS["kernel"], rtol=1e-6)


@pytest.mark.parametrize(("clips", "expected"), [({"clip_norm": 1.0}, [0.6, 0.8]), ({"clip_value": 3.5}, [3.0, 3.5])])
def test_gradients_are_clipped_by_norm_or_by_value(clips, expected):
    params = {"w": jnp.zeros(2)}
    transform = ours(Sgd(lr=1.0, **clips))
    gradient = {"w": jnp.float32([3.0, 4.0])}
    updates, _ = transform.update(gradient, transform.init(params), params, value=0.0, grad=gradient, value_fn=loss)
    np.testing.assert_allclose(-updates["w"], expected, rtol=1e-6)


def test_penalties_are_sums_over_weights_only():
    kernel = np.asarray(PARAMS["kernel"], np.float64)
    config = AdamW(l1=0.1, l2=0.4)
    np.testing.assert_allclose(penalty(config, PARAMS), 0.1 * np.abs(kernel).sum() + 0.2 * np.square(kernel).sum(), rtol=1e-6)
    assert penalty(AdamW(), PARAMS) == 0
