"""Samples on a terminal and in files: images as a PNG grid, text as text, either as arrays."""

from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from rich.console import Console

from dlx.errors import CannotWriteError, UsageError
from dlx.evaluation.gallery.pictures import Images, Sampled
from dlx.report.files import make_folder, whole_file
from dlx.report.gallery import gallery_lines, pixels
from dlx.report.words import plural

DEFAULT: Final = Path("samples.png")
"""Where images go of which nobody said it."""
ENDINGS: Final = (".png", ".txt", ".npz")
_BEGINNINGS: Final = MappingProxyType({".png": b"\x89PNG", ".npz": b"PK\x03\x04"})
"""The first bytes of what may be replaced; of text nothing can be told."""
ENLARGED: Final = 448
"""Pixels of the shorter side that a PNG has at least: small images are enlarged by whole factors."""


def check_ending(path: Path | None) -> None:
    """Raises `UsageError` for a file whose ending says nothing that can be written."""
    if path is not None and path.suffix.lower() not in ENDINGS:
        raise UsageError(f"--out {path}: the ending says what to write: {', '.join(ENDINGS)}")


def samples_file(path: Path | None, *, images: bool) -> Path | None:
    """Where samples are written, before any are made: `path`, or the usual place of images; None for text without a file.

    Raises `UsageError` for an ending that does not suit and for a file that is there and holds something else, `CannotWriteError` for
    a folder.
    """
    check_ending(path)
    if path is None:
        if not images:
            return None
        path = DEFAULT
    ending = path.suffix.lower()
    if ending != ".npz" and (ending == ".png") != images:
        raise UsageError(
            f"--out {path}: this network makes {'images: name a .png' if images else 'text: name a .txt'} or .npz file"
        )
    if path.is_dir():
        raise CannotWriteError(f"{path}: cannot be written: it is a folder; name a file, such as {path / DEFAULT}")
    if ending in _BEGINNINGS and path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            if file.read(4) != _BEGINNINGS[ending]:
                raise UsageError(
                    f"--out {path} is there and is no {ending[1:].upper()} file: choose another --out, or remove it"
                )
    return path


def write_samples(made: Sampled, path: Path) -> None:
    """Writes the file that `samples_file` found right, whole or not at all. Raises `CannotWriteError`."""
    make_folder(path.parent)
    with whole_file(path) as temporary, temporary.open("wb") as file:
        if path.suffix.lower() == ".npz":
            np.savez(file, samples=made.values)
        elif isinstance(made.shown, Images):
            _write_png(made.shown, file)
        else:
            file.write(("\n\n".join(row[-1] for row in made.shown.rows) + "\n").encode("utf-8", "replace"))


def show_samples(made: Sampled, console: Console, path: Path | None) -> None:
    """Text as it is; small images in a terminal with colours; where the file is."""
    if isinstance(made.shown, Images):
        for line in gallery_lines(made.shown, console):
            console.print(line)
    elif path is None:
        for at, row in enumerate(made.shown.rows):
            console.print(("\n" if at else "") + row[-1], markup=False, highlight=False, soft_wrap=True)
    if path is not None:
        console.print(f"{plural(len(made.values), 'sample')} in {path}", markup=False, soft_wrap=True)


def samples_json(made: Sampled) -> dict[str, Any]:
    """Texts in full; of images how many and how large."""
    if isinstance(made.shown, Images):
        return {"images": len(made.values), "shape": list(made.values.shape[1:])}
    return {"texts": [row[-1] for row in made.shown.rows]}


def _write_png(images: Images, file: Any) -> None:
    from PIL import Image

    whole = pixels(images)
    factor = max(1, -(-ENLARGED // min(whole.shape[:2])))
    array = whole[..., 0] if whole.shape[-1] == 1 else whole
    picture = Image.fromarray(array)
    picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST).save(file, format="PNG")
