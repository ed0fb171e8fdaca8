"""`dlx runs compare`: which run is better, and is the difference real?"""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from dlx.cli import options
from dlx.errors import UsageError


def compare(
    run: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Ids, beginnings of ids, names, or `latest`. Runs that differ in the seed only count as repeats.",
        ),
    ],
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric", metavar="METRIC", help="What to judge by, such as f1 or log_loss.", show_default="the task's own"
        ),
    ] = None,
    split: Annotated[Literal["test", "validation", "train", "all"], typer.Option(help="The part to judge on.")] = "test",
    resamples: Annotated[int, typer.Option(min=100, help="How many bootstrap resamples.")] = 1000,
    as_json: options.AsJson = False,
    store: options.Store = None,
) -> None:
    """Say which of several runs is better, and whether the difference is more than luck.

    Judges by predictions on the same examples, stored or computed once: paired, with intervals and p values.
    Exit codes: 0 compared (whatever came out), 2 unknown runs or metric, 65 runs that were judged on different examples.
    """
    from dlx.evaluation.compare import Entry
    from dlx.evaluation.compare import compare as compare_runs
    from dlx.evaluation.evaluate import predictions_of
    from dlx.report.compare import comparison_json, comparison_lines
    from dlx.report.console import for_output, for_people, print_json
    from dlx.store import find_run, open_store

    with open_store(store, create=False) as opened:
        found = {record.id: record for record in (find_run(opened, text) for text in run)}
        if len(found) < 2:
            raise UsageError(f"{' and '.join(dict.fromkeys(run))}: that is one run; name two or more to compare")
        console = for_people()
        entries = []
        with console.status("reading predictions") as status:
            for record in found.values():
                status.update(f"predictions of {record.id}")
                entries.append(Entry(record, *predictions_of(record, opened, split)))
    comparison = compare_runs(entries, metric, resamples=resamples)
    if as_json:
        print_json(comparison_json(comparison))
        return
    output = for_output()
    for line in comparison_lines(comparison, output):
        output.print(line)
