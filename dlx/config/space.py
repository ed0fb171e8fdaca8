"""The space that a sweep searches: dotted config keys, and for each the values it may take.

A dimension may carry `when`: conditions on other keys, each a value or a list of allowed values. It is searched only in
the trials where all of them hold. A condition's key is another searched key, or a fixed one of the experiment.
"""

import difflib
import json
import math
import re
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from dlx.config.experiment import Experiment, is_lane
from dlx.config.lane import Config
from dlx.config.load import Document, validate
from dlx.config.overrides import Override
from dlx.errors import ConfigError


class Conditional(Config):
    """What every dimension has: the conditions under which it is searched."""

    when: dict[str, Any] = {}
    """Other keys and the value each must have; a list names several allowed values."""


class FloatRange(Conditional):
    """Any number between two ends, both included; evenly spread in the logarithm with `log`, on a grid with `step`."""

    type: Literal["float"] = "float"
    low: float
    high: float
    log: bool = False
    step: float | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> "FloatRange":
        _check_range(self.low, self.high, self.log, self.step)
        return self


class IntRange(Conditional):
    """A whole number between two ends, both included."""

    type: Literal["int"] = "int"
    low: int
    high: int
    log: bool = False
    step: int = 1

    @model_validator(mode="after")
    def _is_a_range(self) -> "IntRange":
        _check_range(self.low, self.high, self.log, None if self.step == 1 else self.step)
        return self


class Choice(Conditional):
    """One of some values: numbers, words, booleans, null, lists, mappings."""

    type: Literal["categorical"] = "categorical"
    choices: tuple[Any, ...]

    @model_validator(mode="after")
    def _differ(self) -> "Choice":
        if not self.choices:
            raise ValueError("there is nothing to choose from: name at least one choice")
        for index, value in enumerate(self.choices):
            if any(_same(value, other) for other in self.choices[:index]):
                raise ValueError(f"{_word(value)} is there twice: name each choice once")
        return self


Dimension = Annotated[FloatRange | IntRange | Choice, Field(discriminator="type")]
Space = Mapping[str, Dimension]
"""Dotted config keys, such as `optimizer.lr`, and what each may be."""


def active(space: Space, chosen: Mapping[str, Any], key: str, base: Mapping[str, Any]) -> bool:
    """Whether the conditions of a dimension hold, so that a trial with these values searches it too.

    `chosen` has the values of the searched keys before it (see `ordered`); `base` is the resolved experiment as a tree
    (`model_dump(mode="json")`), in which conditions on fixed keys are looked up.
    """
    fixed = _flat(base) if any(other not in space for other in space[key].when) else {}
    values = {**{k: v for k, v in fixed.items() if k not in space}, **chosen}
    conditions = space[key].when.items()
    return all(k in values and any(_same(values[k], value) for value in _allowed(wanted)) for k, wanted in conditions)


def fits(space: Space, params: Mapping[str, Any]) -> bool:
    """Whether values could have been proposed from a space: every key is searched, and every value in its dimension."""
    return all(key in space and _contains(space[key], value) for key, value in params.items())


def structural(space: Space) -> set[str]:
    """The keys whose values choose the compiled program; all others are traced numbers in it."""
    return {key for key, found in space.items() if not is_lane(key) or (isinstance(found, Choice) and None in found.choices)}


def ordered(space: Space) -> list[str]:
    """The keys, each after those that its conditions name. Raises `ConfigError` when conditions run in a circle."""
    graph = {key: [other for other in dimension.when if other in space] for key, dimension in space.items()}
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = error.args[1]
        raise ConfigError(f"search {circle[0]}: its conditions run in a circle: {', '.join(circle)}; drop one") from error


def points(key: str, dimension: Dimension) -> Sequence[Any]:
    """All values of a dimension in order. Raises `ConfigError` for a range without a step."""
    match dimension:
        case Choice():
            return dimension.choices
        case IntRange() if not dimension.log:
            return range(dimension.low, dimension.high + 1, dimension.step)
        case FloatRange() if dimension.step is not None:
            steps = int((dimension.high - dimension.low) / dimension.step + 1e-9)
            return [min(dimension.high, dimension.low + i * dimension.step) for i in range(steps + 1)]
    raise ConfigError(f"search {key}: a grid needs its points: give choice(...) or a step, or another sampler")


def value_at(dimension: Dimension, place: float) -> Any:
    """The value at a place in [0, 1): equal lengths have equal shares of the range, or of its logarithm with `log`."""
    match dimension:
        case FloatRange(step=None, log=False):
            return dimension.low + place * (dimension.high - dimension.low)
        case FloatRange(step=None):
            low, high = math.log(dimension.low), math.log(dimension.high)
            return min(max(math.exp(low + place * (high - low)), dimension.low), dimension.high)
        case IntRange(log=True):
            low, high = math.log(dimension.low - 0.5), math.log(dimension.high + 0.5)
            return min(max(round(math.exp(low + place * (high - low))), dimension.low), dimension.high)
    found = points("", dimension)
    return found[int(place * len(found))]


