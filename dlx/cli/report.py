"""`dlx report`: a run, a sweep or several runs as one HTML page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from dlx.cli import options
from dlx.cli.evaluate import completed
from dlx.errors import CannotWriteError, DlxError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from dlx.evaluation.results import Evaluation
    from dlx.store import RunRecord, Store, SweepRecord

Found = TypeVar("Found")


@dataclass(frozen=True)
class Judging:
    """What of a run's network goes into its page."""

    wanted: bool
    split: str | None
    slice_by: Sequence[str]
    baselines: bool

    @property
    def asked(self) -> list[str]:
        """The options that only an evaluation can follow."""
        return [*(["--split"] if self.split else []), *(["--slice"] if self.slice_by else [])]


def report(
    what: Annotated[
        list[str],
        typer.Argument(metavar="RUN | SWEEP | RUN RUN...", help="An id, the beginning of one, a name, or `latest` (a run)."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE.html",
            help="The file to write; a page that is there is replaced.",
            show_default="report.html in the folder of the run or the sweep; of several runs here",
        ),
    ] = None,
    evaluate: Annotated[
        bool, typer.Option(help="Judge the run's best weights for its page. Without it the page has what the store has.")
    ] = True,
    split: options.Split = None,
    slice_by: options.SliceBy = None,
    baselines: options.Baselines = True,
    store: options.Store = None,
    as_json: options.AsJson = False,
) -> None:
    """Write a run, a sweep or several runs as one HTML page, which needs no network and nothing beside it.

    Exit codes: 0, 2 for a run or a column that there is not, 73 where the page cannot be written.
    """
    from dlx.report.console import for_output, for_people, print_json
    from dlx.report.files import make_folder, whole_file
    from dlx.report.words import bytes_
    from dlx.store import open_store

    with open_store(store, create=False) as opened:
        runs, sweep = _named(opened, list(dict.fromkeys(what)))
        judging = Judging(evaluate, split, slice_by or (), baselines)
        if judging.asked and not (evaluate and len(runs) == 1):
            raise UsageError(f"{judging.asked[0]} is for the page of one run that is judged: leave it out")
        path = out or _default(opened, runs, sweep)
        _refuse_other_files(path)
        text = _page(opened, runs, sweep, judging, for_people())
    make_folder(path.parent)
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf8", newline="\n")
    size = path.stat().st_size
    if as_json:
        of = {"run": runs[0].id} if len(runs) == 1 else {"runs": [run.id for run in runs]} if runs else {}
        print_json({**of, **({"sweep": sweep.id} if sweep else {}), "path": str(path), "bytes": size})
    else:
        for_output().print(f"{path}  {bytes_(size)}", soft_wrap=True, markup=False)


def _refuse_other_files(path: Path) -> None:
    """Raises `CannotWriteError` for a folder, `UsageError` for a file that is no page."""
    if path.is_dir():
        raise CannotWriteError(f"{path}: cannot be written: it is a folder; name a file, such as {path / 'report.html'}")
    if path.is_file() and path.read_bytes()[:15].lower() not in (b"", b"<!doctype html>"):
        raise UsageError(f"--out {path} is there and is no HTML page: choose another --out, or remove it")


def _named(store: Store, what: Sequence[str]) -> tuple[list[RunRecord], SweepRecord | None]:
    """Runs in the order they were named, or one sweep. Raises `UsageError`."""
    runs, sweeps = [], []
    for text in what:
        run, sweep = _run_or_sweep(store, text)
        runs += [run] if run else []
        sweeps += [sweep] if sweep else []
    if sweeps and len(what) > 1:
        raise UsageError(f"{sweeps[0].name or sweeps[0].id} is a sweep: a page is of one sweep, or of one or several runs")
    return list({run.id: run for run in runs}.values()), sweeps[0] if sweeps else None


def _run_or_sweep(store: Store, text: str) -> tuple[RunRecord | None, SweepRecord | None]:
    """One of the two: a run, unless only a sweep is called so in full, or no run at all. Raises `UsageError`."""
    from dlx.store import find_run, find_sweep

    def sought(find: Callable[[Store, str], Found]) -> tuple[Found | None, UsageError | None]:
        try:
            return find(store, text), None
        except UsageError as error:
            return None, error

    run, no_run = sought(find_run)
    sweep, no_sweep = sought(find_sweep) if text != "latest" else (None, no_run)
    if no_run and no_sweep:
        raise UsageError(f"neither a run nor a sweep: {no_run}") from no_run
    full_run, full_sweep = (each is not None and text in (each.id, each.name) for each in (run, sweep))
    if full_run and full_sweep and run and sweep:
        raise UsageError(f"{text} is the run {run.id} and the sweep {sweep.id}: name one of them by its id")
    return (None, sweep) if sweep and (full_sweep or not run) else (run, None)


def _page(store: Store, runs: Sequence[RunRecord], sweep: SweepRecord | None, judging: Judging, people: Console) -> str:
    import time

    from dlx.report.words import moment
    from dlx.store import curves
    from dlx.version import __version__

    made = f"Written by dlx {__version__}, {moment(time.time())}."
    if sweep is not None:
        from dlx.report.html.sweep import sweep_page
        from dlx.report.sweep_pictures import sweep_figures
        from dlx.sweep.propose import importances

        shares = importances(sweep)
        return sweep_page(sweep, sweep_figures(store, sweep, shares), shares, made)
    if len(runs) > 1:
        from dlx.report.html.runs import Compared, runs_page

        return runs_page([Compared(run, curves(store, run.id)) for run in runs], made)
    from dlx.report.html.run import run_page

    return run_page(runs[0], curves(store, runs[0].id), _evaluation_of(runs[0], store, judging, people), made)


def _evaluation_of(run: RunRecord, store: Store, judging: Judging, people: Console) -> Evaluation | str:
    """What the run's best weights are worth, or a sentence that says why that is not known.

    Raises `DlxError` where it was asked for something in particular that cannot be done.
    """
    if not judging.wanted:
        return "It was not judged for this page: it was written with --no-evaluate."
    from dlx.evaluation.evaluate import evaluate, judge
    from dlx.experiment.restore import restore
    from dlx.tasks import Supervised

    try:
        trained = restore(run, store)
        judged = judge(trained, split=judging.split)
        found = evaluate(trained, judged, slice_by=judging.slice_by, explain=isinstance(trained.task, Supervised), gallery=True)
    except DlxError as error:
        if judging.asked:
            raise
        people.print(f"note: the page is without an evaluation: {error}", markup=False, soft_wrap=True)
        return f"It could not be judged: {error}."
    return completed(trained, judged, found, people, baselines=judging.baselines)


def _default(store: Store, runs: Sequence[RunRecord], sweep: SweepRecord | None) -> Path:
    if sweep is not None:
        return store.folder / "sweeps" / sweep.id / "report.html"
    return runs[0].path / "report.html" if len(runs) == 1 else Path("report.html")
