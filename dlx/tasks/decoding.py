"""Writing a sequence token by token: greedily, by chance, or with several hypotheses at once (beam search).

A network is a function `step(state, token (n,), place ()) -> (state, logits (n, v))` and a state, a tree of arrays (n, ...).
Sequences end with END, and have PAD behind it; PAD and BEGIN are never written. The loops end when all sequences have.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from dlx.data.tokens import BEGIN, END, PAD

Step = Callable[[Any, Array, Array], tuple[Any, Array]]
Choose = Callable[[Array, Array], Array]
"""From logits (n, v) and a place () to tokens (n,)."""


class Found(NamedTuple):
    """The hypotheses of b examples, the best first."""

    tokens: Array
    """(b, beams, length) int32."""
    scores: Array
    """(b, beams): log-probability over the length penalty."""


class _Writing(NamedTuple):
    place: Array
    last: Array
    """The tokens before the place (n,)."""
    ended: Array
    tokens: Array
    """(n, length)."""
    state: Any


class _Searching(NamedTuple):
    """Everything but the state is (b, beams, ...)."""

    place: Array
    last: Array
    total: Array
    """Log-probabilities."""
    size: Array
    """How many tokens each has."""
    ended: Array
    tokens: Array
    scores: Array
    state: Any


def greedy(logits: Array, place: Array) -> Array:
    """The likeliest token of each row."""
    del place
    return jnp.argmax(logits, -1).astype(jnp.int32)


def drawing(key: Array, temperature: float, top_k: int | None) -> Choose:
    """Draws a token of each row by its probability at a temperature above 0; with `top_k` one of the so many likeliest."""

    def choose(logits: Array, place: Array) -> Array:
        if top_k is not None and top_k < logits.shape[-1]:
            least = lax.top_k(logits, top_k)[0][:, -1:]
            logits = jnp.where(logits < least, -jnp.inf, logits)
        return jax.random.categorical(jax.random.fold_in(key, place), logits / temperature).astype(jnp.int32)

    return choose


def write(step: Step, state: Any, rows: int, length: int, choose: Choose = greedy) -> Array:
    """A sequence of at most `length` tokens for each of n `rows`: (n, length) int32."""

    def more(now: _Writing) -> Array:
        return (now.place < length) & ~now.ended.all()

    def one(now: _Writing) -> _Writing:
        state, logits = step(now.state, now.last, now.place)
        token = jnp.where(now.ended, PAD, choose(_allowed(logits), now.place))
        tokens = lax.dynamic_update_index_in_dim(now.tokens, token, now.place, 1)
        return _Writing(now.place + 1, token, now.ended | (token == END), tokens, state)

    start = _Writing(
        jnp.zeros((), jnp.int32),
        jnp.full(rows, BEGIN, jnp.int32),
        jnp.zeros(rows, bool),
        jnp.full((rows, length), PAD, jnp.int32),
        state,
    )
    return lax.while_loop(more, one, start).tokens


def beam_search(step: Step, state: Any, rows: int, length: int, beams: int, length_penalty: Array | float) -> Found:
    """The best of `beams` hypotheses that are kept at every place, for each of b `rows`.

    `state` is that of b * beams rows, each example's one after the other. A hypothesis is as good as its log-probability divided
    by ((5 + its tokens) / 6) ** length_penalty (Wu et al. 2016), on the way and at the end; one that has ended stays as it is.
    """

    def more(now: _Searching) -> Array:
        return (now.place < length) & ~now.ended.all()

    def one(now: _Searching) -> _Searching:
        state, logits = step(now.state, now.last.reshape(-1), now.place)
        count = logits.shape[-1]
        logits = logits.astype(now.total.dtype)
        logs = _allowed(jax.nn.log_softmax(logits)).reshape(rows, beams, count)
        stays = jnp.where(jnp.arange(count) == PAD, 0.0, -jnp.inf).astype(logs.dtype)  # the only way to go on from an end
        totals = now.total[..., None] + jnp.where(now.ended[..., None], stays, logs)  # (b, k, v)
        sizes = now.size + ~now.ended
        scores = totals / (((5.0 + sizes) / 6.0) ** length_penalty)[..., None]
        scores, places = lax.top_k(scores.reshape(rows, -1), beams)
        parent, token = places // count, (places % count).astype(jnp.int32)

        def of_parent(x: Array) -> Array:
            return jnp.take_along_axis(x, parent.reshape(rows, beams, *(1,) * (x.ndim - 2)), axis=1)

        flat = (jnp.arange(rows)[:, None] * beams + parent).reshape(-1)
        tokens = lax.dynamic_update_index_in_dim(of_parent(now.tokens), token, now.place, 2)
        return _Searching(
            place=now.place + 1,
            last=token,
            total=jnp.take_along_axis(totals.reshape(rows, -1), places, axis=1),
            size=of_parent(sizes),
            ended=of_parent(now.ended) | (token == END),
            tokens=tokens,
            scores=scores,
            state=jax.tree.map(lambda x: x[flat], state),
        )

    # At first all hypotheses of an example are the same, the empty one: it counts once.
    total = jnp.where(jnp.arange(beams) == 0, 0.0, -jnp.inf) * jnp.ones((rows, 1))
    start = _Searching(
        place=jnp.zeros((), jnp.int32),
        last=jnp.full((rows, beams), BEGIN, jnp.int32),
        total=total,
        size=jnp.zeros((rows, beams), jnp.int32),
        ended=jnp.zeros((rows, beams), bool),
        tokens=jnp.full((rows, beams, length), PAD, jnp.int32),
        scores=total,
        state=state,
    )
    found = lax.while_loop(more, one, start)
    return Found(found.tokens, found.scores)


def repeated(tree: Any, times: int) -> Any:
    """Each row of a tree of arrays (b, ...) so many times, one after the other: (b * times, ...)."""
    return jax.tree.map(lambda x: jnp.repeat(x, times, axis=0), tree)


def _allowed(logits: Array) -> Array:
    """Without what is never written."""
    number = jnp.arange(logits.shape[-1])
    return jnp.where((number == PAD) | (number == BEGIN), -jnp.inf, logits)
