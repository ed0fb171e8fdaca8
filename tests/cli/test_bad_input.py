"""Every bad input ends in one sentence that says what, where and what to do, with the right exit code and no traceback."""

import gzip
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dlx.store import list_runs, open_store


@pytest.fixture
def files(tmp_path):
    """One folder with everything that can be wrong with data."""
    rows = "a,b,kind\n" + "".join(f"{i},{i % 7},{'xy'[i % 2]}\n" for i in range(60))
    Path("good.csv").write_text(rows)
    Path("one.csv").write_text("a,kind\n" + "".join(f"{i},same\n" for i in range(60)))
    Path("empty.csv").write_text("")
    Path("cut.csv.gz").write_bytes(gzip.compress(rows.encode() * 50)[:60])
    Path("nan.npz").write_bytes(b"")
    np.savez("nan.npz", x=np.where(np.arange(120).reshape(60, 2) == 7, np.nan, 1.0), y=np.arange(60) % 2)
    images = Path("images")
    for kind in ("cat", "dog"):
        (images / kind).mkdir(parents=True)
        for i in range(12):
            (images / kind / f"{i}.png").write_bytes(b"no image")
    mnist = Path("mnist")
    mnist.mkdir()
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (mnist / name).write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 1, 7]))
    Path("raises.py").write_text("def load():\n    raise RuntimeError('no disk')\n")
    Path("net.py").write_text(
        "from flax import nnx\n"
        "class Wrong(nnx.Module):\n"
        "    def __init__(self, i, o, *, rngs): self.out = nnx.Linear(1, 3, rngs=rngs)\n"
        "    def __call__(self, x): return self.out(x)\n"
        "class Raises(Wrong):\n"
        "    def __call__(self, x): raise KeyError('layer 3')\n"
        "Number = 3\n"
    )


BAD = [
    ("digits-mlp modle.hidden=[3]", 78, "modle: is not a key of an experiment; did you mean model?"),
    ("digits-mlp train.batch_size=many", 78, "train.batch_size: is 'many'"),
    ("digits-mlp optimizer.kind=adm", 78, "unknown kind 'adm'; did you mean 'adam'?"),
    ("digits-mlp train.batch_size=9999", 78, "train.batch_size is 9999, but the training part has 1298 examples"),
    ("digits-mlp data.validation=0.0001", 65, "data.validation=0.0001 of 1,797 examples is not one example"),
    ("digits-mlp task.kind=regress", 78, "set task.kind=classify"),
    ("digits-mlp model.kind=lenet5", 78, "needs images of at least 12x12 pixels"),
    ("digits-mlp train.monitor=validation/rmse", 78, "this run can monitor validation/accuracy"),
    ("digits-mlp task.class_weights=[1,2]", 78, "has 2 numbers, but the data has 10 classes"),
    ("nothing.yaml", 66, "no such file, and no recipe of that name"),
    ("mnist-mlp data.path=nowhere", 66, "there is no file or folder nowhere"),
    ("mnist-mlp data.path=mnist", 65, "is not an IDX file of bytes with 3 axes: it begins with 00000801, not 00000803"),
    ("--data cut.csv.gz --target kind", 65, "truncated or damaged"),
    ("--data empty.csv --target kind", 65, "empty"),
    ("--data good.csv --target kin", 65, "no column 'kin': did you mean 'kind'?"),
    ("--data good.csv", 2, "name the column to predict with --target COLUMN"),
    ("--data missing.csv --target kind", 66, "no such file or folder"),
    ("--data one.csv --target kind", 65, "two classes or more are needed"),
    ("--data nan.npz", 65, "NaN or infinite"),
    ("--data images model.kind=mlp", 65, "images/cat/0.png does not decode as an image"),
    ("--data good.csv --target kind data.augment=[{kind:flip}]", 78, "needs images; this data has rows"),
    ("--data raises.py:load", 1, "raised RuntimeError: no disk"),
    ("digits-mlp --model net.py:Raises", 1, "raised KeyError: 'layer 3'"),
    ("digits-mlp --model net.py:Wrong", 78, "turns (64, 8, 8, 1) into (64, 8, 8, 3); this data needs (64, 10)"),
    ("digits-mlp --model net.py:Other", 78, "has no 'Other'; it has"),
    ("digits-mlp --model net.py:Number", 78, "net.py:Number"),
    ("digits-mlp --model absent.py:Net", 66, "there is no file"),
    ("digits-mlp --target x", 2, "give --data FILE too"),
    ("digits-mlp --max-time 3", 2, "write a number and a unit of time"),
    ("digits-mlp --resume auto", 2, "give --name NAME too"),
    ("digits-mlp --resume latest", 2, "leave out recipe, overrides"),
    ("digits-mlp --name latest", 2, "the name 'latest' means the newest run"),
    ("digits-mlp --store nosuch://x", 2, "nosuch"),
]


