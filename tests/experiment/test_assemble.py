"""What a config must not be on its data: told before anything is compiled."""

from dataclasses import replace

import numpy as np
import pytest

from dlx.config import Experiment, load_experiment
from dlx.data import Dataset, Part, Scaling, Spec
from dlx.errors import ConfigError
from dlx.experiment.assemble import plan_for

GAN = {"task": {"kind": "adversarial"}, "model": {"kind": "gan"}}
VAE = {"task": {"kind": "vae"}, "model": {"kind": "vae"}}
RBM = {"task": {"kind": "boltzmann"}, "model": {"kind": "rbm"}}
CROSS = {"task": {"kind": "reconstruct", "loss": "cross-entropy"}, "model": {"kind": "autoencoder"}}


def experiment(parts: dict, batch_size: int = 4, **data: object) -> Experiment:
    base = {"data": {"kind": "digits", "standardize": False, **data}, "train": {"batch_size": batch_size}}
    return load_experiment(base | parts)


def dataset(inputs: np.ndarray, **spec: object) -> Dataset:
    """Examples without a target."""
    part = Part(inputs, np.zeros((len(inputs), 0), np.float32))
    scaling = Scaling(np.zeros(inputs.shape[-1], np.float32), np.ones(inputs.shape[-1], np.float32))
    about = replace(Spec(inputs.shape[1:], "none", 0, (), (), (), (), (), len(part)), **spec)
    return Dataset("made", about, part, part, part.take(np.arange(0)), scaling, {}, ())


def images(most: float) -> np.ndarray:
    return np.linspace(0, most, 8 * 64, dtype=np.float32).reshape(8, 8, 8, 1)


@pytest.mark.parametrize("parts", [GAN, VAE, RBM, CROSS], ids=["gan", "vae", "rbm", "cross-entropy"])
def test_numbers_beyond_0_and_1_are_refused_where_they_must_be_in_between(parts):
    with pytest.raises(ConfigError, match=r"are 0 to 255: bring them to 0..1"):
        plan_for(experiment(parts), dataset(images(255)))
    plan_for(experiment(parts), dataset(images(1.0001)))  # rounding
    plan_for(experiment(parts), dataset(images(255).astype(np.uint8)))  # pixels are scaled


def test_a_gaussian_likelihood_takes_any_numbers_but_makes_images_of_pixels():
    gaussian = {"task": {"kind": "vae", "likelihood": {"kind": "gaussian"}}, "model": {"kind": "vae"}}
    config = experiment(gaussian, standardize=True)
    plan_for(config, dataset(images(255).reshape(8, 64)))
    with pytest.raises(ConfigError, match=r"images of pixels in 0..1, .* set data.standardize=false"):
        plan_for(config, dataset(images(1)))


@pytest.mark.parametrize(
    "parts",
    [
        {"task": {"kind": "boltzmann"}, "model": {"kind": "rbm", "visible": "gaussian"}},
        {"task": {"kind": "reconstruct"}, "model": {"kind": "autoencoder"}},
    ],
)
def test_numbers_may_be_any_where_they_are_numbers(parts):
    plan_for(experiment(parts), dataset(images(255)))


@pytest.mark.parametrize(
    ("parts", "data", "said"),
    [
        (
            {"task": {"kind": "seq2seq"}, "model": {"kind": "captioner"}},
            dataset(images(1), target="tokens", outputs=9, target_length=5),
            "task.kind=seq2seq learns them as they are",
        ),
        (
            {"task": {"kind": "cycle"}, "model": {"kind": "cyclegan"}},
            dataset(np.stack([images(1)] * 2, 1)),
            "task.kind=cycle learns",
        ),
        ({"task": {"kind": "reconstruct"}}, dataset(images(1).reshape(8, 64)), "this data has rows"),
        ({"task": {"kind": "reconstruct"}}, dataset(images(1)[..., 0]), r"this data has examples of shape \(8, 8\)"),
    ],
    ids=["captions", "pairs", "rows", "series"],
)
def test_augmentation_that_would_do_nothing_is_refused(parts, data, said):
    with pytest.raises(ConfigError, match=said):
        plan_for(experiment({"model": {"kind": "autoencoder"}} | parts, augment=[{"kind": "flip"}]), data)


def test_batch_normalization_over_parts_of_one_image_is_refused():
    parts = GAN | {"task": {"kind": "adversarial", "critic_steps": 4}}
    with pytest.raises(ConfigError, match=r"model.generator_normalization=batch: .* each batch of 4 into parts of one"):
        plan_for(experiment(parts), dataset(images(1)))
    plan_for(experiment(parts, batch_size=8), dataset(images(1)))
    plan_for(experiment(parts | {"model": {"kind": "gan", "generator_normalization": "layer"}}), dataset(images(1)))
