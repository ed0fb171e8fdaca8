"""`dlx lr-find`: the learning-rate range test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dlx.cli import options
from dlx.cli.experiment import Words, document_from
from dlx.errors import UsageError

if TYPE_CHECKING:
    from dlx.config import Experiment
    from dlx.diagnose.range_curve import RangeFound
    from dlx.store import RunRecord

ALWAYS = frozenset({"stored", "skip_start", "skip_end", "write", "store", "as_json", "quiet"})
"""The options that go with --from."""
OF_RAMP, OF_CONSTANT = frozenset({"smoothing", "stop"}), frozenset({"rates"})
"""The options that one mode alone has."""
UNCOMPARED = (
    "optimizer.lr",
    "schedule",
    "averaging",
    "replay",
    "train.duration",
    "train.evaluate_every",
    "train.monitor",
    "train.patience",
    "train.seed",
)
"""Keys that a range test sets itself."""


def lr_find(
    ctx: typer.Context,
    arguments: options.Arguments = None,
    data: options.Data = None,
    target: options.Target = None,
    model: options.Model = None,
    min_lr: Annotated[float, typer.Option("--min-lr", help="The lowest rate.")] = 1e-7,
    max_lr: Annotated[float, typer.Option("--max-lr", help="The highest rate.")] = 10.0,
    steps: Annotated[
        int, typer.Option("--steps", help="Of the ramp, each at its own rate; in constant mode, of every rate.")
    ] = 100,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many ramps, side by side: the median is read.")] = 4,
    mode: Annotated[
        Literal["ramp", "constant"],
        typer.Option("--mode", help="One training through all rates, or one for each rate, side by side."),
    ] = "ramp",
    rates: Annotated[int, typer.Option("--rates", help="How many rates constant mode tries.")] = 32,
    linear: Annotated[bool, typer.Option("--linear", help="Even distances between rates, instead of even factors.")] = False,
    validation: Annotated[
        bool, typer.Option("--validation", help="Read the loss of the validation part, instead of each mini-batch's.")
    ] = False,
    smoothing: Annotated[float, typer.Option("--smoothing", help="Beta of the ramp's exponential smoothing.")] = 0.9,
    stop: Annotated[float, typer.Option("--stop", help="End a ramp at so many times its lowest smoothed loss.")] = 4.0,
    compare: Annotated[
        str | None,
        typer.Option("--compare", metavar="KEY=A,B,...", help="A curve for each value, such as optimizer.weight_decay=0,1e-4."),
    ] = None,
    batch_sizes: Annotated[
        str | None, typer.Option("--batch-sizes", metavar="A,B,...", help="Short for --compare train.batch_size=A,B,...")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="RUN",
            help="Begin with the best weights of a run; its own experiment, unless another is named.",
        ),
    ] = None,
    stored: Annotated[
        str | None,
        typer.Option("--from", metavar="RUN", help="Read the stored test of an earlier lr-find; nothing is trained."),
    ] = None,
    skip_start: Annotated[int, typer.Option("--skip-start", min=0, help="Points at the start that are not read.")] = 0,
    skip_end: Annotated[int, typer.Option("--skip-end", min=0, help="Points at the end that are not read.")] = 0,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FILE", help="Set what was found in this YAML file, comments kept.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="A name to find the run by.")] = None,
    store: options.Store = None,
    as_json: options.AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress; errors only.")] = False,
) -> None:
    """Find the learning rate: the loss at a ladder of rates, read by several rules. The run's folder keeps picture and numbers.

    Exit codes: 0 found, 1 no falling region, otherwise those of `dlx train`.
    """
    from dlx.config.load import validate_stored
    from dlx.config.rewrite import replace_text, rewritten
    from dlx.diagnose.lr_find import find, keep, reread
    from dlx.diagnose.range_curve import RangeTest, Skips
    from dlx.experiment.session import checkpoint_folder
    from dlx.report.console import for_people
    from dlx.report.lr_find import watch_range
    from dlx.store import check_name, find_run, open_store

    _check_options(ctx, mode, stored)
    check_name(name)
    constant = mode == "constant"
    test = RangeTest(
        min_lr, max_lr, rates if constant else steps, steps if constant else None, seeds, linear, validation, smoothing, stop
    )
    test.check()
    skips = Skips(skip_start, skip_end)
    with open_store(store, create=stored is None and weights is None) as opened:
        if stored is not None:
            run = find_run(opened, stored)
            found = reread(run, skips)
            config = validate_stored(run.config, f"run {run.id}")
            _check_write(write, config, len(found.findings))
        else:
            begin = None if weights is None else find_run(opened, weights)
            words = Words(arguments, data, target, model)
            variants = _variants(words, begin, compare if batch_sizes is None else f"train.batch_size={batch_sizes}")
            config = next(iter(variants.values()))
            _check_write(write, config, len(variants))
            events = find(variants, test, skips, None if begin is None else checkpoint_folder(begin.path))
            found = watch_range(events, for_people(), quiet=quiet)
            run = find_run(opened, keep(opened, found, config, name))
    written = write if found.falls else None
    if written is not None:
        replace_text(written, rewritten(written, found.findings[0].changes, config))
    _show(found, run, written, as_json=as_json)
    raise typer.Exit(0 if found.falls else 1)


def _check_options(ctx: typer.Context, mode: str, stored: str | None) -> None:
    """Raises `UsageError` for options that would do nothing."""
    given = {
        name for name, value in ctx.params.items() if str(ctx.get_parameter_source(name)).endswith("COMMANDLINE") and value
    }
    flags = {name: f"--{name.replace('_', '-')}" for name in given} | {"arguments": "recipe and overrides"}
    if stored is not None and (extra := sorted(given - ALWAYS)):
        raise UsageError(f"--from reads a stored test and trains nothing: leave out {', '.join(flags[name] for name in extra)}")
    other, options_of_other = ("constant", OF_CONSTANT) if mode == "ramp" else ("ramp", OF_RAMP)
    if extra := sorted(given & options_of_other):
        raise UsageError(f"{', '.join(flags[name] for name in extra)}: that is for --mode {other}")
    if {"compare", "batch_sizes"} <= given:
        raise UsageError("--batch-sizes is short for --compare train.batch_size=...: give one of the two")


def _variants(words: Words, begin: RunRecord | None, compare: str | None) -> dict[str, Experiment]:
    """The experiments to test, by what sets them apart."""
    from dlx.config.grammar import split_words
    from dlx.config.load import Document, without_auto
    from dlx.config.space import Choice, apply
    from dlx.report.words import value_word

    document, overrides = document_from(words)
    if begin is not None and words.split()[0] is None:
        document = Document(dict(begin.config), "")
    document, overrides, _ = without_auto(document, overrides)
    if compare is None:
        return {"": apply(document, overrides, {})}
    _, searched = split_words([compare])
    key, dimension = next(iter(searched.items()), ("", None))
    if not isinstance(dimension, Choice):
        raise UsageError(f"--compare {compare}: write KEY=A,B,... with at least two values")
    if key.startswith(UNCOMPARED):
        raise UsageError(
            f"--compare {key}: a range test has its own; compare what holds at every rate, such as optimizer.weight_decay"
        )
    return {f"{key}={value_word(value)}": apply(document, overrides, {key: value}) for value in dimension.choices}


def _check_write(file: Path | None, config: Experiment, findings: int) -> None:
    """Raises `DlxError` for a file in which what will be found cannot be set, before anything is trained."""
    from dlx.config.rewrite import rewritten
    from dlx.diagnose.range_curve import changed_keys

    if file is None:
        return
    if findings > 1:
        raise UsageError("--write sets one rate, and several were compared: test the one that is to be written alone")
    rewritten(file, dict.fromkeys(changed_keys(config.schedule), 0.5), config)


def _show(found: RangeFound, run: RunRecord, written: Path | None, *, as_json: bool) -> None:
    """Draws the picture, and prints what was found."""
    from dlx.report.console import for_output, print_json
    from dlx.report.figures import save
    from dlx.report.lr_find import draw_range, range_json, range_lines

    picture = run.path / "range-test.png"
    save(draw_range(found), picture)
    if as_json:
        print_json(range_json(found, run.id, picture, written))
        return
    console = for_output()
    for line in range_lines(found, run.id, picture, written):
        console.print(line, soft_wrap=line == str(picture))
