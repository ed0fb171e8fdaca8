"""From the words of a command line to an experiment. Shared by every command that takes a recipe, a file or data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dlx.errors import MissingInputError, UsageError

if TYPE_CHECKING:
    from dlx.config import Experiment, Override
    from dlx.config.load import Document

TABLES: Final = {"csv": "csv", "tsv": "csv", "txt": "csv", "data": "csv", "parquet": "parquet", "pq": "parquet"}
Change = tuple[str, Any]
"""A dotted key of the config and its new value."""
COMPRESSED = ("gz", "bz2", "xz", "zip")


@dataclass(frozen=True)
class Words:
    """What the command line says of an experiment: `[RECIPE | FILE.yaml] [KEY=VALUE]...` and the short forms."""

    arguments: Sequence[str] | None = None
    data: str | None = None
    target: Sequence[str] | None = None
    model: str | None = None
    best_of: str | None = None
    """A sweep, whose best trial's experiment it is."""

    def split(self) -> tuple[str | None, list[Override], list[str]]:
        """The recipe or file, what the short forms say, and the words that are left."""
        from dlx.config import Override

        rest = list(self.arguments or ())
        source = rest.pop(0) if rest and "=" not in rest[0] and not rest[0].startswith("~") else None
        if source is None and self.data is not None:
            source = "table"
        changes = (*_data_changes(self.data, self.target), *_model_changes(self.model))
        return source, [Override(tuple(key.split(".")), value) for key, value in changes], rest

    @property
    def name(self) -> str:
        """What files about the experiment are called: the recipe, or the name of the file or of the data."""
        from dlx.config.load import DEFAULT_RECIPE

        source, _, _ = self.split()
        of_data = self.data is not None and not (self.arguments and self.arguments[0] == source)
        return Path(str(self.data).partition(":")[0] if of_data else source or DEFAULT_RECIPE).stem


def experiment_from(words: Words, store: str | None = None) -> Experiment:
    """The experiment that the words mean; `store` is where a sweep among them is kept. Imports the config classes, so only commands that run one call it."""
    from dlx.config.load import validate

    return validate(*document_from(words, store))


def tunable_from(words: Words, store: str | None = None) -> tuple[Experiment, bool]:
    """As `experiment_from`, where `optimizer.lr=auto` is allowed: whether its rate is to be found, too."""
    from dlx.config.load import validate, without_auto

    document, overrides, wanted = without_auto(*document_from(words, store))
    return validate(document, overrides), wanted


def document_from(words: Words, store: str | None = None) -> tuple[Document, list[Override]]:
    """What the words name, not yet validated: a tree, and the changes to it."""
    from dlx.config import parse_override
    from dlx.config.load import read

    source, short, rest = words.split()
    if words.best_of is not None and source is not None:
        raise UsageError("--from SWEEP brings its own experiment: leave out the recipe, and --data")
    origin = _winner(words.best_of, store) if words.best_of is not None else source
    return read(origin), [*short, *(parse_override(word) for word in rest)]


def _winner(sweep: str, store: str | None) -> dict[str, Any]:
    """The experiment of a sweep's best trial, as its run keeps it."""
    from dlx.store import find_run, find_sweep, open_store

    with open_store(store, create=False) as opened:
        found = find_sweep(opened, sweep)
        best = found.ranked[0] if found.ranked else None
        if best is None or best.run_id is None:
            raise UsageError(f"sweep {found.id} has no completed trial whose run is still kept: nothing to train")
        return find_run(opened, best.run_id).config


def _data_changes(data: str | None, target: Sequence[str] | None) -> list[Change]:
    if data is None:
        if target:
            raise UsageError("--target names a column of --data: give --data FILE too")
        return []
    kind = _data_kind(data)
    if kind == "python":
        return [("data.kind", kind), ("data.target", data)]
    overrides = [("data.kind", kind), ("data.path", data)]
    if kind in ("csv", "parquet"):
        if not target:
            raise UsageError(f"--data {data} is a table: name the column to predict with --target COLUMN")
        overrides.append(("data.target", target[0] if len(target) == 1 else list(target)))
    elif target:
        raise UsageError(f"--target is for tables; {data} brings its own targets: leave --target out")
    return overrides


def _data_kind(data: str) -> str:
    if ".py:" in data:
        return "python"
    path = Path(data).expanduser()
    if not path.exists():
        raise MissingInputError(f"--data {data}: no such file or folder")
    if path.is_dir():
        return "image-folder"
    suffixes = [s.lstrip(".").lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED and len(suffixes) > 1:
        suffixes.pop()
    last = suffixes[-1] if suffixes else ""
    if last == "npz":
        return "npz"
    if last == "tar":
        return "image-folder"
    if last not in TABLES:
        raise UsageError(
            f"--data {data}: the ending says neither csv, tsv, parquet, npz nor tar; write data.kind=... data.path=... instead"
        )
    return TABLES[last]


def _model_changes(model: str | None) -> list[Change]:
    return [] if model is None else [("model.kind", "python"), ("model.target", model)]
