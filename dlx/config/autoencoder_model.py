"""Networks that make a short code of an example, and the example of its code."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dlx.config.lane import Config
from dlx.config.model_fields import Activation, Init, Normalization, Width


class Autoencoder(Config):
    """Fully connected layers down to a code, and the same widths back (Hinton and Salakhutdinov 2006).

    The encoder's layers, the code's among them, are called as those of an `mlp` are, whose training they can start.
    """

    kind: Literal["autoencoder"] = "autoencoder"
    hidden: tuple[Width, ...] = (512, 256)
    """Widths of the encoder before the code; the decoder has them in reverse."""
    code: Width = 32
    """How many numbers an example becomes."""
    activation: Activation = "relu"
    code_activation: Literal["none"] | Activation = "none"
    """Of the code; the sparsity of Ng needs `sigmoid`."""
    tied: bool = False
    """Whether the decoder's kernels are the encoder's, transposed (Vincent et al. 2008)."""
    normalization: Normalization = "none"
    """Of the hidden layers."""
    init: Init = "he"

    @model_validator(mode="after")
    def _tied_kernels_are_not_normalized(self) -> "Autoencoder":
        if self.tied and self.normalization != "none":
            raise ValueError("tied kernels cannot suit the normalization of both sides: set normalization=none, or tied=false")
        return self


class ConvAutoencoder(Config):
    """Blocks of convolutions and max-pooling down to a code, and transposed convolutions of stride 2 back (Masci et al. 2011).

    The encoder's blocks are called as those of a `convnet` are, whose training they can start.
    """

    kind: Literal["conv-autoencoder"] = "conv-autoencoder"
    channels: Annotated[tuple[Width, ...], Field(min_length=1)] = (16, 32)
    """Output channels of each block, which halves the image; the decoder has them in reverse."""
    code: Width = 32
    """How many numbers an example becomes."""
    depth: Annotated[int, Field(ge=1, le=8)] = 1
    """Convolutions in each block of the encoder."""
    kernel: Annotated[int, Field(ge=1, le=11)] = 3
    """Of the encoder; the decoder's are 4x4."""
    activation: Activation = "relu"
    code_activation: Literal["none"] | Activation = "none"
    """Of the code; the sparsity of Ng needs `sigmoid`."""
    normalization: Normalization = "none"
    init: Init = "he"


class VariationalAutoencoder(Config):
    """An encoder that says where in the space of codes an example lies, as a normal distribution, and a decoder.

    Kingma and Welling 2014.
    """

    kind: Literal["vae"] = "vae"
    hidden: tuple[Width, ...] = (512,)
    """Widths of the encoder before the code; the decoder has them in reverse."""
    code: Width = 20
    """Dimensions of the code."""
    activation: Activation = "relu"
    normalization: Normalization = "none"
    """Of the hidden layers."""
    init: Init = "he"
