"""Public data sets from the network into the cache folder: resumed, checksummed, renamed only when whole."""

import hashlib
import http.client
import sys
import urllib.error
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dlx.errors import CannotWriteError, DataError, MissingInputError

_BLOCK = 1 << 18  # bytes
_TIMEOUT = 30  # seconds without a byte
_REFUSED_RANGE = 416  # HTTP: nothing is left after the bytes we have
_PARTIAL_CONTENT = 206


@dataclass(frozen=True)
class RemoteFile:
    """One file of a data set. `algorithm` names the checksum as `hashlib` does, `digest` is its hexadecimal value."""

    name: str
    digest: str
    algorithm: str = "sha256"


def fetch(file: RemoteFile, folder: Path, base_urls: Sequence[str]) -> Path:
    """The path of `file` in `folder`, downloaded if it is not there yet, from the first of `base_urls` that has it.

    An interrupted download stays as `<name>.part` and is continued next time. Raises `MissingInputError` when no
    address answers, `DataError` when the content has another checksum, `CannotWriteError` when it cannot be stored.
    """
    path, part = folder / file.name, folder / f"{file.name}.part"
    if path.exists():
        return path
    problems: list[str] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / f"{file.name}.lock"):
            if path.exists():  # another process finished it while this one waited
                return path
            for base in base_urls:
                problem = _obtain(base.rstrip("/") + "/" + file.name, part, file)
                if problem is None:
                    part.replace(path)
                    return path
                problems.append(problem)
    except OSError as error:
        raise CannotWriteError(f"cannot store {path}: {error}; set DLX_CACHE to another folder") from error
    corrupt = any(file.algorithm in problem for problem in problems)
    raise (DataError if corrupt else MissingInputError)(
        f"cannot download {'; '.join(problems)}. Try again, or get the files elsewhere and set data.path= to their folder"
    )


def _obtain(url: str, part: Path, file: RemoteFile) -> str | None:
    """Bring `part` to the right content. Returns what went wrong, or None. A network's failure leaves `part` for next time."""
    resumed = part.exists()
    if problem := _download(url, part):
        return problem
    found = _digest(part, file.algorithm)
    if found == file.digest:
        return None
    part.unlink()
    if resumed:  # the old piece may have been of something else: once more, from the start
        return _obtain(url, part, file)
    return f"{url}: its {file.algorithm} is {found} and should be {file.digest}"


def _download(url: str, part: Path) -> str | None:
    """Append what is missing in `part`. Returns what went wrong with the network, or None; a disk's failure is raised."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        return None if have and error.code == _REFUSED_RANGE else f"{url}: HTTP {error.code} {error.reason}"
    except (OSError, http.client.HTTPException) as error:
        return f"{url}: {_reason(error)}"
    with response, part.open("ab" if response.status == _PARTIAL_CONTENT else "wb") as target:
        length = response.headers.get("Content-Length")
        left = None if length is None else int(length)
        while True:
            try:
                block = response.read(_BLOCK)
            except (OSError, http.client.HTTPException) as error:
                return f"{url}: {_reason(error)} after {target.tell():,} bytes"
            if not block:
                break
            target.write(block)
            left = None if left is None else left - len(block)
        if left:
            return f"{url}: the connection ended {left:,} bytes early"
    return None


def _reason(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(reason) or type(error).__name__


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


@contextmanager
def _alone(lock: Path) -> Generator[None]:
    """Hold back other processes that want the same file: two runs started at once must not write into one `.part`."""
    if sys.platform == "win32":  # no flock there; the checksum still catches a mixed-up file
        yield
        return
    import fcntl

    with lock.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
        lock.unlink(missing_ok=True)
