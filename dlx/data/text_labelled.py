"""`labelled-text`: sentences or documents, each with a class."""

from pathlib import Path

import numpy as np

from dlx.config.text_data import LabelledText
from dlx.data.dataset import Dataset, Part, TargetKind
from dlx.data.files import existing
from dlx.data.order import SHUFFLED, Order
from dlx.data.split import divide
from dlx.data.target import TABLE_CLASSES, Targets, encode_targets
from dlx.data.text_encoder import TextEncoder
from dlx.data.text_labels import LabelledTexts, part_folders, read_labelled_texts
from dlx.data.text_sequences import from_tokens, lengths, require_target, unknown_share
from dlx.data.text_tokenizer import Tokenizer
from dlx.data.text_words import without_breaks
from dlx.errors import first_of

_PARTS = ("train", "validation", "test")
_SHOWN = 10
"""Classes that a sentence names."""


def load_labelled_text(config: LabelledText, target: TargetKind | None) -> Dataset:
    """Read the texts, divide them by class, and learn the vocabulary from the training part."""
    path = existing(config.path, "data.path")
    name = path.name.split(".")[0]
    require_target(name, target, "class", "classes")
    found = _read(path, config)
    labels = [label for texts in found.values() for label in texts.labels]
    targets = encode_targets(np.array(labels, object), (config.target,), "class", name, most_classes=TABLE_CLASSES)
    pool = found["train"].texts
    division = divide(
        config, len(pool), targets.values[: len(pool)], own_validation="validation" in found, own_test="test" in found
    )
    texts = [text for part in found.values() for text in part.texts]
    starts = dict(zip(found, np.cumsum([0, *(len(part.texts) for part in found.values())]), strict=False))
    rows = {
        part: starts[part] + np.arange(len(found[part].texts)) if part in found and part != "train" else drawn
        for part, drawn in zip(_PARTS, (division.train, division.validation, division.test), strict=True)
    }
    tokenizer = Tokenizer.fit((without_breaks(texts[row]) for row in rows["train"]), config)
    tokens = {part: tokenizer.encode_all([without_breaks(texts[row]) for row in rows[part]]) for part in _PARTS}
    encoder = TextEncoder(tokenizer, min(config.length, int(lengths(tokens["train"]).max())), config.cut, end=False)
    parts = tuple(Part(encoder.rows(tokens[part]), targets.values[rows[part]]) for part in _PARTS)
    return from_tokens(
        name,
        targets,
        (parts[0], parts[1], parts[2]),
        len(tokenizer),
        Order("lengths", np.minimum(lengths(tokens["train"]), encoder.length)) if config.bucket else SHUFFLED,
        {"kind": "text", **encoder.to_json()},
        (*_report(encoder, found, tokens), *_classes(targets, rows, own_test="test" in found)),
    )


def _read(path: Path, config: LabelledText) -> dict[str, LabelledTexts]:
    """The texts by part, `train` first; validation and test where there are such."""
    folders = {} if config.files else part_folders(path)
    found = {part: read_labelled_texts(folder, config) for part, folder in folders.items()}
    found = {part: found[part] for part in _PARTS if part in found} or {"train": read_labelled_texts(path, config)}
    if config.test_path is not None:
        found["test"] = read_labelled_texts(existing(config.test_path, "data.test_path"), config)
    return found


def _report(encoder: TextEncoder, found: dict[str, LabelledTexts], tokens: dict[str, list[np.ndarray]]) -> tuple[str, ...]:
    train = lengths(tokens["train"])
    different = len(encoder.tokenizer)
    said = [f"the {len(train):,} training texts have {train.mean():.1f} tokens on average, {different:,} different ones"]
    if left := sum(texts.left_out for texts in found.values()):
        said.append(f"texts without words or class were left out: {left:,}")
    if longer := int((train > encoder.length).sum()):
        said.append(f"{longer:,} training texts are longer than {encoder.length} tokens: their {encoder.cut} is cut off")
    for part in _PARTS:
        said.extend(unknown_share(part, tokens[part]))
    return tuple(said)


def _classes(targets: Targets, rows: dict[str, np.ndarray], *, own_test: bool) -> tuple[str, ...]:
    """How many texts each class has, and which ones a test part that was brought does not have: a folder may be no class at all."""
    counts = {part: np.bincount(targets.values[rows[part]], minlength=len(targets.classes)) for part in _PARTS}
    there = [part for part in _PARTS if len(rows[part])]
    said = [f"{name} {', '.join(f'{counts[part][code]:,}' for part in there)}" for code, name in enumerate(targets.classes)]
    sentences = [f"texts by class ({', '.join(there)}): {first_of(said, _SHOWN, between='; ')}"]
    absent = [targets.classes[code] for code in np.flatnonzero((counts["train"] > 0) & (counts["test"] == 0))]
    if own_test and absent:
        sentences.append(
            f"no text of the test part is of {first_of(absent, _SHOWN)}, which is a class of the training "
            "part: if it is none, name the files or folders of the others with data.files, or leave its texts out"
        )
    return tuple(sentences)
