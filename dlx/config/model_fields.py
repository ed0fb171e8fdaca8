"""The types of fields that the networks of several families have."""

from typing import Annotated, Literal

from pydantic import Field

from dlx.config.lane import Lane

Activation = Literal["relu", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh", "sigmoid", "softplus"]
Normalization = Literal["none", "batch", "layer"]
Init = Literal["zeros", "normal", "xavier", "he", "lecun", "orthogonal"]
Width = Annotated[int, Field(ge=1, le=65536)]
Rate = Annotated[Lane, Field(ge=0, lt=1)]
