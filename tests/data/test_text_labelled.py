"""`labelled-text`: texts with classes, from whatever they are kept in, and new ones for the network that learned them."""

import gzip
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from dlx.config.text_data import LabelledText
from dlx.data import Dataset, Preparation, batch_rows, load, read_labelled, stream
from dlx.data.tokens import PAD, UNKNOWN
from dlx.errors import ConfigError, DataError, MissingInputError

N = 60
TEXTS = [f"{'good' if n % 3 else 'bad'} film {'very ' * (n % 4)}<br />number{n % 5}" for n in range(N)]
LABELS = ["pos" if n % 3 else "neg" for n in range(N)]


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    return path


def as_json(path: Path, texts: list[str] = TEXTS, labels: list = LABELS) -> Path:
    return write(path, "".join(json.dumps({"text": t, "label": y, "id": 1}) + "\n" for t, y in zip(texts, labels, strict=True)))


def as_csv(path: Path) -> Path:
    return write(path, "id,label,text\n" + "".join(f'{n},{LABELS[n]},"{TEXTS[n]}, NA"\n' for n in range(N)))


def as_files(path: Path) -> Path:
    for label in ("pos", "neg"):
        write(path / f"x.{label}", "".join(t + "\n" for t, y in zip(TEXTS, LABELS, strict=True) if y == label))
    return path


def as_folders(path: Path) -> Path:
    for number, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True)):
        write(path / label / f"{number}.txt", text)
    return path


def prepared(dataset: Dataset) -> Preparation:
    return Preparation.from_json(json.loads(json.dumps(dict(dataset.preprocessing))))


def texts_of(dataset: Dataset, rows: np.ndarray) -> list[str]:
    encoder = prepared(dataset).text_encoder("")
    return [encoder.tokenizer.decode(row) for row in rows]


@pytest.mark.parametrize("source", ["json", "csv", "files", "folders"])
def test_texts_and_classes_are_the_same_from_every_source(tmp_path, source):
    make = {"json": as_json, "csv": as_csv, "files": as_files, "folders": as_folders}[source]
    path = make(tmp_path / {"json": "a.jsonl.gz", "csv": "a.csv", "files": "a", "folders": "a"}[source])
    files = {"pos": "x.pos", "neg": "x.neg"} if source == "files" else {}
    dataset = load(LabelledText(path=str(path), files=files, validation=0.2, test=0.1))
    assert dataset.spec.classes == ("neg", "pos")
    assert [len(part) for part in (dataset.train, dataset.validation, dataset.test)] == [43, 11, 6]
    assert np.bincount(dataset.test.targets).tolist() == [2, 4]  # stratified
    for part in (dataset.train, dataset.validation, dataset.test):
        for text, code in zip(texts_of(dataset, part.inputs), part.targets, strict=True):
            assert text.startswith("good film" if code else "bad film")
            assert "<" not in text
            assert ("na" in text) == (source == "csv")
    assert dataset.train.inputs.dtype == np.int32
    assert dataset.spec.tokens == 4 + {"csv": 11}.get(source, 9)
    assert dataset.spec.target_shape == ()


def test_batches_are_of_similar_lengths_and_need_not_be(tmp_path):
    path = str(as_json(tmp_path / "a.jsonl"))
    dataset = load(LabelledText(path=path, validation=0, test=0))
    lengths = (dataset.train.inputs != PAD).sum(axis=1)
    assert dataset.order.kind == "lengths"
    assert np.array_equal(dataset.order.lengths, lengths)
    batches = lengths[batch_rows(0, 0, 4, N, 15, dataset.order)]
    assert np.ptp(batches, axis=1).max() < np.ptp(lengths)
    assert load(LabelledText(path=path, bucket=False)).order.kind == "shuffled"


@pytest.mark.parametrize(("cut", "kept"), [("end", "a b"), ("start", "c d")])
def test_a_long_text_is_cut_at_the_end_that_is_named(tmp_path, cut, kept):
    path = as_json(tmp_path / "a.jsonl", ["a b c d", "a", "b", "c d"], ["x", "y", "x", "y"])
    config = LabelledText(path=str(path), validation=0, test=0, length=2, cut=cut, min_frequency=1)
    dataset = load(config)
    assert texts_of(dataset, dataset.train.inputs) == [kept, "a", "b", "c d"]
    assert dataset.train.inputs[1, 1] == PAD
    assert f"1 training texts are longer than 2 tokens: their {cut} is cut off" in dataset.report
    assert load(config.model_copy(update={"length": 9})).spec.input_shape == (4,)  # no longer than the longest


