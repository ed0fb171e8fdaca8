"""Networks that read one step after the other. Layer sizes are structure, dropout rates are `Lane`s."""

from typing import Annotated, Literal

from pydantic import Field

from dlx.config.lane import Config
from dlx.config.model_fields import Activation, Init, Rate, Width


class Rnn(Config):
    """A recurrent network, simple (Elman 1990), LSTM (Hochreiter and Schmidhuber 1997) or GRU (Cho et al. 2014), over sequences.

    It reads text (through an embedding), series of numbers, or images, one row of pixels as one step. What it makes of all steps is
    pooled to one vector, from which fully connected layers predict.
    """

    kind: Literal["rnn"] = "rnn"
    cell: Literal["simple", "lstm", "gru"] = "lstm"
    hidden: Width = 128
    """Units of each layer, and of each direction."""
    layers: Annotated[int, Field(ge=1, le=16)] = 1
    bidirectional: bool = False
    """Each layer also reads backwards, from the end to the beginning (Schuster and Paliwal 1997), and hands on both."""
    embedding: Width = 128
    """For text: the numbers that stand for a token."""
    pool: Literal["last", "mean", "max"] = "last"
    """What of all steps is used: the state after the last one (of both directions), the mean, or the largest value of each unit."""
    skip: Annotated[int, Field(ge=0, le=65536)] = 0
    """So many last steps of a series also reach the outputs directly, by a linear map: the autoregressive part of LSTNet (Lai et al.
    2018). The recurrent network then learns what a linear forecast gets wrong, and follows a level that it has never seen."""
    dense: tuple[Width, ...] = ()
    """Fully connected layers before the outputs."""
    activation: Activation = "relu"
    """Of the fully connected layers."""
    dropout: Rate = 0.0
    """Between recurrent layers, not in time (Zaremba, Sutskever and Vinyals 2014), and before each fully connected layer."""
    embedding_dropout: Rate = 0.0
    """For text: of the numbers that stand for a token."""
    init: Init = "xavier"
    """Of kernels of inputs and fully connected layers; recurrent kernels begin orthogonal (Saxe et al. 2014), a forget gate open."""
