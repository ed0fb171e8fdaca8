"""Numbers change where they stand in a person's file, and nothing else does."""

import pytest

from dlx.config.load import parse_yaml
from dlx.config.rewrite import with_numbers
from dlx.errors import CannotWriteError, ConfigError

MINE = """\
# mine
data: {kind: digits}   # shipped
optimizer:
  # the rate
  lr: 1.0e-3    # found by hand
  kind: sgd

schedule: {kind: triangular,   base: 0.2}  # up, down
"""


def test_only_the_numbers_change() -> None:
    written = with_numbers(MINE, "my.yaml", {"optimizer.lr": 0.0123, "schedule.base": 0.05})
    assert written == MINE.replace("1.0e-3", "0.0123").replace("0.2}", "0.05}")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "data: {kind: digits}\noptimizer: {kind: adamw} # a\n",
            "data: {kind: digits}\noptimizer: {lr: 0.5, kind: adamw} # a\n",
        ),
        ("optimizer:\n    # c\n    kind: sgd\n", "optimizer:\n    # c\n    lr: 0.5\n    kind: sgd\n"),
        ("data: {kind: digits}", "data: {kind: digits}\noptimizer: {kind: adamw, lr: 0.5}\n"),
        ("optimizer: {kind: sgd, lr: 'auto'}\n", "optimizer: {kind: sgd, lr: 0.5}\n"),
        ("optimizer:\n  lr: auto\n", "optimizer:\n  lr: 0.5\n"),
        ("optimizer: {lr: &r 1e-3, kind: sgd}\n", "optimizer: {lr: &r 0.5, kind: sgd}\n"),
        ('{"optimizer": {"lr": 1, "kind": "sgd"}}\n', '{"optimizer": {"lr": 0.5, "kind": "sgd"}}\n'),
    ],
)
def test_a_key_that_is_not_there_is_added_to_its_section(before: str, after: str) -> None:
    assert with_numbers(before, "my.yaml", {"optimizer.lr": 0.5}) == after


def test_small_numbers_have_a_point_so_that_every_yaml_reads_a_number() -> None:
    written = with_numbers("optimizer: {lr: 1}\n", "my.yaml", {"optimizer.lr": 3e-5})
    assert written == "optimizer: {lr: 3.0e-05}\n"
    assert parse_yaml(written, "").tree["optimizer"]["lr"] == 3e-5


@pytest.mark.parametrize(
    "text",
    [
        "one: &o {kind: sgd, lr: 1e-3}\noptimizer: *o\n",  # the anchor would change too
        "a: &r 1e-3\noptimizer: {kind: sgd, lr: *r}\nb: {c: *r}\n",
        "optimizer: &o {kind: sgd, lr: &r 1e-3}\nb: *r\n",
        "optimizer: 3\n",
        "optimizer: {}\n",
        "optimizer:\n  kind: sgd\n  lr:\n",
        "optimizer:\n  kind: sgd\n  <<: {lr: 1.0}\n",
    ],
)
def test_what_cannot_be_changed_alone_is_refused(text: str) -> None:
    with pytest.raises(CannotWriteError, match=r"my\.yaml: .*optimizer"):
        with_numbers(text, "my.yaml", {"optimizer.lr": 0.5})


def test_a_file_that_is_no_yaml_is_told_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"my\.yaml:3: this is not valid YAML"):
        with_numbers("a: 1\nb: [1\n", "my.yaml", {"optimizer.lr": 0.5})
