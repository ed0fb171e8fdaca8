"""Two players whose generator makes images out of noise: how they are trained on one size of image, judged and asked."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dlx.config import Experiment
from dlx.config.adversarial_task import Adversarial, AdversarialLoss, Stacked, WassersteinGp
from dlx.data import Spec
from dlx.models.noise_gan import NoiseGan
from dlx.optim import penalty
from dlx.tasks.adversarial_losses import clipped, of_critic, of_generator, slope_penalty
from dlx.tasks.asked_noise import asked_classes, drawn_as_asked
from dlx.tasks.made_images import SCORES, compared, examined, image_metrics, require_images, troubles
from dlx.tasks.network import Network, in_features, narrowed, widened
from dlx.tasks.rivals import Player, Rivals, settings
from dlx.tasks.state import Asked, Batch, Key, LearnerState, Sums

Make = Callable[[Any, jax.Array, jax.Array], jax.Array]
"""A method of a network: (network, what was drawn (b, n), classes (b,)) to images (b, h, w, c)."""
Judge = Callable[[Any, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
"""A method of a network: (network, images (b, h, w, c), classes (b,)) to scores (b,) and codes (b, k)."""


class NoiseRivals(Rivals):
    """A generator of images and a critic of them. Of tasks that differ in what is trained when."""

    def __init__(self, config: Adversarial | Stacked, spec: Spec, classes: int, total_steps: int, steps_per_epoch: int) -> None:
        """`classes` is 0 for networks that are told none."""
        require_images(spec, config.kind)
        super().__init__(Network(in_features(spec), classes), config, total_steps, steps_per_epoch)
        self.loss, self.classes = config.loss, classes
        self.scores = SCORES
        self.running_scores = ("diversity", "loss", "critic_accuracy")

    def turn(
        self,
        config: Experiment,
        player: Player,
        params: Any,
        rest: Any,
        images: jax.Array,
        classes: jax.Array,
        key: Key,
        make: Make,
        judge: Judge,
        *,
        train: bool,
    ) -> tuple[jax.Array, tuple[Any, Sums]]:
        """A player's mean loss on real `images` (b, h, w, c) and as many made ones, with the penalties; statistics; means."""
        loss, codes = _loss(config), vars(config.model).get("codes")
        noise, dropout, place = jax.random.split(key, 3)
        real = narrowed(config, images)

        def use(model: nnx.Module) -> tuple[jax.Array, ...]:
            assert isinstance(model, NoiseGan)
            drawn = model.made_of.draw(noise, len(real)).astype(real.dtype)
            fake = make(model, drawn, classes)
            of_real = judge(model, real, classes)[0] if player == "critic" else jnp.zeros(len(real), real.dtype)
            of_fake, read = judge(model, fake, classes)
            told = model.made_of.code(drawn)
            return (
                *map(widened, (fake, of_real, of_fake, model.made_of.unlike(told, read))),
                model.made_of.recognized(told, read),
            )

        (fake, of_real, of_fake, unlike, right), rest = self.network.using(config, params, rest, dropout, use, train=train)
        extra = penalty(config.optimizer, params[player])
        if codes is not None:
            extra += codes.weight * jnp.mean(unlike)
        if player == "critic":
            value = jnp.mean(of_critic(loss, of_real, of_fake))
            means = {"critic_loss": value, "critic_accuracy": jnp.mean(of_real > of_fake)}
            if isinstance(loss, WassersteinGp):
                score = self._score(config, params, rest, classes, dropout, judge, train=train)
                extra += loss.penalty * slope_penalty(score, real, fake, place)
        else:
            value = jnp.mean(of_generator(loss, of_fake))
            apart = compared(widened(real), fake, jnp.ones(len(real)))
            means = {"generator_loss": value, **jax.tree.map(jnp.mean, apart)}
            if codes is not None and codes.categorical:
                means["code_accuracy"] = jnp.mean(right)
        return value + extra, (rest, means)

    def settle(self, config: Experiment, player: Player, own: Any) -> Any:
        """The critic's weights are clipped where its loss asks for it."""
        return clipped(_loss(config), own) if player == "critic" else own

    def examine(self, config: Experiment, state: LearnerState, batch: Batch, key: Key) -> tuple[Any, Sums]:
        """Each example beside one generated image of its class: losses, distances, and its part of means and covariances."""
        classes, loss = self.told(batch), _loss(config)

        def use(model: nnx.Module) -> tuple[jax.Array, ...]:
            assert isinstance(model, NoiseGan)
            real = narrowed(config, batch.inputs)
            drawn = model.made_of.draw(key, len(real)).astype(real.dtype)
            fake = model.generate(drawn, classes)
            of_fake, read = model.judge(fake, classes)
            right = model.made_of.recognized(model.made_of.code(drawn), read)
            return fake, widened(model.judge(real, classes)[0]), widened(of_fake), right

        (fake, of_real, of_fake, right), _ = self.network.using(config, state.params, state.rest, key, use, train=False)
        each = {
            "critic_accuracy": (of_real > of_fake).astype(jnp.float32),
            **examined(batch.inputs, widened(fake), batch.weight),
        }
        each |= {"critic_loss": of_critic(loss, of_real, of_fake), "generator_loss": of_generator(loss, of_fake)}
        each["loss"] = each["critic_loss"] + each["generator_loss"]
        codes = vars(config.model).get("codes")
        if codes is not None and codes.categorical:
            each["code_accuracy"] = right
        return state.memory, each

    def predict(self, config: Experiment, state: LearnerState, inputs: jax.Array, key: Key) -> jax.Array:
        """The critic's score of images (b, h, w, c): (b, 1), or (b, classes) for a critic that is told the class."""

        def use(model: nnx.Module) -> jax.Array:
            assert isinstance(model, NoiseGan)
            told = [jnp.full(len(inputs), c) for c in range(max(1, self.classes))]
            return jnp.stack([model.judge(narrowed(config, inputs), c)[0] for c in told], 1)

        return widened(self.network.using(config, state.params, state.rest, key, use, train=False)[0])

    def generate(self, config: Experiment, state: LearnerState, key: Key, asked: Asked) -> jax.Array:
        """Images (count, h, w, c) in 0..1, or (count, steps, h, w, c) on the way from each sample's noise to the next one's.

        The temperature is the noise's deviation. Without classes a conditional network draws one after the other. Raises
        `UsageError` for classes of a network that is told none, and for what only text has.
        """
        classes = asked_classes(asked, self.classes)

        def use(model: nnx.Module) -> jax.Array:
            assert isinstance(model, NoiseGan)
            return model.generate(*drawn_as_asked(model.made_of, key, asked, classes))

        images = widened(self.network.using(config, state.params, state.rest, key, use, train=False)[0])
        return images.reshape(asked.count, asked.steps, *images.shape[1:]) if asked.steps else images

    def metrics(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """`frechet_pixels` of a part of the data; losses, `critic_accuracy` and `diversity` always; `code_accuracy` of categorical codes."""
        return image_metrics(sums)

    def warnings(self, metrics: Mapping[str, float]) -> dict[str, str]:
        """What goes wrong, by a name for each kind of trouble."""
        return troubles(self.loss, metrics)

    def told(self, batch: Batch) -> jax.Array:
        """(b,) int32; zeros for a network that is not told any."""
        return batch.targets if self.classes else jnp.zeros(len(batch.inputs), jnp.int32)

    def _score(
        self, config: Experiment, params: Any, rest: Any, classes: jax.Array, key: Key, judge: Judge, *, train: bool
    ) -> Callable[[jax.Array], jax.Array]:
        """The critic's score (b,) of images alone, in a module of its own, which may be differentiated."""

        def score(x: jax.Array) -> jax.Array:
            def use(model: nnx.Module) -> jax.Array:
                assert isinstance(model, NoiseGan)
                return judge(model, x, classes)[0]

            return widened(self.network.using(config, params, rest, key, use, train=train)[0])

        return score


def _loss(config: Experiment) -> AdversarialLoss:
    task = settings(config)
    assert isinstance(task, Adversarial | Stacked)
    return task.loss
