"""Slices: every row is in one of them, equal values stay together, and only what is worse by more than chance is told."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlx.data import Part, Spec
from dlx.data.encoder import TableEncoder
from dlx.errors import UsageError
from dlx.evaluation.metrics import overall
from dlx.evaluation.slices import slices, weak_slices

RANDOM = np.random.Generator(np.random.Philox(key=5))
SPECS = {
    "class": Spec((1,), "class", 2, ("no", "yes"), (1, 1), ("y",), (), (), 2),
    "labels": Spec((1,), "labels", 2, ("a", "b"), (1, 1), ("a", "b"), (), (), 2),
    "number": Spec((1,), "number", 1, (), (), ("y",), (0.0,), (1.0,), 2),
}


def table(count: int, **columns: Any) -> Part:
    frame = pd.DataFrame(columns, index=range(count))
    return Part(np.zeros((count, 1), np.float32), (np.arange(count) % 2).astype(np.int32), frame)


def logits(right: np.ndarray) -> np.ndarray:
    """Of the classes 0, 1, 0, 1, ...: right where it says so."""
    own = np.arange(len(right)) % 2
    return np.eye(2, dtype=np.float32)[np.where(right, own, 1 - own)]


def found(part: Part, *asked: str, encoder: TableEncoder | None = None) -> dict[str, int]:
    """By value the number of examples."""
    outputs = logits(np.ones(len(part), bool))
    return {each.value: each.examples for each in slices(part, outputs, SPECS["class"], asked, resamples=0, encoder=encoder)}


def test_each_value_with_its_metrics_and_the_missing_apart() -> None:
    sex = [*["f"] * 4, *["m"] * 12, None, None]
    part, right = table(18, sex=sex), np.arange(18) % 3 > 0
    of = slices(part, logits(right), SPECS["class"], ["sex"], resamples=100)
    assert [(each.column, each.value, each.examples) for each in of] == [
        ("sex", "m", 12),
        ("sex", "f", 4),
        ("sex", "missing", 2),
    ]
    assert of[1].overall["accuracy"].value == right[:4].mean()
    low, high = of[0].overall["accuracy"].low, of[0].overall["accuracy"].high
    assert low is not None
    assert high is not None
    assert low < right[4:16].mean() < high
    assert of[1].overall["accuracy"].low is None  # of four examples no interval can be told


def test_metrics_are_those_of_the_rows_alone() -> None:
    part = Part(np.zeros((60, 1), np.float32), RANDOM.standard_normal((60, 1)), pd.DataFrame({"x": np.arange(60) % 3}))
    outputs = RANDOM.standard_normal((60, 1))
    for place, each in enumerate(slices(part, outputs, SPECS["number"], ["x"], resamples=0)):
        rows = np.arange(60) % 3 == place
        assert {name: m.value for name, m in each.overall.items()} == pytest.approx(
            overall("number", outputs[rows], part.targets[rows]), nan_ok=True
        )


def test_intervals_hold_about_as_many_rows_and_are_named_by_their_ends() -> None:
    part = table(100, age=np.arange(100) + 17)
    assert found(part, "age:4") == {"[17, 42)": 25, "[42, 67)": 25, "[67, 92)": 25, "[92, 116]": 25}
    assert len(found(part, "age")) == 5  # many different numbers, and no count
    assert found(table(4, x=[0.5, 0.25, 1e6, 2]), "x:2") == {"[0.25, 2)": 2, "[2, 1e+06]": 2}


def test_equal_values_are_never_divided() -> None:
    gain = np.concatenate([np.zeros(900), np.arange(1, 101) * 10])
    assert found(table(1000, gain=gain), "gain:3") == {"0": 900, "[10, 510)": 50, "[510, 1000]": 50}
    assert found(table(100, x=np.repeat([0, 1, 2], [45, 45, 10])), "x:2") == {"0": 45, "[1, 2]": 55}  # 90 + 10 is less even
    assert found(table(100, x=np.repeat([0, 1, 2], [10, 45, 45])), "x:2") == {"[0, 2)": 55, "2": 45}


def test_few_numbers_are_values_in_their_order() -> None:
    assert list(found(table(60, k=[10, 9, 2] * 20), "k")) == ["2", "9", "10"]
    assert found(table(4, k=[1.0, 2.0, None, float("inf")]), "k") == {"1": 1, "2": 1, "missing": 2}


def test_bools() -> None:
    assert found(table(5, b=[True, False, True, True, None]), "b") == {"True": 3, "False": 1, "missing": 1}


def test_rare_values_are_put_together() -> None:
    words = [*["a"] * 5, *["b"] * 3, "c", "d"]
    assert found(table(10, w=words), "w:2") == {"a": 5, "b": 3, "other values": 2}
    assert len(found(table(300, w=[f"w{i % 30}" for i in range(300)]), "w")) == 21


def test_dates_in_intervals() -> None:
    days = pd.date_range("2004-01-01", periods=40, freq="D")
    expected = {"[2004-01-01, 2004-01-21)": 20, "[2004-01-21, 2004-02-09]": 20}
    assert found(table(40, day=days), "day:2") == expected
    text = pd.DataFrame({"day": days.strftime("%d.%m.%Y")})
    encoder = TableEncoder.fit(text, 20)
    assert found(table(40, day=text["day"]), "day:2", encoder=encoder) == expected
    hours = pd.date_range("2004-01-01", periods=4, freq="h")
    assert list(found(table(4, t=hours), "t:2"))[1] == "[2004-01-01 02:00:00, 2004-01-01 03:00:00]"


def test_text_that_the_network_reads_as_numbers() -> None:
    text = [str(i) for i in range(99)] + ["n/a"]
    encoder = TableEncoder.fit(pd.DataFrame({"x": text}, dtype=object), 20)
    assert found(table(100, x=text), "x:3", encoder=encoder) == {"[0, 33)": 33, "[33, 66)": 33, "[66, 98]": 33, "missing": 1}


def test_pairs_of_columns() -> None:
    part = table(8, sex=["f", "m"] * 4, age=np.arange(8))
    assert found(part, "sex*age:2") == {"f, [0, 4)": 2, "f, [4, 7]": 2, "m, [0, 4)": 2, "m, [4, 7]": 2}


def test_a_name_with_a_star_or_a_colon_is_a_name() -> None:
    part = table(4, **{"a*b": [1, 1, 2, 2], "c:2": ["x", "y", "z", "z"]})
    assert found(part, "a*b") == {"1": 2, "2": 2}
    assert found(part, "c:2") == {"z": 2, "x": 1, "y": 1}
    assert found(part, "c:2:2") == {"z": 2, "x": 1, "other values": 1}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("agee", "--slice agee: there is no column 'agee': did you mean 'age'?"),
        ("agee:10", "'agee': did you mean 'age'?"),
        ("sex*agee", "--slice sex*agee: there is no column 'agee'"),
        ("age:1", "after the colon stands how many slices to make, from 2 to 100"),
        ("age:many", "after the colon"),
        ("age:30*id:30", "give counts, as in age:4*id:4"),
    ],
)
def test_what_cannot_be_sliced_by(asked: str, words: str) -> None:
    part = table(900, age=np.arange(900) % 30, id=np.arange(900) // 30, sex=["f"] * 900)
    with pytest.raises(UsageError) as raised:
        found(part, asked)
    assert words in str(raised.value)


def test_images_have_no_columns() -> None:
    part = Part(np.zeros((2, 8, 8, 1), np.uint8), np.array([0, 1]))
    assert slices(part, logits(np.ones(2, bool)), SPECS["class"], [], resamples=0) == ()
    with pytest.raises(UsageError, match="--slice sex: the data has no columns: only tables can be sliced"):
        slices(part, logits(np.ones(2, bool)), SPECS["class"], ["sex"], resamples=0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(-3, 40), st.just(0)), min_size=1, max_size=80), st.integers(2, 9))
def test_every_row_is_in_one_slice(values: list[int | None], count: int) -> None:
    of = found(table(len(values), x=pd.Series(values, dtype="Int64")), f"x:{count}")
    assert sum(of.values()) == len(values)
    assert of.get("missing", 0) == values.count(None)
    assert 1 <= len(of) <= count + 1 + (len({*values}) <= count)


# ------------------------------------------------------------------------------------------------------------------- worse


def test_a_slice_that_is_worse_is_told() -> None:
    group = np.repeat(["a", "b", "c"], [400, 100, 5])
    right = RANDOM.random(505) < np.where(group == "b", 0.6, 0.9)
    right[-5:] = False  # too few to be judged
    said = weak_slices(table(505, g=group), logits(right), SPECS["class"], ["g"])
    a, b = right[group == "b"].mean(), right[group != "b"].mean()
    assert said == (f"g b: accuracy {a:.3g} on 100 examples, {b:.3g} on all others (p < 0.0001, corrected for 2 slices)",)


def test_fishers_exact_test() -> None:
    from scipy.stats import fisher_exact

    from dlx.evaluation.slices import _chance

    rows = np.arange(40) < 12
    right = np.arange(40) % 5 > 0
    right[:4] = False
    crossed = [[(~right[rows]).sum(), right[rows].sum()], [(~right[~rows]).sum(), right[~rows].sum()]]
    assert _chance((~right).astype(float), rows) == pytest.approx(fisher_exact(crossed, alternative="greater").pvalue)


@pytest.mark.parametrize("target", ["class", "labels", "number"])
def test_random_slices_are_rarely_called_worse(target: str) -> None:
    """At most 5 % of the time for all slices of a table together: of 40 tables 2, and 8 with a probability of 0.002."""
    alarms = 0
    for _ in range(40):
        n = 150
        shape = (n,) if target == "class" else (n, 2) if target == "labels" else (n, 1)
        targets = RANDOM.standard_normal(shape) if target == "number" else RANDOM.integers(0, 2, shape)
        outputs = RANDOM.standard_normal((n, 1 if target == "number" else 2))
        if target != "number":
            outputs += 2 * (np.eye(2)[targets] if target == "class" else targets)
        part = Part(np.zeros((n, 1), np.float32), targets, pd.DataFrame({"g": RANDOM.integers(0, 6, n)}))
        alarms += bool(weak_slices(part, outputs, SPECS[target], ["g"]))
    assert alarms <= 7


def test_outliers_raise_no_alarm() -> None:
    """Errors with the tails of lognormal ones, in random slices: of 60 tables 3, and 10 with a probability of 0.001."""
    alarms = 0
    for _ in range(60):
        targets, group = RANDOM.lognormal(size=(1000, 1)), RANDOM.permutation(1000) < 10
        part = Part(np.zeros((1000, 1), np.float32), targets, pd.DataFrame({"g": group}))
        alarms += bool(weak_slices(part, np.zeros((1000, 1)), SPECS["number"], ["g"]))
    assert alarms <= 9


@pytest.mark.parametrize("target", ["labels", "number"])
def test_worse_labels_and_numbers_are_told(target: str) -> None:
    group = np.arange(400) % 4
    noise = RANDOM.standard_normal((400, 2)) * np.where(group == 3, 2.5, 1)[:, None]
    truth = RANDOM.integers(0, 2, (400, 2)).astype(np.float32)
    part = Part(np.zeros((400, 1), np.float32), truth if target == "labels" else truth[:, :1], pd.DataFrame({"g": group}))
    outputs = 2 * truth - 1 + noise if target == "labels" else truth[:, :1] + noise[:, :1]
    said = weak_slices(part, outputs, SPECS[target], ["g"])
    assert [sentence.partition(":")[0] for sentence in said] == ["g 3"]


def test_one_slice_of_perfect_predictions_is_not_worse() -> None:
    part = Part(np.zeros((40, 1), np.float32), np.ones((40, 1)), pd.DataFrame({"g": np.arange(40) % 2}))
    assert weak_slices(part, np.ones((40, 1)), SPECS["number"], ["g"]) == ()


def test_at_most_ten_are_told_the_surest_first() -> None:
    group = np.arange(3000) % 30
    right = (group < 15) | (np.arange(3000) % 60 < 20 + group)
    said = weak_slices(table(3000, g=group), logits(right), SPECS["class"], ["g:30"])
    assert len(said) == 10
    assert said[0].startswith("g 15: accuracy 0.5 on 100 examples")
    assert len(weak_slices(table(3000, g=group), logits(right), SPECS["class"], ["g:30", "g:3"])) == 10
