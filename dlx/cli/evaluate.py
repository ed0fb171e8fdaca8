"""`dlx evaluate`: what did a run learn, and how sure is that?"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from dlx.cli import options
from dlx.errors import DlxError

if TYPE_CHECKING:
    from rich.console import Console

    from dlx.evaluation.evaluate import Judged
    from dlx.evaluation.results import Evaluation
    from dlx.experiment.restore import Trained


def evaluate(
    run: options.Run = "latest",
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="PATH", help="New data with the run's columns, target included, in place of its own."),
    ] = None,
    split: options.Split = None,
    slice_by: options.SliceBy = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="What each column is worth; for images, the pixels that were looked at.")
    ] = False,
    worst: Annotated[int, typer.Option("--worst", min=0, help="How many of the examples it is most wrong about to show.")] = 5,
    bootstrap: Annotated[
        int, typer.Option("--bootstrap", min=0, metavar="N", help="Resamples behind the 95 % intervals; 0 for none.")
    ] = 1000,
    judge: Annotated[
        str | None,
        typer.Option(
            "--judge",
            metavar="RUN",
            help="A classifier of the same images, to judge what a generative network makes.",
            show_default=False,
        ),
    ] = None,
    baselines: options.Baselines = True,
    store: options.Store = None,
    as_json: options.AsJson = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="All classes and mistakes, and tracebacks.")] = False,
) -> None:
    """Score a run's best weights on data it has not seen: every metric of its task, with 95 % intervals.

    Exit codes: 0, 2 for a run or a column that there is not, 65 for data that does not fit or a damaged checkpoint, 66 for a
    run without a checkpoint or a file that is missing.
    """
    from dlx.evaluation import evaluate as evaluation
    from dlx.evaluation.frechet import check_judge
    from dlx.evaluation.results import evaluation_json
    from dlx.experiment.restore import restore
    from dlx.report.console import for_output, for_people, print_json
    from dlx.report.evaluation import baseline_lines, evaluation_lines
    from dlx.store import find_run, open_store

    people, output = for_people(), for_output()
    output.quiet = as_json
    began = time.perf_counter()
    with open_store(store, create=False) as opened:
        trained = restore(find_run(opened, run), opened)
        classifier = None if judge is None else restore(find_run(opened, judge), opened)
        if classifier is not None:
            check_judge(trained, classifier)  # before minutes of work
        restored = time.perf_counter() - began
        judged = evaluation.judge(trained, split=split, data=data)
        found = evaluation.evaluate(
            trained, judged, slice_by=slice_by or (), resamples=bootstrap, most_worst=worst, explain=explain
        )
        if classifier is not None:
            found = evaluation.with_judge(found, trained, classifier, judged)
        found = replace(found, seconds={"restore": restored, **found.seconds})
        for line in evaluation_lines(found, output, verbose=verbose):
            output.print(line)
        found = completed(trained, judged, found, people, baselines=baselines)
        for line in baseline_lines(found):
            output.print(line)
    if as_json:
        print_json(evaluation_json(found))


def completed(trained: Trained, judged: Judged, found: Evaluation, people: Console, *, baselines: bool) -> Evaluation:
    """The evaluation beside which simple models stand, kept beside the run. What cannot be is a note: the rest is there all the same."""
    from dlx.evaluation.evaluate import keep, simple_models

    if baselines:
        began = time.perf_counter()
        try:
            with people.status("fitting simple models on the training part"):
                models = simple_models(trained, judged)
            found = replace(found, baselines=models, seconds={**found.seconds, "baselines": time.perf_counter() - began})
        except DlxError as error:
            people.print(f"note: no simple models beside it: {error}", markup=False, soft_wrap=True)
    try:
        keep(trained, judged, found)
    except DlxError as error:
        people.print(f"note: not kept for the next time: {error}", markup=False, soft_wrap=True)
    return found
