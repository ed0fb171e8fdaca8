"""`dlx runs`: reads, follows and removes what the store keeps. Needs no JAX."""

import time
from typing import Annotated

import typer

from dlx.cli import options
from dlx.errors import Status, UsageError

Run = Annotated[str, typer.Argument(metavar="RUN", help="An id, the beginning of one, a name, or `latest`.")]
POLL_SECONDS = 1.0


def list_(
    store: options.Store = None,
    status: Annotated[Status | None, typer.Option(help="Only runs that stand so.")] = None,
    name: Annotated[str | None, typer.Option(help="Only runs of this name.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="CONDITION", help="Such as 'test/accuracy>0.9' or config.model.kind=mlp; all must hold."),
    ] = None,
    sort: Annotated[str, typer.Option(help="A field or a metric; a leading - puts the largest first.")] = "-created",
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="At most so many.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """List runs, the newest first."""
    from dlx.report.console import for_output, print_json
    from dlx.report.tables import run_json, runs_table
    from dlx.store import list_runs, open_store

    with open_store(store, create=False) as opened:
        found = list_runs(opened, status=status, name=name, sort=sort, limit=limit, where=tuple(where or ()))
    if as_json:
        print_json({"runs": [run_json(run) for run in found]})
    else:
        for_output().print(runs_table(found) if found else "no runs")


def show(run: Run, store: options.Store = None, as_json: options.AsJson = False) -> None:
    """Show one run: outcome, scores, config, where it ran."""
    from dlx.report.console import for_output, print_json
    from dlx.report.tables import run_json, run_lines
    from dlx.store import find_run, open_store

    with open_store(store, create=False) as opened:
        found = find_run(opened, run)
    if as_json:
        print_json(run_json(found))
        return
    console = for_output()
    for line in run_lines(found):
        console.print(line)


def remove(
    run: Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids, beginnings of ids, names, or `latest`.")],
    store: options.Store = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove runs with their metrics, checkpoints and folders. There is no way back."""
    import sys

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
    run: Run = "latest",
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


runs = typer.Typer(help="List, show, follow and remove runs.", no_args_is_help=True)
runs.command("ls")(list_)
runs.command("show")(show)
runs.command("rm")(remove)
runs.command("tail")(tail)
