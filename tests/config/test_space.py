"""The search space: what it may be, what it refuses before the first trial, and Hydra's grammar for it."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from dlx.config.experiment import Change, Experiment, is_lane
from dlx.config.grammar import parse_dimension, split_words
from dlx.config.load import read, validate
from dlx.config.overrides import Override, parse_override
from dlx.config.space import (
    Choice,
    Dimension,
    FloatRange,
    IntRange,
    active,
    apply,
    check_space,
    fits,
    fitted,
    ordered,
    points,
    structural,
    value_at,
)
from dlx.errors import ConfigError

DIGITS = {
    "data": {"kind": "digits"},
    "model": {"kind": "mlp", "hidden": [128, 64]},
    "optimizer": {"kind": "adamw", "lr": 3e-3},
    "train": {},
}
MOMENTUM = FloatRange(low=0.5, high=0.99, when={"optimizer.kind": "sgd"})


def space(**dimensions):
    """A space whose keys are written with `__` for the dot."""
    return {key.replace("__", "."): dimension for key, dimension in dimensions.items()}


def refusal(searched, *overrides):
    with pytest.raises(ConfigError) as caught:
        check_space(searched, read(DIGITS), [parse_override(o) for o in overrides])
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --------------------------------------------------------------------------------------------------------- dimensions


@pytest.mark.parametrize(
    ("dimension", "sentence"),
    [
        ({"type": "float", "low": 1, "high": 1}, "low is 1.0 and high is 1.0: low must be below high"),
        ({"type": "int", "low": 3, "high": 1}, "low must be below high"),
        ({"type": "float", "low": 0, "high": 1, "log": True}, "a log range never reaches zero"),
        ({"type": "int", "low": -1, "high": 1, "log": True}, "a log range never reaches zero"),
        ({"type": "float", "low": 1, "high": 2, "log": True, "step": 0.1}, "a log range has no step"),
        ({"type": "int", "low": 1, "high": 9, "log": True, "step": 2}, "a log range has no step"),
        ({"type": "float", "low": 1, "high": 2, "step": 1.5}, "at most high - low, which is 1"),
        ({"type": "int", "low": 1, "high": 2, "step": 0}, "step is 0: it must be above 0"),
        ({"type": "categorical", "choices": []}, "name at least one choice"),
        ({"type": "categorical", "choices": [[1, 2], [1, 2]]}, "[1, 2] is there twice"),
        ({"type": "categorical", "choices": [1, 1.0]}, "1.0 is there twice"),
    ],
)
def test_what_is_no_dimension(dimension, sentence):
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Dimension).validate_python(dimension)
    assert sentence in str(caught.value)


def test_true_and_one_are_two_choices():
    assert Choice(choices=(True, 1, None, "1", [1], {"kind": "flip"}))


def test_a_step_may_span_the_range_in_spite_of_rounding():
    assert FloatRange(low=0.1, high=0.3, step=0.2)


# -------------------------------------------------------------------------------------------------- points and places

ALMOST = math.nextafter(1, 0)


@pytest.mark.parametrize(
    ("dimension", "expected"),
    [
        (FloatRange(low=0, high=0.5, step=0.1), [0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        (FloatRange(low=0.1, high=0.3, step=0.1), [0.1, 0.2, 0.3]),
        (FloatRange(low=0, high=1, step=0.3), [0, 0.3, 0.6, 0.9]),  # and not the end, which is no step
        (FloatRange(low=0.1, high=0.3, step=0.2), [0.1, 0.3]),
        (IntRange(low=2, high=5), [2, 3, 4, 5]),
        (IntRange(low=2, high=9, step=3), [2, 5, 8]),
        (Choice(choices=("sgd", None, [8])), ["sgd", None, [8]]),
    ],
)
def test_the_points_of_a_dimension(dimension, expected):
    found = list(points("key", dimension))
    assert found == ([pytest.approx(value) for value in expected] if isinstance(dimension, FloatRange) else expected)
    assert fits({"key": dimension}, {"key": found[-1]})
    if not isinstance(dimension, Choice):
        assert max(found) <= dimension.high  # exactly


@pytest.mark.parametrize("dimension", [FloatRange(low=1, high=2), IntRange(low=1, high=9, log=True)])
def test_a_range_without_steps_has_no_points(dimension):
    with pytest.raises(ConfigError, match=r"search model\.depth: a grid needs its points: give choice"):
        points("model.depth", dimension)


@pytest.mark.parametrize(
    ("dimension", "values"),
    [
        (Choice(choices=("a", "b", "c", "d")), ["a", "b", "c", "d"]),
        (IntRange(low=-1, high=2), [-1, 0, 1, 2]),
        (IntRange(low=2, high=13, step=3), [2, 5, 8, 11]),
        (FloatRange(low=0, high=0.75, step=0.25), [0, 0.25, 0.5, 0.75]),
        (FloatRange(low=0, high=0.8, step=0.25), [0, 0.25, 0.5, 0.75]),
    ],
)
def test_what_can_be_counted_has_equal_shares(dimension, values):
    """Of four, a quarter each: the lower end of a share belongs to it, the upper one to the next."""
    for number, value in enumerate(values):
        for place in (number / 4, (number + 0.5) / 4, math.nextafter((number + 1) / 4, 0)):
            assert value_at(dimension, place) == value


@pytest.mark.parametrize(
    ("dimension", "place", "value"),
    [
        (FloatRange(low=-1, high=3), 0, -1),
        (FloatRange(low=-1, high=3), 0.25, 0),
        (FloatRange(low=-1, high=3), 0.5, 1),
        (FloatRange(low=1e-4, high=1, log=True), 0, 1e-4),
        (FloatRange(low=1e-4, high=1, log=True), 0.25, 1e-3),
        (FloatRange(low=1e-4, high=1, log=True), 0.5, 1e-2),
        (FloatRange(low=1e-4, high=1, log=True), ALMOST, 1),
    ],
)
def test_places_of_a_continuous_range(dimension, place, value):
    assert value_at(dimension, place) == pytest.approx(value)
    assert dimension.low <= value_at(dimension, place) <= dimension.high  # exactly


def test_whole_numbers_have_their_share_of_the_logarithm():
    """Each from half below to half above itself: of 0.5 to 3.5, which is a factor of 7, a factor of 3, of 5/3 and of 7/5."""
    dimension = IntRange(low=1, high=3, log=True)
    ends = [0, math.log(3) / math.log(7), math.log(5) / math.log(7), 1]
    for value in (1, 2, 3):
        for place in (ends[value - 1] + 1e-9, (ends[value - 1] + ends[value]) / 2, ends[value] - 1e-9):
            assert value_at(dimension, place) == value
    assert (value_at(dimension, 0), value_at(dimension, ALMOST)) == (1, 3)


@given(
    st.sampled_from([FloatRange, IntRange]), st.integers(1, 60), st.integers(1, 60), st.booleans(),
    st.lists(st.floats(0, ALMOST), min_size=2, max_size=5),
)  # fmt: skip
def test_every_place_has_a_value_of_the_dimension_and_values_ascend(kind, low, width, log, places):
    scale = 1 if kind is IntRange else 0.1
    dimension = kind(low=low * scale, high=(low + width) * scale, log=log)
    found = [value_at(dimension, place) for place in sorted(places)]
    assert found == sorted(found)
    assert all(fits({"key": dimension}, {"key": value}) for value in found)
    assert all(type(value) is (int if kind is IntRange else float) for value in found)


# --------------------------------------------------------------------------------------------------------- conditions


def test_a_dimension_is_active_where_its_conditions_hold():
    searched = space(optimizer__kind=Choice(choices=("sgd", "adamw")), optimizer__momentum=MOMENTUM)
    base = validate(read(DIGITS)).model_dump(mode="json")
    assert active(searched, {"optimizer.kind": "sgd"}, "optimizer.momentum", base)
    assert not active(searched, {"optimizer.kind": "adamw"}, "optimizer.momentum", base)
    assert not active(searched, {}, "optimizer.momentum", base)
    assert active(searched, {}, "optimizer.kind", base)


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ({"optimizer.kind": "adamw"}, True),
        ({"optimizer.kind": ["sgd", "adamw"]}, True),
        ({"optimizer.kind": "sgd"}, False),
        ({"model.hidden": [[128, 64]]}, True),
        ({"train.duration": "30 epochs", "data.standardize": True}, True),
        ({"data.standardize": 1}, False),
        ({"train.batch_size": 64.0}, True),
    ],
)
def test_a_condition_on_a_fixed_key_looks_at_the_experiment(when, holds):
    base = validate(read(DIGITS)).model_dump(mode="json")
    searched = space(model__dropout=FloatRange(low=0, high=0.5, when=when))
    assert active(searched, {}, "model.dropout", base) is holds
    check_space(searched, read(DIGITS), [])


@given(st.permutations(list("abcdef")), st.sets(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef"))))
def test_every_key_comes_after_those_its_conditions_name(keys, edges):
    searched = {key: Choice(choices=(1, 2), when={a: 1 for a, b in edges if b == key and a < b}) for key in keys}
    order = ordered(searched)
    assert sorted(order) == sorted(keys)
    assert all(order.index(other) < order.index(key) for key in keys for other in searched[key].when)


def test_conditions_in_a_circle_are_refused():
    searched = {"a": Choice(choices=(1,), when={"b": 1}), "b": Choice(choices=(1,), when={"a": 1})}
    with pytest.raises(ConfigError, match=r"search [ab]: its conditions run in a circle: [ab], [ab], [ab]"):
        ordered(searched)


# ---------------------------------------------------------------------------------------------------------- the check


GOOD = [
    space(optimizer__lr=FloatRange(low=1e-4, high=1e-1, log=True), model__dropout=FloatRange(low=0, high=0.6)),
    space(optimizer__weight_decay=IntRange(low=0, high=1)),
    space(model__hidden=Choice(choices=([128], [256, 128]))),
    space(model__hidden__0=IntRange(low=16, high=256)),
    space(optimizer__clip_norm=Choice(choices=(None, 1.0)), optimizer__kind=Choice(choices=("sgd", "adamw"))),
    space(optimizer__kind=Choice(choices=("sgd", "adamw")), optimizer__momentum=MOMENTUM),
    space(optimizer__momentum=MOMENTUM),
    space(data__standardize=Choice(choices=(True, False)), train__precision=Choice(choices=("float32", "bfloat16"))),
    space(optimizer=Choice(choices=({"kind": "sgd", "lr": 0.1}, {"kind": "adamw"}))),
    space(  # two that only fit together
        optimizer__kind=Choice(choices=("adamw", "lbfgs")),
        train__batch_size=Choice(choices=("full",), when={"optimizer.kind": "lbfgs"}),
    ),
    space(  # a condition behind a condition
        optimizer__kind=Choice(choices=("sgd", "adamw")),
        optimizer__nesterov=Choice(choices=(True, False), when={"optimizer.kind": "sgd"}),
        optimizer__momentum=FloatRange(low=0.5, high=0.9, when={"optimizer.nesterov": True}),
    ),
]


@pytest.mark.parametrize("searched", GOOD, ids="+".join)
def test_a_possible_space_passes(searched):
    check_space(searched, read(DIGITS), [parse_override("train.seed=1")])
    assert json.loads(json.dumps({key: d.model_dump(mode="json") for key, d in searched.items()}))


@given(st.data(), st.sampled_from(GOOD))
def test_every_trial_of_a_possible_space_is_an_experiment(data, searched):
    base = validate(read(DIGITS)).model_dump(mode="json")
    params = {}
    for key in ordered(searched):
        if active(searched, params, key, base):
            match searched[key]:
                case Choice(choices=choices):
                    params[key] = data.draw(st.sampled_from(choices))
                case IntRange(low=low, high=high):
                    params[key] = data.draw(st.integers(low, high))
                case FloatRange(low=low, high=high):
                    params[key] = data.draw(st.floats(low, high))
    assert apply(read(DIGITS), [], params)


ROUND = FloatRange(low=0.1, high=0.5)


@pytest.mark.parametrize(
    ("searched", "sentence"),
    [
        (space(optimizer__lrr=ROUND), "search optimizer.lrr: is not a key of optimizer; did you mean optimizer.lr?"),
        (space(optimzer__lr=ROUND), "optimzer: is not a key of an experiment; did you mean optimizer?"),
        (space(lr=ROUND), "did you mean optimizer.lr?"),
        (space(optimizer__lr=FloatRange(low=-1, high=1)), "search optimizer.lr: is -1.0, but should be greater than 0"),
        (space(model__dropout=FloatRange(low=0, high=1)), "search model.dropout: is 1.0, but should be less than 1"),
        (space(train__precision=Choice(choices=("float32", "float8"))), "search train.precision: is 'float8', but should be"),
        (space(model__hidden=Choice(choices=([8], [8, 0]))), "model.hidden.1: is 0, but should be greater than or equal to 1"),
        (
            space(model__activation=ROUND),
            (
                "search model.activation: a float range, but the field takes one of relu, leaky_relu, elu, selu, gelu, silu, "
                "tanh, sigmoid, softplus: use choice(relu, leaky_relu, ...)"
            ),
        ),
        (
            space(data__standardize=IntRange(low=0, high=1)),
            "search data.standardize: an int range, but the field takes one of true, false: use choice(true, false)",
        ),
        (space(optimizer__kind=ROUND), "search optimizer.kind: a float range, but the field takes one of sgd, sign_sgd,"),
        (space(train__batch_size=FloatRange(low=16.5, high=64)), "the field takes whole numbers: use int(interval(low, high))"),
        (space(train__batch_size=FloatRange(low=1, high=4, step=0.5)), "the field takes whole numbers"),
        (space(model__hidden=ROUND), "search model.hidden: is 0.1, but should be a list"),
        (
            space(optimizer__kind=Choice(choices=("sgd", "adamw")), optimizer__momentum=ROUND),
            "search optimizer.momentum: with optimizer.kind=adamw",
        ),
        (
            space(optimizer__kind=Choice(choices=("sgd", "adamw")), optimizer__momentum=ROUND),
            "limit it in a sweep file by when: {optimizer.kind: ...}",
        ),
        (space(optimizer__kind=Choice(choices=("adamw", "lbfgs"))), "with optimizer.kind=lbfgs: optimizer lbfgs searches"),
        (
            space(model__dropout=FloatRange(low=0, high=0.5, when={"optimizer.kid": "sgd"})),
            "its condition names optimizer.kid, which is neither searched nor in the config; did you mean optimizer.kind?",
        ),
        (
            space(optimizer__kind=Choice(choices=("adam", "adamw")), optimizer__momentum=MOMENTUM),
            "its condition wants optimizer.kind to be sgd, but the search of optimizer.kind never takes it",
        ),
        (space(optimizer__momentum=FloatRange(low=0, high=0.9, when={"optimizer.kind": "sdg"})), "the unknown kind 'sdg'"),
        (
            space(model__dropout=FloatRange(low=0, high=0.5, when={"optimizer.lr": 0.1}), optimizer__lr=ROUND),
            "the search of optimizer.lr never takes it",
        ),
        (
            space(
                optimizer__kind=Choice(choices=("sgd", "adamw")),
                optimizer__nesterov=Choice(choices=(True, False), when={"optimizer.kind": "sgd"}),
                optimizer__b1=FloatRange(low=0, high=0.5, when={"optimizer.kind": "adamw", "optimizer.nesterov": True}),
            ),
            "search optimizer.b1: its conditions and those of the keys they name never hold together",
        ),
        (space(optimizer__lr=FloatRange(low=0.1, high=0.5, when={"optimizer.kind": []})), "never hold together"),
        (
            space(optimizer=Choice(choices=({"kind": "sgd"},)), optimizer__lr=ROUND),
            "search optimizer.lr: optimizer is searched as a whole",
        ),
    ],
)
def test_an_impossible_space_is_refused_before_the_first_trial(searched, sentence):
    assert sentence in refusal(searched)


def test_what_is_searched_is_not_also_set():
    assert refusal(space(optimizer__lr=ROUND), "optimizer.lr=0.1") == (
        "search optimizer.lr: the override optimizer.lr=0.1 sets it too; drop one of the two"
    )
    assert "sets it too" in refusal(space(optimizer=Choice(choices=({"kind": "sgd"},))), "optimizer.lr=0.1")


def test_an_override_that_only_some_kinds_take_is_refused():
    searched = space(optimizer__kind=Choice(choices=("adamw", "sgd")))
    assert "search optimizer.kind: " in refusal(searched, "optimizer.b1=0.5")


def test_a_broken_experiment_is_told_as_such():
    assert refusal(space(optimizer__lr=ROUND), "train.batch_size=0").startswith("override: train.batch_size: is 0")


def test_a_trial_is_the_experiment_under_overrides_and_its_values_kinds_first():
    params = {"optimizer.momentum": 0.9, "optimizer.kind": "sgd", "model.hidden": [8]}
    experiment = apply(read(DIGITS), [Override(("optimizer", "lr"), 0.5)], params)
    assert experiment.optimizer.model_dump(include={"kind", "lr", "momentum"}) == {"kind": "sgd", "lr": 0.5, "momentum": 0.9}
    assert experiment.model.model_dump()["hidden"] == (8,)


@pytest.mark.parametrize(
    ("key", "found", "expected"),
    [
        ("train.batch_size", FloatRange(low=16, high=64), IntRange(low=16, high=64)),
        ("train.batch_size", FloatRange(low=16, high=64, log=True), IntRange(low=16, high=64, log=True)),
        ("train.batch_size", FloatRange(low=16, high=64, step=16), IntRange(low=16, high=64, step=16)),
        ("train.seed", FloatRange(low=0, high=9), IntRange(low=0, high=9)),
        ("model.hidden.0", FloatRange(low=8, high=16), IntRange(low=8, high=16)),
        ("optimizer.memory_size", FloatRange(low=1, high=4, when={"optimizer.kind": "lbfgs"}), None),
        ("train.batch_size", FloatRange(low=16.5, high=64), None),
        ("optimizer.lr", FloatRange(low=1, high=2), None),
        ("optimizer.kind", FloatRange(low=1, high=2), None),
        ("train.nothing", FloatRange(low=1, high=2), None),
    ],
)
def test_a_field_of_whole_numbers_gets_whole_numbers(key, found, expected):
    if key == "optimizer.memory_size":
        expected = IntRange(low=1, high=4, when=found.when)
    assert fitted({key: found}, read(DIGITS), []) == {key: expected or found}


# -------------------------------------------------------------------------------------------------------- the grammar


@pytest.mark.parametrize(
    ("text", "dimension"),
    [
        ("interval(0, 0.5)", FloatRange(low=0, high=0.5)),
        (" interval( 1e-4 ,1e-1 ) ", FloatRange(low=1e-4, high=1e-1)),
        ("tag(log, interval(1e-4, 1e-1))", FloatRange(low=1e-4, high=1e-1, log=True)),
        ("int(interval(1, 8))", IntRange(low=1, high=8)),
        ("tag(log, int(interval(1, 8)))", IntRange(low=1, high=8, log=True)),
        ("int(tag(log, interval(1, 8)))", IntRange(low=1, high=8, log=True)),
        ("range(4)", IntRange(low=0, high=3)),
        ("range(1, 4)", IntRange(low=1, high=3)),
        ("range(0,10,3)", IntRange(low=0, high=9, step=3)),
        ("range(0,9,3)", IntRange(low=0, high=6, step=3)),
        ("range(0.0, 0.3, 0.1)", FloatRange(low=0, high=0.2, step=0.1)),
        ("range(1, 1.3, 0.1)", FloatRange(low=1, high=1.2, step=0.1)),
        ("choice(relu, gelu)", Choice(choices=("relu", "gelu"))),
        ("choice(1)", Choice(choices=(1,))),
        ('choice(true, null, 1e-3, \'a,b)\', "c\\"(")', Choice(choices=(True, None, 1e-3, "a,b)", 'c"('))),
        ("32,64,128", Choice(choices=(32, 64, 128))),
        ("[128],[256,128]", Choice(choices=([128], [256, 128]))),
        ("choice([128],[[1],{a:2}])", Choice(choices=([128], [[1], {"a": 2}]))),
        ("{kind: flip},{kind:shift,pixels:2}", Choice(choices=({"kind": "flip"}, {"kind": "shift", "pixels": 2}))),
        ("10 epochs, it's", Choice(choices=("10 epochs", "it's"))),
        ("[256,128]", None),
        ("{a: 1, b: 2}", None),
        ("'a,b'", None),
        ('"a\\",b"', None),
        ("2000 steps", None),
        ("/data (old)/x(1", None),
        ("1e-3", None),
        ("", None),
    ],
)
def test_hydras_grammar(text, dimension):
    assert parse_dimension(text) == dimension


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("interval(1", "')' is missing at the end; write interval(low, high), range("),
        ("choice([1, 2)", "')' closes nothing"),
        ("choice('a, b)", '"\'" is missing at the end'),
        ("1,2]", "']' closes nothing"),
        ("uniform(0, 1)", "there is no uniform(...); write interval(low, high), range("),
        ("interval(1)", "search 'interval(1)': write interval(low, high)"),
        ("interval(1, 2, 3)", "write interval(low, high)"),
        ("interval(a, 2)", "'a' is not a number; write interval(low, high)"),
        ("interval(true, 2)", "'true' is not a number"),
        ("interval(0, 1e999)", "'1e999' is not a number"),
        ("interval(2, 1)", "search 'interval(2, 1)': low is 2.0 and high is 1.0: low must be below high"),
        ("range()", "write range(stop), range(start, stop) or range(start, stop, step)"),
        ("range(1)", "this range has fewer than two values"),
        ("range(5, 1)", "this range has fewer than two values"),
        ("range(5, 1, -1)", "with a step above 0"),
        ("choice()", "name at least one choice"),
        ("choice(a,,b)", "an entry is empty"),
        ("1,2,", "an entry is empty"),
        ("1,1", "1 is there twice"),
        ("choice(1, interval(0, 1))", "'interval(0, 1)' is none; quote it if it is text"),
        ("int(interval(0.5, 2))", "the ends must be whole numbers"),
        ("int(3)", "write int(interval(low, high))"),
        ("int(choice(1, 2))", "write int(interval(low, high))"),
        ("tag(log, choice(1, 2))", "write tag(log, interval(low, high))"),
        ("tag(linear, interval(1, 2))", "write tag(log, interval(low, high))"),
        ("tag(log, interval(0, 2))", "a log range never reaches zero"),
        ("tag(log, range(1, 9, 2))", "a log range has no step"),
        ("interval(1, 2) + 1", "the function does not end with its own parenthesis"),
        ("choice(1),choice(2)", "the function does not end with its own parenthesis"),
    ],
)
def test_malformed_grammar_is_told_with_the_right_form(text, sentence):
    with pytest.raises(ConfigError) as caught:
        parse_dimension(text)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


WORDS = st.text("abcxyz ,()[]{}'\"=", min_size=1)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(VALUES, min_size=2, max_size=4, unique_by=json.dumps))
def test_choices_written_as_json_are_read_back(values):
    try:
        expected = Choice(choices=tuple(values))
    except ValidationError:
        return
    text = ", ".join(json.dumps(value) for value in values)
    assert parse_dimension(text) == expected
    assert parse_dimension(f"choice({text})") == expected


@given(st.text(max_size=30) | st.text("()[]{},'\"12 choiceintervaltaglog", max_size=30))
def test_any_text_is_a_dimension_a_single_value_or_a_config_error(text):
    try:
        found = parse_dimension(text)
    except ConfigError:
        return
    assert found is None or isinstance(found, FloatRange | IntRange | Choice)


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 9))
def test_a_range_is_pythons(start, stop, step):
    expected = range(start, stop, step)
    try:
        found = parse_dimension(f"range({start}, {stop}, {step})")
    except ConfigError:
        assert len(expected) < 2
    else:
        assert found == IntRange(low=expected[0], high=expected[-1], step=step)


def test_words_are_sorted_into_overrides_and_dimensions():
    words = ["train.seed=1", "+optimizer.lr=interval(0, 1)", "model.hidden=[8,8]", "~data.limit", "train.seed=1,2"]
    overrides, searched = split_words(words)
    assert overrides == [parse_override(words[i]) for i in (0, 2, 3)]
    assert searched == {"optimizer.lr": FloatRange(low=0, high=1), "train.seed": Choice(choices=(1, 2))}


@pytest.mark.parametrize("word", ["lr", "a b=interval(0, 1)", "=1,2", "~a b"])
def test_a_word_without_a_key_is_refused(word):
    with pytest.raises(ConfigError, match="override"):
        split_words([word])


# ------------------------------------------------------------------------------- what may differ between lanes, and replay


@pytest.mark.parametrize(
    "key",
    ["optimizer.lr", "optimizer.momentum", "optimizer.clip_norm", "model.dropout", "train.seed", "schedule.final"],
)
def test_a_value_that_may_differ_between_lanes(key):
    assert is_lane(key)


@pytest.mark.parametrize(
    "key",
    [
        *("train.batch_size", "model.hidden", "model.kind", "model", "data.seed", "optimizer", "replay", "replay.at"),
        *("", ".", "lr", "seed", "optimizer.", ".lr", "nope.lr", "optimizer.nope", "optimizer.lr.x", "model.args.lr"),
    ],
)
def test_what_chooses_the_program_or_is_no_key_at_all(key):
    assert not is_lane(key)


def test_keys_and_choices_that_choose_the_program():
    searched = space(
        optimizer__lr=ROUND,
        optimizer__l1=Choice(choices=(0.1, 0.2)),
        optimizer__clip_norm=Choice(choices=(1.0, None)),  # with and without are two programs
        model__hidden=Choice(choices=([8], [16])),
        train__batch_size=IntRange(low=8, high=16),
    )
    assert structural(searched) == {"optimizer.clip_norm", "model.hidden", "train.batch_size"}


def with_replay(*changes, **sections):
    return Experiment.model_validate({**DIGITS, **sections, "replay": [{"at": at, "values": values} for at, values in changes]})


def test_a_replay_is_kept_as_it_is_written():
    changes = [(1, {"optimizer.lr": 0.1}), (7, {"optimizer.lr": 0.2, "model.dropout": 0.5, "train.seed": 3}), (8, {})]
    found = with_replay(*changes)
    assert found.replay == tuple(Change(at=at, values=values) for at, values in changes)
    assert type(found.replay[1].values["train.seed"]) is int
    assert Experiment.model_validate(found.model_dump(mode="json")) == found
    assert Experiment.model_validate(DIGITS).replay == ()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ([(5, {}), (3, {})], "replay: the steps must ascend, and they are 5, 3"),
        ([(3, {}), (3, {})], "replay: the steps must ascend, and they are 3, 3"),
        ([(0, {})], "should be greater than or equal to 1"),
        ([(1, {"train.batch_size": 8})], "replay: train.batch_size chooses the program, and cannot change on the way"),
        ([(1, {"optimizer.lr": 0.1}), (2, {"data.seed": 8})], "replay: data.seed chooses the program"),
        ([(1, {"optimizer.rate": 0.1})], "replay: optimizer.rate "),
        ([(1, {"model.hidden": [8]})], "replay"),
    ],
)
def test_a_replay_that_cannot_be_is_refused(changes, sentence):
    tree = {**DIGITS, "replay": [{"at": at, "values": values} for at, values in changes]}
    with pytest.raises(ConfigError) as caught:
        validate(read(tree))
    assert sentence in str(caught.value)


def test_other_values_leave_the_rest_as_it_is():
    before = Experiment.model_validate(DIGITS)
    kept = before.model_dump()
    after = before.with_values({"optimizer.lr": 0.5, "model.dropout": 0.25, "train.seed": 9})
    assert (after.optimizer.lr, vars(after.model)["dropout"], after.train.seed) == (0.5, 0.25, 9)
    assert before.model_dump() == kept
    assert after.with_values({"optimizer.lr": 3e-3, "model.dropout": 0.0, "train.seed": 0}) == before
    assert (after.data, after.schedule, after.task) == (before.data, before.schedule, before.task)
    changed, unchanged = (
        each.model_dump(exclude={"optimizer": {"lr"}, "model": {"dropout"}, "train": {"seed"}}) for each in (after, before)
    )
    assert changed == unchanged
    assert before.with_values({}) == before
