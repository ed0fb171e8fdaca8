"""Text with its targets, for judging a trained network."""

from pathlib import Path
from typing import Any

import numpy as np

from dlx.config.data import DataConfig
from dlx.config.text_data import LabelledText, TextPairs
from dlx.data.dataset import Part
from dlx.data.known_targets import class_codes, class_names
from dlx.data.preparation import Preparation
from dlx.data.text_files import read_text
from dlx.data.text_labels import part_folders, read_labelled_texts
from dlx.data.text_pairs import read_columns, short_enough
from dlx.data.text_sequences import padded, windows
from dlx.data.tokens import END
from dlx.errors import DataError


def read_judging_text(preparation: Preparation, path: Path, config: DataConfig) -> tuple[Part, tuple[str, ...]]:
    """What the run's kind of source is: texts with classes, pairs in a file with tabs, or one text. And a sentence for each thing
    worth telling. Raises `DataError` for what has nothing to be judged by, and for classes that the network does not know.
    """
    match config:
        case LabelledText():
            return _labelled(preparation, path, config)
        case TextPairs():
            return _pairs(preparation, path, config)
        case _:
            return _stream(preparation, path)


def _labelled(preparation: Preparation, path: Path, config: LabelledText) -> tuple[Part, tuple[str, ...]]:
    notes: list[str] = []
    if path.is_file():
        config = config.model_copy(update={"files": {}})
    elif not config.files and (folders := part_folders(path)):
        if "test" not in folders:
            raise DataError(f"{path} holds {folders['train'].name} and no folder called test: name the folder to be judged by")
        path = folders["test"]
        notes.append(f"of the parts only {path.name} is used")
    found = read_labelled_texts(path, config)
    if found.left_out:
        notes.append(f"texts without words or class were left out: {found.left_out:,}")
    codes, said = class_codes(preparation.spec, _names(found.labels))
    if said:
        raise DataError(f"{path} differs from the training data: {said}")
    return Part(preparation.text_encoder(str(path)).encode(found.texts), codes), tuple(notes)


def _names(labels: list[Any]) -> np.ndarray:
    """(n,) text as classes are called."""
    numbers = all(isinstance(label, int | float) and not isinstance(label, bool) for label in labels)
    return class_names(np.array(labels)) if numbers else np.array([str(label) for label in labels])


def _pairs(preparation: Preparation, path: Path, config: TextPairs) -> tuple[Part, tuple[str, ...]]:
    notes: list[str] = []
    if path.is_dir():
        raise DataError(f"{path} is a folder: bring a file with a tab between the sentences of each pair")
    encoder, target = preparation.text_encoder(str(path)), preparation.target_tokenizer
    assert target is not None
    sources, targets = read_columns(path, config.columns, notes)
    length, target_length = encoder.length - 1, preparation.spec.target_length - 1
    tokens = [encoder.tokenizer.encode_all(sources), target.encode_all(targets)]
    rows = short_enough(tokens, (length, target_length))
    if left := len(sources) - len(rows):
        notes.append(f"pairs with more than {length} or {target_length} tokens were left out: {left:,}")
    if not len(rows):
        raise DataError(f"{path} has no pair of at most {length} and {target_length} tokens")
    ended = [np.append(tokens[1][row], np.int32(END)) for row in rows]
    return Part(encoder.rows([tokens[0][row] for row in rows]), padded(ended, preparation.spec.target_length)), tuple(notes)


def _stream(preparation: Preparation, path: Path) -> tuple[Part, tuple[str, ...]]:
    encoder = preparation.text_encoder(str(path))
    inputs, targets = windows(encoder.tokenizer.encode(read_text(path)), encoder.length)
    if not len(inputs):
        raise DataError(f"{path} has fewer than two tokens")
    return Part(inputs, targets), ()
