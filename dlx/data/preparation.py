"""What a run stored of its data, read back: all that turns new raw data into the inputs the network learned from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from dlx.data.dataset import Scaling, Spec, TargetKind
from dlx.data.scaling import Moments
from dlx.errors import DataError

if TYPE_CHECKING:  # pandas is imported for tables only
    from dlx.data.encoder import TableEncoder
    from dlx.data.text_encoder import TextEncoder
    from dlx.data.text_tokenizer import Tokenizer

Kind = Literal["table", "images", "arrays", "text"]
"""What the training data were: columns, pictures, arrays that dlx only checked, or text."""


@dataclass(frozen=True)
class Preparation:
    """From new raw data to inputs, and from outputs to names. Made of `Dataset.preprocessing`, as each run stores it."""

    kind: Kind
    spec: Spec
    """`class_counts` are zeros and `examples` is 0 for a run that was stored before they were."""
    scaling: Scaling
    dtype: np.dtype[Any]
    """Of the inputs: uint8 for images, else float32."""
    moments: Moments | None
    """Of the training inputs, as the network gets them before scaling. None for text, and for a run stored before there were any."""
    encoder: "TableEncoder | None"
    """For tables."""
    size: tuple[int, int] | None
    """Height and width that images are brought to."""
    color: Literal["rgb", "grey"] | None
    """What images are turned into."""
    pixel_range: int
    """The highest value a pixel has: 255 but for digits."""
    file_columns: tuple[str, ...]
    """For tables: the columns of the training file in order, targets too; empty for a run stored before there were any."""
    texts: "TextEncoder | None" = None
    """For text."""
    target_tokenizer: "Tokenizer | None" = None
    """What the targets were made with, and outputs are read with, where they are tokens."""

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> "Preparation":
        """The preparation whose JSON this is. Raises `DataError` for a tree that is none."""
        try:
            return _read(tree)
        except (KeyError, TypeError, ValueError) as error:
            what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(f"the stored preprocessing cannot be used ({what}): train the run again") from error

    @property
    def columns(self) -> tuple[str, ...]:
        """A name for each place of the inputs' last axis: encoded columns, `red`, `grey`, or numbers."""
        if self.encoder is not None:
            return self.encoder.outputs
        features = len(self.scaling.mean)
        if self.kind == "images":
            return ("red", "green", "blue") if features == 3 else ("grey",)
        return tuple(str(number) for number in range(features))

    def text_encoder(self, where: str) -> "TextEncoder":
        """The encoder for the texts in `where`. Raises `DataError` where the network did not learn from text."""
        if self.texts is not None:
            return self.texts
        learned = "a table" if self.kind == "table" else self.kind
        raise DataError(f"{where} is text and the network learned from {learned}: bring the like of its training data")

    def table_encoder(self, where: str) -> "TableEncoder":
        """The encoder for the table in `where`. Raises `DataError` where the network did not learn from a table."""
        if self.encoder is not None:
            return self.encoder
        shape = " x ".join(str(length) for length in self.spec.input_shape)
        if self.kind == "text":
            raise DataError(f"{where} is a table and the network learned from text: bring a file of text")
        learned, needed = (
            ("images", "a folder of images or an NPZ file") if self.kind == "images" else ("arrays", "an NPZ file")
        )
        raise DataError(f"{where} is a table and the network learned from {learned} of {shape}: bring {needed}")


def _read(tree: Mapping[str, Any]) -> Preparation:
    kind: Kind = tree["kind"]
    if kind not in get_args(Kind):
        raise ValueError(f"its kind is {kind!r}")
    encoder = None
    if kind == "table":
        from dlx.data.encoder import TableEncoder

        encoder = TableEncoder.from_json(tree["encoder"])
    texts, target_tokenizer = _texts(tree) if kind == "text" or "target_tokenizer" in tree else (None, None)
    moments = None
    if "input_mean" in tree and kind != "text":
        moments = Moments(np.asarray(tree["input_mean"], np.float64), np.asarray(tree["input_std"], np.float64))
    spec, scaling = _spec(tree), _scaling(tree)
    if not scaling.mean.shape == scaling.inverse_std.shape == spec.input_shape[-1:]:
        raise ValueError("its mean and inverse_std are not of the inputs' length")
    dtype = tree.get("input_dtype") or ("uint8" if kind == "images" else "float32")
    height_width = tree.get("size")
    return Preparation(
        kind,
        spec,
        scaling,
        np.dtype(dtype),
        moments,
        encoder,
        None if height_width is None else (int(height_width[0]), int(height_width[1])),
        tree.get("color"),
        int(tree.get("pixel_range", 255)),
        tuple(tree.get("columns", ())),
        texts,
        target_tokenizer,
    )


def _texts(tree: Mapping[str, Any]) -> "tuple[TextEncoder | None, Tokenizer | None]":
    """What inputs of text are read with, and targets of tokens; a stream of text has the same tokens on both sides."""
    from dlx.data.text_encoder import TextEncoder
    from dlx.data.text_tokenizer import Tokenizer

    texts = TextEncoder.from_json(tree) if tree["kind"] == "text" else None
    if "target_tokenizer" in tree:
        return texts, Tokenizer.from_json(tree["target_tokenizer"])
    return texts, texts.tokenizer if texts is not None and tree["target"] == "tokens" else None


def _scaling(tree: Mapping[str, Any]) -> Scaling:
    return Scaling(np.asarray(tree["mean"], np.float32), np.asarray(tree["inverse_std"], np.float32))


def _spec(tree: Mapping[str, Any]) -> Spec:
    target: TargetKind = tree["target"]
    if not any(target in get_args(kinds) for kinds in get_args(TargetKind)):  # a union of literals
        raise ValueError(f"its target is {target!r}")
    classes = tuple(str(name) for name in tree["classes"])
    mean = tuple(float(value) for value in tree["target_mean"])
    return Spec(
        input_shape=tuple(int(length) for length in tree["input_shape"]),
        target=target,
        outputs=int(tree.get("outputs", len(mean) if target == "number" else len(classes))),
        classes=classes,
        class_counts=tuple(int(count) for count in tree.get("class_counts") or (0,) * len(classes)),
        target_names=tuple(str(name) for name in tree["target_names"]),
        target_mean=mean,
        target_std=tuple(float(value) for value in tree["target_std"]),
        examples=int(tree.get("examples", 0)),
        tokens=int(tree.get("tokens", 0)),
        target_length=int(tree.get("target_length", 0)),
    )