def apply(document: Document, overrides: Sequence[Override], params: Mapping[str, Any]) -> Experiment:
    """The experiment of one trial: the document under the command line's overrides, then the trial's own values."""
    return validate(document, [*overrides, *(Override(tuple(key.split(".")), value) for key, value in params.items())])


def fitted(space: Space, document: Document, overrides: Sequence[Override]) -> dict[str, Dimension]:
    """The space with whole numbers for fields that take nothing else: `train.batch_size=interval(16, 64)` is an int range.

    A range whose ends or step are not whole is left for `check_space` to refuse.
    """
    result = dict(space)
    for key, found in space.items():
        if isinstance(found, FloatRange) and _whole(found):
            if all("int_from_float" in _fractions(document, overrides, setting, key) for setting in _settings(space, key)):
                low, high, step = int(found.low), int(found.high), int(found.step or 1)
                result[key] = IntRange(low=low, high=high, log=found.log, step=step, when=found.when)
    return result


def check_space(space: Space, document: Document, overrides: Sequence[Override]) -> None:
    """Refuses a space with impossible trials before the first one.

    Both ends of a range and every choice must make a valid experiment, under the dimension's conditions and under each
    searched kind of its section. Raises `ConfigError` naming the key.
    """
    ordered(space)
    _check_overlap(space, overrides)
    base = validate(document, overrides).model_dump(mode="json")
    for key in space:
        _check_conditions(space, key, base)
    for key, dimension in space.items():
        for setting in _settings(space, key):
            _check_type(key, dimension, _fractions(document, overrides, setting, key))
            for value in _probes(dimension):
                chosen = {**setting, key: value}
                mistake = _mistake(document, overrides, chosen)
                if mistake and _mistake(document, overrides, _with_dependents(space, chosen, base)):
                    raise ConfigError(_refusal(dimension, key, chosen, mistake)) from mistake


def _check_range(low: float, high: float, log: bool, step: float | None) -> None:
    if not low < high:
        raise ValueError(f"low is {low} and high is {high}: low must be below high")
    if log and low <= 0:
        raise ValueError(f"low is {low}, but a log range never reaches zero: set low above 0, or drop log")
    if log and step is not None:
        raise ValueError("a log range has no step: drop one of the two")
    if step is not None and not 0 < step <= (high - low) * (1 + 1e-9):
        raise ValueError(f"step is {step}: it must be above 0 and at most high - low, which is {high - low:g}")


def _check_overlap(space: Space, overrides: Sequence[Override]) -> None:
    """A searched value replaces all below its key: nothing else may speak of that."""
    for searched in space:
        for override in overrides:
            if f"{'.'.join(override.path)}.".startswith(f"{searched}."):
                raise ConfigError(f"search {searched}: the override {override.text} sets it too; drop one of the two")
        for key, dimension in space.items():
            for other in (key, *dimension.when):
                if other.startswith(f"{searched}."):
                    raise ConfigError(
                        f"search {key}: {searched} is searched as a whole, and {other} is in it; drop one of them"
                    )


def _check_conditions(space: Space, key: str, base: Mapping[str, Any]) -> None:
    known = [*space, *_flat(base)]
    for other, wanted in space[key].when.items():
        if other not in known:
            near = difflib.get_close_matches(other, known, 1)
            hint = f"did you mean {near[0]}?" if near else "`dlx config schema` lists the keys"
            raise ConfigError(f"search {key}: its condition names {other}, which is neither searched nor in the config; {hint}")
        for value in _allowed(wanted):
            if other in space and not _can_be(space[other], value):
                raise ConfigError(
                    f"search {key}: its condition wants {other} to be {_word(value)}, but the search of {other} never takes it"
                )
    if not _settings(space, key):
        raise ConfigError(f"search {key}: its conditions and those of the keys they name never hold together; loosen one")


def _check_type(key: str, dimension: Dimension, refused: Mapping[str, Any]) -> None:
    """Ranges are for numbers, whole ones where the field takes no others. Pydantic alone takes 0.0 and 1.0 for booleans."""
    if isinstance(dimension, Choice):
        return
    if "int_from_float" in refused:
        if not _whole(dimension):
            raise ConfigError(f"search {key}: the field takes whole numbers: use int(interval(low, high)) with whole ends")
    elif refused and refused.keys() <= {"literal_error", "bool_type", "union_tag_invalid"}:
        expected = " ".join(ctx.get("expected_tags") or ctx.get("expected", "") for ctx in refused.values())
        words = re.findall(r"'([^']+)'", expected) or ["true", "false"]
        some = ", ".join(words[:2]) + (", ..." if words[2:] else "")
        form = "a float" if isinstance(dimension, FloatRange) else "an int"
        raise ConfigError(f"search {key}: {form} range, but the field takes one of {', '.join(words)}: use choice({some})")


