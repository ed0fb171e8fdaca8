"""An SQLite file: how it is opened so that readers never block writers, also when it is read-only or on a network drive."""

import os
import sqlite3
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

BUSY_SECONDS: Final = 30.0
"""How long a transaction waits for another process's before it gives up."""

_NETWORK: Final = frozenset(
    (
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.glusterfs",
        "fuse.s3fs",
        "fuse.sshfs",
        "fuse.gcsfuse",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "orangefs",
        "pvfs2",
        "smb3",
        "smbfs",
    )
)


def is_writable(path: Path) -> bool:
    """Whether a connection to this existing file could write: the file, and its folder for the journal beside it."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK)


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A connection in autocommit mode (transactions are begun by hand) that waits `BUSY_SECONDS` for locks. Makes no folder."""
    mode = "mode=rwc"
    if read_only:
        # A database in WAL mode needs files beside it. Where they cannot be made and none are there, nobody writes.
        mode = "mode=ro" if _size(path.with_name(path.name + "-wal")) else "mode=ro&immutable=1"
    uri = f"file:{quote(str(path))}?{mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA foreign_keys=ON")
        # With a log, NORMAL survives a killed process whole and a power cut without damage; a plain journal needs FULL.
        connection.execute(f"PRAGMA synchronous={'FULL' if is_network_drive(path) else 'NORMAL'}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def choose_journal(connection: sqlite3.Connection, path: Path) -> None:
    """Sets the write-ahead log, or a plain journal where that is unsafe: its index is memory that machines cannot share.

    Raises `sqlite3.OperationalError` when another process holds the file for longer than `BUSY_SECONDS`.
    """
    wanted = "DELETE" if is_network_drive(path) else "WAL"
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode={wanted}")
            return
        except sqlite3.OperationalError as error:
            match error.sqlite_errorcode & 0xFF:
                case sqlite3.SQLITE_BUSY if time.monotonic() < deadline:
                    time.sleep(0.02)  # SQLite does not wait by itself for this change: two waiters could block each other
                case sqlite3.SQLITE_IOERR if wanted == "WAL":
                    wanted = "DELETE"
                case _:
                    raise


def is_network_drive(path: Path) -> bool:
    """Whether the file lies on a file system that several machines share, as far as /proc tells."""
    try:
        mounts = Path("/proc/self/mounts").read_text(errors="replace").splitlines()
    except OSError:
        return False
    kinds: dict[Path, str] = {}
    for line in mounts:
        _, point, kind, *_ = line.split(" ")
        kinds[Path(point.replace(r"\040", " "))] = kind
    return next((kinds[folder] in _NETWORK for folder in path.parents if folder in kinds), False)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
