"""Texts with their classes, from whatever they are kept in."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlx.config.text_data import LabelledText
from dlx.data.files import reading
from dlx.data.text_files import json_lines, part_of, read_lines, read_text, without_surrogates
from dlx.errors import DataError

_COMPRESSED = frozenset((".gz", ".bz2", ".xz", ".zip"))
JSON_ENDINGS = frozenset((".jsonl", ".ndjson", ".json"))
TABLE_ENDINGS = frozenset((".csv", ".tsv"))


@dataclass(frozen=True)
class LabelledTexts:
    """Texts and, one for each, the class: text, a number or a bool."""

    texts: list[str]
    labels: list[Any]
    left_out: int = 0
    """How many had no text or no class."""


def read_labelled_texts(path: Path, config: LabelledText) -> LabelledTexts:
    """All texts of a file or folder, as the config describes it. Raises `DataError` where there are none, or a field is not there."""
    if not path.is_dir():
        if config.files:
            raise DataError(f"{path} is a file, and data.files names files in a folder: set data.path to the folder")
        ending = file_ending(path)
        if ending in JSON_ENDINGS:
            found = _from_json(path, config)
        elif ending in TABLE_ENDINGS:
            found = _from_table(path, config)
        else:
            raise DataError(f"{path}: texts with classes are read from .jsonl and .csv files, and from folders")
    else:
        found = _from_classes({label: path / name for label, name in (config.files or _class_folders(path)).items()})
    if not found.texts:
        raise DataError(f"{path} has no text with a class")
    return found


def part_folders(path: Path) -> dict[str, Path]:
    """The folders called `train`, `valid` and `test` in a folder, by part; none where there is no `train`.

    Raises `DataError` where two are for one part.
    """
    if not path.is_dir():
        return {}
    found: dict[str, list[Path]] = {}
    with reading(path):
        for folder in sorted(path.iterdir()):
            if folder.is_dir() and not folder.name.startswith((".", "_")) and (part := part_of(folder.name)):
                found.setdefault(part, []).append(folder)
    if "train" not in found:
        return {}
    for part, (first, *more) in found.items():
        if more:
            raise DataError(
                f"{path} holds {first.name} and {more[0].name}, both for {part}: leave one of them, or name a single folder"
            )
    return {part: folder for part, (folder,) in found.items()}


def file_ending(path: Path) -> str:
    """The ending that says what is in a file, `.jsonl` of `a.jsonl.gz`, in lower case."""
    endings = [ending.lower() for ending in path.suffixes]
    return next((ending for ending in reversed(endings) if ending not in _COMPRESSED), "")


def texts_of_json(path: Path, field: str) -> Iterable[tuple[int, str, dict[str, Any]]]:
    """The number of each line, its text, and all its fields. Raises `DataError` where the field is no text; without it the text is empty."""
    for line, fields in json_lines(path):
        text = fields.get(field)
        if text is not None and not isinstance(text, str):
            raise DataError(f"{path}, line {line:,}: {field!r} is {text!r:.50} and not text: name the field with data.text")
        yield line, without_surrogates(text or ""), fields


def require_column(where: str, name: str, columns: Iterable[str]) -> None:
    """Raises `DataError` where a table has no such column."""
    if name not in (there := [str(each) for each in columns]):
        raise DataError(
            f"{where} has no column {name!r}, only {', '.join(there[:8])}: this is where the texts or classes are looked for "
            "(data.text, data.target)"
        )


def _from_json(path: Path, config: LabelledText) -> LabelledTexts:
    texts: list[str] = []
    labels: list[Any] = []
    left, seen = 0, set[str]()
    for _, text, fields in texts_of_json(path, config.text):
        label = fields.get(config.target)
        seen |= fields.keys()
        if text.strip() and isinstance(label, str | int | float):
            texts.append(text)
            labels.append(label)
        else:
            left += 1
    for name, key in ((config.text, "text"), (config.target, "target")):
        if seen and name not in seen:
            raise DataError(f"{path} has no field {name!r}, only {', '.join(sorted(seen)[:8])}: name it with data.{key}")
    return LabelledTexts(texts, labels, left)


def _from_table(path: Path, config: LabelledText) -> LabelledTexts:
    from dlx.data.read_table import read_csv  # with pandas, for CSV only

    names = config.text, config.target
    frame = read_csv(path, ("",), text=names)
    for name in names:
        require_column(str(path), name, frame.columns)
    whole = frame[frame[config.text].fillna("").str.strip().ne("") & frame[config.target].notna()]
    return LabelledTexts(whole[config.text].tolist(), whole[config.target].tolist(), len(frame) - len(whole))


def _from_classes(places: dict[str, Path]) -> LabelledTexts:
    """Of each class a file with one text a line, or a folder of .txt files."""
    texts: list[str] = []
    labels: list[str] = []
    for label, place in places.items():
        found = [read_text(file) for file in texts_in(place)] if place.is_dir() else read_lines(place)
        kept = [text for text in found if text.strip()]
        texts.extend(kept)
        labels.extend([label] * len(kept))
    return LabelledTexts(texts, labels)


def _class_folders(path: Path) -> dict[str, str]:
    with reading(path):
        names = [folder.name for folder in sorted(path.iterdir()) if folder.is_dir() and texts_in(folder)]
    if len(names) < 2:
        raise DataError(
            f"{path} has {f'one folder with .txt files ({names[0]})' if names else 'no folders with .txt files'}: a folder for each "
            "class is needed, or data.files, as in data.files={positive: pos.txt, negative: neg.txt}"
        )
    return {name: name for name in names}


def texts_in(folder: Path, *, deep: bool = False) -> list[Path]:
    """The .txt files of a folder by name, compressed or not; with `deep` those in its folders too."""
    with reading(folder):
        found = folder.rglob("*") if deep else folder.iterdir()
        return sorted(file for file in found if file_ending(file) == ".txt" and not file.name.startswith("."))
