"""`--dry-run` of `dlx train` and `dlx sweep`."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from rich.console import RenderableType

from dlx.config import Experiment, Override
from dlx.config.load import Document
from dlx.config.sweep import Sweep


def show_plan(config: Experiment, tune: bool, *, as_json: bool) -> None:
    """Prints what training would do; `tune` says that it would find its learning rate first."""
    from dlx.experiment.describe import describe
    from dlx.report.plan import plan_json, plan_lines

    plan = describe(config)
    if as_json:
        _print(plan_json(plan) | {"finds_rate": tune})
        return
    auto = f"optimizer.lr=auto: a range test finds it first; {config.optimizer.lr:g} is what it falls back to"
    _print(chain(plan_lines(plan), [auto] if tune else []))


def show_sweep_plan(
    sweep: Sweep, document: Document, overrides: Sequence[Override], max_seconds: float | None, *, as_json: bool
) -> None:
    """Prints what searching would do."""
    from dlx.report.plan import sweep_plan_json, sweep_plan_lines
    from dlx.sweep.plan import plan_sweep

    plan = plan_sweep(sweep, document, overrides, max_seconds)
    _print(sweep_plan_json(plan) if as_json else sweep_plan_lines(plan))


def _print(plan: dict[str, Any] | Iterator[RenderableType]) -> None:
    """A JSON object, or lines for people."""
    from dlx.report.console import for_output, print_json

    if isinstance(plan, dict):
        print_json(plan)
        return
    console = for_output()
    for line in plan:
        console.print(line)
