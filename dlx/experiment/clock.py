"""Time as the loop may see it: how long each phase took, and when to save, to stop, or to listen for a signal."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from dlx.config import Duration
from dlx.events import Checkpointed, Compiled, Compiling, Decision, Evaluated, Event, Measured

ANSWER_SECONDS = 0.5
"""How long a signal may wait for the loop, and how often the display moves."""
FIRST_STEPS = 4
"""The first chunk is short: nobody knows yet how long a step takes."""


@dataclass
class Stopwatch:
    """Seconds by phase: what passed before an event belongs to what the event reports."""

    seconds: dict[str, float] = field(default_factory=dict)
    last: float = field(default_factory=time.perf_counter)

    def phase(self, event: Event) -> str:
        """The phase that ended with an event."""
        match event:
            case Compiled():
                return "compile"
            case Measured():
                return "train"
            case Evaluated():
                return "evaluate"
            case Checkpointed():
                return "checkpoint"
        return "other"

    def lap(self, phase: str) -> float:
        """Books the time since the last lap, in seconds, and returns it."""
        now = time.perf_counter()
        passed, self.last = now - self.last, now
        self.seconds[phase] = self.seconds.get(phase, 0.0) + passed
        return passed

    def add(self, other: "Stopwatch") -> None:
        """Takes over what another one measured in the meantime."""
        for phase, passed in other.seconds.items():
            self.seconds[phase] = self.seconds.get(phase, 0.0) + passed
        self.last = time.perf_counter()


class Pace:
    """Decides after each event whether to save, whether time is up, and how many steps to take before the next look."""

    def __init__(self, folders: tuple[Path | None, ...], every: Duration, steps_per_epoch: int, deadline: float | None) -> None:
        self.folders, self.every, self.steps_per_epoch = folders, every, steps_per_epoch
        self.deadline = deadline
        self.begin(0)

    def begin(self, step: int) -> None:
        """Counts from this step and from now."""
        self.step = self.saved_step = step
        self.saved_at = time.monotonic()

    @property
    def time_is_up(self) -> bool:
        """Whether the run's budget of wall-clock time is used up."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def decide(self, event: Event, seconds: float, stop: bool) -> Decision:
        """The answer to an event that took `seconds`. A stop saves too."""
        if isinstance(event, Compiling | Compiled):
            return Decision(stop=stop, max_steps=FIRST_STEPS)
        if not isinstance(event, Measured):
            return Decision(stop=stop)
        steps, self.step = event.step - self.step, event.step
        # Not more than twice as many as the last time: a first chunk is slower than all others, or measured by luck.
        most = max(1, min(int(ANSWER_SECONDS * steps / max(seconds, 1e-9)), 8 * steps))
        return Decision(stop=stop, save=self.save_now() if self._due() else (), max_steps=most)

    def save_now(self) -> tuple[Path | None, ...]:
        """The folders to save in; the next time is counted from here."""
        self.saved_step, self.saved_at = self.step, time.monotonic()
        return self.folders

    def _due(self) -> bool:
        if self.every.unit == "seconds":
            return time.monotonic() - self.saved_at >= self.every.value
        return self.step - self.saved_step >= self.every.steps(self.steps_per_epoch)
