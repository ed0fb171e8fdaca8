"""What each column of a table becomes, that it survives JSON, and that new data cannot upset it."""

import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlx.data.encoder import TableEncoder
from dlx.errors import DataError

N = 120
CYCLE = np.arange(N)


def fit(**columns: object) -> TableEncoder:
    """An encoder of these columns and a quantity that keeps the table from being empty."""
    return TableEncoder.fit(pd.DataFrame({"quantity": np.sin(CYCLE), **columns}), max_categories=20)


def encode(encoder: TableEncoder, **columns: object) -> dict[str, list[float]]:
    """The encoded columns by name."""
    frame = pd.DataFrame(columns)
    frame["quantity"] = 0.5
    return dict(zip(encoder.outputs, encoder.transform(frame).T.tolist(), strict=True))


def test_numbers_fill_in_the_median_and_say_where():
    values = np.where(CYCLE % 10 == 0, np.nan, CYCLE % 7)
    encoder = fit(x=values)
    assert encoder.outputs == ("quantity", "x", "x is missing")
    assert encoder.scaled.tolist() == [True, True, False]
    encoded = encode(encoder, x=[2.0, np.nan])
    assert encoded["x"] == [2, np.nanmedian(values)]
    assert encoded["x is missing"] == [0, 1]
    assert fit(x=CYCLE % 7).outputs == ("quantity", "x")


def test_text_in_a_column_of_numbers_counts_as_missing_later():
    assert encode(fit(x=CYCLE % 7), x=["1", "?"])["x"] == [1, 3]


def test_long_tails_are_drawn_in_and_outliers_cut():
    encoder = fit(x=np.exp(CYCLE / 12.0))
    assert encode(encoder, x=[0.0, np.expm1(5.0)])["x"] == pytest.approx([0, 5])
    assert encode(encoder, x=[1e30])["x"][0] < 30
    assert any("log(1 + x)" in line for line in encoder.report)
    plain = TableEncoder.fit(pd.DataFrame({"x": np.exp(CYCLE / 12.0)}), 20, tame=False)
    assert plain.transform(pd.DataFrame({"x": [1e30]})).tolist() == [[pytest.approx(1e30)]]


def test_mostly_zero_columns_keep_their_scale():
    encoder = fit(x=np.where(CYCLE % 12 == 0, 5000 + CYCLE, 0))
    assert encode(encoder, x=[5000.0])["x"] == [5000]


