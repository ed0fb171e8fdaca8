"""Losses of two players against the formulas of their papers, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlx.config.adversarial_task import LeastSquares, Standard, Wasserstein, WassersteinGp
from dlx.tasks.adversarial_losses import clipped, of_critic, of_generator, slope_penalty

KEY = jax.random.key(3)


def test_losses_are_those_of_the_papers():
    real, fake = jnp.asarray([2.0, -1.0]), jnp.asarray([0.5, -3.0])

    def sigmoid(score):
        return 1 / (1 + np.exp(-np.asarray(score, np.float64)))

    cross = -np.log(sigmoid(real)) - np.log(1 - sigmoid(fake))
    np.testing.assert_allclose(of_critic(Standard(), real, fake), cross, rtol=1e-6)
    smooth = -0.9 * np.log(sigmoid(real)) - 0.1 * np.log(1 - sigmoid(real)) - np.log(1 - sigmoid(fake))
    np.testing.assert_allclose(of_critic(Standard(smoothing=0.1), real, fake), smooth, rtol=1e-6)
    np.testing.assert_allclose(of_generator(Standard(), fake), -np.log(sigmoid(fake)), rtol=1e-6)
    np.testing.assert_allclose(of_critic(LeastSquares(), real, fake), 0.5 * (real - 1) ** 2 + 0.5 * fake**2, rtol=1e-6)
    np.testing.assert_allclose(of_generator(LeastSquares(), fake), 0.5 * (fake - 1) ** 2, rtol=1e-6)
    for loss in (Wasserstein(), WassersteinGp()):
        np.testing.assert_allclose(of_critic(loss, real, fake), fake - real, rtol=1e-6)
        np.testing.assert_allclose(of_generator(loss, fake), -fake, rtol=1e-6)


def test_patches_count_as_their_mean():
    scores = jnp.arange(12.0).reshape(2, 2, 3)
    np.testing.assert_allclose(of_generator(Wasserstein(), scores), [-2.5, -8.5])


def test_slope_penalty_of_a_linear_critic_is_known():
    """A critic w x has slope |w| everywhere, so the penalty is (|w| - 1)^2 wherever the places fall."""
    w = jnp.asarray([3.0, 4.0])
    images = jnp.ones((5, 2))
    assert slope_penalty(lambda x: x @ w, images, 0 * images, KEY) == pytest.approx(16.0)


def test_clipping_holds_every_number():
    critic = {"kernel": jnp.asarray([[0.5, -0.5], [0.001, 0.0]])}
    np.testing.assert_allclose(clipped(Wasserstein(clip=0.01), critic)["kernel"], [[0.01, -0.01], [0.001, 0.0]])
    assert clipped(Standard(), critic) is critic
