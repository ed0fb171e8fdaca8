"""Classes as texts: targets that are written letter by letter, in place of one of several."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dlx.data.target import Targets
from dlx.data.text_sequences import padded
from dlx.data.text_tokenizer import Tokenizer
from dlx.data.tokens import END, SPECIAL
from dlx.errors import ConfigError


def captioned(codes: np.ndarray, classes: Sequence[str], captions: Sequence[str], name: str) -> tuple[Targets, dict[str, Any]]:
    """The caption of each example's class, by codes (n,): its letters and END; and what turns such tokens into text again.

    Without captions they are the names of the classes. Raises `ConfigError` where there is not one for each class.
    """
    texts = tuple(captions) or tuple(classes)
    if len(texts) != len(classes):
        raise ConfigError(
            f"data.captions has {len(texts)} texts and {name} has {len(classes)} classes ({', '.join(classes)}): "
            "write one for each"
        )
    if not all(texts):
        raise ConfigError(f"data.captions has an empty text for {classes[texts.index('')]}: write one for each class")
    letters = tuple(sorted({letter for text in texts for letter in text}))
    tokenizer = Tokenizer("character", "spaces", lower=False, lines=False, tokens=(*SPECIAL, *letters))
    rows = [np.append(tokenizer.encode(text), np.int32(END)) for text in texts]
    of_class = padded(rows, max(map(len, rows)))
    targets = Targets(of_class[codes], "tokens", (), ("caption",), (), vocabulary=len(tokenizer))
    return targets, {"target_tokenizer": tokenizer.to_json()}
