"""Files that a command writes for people: whole or not at all, and a sentence where it cannot be done."""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path

from dlx.errors import CannotWriteError


@contextlib.contextmanager
def whole_file(path: Path) -> Generator[Path]:
    """A temporary path to write to, which takes the place of `path` at the end: the old file or the new one, never half of it.

    Raises `CannotWriteError`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.touch()  # Arrow, who may write it, tells less well why that cannot be
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise CannotWriteError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):  # there is nothing to remove, unless it was interrupted
            temporary.unlink()


def make_folder(path: Path) -> Path:
    """The folder, which is there afterwards. Raises `CannotWriteError`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWriteError(f"{path}: cannot be made a folder: {error.strerror}") from error
    return path
