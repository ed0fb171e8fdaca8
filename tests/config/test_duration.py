"""Durations carry their unit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlx.config import Duration

UNITS = {"epochs": ("epoch", "epochs", "EPOCHS"), "steps": ("step", "steps"), "seconds": ("s", "sec", "seconds")}


@given(
    st.sampled_from(sorted(UNITS)).flatmap(lambda u: st.tuples(st.just(u), st.sampled_from(UNITS[u]))), st.integers(1, 10**9)
)
def test_every_spelling_is_read(unit, value):
    assert Duration.parse(f" {value}  {unit[1]} ") == Duration(value, unit[0])


@given(st.floats(1e-6, 1e12, allow_nan=False), st.sampled_from(["epochs", "steps", "seconds"]))
def test_what_is_written_is_read_back(value, unit):
    duration = Duration(value, unit)
    assert Duration.parse(str(duration)) == duration
    assert hash(Duration.parse(str(duration))) == hash(duration)


@given(st.text(max_size=20))
def test_any_text_is_a_duration_or_a_value_error(text):
    try:
        duration = Duration.parse(text)
    except ValueError:
        return
    assert duration.value > 0


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10 minutes", 600), ("1.5 h", 5400), ("2 min", 120)])
def test_minutes_and_hours_are_seconds(text, seconds):
    assert Duration.parse(text) == Duration(seconds, "seconds")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("30", "write a number and a unit"),
        ("30 parsecs", "unknown unit 'parsecs': use epochs, steps, seconds, minutes or hours"),
        ("0 epochs", "no duration above zero"),
        ("-1 epochs", "write a number and a unit"),
        ("1e999 steps", "no duration above zero"),
    ],
)
def test_what_is_no_duration_says_why(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        Duration.parse(text)


@given(st.floats(0.01, 1000), st.integers(1, 10_000))
def test_steps_are_whole_and_never_none(value, per_epoch):
    assert Duration(value, "epochs").steps(per_epoch) == max(1, round(value * per_epoch))
    assert Duration(value, "steps").steps(per_epoch) >= 1


def test_wall_clock_time_has_no_steps():
    with pytest.raises(ValueError, match="wall-clock"):
        Duration(1, "seconds").steps(10)


def test_a_duration_is_immutable():
    with pytest.raises(AttributeError):
        Duration(1, "steps").value = 2
