"""Every built-in model under every task, as small as they go: what `dlx gradcheck all` checks."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np

from dlx import engine
from dlx.config import Experiment, load_experiment
from dlx.config.experiment import kinds
from dlx.config.task import TaskConfig
from dlx.data import Dataset, Spec
from dlx.data.dataset import Part, Scaling
from dlx.diagnose.gradcheck import GradCheck, GradientsFound, check_gradients
from dlx.events import Event
from dlx.tasks import target_kind

EXAMPLES, SIDE = 8, 12

MODELS: Final[dict[str, dict[str, Any]]] = {
    "linear": {},
    "mlp": {"hidden": [5, 4], "normalization": "batch", "dropout": 0.2},
    "convnet": {"channels": [3], "dense": [4], "normalization": "batch", "dropout": 0.2},
    "lenet5": {"activation": "relu", "normalization": "none", "dropout": 0.2},
}
"""Of each kind but the user's own, a small one."""
TASKS: Final[dict[str, dict[str, Any]]] = {
    "classify": {"kind": "classify", "label_smoothing": 0.1, "class_weights": "balanced"},
    "multilabel": {"kind": "multilabel", "class_weights": "balanced"},
    "regress mse": {"kind": "regress", "loss": "mse"},
    "regress mae": {"kind": "regress", "loss": "mae"},
    "regress huber": {"kind": "regress", "loss": "huber"},
}
VARIANTS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "mlp, layer normalization": ("mlp", {"model": {"normalization": "layer"}}),
    "mlp, no normalization, L1 and L2": ("mlp", {"model": {"normalization": "none"}, "optimizer": {"l1": 0.01, "l2": 0.1}}),
    "convnet, layer normalization, depth 2": ("convnet", {"model": {"normalization": "layer", "depth": 2, "kernel": 5}}),
    "convnet, augmentation": (
        "convnet",
        {"data": {"augment": [{"kind": "flip"}, {"kind": "shift", "pixels": 1}, {"kind": "noise", "std": 0.1}]}},
    ),
}
"""What else a network or its data may have, under the task `classify`."""


@dataclass(frozen=True)
class Combination:
    """A model under a task."""

    model: str
    task: str
    config: Experiment


def combinations() -> Iterator[Combination]:
    """Every built-in model under every task, then the variants."""
    for model, task in product((kind for kind in kinds("model") if kind != "python"), TASKS):
        yield Combination(model, task, _experiment(model, task, {}))
    for name, (model, changes) in VARIANTS.items():
        yield Combination(name, "classify", _experiment(model, "classify", changes))


def check_combination(combination: Combination, check: GradCheck) -> Generator[Event, None, GradientsFound]:
    """Checks one, on random images."""
    engine.configure()
    config = combination.config
    if config.task is None:
        raise ValueError("a combination names its task")
    return (yield from check_gradients(config, _random_data(config.task), check))


def _experiment(model: str, task: str, changes: dict[str, Any]) -> Experiment:
    tree: dict[str, Any] = {
        "task": TASKS[task],
        "data": {"kind": "digits", **changes.get("data", {})},  # its settings only: the examples are drawn here
        "model": {"kind": model, **MODELS[model], **changes.get("model", {})},
        "optimizer": {"kind": "adam", **changes.get("optimizer", {})},
        "train": {"batch_size": EXAMPLES},
    }
    return load_experiment(tree)


def _random_data(task: TaskConfig) -> Dataset:
    random = np.random.Generator(np.random.Philox(0))
    inputs = random.normal(size=(EXAMPLES, SIDE, SIDE, 1)).astype(np.float32)
    kind, names = target_kind(task), ("a", "b", "c")
    match kind:
        case "class":
            targets = (np.arange(EXAMPLES) % 3).astype(np.int32)
            spec = Spec((SIDE, SIDE, 1), kind, 3, names, tuple(np.bincount(targets).tolist()), ("y",), (), (), EXAMPLES)
        case "labels":
            targets = random.integers(0, 2, (EXAMPLES, 3)).astype(np.float32)
            spec = Spec((SIDE, SIDE, 1), kind, 3, names, tuple(targets.sum(0).astype(int).tolist()), names, (), (), EXAMPLES)
        case "number":
            targets = random.normal(size=(EXAMPLES, 2)).astype(np.float32)
            spec = Spec((SIDE, SIDE, 1), kind, 2, (), (), ("y", "z"), (0.5, -1.0), (2.0, 3.0), EXAMPLES)
    part = Part(inputs, targets)
    empty = part.take(np.arange(0))
    scaling = Scaling(np.zeros(1, np.float32), np.ones(1, np.float32))
    return Dataset("random images", spec, part, empty, empty, scaling, {}, ())
