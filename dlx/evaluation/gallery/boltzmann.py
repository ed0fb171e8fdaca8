"""Pictures of Boltzmann machines, alone and in a stack: filters, reconstructions, and where Gibbs chains go from the data."""

from typing import Final

import jax
import jax.numpy as jnp
import numpy as np

from dlx import engine
from dlx.data import Part
from dlx.evaluation.gallery.pictures import Images, Picture
from dlx.evaluation.gallery.shown import shown
from dlx.experiment.restore import Trained
from dlx.models.boltzmann import Stack
from dlx.tasks.belief import GreedyPretraining
from dlx.tasks.boltzmann import ContrastiveDivergence

FILTERS, EXAMPLES = 64, 8
STEPS: Final = (1, 10, 100, 1000)
"""Gibbs steps after which a chain is shown."""


def pictures(trained: Trained, part: Part) -> tuple[Picture, ...]:
    """What the first layer's hidden units look for, and what becomes of examples. None for rows, or other tasks."""
    task, shape = trained.task, trained.preparation.spec.input_shape
    if not isinstance(task, ContrastiveDivergence | GreedyPretraining) or len(shape) != 3 or not len(part):
        return ()
    few = part.take(np.arange(min(EXAMPLES, len(part))))
    key = engine.step_key(0, "gallery", 0)
    learner = trained.learner

    def follow(stack: Stack) -> tuple[jax.Array, list[jax.Array]]:
        top = len(stack.hidden) - 1
        layer, first, chain = stack.hidden[top], *jax.random.split(key)
        hidden, frames, done = layer.draw_hidden(stack.below(v, top), first), [], 0
        for number, steps in enumerate(STEPS):
            _, hidden = layer.gibbs(hidden, jax.random.fold_in(chain, number), steps - done)
            frames.append(stack.down(layer.mean_visible(hidden), top))
            done = steps
        return stack(v), frames

    v = jnp.asarray(trained.preparation.scaling.apply(few.inputs)).reshape(len(few), -1)
    run = jax.jit(lambda params, rest: task.network.using(trained.config, params, rest, key, follow, train=False)[0])
    again, frames = run(learner.params, learner.rest)
    rows = [shown(trained.preparation, np.asarray(each).reshape(-1, *shape)) for each in (v, again, *frames)]
    names = ("data", "reconstruction", *(f"after {steps} Gibbs step{'s' if steps > 1 else ''}" for steps in STEPS))
    kernel = np.asarray(learner.params["hidden"][0]["linear"]["kernel"])
    return (
        Images(
            "Filters",
            f"Weights of {min(FILTERS, kernel.shape[1])} of the {kernel.shape[1]} hidden units of the first layer, those with the "
            "largest: white pixels turn the unit on, black ones off; each is scaled for itself.",
            _filters(kernel, shape),
        ),
        Images(
            "Reconstructions and chains",
            "Below each example its reconstruction from the top layer's probabilities, and where a Gibbs chain goes that begins there.",
            np.stack(rows),
            row_names=names,
        ),
    )


def _filters(kernel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The weights (visible, hidden) of the units with the largest, as a grid (8, columns, height, width, channels) in 0..1; grey is 0."""
    strongest = np.argsort(-np.square(kernel).sum(0), kind="stable")[:FILTERS]
    chosen = kernel[:, np.sort(strongest)].T  # (units, visible)
    largest = np.maximum(np.abs(chosen).max(1, keepdims=True), np.finfo(np.float32).tiny)
    grey = (0.5 + chosen / largest / 2).reshape(-1, *shape)
    rows = min(8, len(grey))
    columns = -(-len(grey) // rows)
    grid = np.full((rows * columns, *shape), 0.5, np.float32)
    grid[: len(grey)] = grey
    return grid.reshape(rows, columns, *shape)
