"""`dlx schedule plot`: two files, a picture in the terminal, numbers as JSON."""

import csv
import json
from pathlib import Path

import pytest


def test_a_picture_a_table_and_what_they_say(dlx, tiny, tmp_path):
    done = dlx("schedule", "plot", *tiny, "schedule={kind: onecycle}")
    assert (done.code, done.err) == (0, "")
    png, table = tmp_path / "digits-mlp-schedule.png", tmp_path / "digits-mlp-schedule.csv"
    lines = done.out.splitlines()
    assert lines[0] == "digits-mlp: onecycle over 40 steps, 20 an epoch"
    assert lines[-2:] == [str(png), str(table)]
    assert sum(line.lstrip().startswith(("┤", "│")) or "┤" in line for line in lines) == 8
    assert "\x1b" not in done.out
    assert png.read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["step"] for row in rows] == [str(step) for step in range(40)]
    assert list(rows[0]) == ["step", "epoch", "learning_rate", "momentum"]
    assert not (tmp_path / "results").exists(), "nothing is trained"


def test_json_is_one_object_with_paths_and_numbers(dlx, tiny, tmp_path):
    done = dlx("schedule", "plot", *tiny, "schedule={kind: linear}", "optimizer.lr=0.25", "--json", "--out", "plots/mine")
    tree = json.loads(done.out)
    assert tree["learning_rate"] == {
        "first": 0.25,
        "peak": 0.25,
        "lowest": pytest.approx(0.25 / 40),
        "last": pytest.approx(0.25 / 40),
        "peak_step": 0,
        "lowest_step": 39,
    }
    assert (tree["steps"], tree["steps_per_epoch"], tree["schedule"], tree["notes"]) == (40, 20, "linear", [])
    assert "momentum" not in tree
    folder = tmp_path / "plots" / "mine"
    assert (tree["png"], tree["csv"]) == (str(folder / "digits-mlp-schedule.png"), str(folder / "digits-mlp-schedule.csv"))
    assert all(Path(tree[name]).is_file() for name in ("png", "csv"))


def test_files_are_called_after_what_was_given(dlx, tmp_path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "mine.yaml").write_text("data: {kind: digits}\ntrain: {duration: 2 epochs}\n")
    (tmp_path / "wine.csv").write_text("a,b,y\n" + "".join(f"{n},{n % 7},{n % 2}\n" for n in range(60)))
    assert dlx("schedule", "plot", "conf/mine.yaml").code == 0
    assert dlx("schedule", "plot", "--data", "wine.csv", "--target", "y").code == 0
    assert dlx("schedule", "plot", "train.duration=1 steps").code == 0
    names = {path.name for path in tmp_path.glob("*.png")}
    assert names == {"mine-schedule.png", "wine-schedule.png", "digits-mlp-schedule.png"}


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("digits-mpl",), 66, "did you mean"),
        (("schedule.kind=linar",), 78, "linar"),
        (("train.duration=1e8 epochs",), 2, "at most 10,000,000 are shown"),
        (("--target", "y"), 2, "give --data FILE too"),
        (("--out", "file/below"), 73, "cannot be made a folder"),
    ],
)
def test_what_is_wrong_is_one_sentence(dlx, tiny, tmp_path, words, code, sentence):
    (tmp_path / "file").write_text("")
    done = dlx("schedule", "plot", *words)
    assert done.code == code
    assert sentence in done.err
    assert len(done.err.splitlines()) == 1
    assert done.out == ""
