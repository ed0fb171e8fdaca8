"""Stores to test with: a fresh SQLite file, and a fresh database on a PostgreSQL server that the tests start themselves."""

import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dlx.store import NewRun, Store, open_store


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/results/dlx.db"


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    with open_store(sqlite_url) as store:
        yield store


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The folder of a running server's socket."""
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("no PostgreSQL driver: pip install 'dlx[postgres]'")
    binaries = _postgres_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server on this machine (apt-get install postgresql)")
    user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name  # the server refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="dlx-pg-"))  # a short path: a socket's may have 107 characters
    if os.getuid() == 0:
        shutil.chown(folder, user)
    folder.chmod(0o755)

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [binaries / program, *arguments], user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=60
        )

    data = str(folder / "data")
    run("initdb", "--no-sync", "--auth=trust", "--username=tester", "--encoding=UTF8", "--no-locale", "-D", data)
    run("pg_ctl", "start", "-w", "-D", data, "-l", str(folder / "log"), "-o", f"-k {folder} -c listen_addresses='' -F")
    try:
        yield str(folder)
    finally:
        run("pg_ctl", "stop", "-m", "immediate", "-D", data)
        shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty schema of its own: as good as a database, and 40 times faster to make."""
    import psycopg

    schema = f"t{os.urandom(4).hex()}"
    with psycopg.connect(host=postgres_server, user="tester", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
        yield f"postgresql://tester@/postgres?host={postgres_server}&options=-csearch_path%3D{schema}"
        connection.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture(params=["sqlite", "postgres"])
def any_url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def any_store(any_url: str) -> Iterator[Store]:
    with open_store(any_url) as store:
        yield store


@pytest.fixture
def new_run() -> Callable[..., NewRun]:
    """A run to start, with what the test cares about."""

    def make(**changes: Any) -> NewRun:
        described: dict[str, Any] = {
            "name": "digits",
            "config": {"model": {"kind": "mlp", "hidden": [64, 32]}, "optimizer": {"lr": 0.001, "clip_norm": None}},
            "environment": {"jax": "0.10.2", "commit": "abc"},
            "steps_total": 100,
            "steps_per_epoch": 10,
            "monitor": "validation/accuracy",
            "direction": "maximize",
            "command": "dlx train",
            "device": "cpu",
        }
        return NewRun(**{**described, **changes})

    return make


@pytest.fixture
def spawn() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts another Python process on a program text with arguments; it is dead when the test ends.

    Its standard input is a pipe: a program that reads a line waits for the test to say go.
    """
    started: list[subprocess.Popen[str]] = []

    def start(program: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", _PRELUDE + program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


_PRELUDE = """
import os, sys, time
from dlx.errors import *
from dlx.store import *
NEW = NewRun(config={}, environment={}, steps_total=100, steps_per_epoch=10, monitor="validation/loss", direction="minimize")
"""


def _postgres_binaries() -> Path | None:
    found = shutil.which("pg_ctl")
    if found:
        return Path(found).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: float(path.parts[-3]))
    return installed[-1].parent if installed else None
