"""`dlx sample`: what a generative network makes, on a terminal and in files; and what is said of those that make nothing."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlx.cli.app import main
from dlx.data import Order
from dlx.evaluation.evaluate import evaluate, judge
from dlx.experiment.restore import restore
from dlx.store import find_run, open_store

VAE = (
    "task={kind: vae}",
    "data={kind: digits, standardize: false}",
    "model={kind: vae, hidden: [16], code: 4}",
    "train.duration=20 steps",
)
TEXT = "to be or not to be, that is the question: whether it is nobler in the mind to suffer\n" * 20
WRITER = (
    "task={kind: language}",
    "data={kind: text, path: text.txt, length: 16}",
    "model={kind: rnn, hidden: 8, embedding: 4}",
    "train.duration=20 steps",
    "train.batch_size=4",
)


@pytest.fixture(scope="module")
def generative_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of `vae` (told classes), which makes digits, and `writer`, which makes text."""
    folder = tmp_path_factory.mktemp("generative")
    (folder / "text.txt").write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in ([*VAE, "task.conditional=true", "--name", "vae"], [*WRITER, "--name", "writer"]):
            patch.setattr(sys, "argv", ["dlx", "train", "digits-mlp", *words, "-q"])
            with pytest.raises(SystemExit) as end:
                main()
            assert not end.value.code
    return folder


@pytest.fixture
def generative(generative_once: Path) -> Path:
    """The current folder, with a copy of that store."""
    shutil.copytree(generative_once, Path.cwd(), dirs_exist_ok=True)
    return Path.cwd()


@pytest.mark.usefixtures("generative")
def test_images_become_a_grid_that_the_seed_alone_decides(dlx):
    """64 of 8x8 pixels with lines of two between them, enlarged: the same file for the same seed, another for another."""
    files = [Path(f"{name}.png") for name in ("one", "same", "other")]
    for file, seed in zip(files, ("3", "3", "4"), strict=True):
        assert "64 samples in" in dlx("sample", "vae", "--seed", seed, "--out", str(file)).out
    one, same, other = (np.asarray(Image.open(file)) for file in files)
    assert one.shape == (6 * 78, 6 * 78)  # eight of 8 and seven lines of 2, six times as large
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@pytest.mark.usefixtures("generative")
def test_classes_and_interpolations_are_rows_of_the_grid_and_arrays_for_programs(dlx):
    assert dlx("sample", "vae", "--class", "7", "--class", "0", "-n", "3", "-o", "two.npz").code == 0
    assert np.load("two.npz")["samples"].shape == (6, 8, 8, 1)
    assert dlx("sample", "vae", "--interpolate", "5", "-n", "2", "-o", "ways.npz").code == 0
    ways = np.load("ways.npz")["samples"]
    assert ways.shape == (2, 5, 8, 8, 1)
    assert ways.min() >= 0
    assert ways.max() <= 1


@pytest.mark.usefixtures("generative")
def test_text_goes_on_from_a_prompt_to_stdout_or_a_file(dlx):
    """The likeliest letters (temperature 0) are the same whatever the seed; a file has what stdout would have had."""
    shown = dlx("sample", "writer", "--prompt", "to be", "--length", "30", "--temperature", "0")
    assert shown.out.startswith("to be")
    assert len(shown.out.removesuffix("\n")) == 30
    again = dlx("sample", "writer", "--prompt", "to be", "--length", "30", "--temperature", "0", "--seed", "9", "-o", "a.txt")
    assert again.code == 0
    assert Path("a.txt").read_text() == shown.out
    found = json.loads(dlx("sample", "writer", "-n", "2", "--length", "10", "--json").out)
    assert len(found["texts"]) == 2
    assert found["seed"] == 0


@pytest.mark.usefixtures("generative")
def test_of_a_prompt_what_the_network_never_learned_is_told(dlx):
    shown = dlx("sample", "writer", "--prompt", "to 日本", "--length", "10")
    assert shown.code == 0
    assert "of the 5 tokens of the prompt 2 are not in the vocabulary" in " ".join(shown.err.split())
    assert "note" not in dlx("sample", "writer", "--prompt", "to be", "--length", "10").err


@pytest.mark.usefixtures("generative")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["vae", "--prompt", "x"], "--prompt: this network makes images"),
        (["vae", "--class", "ten"], "--class ten: there is no such class; there are 0, 1, 2"),
        (["vae", "--out", "x.txt"], "makes images: name a .png"),
        (["vae", "--out", "x.jpg"], "the ending says what to write: .png, .txt, .npz"),
        (["writer", "--interpolate", "3"], "--interpolate: this network makes text"),
        (["writer", "--prompt", ""], "holds no token"),
        (["writer", "--class", "a"], "--class a: this network makes text, and is told no class"),
        (["writer", "--out", "x.png"], "makes text: name a .txt"),
        (["nobody"], "no run"),
    ],
)
def test_what_cannot_be_made_is_one_sentence_and_leaves_no_file(dlx, words, said):
    result = dlx("sample", *words)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert said in result.err
    assert not list(Path.cwd().glob("x.*"))


