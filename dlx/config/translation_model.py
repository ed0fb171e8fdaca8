"""Networks that write a sequence of tokens: of a sequence that they read, or of an image."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dlx.config.lane import Config
from dlx.config.model_fields import Rate, Width

Attention = Literal["none", "additive", "dot"]
"""`additive` is Bahdanau, Cho and Bengio 2015; `dot` is the "general" score of Luong, Pham and Manning 2015."""
Layers = Annotated[int, Field(ge=1, le=64)]


class EncoderDecoder(Config):
    """A recurrent network reads, another writes (Sutskever et al. 2014, Cho et al. 2014), with attention to what was read."""

    kind: Literal["encoder-decoder"] = "encoder-decoder"
    cell: Literal["simple", "lstm", "gru"] = "gru"
    embedding: Width = 256
    """Features of a token, on both sides."""
    hidden: Width = 256
    """Units of each layer, in each direction."""
    layers: Layers = 1
    """Of the encoder, and of the decoder."""
    bidirectional: bool = True
    """The encoder reads from the end too."""
    attention: Attention = "additive"
    dropout: Rate = 0.0
    """Before each layer and before the output."""


class Transformer(Config):
    """Attention alone, in an encoder and a decoder (Vaswani et al. 2017)."""

    kind: Literal["transformer"] = "transformer"
    width: Width = 256
    """Features of a token throughout."""
    heads: Annotated[int, Field(ge=1, le=256)] = 4
    layers: Layers = 3
    """Of the encoder, and of the decoder."""
    feed_forward: Width = 512
    """Hidden units of the network after each attention."""
    norm_first: bool = True
    """Normalize what goes into each part (Xiong et al. 2020), which trains more easily; false: after the sum, as in the paper."""
    learned_positions: Annotated[int, Field(ge=1, le=65536)] | None = None
    """Learn the features of so many places, as many as the longest sequence has tokens; null takes the paper's sine waves."""
    dropout: Rate = 0.1
    """After the embeddings, and after each part, before it is added."""

    @model_validator(mode="after")
    def _whole_heads(self) -> "Transformer":
        if self.width % self.heads:
            raise ValueError(f"heads is {self.heads} and does not divide the width {self.width}: choose another")
        if self.width % 2 and self.learned_positions is None:
            raise ValueError(f"width is {self.width}, and sine waves come in pairs: make it even, or set learned_positions")
        return self


class Captioner(Config):
    """Convolutions look at an image, a recurrent network writes (Vinyals et al. 2015), also with attention (Xu et al. 2015)."""

    kind: Literal["captioner"] = "captioner"
    channels: tuple[Width, ...] = (16, 32)
    """Output channels of each 3x3 convolution; ReLU and a 2x2 max-pool end each."""
    cell: Literal["simple", "lstm", "gru"] = "gru"
    embedding: Width = 32
    """Features of a token."""
    hidden: Width = 128
    layers: Layers = 1
    """Of the decoder."""
    attention: Attention = "none"
    dropout: Rate = 0.0
    """Before each layer and before the output."""
