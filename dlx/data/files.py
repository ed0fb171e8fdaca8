"""Reading files that may be compressed, and one sentence for each way in which that fails."""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from dlx.errors import DataError, MissingInputError


def existing(path: str, what: str) -> Path:
    """The file or folder the user named in `data.path`.

    Raises `MissingInputError` when it is not there, `DataError` for a pipe, as files are opened more than once.
    """
    found = Path(path).expanduser()
    if not found.exists():
        raise MissingInputError(f"{what}: there is no file or folder {found}")
    if is_pipe(path):
        raise DataError(
            f"{what}: {found} is a pipe or a device, which can be read only once: write its content to a file first"
        )
    return found


def is_pipe(path: str) -> bool:
    """Whether what is read of it is gone: a pipe, such as a shell makes of `<(command)`, or a device."""
    found = Path(path).expanduser()
    return found.exists() and not found.is_file() and not found.is_dir()


@contextmanager
def reading(path: Path) -> Generator[None]:
    """Turn what the system and the decompressors raise into one sentence that names the file."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: the compressed file is truncated or damaged ({error}): get it again") from error
    except FileNotFoundError as error:
        raise MissingInputError(f"there is no file {path}") from error
    except IsADirectoryError as error:
        raise MissingInputError(f"{path} is a folder, a file was expected") from error
    except PermissionError as error:
        raise MissingInputError(f"{path} may not be read: {error.strerror}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def open_binary(path: Path) -> io.BufferedIOBase:
    """Open for reading, decompressing gzip, bzip2, xz and single-member zip by their first bytes, whatever the name."""
    with path.open("rb") as file:
        head = file.read(6)
    if head.startswith(b"\x1f\x8b"):
        return gzip.open(path, "rb")
    if head.startswith(b"BZh"):
        return bz2.open(path, "rb")
    if head == b"\xfd7zXZ\x00":
        return lzma.open(path, "rb")
    if head.startswith(b"PK\x03\x04"):
        return _only_member(path)
    return path.open("rb")


def read_bytes(path: Path) -> bytes:
    """The whole content, decompressed. Raises `DataError` or `MissingInputError` with the file's name."""
    with reading(path), open_binary(path) as file:
        return file.read()


def _only_member(path: Path) -> io.BufferedIOBase:
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if not n.endswith("/") and not n.startswith("__MACOSX/")]
        if len(names) != 1:
            raise DataError(f"{path} holds {len(names)} files, one was expected: unpack it and name the file")
        return cast(io.BufferedIOBase, archive.open(names[0]))  # it keeps the file open, and reads as it is read
