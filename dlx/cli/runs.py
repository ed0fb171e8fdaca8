"""`dlx runs`: reads, follows, exports and removes what the store keeps. Needs no JAX."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from dlx.cli import options
from dlx.cli.compare import compare
from dlx.errors import Status, UsageError

POLL_SECONDS = 1.0
SCREENFUL = 50
"""How many runs a terminal gets unless told: the newest come first, and must not scroll away."""


OnlyStatus = Annotated[Status | None, typer.Option("--status", help="Only runs that stand so.")]
OnlyName = Annotated[str | None, typer.Option("--name", help="Only runs of this name.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CONDITION",
        help="Such as 'test/accuracy>0.9 and config.model.kind=mlp', with and, or, not, in (...), ~ for contains; repeated, all must hold.",
    ),
]
Sort = Annotated[str, typer.Option(help="A field, a metric or a path into the config; a leading - puts the largest first.")]
Limit = Annotated[int | None, typer.Option("--limit", "-n", min=1, help="At most so many.")]


def list_(
    store: options.Store = None,
    status: OnlyStatus = None,
    name: OnlyName = None,
    where: Where = None,
    sort: Sort = "-created",
    limit: Limit = None,
    all_: Annotated[bool, typer.Option("--all", help=f"On a terminal too, which gets {SCREENFUL} unless told.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """List runs, the newest first. A pipe or a file gets all of them, a terminal the first 50."""
    from dlx.report.console import for_output, print_json
    from dlx.report.listing import print_runs
    from dlx.report.tables import run_json
    from dlx.store import listing, open_store

    if all_ and limit is not None:
        raise UsageError(f"--all and --limit {limit} ask for different things; leave one out")
    short = limit is None and not all_ and not as_json and sys.stdout.isatty()
    with open_store(store, create=False) as opened:
        shown = SCREENFUL if short else limit
        found = listing(opened, status=status, name=name, sort=sort, limit=shown, where=tuple(where or ()))
    if as_json:
        print_json({"runs": [run_json(run) for run in found.runs]})
    else:
        print_runs(found, for_output(), short=short)


def show(
    run: options.Run,
    store: options.Store = None,
    plot: Annotated[
        bool, typer.Option("--plot", help="Draw the learning curves, and the confusion matrix that `dlx evaluate` left.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Show one run: outcome, scores, config, where it ran."""
    from dlx.report.console import for_output, print_json
    from dlx.report.tables import run_json, run_lines
    from dlx.store import curves, find_run, open_store

    if plot and as_json:
        raise UsageError("--plot draws and --json does not; leave one out")
    with open_store(store, create=False) as opened:
        found = find_run(opened, run)
        drawn = curves(opened, found.id) if plot else {}
    if as_json:
        print_json(run_json(found))
        return
    console = for_output()
    for line in run_lines(found):
        console.print(line)
    if plot:
        from dlx.report.run_plots import confusion_plots, curve_plots

        for line in (*curve_plots(found, drawn), *confusion_plots(found.path)):
            console.print(line)


def diff(
    run: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Ids, beginnings of ids, names, or `latest`.")],
    store: options.Store = None,
    as_json: options.AsJson = False,
) -> None:
    """Show in which config fields runs differ, and in which versions, device, commit and data."""
    from dlx.report.console import for_output, print_json
    from dlx.report.runs_export import differing, differing_lines
    from dlx.store import find_run, open_store

    if len(run) < 2:
        raise UsageError(f"{run[0]} is one run; name another one to compare it with")
    with open_store(store, create=False) as opened:
        found = list({record.id: record for record in (find_run(opened, text) for text in run)}.values())
    differences = differing(found)
    if as_json:
        print_json({"runs": [record.id for record in found], **differences})
        return
    console = for_output()
    for line in differing_lines(found, differences, console):
        console.print(line)


def export(
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="csv|json|parquet|tensorboard",
            help="What to write; tensorboard is a folder of events for each run, by its id.",
            show_default="as --out ends, or csv",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="PATH", help="Where to.", show_default="stdout; of tensorboard each run's own folder"),
    ] = None,
    curves: Annotated[
        bool, typer.Option("--curves", help="One row for each run, metric and step, in place of one for each run.")
    ] = False,
    store: options.Store = None,
    status: OnlyStatus = None,
    name: OnlyName = None,
    where: Where = None,
    sort: Sort = "-created",
    limit: Limit = None,
) -> None:
    """Write runs as a table with a column for each field, config key, metric and phase; or for TensorBoard."""
    from dlx.report.console import for_people
    from dlx.report.listing import print_none
    from dlx.report.runs_export import CURVE_COLUMNS, EVENTS, choose_format, curve_rows, run_rows, write_rows
    from dlx.store import listing, open_store, stream_curves

    chosen = choose_format(format_, out)
    if chosen == EVENTS and curves:
        raise UsageError(f"--format {EVENTS} has the curves anyway: leave out --curves")
    with open_store(store, create=False) as opened:
        found = listing(opened, status=status, name=name, sort=sort, limit=limit, where=tuple(where or ()))
        if not found.runs:
            print_none(found, for_people())
        if chosen == EVENTS:
            from dlx.report.tensorboard import write_runs

            write_runs(opened, found.runs, out)
        elif curves:
            rows = curve_rows(found.runs, stream_curves(opened, [run.id for run in found.runs]))
            write_rows("curves", CURVE_COLUMNS, rows, chosen, out)
        else:
            write_rows("runs", *run_rows(found.runs), chosen, out)


def remove(
    run: Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids, beginnings of ids, names, or `latest`.")],
    store: options.Store = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove runs with their metrics, checkpoints and folders. There is no way back."""
    from dlx.report.console import for_people
    from dlx.store import delete_run, find_run, open_store

    with open_store(store, create=False) as opened:
        found = {record.id: record for record in (find_run(opened, text) for text in run)}
        if not yes:
            names = ", ".join(f"{r.id} ({r.name})" if r.name else r.id for r in found.values())
            if not sys.stdin.isatty():
                raise UsageError(f"remove {names}? Say --yes where nobody can be asked")
            typer.confirm(f"remove {names} for ever?", abort=True, err=True)
        for run_id in found:
            delete_run(opened, run_id)
            for_people().print(f"removed {run_id}")


def tail(
    run: options.Run = "latest",
    store: options.Store = None,
    follow: Annotated[bool, typer.Option(help="Go on until the run ends.")] = True,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last evaluations to begin with.")] = 10,
) -> None:
    """Follow a run's metrics while another process trains it."""
    from rich.markup import escape

    from dlx.report.console import for_output
    from dlx.report.tables import colored, metric_lines
    from dlx.store import curves, find_run, open_store

    console = for_output()
    with open_store(store, create=False) as opened:
        record = find_run(opened, run)
        shown = metric_lines(record, curves(opened, record.id))
        last = shown[-1][0] if shown else -1
        for _, line in shown[-lines:] if lines else []:
            console.print(line, soft_wrap=True)
        while follow and record.status is Status.RUNNING:
            time.sleep(POLL_SECONDS)
            record = find_run(opened, record.id)
            for step, line in metric_lines(record, curves(opened, record.id, after=last)):
                console.print(line, soft_wrap=True)
                last = step
    console.print(f"run {record.id} {colored(record.status)}: {escape(record.message)}", soft_wrap=True)


runs = typer.Typer(help="List, show, compare, export, follow and remove runs.", no_args_is_help=True)
runs.command("ls")(list_)
runs.command("show")(show)
runs.command("diff")(diff)
runs.command("compare")(compare)
runs.command("export")(export)
runs.command("rm")(remove)
runs.command("tail")(tail)
