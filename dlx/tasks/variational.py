"""Variational autoencoders: a lower bound of the log-likelihood, by gradient (Kingma and Welling 2014).

log p(x) >= ELBO = E[log p(x | z)] - KL(q(z | x) || p(z)), where q is normal with the encoder's mean and variance, p(z) is
standard normal, and the expectation is taken with one z, drawn as mean + deviation * noise, so that it has a gradient.
"""

import math
from collections.abc import Mapping
from typing import Any, assert_never

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dlx.config import Experiment
from dlx.config import autoencoder_task as kinds
from dlx.data import Spec
from dlx.data.augment import augment
from dlx.errors import UsageError
from dlx.models.variational import VariationalAutoencoder
from dlx.optim import penalty
from dlx.tasks.asked_noise import asked_classes
from dlx.tasks.descent import Descent
from dlx.tasks.network import Network, in_features, narrowed, widened
from dlx.tasks.state import Asked, Batch, Examined, Key, LearnerState, Sums, between, summed


class VariationalInference(Descent, Examined):
    """The task `vae`. All figures are nats per example; the memory counts the steps, for the KL's warm-up."""

    def __init__(self, config: kinds.Variational, spec: Spec, total_steps: int, steps_per_epoch: int) -> None:
        self.classes = spec.outputs if config.conditional else 0
        super().__init__(Network(in_features(spec), self.classes), total_steps, steps_per_epoch)
        self.shape = spec.input_shape
        self.scores = {"loss": False, "elbo": True, "reconstruction": False, "kl": False}
        self.running_scores = ("loss", "elbo", "reconstruction", "kl")

    def check(self, config: Experiment, params: Any, rest: Any, example: Batch, key: Key) -> None:
        """Raises `ConfigError` for a network that is no variational autoencoder."""
        del example
        self.network.check_can(VariationalAutoencoder, config, params, rest, key)

    def memory(self, config: Experiment, batch_size: int) -> Any:
        """No step was taken."""
        del config, batch_size
        return jnp.zeros((), jnp.int32)

    def loss(
        self, config: Experiment, params: Any, rest: Any, memory: Any, batch: Batch, key: Key, *, train: bool
    ) -> tuple[jax.Array, tuple[Any, Any, Sums]]:
        """The mean of -log p(x | z) + beta * KL, with the beta of this step, plus the penalties of the weights."""
        change, rest_key = jax.random.split(key)
        if train:
            batch = batch._replace(inputs=augment(config.data.augment, batch.inputs, change))
        each, rest = self._each(config, params, rest, batch, rest_key, train=train)
        sums, task = summed(each, batch.weight), _task(config)
        rising = jnp.minimum((memory + 1) / jnp.maximum(task.warmup * self.total_steps, 1.0), 1.0) if train else 1.0
        total = sums["reconstruction"] + rising * task.beta * sums["kl"]
        return total / sums["count"] + penalty(config.optimizer, params), (rest, memory + 1, sums)

    def examine(self, config: Experiment, state: LearnerState, batch: Batch, key: Key) -> tuple[Any, Sums]:
        """Each example's loss, -log p(x | z) and KL (b,) in nats, of one z drawn by the key."""
        return state.memory, self._each(config, state.params, state.rest, batch, key, train=False)[0]

    def metrics(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """`loss` with the whole beta, without the penalties of weights; `elbo`, more of which is better; its two parts."""
        loss, reconstruction, kl = (float(sums[name]) / float(sums["count"]) for name in ("loss", "reconstruction", "kl"))
        return {"loss": loss, "elbo": -reconstruction - kl, "reconstruction": reconstruction, "kl": kl}

    def predict(self, config: Experiment, state: LearnerState, inputs: jax.Array, key: Key) -> jax.Array:
        """The inputs (b, ...) again, by the mean of their codes. Raises `UsageError` for a network that must be told classes."""
        if self.classes:
            raise UsageError("a conditional vae must be told each example's class, and is given none here: use `dlx sample`")
        return self.reconstruct(config, state, inputs, None, key)

    def encode(
        self, config: Experiment, state: LearnerState, inputs: jax.Array, classes: jax.Array | None, key: Key
    ) -> tuple[jax.Array, jax.Array]:
        """Means and log-variances (b, code) of the codes of inputs (b, ...), told the classes (b,) if there are any."""
        told, seen = self._told(classes), narrowed(config, inputs)
        (mean, log_variance), _ = self.network.using(
            config, state.params, state.rest, key, lambda m: m.encode(seen, told), train=False
        )
        return widened(mean), widened(log_variance)

    def decode(
        self, config: Experiment, state: LearnerState, codes: jax.Array, classes: jax.Array | None, key: Key
    ) -> jax.Array:
        """The means (b, ...) of p(x | z): of pixels their probabilities."""
        told, seen = self._told(classes), narrowed(config, codes)
        said, _ = self.network.using(config, state.params, state.rest, key, lambda m: m.decode(seen, told), train=False)
        said = widened(said)
        return jax.nn.sigmoid(said) if isinstance(_task(config).likelihood, kinds.Bernoulli) else said

    def reconstruct(
        self, config: Experiment, state: LearnerState, inputs: jax.Array, classes: jax.Array | None, key: Key
    ) -> jax.Array:
        """The inputs (b, ...) again, by the mean of their codes."""
        return self.decode(config, state, self.encode(config, state, inputs, classes, key)[0], classes, key)

    def generate(self, config: Experiment, state: LearnerState, key: Key, asked: Asked) -> jax.Array:
        """Images of codes drawn from p(z), whose deviation is the temperature; or rows on the way from one code to the next.

        Classes that were not asked for come in turn. Raises `UsageError` for what a vae cannot be asked.
        """
        classes = asked_classes(asked, self.classes)
        if len(self.shape) != 3:
            raise UsageError(f"this vae makes arrays of shape {self.shape}, which are no images")
        count = asked.count + 1 if asked.steps else asked.count
        codes = asked.temperature * jax.random.normal(key, (count, self._code(config, state, key)), jnp.float32)
        if asked.steps:
            codes = between(codes, asked.steps)  # (count, steps, code)
            classes = np.repeat(classes, asked.steps)
        told = jnp.asarray(classes, jnp.int32) if self.classes else None
        made = jnp.clip(self.decode(config, state, codes.reshape(-1, codes.shape[-1]), told, key), 0.0, 1.0)
        return made.reshape(*codes.shape[:-1], *self.shape)

    def _each(self, config: Experiment, params: Any, rest: Any, batch: Batch, key: Key, *, train: bool) -> tuple[Sums, Any]:
        """Each example's loss, -log p(x | z) and KL (b,), and the new running statistics."""
        pixels, noise, other = jax.random.split(key, 3)
        task, told = _task(config), self._told(batch.targets)
        x = binarized(task.likelihood, batch.inputs, pixels)

        def through(model: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
            mean, log_variance = (widened(each) for each in model.encode(narrowed(config, x), told))
            # Always float32: in another type the same key gives other numbers.
            drawn = jax.random.normal(noise, mean.shape, jnp.float32).astype(mean.dtype)
            code = mean + jnp.exp(0.5 * log_variance) * drawn
            return widened(model.decode(narrowed(config, code), told)), mean, log_variance

        (said, mean, log_variance), rest = self.network.using(config, params, rest, other, through, train=train)
        missed, kl = surprise(task.likelihood, x, said), divergence(mean, log_variance)
        return {"loss": missed + task.beta * kl, "reconstruction": missed, "kl": kl}, rest

    def _told(self, classes: jax.Array | None) -> jax.Array | None:
        """Classes (b,) as vectors (b, classes); None for a network that is not told them."""
        return jax.nn.one_hot(classes, self.classes) if self.classes and classes is not None else None

    def _code(self, config: Experiment, state: LearnerState, key: Key) -> int:
        """Dimensions of the code."""
        example = jnp.zeros((1, *self.shape), jnp.float32)
        classes = jnp.zeros((1,), jnp.int32)
        return jax.eval_shape(lambda: self.encode(config, state, example, classes, key)[0]).shape[-1]


def divergence(mean: jax.Array, log_variance: jax.Array) -> jax.Array:
    """KL(N(mean, variance) || N(0, 1)) in nats, summed over the last axis: (b, code), (b, code) -> (b,)."""
    return 0.5 * jnp.sum(jnp.square(mean) + jnp.exp(log_variance) - 1.0 - log_variance, -1)


def surprise(likelihood: kinds.Bernoulli | kinds.Gaussian, x: jax.Array, said: jax.Array) -> jax.Array:
    """-log p(x | z) in nats, summed over all but the first axis, of what the decoder says (b, ...): logits, or means."""
    flat, outputs = x.reshape(len(x), -1), said.reshape(len(x), -1)
    match likelihood:
        case kinds.Bernoulli():
            return optax.sigmoid_binary_cross_entropy(outputs, flat).sum(-1)
        case kinds.Gaussian(std=std):
            return jnp.sum(0.5 * jnp.square((flat - outputs) / std) + jnp.log(std) + 0.5 * math.log(2 * math.pi), -1)
    assert_never(likelihood)


def binarized(likelihood: kinds.Bernoulli | kinds.Gaussian, x: jax.Array, key: Key) -> jax.Array:
    """The inputs (b, ...) as the likelihood takes them: pixels in 0..1 may become 0 or 1."""
    match likelihood:
        case kinds.Bernoulli(binarize="threshold"):
            return (x > 0.5).astype(x.dtype)
        case kinds.Bernoulli(binarize="sample"):
            return _drawn(x, key)
        case kinds.Bernoulli() | kinds.Gaussian():
            return x
    assert_never(likelihood)


def _drawn(x: jax.Array, key: Key) -> jax.Array:
    """1 with probability x, else 0, of any shape; to within 1 / 65,536.

    Random numbers of 16 bits, two of each word: a whole word for each pixel costs a small network a quarter of its step.
    """
    words = jax.random.bits(key, (-(-x.size // 2),), jnp.uint32)
    halves = jax.lax.bitcast_convert_type(words, jnp.uint16).reshape(-1)[: x.size].reshape(x.shape)
    return (halves.astype(x.dtype) < x * 65536).astype(x.dtype)


def _task(config: Experiment) -> kinds.Variational:
    assert isinstance(config.task, kinds.Variational)
    return config.task
