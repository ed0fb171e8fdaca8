"""Every model x task x optimizer takes a finite, loss-lowering step: the real `Task.update`, on shapes as small as they go."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlx.config import load_experiment
from dlx.config.experiment import kinds
from dlx.data import Spec
from dlx.engine import register_configs
from dlx.tasks import Batch, build_task

USERS_NET = """
from flax import nnx

class Net(nnx.Module):
    def __init__(self, in_features, out_features, *, rngs):
        self.norm = nnx.BatchNorm(in_features, rngs=rngs)
        self.out = nnx.Linear(in_features, out_features, rngs=rngs)

    def __call__(self, x):
        return self.out(self.norm(x))
"""

MODELS = {
    "linear": {"kind": "linear"},
    "mlp": {"kind": "mlp", "hidden": [4], "normalization": "batch", "dropout": 0.1},
    "convnet": {"kind": "convnet", "channels": [2], "dense": [4], "normalization": "layer", "dropout": 0.1},
    "lenet5": {"kind": "lenet5", "activation": "relu"},
    "python": {"kind": "python", "target": "net.py:Net"},
}
SHAPES = {"convnet": (4, 4, 1), "lenet5": (12, 12, 1)}
SPECS = {
    "classify": Spec((3,), "class", 3, ("a", "b", "c"), (3, 3, 2), ("y",), (), (), 8),
    "multilabel": Spec((3,), "labels", 2, ("a", "b"), (4, 4), ("a", "b"), (), (), 8),
    "regress": Spec((3,), "number", 1, (), (), ("y",), (1.0,), (2.0,), 8),
}
# Rules whose step does not shrink with the rate, or that need another one on these few examples.
RATES = {"adadelta": 1.0, "lars": 1.0, "lbfgs": 1.0, "polyak_sgd": 0.1, "fromage": 1e-3}


def batch_of(spec: Spec) -> Batch:
    generator = np.random.Generator(np.random.Philox(5))
    inputs = jnp.asarray(generator.normal(size=(8, *spec.input_shape)), jnp.float32)
    match spec.target:
        case "class":
            targets = jnp.asarray(generator.integers(0, 3, 8), jnp.int32)
        case "labels":
            targets = jnp.asarray(generator.integers(0, 2, (8, 2)), jnp.float32)
        case "number":
            targets = jnp.asarray(generator.normal(size=(8, 1)), jnp.float32)
    return Batch(inputs, targets, jnp.ones(8))


@pytest.mark.slow
@pytest.mark.parametrize("task_kind", SPECS)
@pytest.mark.parametrize("model", MODELS)
def test_every_optimizer_lowers_the_loss(model, task_kind, tmp_path):
    (tmp_path / "net.py").write_text(USERS_NET)
    register_configs()
    spec = replace(SPECS[task_kind], input_shape=SHAPES.get(model, (3,)))
    batch = batch_of(spec)
    base = {"task": {"kind": task_kind}, "data": {"kind": "digits"}, "model": MODELS[model], "train": {"batch_size": "full"}}
    configs = {
        kind: load_experiment({**base, "optimizer": {"kind": kind, "lr": RATES.get(kind, 3e-3)}}) for kind in kinds("optimizer")
    }
    key = jax.random.key(1)

    def losses(config) -> jax.Array:
        """The training loss of five steps under one dropout mask."""
        task = build_task(config.task, spec, 5, 5)
        state = task.init(config, batch, key)

        def step(state, _):
            state, sums = task.update(config, state, batch, key)
            return state, sums["loss"] / sums["weight"]

        return jax.lax.scan(step, state, None, 5)[1]

    # One compilation for all the optimizers of a model and task, without LLVM's optimizations: the nets are tiny.
    together = jax.jit(lambda configs: {kind: losses(config) for kind, config in configs.items()})
    compiled = together.lower(configs).compile({"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True})
    for kind, found in compiled(configs).items():
        assert np.isfinite(found).all(), kind
        assert found[-1] < found[0], f"{kind}: {found}"
