"""What an examination says as it goes on, and how several observations make one finding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlx.diagnose.sanity.finding import Finding, Verdict

Problem = tuple[Verdict, str]
"""`warn` or `fail`, and a clause that says why and what to do."""


@dataclass(frozen=True)
class Checking:
    """A check begins."""

    name: str


@dataclass(frozen=True)
class Checked:
    """A check has ended."""

    name: str
    question: str
    """What it asked."""
    finding: Finding
    seconds: float


def finding_of(problems: Sequence[Problem], fine: str, numbers: Mapping[str, Any] | None = None) -> Finding:
    """The finding of all problems together: as bad as the worst, which come first. Without any, `fine` is what it says."""
    if not problems:
        return Finding("pass", fine, numbers or {})
    failures = [said for verdict, said in problems if verdict == "fail"]
    warnings = [said for verdict, said in problems if verdict != "fail"]
    return Finding("fail" if failures else "warn", "; ".join([*failures, *warnings]), numbers or {})