def test_only_training_texts_decide_the_vocabulary(tmp_path):
    train = as_json(tmp_path / "a.jsonl", ["a a", "b b", "a b", "b b"], [0, 1, 0, 1])
    test = as_json(tmp_path / "t.jsonl", ["c c c a", "b"], [1, 0])
    dataset = load(LabelledText(path=str(train), test_path=str(test), validation=0))
    assert dataset.spec.tokens == 6
    assert dataset.spec.classes == ("0", "1")
    assert dataset.test.targets.tolist() == [1, 0]
    assert dataset.test.inputs.tolist() == [[UNKNOWN, UNKNOWN], [4, PAD]]  # as long as the longest training text
    assert "60.0% of the test tokens are unknown (<unk>)" in dataset.report


def test_part_folders_are_the_parts(tmp_path):
    for part, count in (("train", 12), ("val", 4), ("test", 6)):
        for number in range(count):
            write(tmp_path / part / ("pos" if number % 2 else "neg") / f"{number}.txt", f"a {part}")
    dataset = load(LabelledText(path=str(tmp_path)))
    assert [len(part) for part in (dataset.train, dataset.validation, dataset.test)] == [12, 4, 6]
    part, notes = read_labelled(prepared(dataset), str(tmp_path), LabelledText(path=str(tmp_path)))
    assert (len(part), notes) == (6, ("of the parts only test is used",))


def test_two_folders_for_one_part_are_one_too_many(tmp_path):
    for folder in ("train1", "train2", "test", ".train"):
        write(tmp_path / folder / "pos" / "1.txt", "a")
    with pytest.raises(DataError, match="holds train1 and train2, both for train"):
        load(LabelledText(path=str(tmp_path)))


def test_a_training_part_alone_has_nothing_to_be_judged_by(tmp_path, learned):
    _, preparation, config = learned
    write(tmp_path / "new" / "train" / "pos" / "1.txt", "a")
    with pytest.raises(DataError, match="holds train and no folder called test: name the folder"):
        read_labelled(preparation, str(tmp_path / "new"), config)


def test_a_class_that_the_test_part_does_not_have_is_told(tmp_path):
    for part, labels in {"train": ("neg", "pos", "unsup"), "test": ("neg", "pos")}.items():
        for label in labels:
            for number in range(4):
                write(tmp_path / part / label / f"{number}.txt", "a film")
    dataset = load(LabelledText(path=str(tmp_path), validation=0))
    assert "texts by class (train, test): neg 4, 4; pos 4, 4; unsup 4, 0" in dataset.report
    assert any("no text of the test part is of unsup, which is a class of the training part" in said for said in dataset.report)
    files = {"neg": "neg", "pos": "pos"}
    config = LabelledText(path=str(tmp_path / "train"), test_path=str(tmp_path / "test"), files=files, validation=0)
    assert load(config).report[-1] == "texts by class (train, test): neg 4, 4; pos 4, 4"


