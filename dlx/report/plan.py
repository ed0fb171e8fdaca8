"""What a dry run found, and the table of a network's layers."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from dlx.events import LayerLine, Planned
from dlx.report.tables import config_table, grid
from dlx.report.words import bytes_, seconds


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
