"""Python that computes a network from the exported weights, for the model card: with Flax, and in plain JAX without dlx."""

import inspect
from typing import Final, assert_never

from flax import nnx

from dlx import models
from dlx.config import Experiment
from dlx.config.model import Activation, ConvNet, LeNet5, Linear, Mlp, PythonModel

_PAPER: Final = 32
"""LeNet-5 pads smaller images than those of its paper."""
_FLAT: Final = "x = x.reshape(len(x), -1)"
_HEAD: Final = """\
import json
from pathlib import Path

{imports}
from safetensors.numpy import load_file
{own}
config = json.loads(Path("config.json").read_text())
weights = load_file("model.safetensors")
scaling = config["preprocessing"]
"""
_PREDICT: Final = '''

def predict(inputs):
    """Raw inputs (n, ...) -> outputs (n, {outputs})."""
    x = {ready}
{body}
    return {result}
'''
_FILL: Final = """
shape, outputs = config["inputs"]["shape"][1:], config["outputs"]["shape"][1]
in_features = {features}
model = {build}
{mode}
state = nnx.state(model, nnx.Not(nnx.RngState))
for path, variable in nnx.to_flat_state(state):
    if (name := ".".join(map(str, path))) in weights:
        variable.set_value(jnp.array(weights[name]))
nnx.update(model, state)
"""
_SCALED: Final = '(inputs.astype(jnp.float32) - jnp.array(scaling["mean"])) * jnp.array(scaling["inverse_std"])'
_NUMBERS: Final = "shape[0] if len(shape) == 1 else tuple(shape)"
_TOKENS: Final = 'models.Tokens(shape[0], scaling["tokens"])'
_LINEAR: Final = """

def linear(x, name):
    x = x @ weights[name + ".kernel"]
    return x + weights[name + ".bias"] if name + ".bias" in weights else x
"""
_CONV: Final = """

def conv(x, name, padding):
    layout = ("NHWC", "HWIO", "NHWC")
    x = jax.lax.conv_general_dilated(x, weights[name + ".kernel"], (1, 1), padding, dimension_numbers=layout)
    return x + weights[name + ".bias"] if name + ".bias" in weights else x


def max_pool(x):
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
"""
_BATCH: Final = """

def norm(x, name):
    mean, var, scale, bias = (weights[f"{name}.{part}"] for part in ("mean", "var", "scale", "bias"))
    return (x - mean) / jnp.sqrt(var + 1e-5) * scale + bias
"""
_LAYER: Final = """

def norm(x, name):
    x = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * weights[name + ".scale"] + weights[name + ".bias"]
"""


def with_dlx(outputs: int, *, numbers: bool, tokens: bool = False) -> str:
    """A program whose `predict` is the network, built by dlx from the config."""
    imports = "import jax.numpy as jnp\nfrom flax import nnx"
    build = 'models.build(Experiment.model_validate(config["experiment"]).model, in_features, outputs, nnx.Rngs(0))'
    head = _HEAD.format(imports=imports, own="\nfrom dlx import models\nfrom dlx.config import Experiment\n")
    return (
        head
        + _FILL.format(build=build, mode="models.set_mode(model, train=False)", features=_TOKENS if tokens else _NUMBERS)
        + _predict(["x = models.call(model, x, train=False)"], outputs, numbers, tokens=tokens)
    )


def without_dlx(config: Experiment, input_shape: tuple[int, ...], outputs: int, *, numbers: bool) -> str | None:
    """A program whose `predict` is the network, in plain JAX, or with the user's own module; None for what is too long for that."""
    model = config.model
    if isinstance(model, PythonModel):
        return _own_module(model, input_shape, outputs, numbers)
    if not isinstance(model, Linear | Mlp | ConvNet | LeNet5):
        return None
    parts = [_HEAD.format(imports="import jax\nimport jax.numpy as jnp", own=""), _LINEAR]
    if isinstance(model, ConvNet | LeNet5):
        parts.append(_CONV)
    if not isinstance(model, Linear):
        parts.append({"none": "", "batch": _BATCH, "layer": _LAYER}[model.normalization])
    match model:
        case Linear():
            body = [_FLAT, 'x = linear(x, "output")']
        case Mlp():
            body = _dense("", len(model.hidden), model)
        case ConvNet():
            convolution = _layer('conv(x, f"{name}.conv", "SAME")', model)
            body = [
                f"for block in range({len(model.channels)}):",
                f"    for layer in range({model.depth}):",
                '        name = f"blocks.{block}.layers.{layer}"',
                f"        x = {convolution}",
                "    x = max_pool(x)",
                *_dense("head.", len(model.dense), model),
            ]
        case LeNet5():
            border = "SAME" if min(input_shape[:2]) < _PAPER else "VALID"
            convolution = _layer('conv(x, f"{name}.conv", padding)', model)
            body = [
                f'for name, padding in (("first", "{border}"), ("second", "VALID")):',
                f"    x = max_pool({convolution})",
                *_dense("head.", 2, model),
            ]
        case _:
            assert_never(model)
    return "".join(parts) + _predict(body, outputs, numbers)


def _dense(place: str, hidden: int, style: Mlp | ConvNet | LeNet5) -> list[str]:
    """The fully connected end: flattened, hidden layers, output."""
    lines = [_FLAT]
    if hidden:
        layer = _layer('linear(x, f"{name}.linear")', style)
        lines += [f"for layer in range({hidden}):", f'    name = f"{place}hidden.{{layer}}"', f"    x = {layer}"]
    return [*lines, f'x = linear(x, "{place}output")']


def _layer(inner: str, style: Mlp | ConvNet | LeNet5) -> str:
    """An expression: affine map or convolution, normalization, activation."""
    normalized = inner if style.normalization == "none" else f'norm({inner}, f"{{name}}.norm")'
    return _activated(normalized, style.activation)


def _activated(x: str, activation: Activation) -> str:
    match activation:
        case "tanh":
            return f"jnp.tanh({x})"
        case "gelu":
            return f"jax.nn.gelu({x}, approximate=False)"
        case _:
            return f"jax.nn.{activation}({x})"


def _own_module(model: PythonModel, input_shape: tuple[int, ...], outputs: int, numbers: bool) -> str:
    """For a network of the user's: its own code, without dlx."""
    in_features = input_shape[0] if len(input_shape) == 1 else input_shape
    module = nnx.eval_shape(lambda: models.build(model, in_features, outputs, nnx.Rngs(0)))
    call = "model(x, train=False)" if "train" in inspect.signature(type(module).__call__).parameters else "model(x)"
    place, _, name = model.target.rpartition("/")[2].rpartition(":")
    own = f"\nfrom {place.removesuffix('.py')} import {name}  # the network's own code\n"
    arguments = "".join(f", {key}={value!r}" for key, value in model.args.items())
    fill = _FILL.format(
        build=f"{name}(in_features, outputs, rngs=nnx.Rngs(0){arguments})", mode="model.eval()", features=_NUMBERS
    )
    head = _HEAD.format(imports="import jax.numpy as jnp\nfrom flax import nnx", own=own)
    return head + fill + _predict([f"x = {call}"], outputs, numbers)


def _predict(body: list[str], outputs: int, numbers: bool, *, tokens: bool = False) -> str:
    ready = "inputs" if tokens else _SCALED
    result = 'x * jnp.array(scaling["target_std"]) + jnp.array(scaling["target_mean"])' if numbers else "x"
    return _PREDICT.format(ready=ready, outputs=outputs, body="\n".join(f"    {line}" for line in body), result=result)
