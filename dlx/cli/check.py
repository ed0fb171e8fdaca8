"""`dlx check`: is the data what it seems, and can this network learn from it?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dlx.cli import options
from dlx.cli.experiment import Words, tunable_from
from dlx.errors import RunFailedError

if TYPE_CHECKING:
    from dlx.config import Experiment


def check(
    arguments: options.Arguments = None,
    data: options.Data = None,
    target: options.Target = None,
    model: options.Model = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Only this check, or these: a,b (repeatable).")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only the checks that train nothing.")] = False,
    as_json: options.AsJson = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="The numbers too, layer by layer, and tracebacks.")] = False,
) -> None:
    """Check data, network and training for the usual mistakes, in seconds, on a small part of the data. Trains nothing to keep.

    Exit codes: 0 when no check fails (warnings are none), 1 when one does, and those of `dlx train` for what is wrong with
    the experiment.
    """
    from dlx.diagnose.sanity.checks import examine
    from dlx.report.check import checks_json, failed, watch_checks
    from dlx.report.console import for_output, for_people, print_json

    config, auto = tunable_from(Words(arguments, data, target, model))
    if auto:
        for_people().print(f"note: optimizer.lr=auto is found when training begins; checked is {config.optimizer.lr:g}")
    names = frozenset(name.strip() for words in only or () for name in words.split(","))
    events = examine(config, only=names or None, quick=quick)
    found = watch_checks(events, for_people(), None if as_json else for_output(), verbose=verbose)
    if as_json:
        print_json(checks_json(found))
    raise typer.Exit(1 if failed(found) else 0)


def check_first(config: Experiment, *, quiet: bool) -> None:
    """The quick checks, before a training. Warnings are notes on stderr; failures are a `RunFailedError` that says them."""
    from dlx.diagnose.sanity.checks import examine
    from dlx.report.check import failed, watch_checks
    from dlx.report.console import for_people

    console = for_people()
    console.quiet = quiet
    found = watch_checks(examine(config, quick=True), console, None)
    for each in found:
        if each.finding.verdict == "warn":
            console.print(f"note: check {each.name}: {each.finding.said}", markup=False, soft_wrap=not console.is_terminal)
    if failures := failed(found):
        said = "; ".join(f"check {each.name} failed: {each.finding.said}" for each in failures)
        raise RunFailedError(f"not trained: {said}; leaving --check out trains all the same")
