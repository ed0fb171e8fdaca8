"""What import-linter holds, and what only a running process can show: which modules a command loads."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dlx.store import DEFAULT_URL, open_store

ROOT = Path(__file__).parents[2]
HEAVY = frozenset({"jax", "jaxlib", "flax", "optax", "optuna", "pandas", "sklearn", "matplotlib"})
"""What `dlx --help` and `dlx runs` have no time for."""

RUN_AND_LIST = """
import contextlib, io, json, sys
arguments = json.loads(sys.argv[1])
sys.argv = ["dlx", *arguments]
with contextlib.redirect_stdout(io.StringIO()) as out:
    try:
        from dlx.cli.app import main

        main()
        code = 0
    except SystemExit as stop:
        code = stop.code
print(json.dumps({"code": code or 0, "modules": sorted(sys.modules), "out": out.getvalue()}))
"""


def python(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout


def heavy(modules: list[str]) -> set[str]:
    return HEAVY.intersection(name.partition(".")[0] for name in modules)


def test_import_dlx_is_light() -> None:
    modules = json.loads(python("import dlx, json, sys; print(json.dumps(sorted(sys.modules)))"))
    assert "dlx" in modules
    assert not heavy(modules)


@pytest.mark.parametrize("arguments", [["--help"], ["runs", "--help"], ["runs", "ls"], ["recipes", "ls"], ["config", "schema"]])
def test_a_light_command_loads_nothing_heavy(arguments: list[str]) -> None:
    """`import jax` costs 0.6 s, NNX 1 s, Optuna 0.25 s: these commands answer before that."""
    with open_store(DEFAULT_URL):
        pass  # below the test's own folder: now there is a store to list
    answer = json.loads(python(RUN_AND_LIST, json.dumps(arguments)))
    assert answer["code"] == 0, answer["out"]
    assert not heavy(answer["modules"])


def test_the_contracts_of_pyproject_are_kept() -> None:
    """Layers point down, no cycles, and the libraries' homes: `lint-imports` says which import breaks which contract."""
    linter = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    done = subprocess.run(
        [sys.executable, "-c", linter, "--no-cache"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
