"""`dlx gradcheck`: are the gradients right?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dlx.cli import options
from dlx.cli.experiment import Words, tunable_from
from dlx.errors import UsageError

if TYPE_CHECKING:
    from dlx.diagnose.gradients import GradCheck

EVERYTHING = "all"
"""In place of a recipe: every built-in model."""


def gradcheck(
    arguments: options.Arguments = None,
    data: options.Data = None,
    target: options.Target = None,
    model: options.Model = None,
    full: Annotated[
        bool, typer.Option("--full", help="Every coordinate of every parameter, in place of random directions.")
    ] = False,
    order: Annotated[int, typer.Option("--order", min=1, max=2, help="2: of second derivatives.")] = 1,
    dtype: Annotated[
        Literal["float64", "float32", "bfloat16"],
        typer.Option("--dtype", help="What the gradient is computed in; the differences always are in float64."),
    ] = "float64",
    shrink: Annotated[
        int | None,
        typer.Option("--shrink", min=1, metavar="WIDTH", help="No hidden layer of a built-in mlp or convnet wider than this."),
    ] = None,
    examples: Annotated[int, typer.Option("--examples", min=1, help="How many training examples the loss is of.")] = 8,
    directions: Annotated[int, typer.Option("--directions", min=1, help="Random directions for each parameter.")] = 4,
    as_json: options.AsJson = False,
) -> None:
    """Check the gradients of a network's training loss against differences of the loss. `dlx gradcheck all`: of every built-in one.

    Exit codes: 0 nothing is wrong, 1 a gradient is wrong, otherwise those of `dlx train`.
    """
    from dlx.diagnose.gradcheck import gradcheck as check_experiment
    from dlx.diagnose.gradients import GradCheck
    from dlx.diagnose.shrunk import shrunk
    from dlx.report.console import for_output, for_people, print_json
    from dlx.report.gradcheck import gradient_json, gradient_lines, watch_gradients

    if full and directions != 4:
        raise UsageError("--directions: --full takes every coordinate in place of directions: give one of the two")
    check = GradCheck(dtype, 2 if order == 2 else 1, full, directions, examples)
    if arguments and arguments[0] == EVERYTHING:
        if len(arguments) > 1 or data or target or model or shrink:
            raise UsageError(
                "gradcheck all is of the built-in models: leave out overrides, --data, --target, --model and --shrink"
            )
        _everything(check, as_json=as_json)
    config, _ = tunable_from(Words(arguments, data, target, model))
    found = watch_gradients(check_experiment(config if shrink is None else shrunk(config, shrink), check), for_people())
    if as_json:
        print_json(gradient_json(found))
    else:
        console = for_output()
        for line in gradient_lines(found, console):
            console.print(line)
    raise typer.Exit(0 if found.ok else 1)


def _everything(check: GradCheck, *, as_json: bool) -> None:
    """Checks the built-in models, prints a table of them, and exits."""
    from dlx.diagnose.built_in import check_combination, combinations
    from dlx.report.console import for_output, for_people, print_json
    from dlx.report.gradcheck import Row, row_table, rows_json, rows_summary, watch_gradients

    rows = []
    for combination in combinations():
        began = time.perf_counter()
        found = watch_gradients(
            check_combination(combination, check), for_people(), f"{combination.model}, {combination.task}: "
        )
        rows.append(Row(combination.model, combination.task, found, time.perf_counter() - began))
    if as_json:
        print_json(rows_json(rows))
    else:
        console = for_output()
        console.print(row_table(rows))
        console.print(rows_summary(rows))
    raise typer.Exit(0 if all(row.found.ok for row in rows) else 1)
