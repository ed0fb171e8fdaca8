"""Sequences from end to end: train on sentence pairs, judge with pictures, find a rate, search; and captions of images."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlx.evaluation.gallery.pictures import HeatMap, Images, Texts
from dlx.evaluation.gallery.pictures_of import pictures_of
from dlx.experiment.restore import restore
from dlx.store import DEFAULT_URL, find_run, open_store

NUMBERS = {"one": "eins", "two": "zwei", "three": "drei", "four": "vier"}
EXPERIMENT = """
task:      {kind: seq2seq, teacher_forcing: 0.9}
data:      {kind: text-pairs, path: pairs.tsv, validation: 0.2, test: 0.2, min_frequency: 1}
model:     {kind: encoder-decoder, embedding: 8, hidden: 16, bidirectional: false, attention: dot, dropout: 0.05}
optimizer: {kind: adam, lr: 2.0e-2}
train:     {duration: 300 steps, batch_size: 16}
"""


@pytest.fixture
def file() -> str:
    """An experiment whose sentences are counted from English to German."""
    random = np.random.Generator(np.random.Philox(0))
    lines = []
    for _ in range(200):
        words = random.choice(list(NUMBERS), random.integers(1, 4))
        lines.append(f"{' '.join(words)}\t{' '.join(NUMBERS[word] for word in words)}")
    Path("pairs.tsv").write_text("\n".join(lines))
    Path("numbers.yaml").write_text(EXPERIMENT)
    return "numbers.yaml"


def test_a_translator_from_training_to_its_pictures(dlx, file):
    done = dlx("train", file, "-q", "--name", "numbers")
    assert done.code == 0, done.err
    judged = dlx("evaluate", "numbers", "--json")
    assert judged.code == 0, judged.err
    found = json.loads(judged.out)
    scores = {name.removeprefix("test/"): value for name, value in found["metrics"].items()}
    assert set(scores) == {"loss", "bleu", "exact", "accuracy", "perplexity"}
    assert scores["accuracy"] > 0.5
    low, high = found["intervals"]["test/bleu"]
    assert low <= scores["bleu"] <= high

    with open_store(DEFAULT_URL) as store:
        trained = restore(find_run(store, "numbers"), store)
    part = trained.dataset().test
    table, *maps = pictures_of(trained, part)
    assert isinstance(table, Texts)
    right = sum(reference == translation for _, reference, translation in table.rows)
    assert all([NUMBERS[word] for word in source.split()] == reference.split() for source, reference, _ in table.rows)
    assert f"of which {right} are written without a mistake" in table.caption
    assert len(maps) == 3
    for each in maps:
        assert isinstance(each, HeatMap)
        assert each.values.shape == (len(each.row_names), len(each.column_names))
        assert each.column_names[-1] == "(end)"
        np.testing.assert_allclose(each.values.sum(1), 1, rtol=1e-5)

    Path("new.txt").write_text("two\n\none four\nthree three two one\nfour\n")
    stopped = dlx("predict", "numbers", "--data", "new.txt", "-o", "said.csv")
    assert (stopped.code, Path("said.csv").exists()) == (65, False)
    assert "new.txt, line 4: it has 4 tokens, and this network has learned to read at most 3" in stopped.err
    said = translations(dlx, "new.txt", "--on-bad", "skip")
    assert list(said) == [1, 3, 5]
    assert said[1] == json.loads(dlx("sample", "numbers", "--prompt", "two", "--json").out)["texts"][0]
    Path("pairs.txt").write_text("two\twhatever\none four\tand so on\n")
    assert translations(dlx, "pairs.txt") == {1: said[1], 2: said[3]}
    assert "pairs.tsv is the run's own file" in dlx("evaluate", "numbers", "--data", "pairs.tsv").out
    Path("strange.txt").write_text("one five\nsix\n")
    assert "not in the vocabulary: 2" in dlx("predict", "numbers", "--data", "strange.txt").err
    Path("nothing.txt").write_text("\n\n")
    Path("table.csv").write_text("source,target\none,eins\n")
    for file, sentence in (
        ("nothing.txt", "nothing.txt is empty"),
        ("table.csv", "table.csv, line 1: it has 1 columns with tabs between, and data.columns=[0, 1]"),
    ):
        refused = dlx("predict", "numbers", "--data", file, "-o", "said.csv")
        assert (refused.code, Path("said.csv").exists()) == (65, False)
        assert sentence in refused.err


def translations(dlx, file: str, *more: str) -> dict[int, str]:
    """What `dlx predict` writes for each line of a file."""
    done = dlx("predict", "numbers", "--data", file, "-q", *more)
    assert done.code == 0, done.err
    return {int(row["line"]): row["prediction"] for row in csv.DictReader(done.out.splitlines())}


def test_a_range_test_and_a_search(dlx, file):
    short = ("task.translate=false", "train.duration=20 steps")
    found = dlx("lr-find", file, *short, "-q")
    assert found.code == 0, found.err
    search = ("optimizer.lr=tag(log, interval(1e-3, 1e-1))", "task.label_smoothing=interval(0, 0.2)")
    swept = dlx("sweep", file, *short, *search, "-q", "--trials", "2")
    assert swept.code == 0, swept.err


def test_digits_are_spelled(dlx):
    letters = "data.captions=[zero, one, two, three, four, five, six, seven, eight, nine]"
    small = (
        "data.kind=digits",
        "model.channels=[4]",
        "model.hidden=16",
        "model.dropout=0",
        "optimizer.lr=1e-2",
        "train.duration=100 steps",
    )
    done = dlx("train", "digit-caption", *small, letters, "-q", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["metrics"]["validation/accuracy"] > 0.4
    with open_store(DEFAULT_URL) as store:
        trained = restore(find_run(store, "latest"), store)
    (images,) = pictures_of(trained, trained.dataset().test)
    assert isinstance(images, Images)
    assert images.grid.shape == (3, 8, 8, 8, 1)
    assert (images.grid.min(), images.grid.max()) == (0, 1)
    Path("new").mkdir()
    Image.fromarray(trained.dataset().test.inputs[0, :, :, 0]).save("new/digit.png")
    written = dlx("predict", "latest", "--data", "new", "-q")
    assert written.code == 0, written.err
    ((file, caption),) = list(csv.reader(written.out.splitlines()))[1:]
    assert file == "digit.png"
    assert set(caption) <= set("efghinorstuvwxz")
    assert caption


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("digit-caption", "data.captions=[a, b]"), "data.captions has 2 texts and digits has 10 classes"),
        (("digits-mlp", "data.captions=[a, b]"), "data.captions are texts to be written: set task.kind=seq2seq"),
        (
            ("digits-mlp", "task.kind=seq2seq"),
            "task seq2seq does not suit model mlp: set model.kind to encoder-decoder, transformer, captioner",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_a_sentence(dlx, arguments, sentence):
    refused = dlx("train", *arguments, "data.kind=digits", "-q")
    assert refused.code == 78
    assert sentence in refused.err
