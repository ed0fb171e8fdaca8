"""`dlx schedule plot`: the rates of every step, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlx.cli import options
from dlx.cli.experiment import Words, experiment_from


def plot(
    arguments: options.Arguments = None,
    data: options.Data = None,
    target: options.Target = None,
    model: options.Model = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Where the two files go.", show_default="the current folder")
    ] = Path(),
    as_json: options.AsJson = False,
) -> None:
    """Draw the learning rate of every step, and the momentum where it moves: NAME-schedule.png, and the numbers as a CSV.

    Reads the data, which decides how many steps an epoch has. Trains nothing. Step 0 is the first.
    """
    from dlx.experiment.describe import describe_rates
    from dlx.report.console import for_output, print_json
    from dlx.report.figures import save
    from dlx.report.schedule import draw_schedule, files_in, schedule_json, schedule_lines, write_rates

    words = Words(arguments, data, target, model)
    plan = describe_rates(experiment_from(words))
    name = words.name
    picture, table = files_in(out.expanduser().absolute(), name)
    save(draw_schedule(plan, name), picture)
    write_rates(plan, table)
    if as_json:
        print_json(schedule_json(plan, picture, table))
        return
    console = for_output()
    for line in schedule_lines(plan, name):
        console.print(line)
    for path in (picture, table):
        console.print(str(path), soft_wrap=True, markup=False)


schedule = typer.Typer(help="Learning-rate schedules.", no_args_is_help=True)
schedule.command("plot")(plot)
