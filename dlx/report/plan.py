"""What a dry run found, and the table of a network's layers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from dlx.events import LayerLine, Planned, SweepPlanned
from dlx.report.tables import config_table, grid
from dlx.report.words import bytes_, plural, seconds, value_word


def plan_lines(plan: Planned) -> Iterator[RenderableType]:
    """What a dry run found."""
    parts = ", ".join(f"{count:,} {split}" for split, count in plan.examples.items())
    shape = "x".join(map(str, plan.input_shape))
    yield f"data {escape(plan.data)}: {parts}; inputs {shape}, {plan.outputs} outputs"
    for sentence in plan.report:
        yield f"  {escape(sentence)}"
    yield config_table(plan.config)
    yield layers_table(plan.layers)
    yield (
        f"{plan.total_steps:,} steps of {plan.batch_size} examples ({plan.steps_per_epoch:,} an epoch), "
        f"validation every {plan.evaluate_every:,}, best by {plan.monitor}"
    )
    where = "on the device" if plan.resident else "streamed"
    yield f"{plan.device}: {bytes_(plan.memory_bytes)} for the train program, data {where}; compiled in {seconds(plan.compile_seconds)}"
    yield "nothing was trained"


def layers_table(layers: Sequence[LayerLine]) -> Table:
    """One row per layer, with the total."""
    table = grid()
    for header in ("layer", "kind", "output"):
        table.add_column(header)
    table.add_column("parameters", justify="right")
    for layer in layers:
        shape = "" if layer.output_shape is None else "x".join(map(str, layer.output_shape))
        table.add_row(escape(layer.path), escape(layer.kind), shape, f"{layer.parameters:,}")
    table.add_row("total", "", "", f"{sum(layer.parameters for layer in layers):,}")
    return table


def plan_json(plan: Planned) -> dict[str, Any]:
    """A dry run as one JSON object."""
    tree = {name: value for name, value in vars(plan).items() if name not in ("config", "layers")}
    return {**tree, "config": dict(plan.config), "layers": [vars(layer) for layer in plan.layers]}


def sweep_plan_lines(plan: SweepPlanned) -> Iterator[RenderableType]:
    """What a sweep's dry run found: the space, and the programs that a first batch of proposals needs."""
    total = plural(plan.total, "trial") if plan.total is not None else "trials until the time is up"
    better = "highest" if plan.maximize else "lowest"
    yield f"{total} for the {better} {escape(plan.monitor)}, {escape(plan.device)}; {plan.batch} at a time by {plan.sampler['kind']}"
    space = grid()
    for header in ("searched", "values"):
        space.add_column(header, overflow="fold")
    for key, dimension in plan.search.items():
        space.add_row(escape(key), escape(dimension_words(dimension)))
    yield space
    if plan.rungs:
        at = ", ".join(map(str, plan.rungs[:12])) + (", ..." if len(plan.rungs) > 12 else "")
        yield f"{plan.pruner['kind']}: compared after evaluations {at} of {plan.evaluations}"
    table = grid()
    for header in ("trials", "lanes", "parameters", "steps", "memory", "compiled in"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("program", overflow="fold")
    for group in plan.groups:
        words = " ".join(f"{key}={value_word(value)}" for key, value in group.values.items())
        table.add_row(
            str(group.trials),
            str(group.lanes),
            f"{group.parameters:,}",
            f"{group.total_steps:,}",
            bytes_(group.memory_bytes),
            seconds(group.compile_seconds),
            escape(words or "all the same"),
        )
    yield table
    for failure in plan.failures:
        yield escape(f"cannot be trained: {failure}")
    yield f"{plural(len(plan.groups), 'program')} for the first {plan.batch} proposals; nothing was trained"


def sweep_plan_json(plan: SweepPlanned) -> dict[str, Any]:
    """A sweep's dry run as one JSON object."""
    return {**vars(plan), "groups": [vars(group) for group in plan.groups]}


def dimension_words(dimension: Mapping[str, Any]) -> str:
    """A searched dimension in the grammar of the command line."""
    if dimension["type"] == "categorical":
        words = f"choice({', '.join(value_word(choice) for choice in dimension['choices'])})"
    else:
        words = f"interval({value_word(dimension['low'])}, {value_word(dimension['high'])})"
        words = f"int({words})" if dimension["type"] == "int" else words
        words = f"tag(log, {words})" if dimension["log"] else words
        words += f" in steps of {value_word(dimension['step'])}" if dimension["step"] not in (None, 1) else ""
    when = " and ".join(f"{key}={value_word(value)}" for key, value in dimension["when"].items())
    return f"{words} when {when}" if when else words
