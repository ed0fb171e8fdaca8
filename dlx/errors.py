"""The sentences dlx ends with: one exception tree, one table of outcomes, one set of exit codes.

Every error that a user can cause is a `DlxError` whose message says what happened, where, and what to do.
The command line prints that message alone (with the traceback under `-v`) and leaves with `exit_code`.
The codes are those of BSD's sysexits.h, so that cron and make can tell a bad config from a full disk.
"""

from collections.abc import Sequence
from enum import StrEnum


def first_of(names: Sequence[str], most: int, *, between: str = ", ") -> str:
    """Names for a sentence, at most so many: `a, b and 1,203 more`."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return between.join(names[:most]) + more


class DlxError(Exception):
    """An expected failure, told in one sentence. `exit_code` is what the process leaves with."""

    exit_code = 1


class RunFailedError(DlxError):
    """Training itself failed: a model that raises, an operation the device refuses."""

    exit_code = 1


class DeviceMemoryError(RunFailedError):
    """The device has too little memory for a program."""


class UsageError(DlxError):
    """The command line asks for something impossible, such as an unknown run."""

    exit_code = 2


class DataError(DlxError):
    """Data was found but cannot be used: truncated, of the wrong format, without the target, torn."""

    exit_code = 65


class MissingInputError(DlxError):
    """A file, a folder, a recipe or a download that should be there is not."""

    exit_code = 66


class CannotWriteError(DlxError):
    """The results folder or the store cannot be written: read-only, full, locked."""

    exit_code = 73


class BusyError(DlxError):
    """Another process holds what this one needs; trying again later can succeed."""

    exit_code = 75


class ConfigError(DlxError):
    """The experiment's description is wrong: an unknown key, a wrong type, an impossible combination."""

    exit_code = 78


class Status(StrEnum):
    """Where a run stands. Every status but `RUNNING` is final until the run is resumed."""

    RUNNING = "running"
    COMPLETED = "completed"
    DIVERGED = "diverged"
    PRUNED = "pruned"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    LOST = "lost"

    @property
    def exit_code(self) -> int:
        """What `dlx train` leaves with when its run ends so."""
        match self:
            case Status.COMPLETED | Status.PRUNED:
                return 0
            case Status.INTERRUPTED | Status.RUNNING:
                return 75
            case Status.DIVERGED | Status.FAILED | Status.LOST:
                return 1

    @property
    def resumable(self) -> bool:
        """Whether `--resume` can continue a run that ended so."""
        return self in (Status.INTERRUPTED, Status.FAILED, Status.LOST)