def test_texts_without_words_or_class_are_left_out_and_told(tmp_path):
    path = as_json(tmp_path / "a.jsonl", ["a", " ", "b", "c", "a"], ["x", "x", "y", None, "y"])
    dataset = load(LabelledText(path=str(path), validation=0, test=0, min_frequency=1))
    assert len(dataset.train) == 3
    assert "texts without words or class were left out: 2" in dataset.report


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("a.jsonl", '{"text": "a", "label": 1}\n[1]\n', DataError, "a.jsonl, line 2 is a JSON list: write one object a line"),
        ("a.jsonl", '{"text": "a"\n', DataError, "a.jsonl, line 1 is not JSON"),
        (
            "a.jsonl",
            '{"text": 3, "label": 1}\n',
            DataError,
            r"line 1: 'text' is 3 and not text: name the field with data\.text",
        ),
        (
            "a.jsonl",
            '{"review": "a", "label": 1}\n',
            DataError,
            r"no field 'text', only label, review: name it with data\.text",
        ),
        ("a.jsonl", '{"text": "a", "stars": 1}\n', DataError, r"no field 'label', only stars, text: name it with data\.target"),
        ("a.csv", "text,stars\na,1\nb,2\n", DataError, "a.csv has no column 'label', only text, stars"),
        ("a.txt", "a\n", DataError, "texts with classes are read from .jsonl and .csv files, and from folders"),
        ("a/pos/1.txt", "a\n", DataError, r"one folder with .txt files \(pos\): a folder for each class is needed"),
        ("a/1.txt", "a\n", DataError, "no folders with .txt files"),
        ("a.jsonl", "", DataError, "has no text with a class"),
        ("b.jsonl", "", MissingInputError, "no file or folder"),
    ],
)
def test_what_has_no_texts_with_classes_is_told(tmp_path, name, content, error, message):
    write(tmp_path / name, content)
    path = tmp_path / name.partition("/")[0] if not name.startswith("b") else tmp_path / "gone.jsonl"
    with pytest.raises(error, match=message):
        load(LabelledText(path=str(path)))


def test_a_task_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="a has classes to predict"):
        load(LabelledText(path=str(as_json(tmp_path / "a.jsonl"))), "number")


def test_half_a_character_in_json_does_not_reach_the_store(tmp_path):
    path = as_json(tmp_path / "a.jsonl", ["a \ud83d b", "a", "\ud83d", "b"], ["x", "y", "x", "y"])
    dataset = load(LabelledText(path=str(path), validation=0, test=0, min_frequency=1))
    json.dumps(dict(dataset.preprocessing), ensure_ascii=False).encode()


# ----------------------------------------------------------------------------------------------------------------- new texts


@pytest.fixture
def learned(tmp_path: Path) -> tuple[Dataset, Preparation, LabelledText]:
    config = LabelledText(path=str(as_json(tmp_path / "train.jsonl")), validation=0, test=0)
    dataset = load(config)
    return dataset, prepared(dataset), config


@pytest.mark.parametrize("make", [as_json, as_csv, as_folders])
def test_training_texts_read_again_give_the_training_part(tmp_path, learned, make):
    dataset, preparation, config = learned
    path = make(tmp_path / {as_json: "b.jsonl", as_csv: "b.csv", as_folders: "b"}[make])
    part, notes = read_labelled(preparation, str(path), config)
    order = np.arange(N) if make is not as_folders else np.argsort([f"{y}/{n}.txt" for n, y in enumerate(LABELS)])
    assert notes == ()
    assert part.targets.tolist() == dataset.train.targets[order].tolist()
    length = 3 if make is as_csv else None  # the table's texts end in other words
    assert np.array_equal(part.inputs[:, :length], dataset.train.inputs[order][:, :length])


def test_unknown_classes_are_told(tmp_path, learned):
    _, preparation, config = learned
    path = as_json(tmp_path / "b.jsonl", ["a", "b"], ["pos", "soso"])
    with pytest.raises(DataError, match=r"does not know: 'soso' \(1 row\) \(it knows neg, pos\)"):
        read_labelled(preparation, str(path), config)


@pytest.mark.parametrize("form", ["txt", "txt.gz", "jsonl", "csv", "stdin", "folder"])
def test_a_stream_of_new_texts_is_encoded_as_the_training_texts(tmp_path, monkeypatch, learned, form):
    dataset, preparation, config = learned
    path, rows = tmp_path / f"new.{form}", np.arange(1, N + 1)
    match form:
        case "txt" | "txt.gz":
            write(path, "".join(text + "\r\n" for text in TEXTS))
        case "jsonl":
            write(path, "".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
        case "csv":
            write(path, "text\n" + "".join(f'"{text}"\n' for text in TEXTS))
            rows = rows + 1  # the header is a line
        case "stdin":
            path = Path("-")
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(TEXTS).encode())))
        case "folder":
            for number, text in enumerate(TEXTS):
                write(path / "deep" / f"{number:02}.txt", text)
    chunks = list(stream(preparation, str(path), config, rows_per_chunk=7))
    assert [len(chunk) for chunk in chunks] == [7] * 8 + [4]
    assert np.array_equal(np.concatenate([chunk.inputs for chunk in chunks]), dataset.train.inputs)
    assert np.array_equal(np.concatenate([chunk.rows for chunk in chunks]), rows)
    names = [name for chunk in chunks for name in chunk.names or ()]
    assert names == ([f"deep/{number:02}.txt" for number in range(N)] if form == "folder" else [])


