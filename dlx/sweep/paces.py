"""How fast programs of so many lanes step, as the cohorts that trained have shown. The best time of each counts."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlx import engine
from dlx.errors import CannotWriteError


class Paces:
    """Seconds a step by structure and number of lanes; with a `file`, remembered between sweeps."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._known = _read(file) if file is not None else {}
        self._keys: dict[Any, str] = {}

    def of(self, structure: Any) -> Mapping[int, float]:
        """What is known of a structure: number of lanes -> seconds."""
        return self._known.get(self._key(structure), {})

    def add(self, structure: Any, lanes: int, seconds: float) -> None:
        """Takes a measurement down, if it is the best of its kind."""
        key = self._key(structure)
        if seconds >= self.of(structure).get(lanes, float("inf")):
            return
        if self._file is not None:
            self._known = _read(self._file) | self._known  # another process may have measured other structures
        self._known[key] = {**self._known.get(key, {}), lanes: seconds}
        if self._file is not None:
            with contextlib.suppress(CannotWriteError):  # a full disk, somebody else's folder: then this process alone knows
                engine.write_atomically(self._file, json.dumps(self._known).encode())

    def _key(self, structure: Any) -> str:
        if structure not in self._keys:
            self._keys[structure] = hashlib.sha256(str(structure).encode()).hexdigest()[:16]
        return self._keys[structure]


def _read(file: Path) -> dict[str, dict[int, float]]:
    """What a file holds. One that is absent or damaged holds nothing: all of it can be measured again."""
    try:
        stored = json.loads(file.read_bytes())
        return {key: {int(lanes): float(seconds) for lanes, seconds in paces.items()} for key, paces in stored.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