def _whole(found: FloatRange | IntRange) -> bool:
    return all(float(number).is_integer() for number in (found.low, found.high, found.step or 1))


def _refusal(dimension: Dimension, key: str, chosen: Mapping[str, Any], error: ConfigError) -> str:
    """The sentence of `validate`, told of the searched key and of what else was set with it."""
    reason = str(error).partition("\n")[0].removeprefix("override: ")
    own = reason.removeprefix(f"{key}: ")
    given = [f"{k}={_word(v)}" for k, v in chosen.items() if k != key or own == reason]
    unlimited = [k for k in chosen if k != key and k not in dimension.when and k.endswith(".kind")]
    remedy = f"; limit it in a sweep file by when: {{{unlimited[0]}: ...}}" if unlimited else ""
    under = f"with {' and '.join(given)}: " if given else ""
    return f"search {key}: {under}{own}{remedy}"


def _settings(space: Space, key: str) -> list[dict[str, Any]]:
    """What the keys that decide about a dimension may be when it is searched: every combination."""
    allowed: dict[str, list[Any]] = {}
    pending, seen = [key], {key}
    while pending:
        current = pending.pop()
        for other, wanted in space[current].when.items():
            values = _allowed(wanted)
            allowed[other] = [v for v in allowed.get(other, values) if any(_same(v, value) for value in values)]
        parts = current.split(".")
        for kind in (".".join((*parts[:depth], "kind")) for depth in range(1, len(parts))):
            decider = space.get(kind)
            if isinstance(decider, Choice) and kind != current:
                allowed.setdefault(kind, list(decider.choices))
        pending += [other for other in allowed if other in space and other not in seen]
        seen |= allowed.keys()
    return [dict(zip(allowed, values, strict=True)) for values in product(*allowed.values())]


def _with_dependents(space: Space, chosen: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """The values, and the first one of each dimension that is searched because of them: some keys only fit together."""
    result = dict(chosen)
    for key in ordered(space):
        if key not in result and space[key].when and active(space, result, key, base):
            result[key] = _probes(space[key])[0]
    return result


def _mistake(document: Document, overrides: Sequence[Override], params: Mapping[str, Any]) -> ConfigError | None:
    try:
        apply(document, overrides, params)
    except ConfigError as error:
        return error
    return None


def _fractions(document: Document, overrides: Sequence[Override], setting: Mapping[str, Any], key: str) -> dict[str, Any]:
    """How the field of a key refuses a fraction: pydantic's names for it, with their details. Empty where it takes one."""
    mistake = _mistake(document, overrides, {**setting, key: 0.5})
    items = mistake.__cause__.errors() if mistake and isinstance(mistake.__cause__, ValidationError) else []
    last = key.rpartition(".")[2]
    return {i["type"]: i.get("ctx", {}) for i in items if last == "kind" or last in map(str, i["loc"])}


def _probes(dimension: Dimension) -> tuple[Any, ...]:
    return dimension.choices if isinstance(dimension, Choice) else (dimension.low, dimension.high)


def _can_be(dimension: Dimension, value: Any) -> bool:
    """Whether a trial can have exactly this value. Between the ends of a range without steps none can be counted on."""
    if isinstance(dimension, Choice):
        return any(_same(value, choice) for choice in dimension.choices)
    if isinstance(value, bool) or not isinstance(value, int | float) or dimension.step is None:
        return False
    steps = (value - dimension.low) / dimension.step
    return dimension.low <= value <= dimension.high and math.isclose(steps, round(steps), abs_tol=1e-9)


def _contains(dimension: Dimension, value: Any) -> bool:
    if isinstance(dimension, Choice) or dimension.step is not None:
        return _can_be(dimension, value)
    return isinstance(value, int | float) and not isinstance(value, bool) and dimension.low <= value <= dimension.high


def _allowed(wanted: Any) -> list[Any]:
    return list(wanted) if isinstance(wanted, list | tuple) else [wanted]


def _same(a: Any, b: Any) -> bool:
    """Equal as YAML means it: `true` is not 1, and 0.30000000000000004 is 0.3."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, int | float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=1e-12)
    return a == b


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every key of a tree with its dots, the mappings themselves included."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found[f"{prefix}{key}"] = value
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
    return found


def _word(value: Any) -> str:
    """A value as it is typed."""
    return value if isinstance(value, str) else json.dumps(value, default=str)
