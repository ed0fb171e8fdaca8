"""Mean and standard deviation of the training part, by channel or by column."""

from dataclasses import dataclass

import numpy as np

from dlx.data.dataset import Scaling

_BLOCK = 2048  # images counted at once: bincount makes eight bytes of each pixel


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of inputs along their last axis, both (features,) float64, in the inputs' own units."""

    mean: np.ndarray
    std: np.ndarray


def measure(inputs: np.ndarray) -> Moments:
    """The moments of `inputs` (n, ..., features); of no inputs they are NaN."""
    return _pixel_moments(inputs) if inputs.dtype == np.uint8 else _row_moments(inputs)


def fit_scaling(inputs: np.ndarray) -> Scaling:
    """Scaling of `inputs` (n, ..., features) along the last axis. What never varies is only centred (inverse_std 1)."""
    return scaling_from(measure(inputs))


def scaling_from(moments: Moments) -> Scaling:
    """The scaling that gives what has these moments mean 0 and deviation 1; what never varies is only centred."""
    mean, std = moments.mean, moments.std
    # What is constant but for rounding must not be blown up to a deviation of one, and float32 must hold 1 / std.
    varies = std > np.maximum(1e-7 * np.abs(mean), np.finfo(np.float32).tiny)
    return Scaling(mean.astype(np.float32), np.where(varies, 1 / np.where(varies, std, 1), 1).astype(np.float32))


def fixed_scaling(inputs: np.ndarray, pixel_range: float) -> Scaling:
    """What `data.standardize: false` means: pixels to 0..1, everything else as it is."""
    features = inputs.shape[-1]
    factor = 1 / pixel_range if inputs.dtype == np.uint8 else 1.0
    return Scaling(np.zeros(features, np.float32), np.full(features, factor, np.float32))


def _pixel_moments(images: np.ndarray) -> Moments:
    """Exact mean and std of each channel of (n, height, width, channels) uint8, from the counts of the 256 values."""
    channels = images.shape[-1]
    counts = np.zeros((channels, 256), np.int64)
    for start in range(0, len(images), _BLOCK):
        for channel in range(channels):
            counts[channel] += np.bincount(images[start : start + _BLOCK, ..., channel].ravel(), minlength=256)
    values, total = np.arange(256), counts.sum(axis=1)
    mean = counts @ values / total
    return Moments(mean, np.sqrt(np.maximum(counts @ values**2 / total - mean**2, 0)))


def _row_moments(rows: np.ndarray) -> Moments:
    flat = rows.reshape(-1, rows.shape[-1])
    return Moments(flat.mean(axis=0, dtype=np.float64), flat.std(axis=0, dtype=np.float64))
