"""`text-pairs`: sentences and their translations, with a vocabulary for each side."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dlx.config.text_data import TextPairs
from dlx.data import Dataset, Preparation, load, read_labelled
from dlx.data.tokens import END, PAD, UNKNOWN
from dlx.errors import ConfigError, DataError

PAIRS = [(f"One {'big ' * (n % 3)}cat, {n % 5}!", f"une {'grosse ' * (n % 3)}chatte, {n % 5} !") for n in range(60)]


def tabs(path: Path, pairs: list[tuple[str, str]] = PAIRS, more: str = "") -> str:
    path.write_text("".join(f"{source}\t{target}{more}\n" for source, target in pairs))
    return str(path)


def lines(path: Path, texts: list[str]) -> str:
    path.write_text("".join(text + "\n" for text in texts))
    return str(path)


def prepared(dataset: Dataset) -> Preparation:
    return Preparation.from_json(json.loads(json.dumps(dict(dataset.preprocessing))))


def decoded(dataset: Dataset, source: np.ndarray, target: np.ndarray) -> tuple[str, str]:
    preparation = prepared(dataset)
    assert preparation.target_tokenizer is not None
    return preparation.text_encoder("").tokenizer.decode(source), preparation.target_tokenizer.decode(target)


def test_both_sides_end_and_are_padded(tmp_path):
    path = tabs(tmp_path / "a.txt", [("A<br />b", "x y z"), ("a", "x"), ("b A b", "y<br>")])
    dataset = load(TextPairs(path=path, validation=0, test=0, min_frequency=1))
    assert dataset.train.inputs.tolist() == [[4, 5, END, PAD], [4, END, PAD, PAD], [5, 4, 5, END]]
    assert dataset.train.targets.tolist() == [[4, 5, 6, END], [4, END, PAD, PAD], [5, END, PAD, PAD]]
    spec = dataset.spec
    assert (spec.tokens, spec.outputs, spec.target, spec.input_shape, spec.target_length) == (6, 7, "tokens", (4,), 4)
    assert dataset.train.targets.dtype == np.int32
    assert prepared(dataset).spec == spec


def test_sentences_are_decoded_as_they_were_but_for_their_case(tmp_path):
    dataset = load(TextPairs(path=tabs(tmp_path / "a.txt"), validation=0, test=0))
    found = [decoded(dataset, *pair) for pair in zip(dataset.train.inputs, dataset.train.targets, strict=True)]
    assert found == [(source.lower(), target.replace(" !", "!")) for source, target in PAIRS]


def test_columns_and_members_of_an_archive_are_chosen(tmp_path):
    tabs(tmp_path / "fra.txt", more="\tCC-BY 2.0")
    with zipfile.ZipFile(tmp_path / "fra-eng.zip", "w") as archive:
        archive.write(tmp_path / "fra.txt", "fra.txt")
        archive.writestr("_about.txt", "no pairs")
    there = load(TextPairs(path=str(tmp_path / "fra.txt"), validation=0, test=0))
    back = load(TextPairs(path=str(tmp_path / "fra-eng.zip"), columns=(1, 0), validation=0, test=0))
    assert np.array_equal(back.train.inputs, there.train.targets)
    assert np.array_equal(back.train.targets, there.train.inputs)


def test_two_files_go_line_by_line_and_parts_have_their_own(tmp_path):
    sources, targets = zip(*PAIRS, strict=True)
    config = TextPairs(
        source=lines(tmp_path / "train.en", list(sources)),
        target=lines(tmp_path / "train.fr", list(targets)),
        validation_source=lines(tmp_path / "val.en", ["one cat", "two dogs"]),
        validation_target=lines(tmp_path / "val.fr", ["une chatte", "deux chiens"]),
        test=0.2,
    )
    dataset = load(config)
    assert decoded(dataset, dataset.validation.inputs[0], dataset.validation.targets[0]) == ("one cat", "une chatte")
    assert dataset.validation.inputs[1, :3].tolist() == [UNKNOWN, UNKNOWN, END]
    assert len(dataset.train) + len(dataset.test) == len(PAIRS)
    assert len(dataset.test) > 0
    lines(tmp_path / "val.fr", ["une chatte"])
    with pytest.raises(DataError, match=r"val.en has 2 lines and .*val.fr 1: each line must have its translation"):
        load(config)


def test_pairs_that_are_too_long_are_left_out_and_told(tmp_path):
    pairs = [("a b c d", "x"), ("a", "x y z w"), ("a b c", "x y z"), ("b", "x")] * 3
    dataset = load(TextPairs(path=tabs(tmp_path / "a.txt", pairs), length=3, validation=0, test=0))
    assert (len(dataset.train), dataset.spec.input_shape, dataset.spec.target_length) == (6, (4,), 4)
    assert "train pairs with a sentence of more than 3 tokens were left out: 6" in dataset.report
    with pytest.raises(DataError, match=r"no training pair has at most 3 tokens on both sides: raise data\.length"):
        load(TextPairs(path=tabs(tmp_path / "b.txt", pairs[:2] * 3), length=3, validation=0, test=0))


def test_a_sentence_with_several_translations_is_in_one_part_only(tmp_path):
    pairs = [(f"s{n // 4}", f"t{n}") for n in range(200)]
    dataset = load(TextPairs(path=tabs(tmp_path / "a.txt", pairs), validation=0.2, test=0.2, min_frequency=1))
    parts = [part.inputs for part in (dataset.train, dataset.validation, dataset.test)]
    assert [len(part) for part in parts] == [128, 32, 40]
    trained = set(parts[0][:, 0].tolist())
    assert len(trained) == 32
    assert {token for part in parts[1:] for token in part[:, 0].tolist()} == {UNKNOWN}
    short = load(TextPairs(path=str(tmp_path / "a.txt"), validation=0.2, test=0.2, min_frequency=1, limit=10))
    assert [len(part) for part in (short.train, short.validation, short.test)] == [10, 32, 40]


def test_sentences_that_are_one_to_the_network_are_in_one_part(tmp_path):
    pairs = [(("Go {}  now.", "GO {} NOW.", "go {} now. ")[n % 3].format(n // 3), f"t{n}") for n in range(120)]
    dataset = load(TextPairs(path=tabs(tmp_path / "a.txt", pairs), validation=0, test=0.3, min_frequency=1))
    train, test = (part.inputs.tolist() for part in (dataset.train, dataset.test))
    assert test
    assert not {*map(tuple, train)} & {*map(tuple, test)}
    assert all(row[1] == UNKNOWN for row in test), "the number of each sentence is in no training pair"


@pytest.mark.parametrize("unit", ["word", "character"])
def test_a_pair_that_is_left_out_has_nothing_in_a_vocabulary(tmp_path, unit):
    path = tabs(tmp_path / "a.txt", [("a b", "x y"), ("c c c c c c c", "z"), ("b a", "y x")])
    dataset = load(TextPairs(path=path, unit=unit, validation=0, test=0, min_frequency=1, length=4))
    assert (dataset.spec.tokens, dataset.spec.outputs, len(dataset.train)) == ((6, 6, 2) if unit == "word" else (7, 7, 2))


def test_batches_are_of_similar_lengths(tmp_path):
    dataset = load(TextPairs(path=tabs(tmp_path / "a.txt"), validation=0, test=0))
    both = (dataset.train.inputs != PAD).sum(axis=1) + (dataset.train.targets != PAD).sum(axis=1)
    assert np.array_equal(dataset.order.lengths, both - 2)  # the ends are in every one
    assert load(TextPairs(path=str(tmp_path / "a.txt"), bucket=False)).order.kind == "shuffled"


def test_new_pairs_are_judged(tmp_path):
    config = TextPairs(path=tabs(tmp_path / "a.txt"), validation=0, test=0)
    dataset = load(config)
    preparation = prepared(dataset)
    part, notes = read_labelled(preparation, config.path or "", config)
    assert notes == ()
    assert np.array_equal(part.inputs, dataset.train.inputs)
    assert np.array_equal(part.targets, dataset.train.targets)
    part, notes = read_labelled(
        preparation, tabs(tmp_path / "b.txt", [("cat", "chatte"), ("cat " * 9, "chatte"), ("cat", " ")]), config
    )
    assert len(part) == 1
    assert notes == (
        "pairs of b.txt with an empty side were left out: 1",
        "pairs with more than 7 or 7 tokens were left out: 1",
    )


def test_what_are_no_pairs_is_told(tmp_path):
    (tmp_path / "a.txt").write_text("one\tune\n\n \nalone\n")
    with pytest.raises(DataError, match=r"a.txt, line 4 has 1 columns and data.columns=\[0, 1\]: put a tab between the two"):
        load(TextPairs(path=str(tmp_path / "a.txt")))
    with pytest.raises(DataError, match="has no sentence with a translation"):
        load(TextPairs(path=tabs(tmp_path / "b.txt", [(" ", "a")])))
    with pytest.raises(ConfigError, match="a has sentences to predict"):
        load(TextPairs(path=str(tmp_path / "a.txt")), "class")


def test_real_captions(real_data):
    def path(name: str) -> str:
        return str(real_data(f"multi30k/{name}.gz"))

    dataset = load(
        TextPairs(
            source=path("val.de"),
            target=path("val.en"),
            test_source=path("test_2016_flickr.de"),
            test_target=path("test_2016_flickr.en"),
            validation=0,
        )
    )
    assert (len(dataset.train), len(dataset.test)) == (1014, 1000)
    source, target = decoded(dataset, dataset.train.inputs[0], dataset.train.targets[0])
    assert source == "eine gruppe von männern <unk> <unk> auf einen lastwagen"
    assert target.startswith("a group of men are")