def test_lines_that_cannot_be_used_are_left_out_or_end_the_stream(tmp_path, learned):
    _, preparation, config = learned
    path = tmp_path / "new.jsonl"
    path.write_bytes(b'{"text": "good"}\nno json\n\n{"words": "x"}\n{"text": "\xff"}\n{"text": "bad"}\n')
    [chunk] = stream(preparation, str(path), config, on_bad="skip")
    assert chunk.rows.tolist() == [1, 6]
    assert [row.line for row in chunk.bad] == [2, 4, 5]
    assert [row.why for row in chunk.bad][1:] == ["it has no text in the field 'text'", "it is not UTF-8 text"]
    with pytest.raises(DataError, match=r"new.jsonl, line 2: the line is not JSON"):
        list(stream(preparation, str(path), config))


def test_records_of_a_table_that_cannot_be_used_are_left_out_or_end_the_stream(tmp_path, learned):
    _, preparation, config = learned
    path = tmp_path / "new.csv"
    path.write_bytes(b'n,text\n1,good\n2,one, too many\n3,"two\nlines"\n4,\n5,\xff\n6,bad\n')
    [chunk] = stream(preparation, str(path), config, on_bad="skip")
    assert chunk.rows.tolist() == [2, 4, 8], "lines of the file, though one record has two"
    assert [(row.line, row.why[:18]) for row in chunk.bad] == [(3, "it has 3 fields an"), (7, "it is not UTF-8 te")]
    with pytest.raises(DataError, match=r"new.csv, line 3: it has 3 fields and not 2: correct the row"):
        list(stream(preparation, str(path), config))
    path.write_text("n,text\n1,  good\n")
    [chunk] = stream(preparation, str(path), config)
    assert np.array_equal(chunk.inputs, preparation.text_encoder("").encode(["good"])), "spaces are left out, as in training"
    path.write_text("n,words\n1,good\n")
    with pytest.raises(DataError, match=r"new.csv has no column 'text', only n, words"):
        list(stream(preparation, str(path), config))


def test_a_file_of_a_folder_that_cannot_be_used_is_a_file(tmp_path, learned):
    _, preparation, config = learned
    write(tmp_path / "new" / "a.txt", "good")
    (tmp_path / "new" / "b.txt").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"new, file 2: b.txt"):
        list(stream(preparation, str(tmp_path / "new"), config))


def test_a_text_without_any_token_is_unknown_and_not_empty(tmp_path, learned):
    _, preparation, config = learned
    [chunk] = stream(preparation, str(write(tmp_path / "new.txt", "\N{ZERO WIDTH SPACE}\n<br />\n")), config)
    assert chunk.inputs[:, 0].tolist() == [UNKNOWN, UNKNOWN]
    assert chunk.unknown == 1, "a line break is no token"


def test_other_files_are_told(tmp_path, learned):
    _, preparation, config = learned
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 4)))
    with pytest.raises(DataError, match=r"a.npz is no text, and the network learned from text"):
        list(stream(preparation, str(tmp_path / "a.npz"), config))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty has no .txt files"):
        list(stream(preparation, str(tmp_path / "empty"), config))
    with pytest.raises(DataError, match="is a table and the network learned from text"):
        preparation.table_encoder("b.csv")


def test_real_reviews(real_data):
    reviews = load(
        LabelledText(
            path=str(real_data("imdb/imdb_train_5k.jsonl.gz")),
            test_path=str(real_data("imdb/imdb_test_5k.jsonl.gz")),
            limit=400,
            length=200,
            cut="start",
        )
    )
    assert (len(reviews.train), len(reviews.validation), len(reviews.test)) == (400, 500, 5000)
    assert reviews.spec.input_shape == (200,)
    files = {"positive": "rt-polarity.pos", "negative": "rt-polarity.neg"}
    sentences = load(LabelledText(path=str(real_data("rt-polarity")), files=files))
    assert len(sentences.train) + len(sentences.validation) + len(sentences.test) == 2 * 5331
    assert sentences.spec.classes == ("negative", "positive")
