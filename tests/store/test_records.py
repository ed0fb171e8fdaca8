"""Finding runs and listing them, as `dlx runs` does."""

import contextlib
import math
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from dlx.errors import Status, UsageError
from dlx.store import Ending, NewRun, RunUpdate, Store, find_run, finish_runs, list_runs, record, start_run
from dlx.store.query import parse_condition

MakeRun = Callable[..., NewRun]


def with_id(store: Store, new: NewRun, run_id: str) -> None:
    given_id = start_run(store, new)
    with store.write() as connection:
        connection.execute(text("PRAGMA defer_foreign_keys=ON"))
        connection.execute(text("UPDATE dlx_runs SET id = :new WHERE id = :old"), {"new": run_id, "old": given_id})
        connection.execute(text("UPDATE dlx_segments SET run_id = :new WHERE run_id = :old"), {"new": run_id, "old": given_id})


@pytest.fixture
def three(store: Store, new_run: MakeRun) -> Store:
    """Three finished runs: `linear` at 0.90, `mlp` at 0.97, and `cnn`, which failed without a figure."""
    for name, accuracy, hidden in (("linear", 0.90, []), ("mlp", 0.97, [64, 32]), ("cnn", None, None)):
        run_id = start_run(store, new_run(name=name, config={"model": {"kind": name, "hidden": hidden, "bias": name == "mlp"}}))
        summary = {} if accuracy is None else {"test/accuracy": accuracy}
        status = Status.FAILED if accuracy is None else Status.COMPLETED
        finish_runs(store, [Ending(run_id, status, "", 100, 10, summary, {"train": len(name)})])
    return store


def names(store: Store, **options: object) -> list[str | None]:
    return [run.name for run in list_runs(store, **options)]  # type: ignore[arg-type]


class TestFind:
    def test_by_id_prefix_name_or_latest(self, store: Store, new_run: MakeRun) -> None:
        with_id(store, new_run(name="first"), "abc00001")
        with_id(store, new_run(name="second"), "abd00002")
        assert find_run(store, "abc00001").name == "first"
        assert find_run(store, "abd").name == "second"
        assert find_run(store, "first").id == "abc00001"
        assert find_run(store, "latest").name == "second"

    def test_a_name_in_full_is_meant_before_the_beginning_of_an_id(self, store: Store, new_run: MakeRun) -> None:
        with_id(store, new_run(name="first"), "abc00001")
        with_id(store, new_run(name="abc"), "fff00002")
        assert find_run(store, "abc").id == "fff00002"

    def test_an_ambiguous_beginning_lists_the_runs(self, store: Store, new_run: MakeRun) -> None:
        with_id(store, new_run(name="first"), "abc00001")
        with_id(store, new_run(name=None), "abd00002")
        with pytest.raises(UsageError, match=r"2 runs begin with 'ab': abd00002, abc00001 \(first\); type more"):
            find_run(store, "ab")

    def test_an_unknown_run_names_the_nearest(self, three: Store) -> None:
        with pytest.raises(UsageError, match="no run 'liner'; did you mean linear"):
            find_run(three, "liner")

    @pytest.mark.parametrize("text", ["", "%", "_", "zzz", "\0", "'"])
    def test_strange_texts_find_nothing(self, three: Store, text: str) -> None:
        with pytest.raises(UsageError, match="has no run"):
            find_run(three, text)

    @pytest.mark.parametrize("text", ["latest", "anything"])
    def test_an_empty_store_says_how_to_begin(self, store: Store, text: str) -> None:
        with pytest.raises(UsageError, match="no runs yet; `dlx train`"):
            find_run(store, text)


