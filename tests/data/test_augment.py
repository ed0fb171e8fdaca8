"""Random changes: what a shift fills the border with."""

import jax
import numpy as np

from dlx.config.data import Shift
from dlx.data.augment import augment


def test_a_shift_fills_the_border_with_the_lowest_value_of_each_channel():
    low = np.array([-1.0, 5.0, 20.0], np.float32)
    images = np.broadcast_to(low + 100, (32, 4, 4, 3)).copy()
    images[0, 0, 0] = low
    shifted = np.asarray(augment((Shift(pixels=2),), images, jax.random.key(0)))
    assert shifted.shape == images.shape
    border = shifted[1:] != images[1:]
    assert border.any(axis=(0, 1, 2)).all()
    assert np.array_equal(shifted[1:][border], np.broadcast_to(low, border.shape)[border])
