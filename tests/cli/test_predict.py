"""`dlx predict`: rows in, rows out, in order; and what a bad row, a bad file or a bad place does."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest


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
