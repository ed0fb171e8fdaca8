"""Hydra's sweep grammar: what a word of the command line searches.

`interval(1e-4, 1e-1)`, `tag(log, interval(1e-4, 1e-1))`, `int(interval(1, 8))`, `range(0, 10, 2)`, `choice(relu, gelu)`,
`32,64,128`. Everything else is one value: an override.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from pydantic import ValidationError

from dlx.config.overrides import Override, parse_override, parse_value
from dlx.config.space import Choice, Dimension, FloatRange, IntRange
from dlx.errors import ConfigError

_CALL = re.compile(r"\s*([A-Za-z_]\w*)\s*\(.*", re.DOTALL)
_FORMS = (
    "interval(low, high), range(start, stop, step), choice(a, b, ...), int(interval(low, high)), tag(log, interval(low, high))"
)


def parse_dimension(text: str) -> Dimension | None:
    """Reads what a word searches; None when it is a single value. Raises `ConfigError` when it is malformed."""
    if call := _CALL.fullmatch(text):
        return _function(call[1], text)
    if "," not in text:
        return None
    entries = _split(text, text)
    return _choice(entries, text) if len(entries) > 1 else None


def split_words(words: Sequence[str]) -> tuple[list[Override], dict[str, Dimension]]:
    """Sorts `key=value` words into overrides and searched dimensions. Of two dimensions of one key the later one holds."""
    overrides: list[Override] = []
    search: dict[str, Dimension] = {}
    for word in words:
        key, _, value = word.partition("=")
        dimension = None if word.startswith("~") else parse_dimension(value)
        if dimension is None:
            overrides.append(parse_override(word))
        else:
            search[".".join(parse_override(f"{key}=").path)] = dimension
    return overrides, search


def _function(name: str, text: str) -> Dimension:
    arguments = _arguments(text)
    match name:
        case "interval":
            low, high = _numbers(arguments, text, "interval(low, high)", (2,))
            return _build(FloatRange, text, {"low": low, "high": high})
        case "range":
            return _range(
                _numbers(arguments, text, "range(stop), range(start, stop) or range(start, stop, step)", (1, 2, 3)), text
            )
        case "choice":
            return _choice(arguments, text)
        case "int":
            return _int(arguments, text)
        case "tag":
            return _tag(arguments, text)
    raise ConfigError(f"search {text!r}: there is no {name}(...); write {_FORMS}, or quote the text to mean itself")


def _range(numbers: Sequence[int | float], text: str) -> Dimension:
    """Python's `range` for whole numbers, NumPy's `arange` for others; counted in decimals, so that 0.3 is three times 0.1."""
    start, stop = (0, numbers[0]) if len(numbers) == 1 else numbers[:2]
    step = numbers[2] if len(numbers) == 3 else 1
    if step <= 0:
        raise ConfigError(f"search {text!r}: the step is {step}; write range(start, stop, step) with a step above 0")
    first, last, by = (Fraction(repr(number)) for number in (start, stop, step))
    count = math.ceil((last - first) / by)
    if count < 2:
        raise ConfigError(f"search {text!r}: this range has fewer than two values, since it ends before {stop}; widen it")
    high = first + (count - 1) * by
    if all(isinstance(number, int) for number in numbers):
        return _build(IntRange, text, {"low": start, "high": int(high), "step": step})
    return _build(FloatRange, text, {"low": start, "high": float(high), "step": step})


def _choice(entries: Sequence[str], text: str) -> Dimension:
    for entry in entries:
        if _CALL.fullmatch(entry):
            raise ConfigError(f"search {text!r}: a choice is between values, but {entry!r} is none; quote it if it is text")
        if not entry:
            raise ConfigError(f"search {text!r}: an entry is empty; write choice(a, b, ...), or null for no value")
    return _build(Choice, text, {"choices": [parse_value(entry, text) for entry in entries]})


def _int(arguments: Sequence[str], text: str) -> Dimension:
    inner = parse_dimension(arguments[0]) if len(arguments) == 1 else None
    if not isinstance(inner, FloatRange) or inner.step is not None:
        raise ConfigError(f"search {text!r}: write int(interval(low, high))")
    if not all(float(end).is_integer() for end in (inner.low, inner.high)):
        raise ConfigError(f"search {text!r}: the ends must be whole numbers; write for example int(interval(1, 8))")
    return _build(IntRange, text, {"low": int(inner.low), "high": int(inner.high), "log": inner.log})


def _tag(arguments: Sequence[str], text: str) -> Dimension:
    inner = parse_dimension(arguments[1]) if len(arguments) == 2 and arguments[0] == "log" else None
    if inner is None or isinstance(inner, Choice):
        raise ConfigError(f"search {text!r}: write tag(log, interval(low, high)) or tag(log, int(interval(low, high)))")
    return _build(type(inner), text, {**inner.model_dump(), "log": True})


def _build(form: type[FloatRange | IntRange | Choice], text: str, values: Mapping[str, Any]) -> Dimension:
    try:
        return form.model_validate(values)
    except ValidationError as error:
        mistake = error.errors()[0]
        reason = str(mistake["ctx"]["error"]) if mistake["type"] == "value_error" else mistake["msg"]
        raise ConfigError(f"search {text!r}: {reason}") from error


def _numbers(arguments: Sequence[str], text: str, form: str, counts: tuple[int, ...]) -> list[int | float]:
    values = [parse_value(argument, text) for argument in arguments]
    if len(values) not in counts:
        raise ConfigError(f"search {text!r}: write {form}")
    for argument, value in zip(arguments, values, strict=True):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ConfigError(f"search {text!r}: {argument!r} is not a number; write {form}")
    return values


def _arguments(text: str) -> list[str]:
    """What stands between the parentheses of `name(...)`, which must end the text."""
    inner = text.strip()
    if _closing(inner) != len(inner) - 1:
        raise ConfigError(f"search {text!r}: the function does not end with its own parenthesis; write {_FORMS}")
    inner = inner[inner.index("(") + 1 : -1]
    return _split(inner, text) if inner.strip() else []


def _closing(text: str) -> int:
    """Where the first parenthesis of a well-formed text closes."""
    opened = text.index("(")
    return next(place for place, _, depth in _scan(text, text) if place > opened and depth == 0)


def _split(text: str, where: str) -> list[str]:
    """The entries between the commas that stand in no bracket and no quotes."""
    entries, start = [], 0
    for place, sign, depth in _scan(text, where):
        if sign == "," and depth == 0:
            entries.append(text[start:place].strip())
            start = place + 1
    return [*entries, text[start:].strip()]


def _scan(text: str, where: str) -> Iterator[tuple[int, str, int]]:
    """Every sign outside quotes with its place and the number of brackets open after it. Refuses what does not close.

    A quote opens where a value begins, so that `it's` is a word.
    """
    opened: list[str] = []
    quote, before = "", ","
    for place, sign in enumerate(text):
        if quote:
            escapes = len(text[:place]) - len(text[:place].rstrip("\\")) if quote == '"' else 0
            quote = "" if sign == quote and escapes % 2 == 0 else quote
            continue
        if sign in "'\"" and before in ",([{:":
            quote, before = sign, sign
            continue
        if sign in "([{":
            opened.append({"(": ")", "[": "]", "{": "}"}[sign])
        elif sign in ")]}" and (not opened or opened.pop() != sign):
            raise ConfigError(f"search {where!r}: {sign!r} closes nothing; write {_FORMS}, or quote the text")
        before = before if sign.isspace() else sign
        yield place, sign, len(opened)
    if quote or opened:
        raise ConfigError(f"search {where!r}: {quote or opened[-1]!r} is missing at the end; write {_FORMS}, or quote the text")
