"""BLEU of a corpus (Papineni et al. 2002, "BLEU: a method for automatic evaluation of machine translation").

In two halves: what each sentence adds, counted on the device, and the figure, from the sums of all sentences.

The tokens are those of the data, so that figures compare within one vocabulary only. A token that the vocabulary lacks
(UNKNOWN) matches nothing, as a reader would not take `<unk>` for the word that stood there.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array

from dlx.data.tokens import END, PAD, UNKNOWN

ORDER = 4
"""The longest n-grams that count."""


def ngram_matches(said: Array, wanted: Array) -> dict[str, Array]:
    """What each sentence adds: `matches` and `ngrams` (b, ORDER), `said` and `wanted` (b,), float32.

    Tokens of hypotheses (b, t) and references (b, r), each up to its first END. `ngrams` are those of the hypothesis of each
    length, `matches` how many of them the reference has too, each at most as often as it is there (clipped); `said` and `wanted`
    are lengths.
    """
    here, there = _tokens(said), _tokens(wanted)
    found = jnp.where(here & (said != UNKNOWN), said, -1), jnp.where(there & (wanted != UNKNOWN), wanted, -2)
    within = found[0][:, :, None] == found[0][:, None]  # (b, t, t): the same token of the hypothesis
    across = found[0][:, :, None] == found[1][:, None]  # (b, t, r)
    matches, ngrams = [], []
    same, shared = within, across
    for order in range(ORDER):  # n-grams of order + 1 tokens, by where they begin
        if order:
            same, shared = _extended(same, within, order), _extended(shared, across, order)
        whole = here[:, order:]
        first = ~jnp.tril(same, -1).any(-1)  # of equal n-grams the first stands for all
        clipped = jnp.minimum(same.sum(-1), shared.sum(-1))
        matches.append(jnp.where(first & whole, clipped, 0).sum(-1))
        ngrams.append(whole.sum(-1))
    counts = {"matches": jnp.stack(matches, -1), "ngrams": jnp.stack(ngrams, -1), "said": here.sum(-1), "wanted": there.sum(-1)}
    return {name: count.astype(jnp.float32) for name, count in counts.items()}


def corpus_bleu(matches: np.ndarray, ngrams: np.ndarray, said: float, wanted: float) -> float:
    """BLEU in 0..100 from the sums over a corpus: `matches` and `ngrams` (ORDER,), all lengths said and wanted.

    0 where no n-gram of some length matches: nothing is smoothed.
    """
    if not matches.all():
        return 0.0
    brevity = min(0.0, 1 - wanted / said)
    return 100 * float(np.exp(brevity + np.mean(np.log(matches / ngrams))))


def _tokens(sequences: Array) -> Array:
    """Which tokens (b, t) are words: those before the first END, and no padding."""
    ended = jnp.cumsum(sequences == END, axis=-1) > 0
    return ~ended & (sequences != PAD)


def _extended(same: Array, one: Array, order: int) -> Array:
    """Which n-grams are equal, from those of a token less (b, t - order + 1, r - order + 1) and the tokens `one` (b, t, r)."""
    return same[:, :-1, :-1] & one[:, order:, order:]
