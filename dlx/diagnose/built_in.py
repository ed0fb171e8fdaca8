"""Every built-in model under every task, as small as they go: what `dlx gradcheck all` checks."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np

from dlx import engine
from dlx.config import Experiment, load_experiment
from dlx.config.model import ModelConfig
from dlx.config.task import TaskConfig
from dlx.config.unit_interval import needs_unit_interval
from dlx.data import Dataset, Spec
from dlx.data.dataset import Part, Scaling
from dlx.diagnose.gradcheck import GradCheck, GradientsFound, check_gradients
from dlx.events import Event
from dlx.tasks import target_kind

EXAMPLES, SIDE = 8, 12
LENGTH, TOKENS = 4, 7
"""Of sequences, and how many different tokens there are."""

MODELS: Final[dict[str, dict[str, Any]]] = {
    "linear": {},
    "mlp": {"hidden": [5, 4], "normalization": "batch", "dropout": 0.2},
    "convnet": {"channels": [3], "dense": [4], "normalization": "batch", "dropout": 0.2},
    "lenet5": {"activation": "relu", "normalization": "none", "dropout": 0.2},
    "rnn": {"cell": "gru", "hidden": 3, "dense": [4], "activation": "tanh", "dropout": 0.2},
}
"""Of each kind that learns to predict a class, labels or numbers, but the user's own, a small one."""
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
    "rnn, simple, both directions, mean": ("rnn", {"model": {"cell": "simple", "bidirectional": True, "pool": "mean"}}),
    "rnn, lstm, two layers, skip": ("rnn", {"model": {"cell": "lstm", "layers": 2, "hidden": 2, "skip": 2}}),
}
"""What else a network or its data may have, under the task `classify`."""
_UNIT: Final[dict[str, Any]] = {"standardize": False}
OWN: Final[dict[str, dict[str, Any]]] = {
    "two players, codes": {
        "task": {"kind": "adversarial", "loss": {"kind": "standard", "smoothing": 0.1}},
        "model": {
            "kind": "gan",
            "latent": 3,
            "hidden": [4],
            "critic_hidden": [4],
            "critic_normalization": "layer",
            "codes": {"categorical": [3], "continuous": 1},
        },
        "data": _UNIT,
    },
    "two players, convolutions, told classes": {
        "task": {"kind": "adversarial", "conditional": True},
        "model": {"kind": "dcgan", "latent": 3, "channels": [3], "critic_dropout": 0.2},
        "data": _UNIT,
    },
    "sequences of tokens": {
        "task": {"kind": "seq2seq", "label_smoothing": 0.1},
        "model": {"kind": "encoder-decoder", "embedding": 3, "hidden": 3, "dropout": 0.2},
    },
    "sequences of tokens, own guesses": {
        "task": {"kind": "seq2seq", "teacher_forcing": 0.5},
        "model": {"kind": "transformer", "width": 4, "heads": 2, "layers": 1, "feed_forward": 4, "dropout": 0.2},
    },
    "captions": {
        "task": {"kind": "seq2seq"},
        "model": {"kind": "captioner", "channels": [2], "embedding": 3, "hidden": 3, "cell": "lstm", "attention": "dot"},
    },
    "mse, tied kernels": {
        "task": {"kind": "reconstruct", "sparsity": {"kind": "l1", "weight": 0.1}},
        "model": {"kind": "autoencoder", "hidden": [5], "code": 3, "tied": True, "activation": "tanh"},
    },
    "cross-entropy, sparse, noise": {
        "task": {
            "kind": "reconstruct",
            "loss": "cross-entropy",
            "noise": {"kind": "gaussian"},
            "sparsity": {"kind": "kl", "weight": 0.1},
        },
        "model": {"kind": "autoencoder", "hidden": [5], "code": 3, "normalization": "layer", "code_activation": "sigmoid"},
        "data": _UNIT,
    },
    "mse, convolutions": {
        "task": {"kind": "reconstruct"},
        "model": {"kind": "conv-autoencoder", "channels": [3, 2], "code": 3},
    },
    "elbo, pixels": {
        "task": {"kind": "vae", "likelihood": {"kind": "bernoulli", "binarize": "none"}, "beta": 0.5},
        "model": {"kind": "vae", "hidden": [5], "code": 2},
        "data": _UNIT,
    },
    "elbo, numbers, told classes": {
        "task": {"kind": "vae", "likelihood": {"kind": "gaussian", "std": 0.5}, "conditional": True},
        "model": {"kind": "vae", "hidden": [5], "code": 2, "normalization": "batch"},
        "data": _UNIT,
    },
    "contrastive divergence, chains": {
        "task": {"kind": "boltzmann", "persistent": True, "binarize": "sample"},
        "model": {"kind": "rbm", "hidden": 4},
        "data": _UNIT,
    },
    "contrastive divergence, sparse": {
        "task": {"kind": "boltzmann", "steps": 3, "sparsity_target": 0.1},
        "model": {"kind": "rbm", "hidden": 4, "visible": "gaussian"},
    },
    "greedy layers": {"task": {"kind": "belief"}, "model": {"kind": "dbn", "hidden": [4, 3]}, "data": _UNIT},
    "perceptron": {"task": {"kind": "perceptron"}, "model": {"kind": "linear"}},
}
"""Networks that only a task of their own can train, with it: at least one of each such kind."""


