"""Small networks of every kind as they come out of a store. Nothing is trained: their weights are drawn."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest

from dlx import engine
from dlx.config import Experiment, load_experiment
from dlx.data import Preparation
from dlx.experiment.assemble import load_data, plan_for, resolve
from dlx.experiment.restore import Trained
from dlx.store import NewRun, find_run, open_store, start_run

IMAGES = MappingProxyType({"data": {"kind": "digits", "limit": 300}, "train": {"batch_size": 32}})
MLP = MappingProxyType({"kind": "mlp", "hidden": [16, 8], "normalization": "batch", "dropout": 0.2, "activation": "gelu"})
NET = '''
import jax
import jax.numpy as jnp
from flax import nnx


class Net(nnx.Module):
    """Attention over the rows of an image, then a recurrent cell along them."""

    def __init__(self, in_features, out_features, *, rngs, width=8):
        self.embed = nnx.Linear(in_features[1], width, rngs=rngs)
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, width, decode=False, rngs=rngs)
        self.cell = nnx.GRUCell(width, width, rngs=rngs)
        self.drop = nnx.Dropout(0.3, rngs=rngs)
        self.output = nnx.Linear(width, out_features, rngs=rngs)

    def __call__(self, x, train):
        x = self.norm(self.embed(x[..., 0]))
        x = x + self.attention(x)
        state = jnp.zeros((x.shape[0], x.shape[2]))
        for step in range(x.shape[1]):
            state, _ = self.cell(state, x[:, step])
        return self.output(self.drop(state))
'''


def experiments(folder: Path) -> dict[str, dict[str, Any]]:
    """Every kind of network and task, by name. Writes the data and code that they name into `folder`."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3)) * [1, 10, 100] + [0, 5, -1000]
    frame = pd.DataFrame(x, columns=["a", "b", "c"]).assign(kind=rng.choice(["red", "green"], 300))
    frame.assign(price=5000 + 40 * x[:, 0] + 3 * x[:, 1], weight=x[:, 2]).to_csv(folder / "numbers.csv", index=False)
    frame.assign(hot=(x[:, 0] > 0).astype(int), big=(x[:, 1] > 5).astype(int)).to_csv(folder / "labels.csv", index=False)
    (folder / "net.py").write_text(NET)
    labels = {"kind": "csv", "path": str(folder / "labels.csv"), "target": ["hot", "big"]}
    numbers = {"kind": "csv", "path": str(folder / "numbers.csv"), "target": ["price", "weight"]}
    norms = ({"normalization": kind} for kind in ("batch", "layer"))
    batch, layer = norms
    return {
        "linear": {**IMAGES, "model": {"kind": "linear"}},
        "mlp": {**IMAGES, "model": dict(MLP)},
        "convnet": {
            **IMAGES,
            "model": {"kind": "convnet", "channels": [4, 8], "dense": [16], "depth": 2, "dropout": 0.1, **batch},
        },
        "convnet-layer": {**IMAGES, "model": {"kind": "convnet", "channels": [12], "dense": [], "activation": "elu", **layer}},
        "lenet5": {
            "data": {"kind": "npz", "path": str(_pictures(folder))},
            "model": {"kind": "lenet5"},
            "train": {"batch_size": 32},
        },
        "python": {**IMAGES, "model": {"kind": "python", "target": f"{folder / 'net.py'}:Net", "args": {"width": 4}}},
        "numbers": {"task": {"kind": "regress"}, "data": numbers, "model": dict(MLP)},
        "labels": {
            "task": {"kind": "multilabel"},
            "data": labels,
            "model": {"kind": "mlp", "hidden": [8], "activation": "tanh"},
        },
        "bfloat16": {**IMAGES, "model": dict(MLP), "train": {"batch_size": 32, "precision": "bfloat16"}},
    }


def _pictures(folder: Path) -> Path:
    rng = np.random.default_rng(1)
    y = np.arange(200) % 3
    x = (rng.integers(0, 80, (200, 16, 16, 1)) + 60 * y[:, None, None, None]).astype(np.uint8)
    np.savez(folder / "pictures.npz", x=x, y=y)
    return folder / "pictures.npz"


def drawn(config: Experiment, folder: Path, name: str) -> Trained:
    """A network with random weights and statistics, and a run of it in a store of its own."""
    dataset = load_data(config)
    config = resolve(config, dataset)
    preprocessing = json.loads(json.dumps(dataset.preprocessing))
    task, plan = plan_for(config, dataset)
    preparation = Preparation.from_json(preprocessing)
    template = engine.weights_template(task, config, preparation.spec.input_shape, dataset.train.targets[0])
    rng = np.random.default_rng(0)

    def draw(path: Any, leaf: Any) -> np.ndarray:
        shape, last = leaf.shape[1:], jax.tree_util.keystr(path, simple=True, separator="/").rpartition("/")[2]
        fan_in = max(int(np.prod(shape[:-1])), 1)
        values = {
            "kernel": lambda: rng.normal(size=shape) / np.sqrt(fan_in),
            "var": lambda: rng.uniform(0.5, 2.0, shape),
            "scale": lambda: rng.uniform(0.5, 1.5, shape),
        }.get(last, lambda: rng.normal(size=shape) / 4)()
        return values.astype(leaf.dtype)

    learner = jax.tree_util.tree_map_with_path(draw, template)
    with open_store(f"sqlite:///{folder / 'store.db'}") as store:
        facts = NewRun(
            config.model_dump(mode="json"), {}, plan.total_steps, plan.steps_per_epoch, plan.monitor, "maximize", name
        )
        run = find_run(store, start_run(store, facts))
    run = replace(run, metrics={"test/accuracy": 0.25, "test/loss": 1.5, "validation/loss": 2.0})
    return Trained(run, config, preprocessing, preparation, task, learner, 30, "0123abcd", ())


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trained]:
    """`trained("mlp")` is that network. Called inside a test, where the places are set."""
    folder = tmp_path_factory.mktemp("networks")
    trees, made = experiments(folder), dict[str, Trained]()

    def network(name: str) -> Trained:
        if name not in made:
            engine.configure()
            made[name] = drawn(load_experiment(trees[name], []), folder, f"the {name}")
        return made[name]

    return network
