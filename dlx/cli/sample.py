"""`dlx sample`: what does a trained network make up?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlx.cli import options


def sample(
    run: options.Run = "latest",
    count: Annotated[
        int | None,
        typer.Option(
            "--count", "-n", min=1, help="How many; of each --class. [default: 64 images, 1 text]", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Other samples for another one.")] = 0,
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="NAME", help="Of this class, for networks that are told one (repeatable)."),
    ] = None,
    interpolate: Annotated[
        int,
        typer.Option(
            "--interpolate", min=0, metavar="STEPS", help="Rows of so many images on the way from one sample to another."
        ),
    ] = 0,
    prompt: Annotated[
        str | None,
        typer.Option("--prompt", help="What the text begins with, or the sentence to translate.", show_default=False),
    ] = None,
    length: Annotated[
        int | None, typer.Option("--length", min=1, help="Tokens of a text. [default: 500]", show_default=False)
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            "--temperature",
            min=0.0,
            help="Below 1 the likely becomes likelier; 0 takes the likeliest. [default: 1, of a translation 0]",
            show_default=False,
        ),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", min=1, help="Draw from the so many likeliest tokens only.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="A .png, .txt or .npz file. [default: samples.png; text goes to stdout]", show_default=False
        ),
    ] = None,
    store: options.Store = None,
    as_json: options.AsJson = False,
) -> None:
    """Make examples with a generative network: a grid of images, or text. The same seed makes the same ones.

    Exit codes: 0, 2 for a run that makes nothing or not what is asked, 65 for a damaged checkpoint, 66 for a run without one, 73 where
    the file cannot be written.
    """
    from dlx.evaluation.sample import Wanted, makes_images, sample
    from dlx.experiment.restore import restore
    from dlx.report.console import for_output, for_people, print_json
    from dlx.report.samples import check_ending, samples_file, samples_json, show_samples, write_samples
    from dlx.store import find_run, open_store

    check_ending(out)  # before any work is done
    people, output = for_people(), for_output()
    with open_store(store, create=False) as opened:
        trained = restore(find_run(opened, run), opened)
    for notice in trained.notices:
        people.print(f"note: {notice}", markup=False)
    path = samples_file(out, images=makes_images(trained))
    wanted = Wanted(count, seed, temperature, top_k, length, prompt, tuple(classes or ()), interpolate)
    made = sample(trained, wanted)
    for note in made.notes:
        people.print(f"note: {note}", markup=False)
    if path is not None:
        write_samples(made, path)
    if as_json:
        print_json({"run": trained.run.id, "seed": seed, "out": str(path) if path else None, **samples_json(made)})
        return
    show_samples(made, output, path)
