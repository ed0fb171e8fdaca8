"""The kinds of a section, described from their classes and from what installed packages add."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Final

from dlx.config.experiment import kinds

GROUPS: Final = {"model": "dlx.models", "data": "dlx.data"}
"""The entry-point groups in which packages offer their own kinds."""


@dataclass(frozen=True)
class Kind:
    """One kind of a section: its name, its first sentence, its keys with their defaults as text."""

    kind: str
    summary: str
    keys: Mapping[str, str]


def describe_kinds(section: str) -> list[Kind]:
    """Every kind of a section, built-in ones first."""
    found = []
    for name, cls in kinds(section).items():
        keys = {
            key: "(needed)" if field.is_required() else _word(field.get_default(call_default_factory=True))
            for key, field in cls.model_fields.items()
            if key != "kind"
        }
        found.append(Kind(name, (cls.__doc__ or "").partition("\n")[0], keys))
    points = entry_points(group=GROUPS[section]) if section in GROUPS else ()
    return found + [Kind(point.name, f"from {point.value}", {"...": "its own arguments"}) for point in points]


def expand_plugin(section: str, mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """A section whose kind an installed package offers, as `kind: python` with the rest as arguments; else unchanged."""
    name = mapping.get("kind")
    if section not in GROUPS or not isinstance(name, str) or name in kinds(section):
        return mapping
    target = next((point.value for point in entry_points(group=GROUPS[section], name=name)), None)
    if target is None:
        return mapping
    known = kinds(section)["python"].model_fields
    kept = {key: value for key, value in mapping.items() if key in known and key not in ("kind", "args", "target")}
    args = {key: value for key, value in mapping.items() if key not in kept and key != "kind"}
    return {"kind": "python", "target": target, "args": args, **kept}


def _word(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case tuple() | list():
            return f"[{', '.join(_word(v) for v in value)}]"
    return str(value) if value != "" else '""'
