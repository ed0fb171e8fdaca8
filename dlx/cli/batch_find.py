"""`dlx batch-find`: the largest batch size that fits, without trying until it crashes."""

from __future__ import annotations

import re
from typing import Annotated, Final

import typer

from dlx.cli import options
from dlx.cli.experiment import Words, tunable_from
from dlx.errors import DeviceMemoryError, UsageError

UNITS: Final = {
    "b": 1,
    "kb": 1000,
    "kib": 1024,
    "mb": 1000**2,
    "mib": 1024**2,
    "gb": 1000**3,
    "gib": 1024**3,
    "tb": 1000**4,
    "tib": 1024**4,
}
"""Bytes."""


def batch_find(
    arguments: options.Arguments = None,
    data: options.Data = None,
    target: options.Target = None,
    model: options.Model = None,
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory", metavar="AMOUNT", help="What the device has, such as 8GB or 40GiB.", show_default="this one's"
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Find the largest `train.batch_size` that fits into the device's memory, by the compiler's numbers. Runs nothing.

    Exit codes: 0 found, 1 when not even the smallest fits, and those of `dlx train` for what is wrong with the experiment.
    """
    from dlx.diagnose.batch_find import find_batch
    from dlx.report.batch_find import answer, batch_json, batch_lines, watch_sizes
    from dlx.report.console import for_output, for_people, print_json

    there = None if memory is None else amount(memory)
    events = find_batch(tunable_from(Words(arguments, data, target, model))[0], there)
    found = watch_sizes(events, for_people())
    if as_json:
        print_json(batch_json(found))
    else:
        console = for_output()
        for line in batch_lines(found):
            console.print(line)
    if found.batch_size is None:
        raise DeviceMemoryError(answer(found))


def amount(text: str) -> float:
    """The bytes of `--memory`: `8GB` (1000 ** 3 each), `40 GiB` (1024 ** 3). Raises `UsageError`."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+(?:e[0-9]+)?)\s*([a-z]+)\s*", text.lower())
    if match is None or match[2] not in UNITS or not 0 < (found := float(match[1]) * UNITS[match[2]]) < float("inf"):
        raise UsageError(f"--memory {text}: write an amount above zero with its unit, such as 8GB, 500MB or 40GiB")
    return found
