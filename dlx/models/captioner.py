"""From an image to a sequence: Vinyals et al. 2015, "Show and tell"; with attention Xu et al. 2015, "Show, attend and tell"."""

from itertools import pairwise

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.nn.initializers import he_normal

from dlx.config.translation_model import Captioner as CaptionerConfig
from dlx.errors import ConfigError
from dlx.models.recurrent_decoder import Read, RecurrentDecoder, RecurrentTranslator
from dlx.models.shapes import Features, image
from dlx.nn import Conv, max_pool


class Captioner(RecurrentTranslator):
    """A `Translator`: from images (b, h, w, c) to tokens. Attention looks at the places of the last feature map."""

    def __init__(self, in_features: Features, out_features: int, config: CaptionerConfig, *, rngs: nnx.Rngs) -> None:
        height, width, channels = image(in_features, config.kind)
        shrink = 2 ** len(config.channels)
        rows, columns = height // shrink, width // shrink
        if not rows or not columns:
            raise ConfigError(
                f"model.channels has {len(config.channels)} convolutions and each halves the image of {height}x{width} pixels: "
                "shorten model.channels or use larger images"
            )
        sizes = (channels, *config.channels)
        self.convolutions = nnx.List([Conv(a, b, 3, kernel_init=he_normal(), rngs=rngs) for a, b in pairwise(sizes)])
        self.decoder = RecurrentDecoder(
            sizes[-1],
            rows * columns * sizes[-1],
            out_features,
            cell=config.cell,
            embedding=config.embedding,
            hidden=config.hidden,
            layers=config.layers,
            attention=config.attention,
            dropout=config.dropout,
            rngs=rngs,
        )

    def encode(self, x: Array) -> Read:
        """What is to be remembered of images (b, h, w, c)."""
        for convolution in self.convolutions:
            x = max_pool(jax.nn.relu(convolution(x)))
        states = x.reshape(x.shape[0], -1, x.shape[-1])  # (b, places, channels)
        return self.decoder.read(states, jnp.ones(states.shape[:2], bool), x.reshape(x.shape[0], -1))
