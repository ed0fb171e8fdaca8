"""The examples in README.md and docs/*.md, run for real: each page in its own folder, its commands in order.

In a ```console block every line that begins with `$ ` is a command, `dlx ...` or `python ...`; it must exit 0, or as a comment at
its end says (`# exits 75`). A fenced block after a line such as "`net.py`:" is that file. `<!-- not run: why -->` directly before a
block leaves it out. The output pasted in README.md must be what is printed now, but for its numbers.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path

import pytest

from dlx.cli.app import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(
    r"(?:^`(?P<file>[\w./-]+)`:\n+)?(?P<skip>^<!-- not run: .+? -->\n)?^```(?P<language>\w*)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_EXITS = re.compile(r"\s+# exits (\d+)$")
_SHELL = {"|", "||", "&", "&&", ";", ">", ">>", "<"}
_CHANGING = (  # what may differ between two machines, or two moments, in otherwise equal output
    (r"cpu \(\d+ cores?\)|\d+ x \S.*$", "DEVICE"),
    (r"\S*results/runs/\S+", "FOLDER"),
    (r"\b[0-9a-f]{8}\b", "ID"),
    (r"(overfitting \(above|no overfitting).*", "VERDICT"),
    (r"[-+]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?", "N"),
    (r"\bN (ms|s|min|h)( N (s|min))?\b|\bN (B|KiB|MiB|GiB)\b", "AMOUNT"),
    (r"\s+", " "),
)


@dataclass(frozen=True)
class Command:
    """A typed line, the code it must exit with, and the output pasted below it."""

    line: str
    exits: int
    pasted: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    file: str | None
    language: str
    body: str
    skipped: bool


def blocks(page: Path) -> Iterator[Block]:
    for match in _BLOCK.finditer(page.read_text()):
        yield Block(match["file"], match["language"], match["body"], match["skip"] is not None)


def commands(block: Block) -> Iterator[Command]:
    lines = block.body.splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        line = lines[start][2:]
        exits = _EXITS.search(line)
        yield Command(_EXITS.sub("", line), int(exits[1]) if exits else 0, tuple(lines[start + 1 : end]))


def run_dlx(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """One `dlx` command, in this process: the real `main`, without the seconds that imports take."""
    monkeypatch.setattr(sys, "argv", ["dlx", *words])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def pages_with(condition: Callable[[Block], bool]) -> list[Path]:
    return [page for page in PAGES if any(condition(block) for block in blocks(page))]


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with(lambda block: block.language == "console"), ids=lambda page: page.name)
def test_every_example_runs(
    page: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for block in blocks(page):
        if block.file:
            (tmp_path / block.file).write_text(block.body)
        if block.language != "console" or block.skipped:
            continue
        for command in commands(block):
            program, *words = shlex.split(command.line, comments=True)
            if program == "dlx":
                code = run_dlx(words, monkeypatch)
                printed = "".join(capfd.readouterr())
            else:
                done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env={**os.environ})
                code, printed = done.returncode, done.stdout + done.stderr
            assert code == command.exits, f"{page.name}: $ {command.line}\n{printed}"
            missing = not_printed(command.pasted, printed)
            assert not missing, f"{page.name}: $ {command.line}\nno longer prints {missing!r} but\n{printed}"


def not_printed(pasted: tuple[str, ...], printed: str) -> str | None:
    """The first pasted line that was not printed, in order; `...` stands for lines left out, or the rest of one."""
    shown = iter([masked(line) for line in printed.splitlines()])
    for line in pasted:
        beginning, cut, _ = line.partition("...")
        wanted = masked(beginning)
        if not wanted:
            continue
        rest = dropwhile(lambda s, w=wanted, c=cut: not (s.startswith(w) if c else s == w), shown)
        if next(rest, None) is None:
            return line
    return None


def masked(line: str) -> str:
    for pattern, word in _CHANGING:
        line = re.sub(pattern, word, line)
    return line.strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_console_blocks_hold_only_commands_that_are_run(page: Path) -> None:
    for block in blocks(page):
        if block.language == "console":
            found = list(commands(block))
            assert found, f"{page.name}: a console block without a command:\n{block.body}"
            for command in found:
                words = shlex.split(command.line, comments=True)
                assert words[0] in ("dlx", "python"), f"{page.name}: {command.line}: use a sh block"
                assert not _SHELL & set(words), f"{page.name}: {command.line}: needs a shell, use a sh block"


def test_few_examples_are_left_out() -> None:
    skipped = [block for page in PAGES for block in blocks(page) if block.skipped]
    assert len(skipped) <= 3


def test_a_changed_output_is_noticed() -> None:
    printed = (
        "run 1234abcd completed: trained 600 steps in 1 min 02 s of training\nbest weights: step 3\n/a/results/runs/1234abcd\n"
    )
    assert (
        not_printed(("run 0000ffff completed: trained 40 steps in 0.2 s of training", "...", "/x/results/runs/1"), printed)
        is None
    )
    assert not_printed(("best ...",), printed) is None
    assert not_printed(("best weights: step 3, by validation/accuracy",), printed) is not None
    assert not_printed(("best weights: step 3", "run 0000ffff completed: ..."), printed) is not None
