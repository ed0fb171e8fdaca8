"""`text-pairs`: sentences and their translations."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from dlx.config.text_data import TextPairs
from dlx.data.dataset import Dataset, Part, TargetKind
from dlx.data.files import existing
from dlx.data.order import SHUFFLED, Order
from dlx.data.split import divide, split_rows
from dlx.data.target import Targets
from dlx.data.text_encoder import TextEncoder
from dlx.data.text_files import read_lines
from dlx.data.text_sequences import from_tokens, lengths, require_target, unknown_share
from dlx.data.text_tokenizer import Tokenizer
from dlx.data.text_words import without_breaks
from dlx.errors import DataError

_PARTS = ("train", "validation", "test")
Item = TypeVar("Item")
Sentences = tuple[list[str], list[str]]
"""Sources and targets, line by line."""


def load_text_pairs(config: TextPairs, target: TargetKind | None) -> Dataset:
    """Read the pairs, divide them, learn a vocabulary of each side, and leave out pairs that are longer than `config.length`."""
    files = config.source or "", config.target or ""
    name = Path(config.path).name.split(".")[0] if config.path else " to ".join(Path(f).name.removesuffix(".gz") for f in files)
    require_target(name, target, "tokens", "sentences")
    pairs, report = _divided(config)
    # A pair that is left out has no word in a vocabulary. How long a text is in byte pairs is known only when those were learned.
    learned = config.unit == "bpe"
    tokenizers = [Tokenizer.fit(texts, config) if learned else Tokenizer.empty(config) for texts in pairs["train"]]
    tokens: dict[str, list[list[np.ndarray]]] = {}
    for part in _PARTS:
        encoded = _encoded(tokenizers, pairs[part])
        rows = short_enough(encoded, (config.length, config.length))
        tokens[part] = [_taken(side, rows) for side in encoded]
        if left := len(pairs[part][0]) - len(rows):
            report.append(f"{part} pairs with a sentence of more than {config.length} tokens were left out: {left:,}")
        pairs[part] = _taken(pairs[part][0], rows), _taken(pairs[part][1], rows)
    if not pairs["train"][0]:
        raise DataError(f"{name}: no training pair has at most {config.length} tokens on both sides: raise data.length")
    if not learned:
        tokenizers = [Tokenizer.fit(texts, config) for texts in pairs["train"]]
        tokens = {part: _encoded(tokenizers, pairs[part]) for part in _PARTS}
    longest = [max(int(lengths(tokens[part][side]).max(initial=1)) for part in _PARTS) for side in (0, 1)]
    sides = [TextEncoder(tokenizers[side], longest[side] + 1, "end", end=True) for side in (0, 1)]
    parts = [Part(sides[0].rows(tokens[part][0]), sides[1].rows(tokens[part][1])) for part in _PARTS]
    trained = [lengths(side) for side in tokens["train"]]
    for side, word in ((0, "source"), (1, "target")):
        mean, different = trained[side].mean(), len(tokenizers[side])
        report.append(f"the {len(parts[0]):,} training {word}s have {mean:.1f} tokens on average, {different:,} different ones")
        for part in _PARTS:
            report.extend(unknown_share(f"{part} {word}", tokens[part][side]))
    return from_tokens(
        name,
        Targets(parts[0].targets, "tokens", (), ("target",), (), vocabulary=len(tokenizers[1])),
        (parts[0], parts[1], parts[2]),
        len(tokenizers[0]),
        Order("lengths", trained[0] + trained[1]) if config.bucket else SHUFFLED,
        {"kind": "text", **sides[0].to_json(), "target_tokenizer": tokenizers[1].to_json()},
        tuple(report),
    )


def _divided(config: TextPairs) -> tuple[dict[str, Sentences], list[str]]:
    """The pairs of each part, and what was left out. Pairs with the same source, as the network sees it, are drawn for the same
    part: a network that is tested on sentences of which it has learned other translations would seem better than it is.
    """
    found, report = _read(config)
    sources, targets = found["train"]
    groups: dict[str, int] = {}
    seen = Tokenizer.empty(config)
    group = np.array([groups.setdefault(" ".join(seen.prepared(source).split()), len(groups)) for source in sources])
    division = divide(
        config.model_copy(update={"limit": None}),
        len(groups),
        own_validation="validation" in found,
        own_test="test" in found,
    )
    drawn = {
        part: np.flatnonzero(np.isin(group, chosen))
        for part, chosen in zip(_PARTS, (division.train, division.validation, division.test), strict=True)
    }
    if config.limit is not None and config.limit < len(drawn["train"]):
        kept, _ = split_rows(len(drawn["train"]), (1 - config.limit / len(drawn["train"]),), config.seed)
        drawn["train"] = drawn["train"][kept]
    pairs = {part: (_taken(sources, rows), _taken(targets, rows)) for part, rows in drawn.items()}
    return {**pairs, **{part: found[part] for part in found if part != "train"}}, report


def _read(config: TextPairs) -> tuple[dict[str, Sentences], list[str]]:
    """The pairs of each part there is, `train` first, and what was left out."""
    report: list[str] = []
    found: dict[str, Sentences] = {}
    if config.path is not None:
        found["train"] = read_columns(existing(config.path, "data.path"), config.columns, report)
    for part, prefix in (("train", ""), ("validation", "validation_"), ("test", "test_")):
        source, target = vars(config)[f"{prefix}source"], vars(config)[f"{prefix}target"]
        if source is not None:
            places = existing(source, f"data.{prefix}source"), existing(target, f"data.{prefix}target")
            found[part] = _from_lines(*places, report)
    return found, report


def _from_lines(source: Path, target: Path, report: list[str]) -> Sentences:
    sources, targets = read_lines(source), read_lines(target)
    if len(sources) != len(targets):
        raise DataError(
            f"{source} has {len(sources):,} lines and {target} {len(targets):,}: each line must have its translation"
        )
    return _without_empty(source, sources, targets, report)


def read_columns(path: Path, columns: tuple[int, int], report: list[str]) -> Sentences:
    """The pairs of a file with tabs; `report` gets a sentence where some are left out. Raises `DataError` where there are none."""
    lines: list[list[str]] = []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        fields = line.split("\t")
        if len(fields) <= max(columns):
            raise DataError(
                f"{path}, line {number:,} has {len(fields)} columns and data.columns={list(columns)}: put a tab between the "
                "two, or name columns that are there, from 0"
            )
        lines.append(fields)
    return _without_empty(path, [line[columns[0]] for line in lines], [line[columns[1]] for line in lines], report)


def _without_empty(path: Path, sources: list[str], targets: list[str], report: list[str]) -> Sentences:
    kept = [pair for pair in zip(sources, targets, strict=True) if pair[0].strip() and pair[1].strip()]
    if not kept:
        raise DataError(f"{path} has no sentence with a translation")
    if left := len(sources) - len(kept):
        report.append(f"pairs of {path.name} with an empty side were left out: {left:,}")
    return [without_breaks(source) for source, _ in kept], [without_breaks(target) for _, target in kept]


def short_enough(sides: Sequence[list[np.ndarray]], most: tuple[int, int]) -> np.ndarray:
    """The rows (n,) of the pairs of which the source and the target have at most so many tokens."""
    return np.flatnonzero((lengths(sides[0]) <= most[0]) & (lengths(sides[1]) <= most[1]))


def _encoded(tokenizers: Sequence[Tokenizer], sentences: Sentences) -> list[list[np.ndarray]]:
    return [tokenizer.encode_all(texts) for tokenizer, texts in zip(tokenizers, sentences, strict=True)]


def _taken(items: Sequence[Item], rows: Sequence[int] | np.ndarray) -> list[Item]:
    return [items[row] for row in rows]
