"""Text in files, compressed or not, in folders and in zip archives: found by name, read as UTF-8."""

import codecs
import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from dlx.data.files import read_bytes, reading
from dlx.errors import DataError

_PARTS = MappingProxyType(
    {
        "train": "train",
        "training": "train",
        "val": "validation",
        "valid": "validation",
        "validation": "validation",
        "dev": "validation",
        "test": "test",
    }
)
_LETTERS = re.compile(r"[a-z]+")


def decode_text(content: bytes, where: str) -> str:
    """The text, with a newline after each line however it was ended. Raises `DataError` for what is not UTF-8, with the line."""
    try:
        text = content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{where}, line {line:,} is not UTF-8 text ({error.reason}): save it as UTF-8") from error
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def read_text(path: Path) -> str:
    """A file as text; of a zip archive its only file, beside hidden ones and those that begin with `_`."""
    with reading(path):
        if _is_zip(path):
            with zipfile.ZipFile(path) as archive:
                names = _members(archive)
                if len(names) != 1:
                    shown = ", ".join(names[:5]) or "nothing"
                    raise DataError(f"{path} holds {shown}, one file was expected: unpack it and name the file")
                return decode_text(archive.read(names[0]), f"{path}: {names[0]}")
    return decode_text(read_bytes(path), str(path))


def read_lines(path: Path) -> list[str]:
    """The lines of a file as `read_text` reads it, empty ones too."""
    return split_lines(read_text(path))


def split_lines(text: str) -> list[str]:
    """The lines, which only newlines end: Python's `splitlines` would also cut at other characters, and move all lines after it."""
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


def read_parts(path: Path) -> dict[str, str]:
    """The text by part: of a folder or a zip archive the files called `train`, `valid` and `test`; of a file it is all `train`.

    Raises `DataError` where no file is for train, or two are for one part.
    """
    if path.is_dir():
        with reading(path):
            files = {file.name: file for file in sorted(path.iterdir()) if file.is_file()}
        return {part: read_text(files[name]) for part, name in _named_parts(files, path).items()}
    with reading(path):
        if not _is_zip(path):
            return {"train": read_text(path)}
        with zipfile.ZipFile(path) as archive:
            names = _members(archive)
            if len(names) == 1:
                return {"train": decode_text(archive.read(names[0]), f"{path}: {names[0]}")}
            found = _named_parts(names, path)
            return {part: decode_text(archive.read(name), f"{path}: {name}") for part, name in found.items()}


def part_of(name: str) -> str | None:
    """`train`, `validation` or `test` where a file's or folder's name has that word, as `ptb.valid.txt` has; else None."""
    found = {_PARTS[word] for word in _LETTERS.findall(PurePosixPath(name).name.lower()) if word in _PARTS}
    return found.pop() if len(found) == 1 else None


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file that has one on each line, with the number of the line. Raises `DataError` for other lines."""
    for number, line in enumerate(read_lines(path), 1):
        if line.strip():
            yield number, parse_object(line, f"{path}, line {number:,}")


def parse_object(line: str, where: str) -> dict[str, Any]:
    """A JSON object. Raises `DataError`, beginning with `where`, for what is none."""
    try:
        found = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where} is not JSON ({error}): write one object a line") from error
    if not isinstance(found, dict):
        raise DataError(f"{where} is a JSON {type(found).__name__}: write one object a line, with named fields")
    return found


def without_surrogates(text: str) -> str:
    """The text without the halves of characters that JSON can hold and no file can."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _is_zip(path: Path) -> bool:
    """By its first bytes, where `zipfile.is_zipfile` reads the end of every file: class folders have a file for each text."""
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")  # the second one of an archive of nothing


def _members(archive: zipfile.ZipFile) -> list[str]:
    """Files that are meant to be read: Macs add hidden ones, and data sets an `_about.txt`."""
    names = (name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/"))
    return [name for name in names if not PurePosixPath(name).name.startswith((".", "_"))]


def _named_parts(names: Iterable[str], path: Path) -> dict[str, str]:
    """The name for each part that has one."""
    found: dict[str, str] = {}
    for name in names:
        part = None if name.startswith((".", "_")) else part_of(name)
        if part is not None and part in found:
            raise DataError(f"{path} holds {found[part]} and {name}, both for {part}: leave one of them, or name a single file")
        if part is not None:
            found[part] = name
    if "train" not in found:
        shown = ", ".join(list(names)[:5]) or "nothing"
        raise DataError(
            f"{path} holds {shown} and no file called train: name the file, or call its parts train, valid and test"
        )
    return {part: found[part] for part in ("train", "validation", "test") if part in found}
