"""The small language of `dlx runs ls`: `--where test/accuracy>0.9`, `--where config.model.kind=mlp`, `--sort -created`.

A key is a field of a run (`status`), a path into its config or seconds (`config.optimizer.lr`, `seconds.train`), or a
metric (`validation/loss`).
"""

import difflib
import json
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from dlx.errors import UsageError
from dlx.store.summary import FIELDS, RunSummary

_CONDITION: Final = re.compile(r"\s*([^<>=!\s]+)\s*(<=|>=|!=|==|=|<|>)\s*(.*?)\s*")
_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = MappingProxyType(
    {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
)


@dataclass(frozen=True)
class Condition:
    """One comparison. A run without the value satisfies only `!=` and `=null`."""

    key: str
    comparison: str
    operand: str

    def holds(self, run: RunSummary) -> bool:
        """Whether the run satisfies it."""
        value = look_up(run, self.key)
        if self.comparison in _COMPARE:
            number, bound = _number(value), _number(self.operand)
            return number is not None and bound is not None and _COMPARE[self.comparison](number, bound)
        return _same(value, self.operand) != (self.comparison == "!=")


def parse_condition(text: str) -> Condition:
    """Reads `key>value`, with one of `=`, `!=`, `<`, `<=`, `>`, `>=`. Raises `UsageError`."""
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise UsageError(f"--where {text!r}: write KEY=VALUE, with =, !=, <, <=, > or >=, such as 'test/accuracy>0.9'")
    key, comparison, operand = match.groups()
    _check_key(key, "--where")
    if comparison in _COMPARE and _number(operand) is None:
        raise UsageError(
            f"--where {text!r}: {operand!r} is neither a number nor a date such as 2026-01-31, and {comparison} needs one"
        )
    return Condition(key, "=" if comparison == "==" else comparison, operand)


def sort_runs(runs: Sequence[RunSummary], sort: str) -> list[RunSummary]:
    """The runs by a key, `-` before it for descending; numbers before words, and runs without the value last either way."""
    key = sort.removeprefix("-")
    _check_key(key, "--sort")
    ranked = [(run, _rank(look_up(run, key))) for run in runs]
    known = sorted(
        ((run, rank) for run, rank in ranked if rank is not None), key=lambda pair: pair[1], reverse=sort.startswith("-")
    )
    return [run for run, _ in known] + [run for run, rank in ranked if rank is None]


def look_up(run: RunSummary, key: str) -> Any:
    """The value a key means for a run; None where the run has none."""
    if key in FIELDS:
        return getattr(run, key)
    head, _, path = key.partition(".")
    match head:
        case "config":
            value: Any = run.config
        case "seconds":
            value = run.seconds
        case _:
            return run.metrics.get(key)
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _check_key(key: str, option: str) -> None:
    if key in FIELDS or key.startswith(("config.", "seconds.")) or "/" in key:
        return
    near = difflib.get_close_matches(key, [*FIELDS, f"config.{key}"], n=2)
    raise UsageError(
        f"{option}: runs have no {key!r}"
        + (f" (did you mean {' or '.join(near)}?)" if near else "")
        + f"; use a metric such as test/accuracy, a config path such as config.optimizer.lr, or one of {', '.join(FIELDS)}"
    )


def _number(value: Any) -> float | None:
    """A number as it is, or a date as seconds since the epoch, on this machine's clock; None for what is neither."""
    match value:
        case bool() | None:
            return None
        case int() | float():
            return float(value)
    try:
        return float(value)
    except (TypeError, ValueError):
        pass
    try:
        return datetime.fromisoformat(value).timestamp()
    except (TypeError, ValueError):
        return None


def _same(value: Any, operand: str) -> bool:
    number, wanted = _number(value), _number(operand)
    if number is not None and wanted is not None:
        return number == wanted or (math.isnan(number) and math.isnan(wanted))
    # As it stands in YAML and JSON: true, null, [64, 32].
    words = value if isinstance(value, str) else json.dumps(value)
    return words.replace(" ", "") == operand.replace(" ", "")


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
