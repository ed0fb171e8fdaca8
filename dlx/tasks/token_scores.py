"""How well tokens are predicted: the sums behind loss, perplexity and accuracy."""

import jax
import jax.numpy as jnp
import optax

from dlx.data.tokens import PAD
from dlx.tasks.state import Sums


def token_scores(logits: jax.Array, targets: jax.Array) -> Sums:
    """Of logits (b, t, v) and targets (b, t): nats, whether there is a token, and whether it was guessed, (b, t); 0 for padding."""
    there = (targets != PAD).astype(logits.dtype)
    # XLA fuses what follows the product with the softmax's gradient: of 10,000 words the product takes nearly all of the time.
    nats = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    right = (jnp.argmax(logits, -1) == targets).astype(logits.dtype)
    return {"loss": nats * there, "tokens": there, "correct": right * there}


def of_sequences(each: Sums) -> Sums:
    """The scores of tokens (b, t) added up to those of sequences (b,)."""
    return {name: jnp.sum(value, -1) for name, value in each.items()}
