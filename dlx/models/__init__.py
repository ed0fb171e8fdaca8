"""The networks. One family per file; `build` is the one place that knows them all."""

from typing import assert_never

from flax import nnx

from dlx.config import model as config_of
from dlx.models.autoencoder import Autoencoder, ConvAutoencoder
from dlx.models.boltzmann import Dbn, Rbm
from dlx.models.captioner import Captioner
from dlx.models.convnet import ConvNet
from dlx.models.cyclegan import CycleGan
from dlx.models.dcgan import Dcgan
from dlx.models.encoder_decoder import EncoderDecoder
from dlx.models.forward import call as call
from dlx.models.forward import set_mode as set_mode
from dlx.models.gan import Gan
from dlx.models.lenet5 import LeNet5
from dlx.models.linear import Linear
from dlx.models.mlp import Mlp
from dlx.models.python import build_target
from dlx.models.rnn import Rnn
from dlx.models.shapes import Features as Features
from dlx.models.shapes import Tokens as Tokens
from dlx.models.stackgan import StackGan
from dlx.models.transformer import Transformer
from dlx.models.variational import VariationalAutoencoder


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
        case config_of.Rnn():
            return Rnn(in_features, out_features, config, rngs=rngs)
        case config_of.EncoderDecoder():
            return EncoderDecoder(in_features, out_features, config, rngs=rngs)
        case config_of.Transformer():
            return Transformer(in_features, out_features, config, rngs=rngs)
        case config_of.Captioner():
            return Captioner(in_features, out_features, config, rngs=rngs)
        case config_of.Autoencoder():
            return Autoencoder(in_features, config, rngs=rngs)
        case config_of.ConvAutoencoder():
            return ConvAutoencoder(in_features, config, rngs=rngs)
        case config_of.VariationalAutoencoder():
            return VariationalAutoencoder(in_features, out_features, config, rngs=rngs)
        case config_of.Rbm():
            return Rbm(in_features, out_features, config, rngs=rngs)
        case config_of.Dbn():
            return Dbn(in_features, out_features, config, rngs=rngs)
        case config_of.Gan():
            return Gan(in_features, out_features, config, rngs=rngs)
        case config_of.Dcgan():
            return Dcgan(in_features, out_features, config, rngs=rngs)
        case config_of.StackGan():
            return StackGan(in_features, out_features, config, rngs=rngs)
        case config_of.CycleGan():
            return CycleGan(in_features, config, rngs=rngs)
        case config_of.PythonModel():
            return build_target(config, in_features, out_features, rngs)
        case _:
            assert_never(config)
