"""Distances of clouds of images against SciPy, NumPy and exact small cases."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from dlx.tasks.frechet import MOST, frechet, gaussian, moments, nearest, pooled


def test_frechet_distance_is_that_of_scipys_matrix_root():
    random = np.random.Generator(np.random.Philox(2))
    one, other = random.normal(size=(200, 6)), random.normal(size=(90, 6)) @ random.normal(size=(6, 6)) + 1
    clouds = [(x.mean(0), np.cov(x, rowvar=False)) for x in (one, other)]
    (m, c), (m2, c2) = clouds
    expected = np.sum((m - m2) ** 2) + np.trace(c + c2 - 2 * np.real(scipy.linalg.sqrtm(c @ c2)))
    assert frechet(*clouds) == pytest.approx(expected, rel=1e-9)
    assert frechet(clouds[0], clouds[0]) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_of_flat_clouds():
    """A cloud that is a point, as of a generator that has collapsed: |m1 - m2|^2 + tr C."""
    covariance = np.diag([1.0, 4.0, 0.0])
    assert frechet((np.zeros(3), covariance), (np.ones(3), np.zeros((3, 3)))) == pytest.approx(3 + 5)


def test_clouds_from_merged_sums_are_numpys():
    x = np.random.Generator(np.random.Philox(3)).normal(size=(40, 5))
    parts = [moments(jnp.asarray(half)) for half in (x[:13], x[13:])]
    total, products = (np.sum([np.asarray(part[i], np.float64).sum(0) for part in parts], 0) for i in (0, 1))
    mean, covariance = gaussian(40, total, products)
    np.testing.assert_allclose(mean, x.mean(0), atol=1e-6)
    np.testing.assert_allclose(covariance, np.cov(x, rowvar=False), atol=1e-5)


@pytest.mark.parametrize("shape", [(28, 28, 1), (8, 8, 1), (5, 9, 3), (3, 3, 1), (4, 4, 64)])
def test_pooled_pixels_are_means_of_fields(shape):
    images = np.random.Generator(np.random.Philox(4)).uniform(size=(2, *shape)).astype(np.float32)
    features = np.asarray(pooled(jnp.asarray(images)))
    assert features.shape[1] <= MOST
    side = max(1, int((MOST // shape[2]) ** 0.5))
    rows, columns = min(side, shape[0]), min(side, shape[1])
    first = images[:, : -(-shape[0] // rows), : -(-shape[1] // columns), 0].mean((1, 2)) - 0.5
    np.testing.assert_allclose(features[:, 0], first, atol=1e-6)


def test_nearest_neighbours_leave_out_what_does_not_count():
    x = jnp.asarray([[0.0], [1.0], [1.5], [9.0]])
    np.testing.assert_allclose(nearest(x, jnp.ones(4)), [1, 0.5, 0.5, 7.5], atol=1e-3)
    np.testing.assert_allclose(nearest(x, jnp.asarray([1.0, 1.0, 0.0, 1.0]))[:2], [1, 1], atol=1e-3)
    np.testing.assert_allclose(nearest(x[:1], jnp.ones(1)), [0])
