"""`dlx sweep`: searches hyperparameters, and reads what a search found."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dlx.cli import options
from dlx.cli.experiment import Words
from dlx.errors import DlxError

Sweep = Annotated[str, typer.Argument(metavar="SWEEP", help="An id, the beginning of one, a name, or `latest`.")]


FIRST = 8
"""Of the best trials of another sweep, how many a new one begins with."""


class SweepGroup(TyperGroup):
    """`dlx sweep digits-mlp ...` is `dlx sweep run digits-mlp ...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Typer's hook: puts `run` before what is not the name of another subcommand."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["run", *args]
        return super().parse_args(ctx, args)


def run(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="RECIPE|FILE.yaml|KEY=VALUE",
            help="A recipe, an experiment or a sweep file; then overrides (optimizer.kind=sgd) and what to search: "
            "'optimizer.lr=tag(log, interval(1e-4, 1e-1))' 'train.batch_size=32,64' 'model.dropout=interval(0, 0.6)'.",
        ),
    ],
    data: options.Data = None,
    target: options.Target = None,
    model: options.Model = None,
    trials: Annotated[
        int | None, typer.Option("--trials", min=1, help="How many in all, those of earlier commands included.")
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            "--sampler", metavar="tpe|random|grid|qmc|cmaes|nsga2|gp|pbt", help="What proposes trials.", show_default="tpe"
        ),
    ] = None,
    pruner: Annotated[
        str | None,
        typer.Option(
            "--pruner",
            metavar="hyperband|successive_halving|median|percentile|threshold|patient|none",
            help="What stops trials early. Its options go into a sweep file.",
            show_default="none",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="The sampler's.", show_default="0")] = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", min=1, help="Train each trial under so many seeds; the mean counts.", show_default="1"),
    ] = None,
    target_value: Annotated[
        float | None, typer.Option("--target-value", help="Stop when the objective is this good; looked at after every batch.")
    ] = None,
    plateau: Annotated[
        int | None,
        typer.Option("--plateau", min=1, help="Stop after so many trials without a better one; looked at after every batch."),
    ] = None,
    on_fail: Annotated[
        str | None, typer.Option("--on-fail", metavar="continue|stop", help="After a trial failed.", show_default="continue")
    ] = None,
    max_consecutive_failures: Annotated[
        int | None, typer.Option("--max-consecutive-failures", min=1, help="Then the sweep stops.", show_default="16")
    ] = None,
    retries: Annotated[
        int | None, typer.Option("--retries", min=0, help="How often a failed trial begins again.", show_default="0")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="A name to find the sweep by.")] = None,
    max_time: Annotated[
        str | None, typer.Option("--max-time", "--timeout", metavar="DURATION", help="Stop after, say, '30 minutes'.")
    ] = None,
    enqueue: Annotated[
        list[str] | None,
        typer.Option("--enqueue", metavar="'KEY=VALUE ...'", help="A trial to begin with. Can be given several times."),
    ] = None,
    like: Annotated[
        str | None, typer.Option("--from", metavar="SWEEP", help=f"Begin with the {FIRST} best trials of another sweep.")
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Processes on this machine: one for each GPU, or for a share of the cores.")
    ] = 1,
    join: Annotated[
        bool,
        typer.Option(
            "--join", help="Work on a sweep that another process of this machine runs. From another machine it is not needed."
        ),
    ] = False,
    allow_changed_space: Annotated[
        bool,
        typer.Option("--allow-changed-space", help="Let the sweep of that name go on with another space, sampler or pruner."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the space and the programs of a first batch; train nothing.")
    ] = False,
    store: options.Store = None,
    as_json: options.AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress; errors only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="A line for every trial, and tracebacks.")] = False,
) -> None:
    """Search hyperparameters. The same command again continues to the number of trials.

    Exit codes as of `dlx train`: 0 complete, 75 interrupted (the same command continues), 78 for an impossible space.
    """
    from dlx.cli.train import wall_clock
    from dlx.config import parse_override
    from dlx.config.space import fits
    from dlx.config.sweep import load_sweep, with_options
    from dlx.report.console import for_people, print_json
    from dlx.report.sweep_progress import watch_sweep
    from dlx.report.sweeps import sweep_json
    from dlx.store import check_name, find_sweep, open_store
    from dlx.sweep.crew import Crew

    began = time.perf_counter()
    check_name(name)
    source, short, words = Words(arguments, data, target, model).split()
    described, document, overrides = load_sweep(source or "digits-mlp", words, short)
    given = {
        "trials": trials,
        "sampler": sampler,
        "pruner": pruner,
        "seed": seed,
        "seeds": seeds,
        "target_value": target_value,
        "plateau": plateau,
        "on_fail": on_fail,
        "max_consecutive_failures": max_consecutive_failures,
        "retries": retries,
    }
    described = with_options(described, given)
    queued = [{".".join(o.path): o.value for o in map(parse_override, shlex.split(words))} for words in enqueue or ()]
    limit = wall_clock(max_time) if max_time is not None else described.timeout.value if described.timeout is not None else None
    described = described.model_copy(update={"enqueue": (*queued, *described.enqueue)})
    if dry_run:
        from dlx.cli.dry_run import show_sweep_plan

        show_sweep_plan(described, document, overrides, limit, as_json=as_json)
        return
    with open_store(store) as opened, Crew(_for_a_worker(sys.argv[1:]), workers) if workers > 1 else nullcontext() as crew:
        from dlx.sweep.drive import sweep_runs

        if like is not None:
            best_of = [dict(t.params) for t in find_sweep(opened, like).ranked if fits(described.search, t.params)]
            described = described.model_copy(update={"enqueue": (*described.enqueue, *best_of[:FIRST])})
        events = sweep_runs(
            described,
            document,
            overrides,
            opened,
            name=name,
            max_seconds=limit,
            beside=join or crew is not None,
            change=allow_changed_space,
            crew=crew,
        )
        imported = time.perf_counter() - began
        try:
            finished = watch_sweep(events, for_people(), quiet=quiet, verbose=verbose)
        except DlxError as error:
            if as_json:
                print_json({"sweep": None, "status": "failed", "message": str(error), "exit_code": error.exit_code})
            raise
    if as_json:
        print_json(sweep_json(finished, imported))
    raise typer.Exit(finished.status.exit_code)


def _for_a_worker(arguments: Sequence[str]) -> list[str]:
    """The words of this command without those that are for its first process alone."""
    words = iter(arguments)
    kept = []
    for word in words:
        if word == "--workers":
            next(words)
        elif not word.startswith("--workers=") and word not in ("--json", "-v", "--verbose", "-q", "--quiet", "--join"):
            kept.append(word)
    return kept


def list_(store: options.Store = None, as_json: options.AsJson = False) -> None:
    """List sweeps, the newest first."""
    from dlx.report.console import for_output, print_json
    from dlx.report.sweeps import record_json, sweeps_table
    from dlx.store import list_sweeps, open_store

    with open_store(store, create=False) as opened:
        found = list_sweeps(opened)
    if as_json:
        print_json({"sweeps": [record_json(sweep) for sweep in found]})
    else:
        for_output().print(sweeps_table(found) if found else "no sweeps")


def show(
    sweep: Sweep,
    store: options.Store = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many of the best trials.")] = 10,
    as_json: options.AsJson = False,
) -> None:
    """Show one sweep: what it searches, how far it is, its best trials."""
    from dlx.report.console import for_output, print_json
    from dlx.report.sweeps import record_json, record_lines
    from dlx.report.tables import fitted
    from dlx.store import find_sweep, open_store

    with open_store(store, create=False) as opened:
        found = find_sweep(opened, sweep)
    if as_json:
        print_json(record_json(found))
        return
    console = for_output()
    for line in record_lines(found, limit):
        for part in (line,) if isinstance(line, str) else fitted(line, console):
            console.print(part)


def best(sweep: Sweep, store: options.Store = None, as_json: options.AsJson = False) -> None:
    """Show the best trial: its values, and its run."""
    show(sweep, store, 1, as_json)


def export(
    sweep: Sweep,
    store: options.Store = None,
    format_: Annotated[str, typer.Option("--format", metavar="csv|json", help="What to write.")] = "csv",
) -> None:
    """Write all trials to stdout, one a line."""
    from dlx.errors import UsageError
    from dlx.report.console import print_json
    from dlx.report.sweeps import trials_csv, trials_json
    from dlx.store import find_sweep, open_store

    with open_store(store, create=False) as opened:
        found = find_sweep(opened, sweep)
    match format_:
        case "csv":
            sys.stdout.write(trials_csv(found))
        case "json":
            print_json({"sweep": found.id, "trials": trials_json(found)})
        case _:
            raise UsageError(f"--format {format_}: write csv or json")


def importance(sweep: Sweep, store: options.Store = None, as_json: options.AsJson = False) -> None:
    """Show how much each searched value matters for being among the best trials, by PED-ANOVA."""
    from dlx.errors import UsageError
    from dlx.report.console import for_output, print_json
    from dlx.report.sweeps import importance_table
    from dlx.store import find_sweep, open_store
    from dlx.sweep.propose import importances

    with open_store(store, create=False) as opened:
        found = find_sweep(opened, sweep)
    shares = importances(found)
    if not shares:
        raise UsageError(f"sweep {found.id} has {len(found.ranked)} completed trials: too few to tell what matters")
    if as_json:
        print_json({"sweep": found.id, "importance": shares})
    else:
        for_output().print(importance_table(shares))
        if constant := [key for key in found.config["search"] if key not in shares]:
            for_output().print(f"never varied: {', '.join(constant)}")


def plot(
    sweep: Sweep,
    store: options.Store = None,
    to: Annotated[Path | None, typer.Option("--to", help="A folder.", show_default="sweeps/ID beside the store")] = None,
) -> None:
    """Draw a sweep as PNG files: history, parallel coordinates, importance, learning curves."""
    from dlx.report.console import for_output
    from dlx.report.sweep_pictures import draw_sweep
    from dlx.store import find_sweep, open_store
    from dlx.sweep.propose import importances

    with open_store(store, create=False) as opened:
        found = find_sweep(opened, sweep)
        folder = to or opened.folder / "sweeps" / found.id
        for path in draw_sweep(opened, found, importances(found), folder):
            for_output().print(str(path), soft_wrap=True)


sweep = typer.Typer(
    cls=SweepGroup,
    help="Search hyperparameters: `dlx sweep RECIPE KEY=interval(a, b) --trials N`. `dlx sweep run --help` has the options of a search.",
    no_args_is_help=True,
)
sweep.command("run")(run)
sweep.command("ls")(list_)
sweep.command("show")(show)
sweep.command("best")(best)
sweep.command("importance")(importance)
sweep.command("plot")(plot)
sweep.command("export")(export)
