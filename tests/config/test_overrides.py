"""Hydra's `key.sub=value` on the command line."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlx.config import Override, load_experiment, parse_override
from dlx.config.overrides import apply_overrides, parse_value
from dlx.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1", 1),
        ("a=1e-3", 1e-3),
        ("a=.5", 0.5),
        ("a=3.", 3.0),
        ("a=-2", -2),
        ("a=true", True),
        ("a=null", None),
        ("a=", None),
        ("a=yes", "yes"),
        ("a=2000 steps", "2000 steps"),
        ("a='1'", "1"),
        ("a=[256,128]", [256, 128]),
        ("a={kind: flip}", {"kind": "flip"}),
        ("a=[{kind:flip}]", [{"kind": "flip"}]),
        ("a={kind:shift,pixels:2}", {"kind": "shift", "pixels": 2}),
        ("a=C:/data #1/x=y", "C:/data #1/x=y"),
        ("++a=1", 1),
    ],
)
def test_values_are_read_as_yaml_reads_them(text, value):
    assert parse_override(text) == Override(("a",), value)


@given(st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_that_python_writes_is_read_back(number):
    found = parse_value(repr(number), "")
    assert math.isclose(found, number, rel_tol=0, abs_tol=0)
    assert type(found) is type(number)


@given(st.text(max_size=30))
def test_any_text_is_an_override_or_a_config_error(text):
    try:
        override = parse_override(text)
    except ConfigError:
        return
    assert override.path
    assert all(override.path)


@pytest.mark.parametrize("text", ["lr", "=3", "a..b=1", "a b=1", "~", "~a.", "1a=2", "a=[1,", "a='x"])
def test_what_is_no_override_is_refused_with_an_example(text):
    with pytest.raises(ConfigError, match=r"override .*(write|value is not closed)"):
        parse_override(text)


def test_a_tilde_brings_the_default_back():
    base = load_experiment("digits-mlp")
    assert load_experiment("digits-mlp", [parse_override("~model.hidden"), parse_override("~optimizer.lr")]) == base.model_copy(
        update={"optimizer": base.optimizer.model_copy(update={"lr": 1e-3})}
    )


def test_entries_of_lists_are_reached_by_number():
    flipped = load_experiment("cifar10-cnn", [parse_override("data.augment.1.pixels=2")])
    assert flipped.data.augment[1].pixels == 2
    with pytest.raises(ConfigError, match="the list has no entry 5, it has 2 entries"):
        load_experiment("cifar10-cnn", [parse_override("data.augment.5.pixels=2")])


def test_a_path_through_a_number_is_refused():
    with pytest.raises(ConfigError, match=r"optimizer\.lr is 0\.003 and has no keys"):
        load_experiment("digits-mlp", [parse_override("optimizer.lr.x=1")])


def test_another_kind_keeps_the_keys_that_mean_the_same():
    found = load_experiment("digits-mlp", [parse_override("optimizer.momentum=0.8"), parse_override("optimizer.kind=sgd")])
    assert found.optimizer.model_dump(include={"kind", "lr", "momentum"}) == {"kind": "sgd", "lr": 1e-2, "momentum": 0.8}
    kin = load_experiment("digits-mlp", [parse_override("optimizer.kind=nadamw")])
    assert kin.optimizer.lr == 3e-3
    data = load_experiment("fashion-mlp", [parse_override("data.kind=digits")]).data
    assert (data.kind, data.validation) == ("digits", 0.1)


def test_overriding_changes_nothing_in_the_original():
    tree = {"a": {"b": [1, {"c": 2}]}}
    assert apply_overrides(tree, [parse_override("a.b.1.c=3")]) == {"a": {"b": [1, {"c": 3}]}}
    assert tree == {"a": {"b": [1, {"c": 2}]}}
