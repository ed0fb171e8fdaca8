"""Every model x task x optimizer takes a finite, loss-lowering step: the real `Task.update`, on shapes as small as they go."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlx.config import load_experiment
from dlx.config.experiment import kinds
from dlx.data import Spec
from dlx.engine import register_configs
from dlx.optim import build_optimizer, build_schedule
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
# Rules whose step is not proportional to the rate, or whose rate means something else.
RATES = {"adadelta": 1.0, "lars": 0.1, "lbfgs": 1.0, "polyak_sgd": 0.1, "fromage": 1e-3}


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
        kind: load_experiment({**base, "optimizer": {"kind": kind, "lr": RATES.get(kind, 1e-3)}}) for kind in kinds("optimizer")
    }
    key = jax.random.key(1)
    task = build_task(next(iter(configs.values())).task, spec, 5, 5)

    def first_steps(configs) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss at the start, and after one step of each optimizer, under one dropout mask.

        All optimizers start from one gradient, so that the network is compiled three times and not ninety.
        """
        one = configs["sgd"]
        state = task.init(one, batch, key)

        def objective(params):
            return task.objective(one, params, state.rest, batch, key)[0]

        value, gradient = jax.value_and_grad(objective)(state.params)
        after = {}
        for kind, config in configs.items():
            transform = build_optimizer(config.optimizer, build_schedule(config.schedule, config.optimizer.lr, 5, 5))
            params, memory = state.params, transform.init(state.params)
            # Optax's Rprop compares with the gradient before and so moves from its second step on.
            for _ in range(2 if kind == "rprop" else 1):
                updates, memory = transform.update(gradient, memory, params, value=value, grad=gradient, value_fn=objective)
                params = optax.apply_updates(params, updates)
            after[kind] = params
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *after.values())
        return value, dict(zip(after, jax.lax.map(objective, stacked), strict=True))

    compiled = jax.jit(first_steps).lower(configs).compile({"xla_backend_optimization_level": 0})
    before, after = compiled(configs)
    for kind, loss in after.items():
        assert np.isfinite(loss), kind
        assert loss < before, f"{kind}: {before} -> {loss}"


@pytest.mark.parametrize("kind", ["sgd", "lbfgs"])
def test_the_update_of_a_task_is_that_step(kind):
    """What the test above takes apart, `Task.update` does as a whole."""
    register_configs()
    spec, key = SPECS["classify"], jax.random.key(1)
    batch = batch_of(spec)
    config = load_experiment(
        {"task": {"kind": "classify"}, "data": {"kind": "digits"}, "model": MODELS["mlp"], "train": {"batch_size": "full"}}
        | {"optimizer": {"kind": kind, "l2": 0.1}}
    )
    task = build_task(config.task, spec, 5, 5)
    state = task.init(config, batch, key)

    def objective(params):
        return task.objective(config, params, state.rest, batch, key)[0]

    value, gradient = jax.value_and_grad(objective)(state.params)
    transform = build_optimizer(config.optimizer, build_schedule(config.schedule, config.optimizer.lr, 5, 5))
    updates, _ = transform.update(gradient, state.opt, state.params, value=value, grad=gradient, value_fn=objective)
    found, sums = jax.jit(task.update)(config, state, batch, key)
    for a, b in zip(jax.tree.leaves(found.params), jax.tree.leaves(optax.apply_updates(state.params, updates)), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6)
    assert sums["loss"] / sums["weight"] < value, "the recorded loss has no penalty in it"
