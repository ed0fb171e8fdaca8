"""Numbers in a person's own YAML file are changed where they stand: comments, order and blanks stay as they are."""

import re
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from dlx.config.experiment import Experiment
from dlx.config.load import parse_yaml
from dlx.errors import CannotWriteError, ConfigError

_SCALAR = re.compile(r"[^\s,}\]#]+")


def with_numbers(text: str, name: str, numbers: Mapping[str, float]) -> str:
    """The text of a config file with other numbers by dotted key `section.name`. `name` is the file's, for messages.

    The result is read again: unless it says what the text said, but for these numbers, `CannotWriteError` is raised.
    """
    expected = parse_yaml(text, name).tree
    for key, number in numbers.items():
        section, field = key.split(".")
        if not isinstance(expected.get(section, {}), dict):
            raise CannotWriteError(
                f"{name}: {section} is not a mapping there, so that {key} cannot be set; nothing was changed"
            )
        before = expected.get(section) or {"kind": Experiment.model_fields[section].default.kind}  # a section needs one
        expected = {**expected, section: {**before, field: number}}
        text = _with_number(text, section, field, _yaml(number))
    if not _says(text, expected):
        raise CannotWriteError(
            f"{name}: {', '.join(numbers)} cannot be set without changing more than that; set by hand "
            + ", ".join(f"{key}: {_yaml(number)}" for key, number in numbers.items())
        )
    return text


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
    if section not in tree:
        kind = Experiment.model_fields[section].default.kind
        end = "" if text.endswith("\n") else "\n"
        return f"{text}{end}{section}: {{kind: {kind}, {field}: {number}}}\n"
    inside: CommentedMap = tree[section]
    if field in inside:
        line, column = inside.lc.value(field)
        replaced = _SCALAR.sub(number, lines[line][column:], count=1)
        lines[line] = lines[line][:column] + replaced
    elif inside.fa.flow_style():
        line, column = inside.lc.line, inside.lc.col
        lines[line] = f"{lines[line][:column]}{{{field}: {number}, {lines[line][column + 1 :]}"
    else:
        line, column = inside.lc.key(next(iter(inside)))
        lines.insert(line, f"{' ' * column}{field}: {number}\n")
    return "".join(lines)
