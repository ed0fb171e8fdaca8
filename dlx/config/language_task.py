"""Language models: what comes next in a text."""

from typing import Literal

from dlx.config.lane import Config


class Language(Config):
    """Each next token of a text, given those before it: softmax cross-entropy, by truncated backpropagation through time.

    Gradients go back to the beginning of a window of `data.length` tokens (Williams and Peng 1990; for language Mikolov et al. 2010).
    """

    kind: Literal["language"] = "language"
    carry: bool = True
    """Read each window on from the state in which the one before it ended, in training and wherever it is scored, so that what was
    read long ago still counts; false begins each window with an empty state."""