class TestList:
    def test_newest_first_unless_told(self, three: Store) -> None:
        assert names(three) == ["cnn", "mlp", "linear"]
        assert names(three, sort="created") == ["linear", "mlp", "cnn"]
        assert names(three, limit=2) == ["cnn", "mlp"]

    def test_by_metric_with_runs_that_have_none_last(self, three: Store) -> None:
        assert names(three, sort="-test/accuracy") == ["mlp", "linear", "cnn"]
        assert names(three, sort="test/accuracy") == ["linear", "mlp", "cnn"]
        assert names(three, sort="test/accuracy", limit=1) == ["linear"]

    def test_by_field_or_config(self, three: Store) -> None:
        assert names(three, sort="name") == ["cnn", "linear", "mlp"]
        assert names(three, sort="-config.model.kind") == ["mlp", "linear", "cnn"]
        assert names(three, sort="-seconds.train")[0] == "linear"

    def test_nan_sorts_last(self, store: Store, new_run: MakeRun) -> None:
        for name, value in (("good", 1.0), ("nan", math.nan), ("inf", math.inf)):
            record(store, [RunUpdate(start_run(store, new_run(name=name)), 1, 0, {"train/loss": value})])
        assert names(store, sort="train/loss") == ["good", "inf", "nan"]
        assert names(store, sort="-train/loss") == ["inf", "good", "nan"]

    @pytest.mark.parametrize(
        ("condition", "expected"),
        [
            ("test/accuracy>0.9", ["mlp"]),
            ("test/accuracy >= 0.9", ["mlp", "linear"]),
            ("test/accuracy<9.5e-1", ["linear"]),
            ("test/accuracy=0.97", ["mlp"]),
            ("test/accuracy!=0.97", ["cnn", "linear"]),
            ("test/accuracy=null", ["cnn"]),
            ("status=failed", ["cnn"]),
            ("status!=failed", ["mlp", "linear"]),
            ("config.model.kind=mlp", ["mlp"]),
            ("config.model.kind==mlp", ["mlp"]),
            ("config.model.hidden=[64,32]", ["mlp"]),
            ("config.model.bias=true", ["mlp"]),
            ("config.model.nothing.there=1", []),
            ("seconds.train>4", ["linear"]),
            ("step>=100", ["cnn", "mlp", "linear"]),
            ("created>2020-01-01", ["cnn", "mlp", "linear"]),
            ("created>9999-01-01", []),
        ],
    )
    def test_conditions(self, three: Store, condition: str, expected: list[str]) -> None:
        assert names(three, where=[condition]) == expected

    def test_every_condition_must_hold(self, three: Store) -> None:
        assert names(three, where=["test/accuracy>0.5", "name!=mlp"]) == ["linear"]
        assert names(three, status=Status.COMPLETED, name="mlp") == ["mlp"]
        assert names(three, status=Status.COMPLETED, sort="test/accuracy") == ["linear", "mlp"]

    @pytest.mark.parametrize(
        ("condition", "advice"),
        [
            ("accuracy", "write KEY=VALUE"),
            ("=3", "write KEY=VALUE"),
            ("staus=failed", "did you mean status"),
            ("test/accuracy>high", "neither a number nor a date"),
        ],
    )
    def test_a_bad_condition_says_what_to_write(self, three: Store, condition: str, advice: str) -> None:
        with pytest.raises(UsageError, match=advice):
            list_runs(three, where=[condition])

    def test_a_bad_sort_key_says_what_there_is(self, three: Store) -> None:
        with pytest.raises(UsageError, match=r"--sort: runs have no 'creatd' \(did you mean created"):
            list_runs(three, sort="-creatd")

    @given(st.text(max_size=30))
    def test_any_text_is_a_condition_or_a_usage_error(self, text: str) -> None:
        with contextlib.suppress(UsageError):
            parse_condition(text)

    def test_a_listing_leaves_the_big_things_alone(self, three: Store) -> None:
        newest = list_runs(three, limit=1)[0]
        assert "config" not in vars(newest)
        assert newest.config["model"]["kind"] == "cnn"

    def test_thousands_of_runs_are_listed_in_no_time(self, store: Store, new_run: MakeRun) -> None:
        start_run(store, new_run())
        with store.write() as connection:
            row = dict(connection.execute(text("SELECT * FROM dlx_runs")).mappings().one())
            insert = text(f"INSERT INTO dlx_runs VALUES ({', '.join(':' + column for column in row)})")
            connection.execute(
                insert, [{**row, "id": f"{i:08x}", "status": "completed", "metrics": f'{{"a/b": {i}}}'} for i in range(3000)]
            )
        began = time.perf_counter()
        assert len(list_runs(store, limit=20)) == 20
        assert time.perf_counter() - began < 0.5
        assert [run.metrics["a/b"] for run in list_runs(store, sort="-a/b", limit=2)] == [2999, 2998]
        assert time.perf_counter() - began < 3
