"""Runs as tables: stable columns, strict JSON, CSV that no spreadsheet runs, files that are whole; and where runs differ."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from dlx.errors import CannotWriteError, Status, UsageError
from dlx.report.runs_export import (
    CURVE_COLUMNS,
    choose_format,
    curve_rows,
    differing,
    differing_lines,
    flattened,
    run_rows,
    write_rows,
)
from dlx.store import RunRecord

HOSTILE = ("=HYPERLINK('http://x','y')", "+1", "-2+3", "@SUM(A1)", "<b>&\"'", "[red]x[/] %", "ü 数", "a,b\nc", "\udc80")


def a_run(**changes: Any) -> RunRecord:
    described: dict[str, Any] = {
        "id": "abcd1234",
        "name": "night",
        "status": Status.COMPLETED,
        "message": "trained 40 steps",
        "created": 0.0,
        "finished": 60.5,
        "heartbeat": 60.5,
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
        "metrics": {"test/accuracy": 0.95, "train/loss": math.nan},
        "seconds_text": '{"train": 3.5}',
        "runs_folder": Path("/r"),
        "config_text": '{"model": {"kind": "mlp", "hidden": [64, 32]}, "optimizer": {"lr": 0.001, "clip": null}}',
        "command": "dlx train",
        "environment": {"device": "cpu", "packages": {"jax": "0.12"}, "git": {"commit": "aa", "dirty": False}, "data": "f00"},
        "segments": (),
    }
    return RunRecord(**{**described, **changes})


OTHER = a_run(
    id="ffff0000",
    name=None,
    metrics={"test/accuracy": 0.5, "best/step": 20.0},
    config_text='{"model": {"kind": "cnn", "channels": 8}, "optimizer": {"lr": 0.1, "clip": null}}',
    environment={"device": "cuda", "packages": {"jax": "0.12"}, "git": None, "data": "f00"},
)


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def write(runs: list[RunRecord], chosen: str) -> str:
        write_rows("runs", *run_rows(runs), chosen, None)
        return capsys.readouterr().out

    return write


def test_columns_are_in_one_order_whatever_the_order_of_the_runs() -> None:
    columns, rows = run_rows([a_run(), OTHER])
    assert list(columns) == list(run_rows([OTHER, a_run()])[0])
    assert set(rows[0]) | set(rows[1]) == set(columns)
    assert list(columns)[:4] == ["run", "name", "status", "message"]
    assert list(columns)[13:] == [
        "config.model.channels",
        "config.model.hidden",
        "config.model.kind",
        "config.optimizer.clip",
        "config.optimizer.lr",
        "metrics.best/step",
        "metrics.test/accuracy",
        "metrics.train/loss",
        "seconds.train",
    ]


@pytest.mark.parametrize("chosen", ["csv", "json", "parquet"])
def test_without_runs_there_are_columns_with_their_types(chosen: str, tmp_path: Path) -> None:
    runs, curves = tmp_path / "new" / f"runs.{chosen}", tmp_path / "new" / f"curves.{chosen}"
    write_rows("runs", *run_rows([]), chosen, runs)
    write_rows("curves", CURVE_COLUMNS, [], chosen, curves)
    match chosen:
        case "parquet":
            empty = pq.read_schema(curves)
            assert [str(kind) for kind in empty.types] == ["string", "string", "string", "int64", "double", "double"]
            full = pq.read_schema(_written(tmp_path / "full.parquet", run_rows([a_run()])))
            assert [*pq.read_schema(runs)] == [*full][:13]
        case "json":
            assert (json.loads(runs.read_text()), json.loads(curves.read_text())) == ({"runs": []}, {"curves": []})
        case "csv":
            assert runs.read_text() == ",".join(list(run_rows([a_run()])[0])[:13]) + "\n"
            assert curves.read_text() == "run,name,metric,step,epoch,value\n"


def _written(path: Path, rows: Any) -> Path:
    write_rows("runs", *rows, "parquet", path)
    return path


def test_csv_has_a_cell_for_each_value_and_none_for_what_a_run_has_not(written: Callable[..., str]) -> None:
    first, second = csv.DictReader(io.StringIO(written([a_run(), OTHER], "csv")))
    assert first["created"] == "1970-01-01T00:00:00+00:00"
    assert (first["config.model.hidden"], first["config.optimizer.lr"]) == ("[64, 32]", "0.001")
    assert (first["metrics.train/loss"], second["metrics.train/loss"]) == ("nan", "")
    assert (second["name"], second["config.model.channels"], first["config.model.channels"]) == ("", "8", "")


@pytest.mark.parametrize("name", HOSTILE)
def test_no_spreadsheet_runs_a_name_and_json_keeps_it(name: str, written: Callable[..., str]) -> None:
    run = a_run(name=name, message=name, metrics={f"{name}/x": -0.5})
    text = written([run], "csv")
    header, row = csv.reader(io.StringIO(text))
    cells = dict(zip(header, row, strict=True))
    for cell in (cells["name"], cells["message"], *header):
        assert not cell.startswith(("=", "+", "-", "@"))
    assert cells["name"].lstrip("'") == name.replace("\udc80", "?")
    assert cells[f"metrics.{name}/x".replace("\udc80", "?")] == "-0.5", "a number stays one"
    (found,) = json.loads(written([run], "json"))["runs"]
    assert found["name"] == name


def test_json_is_strict(written: Callable[..., str]) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    first, second = json.loads(written([a_run(), OTHER], "json"), parse_constant=refuse)["runs"]
    assert first["metrics.train/loss"] is None
    assert first["config.model.hidden"] == [64, 32]
    assert first.keys() == second.keys()
    assert json.loads(written([], "json")) == {"runs": []}


def test_parquet_has_types(tmp_path: Path) -> None:
    path = tmp_path / "runs.parquet"
    write_rows("runs", *run_rows([a_run(name="\udc80"), OTHER]), "parquet", path)
    table = pq.read_table(path)
    types = {field.name: str(field.type) for field in table.schema}
    assert (types["step"], types["config.optimizer.lr"], types["config.model.hidden"]) == ("int64", "double", "string")
    assert table.column("name").to_pylist() == ["?", None]
    assert table.column("config.model.channels").to_pylist() == [None, 8]
    assert math.isnan(table.column("metrics.train/loss").to_pylist()[0])


@pytest.mark.parametrize(
    ("values", "kind", "stored"),
    [
        ([1, 2.5], "double", [1.0, 2.5]),
        ([1, True], "string", ["1", "true"]),
        ([1, "a"], "string", ["1", "a"]),
        ([2**70, 1], "string", [str(2**70), "1"]),
        ([2**53 + 1, 0.5], "string", [str(2**53 + 1), "0.5"]),
        ([2**53, 0.5], "double", [2.0**53, 0.5]),
        ([2**62, 1], "int64", [2**62, 1]),
        ([None, None], "string", [None, None]),
        ([[1], {}], "string", ["[1]", "{}"]),
    ],
)
def test_a_parquet_column_of_several_types_is_what_holds_all(
    values: list[Any], kind: str, stored: list[Any], tmp_path: Path
) -> None:
    write_rows("runs", {"x": None}, [{"x": value} for value in values], "parquet", tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    assert (str(table.schema.field("x").type), table.column("x").to_pylist()) == (kind, stored)


@pytest.mark.parametrize("chosen", ["csv", "json", "parquet"])
def test_curves_have_a_row_for_each_run_metric_and_step(chosen: str, tmp_path: Path) -> None:
    points = [("abcd1234", "train/loss", step, 1 / step) for step in (10, 20)] + [("ffff0000", "train/loss", 10, math.inf)]
    path = tmp_path / f"curves.{chosen}"
    write_rows("curves", CURVE_COLUMNS, curve_rows([a_run(), OTHER], iter(points)), chosen, path)
    match chosen:
        case "parquet":
            rows = [list(row.values()) for row in pq.read_table(path).to_pylist()]
            assert rows[1:] == [
                ["abcd1234", "night", "train/loss", 20, 2.0, 0.05],
                ["ffff0000", None, "train/loss", 10, 1.0, math.inf],
            ]
        case "json":
            rows = [list(row.values()) for row in json.loads(path.read_text())["curves"]]
            assert rows[1:] == [
                ["abcd1234", "night", "train/loss", 20, 2.0, 0.05],
                ["ffff0000", None, "train/loss", 10, 1.0, None],
            ]
        case "csv":
            assert path.read_text().splitlines() == [
                "run,name,metric,step,epoch,value",
                "abcd1234,night,train/loss,10,1.0,0.1",
                "abcd1234,night,train/loss,20,2.0,0.05",
                "ffff0000,,train/loss,10,1.0,inf",
            ]


@pytest.mark.parametrize("chosen", ["csv", "json", "parquet"])
def test_a_file_is_the_old_one_or_the_new_one(chosen: str, tmp_path: Path) -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield {"x": 1.0}
        raise KeyboardInterrupt

    path = tmp_path / "runs"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_rows("runs", {"x": None}, broken(), chosen, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(CannotWriteError, match="cannot be made a folder"):
        write_rows("runs", {"x": None}, [], chosen, path / "below-a-file")


def test_the_format_is_the_one_that_the_file_ends_with() -> None:
    assert choose_format(None, None) == choose_format(None, Path("x.txt")) == "csv"
    assert choose_format(None, Path("x.PARQUET")) == "parquet"
    assert choose_format("json", Path("x.txt")) == "json"
    with pytest.raises(UsageError, match=r"--format json and --out x\.csv name two formats"):
        choose_format("json", Path("x.csv"))
    with pytest.raises(UsageError, match="--format xlsx: write csv, json, parquet or tensorboard"):
        choose_format("xlsx", None)
    with pytest.raises(UsageError, match=r"--format parquet is no text: name a file with --out runs\.parquet"):
        choose_format("parquet", None)


def test_where_runs_differ() -> None:
    found = differing([a_run(), OTHER])
    assert found == {
        "config": {
            "model.kind": {"abcd1234": "mlp", "ffff0000": "cnn"},
            "model.hidden": {"abcd1234": [64, 32]},
            "optimizer.lr": {"abcd1234": 0.001, "ffff0000": 0.1},
            "model.channels": {"ffff0000": 8},
        },
        "environment": {
            "device": {"abcd1234": "cpu", "ffff0000": "cuda"},
            "git.commit": {"abcd1234": "aa"},
            "git.dirty": {"abcd1234": False},
            "git": {"ffff0000": None},
        },
    }
    third = a_run(id="0000ffff", config_text=OTHER.config_text)
    assert differing([a_run(), OTHER, third])["config"]["optimizer.lr"] == {"abcd1234": 0.001, "ffff0000": 0.1, "0000ffff": 0.1}
    assert differing([a_run(), a_run(id="0000ffff", name="[b]")]) == {"config": {}, "environment": {}}


@pytest.mark.parametrize("width", [200, 40])
def test_differences_are_shown_on_any_width(width: int) -> None:
    runs = [a_run(name="[red]x[/red]"), OTHER]
    console = Console(file=io.StringIO(), width=width, highlight=False)
    for line in differing_lines(runs, differing(runs), console):
        console.print(line)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for shown in ("[red]x[/red]", "optimizer.lr", "0.001", "[64, 32]", "git.commit"):
        assert shown in text.replace("\n", " ")
    same = [*differing_lines(runs, {"config": {}, "environment": {}}, console)]
    assert same == ["config: no difference", "environment: no difference"]


def test_a_tree_is_flat_by_dotted_keys() -> None:
    assert flattened({"a": {"b": {"c": 1}, "d": {}}, "e": [{"f": 1}]}, "x.") == {"x.a.b.c": 1, "x.a.d": {}, "x.e": [{"f": 1}]}
