"""Finding runs and listing them, as `dlx runs` does."""

import math
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from dlx.errors import Status, UsageError
from dlx.store import (
    Ending,
    NewRun,
    RunUpdate,
    Store,
    curves,
    find_run,
    finish_runs,
    list_runs,
    listing,
    record,
    start_run,
    stream_curves,
)

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

    def test_old_runs_and_strange_names_are_near_too(self, store: Store, new_run: MakeRun) -> None:
        for name in ("[red]x[/red]", "<b>bold</b>", "100 % _"):
            start_run(store, new_run(name=name))
        fill(store, 3000)
        for wrong, right in (("[red]x[red]", "[red]x[/red]"), ("<b>bold<b>", "<b>bold</b>"), ("100 %", "100 % _")):
            with pytest.raises(UsageError, match=re.escape(f"no run {wrong!r}; did you mean {right}")):
                find_run(store, wrong)

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

    def test_a_metric_that_no_run_has_is_told_only_where_nothing_is_found(self, three: Store) -> None:
        assert listing(three, where=["test/acuracy>0.5"]).advice == "no run has test/acuracy (did you mean test/accuracy?)"
        assert listing(three, where=["config.model.knid=mlp"]).advice.startswith(
            "no run has config.model.knid (did you mean config.model.kind or "
        )
        assert listing(three, where=["test/accuracy>2"]).advice == ""
        assert listing(three, where=["test/acuracy>0.5 or name=mlp"]).advice == ""

    def test_a_mistyped_key_names_what_the_runs_have(self, three: Store) -> None:
        with pytest.raises(UsageError, match=r"runs have no 'accuracy', at character 22 \(did you mean test/accuracy"):
            list_runs(three, where=["status=completed and accuracy>0.9"])
        with pytest.raises(UsageError, match=r"--sort: runs have no 'kind' \(did you mean config\.model\.kind"):
            list_runs(three, sort="-kind")

    @pytest.mark.parametrize("options", [{}, {"status": Status.COMPLETED}, {"where": ["step>=100"]}, {"sort": "name"}])
    def test_a_listing_counts_what_it_leaves_out(self, three: Store, options: dict[str, Any]) -> None:
        whole, one = listing(three, **options), listing(three, limit=1, **options)
        assert one.total == whole.total == len(whole.runs)
        assert list(one.runs) == list(whole.runs)[:1]

    def test_a_listing_leaves_the_big_things_alone(self, three: Store) -> None:
        newest = list_runs(three, limit=1)[0]
        assert "config" not in vars(newest)
        assert newest.config["model"]["kind"] == "cnn"

    def test_thousands_of_runs_are_listed_in_no_time(self, store: Store, new_run: MakeRun) -> None:
        start_run(store, new_run())
        fill(store, 3000)
        began = time.process_time()
        assert len(list_runs(store, limit=20)) == 20
        assert time.process_time() - began < 0.5
        assert [run.metrics["a/b"] for run in list_runs(store, sort="-a/b", limit=2)] == [2999, 2998]
        assert listing(store, where=["a/b >= 1000 and not name = x"]).total == 2000
        assert time.process_time() - began < 3


class TestCurves:
    def test_those_of_many_runs_come_run_by_run(self, any_store: Store, new_run: MakeRun) -> None:
        ids = [start_run(any_store, new_run()) for _ in range(3)]
        record(
            any_store, [RunUpdate(run_id, step, 0, {"b/x": 1.5 * step, "a/x": math.inf}) for run_id in ids for step in (1, 2)]
        )
        wanted = [ids[2], ids[0]]
        streamed = list(stream_curves(any_store, wanted))
        assert [point[0] for point in streamed] == [ids[2]] * 4 + [ids[0]] * 4
        assert streamed[:4] == [
            (ids[2], name, step, value) for name, points in sorted(curves(any_store, ids[2]).items()) for step, value in points
        ]
        assert list(stream_curves(any_store, [])) == []

    def test_a_writer_commits_while_they_are_read(self, any_store: Store, new_run: MakeRun) -> None:
        run_id = start_run(any_store, new_run())
        record(any_store, [RunUpdate(run_id, 1, 0, {"a/x": 1.0})])
        reader = stream_curves(any_store, [run_id, run_id])
        assert next(reader) == (run_id, "a/x", 1, 1.0)
        began = time.monotonic()
        record(any_store, [RunUpdate(run_id, 2, 0, {"a/x": 2.0})])
        assert time.monotonic() - began < 5
        assert list(reader) == [(run_id, "a/x", 1, 1.0)], "all that is read is from one moment"
        assert curves(any_store, run_id) == {"a/x": [(1, 1.0), (2, 2.0)]}


def fill(store: Store, count: int) -> None:
    """Adds so many finished runs like the one that is there, with `a/b` from 0 up."""
    with store.write() as connection:
        row = dict(connection.execute(text("SELECT * FROM dlx_runs")).mappings().first() or {})
        insert = text(f"INSERT INTO dlx_runs VALUES ({', '.join(':' + column for column in row)})")
        changes = (
            {"id": f"{i:08x}", "status": "completed", "name": "digits", "metrics": f'{{"a/b": {i}}}'} for i in range(count)
        )
        connection.execute(insert, [{**row, "created": row["created"] + 1, **change} for change in changes])
