"""`text`: one long text, cut into windows of which nothing is lost, in the order in which it is read."""

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dlx.config.text_data import Text
from dlx.data import Dataset, Preparation, batch_rows, load
from dlx.data.tokens import END, PAD, UNKNOWN
from dlx.errors import ConfigError, DataError, MissingInputError


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


def decoded(dataset: Dataset, tokens: np.ndarray) -> str:
    texts = Preparation.from_json(dataset.preprocessing).texts
    assert texts is not None
    return texts.tokenizer.decode(tokens.ravel())


def test_windows_follow_each_other_and_targets_are_one_further(tmp_path):
    path = write(tmp_path / "a.txt", "abcdefgh")
    dataset = load(Text(path=path, length=3, validation=0, test=0))
    a = dataset.train.inputs[0, 0]
    assert (dataset.train.inputs - a).tolist() == [[0, 1, 2], [3, 4, 5], [6, PAD - a, PAD - a]]
    assert (dataset.train.targets - a).tolist() == [[1, 2, 3], [4, 5, 6], [7, PAD - a, PAD - a]]
    assert decoded(dataset, dataset.train.inputs) + "h" == "a" + decoded(dataset, dataset.train.targets) == "abcdefgh"
    spec = dataset.spec
    assert (spec.input_shape, spec.target, spec.target_length, spec.tokens, spec.outputs) == ((3,), "tokens", 3, 12, 12)
    assert dataset.train.inputs.dtype == dataset.train.targets.dtype == np.int32
    assert (len(dataset.validation), len(dataset.test), dataset.validation.inputs.shape) == (0, 0, (0, 3))


def test_a_batch_reads_its_streams_on(tmp_path):
    dataset = load(Text(path=write(tmp_path / "a.txt", "x" + "abcdef" * 20), length=5, validation=0, test=0))
    assert dataset.order.kind == "streams"
    steps = batch_rows(0, 0, 6, len(dataset.train), 4, dataset.order)
    for stream in steps.T:
        text = decoded(dataset, dataset.train.inputs[stream])
        assert text in "x" + "abcdef" * 20
        assert len(text) == 30


def test_the_end_is_validated_and_then_tested(tmp_path):
    text = "".join(chr(97 + i % 26) for i in range(200))
    dataset = load(Text(path=write(tmp_path / "a.txt", text), length=8, validation=0.25, test=0.2))
    parts = [decoded(dataset, part.inputs) for part in (dataset.train, dataset.validation, dataset.test)]
    assert parts == [text[:119], text[120:159], text[160:199]]


@pytest.mark.parametrize(("line", "expected"), [("a b c d\n", "a b c d\n"), ("a b c d ", "a b c d ")])
def test_no_word_is_cut_in_two(tmp_path, line, expected):
    path = write(tmp_path / "a.txt", line * 50)
    dataset = load(Text(path=path, unit="word", length=8, validation=0.13, test=0.17))
    assert set(np.unique(dataset.test.targets)) <= {PAD, END, *range(4, 8)}
    first = dataset.test.inputs[0, 0]
    assert decoded(dataset, np.array([first])) in expected.split()


def test_a_part_is_not_lost_to_begin_with_a_whole_line(tmp_path):
    path = write(tmp_path / "a.txt", "a b " * 250 + "\nc d e f g\n")
    dataset = load(Text(path=path, unit="word", validation=0, test=0.5))
    assert decoded(dataset, dataset.train.inputs).count("b") == 126
    path = write(tmp_path / "b.txt", "a b\n" * 250)
    dataset = load(Text(path=path, unit="word", validation=0, test=0.499))
    assert decoded(dataset, dataset.train.inputs) == "a b\n" * 125 + "a b"


def test_only_the_training_part_decides_the_vocabulary(tmp_path):
    path = write(tmp_path / "a.txt", "a" * 81 + "b" * 9 + "c" * 10)
    dataset = load(Text(path=path, validation=0.1, test=0.1))
    assert (dataset.spec.tokens, set(dataset.train.targets[0])) == (5, {4})
    assert set(dataset.test.targets[0]) == {UNKNOWN, PAD}
    assert "100.0% of the test tokens are unknown (<unk>)" in dataset.report


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_files_named_by_part_are_the_parts(tmp_path, kind):
    texts = {"x.train.txt": "a b\nb a\n", "x.valid.txt": "b\na\n", "x.test.txt": "a\nc\n", "readme.txt": "no"}
    for name, text in texts.items():
        write(tmp_path / "x" / name, text)
    write(tmp_path / "x" / ".x.train.txt", "hidden")
    path = tmp_path / "x"
    if kind == "zip":
        path = tmp_path / "x.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in texts.items():
                archive.writestr(name, text)
                archive.writestr(f"__MACOSX/._{name}", "no text")
    dataset = load(Text(path=str(path), unit="word", length=6))
    assert decoded(dataset, dataset.train.inputs) == "a b\nb a"
    assert dataset.validation.targets.tolist() == [[END, 4, END, PAD, PAD, PAD]]
    assert dataset.test.targets.tolist() == [[END, UNKNOWN, END, PAD, PAD, PAD]]
    write(tmp_path / "x" / "y.train.txt", "twice")
    if kind == "folder":
        with pytest.raises(DataError, match=r"holds x.train.txt and y.train.txt, both for train"):
            load(Text(path=str(path)))


