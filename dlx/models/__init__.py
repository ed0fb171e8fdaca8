"""The networks. One family per file; `build` is the one place that knows them all."""

from typing import assert_never

from flax import nnx

from dlx.config import model as config_of
from dlx.models.convnet import ConvNet
from dlx.models.forward import call as call
from dlx.models.forward import set_mode as set_mode
from dlx.models.lenet5 import LeNet5
from dlx.models.linear import Linear
from dlx.models.mlp import Mlp
from dlx.models.python import build_target
from dlx.models.shapes import Features as Features
from dlx.models.shapes import Tokens as Tokens


def build(config: config_of.ModelConfig, in_features: Features, out_features: int, rngs: nnx.Rngs) -> nnx.Module:
    """The network that `config` describes, with new parameters. Meant to be called inside a traced function.

    `in_features` is the number of columns of rows, the (height, width, channels) of images, the (steps, features) of series, or
    `Tokens`. `rngs` holds the streams
    `params` and `dropout`, and best a default one: a user's network may ask for others. The dropout rate may be a tracer:
    it becomes a `dlx.nn.Rate` of the state, not of the graph.
    """
    match config:
        case config_of.Linear():
            return Linear(in_features, out_features, config, rngs=rngs)
        case config_of.Mlp():
            return Mlp(in_features, out_features, config, rngs=rngs)
        case config_of.ConvNet():
            return ConvNet(in_features, out_features, config, rngs=rngs)
        case config_of.LeNet5():
            return LeNet5(in_features, out_features, config, rngs=rngs)
        case config_of.PythonModel():
            return build_target(config, in_features, out_features, rngs)
        case _:
            assert_never(config)
