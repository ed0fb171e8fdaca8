"""Several processes of one machine at work on one sweep, each on its share of the cores or on its own GPUs.

Imports nothing of JAX: a share must be settled before JAX starts.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from dlx.errors import UsageError

_GPUS: Final = "CUDA_VISIBLE_DEVICES"
_MEMORY: Final = "XLA_PYTHON_CLIENT_MEM_FRACTION"
"""The environment's names for which GPUs a process sees, and how much of their memory it takes."""


class Crew:
    """The other workers of a sweep: `size - 1` processes that run the same command beside this one.

    Leaving the context ends them: at once after an error, or else when they have nothing left to do. What starts later in this
    process has all its cores and GPUs again.
    """

    def __init__(self, arguments: Sequence[str], size: int) -> None:
        self.arguments, self.size = list(arguments), size
        self._processes: list[subprocess.Popen[bytes]] = []
        self._cores = os.sched_getaffinity(0)
        self._gpus = {name: os.environ.get(name) for name in (_GPUS, _MEMORY)}

    def __enter__(self) -> "Crew":
        environments = [_share(index, self.size) for index in range(self.size)]
        command = [sys.executable, "-m", "dlx", *self.arguments, "--join", "--quiet"]
        for environment, cores in environments[1:]:
            self._processes.append(_start(command, environment, cores))
        os.environ.update(environments[0][0])
        if environments[0][1]:
            os.sched_setaffinity(0, environments[0][1])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.finish(stop=True)
        finally:
            os.sched_setaffinity(0, self._cores)
            for name, value in self._gpus.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value

    def running(self) -> bool:
        """Whether any of them still works."""
        return any(process.poll() is None for process in self._processes)

    def finish(self, *, stop: bool) -> list[int]:
        """Waits for them, after telling them to `stop` as SIGTERM does; their exit codes where those are not 0."""
        for process in self._processes:
            if stop and process.poll() is None:
                process.terminate()
        return [code for process in self._processes if (code := process.wait())]


def _share(index: int, size: int) -> tuple[dict[str, str], set[int]]:
    """A worker's environment and cores. Each has its own GPUs; more workers than GPUs share them, and their memory."""
    gpus = _gpus()
    if gpus:
        mine = gpus[index::size] or [gpus[index % len(gpus)]]
        sharing = -(-size // len(gpus))
        memory = {_MEMORY: f"{0.9 / sharing:.2f}"} if sharing > 1 else {}
        return {_GPUS: ",".join(mine), **memory}, set()
    cores = sorted(os.sched_getaffinity(0))
    if size > len(cores):
        raise UsageError(f"--workers {size}: this machine has {len(cores)} cores for them; give {len(cores)} or less")
    return {}, set(cores[index::size])


def _gpus() -> list[str]:
    visible = os.environ.get(_GPUS)
    if visible is not None:
        return [name for name in visible.split(",") if name.strip()]
    return [path.name.removeprefix("nvidia") for path in sorted(Path("/dev").glob("nvidia[0-9]*"))]


def _start(command: Sequence[str], environment: dict[str, str], cores: set[int]) -> subprocess.Popen[bytes]:
    """A process on those cores, which it has from its first instruction on: a child inherits them."""
    before = os.sched_getaffinity(0)
    if cores:
        os.sched_setaffinity(0, cores)
    try:
        # In a session of its own: a terminal's Ctrl-C comes to the first process alone, which passes it on, once.
        return subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
    finally:
        os.sched_setaffinity(0, before)
