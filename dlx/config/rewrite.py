"""Numbers in a person's own YAML file are changed where they stand: comments, order, blanks and line ends stay as they are."""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from dlx.config.experiment import Experiment
from dlx.config.load import parse_yaml, read_text, validate, without_auto
from dlx.errors import CannotWriteError, ConfigError, MissingInputError

_SCALAR = re.compile(r"(?P<anchor>&\S+\s+)?[^\s,}\]#]+")


def rewritten(file: Path, numbers: Mapping[str, float], like: Experiment) -> str:
    """The text of an experiment's file with other numbers by dotted key `section.name`. Writes nothing.

    The numbers were found for the experiment `like`. Raises `MissingInputError` where there is no file, `CannotWriteError` where
    it cannot be written, is of another optimizer or schedule, or cannot be changed in these numbers alone, and `ConfigError`
    where it is no experiment.
    """
    if file.is_dir():
        raise CannotWriteError(f"{file}: this is a folder; name a config file in it")
    if not file.is_file():
        raise MissingInputError(f"{file}: no such file; a file that is there is changed")
    if not os.access(file, os.W_OK) or not os.access(file.resolve().parent, os.W_OK):
        raise CannotWriteError(f"{file}: this user cannot write it; nothing was changed")
    text = read_text(file)
    document, _, _ = without_auto(parse_yaml(text, str(file)), ())
    there = validate(document)
    for name in ("optimizer", "schedule"):
        was, tested = vars(there)[name].kind, vars(like)[name].kind
        if was != tested:
            raise CannotWriteError(f"{file}: its {name}.kind is {was}, and {tested} was tested; nothing was changed")
    text = with_numbers(text, str(file), numbers)
    validate(parse_yaml(text, str(file)))
    return text


def replace_text(file: Path, text: str) -> None:
    """Writes a file whole or not at all, through a link, and with the permissions that it has. Raises `CannotWriteError`."""
    path = file.resolve()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("xb") as opened:
            temporary.chmod(stat.S_IMODE(path.stat().st_mode))
            opened.write(text.encode())
            opened.flush()
            os.fsync(opened.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CannotWriteError(f"{file}: cannot be written: {error.strerror}; nothing was changed") from error


def with_numbers(text: str, name: str, numbers: Mapping[str, float]) -> str:
    """The text of a config file with other numbers by dotted key `section.name`. `name` is the file's, for messages.

    The result is read again: unless it says what the text said, but for these numbers, `CannotWriteError` is raised.
    """
    expected, changed = parse_yaml(text, name).tree, text
    refusal = CannotWriteError(
        f"{name}: {', '.join(numbers)} cannot be set without changing more than that (an alias, a merge key, or no value yet): "
        "set by hand what is found"
    )
    for key, number in numbers.items():
        section, field = key.split(".")
        if not isinstance(expected.get(section, {}), dict):
            raise CannotWriteError(
                f"{name}: {section} is not a mapping there, so that {key} cannot be set; nothing was changed"
            )
        before = expected.get(section) or {"kind": Experiment.model_fields[section].default.kind}  # a section needs one
        expected = {**expected, section: {**before, field: number}}
        try:
            changed = _with_number(changed, section, field, _yaml(number))
        except (KeyError, IndexError, StopIteration) as error:  # it stands nowhere, as under a merge key, or has no value yet
            raise refusal from error
    if not _says(changed, expected):
        raise refusal
    return changed


def _says(text: str, expected: Mapping[str, Any]) -> bool:
    try:
        return parse_yaml(text, "").tree == expected
    except ConfigError:
        return False


def _yaml(number: float) -> str:
    """As YAML 1.1 takes it for a number too: with a point before the exponent."""
    text = f"{number:g}"
    return text if "e" not in text or "." in text else text.replace("e", ".0e")


def _with_number(text: str, section: str, field: str, number: str) -> str:
    tree = YAML(typ="rt", pure=True).load(text)
    lines = text.splitlines(keepends=True)
    end = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    if section not in tree:
        kind = Experiment.model_fields[section].default.kind
        last = "" if text.endswith("\n") else end
        return f"{text}{last}{section}: {{kind: {kind}, {field}: {number}}}{end}"
    inside: CommentedMap = tree[section]
    if field in inside:
        line, column = inside.lc.value(field)
        lines[line] = lines[line][:column] + _SCALAR.sub(
            lambda found: f"{found['anchor'] or ''}{number}", lines[line][column:], count=1
        )
    elif inside.fa.flow_style():
        line, column = inside.lc.line, inside.lc.col
        lines[line] = f"{lines[line][:column]}{{{field}: {number}, {lines[line][column + 1 :]}"
    else:
        line, column = inside.lc.key(next(iter(inside)))
        lines.insert(line, f"{' ' * column}{field}: {number}{end}")
    return "".join(lines)
