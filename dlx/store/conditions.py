"""What a condition on runs means, once `query` has read it: keys, comparisons, `and`, `or`, `not`; and the order of runs."""

import json
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from dlx.store.summary import RunSummary

ORDER: Final[Mapping[str, Callable[[float, float], bool]]] = MappingProxyType(
    {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
)


@dataclass(frozen=True)
class Key:
    """Where a value stands in a run: `("metrics", "test/accuracy")`, `("config", "model", "kind")`, `("status",)`."""

    path: tuple[str, ...]
    text: str
    """As it was typed."""

    def of(self, run: RunSummary) -> Any:
        """The value that a run has there; None where it has none."""
        match self.path:
            case ("metrics", name):
                return run.metrics.get(name)
            case ("seconds", name):
                return run.seconds.get(name)
            case ("config", *parts):
                value: Any = run.config
                for part in parts:
                    value = value.get(part) if isinstance(value, Mapping) else None
                return value
        return getattr(run, self.path[0])


@dataclass(frozen=True)
class Operand:
    """What is compared with. In quotes it is a text, otherwise whatever YAML would make of it: `null`, `true`, `[64, 32]`."""

    text: str
    quoted: bool
    number: float | None

    def equals(self, value: Any) -> bool:
        """Whether a run's value is this one."""
        if isinstance(value, str):  # as it is: an id such as 12e34567 is no number
            return value == self.text
        found = None if self.number is None else as_number(value)
        if found is not None and self.number is not None:
            return found == self.number or (math.isnan(found) and math.isnan(self.number))
        if value is None and self.quoted:
            return False
        return _words(value).replace(" ", "") == self.text.replace(" ", "")


@dataclass(frozen=True)
class Comparison:
    """A key against one value or several. A run without the value satisfies only `!=`, `!~`, `not in` and `=null`."""

    key: Key
    sign: str
    """One of `=`, `<`, `<=`, `>`, `>=`, `~`, `in`."""
    operands: tuple[Operand, ...]
    negated: bool = False

    def holds(self, run: RunSummary) -> bool:
        """Whether the run satisfies it."""
        value, first = self.key.of(run), self.operands[0]
        if self.sign in ORDER:
            found = as_number(value)
            return found is not None and first.number is not None and ORDER[self.sign](found, first.number)
        if self.sign == "~":
            return (value is not None and first.text.casefold() in _words(value).casefold()) != self.negated
        return any(operand.equals(value) for operand in self.operands) != self.negated

    def keys(self) -> Iterator[Key]:
        """What it looks at."""
        yield self.key


@dataclass(frozen=True)
class Combination:
    """Several conditions, of which all must hold, or one of them."""

    parts: "tuple[Condition, ...]"
    every: bool

    def holds(self, run: RunSummary) -> bool:
        """Whether the run satisfies it."""
        return (all if self.every else any)(part.holds(run) for part in self.parts)

    def keys(self) -> Iterator[Key]:
        """What it looks at."""
        for part in self.parts:
            yield from part.keys()


@dataclass(frozen=True)
class Negation:
    """What must not hold."""

    part: "Condition"

    def holds(self, run: RunSummary) -> bool:
        """Whether the run satisfies it."""
        return not self.part.holds(run)

    def keys(self) -> Iterator[Key]:
        """What it looks at."""
        return self.part.keys()


Condition = Comparison | Combination | Negation


def sort_runs(runs: Sequence[RunSummary], key: Key, *, descending: bool) -> list[RunSummary]:
    """The runs by a key: numbers before words, and runs without the value last either way."""
    ranked = [(run, _rank(key.of(run))) for run in runs]
    has = sorted(((run, rank) for run, rank in ranked if rank is not None), key=lambda pair: pair[1], reverse=descending)
    return [run for run, _ in has] + [run for run, rank in ranked if rank is None]


def as_number(value: Any) -> float | None:
    """A number as it is, or a date as seconds since the epoch, on this machine's clock; None for what is neither."""
    match value:
        case bool() | None:
            return None
        case int() | float():
            return _float(value)
        case str():
            number = _float(value)
            return _date(value) if number is None else number
    return None


def _float(value: float | str) -> float | None:
    try:
        return float(value)
    except (ValueError, OverflowError):  # an integer in a config can be larger than any float
        return None


def _date(text: str) -> float | None:
    if not text[:4].isdigit():  # nearly all words: an attempt would take a hundred times as long
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _words(value: Any) -> str:
    """As it stands in YAML and JSON: true, null, [64, 32]."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _rank(value: Any) -> tuple[int, Any] | None:
    match value:
        case None:
            return None
        case float() if math.isnan(value):
            return None
        case bool() | int() | float():
            return 0, value
        case str():
            return 1, value
        case _:
            return 2, json.dumps(value)
