"""How generated images are measured, and what goes wrong when they are learned by two players."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import jax
import numpy as np

from dlx.config.adversarial_task import AdversarialLoss
from dlx.data import Spec
from dlx.errors import ConfigError
from dlx.tasks.adversarial_losses import overpowers
from dlx.tasks.frechet import frechet, gaussian, moments, nearest, pooled
from dlx.tasks.state import Sums

SCORES: Final = MappingProxyType(
    {
        "frechet_pixels": False,
        "diversity": True,
        "critic_accuracy": False,
        "generator_loss": False,
        "critic_loss": False,
        "loss": False,
    }
)
"""What a task of two players reports, and whether more is better. The Frechet distance chooses: losses of players that learn
against each other do not fall."""
TOLD_APART = 0.98
"""The share of pairs of a real and a generated image that a critic which overpowers tells apart."""
COLLAPSED = 0.25
"""The diversity below which samples are nearly alike."""
FOR_CRITIC: Final = "lower task.critic_lr_ratio, or use task.loss.kind=wasserstein-gp"
FOR_GENERATOR: Final = "lower optimizer.lr, raise model.latent, or use task.loss.kind=wasserstein-gp"
"""What makers of images out of noise can do."""


def require_images(spec: Spec, kind: str) -> None:
    """Raises `ConfigError` for data without images."""
    if len(spec.input_shape) != 3:
        raise ConfigError(
            f"task.kind={kind} makes images (height, width, channels), and the data has examples of shape {spec.input_shape}"
        )


def compared(real: jax.Array, fake: jax.Array, weight: jax.Array) -> Sums:
    """How far apart real and generated images (b, h, w, c) lie among themselves, `data_apart` and `apart` (b,).

    The distance is that of each image's `pooled` pixels to the nearest other one in the batch that has weight (b,).
    """
    return {"apart": nearest(pooled(fake), weight), "data_apart": nearest(pooled(real), weight)}


def examined(real: jax.Array, fake: jax.Array, weight: jax.Array) -> Sums:
    """Each example's part (b, ...) of what real and as many generated images (b, h, w, c) are compared by."""
    sums = compared(real, fake, weight)
    for name, images in (("real", real), ("fake", fake)):
        sums[f"{name}_features"], sums[f"{name}_products"] = moments(pooled(images))
    return sums


def image_metrics(sums: Mapping[str, np.ndarray]) -> dict[str, float]:
    """`frechet_pixels` where the sums hold what it is made of, `diversity`, and the mean of everything else.

    `frechet_pixels` is the squared Frechet distance of `pooled` pixels of real and generated images. `diversity` is how far
    generated images of one batch are from their nearest neighbours, over what it is for real ones: 1 as in the data, 0 all alike; no
    number where real ones have none, as in batches of one.
    """
    count = float(sums["count"])
    metrics = {name: float(total) / count for name, total in sums.items() if np.ndim(total) == 0 and name != "count"}
    apart, data_apart = metrics.pop("apart"), metrics.pop("data_apart")
    metrics["diversity"] = apart / data_apart if data_apart else math.nan
    if "real_products" not in sums:
        return metrics
    if count < 2:
        return {"frechet_pixels": float("nan"), **metrics}
    clouds = [gaussian(count, sums[f"{name}_features"], sums[f"{name}_products"]) for name in ("real", "fake")]
    return {"frechet_pixels": frechet(clouds[0], clouds[1]), **metrics}


def troubles(
    loss: AdversarialLoss, metrics: Mapping[str, float], for_critic: str = FOR_CRITIC, for_generator: str = FOR_GENERATOR
) -> dict[str, str]:
    """What the metrics (`train/...`, `validation/...`) of an evaluation say of the balance of the players: a sentence by a name.

    The last two say what can be done where the critic is too good, and where the generator makes one image only.
    """
    found = dict[str, str]()
    accuracy = metrics.get("train/critic_accuracy", 0.0)
    of_critic, of_generator = (metrics.get(f"train/{player}_loss", math.nan) for player in ("critic", "generator"))
    if accuracy >= TOLD_APART and overpowers(loss, of_critic, of_generator):
        found["critic overpowers"] = (
            f"the critic overpowers the generator: it tells {accuracy:.1%} of the pairs apart (its loss is {of_critic:.2g}, the generator's "
            f"{of_generator:.2g}), so that the generator learns little from it; {for_critic}"
        )
    diversity = metrics.get("validation/diversity", metrics.get("train/diversity", math.inf))
    if diversity < COLLAPSED:
        found["mode collapse"] = (
            f"the generator has collapsed: its images lie {diversity:.2g} times as far apart as the data's; {for_generator}"
        )
    return found
