"""The network. Tagged by `kind`; layer sizes are structure, the dropout rate is a `Lane`."""

from typing import Annotated, Any, Literal

from pydantic import Field

from dlx.config.adversarial_model import CycleGan as CycleGan
from dlx.config.adversarial_model import Dcgan as Dcgan
from dlx.config.adversarial_model import Gan as Gan
from dlx.config.adversarial_model import StackGan as StackGan
from dlx.config.autoencoder_model import Autoencoder as Autoencoder
from dlx.config.autoencoder_model import ConvAutoencoder as ConvAutoencoder
from dlx.config.autoencoder_model import VariationalAutoencoder as VariationalAutoencoder
from dlx.config.energy_model import Dbn as Dbn
from dlx.config.energy_model import Rbm as Rbm
from dlx.config.lane import Config
from dlx.config.model_fields import Activation as Activation
from dlx.config.model_fields import Init as Init
from dlx.config.model_fields import Normalization as Normalization
from dlx.config.model_fields import Rate as Rate
from dlx.config.model_fields import Width as Width
from dlx.config.sequence_model import Rnn as Rnn
from dlx.config.translation_model import Captioner as Captioner
from dlx.config.translation_model import EncoderDecoder as EncoderDecoder
from dlx.config.translation_model import Transformer as Transformer


class Linear(Config):
    """One affine map: softmax or linear regression."""

    kind: Literal["linear"] = "linear"
    init: Init = "lecun"


class Mlp(Config):
    """Fully connected layers. Each hidden layer: affine, normalization, activation, dropout."""

    kind: Literal["mlp"] = "mlp"
    hidden: tuple[Width, ...] = (128, 64)
    activation: Activation = "relu"
    normalization: Normalization = "none"
    dropout: Rate = 0.0
    init: Init = "he"


class ConvNet(Config):
    """Blocks of convolution, normalization, activation and 2x2 max-pooling, then fully connected layers."""

    kind: Literal["convnet"] = "convnet"
    channels: tuple[Width, ...] = (32, 64)
    """Output channels of each block; a 2x2 max-pool ends each block."""
    depth: Annotated[int, Field(ge=1, le=8)] = 1
    """Convolutions in each block."""
    kernel: Annotated[int, Field(ge=1, le=11)] = 3
    dense: tuple[Width, ...] = (128,)
    activation: Activation = "relu"
    normalization: Normalization = "none"
    dropout: Rate = 0.0
    """Before each fully connected layer."""
    init: Init = "he"


class LeNet5(Config):
    """LeCun, Bottou, Bengio, Haffner 1998, with max-pooling: conv 6@5x5, pool, conv 16@5x5, pool, 120, 84, outputs."""

    kind: Literal["lenet5"] = "lenet5"
    activation: Activation = "tanh"
    normalization: Normalization = "none"
    dropout: Rate = 0.0
    """Before each of the fully connected layers."""
    init: Init = "xavier"


class PythonModel(Config):
    """The user's own Flax NNX module: `target: "net.py:Net"` or `target: "package.module:Net"`.

    Built as `Net(in_features, out_features, *, rngs, **args)`, where `in_features` is an int for rows and a shape tuple
    for images; called as `net(x)`, or as `net(x, train=...)` if it takes that keyword.
    """

    kind: Literal["python"] = "python"
    target: str
    args: dict[str, Any] = {}


ModelConfig = Annotated[
    Linear
    | Mlp
    | ConvNet
    | LeNet5
    | Rnn
    | EncoderDecoder
    | Transformer
    | Captioner
    | Autoencoder
    | ConvAutoencoder
    | VariationalAutoencoder
    | Rbm
    | Dbn
    | PythonModel
    | Gan
    | Dcgan
    | StackGan
    | CycleGan,
    Field(discriminator="kind"),
]
