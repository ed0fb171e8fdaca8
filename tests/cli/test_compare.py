"""`dlx runs compare` on real trainings: a table and an answer, the same as JSON, and exit codes."""

import json

import pytest


@pytest.fixture
def trained(dlx, tiny):
    """A network that learns, and one that is too narrow to."""
    return train(dlx, tiny, 0)


def train(dlx, tiny, seed):
    """All runs so far, the oldest first, after two more."""
    for name, hidden in (("wide", 32), ("narrow", 2)):
        assert dlx("train", *tiny, f"model.hidden=[{hidden}]", f"train.seed={seed}", "--name", name, "-q").code == 0
    return json.loads(dlx("runs", "ls", "--sort", "created", "--json").out)["runs"]


def test_two_networks(dlx, trained, tmp_path):
    done = dlx("runs", "compare", "narrow", "wide")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].split()[:3] == ["name", "seeds", "test/accuracy"]
    assert [line.split()[0] for line in lines[1:3]] == ["wide", "narrow"], "the best first"
    assert lines[3].startswith("wide is better than narrow: difference in accuracy 0.")
    assert "McNemar's test" in lines[4]
    assert any(line.split() == ["model.hidden", "[32]", "[2]"] for line in lines)
    assert lines[-1].startswith("note: one seed each")
    kept = [tmp_path / "results" / "runs" / run["run"] / "evaluations" / "test.npz" for run in trained]
    assert all(file.is_file() for file in kept)
    assert dlx("runs", "compare", "narrow", "wide").out == done.out, "the stored predictions say the same"


def test_the_metric_is_that_of_the_training(dlx, trained):
    tree = json.loads(dlx("runs", "compare", "wide", "narrow", "--json").out)
    by_id = {run["run"]: run for run in trained}
    for candidate in tree["candidates"]:
        assert candidate["mean"] == pytest.approx(by_id[candidate["runs"][0]]["metrics"]["test/accuracy"], abs=1e-6)
    assert [each["verdict"] for each in tree["candidates"]] == ["better", "worse"]


def test_seeds_count_as_repeats(dlx, tiny, trained):
    runs = train(dlx, tiny, 1)
    tree = json.loads(dlx("runs", "compare", *(run["run"] for run in runs), "--metric", "f1", "--json").out)
    assert tree["metric"] == "test/f1"
    assert tree["seeds_matter"]
    assert [(each["name"], len(each["runs"])) for each in tree["candidates"]] == [("wide +1", 2), ("narrow +1", 2)]
    assert [each["config"] for each in tree["candidates"]] == [{"model.hidden": [32]}, {"model.hidden": [2]}]
    assert tree["candidates"][1]["difference"]["method"] == "bootstrap over examples and seeds"
    assert tree["notes"] == []


def test_a_damaged_file_of_predictions_is_computed_anew(dlx, trained, tmp_path):
    before = dlx("runs", "compare", "wide", "narrow", "--split", "validation").out
    kept = tmp_path / "results" / "runs" / trained[-1]["run"] / "evaluations" / "validation.npz"
    intact = kept.read_bytes()
    kept.write_bytes(intact[:200])
    done = dlx("runs", "compare", "wide", "narrow", "--split", "validation")
    assert (done.code, done.out) == (0, before)
    assert kept.read_bytes() == intact


def test_other_test_examples_cannot_be_compared(dlx, trained, tiny):
    assert dlx("train", *tiny, "data.seed=1", "--name", "other", "-q").code == 0
    done = dlx("runs", "compare", "wide", "other")
    assert (done.code, done.out) == (65, "")
    assert "they were judged on different test examples: data.seed is 0 and 1" in done.err


def test_what_is_wrong_is_one_sentence(dlx, trained):
    for words, sentence in (
        (("wide",), "wide: that is one run; name two or more to compare"),
        (("wide", "wide"), "that is one run; name two or more to compare"),
        (("wide", "narow"), "did you mean narrow"),
        (("wide", "narrow", "--metric", "acuracy"), "did you mean accuracy?"),
    ):
        done = dlx("runs", "compare", *words)
        assert (done.code, done.out) == (2, "")
        assert sentence in done.err
        assert len(done.err.splitlines()) == 1


def test_numbers_of_a_real_table(dlx, tmp_path):
    from sklearn.datasets import load_diabetes

    table = load_diabetes(as_frame=True).frame
    table.to_csv(tmp_path / "diabetes.csv", index=False)
    common = ("train", "--data", "diabetes.csv", "--target", "target", "train.duration=5 epochs", "train.batch_size=32", "-q")
    for name, rate in (("fast", "1e-2"), ("slow", "1e-6")):
        assert dlx(*common, f"optimizer.lr={rate}", "--name", name).code == 0
    assert dlx(*common, "optimizer.lr=1e-2", "data.drop=[bmi]", "--name", "without").code == 0
    tree = json.loads(dlx("runs", "compare", "fast", "slow", "without", "--json").out)
    assert (tree["metric"], tree["direction"]) == ("test/rmse", "minimize")
    assert tree["candidates"][-1]["name"] == "slow"
    assert tree["candidates"][-1]["verdict"] == "worse"
    assert any("saw the same examples prepared in another way (data.drop is" in note for note in tree["notes"])


NET = """
from flax import nnx


class Net(nnx.Module):
    def __init__(self, in_features, out_features, *, rngs):
        size = in_features if isinstance(in_features, int) else in_features[0] * in_features[1] * in_features[2]
        self.out = nnx.Linear(size, out_features, rngs=rngs)

    def __call__(self, x):
        return {sign}self.out(x.reshape(len(x), -1))
"""


def test_code_that_has_changed_is_told_and_what_it_says_is_not_kept(dlx, tiny, trained, tmp_path):
    own = tmp_path / "net.py"
    own.write_text(NET.format(sign=""))
    duration = [word for word in tiny[1:] if word.startswith("train.")]
    assert dlx("train", tiny[0], "--model", "net.py:Net", *duration, "--name", "own", "-q").code == 0
    before = json.loads(dlx("runs", "compare", "own", "wide", "--json").out)
    assert not any("net.py" in note for note in before["notes"])
    own.write_text(NET.format(sign="-"))
    assert dlx("evaluate", "own", "--no-baselines").code == 0
    changed = json.loads(dlx("runs", "compare", "own", "wide", "--json").out)
    assert any("net.py has changed since run" in note for note in changed["notes"])
    assert changed["candidates"] != before["candidates"]
    own.write_text(NET.format(sign=""))
    assert json.loads(dlx("runs", "compare", "own", "wide", "--json").out) == before
