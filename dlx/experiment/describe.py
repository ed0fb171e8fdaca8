"""What an experiment would do, without doing it: the plan behind `--dry-run` and `dlx models show`."""

import time

import jax
import jax.numpy as jnp
import numpy as np

from dlx import engine
from dlx.config import Experiment
from dlx.errors import UsageError
from dlx.events import LayerLine, Planned, PlannedRates
from dlx.experiment.assemble import assemble, load_data, plan_for, resolve
from dlx.models.summary import summarize
from dlx.tasks import Task

MOST_STEPS = 10_000_000
"""Of a schedule that is shown step by step."""


def describe(config: Experiment) -> Planned:
    """Loads the data and compiles the train program; trains nothing and writes nothing but the compilation cache."""
    engine.configure()
    dataset = load_data(config)
    resolved = resolve(config, dataset)
    assembly = assemble([resolved], dataset)
    plan, program, spec = assembly.plan, assembly.program, dataset.spec
    began = time.perf_counter()
    memory = program.memory_bytes()
    return Planned(
        config=resolved.model_dump(mode="json"),
        data=dataset.name,
        examples=dict(program.feed.sizes),
        input_shape=spec.input_shape,
        outputs=spec.outputs,
        classes=spec.classes,
        report=dataset.report,
        layers=_layers(resolved, assembly.task),
        parameters=program.parameters(),
        batch_size=plan.batch_size,
        steps_per_epoch=plan.steps_per_epoch,
        total_steps=plan.total_steps,
        evaluate_every=plan.evaluate_every,
        monitor=plan.monitor,
        device=engine.describe_device(),
        resident=program.feed.resident is not None,
        memory_bytes=memory,
        compile_seconds=time.perf_counter() - began,
    )


def describe_model(config: Experiment) -> tuple[LayerLine, ...]:
    """The layers of an experiment's network on its own data."""
    engine.configure()
    dataset = load_data(config)
    resolved = resolve(config, dataset)
    return _layers(resolved, plan_for(resolved, dataset)[0])


def describe_rates(config: Experiment) -> PlannedRates:
    """The rates of every step of a training. Loads the data, which decides how many steps there are; trains nothing.

    Raises `UsageError` for more steps than can be shown one by one, and what loading and planning raise.
    """
    engine.configure()
    dataset = load_data(config)
    resolved = resolve(config, dataset)
    task, plan = plan_for(resolved, dataset)
    if plan.total_steps > MOST_STEPS:
        raise UsageError(
            f"train.duration={config.train.duration} is {plan.total_steps:,} steps, and at most {MOST_STEPS:,} are shown "
            "one by one: set a shorter train.duration"
        )
    rates = {name: tuple(values.tolist()) for name, values in _rates(task, resolved, plan.total_steps).items()}
    return PlannedRates(resolved.schedule.kind, plan.steps_per_epoch, rates, _unknown_before(resolved))


def _rates(task: Task, config: Experiment, total: int) -> dict[str, np.ndarray]:
    """What `task.rates` says at steps 0, 1, ..., each (total,) in float32, of numbers as a lane of a program has them."""
    engine.register_configs()
    at_every_step = jax.jit(jax.vmap(task.rates, in_axes=(None, 0)))
    steps = jnp.arange(total, dtype=jnp.int32)
    found: dict[str, np.ndarray] = {}
    for start, changed in ((0, config), *config.stages()):
        lane = jax.tree.map(lambda x: x[0], engine.stack([changed]))
        for name, values in at_every_step(lane, steps).items():
            found.setdefault(name, np.array(values))[start:] = values[start:]
    return found


def _unknown_before(config: Experiment) -> tuple[str, ...]:
    """A sentence for each thing that moves a rate and is only known while training."""
    if config.schedule.kind == "reduce-on-plateau":
        return (
            "the rate before any reduction: schedule.kind=reduce-on-plateau lowers it when the validation stops getting better",
        )
    return ()


def _layers(config: Experiment, task: Task) -> tuple[LayerLine, ...]:
    layers = summarize(config.model, task.network.in_features, task.network.outputs)
    return tuple(LayerLine(layer.path, layer.kind, layer.output_shape, layer.parameters) for layer in layers)
