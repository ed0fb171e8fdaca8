"""`dlx export`: a trained network for programs that do not know dlx."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dlx.cli import options
from dlx.errors import UsageError

if TYPE_CHECKING:
    from dlx.evaluation.export import Export
    from dlx.store import RunRecord

Format = Literal["safetensors", "stablehlo", "onnx"]
_WEIGHTS, _CONFIG, _CARD = "model.safetensors", "config.json", "README.md"


def export(
    format: Annotated[
        Format, typer.Option("--format", help="safetensors is a folder, the others are one file with a JSON beside it.")
    ],
    run: options.Run = "latest",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="PATH", help="That folder or file.", show_default="in the current folder, named as the run"
        ),
    ] = None,
    store: options.Store = None,
    as_json: options.AsJson = False,
) -> None:
    """Write a trained network for programs that do not know dlx: raw inputs in, outputs out, the standardization inside.

    safetensors: weights, config and model card as Hugging Face keeps them. stablehlo: one file for JAX on CPU, CUDA and TPU, any batch
    size from 1 (needs dlx[export]). onnx: one file for onnxruntime and others (needs dlx[onnx]). Each is compared with dlx's own outputs first.
    """
    from dlx.evaluation.export import export_run
    from dlx.experiment.restore import restore
    from dlx.report.console import for_output, for_people, print_json
    from dlx.store import find_run, open_store

    with open_store(store, create=False) as opened:
        record = find_run(opened, run)
        place = _free(out or Path(_default(record, format)), record, format)
        made = export_run(restore(record, opened), format)
    written, kept = _write(made, place)
    if as_json:
        print_json(_as_json(record, made, written, kept))
        return
    console = for_output()
    for line in _lines(made, written):
        console.print(line, soft_wrap=True, markup=False)
    for note in (*made.notes, *kept):
        for_people().print(f"note: {note}", soft_wrap=True, markup=False)


def _default(run: "RunRecord", format: Format) -> str:
    """`digits-mlp.onnx`, `digits-mlp-safetensors`: the run's name, or its id, as a file may be called."""
    stem = re.sub(r"[^\w.-]+", "-", run.name or "").strip("-.") or run.id
    return f"{stem}-safetensors" if format == "safetensors" else f"{stem}.{format}"


def _free(place: Path, run: "RunRecord", format: Format) -> Path:
    """The absolute place, before anything is computed. Raises `UsageError` where the export would go over something else."""
    place = place.expanduser().absolute()
    if format != "safetensors":
        if place.is_dir():
            raise UsageError(f"--out {place} is a folder: name the file in it that is to be written")
        beside = place.with_name(f"{place.name}.json")
        if (there := next((path for path in (place, beside) if _has_content(path)), None)) and not _described(beside):
            raise UsageError(f"{there} is there and is no export of dlx: choose another --out, or remove it")
        return place
    if place.is_file():
        raise UsageError(f"--out {place} is a file, and --format safetensors makes a folder: choose another --out")
    names = {path.name for path in place.iterdir() if not _is_left_over(path)} if place.is_dir() else set()
    if others := sorted(names - {_WEIGHTS, _CONFIG, _CARD}):
        raise UsageError(f"{place} holds something else, such as {others[0]}: choose another --out")
    if names and _described(place / _CONFIG).get("run") != run.id:
        raise UsageError(f"{place} holds the export of another run, or of something else: choose another --out, or remove it")
    return place


def _is_left_over(path: Path) -> bool:
    """Whether this is what a killed export had begun to write."""
    return path.suffix == ".tmp" and path.name.startswith(tuple(f".{name}." for name in (_WEIGHTS, _CONFIG, _CARD)))


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _described(path: Path) -> dict[str, object]:
    """The JSON of an export of dlx; nothing where this is none."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return tree if isinstance(tree, dict) and str(tree.get("format")).startswith("dlx-export-") else {}


def _write(made: "Export", place: Path) -> tuple[dict[Path, int], tuple[str, ...]]:
    """The files with their sizes, and what to say of one that was not written. Raises `CannotWriteError`."""
    from dlx.report.files import make_folder, whole_file

    make_folder(place if made.folder else place.parent)
    if made.folder:
        for path in filter(_is_left_over, tuple(place.iterdir())):
            path.unlink(missing_ok=True)
    written: dict[Path, int] = {}
    kept: tuple[str, ...] = ()
    # The JSON first: should this be killed, it says whose the rest is, and the next export replaces that.
    for name, content in sorted(made.files.items(), key=lambda item: not item[0].endswith(".json")):
        path = place / name if made.folder else place.with_name(place.name + name)
        if made.folder and name == _CARD and path.exists() and path.read_bytes() != content:
            kept = (f"{path} was there and may be edited: it is kept as it is; remove it to have it written anew",)
            continue
        with whole_file(path) as temporary:
            temporary.write_bytes(content)
        written[path] = len(content)
    return written, kept


def _lines(made: "Export", written: dict[Path, int]) -> list[str]:
    from dlx.report.words import bytes_

    lines = [f"wrote {path} ({bytes_(size)})" for path, size in written.items()]
    if made.check is not None:
        check = made.check
        exact = (
            "equal dlx's own bit for bit"
            if not check.difference
            else f"are dlx's own to {check.difference:.1e} of the largest one"
        )
        lines.append(f"outputs {exact}: {check.examples} random examples, by {check.by}")
    return lines


def _as_json(run: "RunRecord", made: "Export", written: dict[Path, int], kept: tuple[str, ...]) -> dict[str, object]:
    check = made.check
    return {
        "run": run.id,
        "format": made.format,
        "files": {str(path): size for path, size in written.items()},
        "check": None if check is None else {"by": check.by, "examples": check.examples, "difference": check.difference},
        "notes": [*made.notes, *kept],
    }
