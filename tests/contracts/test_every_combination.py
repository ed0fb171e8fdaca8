"""Every model x task x optimizer takes a finite, loss-lowering step: the real `Task.update`, on shapes as small as they go."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlx.config import load_experiment
from dlx.config.experiment import kinds
from dlx.config.optimizer import OptimizerConfig
from dlx.config.schedule import ScheduleConfig
from dlx.data import Spec
from dlx.engine import configure, register_configs
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
# Three outputs each: to the optimizers the tasks of one model are one network.
SPECS = {
    "classify": Spec((3,), "class", 3, ("a", "b", "c"), (3, 3, 2), ("y",), (), (), 8),
    "multilabel": Spec((3,), "labels", 3, ("a", "b", "c"), (4, 4, 4), ("a", "b", "c"), (), (), 8),
    "regress": Spec((3,), "number", 3, (), (), ("x", "y", "z"), (1.0, 0.0, 0.0), (2.0, 1.0, 1.0), 8),
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
            targets = jnp.asarray(generator.integers(0, 2, (8, 3)), jnp.float32)
        case "number":
            targets = jnp.asarray(generator.normal(size=(8, 3)), jnp.float32)
    return Batch(inputs, targets, jnp.ones(8))


jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def after_a_step(
    optimizer: OptimizerConfig, schedule: ScheduleConfig, params: Any, value: jax.Array, gradient: Any, value_fn: Any = None
) -> Any:
    transform = build_optimizer(optimizer, build_schedule(schedule, optimizer.lr, 5, 5))
    memory = transform.init(params)
    # Optax's Rprop compares with the gradient before and so moves from its second step on.
    for _ in range(2 if optimizer.kind == "rprop" else 1):
        updates, memory = transform.update(gradient, memory, params, value=value, grad=gradient, value_fn=value_fn)
        params = optax.apply_updates(params, updates)
    return params


@jit
def after_steps(
    rules: Mapping[str, tuple[OptimizerConfig, ScheduleConfig]], params: Any, value: jax.Array, gradient: Any
) -> dict[str, Any]:
    """The parameters after one step of each optimizer. Compiled once for all networks with equal parameters."""
    return {kind: after_a_step(*rule, params, value, gradient) for kind, rule in rules.items()}


@pytest.mark.slow
@pytest.mark.parametrize("task_kind", SPECS)
@pytest.mark.parametrize("model", MODELS)
def test_every_optimizer_lowers_the_loss(model, task_kind, tmp_path):
    """From one gradient and under one dropout mask, so that the network is compiled three times and not ninety."""
    (tmp_path / "net.py").write_text(USERS_NET)
    configure()
    register_configs()
    spec = replace(SPECS[task_kind], input_shape=SHAPES.get(model, (3,)))
    batch = batch_of(spec)
    base = {"task": {"kind": task_kind}, "data": {"kind": "digits"}, "model": MODELS[model], "train": {"batch_size": "full"}}
    configs = {
        kind: load_experiment({**base, "optimizer": {"kind": kind, "lr": RATES.get(kind, 1e-3)}}) for kind in kinds("optimizer")
    }
    rules = {kind: (config.optimizer, config.schedule) for kind, config in configs.items()}
    searching = rules.pop("lbfgs")  # the only one that asks for the loss elsewhere
    one, key = configs["sgd"], jax.random.key(1)
    task = build_task(one.task, spec, 5, 5)

    def objective(params, one, rest):
        return task.objective(one, params, rest, batch, key)[0]

    @jit
    def start(one):
        state = task.init(one, batch, key)
        return state, *jax.value_and_grad(objective)(state.params, one, state.rest)

    @jit
    def losses(one, searching, state, value, gradient, after):
        """The loss after one step of each optimizer."""
        fall = partial(objective, one=one, rest=state.rest)
        after["lbfgs"] = after_a_step(*searching, state.params, value, gradient, fall)
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *after.values())
        return dict(zip(after, jax.lax.map(fall, stacked), strict=True))

    state, before, gradient = start(one)
    found = losses(one, searching, state, before, gradient, after_steps(rules, state.params, before, gradient))
    assert set(found) == set(configs)
    for kind, loss in found.items():
        assert np.isfinite(loss), kind
        assert loss < before, f"{kind}: {before} -> {loss}"


@pytest.mark.parametrize("kind", ["sgd", "lbfgs"])
def test_the_update_of_a_task_is_that_step(kind):
    """What the test above takes apart, `Task.update` does as a whole."""
    configure()
    register_configs()
    spec, key = SPECS["classify"], jax.random.key(1)
    batch = batch_of(spec)
    config = load_experiment(
        {"task": {"kind": "classify"}, "data": {"kind": "digits"}, "model": MODELS["mlp"], "train": {"batch_size": "full"}}
        | {"optimizer": {"kind": kind, "l2": 0.1}}
    )
    task = build_task(config.task, spec, 5, 5)

    @jit
    def apart(config):
        state = task.init(config, batch, key)

        def objective(params):
            return task.objective(config, params, state.rest, batch, key)[0]

        value, gradient = jax.value_and_grad(objective)(state.params)
        return state, value, after_a_step(config.optimizer, config.schedule, state.params, value, gradient, objective)

    state, value, expected = apart(config)
    found, sums = jit(task.update)(config, state, batch, key)
    for a, b in zip(jax.tree.leaves(found.params), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6)
    assert sums["loss"] / sums["weight"] < value, "the recorded loss has no penalty in it"
