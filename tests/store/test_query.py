"""The language of `--where` and `--sort`: what it means, what it refuses, and that nothing in it is ever interpreted."""

import contextlib
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlx.errors import Status, UsageError
from dlx.store import RunSummary
from dlx.store.query import parse_condition, parse_sort

HOSTILE = (
    "'; DROP TABLE dlx_runs; --",
    '<b onclick="x">',
    "[red]x[/red]",
    "100 % _",
    "ü 数",
    "a\\b",
    'say "hi"',
    "rock and roll",
    "(x",
)


def a_run(**changes: Any) -> RunSummary:
    described: dict[str, Any] = {
        "id": "abcd1234",
        "name": "night",
        "status": Status.COMPLETED,
        "message": "trained 40 steps",
        "created": 1.7e9,
        "finished": None,
        "heartbeat": 1.7e9,
        "step": 40,
        "epoch": 4,
        "steps_total": 40,
        "steps_per_epoch": 10,
        "lanes": 1,
        "lane": 0,
        "monitor": "validation/accuracy",
        "direction": "maximize",
        "host": "vm",
        "pid": 1,
        "metrics": {"test/accuracy": 0.95, "test/f1(a b)": 0.5, "test/top.5": 0.99, "parameters": 12.0, "train/loss": math.nan},
        "seconds_text": '{"train": 3.5}',
        "runs_folder": Path("/r"),
        "config_text": '{"model": {"kind": "mlp", "hidden": [64, 32], "bias": true}, "optimizer": {"lr": 0.001, "clip": null}}',
    }
    return RunSummary(**{**described, **changes})


def holds(text: str, **changes: Any) -> bool:
    return parse_condition(text).holds(a_run(**changes))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('metrics."test/accuracy" > 0.9 and config.model.kind = mlp', True),
        ('metrics."test/accuracy" > 0.9 and config.model.kind = cnn', False),
        ("metrics.test/accuracy>0.9", True),
        ("test/accuracy>0.96 or status=completed", True),
        ("status=failed or test/accuracy>0.96", False),
        ("status=failed and step=40 or epoch=4", True),
        ("status=failed and (step=40 or epoch=4)", False),
        ("not status=failed and step=40", True),
        ("not (status=failed or step=40)", False),
        ("not not status=completed", True),
        ("NOT status=failed AND step=40", True),
        ("((step = 40))", True),
        ("status in (failed, completed)", True),
        ("status not in (failed, lost)", True),
        ("status not in(failed,completed)", False),
        ("step in (1, 40.0)", True),
        ("config.model.hidden in ([64,32], [8])", True),
        ("message ~ STEPS", True),
        ("message ~ 'trained 40'", True),
        ("message !~ trained", False),
        ("config.model.hidden ~ 32", True),
        ("config.nothing ~ a", False),
        ("config.nothing !~ a", True),
        ("config.nothing not in (a)", True),
        ("metrics.parameters<=12", True),
        ("test/f1(a b)>0", None),
        ('"test/f1(a b)" > 0.4', True),
        ("test/top.5>0.9", True),
        ("metrics.test/top.5>0.9", True),
        ("train/loss=nan", True),
        ("train/loss<1", False),
        ('"config"."model"."kind" = "mlp"', True),
        ("seconds.train > 3", True),
        ("config.model.bias = true", True),
        ("config.optimizer.clip=null", True),
        ('config.optimizer.clip="null"', False),
        ("name=night", True),
        ("name='night'", True),
        ("name = 'nig ht'", False),
        ("message=trained 40 steps and step=40", True),
        ("message=trained 40 steps", True),
        ('"status"=completed', True),
    ],
)
def test_what_a_condition_means(text: str, expected: bool | None) -> None:
    if expected is None:
        with pytest.raises(UsageError):
            parse_condition(text)
    else:
        assert holds(text) is expected


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_is_found_in_quotes_and_is_only_text(name: str) -> None:
    for mark in ("'", '"'):
        quoted = mark + name.replace("\\", "\\\\").replace(mark, f"\\{mark}") + mark
        assert holds(f"name = {quoted}", name=name)
        assert holds(f"(name in ({quoted}, other)) and step=40", name=name)
        assert not holds(f"name = {quoted}")


