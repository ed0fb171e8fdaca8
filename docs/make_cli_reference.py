"""Prints docs/cli.md from the help that `dlx` itself shows: `python docs/make_cli_reference.py > docs/cli.md`.

A test compares the two, so the page cannot fall behind. Nothing here depends on the width of a terminal.
"""

import sys
from collections.abc import Iterator
from enum import Enum
from inspect import cleandoc
from typing import Any

import typer
from typer.core import TyperArgument, TyperGroup

from dlx.cli.app import build_app

HEAD = """\
# The command line

<!-- Made by `python docs/make_cli_reference.py > docs/cli.md`. Do not edit: change the help in dlx/cli instead. -->

Every command takes `--help`. What a command was asked for goes to stdout; progress, notes and errors go to stderr.
Wherever a command takes RUN, it is an id, the unique beginning of one, a name (the newest run of that name), or `latest`.
See [cron.md](cron.md) for exit codes, [config.md](config.md) for overrides, and [runs.md](runs.md) for `--where`.
"""


def reference() -> str:
    """The whole page."""
    parts = [HEAD, *(_section(path, command) for path, command in commands())]
    return "\n".join(parts)


def commands() -> Iterator[tuple[str, Any]]:
    """Every command by what one types, groups before what is in them."""
    yield from _walk("dlx", typer.main.get_command(build_app()))


def rows(command: Any) -> Iterator[tuple[str, str]]:
    """Each argument and option of a command as it is typed, with its help. `--help` itself is left out."""
    for param in command.params:
        values = vars(param)
        if not values["hidden"] and "--help" not in values["opts"]:
            yield _typed(param, values), _told(values)


def _walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield path, command
    if isinstance(command, TyperGroup):
        for name, sub in command.commands.items():
            yield from _walk(f"{path} {name}", sub)


def _section(path: str, command: Any) -> str:
    group = isinstance(command, TyperGroup)
    lines = [f"## {path}" if group else f"### {path}", "", cleandoc(command.help or ""), ""]
    if group:
        lines += [f"- `{path} {name}`: {_first(sub.help)}" for name, sub in command.commands.items()]
        lines.append("")
    table = list(rows(command))
    if table:
        lines += ["| argument or option | what |", "|---|---|"]
        lines += [f"| `{_cell(typed)}` | {_cell(told)} |" for typed, told in table]
        lines.append("")
    return "\n".join(lines)


def _typed(param: Any, values: dict[str, Any]) -> str:
    if isinstance(param, TyperArgument):
        return values["metavar"] or values["name"].upper()
    names = ", ".join([*values["opts"], *values["secondary_opts"]])
    return names if values["is_flag"] else f"{names} {values['metavar'] or _placeholder(values)}"


def _placeholder(values: dict[str, Any]) -> str:
    annotation = values["type_descriptor"].annotation
    return "N" if annotation is int else "TEXT" if annotation is str else "VALUE"


def _told(values: dict[str, Any]) -> str:
    annotation, default, shown = values["type_descriptor"].annotation, values["default"], values["show_default"]
    told = [values["help"] or ""]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        told.append(f"One of {', '.join(str(member.value) for member in annotation)}.")
    if isinstance(shown, str):
        told.append(f"Default: {shown}.")
    elif shown and default is not None and default is not False:
        told.append(f"Default: {str(default).lower()}.")
    if values["envvar"]:
        told.append(f"Environment variable: `{values['envvar']}`.")
    if values["required"]:
        told.append("Needed.")
    return " ".join(told)


def _first(help_text: str | None) -> str:
    return (help_text or "").partition("\n")[0]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.stdout.write(reference())