@dataclass(frozen=True)
class Combination:
    """A model under a task."""

    model: str
    task: str
    config: Experiment


def combinations() -> Iterator[Combination]:
    """Every built-in model under every task, then the variants, then the networks with tasks of their own."""
    for model, task in product(MODELS, TASKS):
        yield Combination(model, task, _experiment(model, task, {}))
    for name, (model, changes) in VARIANTS.items():
        yield Combination(name, "classify", _experiment(model, "classify", changes))
    for name, parts in OWN.items():
        config = _loaded(parts["task"], parts["model"], parts.get("data", {}), {})
        yield Combination(config.model.kind, name, config)


def check_combination(combination: Combination, check: GradCheck) -> Generator[Event, None, GradientsFound]:
    """Checks one, on random images."""
    engine.configure()
    config = combination.config
    if config.task is None:
        raise ValueError("a combination names its task")
    if target_kind(config.task) == "tokens":
        return (yield from check_gradients(config, _random_sequences(images=config.model.kind == "captioner"), check))
    return (yield from check_gradients(config, _random_data(config.task, config.model), check))


def _experiment(model: str, task: str, changes: dict[str, Any]) -> Experiment:
    own = {"kind": model, **MODELS[model], **changes.get("model", {})}
    return _loaded(TASKS[task], own, changes.get("data", {}), changes.get("optimizer", {}))


def _loaded(task: dict[str, Any], model: dict[str, Any], data: dict[str, Any], optimizer: dict[str, Any]) -> Experiment:
    return load_experiment(
        {
            "task": task,
            "data": {"kind": "digits", **data},  # its settings only: the examples are drawn here
            "model": model,
            "optimizer": {"kind": "adam", **optimizer},
            "train": {"batch_size": EXAMPLES},
        }
    )


def _random_sequences(*, images: bool) -> Dataset:
    """Sequences of tokens, of other sequences or of images."""
    random = np.random.Generator(np.random.Philox(0))
    there = np.arange(LENGTH) < random.integers(1, LENGTH + 1, (2, EXAMPLES, 1))
    inputs, targets = (random.integers(1, TOKENS, there.shape) * there).astype(np.int32)
    if images:
        inputs = random.normal(size=(EXAMPLES, SIDE, SIDE, 1)).astype(np.float32)
    shape, tokens = inputs.shape[1:], 0 if images else TOKENS
    spec = Spec(shape, "tokens", TOKENS, (), (), ("y",), (), (), EXAMPLES, tokens=tokens, target_length=LENGTH)
    part = Part(inputs, targets)
    empty = part.take(np.arange(0))
    scaling = Scaling(np.zeros(shape[-1], np.float32), np.ones(shape[-1], np.float32))
    return Dataset("random sequences", spec, part, empty, empty, scaling, {}, ())


def _random_data(task: TaskConfig, model: ModelConfig) -> Dataset:
    random = np.random.Generator(np.random.Philox(0))
    draw = random.random if needs_unit_interval(task, model, images=True) else random.normal
    inputs = draw(size=(EXAMPLES, SIDE, SIDE, 1)).astype(np.float32)
    kind, names = target_kind(task) or "none", ("a", "b", "c")
    match kind:
        case "class":
            targets = (np.arange(EXAMPLES) % 3).astype(np.int32)
            spec = Spec((SIDE, SIDE, 1), kind, 3, names, tuple(np.bincount(targets).tolist()), ("y",), (), (), EXAMPLES)
        case "labels":
            targets = random.integers(0, 2, (EXAMPLES, 3)).astype(np.float32)
            spec = Spec((SIDE, SIDE, 1), kind, 3, names, tuple(targets.sum(0).astype(int).tolist()), names, (), (), EXAMPLES)
        case "none":
            targets = np.zeros((EXAMPLES, 0), np.float32)
            spec = Spec((SIDE, SIDE, 1), kind, 0, (), (), (), (), (), EXAMPLES)
        case "number":
            targets = random.normal(size=(EXAMPLES, 2)).astype(np.float32)
            spec = Spec((SIDE, SIDE, 1), kind, 2, (), (), ("y", "z"), (0.5, -1.0), (2.0, 3.0), EXAMPLES)
    part = Part(inputs, targets)
    empty = part.take(np.arange(0))
    scaling = Scaling(np.zeros(1, np.float32), np.ones(1, np.float32))
    return Dataset("random images", spec, part, empty, empty, scaling, {}, ())
