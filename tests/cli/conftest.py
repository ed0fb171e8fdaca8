"""Running `dlx` as a shell would, but in this process: the command, its exit code, stdout and stderr."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dlx.cli.app import main

TINY = ("digits-mlp", "train.duration=40 steps", "train.evaluate_every=20 steps", "model.hidden=[8]")


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def dlx(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """`dlx("train", ...)`; every command runs through the real `main`, which turns errors into sentences."""

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["dlx", *arguments])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture
def tiny() -> tuple[str, ...]:
    """The arguments of a run of 40 steps."""
    return TINY


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of two runs, `digits` (images) and `people` (the table `people.csv`), to be copied and not to be changed."""
    folder = tmp_path_factory.mktemp("trained")
    generator = np.random.Generator(np.random.Philox(5))
    kind = generator.integers(0, 2, 200)
    table = {
        "age": 30 + 20 * kind + generator.normal(0, 4, 200).round(1),
        "city": np.where(generator.random(200) < 0.5, "Oslo", "Bergen"),
        "kind": np.where(kind == 1, "old <b>", "young"),
    }
    pd.DataFrame(table).to_csv(folder / "people.csv", index=False)
    short = ("train.duration=60 steps", "model.hidden=[8]", "optimizer.lr=1e-2", "data.test=0.3", "-q")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for words in (
            [*TINY, "--name", "digits", "-q"],
            ["--data", "people.csv", "--target", "kind", *short, "--name", "people"],
        ):
            patch.setattr(sys, "argv", ["dlx", "train", *words])
            with pytest.raises(SystemExit) as end:
                main()
            assert not end.value.code
    return folder


@pytest.fixture
def trained(trained_once: Path) -> Path:
    """The current folder, with a copy of the store of the runs `digits` and `people`, and `people.csv`."""
    shutil.copytree(trained_once, Path.cwd(), dirs_exist_ok=True)
    return Path.cwd()
