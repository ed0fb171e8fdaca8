"""What a check found, in one sentence."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["pass", "warn", "fail", "skip"]


@dataclass(frozen=True)
class Finding:
    """A check's verdict. `pass`: as it should be; `warn`: worth a look; `fail`: training would be in vain; `skip`: nothing could be said."""

    verdict: Verdict
    said: str
    """One sentence with what was measured; of a warning and a failure also what to do, and of a skip why."""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """Fit for JSON: what the verdict rests on."""
