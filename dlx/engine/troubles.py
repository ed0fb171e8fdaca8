"""What a task says that goes wrong while it trains: told once, and not before it lasts."""

from collections.abc import Mapping, Sequence

LASTING = 3
"""Evaluations in a row at which a trouble is there before it is told: at the beginning much looks wrong."""


class Troubles:
    """What a task says that is wrong, told once for each kind of trouble, when it is there at `LASTING` evaluations in a row."""

    def __init__(self) -> None:
        self._times: dict[tuple[str, int], int] = {}
        self._told: set[str] = set()

    def new(self, said: Sequence[Mapping[str, str]]) -> list[str]:
        """The sentences to be told now, of what is said of each lane."""
        now = {(name, lane): sentence for lane, troubles in enumerate(said) for name, sentence in troubles.items()}
        self._times = {trouble: self._times.get(trouble, 0) + 1 for trouble in now}
        fresh = list[str]()
        for (name, lane), sentence in now.items():
            if self._times[name, lane] >= LASTING and name not in self._told:
                self._told.add(name)
                fresh.append(sentence if len(said) == 1 else f"lane {lane}: {sentence}")
        return fresh
