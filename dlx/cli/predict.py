"""`dlx predict`: new data through a trained network."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from dlx.cli import options


def predict(
    run: options.Run = "latest",
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="PATH",
            help="CSV, Parquet, NPZ, a folder of images, or lines of text; - is stdin, CSV or lines. Larger than memory if need be.",
            show_default=False,
        ),
    ] = "-",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A .csv, .parquet or .npz file. Without it CSV goes to stdout.")
    ] = None,
    on_bad: Annotated[
        Literal["stop", "skip"],
        typer.Option(
            "--on-bad", help="At a row that cannot be read: stop and say where, or leave it out and say so at the end."
        ),
    ] = "stop",
    store: options.Store = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object about what was done on stdout (needs --out).")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress; errors only.")] = False,
) -> None:
    """Predict for each row of new data, in order: classes by name with probabilities, labels, numbers, or translations and captions.

    Exit codes: 0 (also when bad rows were skipped), 2 for an unknown run, 65 for data that cannot be used, 66 for a missing file
    or checkpoint, 73 where --out cannot be written.
    """
    from dlx.errors import UsageError
    from dlx.evaluation.predict import predict
    from dlx.experiment.restore import restore
    from dlx.report.console import for_people, print_json
    from dlx.report.predictions import format_of, write_predictions, written_lines
    from dlx.store import find_run, open_store

    if as_json and out is None:
        raise UsageError("--json prints an object on stdout, where the predictions go: give --out FILE too")
    format_of(out)  # before any work is done
    if data == "-" and sys.stdin.isatty():
        raise UsageError("stdin is a terminal: name new data with --data PATH, or pipe CSV into this command")
    if out is not None and out.exists() and Path(data).expanduser().exists() and out.samefile(Path(data).expanduser()):
        raise UsageError(f"--out {out} is the file that --data names: the predictions would take its place; name another")
    people = for_people()
    people.quiet = quiet
    with open_store(store, create=False) as opened:
        trained = restore(find_run(opened, run), opened)
    for notice in trained.notices:
        people.print(f"note: {notice}", markup=False)
    began = time.perf_counter()
    written = write_predictions(predict(trained, data, on_bad=on_bad), out, people)
    took = time.perf_counter() - began
    for line in written_lines(written, took):
        people.print(line, markup=False, soft_wrap=True)
    if as_json:
        print_json({"run": trained.run.id, "rows": written.rows, "skipped": written.skipped, "seconds": took, "out": str(out)})
