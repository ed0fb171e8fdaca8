"""The command `dlx`: its list of commands, and the one place where an error becomes a sentence and an exit code."""

import sys
import traceback
from typing import Annotated

import typer

from dlx.cli.batch_find import batch_find
from dlx.cli.catalog import config, data, models, recipes
from dlx.cli.check import check
from dlx.cli.evaluate import evaluate
from dlx.cli.export import export
from dlx.cli.gradcheck import gradcheck
from dlx.cli.lr_find import lr_find
from dlx.cli.predict import predict
from dlx.cli.report import report
from dlx.cli.runs import runs
from dlx.cli.sample import sample
from dlx.cli.schedule import schedule
from dlx.cli.sweep import sweep
from dlx.cli.train import train
from dlx.errors import DlxError
from dlx.version import __version__


def build_app() -> typer.Typer:
    """The command line with all its commands."""
    app = typer.Typer(
        name="dlx",
        help="Train networks from a shell. `dlx train` learns real digits in seconds.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        callback=_global_options,
    )
    app.command("train")(train)
    app.command("lr-find")(lr_find)
    app.command("batch-find")(batch_find)
    app.command("check")(check)
    app.command("gradcheck")(gradcheck)
    app.command("evaluate")(evaluate)
    app.command("predict")(predict)
    app.command("sample")(sample)
    app.command("report")(report)
    app.command("export")(export)
    for name, group in (
        ("sweep", sweep),
        ("schedule", schedule),
        ("runs", runs),
        ("models", models),
        ("data", data),
        ("recipes", recipes),
        ("config", config),
    ):
        app.add_typer(group, name=name)
    return app


def main() -> None:
    """Runs the command line. An expected error is one sentence on stderr, with its traceback only under -v."""
    try:
        build_app()()
    except DlxError as error:
        _tell(f"error: {error}")
        sys.exit(error.exit_code)
    except (BrokenPipeError, SystemExit) as end:
        if isinstance(end, SystemExit) and not isinstance(end.__context__, BrokenPipeError):
            raise
        # The reader of our output has left, as `head` does, which Typer makes an exit. Python would complain again when it flushes.
        sys.stdout = None
        sys.exit(0)
    except KeyboardInterrupt:  # a second one, while the first one's work was being put in order
        sys.exit(130)
    except Exception as error:
        _tell(f"error: {type(error).__name__}: {error} (this should not happen; `dlx -v ...` shows where)")
        sys.exit(1)


def _tell(sentence: str) -> None:
    if {"-v", "--verbose"} & set(sys.argv):
        traceback.print_exc()
    sys.stderr.write(sentence + "\n")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dlx {__version__}")
        raise typer.Exit


def _global_options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show tracebacks of errors.")] = False,
) -> None:
    """Options before the command. Verbosity is read from the arguments in `_tell`: it must hold for parse errors too."""
    del version, verbose