def test_flags():
    encoder = fit(x=[True, False] * (N // 2), y=[True, False, None] * (N // 3))
    assert encoder.outputs == ("quantity", "x", "y", "y is missing")
    encoded = encode(encoder, x=[True, False, False], y=["True", "0", None])
    assert encoded["x"] == [1, 0, 0]
    assert encoded["y"] == [1, 0, 0]
    assert encoded["y is missing"] == [0, 0, 1]


def test_categories_fold_rare_ones_and_keep_missing_apart():
    words = ["red"] * 60 + ["blue"] * 40 + [None] * 12 + ["pink", "teal"] * 4
    encoder = fit(x=words)
    assert encoder.outputs[1:] == ("x=blue", "x=red", "x=other", "x=missing")
    encoded = encode(encoder, x=["red", "pink", "never seen", None])
    assert [encoded[name] for name in encoder.outputs[1:]] == [[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]]


def test_a_category_never_seen_is_all_zeros_where_nothing_was_rare():
    encoded = encode(fit(x=["red", "blue"] * (N // 2)), x=["green"])
    assert encoded["x=red"] == [0]
    assert encoded["x=blue"] == [0]


def test_numbers_as_categories_match_their_text():
    encoder = fit(x=pd.Categorical(["1", "2", "3"] * (N // 3)))
    assert encode(encoder, x=[1.0, np.nan])["x=1"] == [1, 0]
    assert encode(encoder, x=[1, 2])["x=2"] == [0, 1]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (CYCLE + 1, "numbers the rows"),
        ([f"name {i}" for i in range(N)], "120 different texts"),
        (["same"] * N, "same value"),
        ([7] * N, "same value"),
        ([True] * N, "same value"),
        ([None] * N, "no values"),
    ],
)
def test_columns_that_say_nothing_are_left_out(values, reason):
    encoder = fit(x=values)
    assert encoder.outputs == ("quantity",)
    assert len(encoder.report) == 1
    assert encoder.report[0].startswith("column x: left out")
    assert reason in encoder.report[0]


@pytest.mark.parametrize("values", [900 - 3 * CYCLE, 2 * CYCLE, CYCLE**2, np.roll(CYCLE, 1), CYCLE + 0.5])
def test_ordered_numbers_that_are_not_one_apart_are_used(values):
    assert fit(x=values).outputs == ("quantity", "x")


def test_row_numbers_are_known_by_the_rows_that_were_drawn():
    rows = np.flatnonzero(CYCLE % 7)
    frame = pd.DataFrame({"id": CYCLE + 1, "square": CYCLE**2, "quantity": np.sin(CYCLE)})
    assert TableEncoder.fit(frame.iloc[rows], 20).outputs == ("square", "quantity")
    renumbered = frame.iloc[rows].reset_index(drop=True)
    assert TableEncoder.fit(renumbered, 20).outputs == ("id", "square", "quantity")


def test_row_numbers_are_used_where_there_is_nothing_else():
    encoder = TableEncoder.fit(pd.DataFrame({"id": CYCLE, "same": "x"}), 20)
    assert encoder.outputs == ("id",)
    assert len(encoder.report) == 1


def test_large_numbers_keep_their_differences():
    offsets = np.random.default_rng(0).permutation(N)
    encoder = fit(x=1_600_000_000 + offsets)
    assert any("1600000060" in line or "1600000059.5" in line for line in encoder.report)
    copy = TableEncoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert copy == encoder
    encoded = np.array(encode(copy, x=1_600_000_000 + offsets)["x"])
    assert encoded.tolist() == (offsets - np.median(offsets)).tolist()
    assert encode(copy, x=[np.nan, 1e300, -1e300])["x"] == pytest.approx([0, 173, -173], abs=2)
    assert fit(x=50 + np.cos(CYCLE)).columns[1].offset == 0


def test_an_encoder_stored_before_there_were_offsets_is_read():
    stored = fit(x=CYCLE % 7).to_json()
    del stored["columns"][1]["offset"]
    assert TableEncoder.from_json(stored) == fit(x=CYCLE % 7)


def test_of_free_text_only_its_presence_is_used():
    encoder = fit(x=[f"cabin {i}" if i % 2 else None for i in range(N)])
    assert encode(encoder, x=["cabin new", None])["x=missing"] == [0, 1]


def test_a_few_words_among_numbers_count_as_missing():
    encoder = fit(x=[*(str(i * 1.5) for i in range(N - 2)), "unknown", "unknown"])
    assert encoder.outputs == ("quantity", "x", "x is missing")
    assert "values that are not numbers, such as 'unknown' (2 in all)" in encoder.report[0]


def test_decimals_are_numbers():
    assert fit(x=[Decimal(i) / 3 for i in range(N)]).outputs == ("quantity", "x")


@pytest.mark.parametrize(
    "pattern",
    ["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%b %d, %Y", "%d %B %Y"],
)
def test_dates_are_found_in_any_usual_form(pattern):
    times = pd.date_range("2019-01-05 00:00", periods=N, freq="5D4h")
    encoder = fit(x=times.strftime(pattern))
    encoded = encode(encoder, x=[times[50].strftime(pattern)])
    assert encoded["x year"] == [times[50].year]
    assert encoded["x month"] == [times[50].month]
    assert encoded["x weekday"] == [times[50].day_of_week]
    assert encoded["x day_sin"] == pytest.approx([np.sin(2 * np.pi * times[50].day_of_year / 365.25)], abs=1e-6)
    assert ("x hour" in encoded) == ("%H" in pattern)


def test_dates_may_be_missing_and_may_have_a_type_already():
    times = pd.Series(pd.date_range("2019-01-05", periods=N, freq="11D")).where(CYCLE % 3 > 0)
    encoder = fit(x=times)
    assert encoder.outputs[-1] == "x is missing"
    assert np.isfinite(encode(encoder, x=[pd.NaT])["x year"]).all()


def test_ranges_and_versions_are_no_dates():
    encoder = fit(x=["10-20", "20-30"] * (N // 2), y=["1.2.3", "1.10.4"] * (N // 2))
    assert encoder.outputs[1:] == ("x=10-20", "x=20-30", "y=1.10.4", "y=1.2.3")


def test_a_missing_column_is_an_error_with_the_nearest_name():
    with pytest.raises(DataError, match=r"no column 'quantity'.*did you mean 'Quantity'"):
        fit().transform(pd.DataFrame({"Quantity": [1], "other": [2]}))


def test_nothing_left_is_an_error():
    with pytest.raises(DataError, match=r"no column is left .*same value.*: add a column that varies, take one out of"):
        TableEncoder.fit(pd.DataFrame({"x": [1] * N}), 20)


cells = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.dates(), st.just("2020-01-01"))


@pytest.fixture(scope="module")
def mixed() -> TableEncoder:
    return fit(
        number=np.where(CYCLE % 9 == 0, np.nan, np.cos(CYCLE)),
        flag=[True, False, None] * (N // 3),
        word=["a", "b", None] * (N // 3),
        date=pd.date_range("2019-01-05", periods=N, freq="11D").strftime("%Y-%m-%d"),
    )


def test_json_changes_nothing(mixed):
    copy = TableEncoder.from_json(json.loads(json.dumps(mixed.to_json())))
    assert copy == mixed


@settings(max_examples=50)
@given(st.lists(cells, min_size=1, max_size=20))
def test_any_new_data_becomes_finite_numbers(mixed, values):
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name in ("quantity", "number", "flag", "word", "date")})
    encoded = mixed.transform(frame)
    assert encoded.shape == (len(values), len(mixed.outputs))
    assert encoded.dtype == np.float32
    assert np.isfinite(encoded).all()
