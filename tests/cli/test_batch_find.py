"""`dlx batch-find`: a table and an answer, the same as JSON, and exit codes."""

import json

import pytest

from dlx.cli.batch_find import amount
from dlx.errors import UsageError


def test_a_table_and_the_answer(dlx, tiny, tmp_path):
    done = dlx("batch-find", *tiny)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[1].split()[:3] == ["batch", "size", "predicted"]
    assert lines[-2:] == [
        "train.batch_size=1298 fits, and is as large as it can be (the whole training part)",
        "nothing was trained",
    ]
    assert not (tmp_path / "results").exists()


def test_json_is_one_object(dlx, tiny):
    tree = json.loads(dlx("batch-find", *tiny, "--memory", "600kB", "--json").out)
    sizes = [each["batch_size"] for each in tree["tried"]]
    assert sizes == sorted(sizes)
    assert tree["memory_limit"] == 600_000
    assert all(each["fits"] == (each["memory_bytes"] <= 600_000) for each in tree["tried"])
    assert tree["batch_size"] == max(each["batch_size"] for each in tree["tried"] if each["fits"])
    assert f"train.batch_size={tree['batch_size']} fits" in tree["message"]


def test_nothing_fits(dlx, tiny):
    done = dlx("batch-find", *tiny, "--memory", "1 kB", "--json")
    assert done.code == 1
    assert done.err.startswith("error: not even train.batch_size=2 fits: its train program needs ")
    assert json.loads(done.out)["batch_size"] is None


@pytest.mark.parametrize(
    ("text", "expected"), [("8GB", 8e9), ("40 GiB", 40 * 2**30), ("500mb", 5e8), ("1.5 TiB", 1.5 * 2**40), ("7 B", 7)]
)
def test_amounts(text, expected):
    assert amount(text) == expected


@pytest.mark.parametrize("text", ["8", "8 GG", "GB", "-1GB", "0GB", "", "1e999GB", "8 GB free"])
def test_no_amounts(dlx, text):
    with pytest.raises(UsageError, match="write an amount above zero with its unit"):
        amount(text)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--memory", "much"), 2, "--memory much: write an amount"),
        (("digits-mpl",), 66, "did you mean"),
        (
            ("optimizer={kind: lbfgs}", "schedule={kind: constant}", "train.batch_size=full"),
            78,
            "there is no other size to find",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(dlx, words, code, sentence):
    done = dlx("batch-find", *words)
    assert (done.code, done.out) == (code, "")
    assert sentence in done.err
    assert len(done.err.splitlines()) == 1
