"""The process of the command `dlx`, and of `python -m dlx`."""

import contextlib
import gc
import os
import sys

from dlx.cli.app import main


def command() -> None:
    """Runs the command line, and leaves at once.

    Python's own way out takes JAX apart piece by piece, which lasts most of a second and is of no use: what a command
    writes is closed and durable before its last word. Nor is garbage collected while modules are imported, where there is
    none; `engine.configure` switches that on again.
    """
    gc.disable()
    try:
        main()
        code: str | int | None = 0
    except SystemExit as end:
        code = end.code
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # its reader may have left
            with contextlib.suppress(BrokenPipeError):
                stream.flush()
    os._exit(1 if isinstance(code, str) else code or 0)


if __name__ == "__main__":
    command()
