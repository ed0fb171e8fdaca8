"""`dlx predict`: rows in, rows out, in order; and what a bad row, a bad file or a bad place does."""

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from dlx.config.series_data import Series
from dlx.errors import UsageError
from dlx.evaluation.predict import predict
from dlx.tasks import Supervised


@pytest.fixture
def people(trained):
    """The table behind the run called `people`, which tells two kinds of people by their age."""
    return pd.read_csv("people.csv")


def test_each_row_gets_a_class_by_name_and_probabilities_that_add_up(dlx, people):
    result = dlx("predict", "people", "--data", "people.csv", "-q")
    assert result.code == 0
    found = pd.read_csv(io.StringIO(result.out))
    assert list(found.columns) == ["line", "prediction", "probability old <b>", "probability young"]
    assert list(found.line) == list(range(2, 202))
    assert (found.prediction == people.kind).mean() > 0.9
    np.testing.assert_allclose(found.filter(like="probability").sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("ending", ["csv", "parquet", "npz"])
def test_files_hold_the_same_in_every_format(dlx, people, ending):
    out = Path(f"said.{ending}")
    result = dlx("predict", "people", "--data", "people.csv", "--out", str(out), "--json")
    assert (result.code, json.loads(result.out)["rows"]) == (0, 200)
    said = pd.read_csv(io.StringIO(dlx("predict", "people", "--data", "people.csv", "-q").out))
    match ending:
        case "csv":
            found = pd.read_csv(out)
        case "parquet":
            found = pd.read_parquet(out)
        case "npz":
            found = pd.DataFrame(dict(np.load(out)))
    for name in said.columns:
        if name == "prediction":
            assert list(found[name].astype(str)) == list(said[name])
        else:
            np.testing.assert_allclose(found[name], said[name], rtol=1e-6)


def test_tables_come_from_parquet_and_stdin_too(dlx, people, monkeypatch):
    said = dlx("predict", "people", "--data", "people.csv", "-q").out
    people.drop(columns="kind").to_parquet("new.parquet")
    from_parquet = pd.read_csv(io.StringIO(dlx("predict", "people", "--data", "new.parquet", "-q").out))
    assert list(from_parquet.row) == list(range(1, 201))
    assert list(from_parquet.prediction) == list(pd.read_csv(io.StringIO(said)).prediction)
    content = people[["city", "age"]].to_csv(index=False).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert dlx("predict", "people", "--data", "-", "-q").out == said


def test_a_bad_row_stops_with_its_line_and_writes_nothing(dlx, people):
    Path("new.csv").write_text("age,city\n31,Oslo\nforty,Bergen\n52,Oslo\n")
    result = dlx("predict", "people", "--data", "new.csv", "--out", "said.csv")
    assert (result.code, result.err.count("\n")) == (65, 1)
    assert "line 3" in result.err
    assert "forty" in result.err
    assert not list(Path().glob("*said*"))


def test_bad_rows_can_be_skipped_and_are_counted(dlx, people):
    Path("new.csv").write_text("age,city\n31,Oslo\nforty,Bergen\n52,Oslo\n1,2,3\n")
    result = dlx("predict", "people", "--data", "new.csv", "--on-bad", "skip")
    assert result.code == 0
    assert list(pd.read_csv(io.StringIO(result.out)).line) == [2, 4]
    assert "2 bad rows left out" in result.err
    assert "line 3" in result.err


def test_images_are_predicted_by_file(dlx, trained):
    from PIL import Image

    Path("new/some").mkdir(parents=True)
    generator = np.random.Generator(np.random.Philox(1))
    for name in ("b.png", "a.png", "some/c.png"):
        Image.fromarray(generator.integers(0, 16, (8, 8), dtype=np.uint8)).save(f"new/{name}")
    found = pd.read_csv(io.StringIO(dlx("predict", "digits", "--data", "new", "-q").out))
    assert list(found.file) == ["a.png", "b.png", "some/c.png"]


@pytest.mark.parametrize(
    ("content", "told"),
    [("", "is empty"), ("age,city\n", "no rows"), ("town,years\nOslo,3\n", "age")],
    ids=["an empty file", "a header alone", "other columns"],
)
def test_files_that_cannot_be_used_are_told_in_a_sentence(dlx, people, content, told):
    Path("new.csv").write_text(content)
    result = dlx("predict", "people", "--data", "new.csv")
    assert (result.code, result.err.count("\n")) == (65, 1)
    assert told in result.err


def test_what_cannot_be_is_said_before_anything_is_read(dlx, people):
    assert dlx("predict", "people", "--data", "nowhere.csv").code == 66
    assert dlx("predict", "people", "--data", "people.csv", "--out", "said.xlsx").code == 2
    assert dlx("predict", "people", "--data", "people.csv", "--json").code == 2
    assert dlx("predict", "nobody", "--data", "people.csv").code == 2


def test_predictions_of_labels_collide_with_no_other_column(dlx, trained):
    generator = np.random.Generator(np.random.Philox(2))
    labels = generator.integers(0, 2, (60, 2))
    table = {"x": labels[:, 0] + generator.normal(0, 0.1, 60), "line": labels[:, 0], "row": labels[:, 1]}
    pd.DataFrame(table).to_csv("labels.csv", index=False)
    words = ("--data", "labels.csv", "--target", "line", "--target", "row", "train.duration=2 steps", "--name", "labels", "-q")
    assert dlx("train", *words).code == 0
    found = pd.read_csv(io.StringIO(dlx("predict", "labels", "--data", "labels.csv", "-q").out))
    assert list(found.columns) == ["line", "prediction line", "prediction row", "probability line", "probability row"]
    assert list(found.line) == list(range(2, 62))
    assert list(found["prediction line"]) == list((found["probability line"] > 0.5).astype(int))


def test_the_data_is_not_replaced_by_its_predictions(dlx, people):
    before = Path("people.csv").read_bytes()
    result = dlx("predict", "people", "--data", "people.csv", "--out", "./people.csv")
    assert (result.code, "name another" in result.err) == (2, True)
    assert Path("people.csv").read_bytes() == before


def test_the_folder_of_the_predictions_is_made(dlx, people):
    assert dlx("predict", "people", "--data", "people.csv", "--out", "some/where/said.csv").code == 0
    assert len(pd.read_csv("some/where/said.csv")) == 200
    Path("full").write_text("a file")
    result = dlx("predict", "people", "--data", "people.csv", "--out", "full/said.csv")
    assert (result.code, "tmp" in result.err, result.err.count("\n")) == (73, False, 1)


def test_a_terminal_is_not_waited_for(dlx, people, monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    result = dlx("predict", "people")
    assert (result.code, "--data PATH" in result.err) == (2, True)


def test_words_of_any_length_go_into_npz_in_pieces(tmp_path):
    from dlx.evaluation.results import Predicted
    from dlx.report.console import for_people
    from dlx.report.predictions import write_predictions

    tables = [
        pa.table({"file": [f"{'long/' * many}{n}.png" for n in range(3)], "prediction": [0.5, many, 2]}) for many in (0, 5)
    ]
    written = write_predictions(iter([Predicted(table, (), {}) for table in tables]), tmp_path / "said.npz", for_people())
    assert written.rows == 6
    found = np.load(tmp_path / "said.npz")
    assert found["file"].tolist() == [name for table in tables for name in table["file"].to_pylist()]
    assert found["prediction"].tolist() == [0.5, 0, 2, 0.5, 5, 2]


def test_images_of_another_size_are_told(dlx, trained):
    from PIL import Image

    Path("new").mkdir()
    for name, size in (("a.png", (8, 8)), ("b.png", (20, 30))):
        Image.new("L", size).save(f"new/{name}")
    assert "1 image of another size than training's" in dlx("predict", "digits", "--data", "new").err


def test_a_series_leaves_no_row_out():
    """Its windows would skip over the gap."""
    config = SimpleNamespace(data=Series.model_construct())
    series = SimpleNamespace(task=object.__new__(Supervised), config=config)
    with pytest.raises(UsageError, match="--on-bad skip: a series is read whole"):
        next(predict(cast(Any, series), "new.csv", on_bad="skip"))
