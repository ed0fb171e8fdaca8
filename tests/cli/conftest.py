"""Running `dlx` as a shell would, but in this process: the command, its exit code, stdout and stderr."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

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
