"""`text`: one long text as a stream of tokens, each to be predicted from those before it."""

import numpy as np

from dlx.config.text_data import Text
from dlx.data.dataset import Dataset, Part, TargetKind
from dlx.data.files import existing
from dlx.data.order import Order
from dlx.data.target import Targets
from dlx.data.text_encoder import TextEncoder
from dlx.data.text_files import read_parts
from dlx.data.text_sequences import from_tokens, require_target, unknown_share, windows
from dlx.data.text_tokenizer import Tokenizer
from dlx.errors import DataError

_PARTS = ("train", "validation", "test")
_NEAR = 0.1
"""The share of a part that may be lost to begin it with a whole line."""


def load_text(config: Text, target: TargetKind | None) -> Dataset:
    """Read the text, learn its vocabulary from the training part, and cut each part into windows that follow each other.

    Raises `DataError` for parts without two tokens.
    """
    path = existing(config.path, "data.path")
    name = path.name.split(".")[0]
    require_target(name, target, "tokens", "tokens")
    texts = _divided(read_parts(path), config)
    tokenizer = Tokenizer.fit([texts["train"]], config, lines=True)
    streams = {part: tokenizer.encode(text) for part, text in texts.items()}
    parts = []
    for part in _PARTS:
        stream = streams.get(part, np.empty(0, np.int32))
        inputs, targets = windows(stream, config.length)
        if part in streams and not len(inputs):
            raise DataError(
                f"{path}: the {part} part has {len(stream)} tokens, two or more are needed: change data.validation and data.test"
            )
        if part == "train" and config.limit is not None:
            inputs, targets = inputs[: config.limit], targets[: config.limit]
        parts.append(Part(inputs, targets))
    sizes = ", ".join(f"{len(stream):,} {part}" for part, stream in streams.items())
    report = [f"{sizes} tokens, {len(tokenizer):,} different, in windows of {config.length}"]
    for part, stream in streams.items():
        report.extend(unknown_share(part, [stream]))
    return from_tokens(
        name,
        Targets(parts[0].targets, "tokens", (), ("text",), (), vocabulary=len(tokenizer)),
        (parts[0], parts[1], parts[2]),
        len(tokenizer),
        Order("streams"),
        {"kind": "text", **TextEncoder(tokenizer, config.length, "start", end=False).to_json()},
        tuple(report),
    )


def _divided(texts: dict[str, str], config: Text) -> dict[str, str]:
    """With a test part cut from the end of `train`, and then a validation part, where they are wanted and not there."""
    divided = dict(texts)
    for part, share in (("test", config.test), ("validation", config.validation)):
        if share and part not in texts:
            rest = divided["train"]
            place = _place(rest, round(len(rest) * (1 - share)), config)
            divided["train"], divided[part] = rest[:place], rest[place:]
    return {part: divided[part] for part in _PARTS if part in divided}


def _place(text: str, wanted: int, config: Text) -> int:
    """Where to cut, at `wanted` or soon after it: between lines, or between words where a line's end would take more than a tenth
    of what is cut off. Characters are cut at once.
    """
    if config.unit == "character" or not wanted:
        return wanted
    found = [place for mark in ("\n", " ") if 0 < (place := text.find(mark, wanted - 1) + 1) < len(text)]
    near = wanted + (len(text) - wanted) * _NEAR
    return next((place for place in found if text[place - 1] == "\n" and place <= near), min(found, default=wanted))