@pytest.mark.parametrize(("command", "code", "sentence"), BAD, ids=[command for command, _, _ in BAD])
def test_bad_input(dlx, files, command, code, sentence):
    result = dlx("train", *command.split())
    assert sentence in result.err
    assert "Traceback" not in result.err
    assert result.err.rstrip().splitlines()[-1].startswith("error: ")
    assert result.code == code
    assert result.out == ""
    if Path("results/dlx.db").exists():
        with open_store() as store:
            assert list_runs(store) == [], "what never started is no run"


def test_the_traceback_is_there_under_v(dlx):
    result = dlx("train", "digits-mlp", "x=1", "-v")
    assert "Traceback" in result.err
    assert result.err.rstrip().splitlines()[-1].startswith("error: override: x:")


def test_a_run_that_diverges_ends_with_1_and_says_what_to_do(dlx, tiny):
    result = dlx("train", *tiny, "optimizer.kind=sgd", "optimizer.lr=1e30")
    assert result.code == 1
    assert "the loss or the weights were not finite at step" in result.err
    assert "lower optimizer.lr (it is 1e+30) or set optimizer.clip_norm=1" in result.err
    with open_store() as store:
        assert list_runs(store)[0].status == "diverged"


def test_a_store_of_a_newer_version_is_left_alone(dlx, tiny):
    assert dlx("train", *tiny, "-q").code == 0
    with sqlite3.connect("results/dlx.db") as database:
        database.execute("INSERT INTO dlx_migrations VALUES (99, 0.0)")
    database.close()
    for command in (("train", *tiny), ("runs", "ls")):
        result = dlx(*command)
        assert result.code == 65
        assert "newer" in result.err
        assert "--store" in result.err


def test_damaged_checkpoints_are_told_and_nothing_is_lost(dlx, tiny):
    assert dlx("train", *tiny, "--name", "long", "--max-time", "0.001 s", "-q").code == 75
    for file in Path("results").glob("runs/*/checkpoints/*"):
        file.write_bytes(b"torn")
    result = dlx("train", "--resume", "long")
    assert result.code == 65
    assert "is damaged" in result.err
    with open_store() as store:
        assert list_runs(store)[0].status.resumable, "another try, with a file brought back, may succeed"


needs_mount = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 300 KiB: enough for the store, not for a checkpoint."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("this system mounts no tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@needs_mount
def test_a_full_disk(dlx, tiny, small_disk):
    result = dlx("train", *tiny, "model.hidden=[512]", "--store", str(small_disk / "dlx.db"))
    assert result.code == 73
    assert "free" in result.err
    listed = dlx("runs", "ls", "--store", str(small_disk / "dlx.db"))
    assert listed.code == 0, "what was stored can be read"


@needs_mount
def test_a_read_only_results_folder(dlx, tiny, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    result = dlx("train", *tiny, "--store", str(small_disk / "dlx.db"))
    assert result.code == 73
    assert "permissions" in result.err


@pytest.mark.parametrize(
    ("command", "code", "sentence"),
    [
        ("digits-mlp schedule.kind=step schedule.every=10_minutes", 78, "wall-clock time: write epochs or steps"),
        ("digits-mlp train.duration=1e9_epochs", 78, "is the most: lower it"),
        ("digits-mlp train.batch_size=1", 78, "needs more than one example a step"),
        ("digits-mlp task.class_weights=[0,1,1,1,1,1,1,1,1,1]", 78, "task.class_weights"),
        ("digits-mlp train.duration=", 78, "is empty"),
        ("digits-mlp data.validation=0 train.monitor=train/f1", 78, "this run can monitor train/accuracy, train/loss"),
    ],
)
def test_more_bad_input(dlx, command, code, sentence):
    result = dlx("train", *(word.replace("_minutes", " minutes").replace("_epochs", " epochs") for word in command.split()))
    assert sentence in result.err
    assert result.code == code


def test_a_failure_under_json_is_json_too(dlx):
    result = dlx("train", "digits-mlp", "train.batch_size=9999", "--json")
    tree = json.loads(result.out)
    assert (tree["status"], tree["exit_code"], result.code) == ("failed", 78, 78)
    assert "train.batch_size is 9999" in tree["message"]


def test_quiet_still_says_why_it_failed(dlx, tiny):
    result = dlx("train", *tiny, "optimizer.kind=sgd", "optimizer.lr=1e30", "-q")
    assert result.code == 1
    assert "lower optimizer.lr" in result.err


@pytest.mark.slow
def test_a_reader_that_leaves_does_not_end_the_training():
    command = f"{sys.executable} -m dlx train digits-mlp train.duration='100 steps' -v 2>&1 >/dev/null | head -1"
    subprocess.run(["bash", "-c", command], check=True, capture_output=True)
    with open_store() as store:
        assert list_runs(store)[0].status == "completed"


@pytest.mark.parametrize("words", ["export", "export --format json", "ls", "show digits"])
def test_a_reader_that_has_left_is_no_failure(trained, words):
    command = f"{sys.executable} -m dlx runs {words} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_password_is_not_kept(monkeypatch):
    from dlx.experiment.environment import command_line

    monkeypatch.setattr(sys, "argv", ["dlx", "train", "--store", "postgresql+psycopg://me:secret@db/x"])
    assert command_line() == "dlx train --store postgresql+psycopg://me:***@db/x"