def test_an_archive_of_nothing_is_no_text(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w"):
        pass
    with pytest.raises(DataError, match="holds nothing and no file called train"):
        load(Text(path=str(tmp_path / "x.zip")))


def test_missing_parts_are_cut_from_the_training_text(tmp_path):
    write(tmp_path / "x" / "train.txt", "abcdefghij" * 10)
    write(tmp_path / "x" / "test.txt.gz", "jihgfedcba")
    dataset = load(Text(path=str(tmp_path / "x"), validation=0.2, length=10))
    assert decoded(dataset, dataset.test.inputs) == "jihgfedcb"
    assert decoded(dataset, dataset.validation.inputs) == ("abcdefghij" * 2)[:-1]
    assert len(decoded(dataset, dataset.train.inputs)) == 79


def test_line_ends_and_marks_of_other_systems_are_no_characters(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfab\r\nba\rab\n")
    dataset = load(Text(path=str(tmp_path / "a.txt"), validation=0, test=0))
    assert decoded(dataset, dataset.train.inputs) == "ab\nba\nab"


def test_a_limit_keeps_the_beginning(tmp_path):
    path = write(tmp_path / "a.txt", "abcdefgh" * 10)
    whole, short = (load(Text(path=path, length=4, limit=limit)) for limit in (None, 3))
    assert np.array_equal(short.train.inputs, whole.train.inputs[:3])
    assert np.array_equal(short.test.inputs, whole.test.inputs)


def test_a_new_text_is_judged_in_the_same_windows(tmp_path):
    from dlx.data import read_labelled

    config = Text(path=write(tmp_path / "a.txt", "abcdefgh" * 10), length=4, validation=0)
    dataset = load(config)
    preparation = Preparation.from_json(dataset.preprocessing)
    part, notes = read_labelled(preparation, write(tmp_path / "b.txt", "badz"), config)
    assert notes == ()
    assert decoded(dataset, part.inputs) == "bad"
    assert part.targets.tolist() == [[*part.inputs[0, 1:3], UNKNOWN, PAD]]
    with pytest.raises(DataError, match="has fewer than two tokens"):
        read_labelled(preparation, write(tmp_path / "c.txt", "a"), config)


def test_what_is_no_text_is_told(tmp_path):
    with pytest.raises(MissingInputError, match="no file or folder"):
        load(Text(path=str(tmp_path / "gone")))
    with pytest.raises(ConfigError, match="a has tokens to predict, and the task is for classes"):
        load(Text(path=write(tmp_path / "a.txt", "abc" * 99)), "class")
    (tmp_path / "b.txt").write_bytes(b"fine\nnot \xff fine\n")
    with pytest.raises(DataError, match=r"b.txt, line 2 is not UTF-8 text .*save it as UTF-8"):
        load(Text(path=str(tmp_path / "b.txt")))
    with pytest.raises(DataError, match="the training texts are empty"):
        load(Text(path=write(tmp_path / "c.txt", ""), validation=0, test=0))
    with pytest.raises(DataError, match=r"the validation part has 1 tokens.*change data.validation"):
        load(Text(path=write(tmp_path / "d.txt", "abcdefghij"), test=0))
    (tmp_path / "e").mkdir()
    with pytest.raises(DataError, match="holds nothing and no file called train"):
        load(Text(path=str(tmp_path / "e")))


def test_penn_treebank_and_shakespeare_have_the_known_numbers_of_tokens(real_data):
    treebank = load(Text(path=str(real_data("ptb/ptb.zip")), unit="word", length=35))
    assert treebank.report[0] == "929,589 train, 73,760 validation, 82,430 test tokens, 10,002 different, in windows of 35"
    assert int((treebank.train.targets == END).sum()) == 42_068
    assert int((treebank.test.targets != PAD).sum()) == 82_430 - 1  # the first token is not predicted
    plays = load(Text(path=str(real_data("tiny-shakespeare/input.txt")), test=0))
    assert plays.spec.tokens == 4 + 65
    assert int((plays.train.targets != PAD).sum()) + int((plays.validation.targets != PAD).sum()) == 1_115_394 - 2
