"""What a network is made of: one line per layer, without running it. (`nnx.tabulate` fails on recurrent networks.)"""

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from dlx.config.model import ModelConfig
from dlx.models import build, call, set_mode
from dlx.models.calls import watch_calls
from dlx.models.shapes import Features, Tokens

Path = tuple[Hashable, ...]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """One layer: where it is, what it is, what one example becomes in it, how many numbers it trains."""

    path: str
    """The attributes that lead to it, as in a checkpoint: `hidden/0/linear`."""
    kind: str
    output_shape: Shape | None
    """Without the batch axis. None for a layer that the forward pass does not call."""
    parameters: int


def summarize(config: ModelConfig, in_features: Features, out_features: int) -> list[Layer]:
    """The layers in the order of the forward pass. Everything is traced on shapes alone: nothing is drawn or computed."""
    layers: list[Layer] = []
    match in_features:
        case Tokens(length):
            example = jax.ShapeDtypeStruct((1, length), jnp.int32)
        case int():
            example = jax.ShapeDtypeStruct((1, in_features), jnp.float32)
        case _:
            example = jax.ShapeDtypeStruct((1, *in_features), jnp.float32)

    def forward(x: jax.Array) -> jax.Array:
        model = build(config, in_features, out_features, nnx.Rngs(0))
        set_mode(model, train=False)
        modules: dict[Path, nnx.Module] = dict(nnx.iter_modules(model))
        counts = _parameters(model, modules)
        kinds = {path: type(modules[path]).__name__ for path in _layers(modules, counts)}
        shapes: dict[Path, Shape] = {}
        for path in kinds:
            _watch(modules[path], lambda shape, path=path: shapes.setdefault(path, shape))
        y = call(model, x, train=False)
        order = [*shapes, *(path for path in kinds if path not in shapes)]
        layers.extend(Layer("/".join(map(str, p)), kinds[p], shapes.get(p), counts[p]) for p in order)
        return y

    jax.eval_shape(forward, example)
    return layers


def _layers(modules: dict[Path, nnx.Module], counts: Counter[Path]) -> list[Path]:
    """The modules without modules inside, and those that own parameters beside them. Empty containers are neither."""
    parents = {path[:depth] for path in modules for depth in range(len(path))}
    containers = (nnx.List, nnx.Dict)
    return [p for p, m in modules.items() if counts[p] or (p not in parents and not isinstance(m, containers))]


def _parameters(model: nnx.Module, modules: dict[Path, nnx.Module]) -> Counter[Path]:
    """The number of trained values that each module itself owns."""
    counts: Counter[Path] = Counter()
    for path, variable in nnx.to_flat_state(nnx.state(model, nnx.Param)):
        owner = next(path[:depth] for depth in range(len(path) - 1, -1, -1) if path[:depth] in modules)
        counts[owner] += variable.get_value().size
    return counts


def _watch(module: nnx.Module, report: Callable[[Shape], Any]) -> None:
    """Makes this one instance report the shape of each output."""
    watch_calls(module, lambda _: None, lambda output: report(next((leaf.shape[1:] for leaf in jax.tree.leaves(output)), ())))
