"""`--dry-run` of `dlx train` and `dlx sweep`."""

from collections.abc import Sequence

from dlx.config import Experiment, Override
from dlx.config.load import Document
from dlx.config.sweep import Sweep


def show_plan(config: Experiment, *, as_json: bool) -> None:
    """Prints what training would do."""
    from dlx.experiment.describe import describe
    from dlx.report.console import for_output, print_json
    from dlx.report.plan import plan_json, plan_lines

    plan = describe(config)
    if as_json:
        print_json(plan_json(plan))
        return
    console = for_output()
    for line in plan_lines(plan):
        console.print(line)


def show_sweep_plan(
    sweep: Sweep, document: Document, overrides: Sequence[Override], max_seconds: float | None, *, as_json: bool
) -> None:
    """Prints what searching would do."""
    from dlx.report.console import for_output, print_json
    from dlx.report.plan import sweep_plan_json, sweep_plan_lines
    from dlx.sweep.plan import plan_sweep

    plan = plan_sweep(sweep, document, overrides, max_seconds)
    if as_json:
        print_json(sweep_plan_json(plan))
        return
    console = for_output()
    for line in sweep_plan_lines(plan):
        console.print(line)
