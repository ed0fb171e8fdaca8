"""From an image to a sequence: Vinyals et al. 2015, "Show and tell"; with attention Xu et al. 2015, "Show, attend and tell"."""

from itertools import pairwise

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.nn.initializers import he_normal

from dlx.config.translation_model import Captioner as CaptionerConfig
from dlx.errors import ConfigError
from dlx.models.recurrent_decoder import Read, RecurrentDecoder
from dlx.models.shapes import Features, image
from dlx.models.translator import first
from dlx.nn import Conv, max_pool
from dlx.nn.recurrent import Carry


class Captioner(nnx.Module):
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

    def __call__(self, x: Array) -> Array:
        """Logits (b, 1, v) of the first token that is written of images."""
        return first(self, x)

    def encode(self, x: Array) -> Read:
        """What is to be remembered of images (b, h, w, c)."""
        for convolution in self.convolutions:
            x = max_pool(jax.nn.relu(convolution(x)))
        states = x.reshape(x.shape[0], -1, x.shape[-1])  # (b, places, channels)
        return self.decoder.read(states, jnp.ones(states.shape[:2], bool), x.reshape(x.shape[0], -1))

    def decode(self, source: Read, given: Array) -> Array:
        """Logits (b, t, v) of each token, given those before it (b, t)."""
        return self.decoder.decode(source, given)

    def begin(self, source: Read, length: int) -> tuple[Carry, ...]:
        """The state of each layer before the first token."""
        del length
        return source.begins

    def step(self, source: Read, state: tuple[Carry, ...], token: Array, place: Array) -> tuple[tuple[Carry, ...], Array]:
        """The next state, and the logits (b, v) of what follows the token (b,)."""
        del place
        return self.decoder.step(source, state, token)

    def attention(self, source: Read, given: Array) -> Array | None:
        """How much each token takes from each place of the last feature map, row by row: (b, t, s); None without attention."""
        return self.decoder.attention(source, given)
