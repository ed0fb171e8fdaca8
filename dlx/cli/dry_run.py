"""`dlx train --dry-run`."""

from dlx.config import Experiment


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
