"""Configs as pytrees: what differs between lanes are the leaves, all the rest is the treedef.

`jax.tree.structure(config)` is therefore the group key of a sweep: two trials with equal treedefs share one program.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from dlx.config import Duration, Experiment
from dlx.config.lane import Config


@dataclass(frozen=True)
class Structure:
    """The fields of one config that choose the program: compared and hashed by value, whatever they hold."""

    names: tuple[str, ...]
    values: tuple[Any, ...]

    def __hash__(self) -> int:
        return hash((self.names, _frozen(self.values)))

    def __eq__(self, other: object) -> bool:
        # `1`, `1.0` and `True` are different structure, so types are part of what is compared.
        return isinstance(other, Structure) and (self.names, _frozen(self.values)) == (other.names, _frozen(other.values))


@functools.cache
def register_configs() -> None:
    """Registers every config class as a JAX pytree, once per process."""
    for cls in _subclasses(Config):
        _register(cls)


def stack(configs: Sequence[Experiment]) -> Experiment:
    """K configs of one treedef as one config whose leaves are arrays (K,): float32, or uint32 for seeds.

    Raises `ValueError` when the treedefs differ.
    """
    register_configs()
    if len({jax.tree.structure(config) for config in configs}) != 1:
        raise ValueError("lanes of one program must have equal structure")
    return jax.tree.map(lambda *leaves: np.asarray(leaves, _leaf_type(leaves[0])), *configs)


def structure(config: Config) -> Any:
    """The group key of a config: hashable, equal for configs that can be lanes of one program."""
    register_configs()
    return jax.tree.structure(config)


def _leaf_type(leaf: Any) -> type:
    return np.uint32 if isinstance(leaf, int) else np.float32


def _subclasses(cls: type[Config]) -> Iterator[type[Config]]:
    for sub in cls.__subclasses__():
        yield sub
        yield from _subclasses(sub)


def _register(cls: type[Config]) -> None:
    children = tuple(n for n in cls.model_fields if n in cls.lane_fields() or n in cls.nested_fields())
    static = tuple(n for n in cls.model_fields if n not in children)

    def flatten_with_keys(config: Config) -> tuple[list[tuple[Any, Any]], Structure]:
        values = vars(config)
        pairs = [(jax.tree_util.GetAttrKey(name), values[name]) for name in children]
        return pairs, Structure(static, tuple(values[name] for name in static))

    def flatten(config: Config) -> tuple[list[Any], Structure]:
        values = vars(config)
        return [values[name] for name in children], Structure(static, tuple(values[name] for name in static))

    def unflatten(structure: Structure, leaves: Iterable[Any]) -> Config:
        # Not validated: inside a trace the leaves are tracers.
        names, values = (*structure.names, *children), (*structure.values, *leaves)
        return cls.model_construct(**dict(zip(names, values, strict=True)))

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)


def _frozen(value: Any) -> Any:
    match value:
        case dict():
            return ("dict", tuple(sorted((k, _frozen(v)) for k, v in value.items())))
        case list() | tuple():
            return (type(value).__name__, tuple(_frozen(v) for v in value))
        case bool() | int() | float() | str() | None | Duration():
            return (type(value).__name__, value)
    return value
