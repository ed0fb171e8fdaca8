"""Hydra-style overrides: `optimizer.lr=3e-4`, `model.hidden=[256,128]`, `~data.limit`.

A value is read as YAML reads it: numbers, `true`, `false`, `null`, `[lists]`, `{mappings}`, quoted strings; everything
else is text. A leading `+` or `++` is accepted and means the same, since every key is known.

Changing the `kind` of a section keeps the keys that both kinds have with the same default: those mean the same. A learning
rate that was right for Adam is not carried over to SGD, whose own default is another.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from dlx.config.experiment import kinds
from dlx.errors import ConfigError

_KEY = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)*")
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_HYDRA_PAIR = re.compile(r"([{,]\s*[\w.-]+):(?=[^\s/])")
"""`{a:1}` is a mapping to Hydra; to YAML it needs a blank."""
_SECTIONS = ("task", "data", "model", "optimizer", "schedule", "averaging")


@dataclass(frozen=True)
class Override:
    """One change: the path of a key and its new value. `delete` removes the key, so that its default holds."""

    path: tuple[str, ...]
    value: Any = None
    delete: bool = False

    @property
    def text(self) -> str:
        """The override as it is typed."""
        return f"~{'.'.join(self.path)}" if self.delete else f"{'.'.join(self.path)}={self.value}"


def parse_override(text: str) -> Override:
    """Reads one override. Raises `ConfigError` when it is not `key.sub=value` or `~key.sub`."""
    if text.startswith("~"):
        key = text[1:]
        if not _KEY.fullmatch(key):
            raise ConfigError(f"override {text!r}: write ~key.sub to remove a key")
        return Override(tuple(key.split(".")), delete=True)
    key, equals, value = text.lstrip("+").partition("=")
    if not equals or not _KEY.fullmatch(key):
        raise ConfigError(f"override {text!r}: write key.sub=value, for example optimizer.lr=3e-4")
    return Override(tuple(key.split(".")), parse_value(value, text))


def parse_value(text: str, where: str) -> Any:
    """Reads a value as YAML 1.2 would: number, boolean, null, flow list or mapping, quoted string, else plain text."""
    stripped = text.strip()
    if stripped[:1] in ("[", "{", '"', "'"):
        try:
            return YAML(typ="safe", pure=True).load(_HYDRA_PAIR.sub(r"\1: ", stripped))
        except YAMLError as error:
            raise ConfigError(f"override {where!r}: the value is not closed or not well formed") from error
    if stripped in ("null", "~", ""):
        return None
    if stripped in ("true", "false"):
        return stripped == "true"
    if _INT.fullmatch(stripped):
        return int(stripped)
    if _FLOAT.fullmatch(stripped):
        return float(stripped)
    return stripped


def apply_overrides(tree: Mapping[str, Any], overrides: Sequence[Override]) -> dict[str, Any]:
    """A copy of `tree` with the overrides applied in order of `kind`s first, then as given.

    Raises `ConfigError` when a path runs through something that is not a mapping or a list.
    """
    result = _copy(tree)
    for override in sorted(overrides, key=lambda o: o.path[-1] != "kind"):
        if len(override.path) == 2 and override.path[1] == "kind" and override.path[0] in _SECTIONS and not override.delete:
            result[override.path[0]] = _switch(result.get(override.path[0]), override.path[0], override.value)
        else:
            _set(result, override)
    return result


def _switch(section: Any, name: str, kind: Any) -> dict[str, Any]:
    """The section under another kind, with what means the same in both. An unknown kind is left for validation."""
    known = kinds(name)
    old = section if isinstance(section, dict) else {}
    if not isinstance(kind, str) or kind not in known or old.get("kind") == kind:
        return {**old, "kind": kind}
    before, after = known.get(str(old.get("kind"))), known[kind]
    if before is None:
        return {"kind": kind}
    shared = {
        k for k, f in after.model_fields.items() if k in before.model_fields and f.default == before.model_fields[k].default
    }
    return {"kind": kind, **{k: v for k, v in old.items() if k in shared - {"kind"}}}


def _set(tree: dict[str, Any], override: Override) -> None:
    node: Any = tree
    for depth, key in enumerate(override.path):
        last = depth == len(override.path) - 1
        if isinstance(node, list):
            if not key.isdigit() or int(key) >= len(node):
                raise ConfigError(f"override {override.text!r}: the list has no entry {key}, it has {len(node)} entries")
            if last:
                node[int(key)] = override.value
            else:
                node = node[int(key)]
        elif isinstance(node, dict):
            if last and override.delete:
                node.pop(key, None)
            elif last:
                node[key] = override.value
            else:
                if node.get(key) is None:
                    node[key] = {}
                node = node[key]
        else:
            raise ConfigError(f"override {override.text!r}: {'.'.join(override.path[:depth])} is {node!r} and has no keys")


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _copy(v) for k, v in value.items()}
    return [_copy(v) for v in value] if isinstance(value, list | tuple) else value