@pytest.mark.parametrize("name", ["my run (2)", "a>b", "<b>", "it's", "x,y", "[red]x[/red]", "or", "android"])
def test_words_without_quotes_are_a_value_as_they_are(name: str) -> None:
    assert holds(f"name={name}", name=name)
    assert holds(f"name = {name} and step=40", name=name)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("staus=failed", r"--where: runs have no 'staus' \(did you mean status\?\); use a metric"),
        ("step=1 and acuracy>3", r"no 'acuracy', at character 12 \(did you mean"),
        ("lr=1", r"did you mean config\.optimizer\.lr"),
        ("step=1 and", r"'step=1 and' at character 11: write KEY=VALUE"),
        ("step", "write KEY=VALUE"),
        ("", "write KEY=VALUE"),
        ("(step=1", "the parenthesis at character 1 is not closed"),
        ("step=1)", r"at character 7: what is '\)' to mean\?"),
        ("name='night", "at character 6: the quote ' is not closed"),
        ("name in night", "after in comes a list"),
        ("name in (night", "the list after in is not closed"),
        ("name in (night,)", "here a value is missing"),
        ("test/accuracy>high and step=1", "'high' is neither a number nor a date such as 2026-01-31, and > needs one"),
        ("name='a' 'b'", "what is \"'b'\" to mean"),
        ("test/accuracy=>0.5", "at character 15: the signs are =, !=, <"),
        ("test/accuracy=<0.5", "the signs are"),
        ("test/accuracy<>0.5", "the signs are"),
        ("name === night", "the signs are"),
        ("name=night && step=40", r"at character 6: what is 'night && step=40' to mean\? Join conditions with and, or"),
        ("name=night, test/accuracy > 2", "Join conditions with and, or"),
        ("name=(a and step=40", r"at character 6: a bracket in '\(a and step=40' is not closed"),
        ("status=done", "'done' is no status; the statuses are running, completed, diverged"),
        ("status != Completed", "'Completed' is no status"),
        ("status in (failed, done)", "'done' is no status"),
        ("accuracy>0.5", r"did you mean test/accuracy or validation/accuracy\?"),
        ("(" * 60 + "step=1" + ")" * 60, "more than 50 parentheses"),
        ("not " * 60 + "step=1", "more than 50 parentheses"),
    ],
)
def test_a_wrong_condition_says_where_and_what_to_write(text: str, sentence: str) -> None:
    known = ("test/accuracy", "validation/accuracy", "config.optimizer.lr")
    with pytest.raises(UsageError, match=sentence) as refused:
        parse_condition(text, lambda: known)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("value", "other"),
    [("12e34567", "98e76543"), ("007", "7"), ("2026-01-31", "20260131"), ("nan", "NaN"), ("my run", "myrun")],
)
def test_a_text_is_no_number_and_no_date(value: str, other: str) -> None:
    for text in (f"name={value}", f"name='{value}'", f"name in ({value})"):
        assert holds(text, name=value)
        assert not holds(text, name=other)
    assert holds(f"name!={value}", name=other)


def test_keys_to_sort_by() -> None:
    for text, path, descending in (
        ("-test/accuracy", ("metrics", "test/accuracy"), True),
        ('metrics."test/f1(a b)"', ("metrics", "test/f1(a b)"), False),
        ("-config.optimizer.lr", ("config", "optimizer", "lr"), True),
        ("created", ("created",), False),
    ):
        key, largest_first = parse_sort(text)
        assert (key.path, largest_first) == (path, descending)
    for text in ("", "-", "step and epoch", "--step"):
        with pytest.raises(UsageError, match="--sort"):
            parse_sort(text)


WORDS = st.sampled_from(
    ["(", ")", "and", "or", "not", "in", "step", "test/a", "=", ">", "~", "'", '"', "\\", ",", ".", " ", "1", "[", "x"]
)


@given(st.lists(WORDS, max_size=25).map("".join) | st.text(max_size=40))
def test_any_text_has_a_meaning_or_is_refused_in_one_sentence(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert parse_condition(text).holds(a_run()) in (True, False)


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_quoted_value_is_that_text_and_no_other(value: str, other: str) -> None:
    quoted = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert holds(f"name = {quoted}", name=value)
    assert holds(f"name = {quoted}", name=other) == (value == other)
