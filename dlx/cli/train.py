"""`dlx train`: fits one network."""

import time
from collections.abc import Iterator
from typing import Annotated

import typer

from dlx.cli import options
from dlx.cli.experiment import Words, experiment_from
from dlx.errors import UsageError
from dlx.events import Event


def train(
    arguments: options.Arguments = None,
    data: options.Data = None,
    target: options.Target = None,
    model: options.Model = None,
    name: Annotated[str | None, typer.Option("--name", help="A name to find the run by.")] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            metavar="RUN|auto",
            help="Continue a run exactly (an id, a name or `latest`); `auto` with --name: continue, or start, or report.",
        ),
    ] = None,
    max_time: Annotated[
        str | None, typer.Option("--max-time", metavar="DURATION", help="Stop and save after, say, '10 minutes'.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show config, layers, steps and memory; train nothing.")] = False,
    store: options.Store = None,
    as_json: options.AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress; errors only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="More lines, and tracebacks.")] = False,
) -> None:
    """Train a network, from a recipe, a YAML file or a table of your own.

    Exit codes: 0 completed, 1 failed or diverged, 2 usage, 65 bad data, 66 input missing, 73 cannot write,
    75 interrupted and resumable, 78 bad config, 130 and 143 on a second Ctrl-C or SIGTERM.
    """
    from dlx.report.console import for_people, print_json
    from dlx.report.tables import finished_json

    began = time.perf_counter()
    words = Words(arguments, data, target, model)
    if dry_run:
        from dlx.cli.dry_run import show_plan

        show_plan(experiment_from(words), as_json=as_json)
        return
    from dlx.report.progress import watch

    events = _events(words, name, resume, max_time, store)
    imported = time.perf_counter() - began
    finished = watch(events, for_people(), quiet=quiet, verbose=verbose)
    if as_json:
        print_json(finished_json(finished, imported))
    raise typer.Exit(finished.status.exit_code)


def _events(words: Words, name: str | None, resume: str | None, max_time: str | None, store_url: str | None) -> Iterator[Event]:
    """The run that the options ask for, not yet begun: its config and its store are checked."""
    from dlx.experiment import run
    from dlx.store import check_name, find_run, open_store

    limit = None if max_time is None else _seconds(max_time)
    check_name(name)
    if resume is None:
        return run.start(experiment_from(words), open_store(store_url), name=name, max_seconds=limit)
    if resume == "auto":
        if name is None:
            raise UsageError("--resume auto continues the run of a name: give --name NAME too")
        return run.resume_or_start(experiment_from(words), open_store(store_url), name=name, max_seconds=limit)
    if words != Words() or name is not None:
        raise UsageError(
            "--resume RUN continues exactly what was started: leave out recipe, overrides, --data, --model and --name"
        )
    store = open_store(store_url, create=False)
    return run.resume(find_run(store, resume), store, max_seconds=limit)


def _seconds(text: str) -> float:
    from dlx.config import Duration

    try:
        duration = Duration.parse(text)
    except ValueError as error:
        raise UsageError(f"--max-time: {error}") from error
    if duration.unit != "seconds":
        raise UsageError(
            f"--max-time {text}: give wall-clock time, such as '10 minutes'; train.duration counts epochs and steps"
        )
    return duration.value
