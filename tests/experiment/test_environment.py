"""What is written down of the surroundings, so that a number can be explained later."""

import subprocess

from dlx.config import load_experiment, parse_override
from dlx.experiment.environment import git_state
from dlx.experiment.run import start
from dlx.store import find_run, open_store


def git(*arguments):
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], check=True, capture_output=True)


def test_outside_a_repository_there_is_no_commit():
    assert git_state() == (None, "")


def test_commit_and_uncommitted_changes_are_kept_with_the_run(tmp_path):
    git("init")
    (tmp_path / "net.py").write_text("a = 1\n")
    git("add", "net.py")
    git("commit", "-m", "one")
    assert git_state()[0]["dirty"] is False
    (tmp_path / "net.py").write_text("a = 2\n")
    config = load_experiment("digits-mlp", [parse_override("train.duration=2 steps"), parse_override("model.hidden=[8]")])
    with open_store() as store:
        list(start(config, store))
        run = find_run(store, "latest")
    assert run.environment["git"]["dirty"] is True
    assert len(run.environment["git"]["commit"]) == 40
    assert "+a = 2" in (run.path / "changes.diff").read_text()
    assert {"python", "device", "packages", "folder", "data"} <= run.environment.keys()
