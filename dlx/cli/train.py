"""`dlx train`: fits one network."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from dlx.cli import options
from dlx.cli.check import check_first
from dlx.cli.experiment import Words, tunable_from
from dlx.errors import DlxError, Status, UsageError

if TYPE_CHECKING:
    from dlx.config import Experiment
    from dlx.events import Event
    from dlx.store import RunRecord, Store


def train(
    arguments: options.Arguments = None,
    data: options.Data = None,
    target: options.Target = None,
    model: options.Model = None,
    name: Annotated[str | None, typer.Option("--name", help="A name to find the run by.")] = None,
    best_of: Annotated[
        str | None, typer.Option("--from", metavar="SWEEP", help="Train the winner of a sweep; overrides still apply.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            metavar="RUN|auto",
            help="Continue a run exactly (an id, a name or `latest`); `auto` with --name: continue, or start, or report.",
        ),
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option(
            "--start-from", metavar="RUN", help="Begin with the weights of a run that agree in name and shape; draw the others."
        ),
    ] = None,
    max_time: Annotated[
        str | None, typer.Option("--max-time", metavar="DURATION", help="Stop and save after, say, '10 minutes'.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Run the quick checks of `dlx check` first; train unless one fails.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write the run for TensorBoard too, into its folder (needs dlx[tensorboard]).")
    ] = False,
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
    words = Words(arguments, data, target, model, best_of)
    if dry_run:
        if check:
            raise UsageError("--dry-run computes nothing: leave out --check, or run `dlx check`")
        if start_from is not None:
            raise UsageError("--dry-run shows the config alone: leave out --start-from")
        from dlx.cli.dry_run import show_plan

        show_plan(*tunable_from(words, store), as_json=as_json)
        return
    from dlx.report.progress import watch
    from dlx.store import open_store

    check_options(words, name, resume, check=check)
    if start_from is not None and resume not in (None, "auto"):
        raise UsageError("--resume RUN continues exactly what was started: leave out --start-from")
    if start_from == "latest" and resume == "auto":
        raise UsageError("--start-from latest is another run at each call of --resume auto: name the run by its id or its name")
    limit = None if max_time is None else wall_clock(max_time)
    config, tune = (None, False) if resume not in (None, "auto") else tunable_from(words, store)
    with open_store(store, create=config is not None) as opened:
        events = _events(opened, config, name, resume, limit, tune=tune, start_from=start_from)
        if tensorboard:
            from dlx.report.tensorboard import recorded

            events = recorded(events, opened)
        imported = time.perf_counter() - began
        try:
            if check and config is not None:
                check_first(config, quiet=quiet)
            finished = watch(events, for_people(), quiet=quiet, verbose=verbose)
            if tensorboard and finished.status is Status.COMPLETED:
                _draw_scores(opened, finished.run)
        except DlxError as error:
            if as_json:
                print_json(
                    {"run": None, "status": "failed", "message": str(error), "metrics": {}, "exit_code": error.exit_code}
                )
            raise
    if as_json:
        print_json(finished_json(finished, imported))
    raise typer.Exit(finished.status.exit_code)


def _origin(store: Store, start_from: str, there: RunRecord | None) -> RunRecord | None:
    """The run whose weights are to be begun with; None where the run that is `there` began with one that was removed since.

    Raises `UsageError` where there is none.
    """
    from dlx.store import find_run

    try:
        return find_run(store, start_from)
    except UsageError:
        begun = None if there is None else there.environment.get("start_from", {}).get("run")
        if begun is None or _is_there(store, begun):
            raise
        return None  # as far as can be told it is that one, and what goes on does not need it


def _is_there(store: Store, run: str) -> bool:
    from dlx.store import find_run

    try:
        return find_run(store, run).id == run
    except UsageError:
        return False


def _draw_scores(store: Store, run: str) -> None:
    """Adds pictures of how the run's best weights do on what was held out to its TensorBoard events.

    The run is complete by then: where there can be no pictures a note says why.
    """
    from dlx.evaluation.evaluate import evaluate, judge
    from dlx.experiment.restore import restore
    from dlx.report.console import for_people
    from dlx.report.tensorboard import FOLDER, write_evaluation
    from dlx.store import find_run

    try:
        trained = restore(find_run(store, run), store)
        found = evaluate(trained, judge(trained), resamples=0)
        write_evaluation(trained.run.path / FOLDER, found)
    except DlxError as error:
        for_people().print(f"note: TensorBoard has no pictures of the scores: {error}", soft_wrap=True, markup=False)


def check_options(words: Words, name: str | None, resume: str | None, *, check: bool = False) -> None:
    """Raises `UsageError` for options that do not go together."""
    from dlx.store import check_name

    check_name(name)
    if resume == "auto" and name is None:
        raise UsageError("--resume auto continues the run of a name: give --name NAME too")
    if resume not in (None, "auto") and check:
        raise UsageError("--resume RUN continues exactly what was started: leave out --check, or run `dlx check`")
    if resume not in (None, "auto") and (words != Words() or name is not None):
        raise UsageError(
            "--resume RUN continues exactly what was started: leave out recipe, overrides, --data, --model and --name"
        )


def wall_clock(text: str) -> float:
    """The seconds of `--max-time`. Raises `UsageError` for anything but wall-clock time."""
    from dlx.config import Duration

    try:
        duration = Duration.parse(text)
    except ValueError as error:
        raise UsageError(f"--max-time {text}: write a number and a unit of time, such as '10 minutes'") from error
    if duration.unit != "seconds":
        raise UsageError(
            f"--max-time {text}: give wall-clock time, such as '10 minutes'; train.duration counts epochs and steps"
        )
    return duration.value


def _events(
    store: Store,
    config: Experiment | None,
    name: str | None,
    resume: str | None,
    limit: float | None,
    *,
    tune: bool,
    start_from: str | None,
) -> Iterator[Event]:
    """The run that the options ask for, not yet begun. Without a config it is one that the store has."""
    from dlx.diagnose.lr_find import tuned
    from dlx.experiment import run
    from dlx.store import find_named, find_run

    if config is None:
        return run.resume(find_run(store, str(resume)), store, max_seconds=limit)
    rate = tuned if tune else None
    there = find_named(store, str(name)) if resume == "auto" else None
    origin = None if start_from is None else _origin(store, start_from, there)
    if resume == "auto":
        return run.resume_or_start(config, store, name=str(name), max_seconds=limit, tune=rate, start_from=origin)
    return run.start(config, store, name=name, max_seconds=limit, tune=rate, start_from=origin)
