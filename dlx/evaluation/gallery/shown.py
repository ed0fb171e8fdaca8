"""From what a network sees or makes to images that can be shown."""

import numpy as np

from dlx.data import Preparation


def shown(preparation: Preparation, images: np.ndarray) -> np.ndarray:
    """Images (..., h, w, c) as the network sees them, in 0..1 and with channels that can be shown."""
    raw = images / preparation.scaling.inverse_std + preparation.scaling.mean
    largest = float(preparation.pixel_range) if preparation.dtype == np.uint8 else 1.0
    return colored(np.clip(raw / largest, 0, 1))


def colored(images: np.ndarray) -> np.ndarray:
    """Images (..., h, w, c) float32 with 1 or 3 channels: of others the first."""
    return np.asarray(images if images.shape[-1] in (1, 3) else images[..., :1], np.float32)
