"""What autoencoders see and make: reconstructions, codes in a plane, filters; of variational ones samples and ways between them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from dlx.config.task import Reconstruct
from dlx.data import Part, some_rows
from dlx.evaluation.gallery.pictures import Images, Picture, Scatter
from dlx.evaluation.gallery.shown import colored, shown
from dlx.experiment.restore import Trained
from dlx.tasks import Asked
from dlx.tasks.reconstruction import Reconstruction, corrupted
from dlx.tasks.variational import VariationalInference

SHOWN, CODES, FILTERS = 12, 400, 32
"""Examples that are shown, codes that are drawn as points, and filters."""
SIDE, STEPS = 10, 10
"""Rows and columns of samples, and points on the way from one to the next."""


def pictures(trained: Trained, part: Part) -> tuple[Picture, ...]:
    """The pictures of a run of the task `reconstruct` or `vae`; of data without images only its codes."""
    match trained.task:
        case Reconstruction():
            return _reconstruction(trained, trained.task, part)
        case VariationalInference():
            return _variational(trained, trained.task, part)
        case _:
            return ()


def _reconstruction(trained: Trained, task: Reconstruction, part: Part) -> tuple[Picture, ...]:
    config, learner, key = trained.config, trained.learner, jax.random.key(0)
    assert isinstance(config.task, Reconstruct)
    few = part.take(some_rows(len(part), CODES))
    inputs = jnp.asarray(trained.preparation.scaling.apply(few.inputs))
    noisy = corrupted(config.task, inputs[:SHOWN], key)
    codes = jax.jit(partial(task.encode, config))(learner, inputs, key)
    found: list[Picture] = []
    if len(part.inputs.shape) == 4:
        made = jax.jit(partial(task.predict, config))(learner, noisy, key)
        plain = config.task.noise.kind == "none"
        rows = {"example": inputs[:SHOWN], **({} if plain else {"seen": noisy}), "made of it": made}
        caption = f"What the network makes of the codes of {len(made)} examples" + ("." if plain else ", from noisy inputs.")
        found.append(_grid("Reconstructions", caption, trained, {name: np.asarray(each) for name, each in rows.items()}))
        found += _filters(trained)
    return (*found, _codes(np.asarray(codes), few, trained))


def _variational(trained: Trained, task: VariationalInference, part: Part) -> tuple[Picture, ...]:
    config, learner, key = trained.config, trained.learner, jax.random.key(0)
    few = part.take(some_rows(len(part), CODES))
    inputs = jnp.asarray(trained.preparation.scaling.apply(few.inputs))
    classes = jnp.asarray(few.targets) if task.classes else None
    means, _ = jax.jit(partial(task.encode, config))(learner, inputs, classes, key)
    found: list[Picture] = []
    if len(part.inputs.shape) == 4:
        told = None if classes is None else classes[:SHOWN]
        made = jax.jit(partial(task.reconstruct, config))(learner, inputs[:SHOWN], told, key)
        rows = {"example": np.asarray(inputs[:SHOWN]), "made of it": np.asarray(made)}
        found.append(_grid("Reconstructions", f"By the means of the codes of {len(made)} examples.", trained, rows))
        found += _samples(trained, task)
    return (*found, _codes(np.asarray(means), few, trained))


def _samples(trained: Trained, task: VariationalInference) -> list[Picture]:
    """Samples, by class where the network is told one, and ways from one sample to the next."""
    names, key = trained.preparation.spec.classes[:SIDE], jax.random.key(1)
    rows = min(SIDE, task.classes) if task.classes else SIDE

    def make(asked: Asked) -> np.ndarray:
        return np.asarray(jax.jit(lambda learner: task.generate(trained.config, learner, key, asked))(trained.learner))

    told = np.repeat(np.arange(rows, dtype=np.int32), SIDE) if task.classes else None
    drawn = make(Asked(rows * SIDE, classes=told))
    way = make(Asked(min(rows, 5), steps=STEPS))
    by = "one row for each class" if task.classes else "codes drawn from the standard normal distribution"
    return [
        Images(
            "Samples",
            f"{len(drawn)} samples: {by}.",
            colored(drawn.reshape(rows, SIDE, *drawn.shape[1:])),
            names if task.classes else (),
        ),
        Images("From one sample to the next", "Each row goes from one random code to another.", colored(way)),
    ]


def _filters(trained: Trained) -> list[Picture]:
    """The first layer's kernels as images, where each has a weight for every pixel."""
    shape = trained.preparation.spec.input_shape
    kernels = [
        np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(trained.learner.params)
        if jax.tree_util.keystr(path, simple=True, separator="/") == "hidden/0/linear/kernel"
    ]
    if not kernels or len(kernels[0]) != np.prod(shape):
        return []
    strongest = np.argsort(-np.square(kernels[0]).sum(0))[:FILTERS]
    filters = kernels[0].T[strongest].reshape(-1, *shape)
    largest = np.abs(filters).max((1, 2, 3), keepdims=True)
    filters_shown = 0.5 + 0.5 * filters / np.where(largest > 0, largest, 1)
    caption = f"The weights of the {len(filters_shown)} strongest units of the first layer: grey is 0."
    columns = min(16, len(filters_shown))
    return [
        Images(
            "Filters",
            caption,
            colored(filters_shown[: len(filters_shown) // columns * columns]).reshape(-1, columns, *_shape3(shape)),
        )
    ]


def _codes(codes: np.ndarray, part: Part, trained: Trained) -> Scatter:
    """The codes (n, code) in a plane: as they are, or by their two first principal components."""
    spec = trained.preparation.spec
    classes = spec.target == "class"
    groups = part.targets.astype(int) if classes else np.zeros(len(codes), int)
    names = spec.classes if classes else ("examples",)
    if codes.shape[1] == 2:
        return Scatter("Codes", f"The codes of {len(codes)} examples.", codes, groups, names)
    centred = codes - codes.mean(0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    points = np.zeros((len(codes), 2))
    points[:, : min(2, len(axes))] = centred @ axes[:2].T
    share = float(np.square(sizes[:2]).sum() / max(np.square(sizes).sum(), np.finfo(float).tiny))
    caption = (
        f"The codes of {len(codes)} examples by their first two principal components, which hold {share:.0%} of their variance."
    )
    return Scatter("Codes", caption, points, groups, names)


def _grid(title: str, caption: str, trained: Trained, rows: dict[str, np.ndarray]) -> Images:
    """Rows of images as the network sees them, in 0..1."""
    return Images(title, caption, shown(trained.preparation, np.stack(list(rows.values()))), tuple(rows))


def _shape3(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:2], shape[2] if shape[2] in (1, 3) else 1)
