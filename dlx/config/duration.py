"""Durations that carry their unit: `30 epochs`, `2000 steps`, `90 seconds`. One place turns them into steps."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

Unit = Literal["epochs", "steps", "seconds"]

_PATTERN = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]+)\s*")
_UNITS: tuple[tuple[tuple[str, ...], Unit, float], ...] = (
    (("step", "steps"), "steps", 1.0),
    (("epoch", "epochs"), "epochs", 1.0),
    (("s", "sec", "second", "seconds"), "seconds", 1.0),
    (("m", "min", "minute", "minutes"), "seconds", 60.0),
    (("h", "hour", "hours"), "seconds", 3600.0),
)


class Duration:
    """An amount of training with its unit, such as `Duration(30, "epochs")`. Immutable, hashable, ordered by nothing."""

    __slots__ = ("unit", "value")

    def __init__(self, value: float, unit: Unit) -> None:
        object.__setattr__(self, "value", float(value))
        object.__setattr__(self, "unit", unit)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Duration is immutable: cannot set {name}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Duration) and (self.value, self.unit) == (other.value, other.unit)

    def __hash__(self) -> int:
        return hash((self.value, self.unit))

    def __reduce__(self) -> tuple[type["Duration"], tuple[float, Unit]]:
        return Duration, (self.value, self.unit)

    def __repr__(self) -> str:
        return f"Duration.parse({str(self)!r})"

    def __str__(self) -> str:
        number = f"{self.value:g}" if float(f"{self.value:g}") == self.value else repr(self.value)
        return f"{number} {self.unit[:-1] if self.value == 1 else self.unit}"

    @classmethod
    def parse(cls, text: str) -> "Duration":
        """Reads `30 epochs`, `1 epoch`, `2000 steps`, `90s`, `10 minutes`, `1.5 h`.

        Raises `ValueError` for a missing unit, an unknown unit, or an amount that is not above zero.
        """
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a duration: write a number and a unit, such as '30 epochs' or '2000 steps'")
        value, word = float(match[1]), match[2].lower()
        for words, unit, factor in _UNITS:
            if word in words:
                if not 0 < value * factor < float("inf"):
                    raise ValueError(f"{text!r} is no duration above zero")
                return cls(value * factor, unit)
        raise ValueError(f"{text!r} has the unknown unit {match[2]!r}: use epochs, steps, seconds, minutes or hours")

    def steps(self, steps_per_epoch: int) -> int:
        """This duration in optimizer steps, rounded to the nearest whole one and never below one.

        Raises `ValueError` for a duration in seconds: only a clock can count those.
        """
        if self.unit == "seconds":
            raise ValueError(f"{self} is wall-clock time and has no number of steps")
        return max(1, round(self.value * (steps_per_epoch if self.unit == "epochs" else 1)))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        def validate(value: object) -> Duration:
            if isinstance(value, Duration):
                return value
            if isinstance(value, str):
                return cls.parse(value)
            if value is None:
                raise ValueError("is empty: write for example '30 epochs' or '2000 steps'")
            raise ValueError(f"{value!r} has no unit: write for example '{value} epochs' or '{value} steps'")

        return core_schema.no_info_plain_validator_function(
            validate, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^\s*[0-9.eE+-]+\s*[A-Za-z]+\s*$", "examples": ["30 epochs", "2000 steps"]}


def _in_steps(value: Duration) -> Duration:
    if value.unit == "seconds":
        raise ValueError(f"{value} is wall-clock time: write epochs or steps (and bound the time with --max-time)")
    return value


StepDuration = Annotated[Duration, AfterValidator(_in_steps)]
"""A duration that counts steps, never a clock."""
