"""Sequences of tokens learned from sequences or images: translation, captions."""

from typing import Annotated, Literal

from pydantic import Field

from dlx.config.lane import Config, Lane


class Seq2Seq(Config):
    """A sequence of tokens for each example: cross-entropy of each token, given those before it."""

    kind: Literal["seq2seq"] = "seq2seq"
    label_smoothing: Annotated[Lane, Field(ge=0, lt=1)] = 0.0
    """Share of the target probability that is spread evenly over all tokens (Szegedy et al. 2016); `loss` is without it."""
    teacher_forcing: Annotated[Lane, Field(ge=0, le=1)] | None = None
    """Share of the reference's tokens that the network is given at the end of training; it falls evenly from 1, and its own
    guesses are in the place of the others (scheduled sampling, Bengio et al. 2015). null gives it the reference throughout."""
    translate: bool = True
    """Also write the sequences of whatever is scored, for `exact` and `bleu`; false saves that time."""
    beams: Annotated[int, Field(ge=1, le=64)] = 1
    """Hypotheses that are kept when a sequence is written (beam search); 1 is greedy, always the likeliest token."""
    length_penalty: Annotated[Lane, Field(ge=0, le=10)] = 0.6
    """Of several beams: log-probabilities are divided by ((5 + tokens) / 6) to this power (Wu et al. 2016); 0 prefers short ones."""
