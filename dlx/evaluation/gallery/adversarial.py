"""What adversarial networks make: samples by class, what each value of a code means, ways between samples, both stages, translations."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from dlx.data import Part, some_rows
from dlx.evaluation.gallery.pictures import Images, Picture
from dlx.evaluation.gallery.shown import colored
from dlx.experiment.restore import Trained
from dlx.models.noise_gan import NoiseGan
from dlx.models.stackgan import StackGan
from dlx.tasks import Asked, LearnerState
from dlx.tasks.cycle import Cycle
from dlx.tasks.noise_rivals import NoiseRivals

SIDE, STEPS, WAYS = 10, 10, 5
"""Rows and columns of samples, points on the way from one sample to the next, and ways."""


def pictures(trained: Trained, part: Part) -> tuple[Picture, ...]:
    """The pictures of a run of two players."""
    match trained.task:
        case NoiseRivals():
            return _made(trained, trained.task)
        case Cycle():
            return (_translated(trained, trained.task, part),)
        case _:
            return ()


def _made(trained: Trained, task: NoiseRivals) -> tuple[Picture, ...]:
    names, key = trained.preparation.spec.classes[:SIDE], jax.random.key(0)
    rows = min(SIDE, task.classes) if task.classes else SIDE

    def make(asked: Asked) -> np.ndarray:
        return np.asarray(jax.jit(lambda learner: task.generate(trained.config, learner, key, asked))(trained.learner))

    told = np.repeat(np.arange(rows, dtype=np.int32), SIDE) if task.classes else None
    drawn = make(Asked(rows * SIDE, classes=told))
    by = "one row for each class" if task.classes else "of random noise"
    grid = drawn.reshape(rows, SIDE, *drawn.shape[1:])
    found = [Images("Samples", f"{len(drawn)} samples, {by}.", colored(grid), names if task.classes else ())]
    codes = vars(trained.config.model).get("codes")
    if codes is not None and codes.categorical:
        found.append(_by_code(trained, task, key))
    if vars(trained.config.model)["kind"] == "stackgan":
        found.append(_stages(trained, task, key))
    way = make(Asked(WAYS, steps=STEPS))
    return (*found, Images("From one sample to the next", "Each row goes from one random noise to another.", colored(way)))


def _by_code(trained: Trained, task: NoiseRivals, key: jax.Array) -> Images:
    """Each row the same value of the first categorical code, each column the same noise."""

    def use(model: nnx.Module) -> jax.Array:
        assert isinstance(model, NoiseGan)
        values = model.made_of.categorical[0]
        drawn = jnp.repeat(model.made_of.draw(key, SIDE)[None], values, 0)  # (values, columns, width)
        at = model.made_of.noise + jnp.arange(values)
        drawn = drawn.at[:, :, at].set(jnp.eye(values)[:, None])
        flat = drawn.reshape(-1, drawn.shape[2])
        images = model.generate(flat, jnp.zeros(len(flat), jnp.int32))
        return images.reshape(values, SIDE, *images.shape[1:])

    grid = _using(trained, task, key, use)
    names = tuple(str(value) for value in range(len(grid)))
    return Images("By the first code", "Each row has one value of the code, each column one noise.", colored(grid), names)


def _stages(trained: Trained, task: NoiseRivals, key: jax.Array) -> Images:
    """What the first stage draws, enlarged, and what the second makes of it."""

    def use(model: nnx.Module) -> jax.Array:
        assert isinstance(model, StackGan)
        classes = jnp.arange(SIDE) % max(1, task.classes)
        small = model.generate_small(model.made_of.draw(key, SIDE), classes)
        return jnp.stack([jnp.repeat(jnp.repeat(small, 2, 1), 2, 2), model.refine(small, classes)])

    grid = _using(trained, task, key, use)
    return Images(
        "Stages", "The first stage's images, enlarged, and what the second makes of them.", colored(grid), ("first", "second")
    )


def _translated(trained: Trained, task: Cycle, part: Part) -> Images:
    few = part.take(some_rows(len(part), SIDE))
    inputs = jnp.asarray(trained.preparation.scaling.apply(few.inputs))  # (n, 2, h, w, c)
    made = jax.jit(partial(task.predict, trained.config))(trained.learner, inputs, jax.random.key(0))
    first, second = (str(name) for name in trained.preprocessing.get("names", ("first", "second")))
    grid = np.stack([np.asarray(x) for x in (inputs[:, 0], made[:, 1], inputs[:, 1], made[:, 0])])
    rows = (first, f"as {second}", second, f"as {first}")
    return Images("Translations", f"{len(few)} images of each kind and what they become.", colored(grid), rows)


def _using(trained: Trained, task: NoiseRivals, key: jax.Array, use: Callable[[nnx.Module], jax.Array]) -> np.ndarray:
    """What a function of the network makes of it."""

    def made(learner: LearnerState) -> jax.Array:
        return task.network.using(trained.config, learner.params, learner.rest, key, use, train=False)[0]

    return np.asarray(jax.jit(made)(trained.learner))