@pytest.mark.usefixtures("generative")
def test_a_file_of_another_kind_is_not_replaced_and_that_is_said_before_anything_is_made(dlx, monkeypatch):
    monkeypatch.setattr("dlx.evaluation.sample.drawn", None)
    for ending in ("png", "npz"):
        Path(f"mine.{ending}").write_text("a page")
        result = dlx("sample", "vae", "--out", f"mine.{ending}")
        assert (result.code, Path(f"mine.{ending}").read_text()) == (2, "a page")
        assert f"is there and is no {ending.upper()} file" in result.err
    Path("folder.png").mkdir()
    assert dlx("sample", "vae", "--out", "folder.png").code == 73


@pytest.mark.usefixtures("generative")
@pytest.mark.parametrize("run", ["vae", "writer"])
def test_what_has_no_answer_for_each_example_is_neither_predicted_with_nor_exported(dlx, run):
    for words in (
        ["predict", run, "--data", "text.txt", "--out", "x.csv"],
        ["export", run, "--format", "safetensors", "--out", "x"],
    ):
        result = dlx(*words)
        assert (result.code, result.err.count("\n")) == (2, 1), result.err
        assert "has no answer for each example (its task is" in result.err
    assert not list(Path.cwd().glob("x*"))


@pytest.mark.usefixtures("generative")
@pytest.mark.parametrize(
    ("run", "said"),
    [("writer", "makes no images out of noise (its task is language)"), ("vae", "does not tell classes")],
)
def test_a_judge_is_looked_at_before_the_evaluation(dlx, monkeypatch, run, said):
    monkeypatch.setattr("dlx.evaluation.evaluate.judge", None)
    result = dlx("evaluate", run, "--judge", "vae")
    assert result.code == 2
    assert said in result.err


@pytest.mark.usefixtures("generative")
def test_new_text_is_read_as_a_part_is():
    """Each window is read on from the one before it."""
    with open_store(None, create=False) as store:
        trained = restore(find_run(store, "writer"), store)
    own = judge(trained, split="test")
    tokens = trained.preparation.target_tokenizer
    assert tokens is not None
    Path("test.txt").write_text(tokens.decode([own.part.inputs[0, 0], *own.part.targets[own.part.targets > 0]]))
    new = judge(trained, data="test.txt")
    np.testing.assert_array_equal(new.part.inputs, own.part.inputs)
    assert new.order == own.order == Order("streams")


@pytest.mark.usefixtures("generative")
def test_pictures_are_made_where_they_are_shown_and_cost_no_scores(monkeypatch):
    def broken(*_):
        raise ValueError("no picture")

    monkeypatch.setattr("dlx.evaluation.evaluate.pictures_of", broken)
    with open_store(None, create=False) as store:
        trained = restore(find_run(store, "vae"), store)
    judged = judge(trained)
    plain, shown = (evaluate(trained, judged, resamples=0, gallery=gallery) for gallery in (False, True))
    assert plain.warnings == ()
    assert shown.scores == plain.scores
    assert "there are no pictures of what the network makes and sees: ValueError: no picture" in shown.warnings[0]


@pytest.mark.usefixtures("trained")
def test_a_classifier_makes_nothing(dlx):
    result = dlx("sample", "digits")
    assert result.code == 2
    assert "makes no examples (its task is classify): `dlx predict` asks it about examples" in result.err


@pytest.mark.usefixtures("generative")
def test_a_generative_network_is_judged_by_its_own_metrics_with_intervals(dlx):
    """Each example's part of the sums is drawn anew; the page shows what the network makes."""
    found = json.loads(dlx("evaluate", "vae", "--json").out)
    assert found["headline"] == "test/loss"
    low, high = found["intervals"]["test/loss"]
    assert low < found["metrics"]["test/loss"] < high
    assert found["metrics"]["test/elbo"] == pytest.approx(-found["metrics"]["test/loss"])
    stored = json.loads(dlx("runs", "show", "vae", "--json").out)["metrics"]
    assert found["metrics"]["test/kl"] == pytest.approx(stored["test/kl"], rel=0.05)  # other draws of the codes
    assert dlx("report", "vae", "--out", "page.html").code == 0
    assert "What it makes and sees" in Path("page.html").read_text()
    refused = dlx("evaluate", "vae", "--explain")
    assert refused.code == 2
    assert "this is vae: leave them out" in refused.err
