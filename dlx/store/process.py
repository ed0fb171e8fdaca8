"""Which process holds a run, and whether it still lives: what tells a running run from a lost one."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """One process, named so that a later process with the same number is not taken for it.

    `space` says where `pid` means something: this boot of this machine and this PID namespace, because containers
    may share a host name and a machine's numbers start again when it boots. `started` is the kernel's start time in
    clock ticks since boot, 0 where the system does not tell.
    """

    host: str
    pid: int
    space: str
    started: int


def this_process() -> Process:
    """The process that asks."""
    state = _state_and_start(os.getpid())
    return Process(host=socket.gethostname(), pid=os.getpid(), space=_space(), started=state[1] if state else 0)


def is_alive(process: Process) -> bool | None:
    """Whether it still runs; None where that cannot be seen from here: another machine, another container, another boot."""
    if os.name != "posix" or process.space != _space():  # on Windows os.kill(pid, 0) would end the process
        return None
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is there and belongs to another user
    found = _state_and_start(process.pid)
    if found is None:
        return True
    state, started = found
    # A killed process whose parent has not read its exit code is a zombie, and answers signal 0 like a living one.
    return state not in "ZX" and process.started in (0, started)


def _space() -> str:
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _state_and_start(pid: int) -> tuple[str, int] | None:
    """The state letter and the start time of a process, None where there is no /proc or it hides this process."""
    try:
        # The second field is the program's name in parentheses; it may hold spaces and parentheses of its own.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return fields[0], int(fields[19])
    except (OSError, IndexError, ValueError):
        return None
