"""Options that several commands share."""

from typing import Annotated, Literal

import typer

Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="DLX_STORE",
        help="Where runs are kept: a SQLite file or a postgresql+psycopg:// URL.",
        show_default="results/dlx.db",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Arguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RECIPE|FILE.yaml|KEY=VALUE",
        help="A recipe (`dlx recipes ls`) or a YAML file, then overrides such as optimizer.lr=3e-4. Without one: digits-mlp.",
        show_default=False,
    ),
]
Data = Annotated[
    str | None,
    typer.Option("--data", metavar="PATH", help="Your data: a CSV, Parquet or NPZ file, a folder of images, or data.py:load."),
]
Target = Annotated[
    list[str] | None, typer.Option("--target", metavar="COLUMN", help="The column of --data to predict (repeat for several).")
]
Model = Annotated[str | None, typer.Option("--model", metavar="net.py:Net", help="Your own Flax NNX network.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="An id, the beginning of one, a name, or `latest`.")]
Split = Annotated[
    Literal["test", "validation", "train", "all"] | None,
    typer.Option("--split", help="The part of the run's own data. Without it test, or what there is."),
]
SliceBy = Annotated[
    list[str] | None,
    typer.Option(
        "--slice", metavar="COLUMN[:N]", help="The metrics by a column's values, or by N intervals of it (repeatable)."
    ),
]
Baselines = Annotated[bool, typer.Option(help="Also what simple models reach on the same examples.")]
