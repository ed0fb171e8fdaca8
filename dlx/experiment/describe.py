"""What an experiment would do, without doing it: the plan behind `--dry-run` and `dlx models show`."""

import time

from dlx import engine
from dlx.config import Experiment
from dlx.data import Spec
from dlx.events import LayerLine, Planned
from dlx.experiment.assemble import assemble, load_data, resolve
from dlx.models.summary import summarize


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
        layers=_layers(resolved, spec),
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
    return _layers(config, load_data(config).spec)


def _layers(config: Experiment, spec: Spec) -> tuple[LayerLine, ...]:
    shape = spec.input_shape
    layers = summarize(config.model, shape[0] if len(shape) == 1 else shape, spec.outputs)
    return tuple(LayerLine(layer.path, layer.kind, layer.output_shape, layer.parameters) for layer in layers)
