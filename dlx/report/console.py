"""The two ways out: people read stderr, programs read stdout."""

import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from dlx import strict_json

WIDE = 200
"""The width of tables that go to a file or a pipe: nothing is cut there."""


class PatientConsole(Console):
    """A console whose reader may leave (a closed ssh session, `| head`) without ending the training behind it."""

    def on_broken_pipe(self) -> None:
        """Rich's hook: goes on in silence. Its own version exits."""
        self.quiet = True
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 (open until the end, when Python flushes it)


def for_people() -> Console:
    """Messages and progress, on stderr. Rich honours NO_COLOR, FORCE_COLOR, COLUMNS and TERM."""
    return PatientConsole(stderr=True, highlight=False, width=None if sys.stderr.isatty() else WIDE)


def for_output() -> Console:
    """What a command was asked for, on stdout. What its encoding cannot write is escaped there, as Python does on stderr."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # the name of a file may hold bytes that are no letters
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)


def print_json(tree: Mapping[str, Any]) -> None:
    """One JSON object on stdout, and nothing else."""
    # Half a surrogate pair, for a byte of a file's name that is no letter, is escaped by Python just as JSON does it.
    sys.stdout.write(strict_json.dumps(tree).encode("utf-8", "backslashreplace").decode() + "\n")
    sys.stdout.flush()
