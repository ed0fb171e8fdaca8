"""`dlx evaluate`: the figures of a stored run, on its own data and on new, and what is said when that cannot be."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from sklearn import metrics as sk

from dlx.store import find_run, open_store


@pytest.fixture
def digits(trained):
    """The folder of the run called `digits`."""
    return run_folder("digits")


@pytest.fixture
def people(trained):
    """The table behind the run called `people`."""
    return pd.read_csv("people.csv")


def run_folder(name: str) -> Path:
    with open_store(create=False) as store:
        return find_run(store, name).path


def evaluated(dlx, *words: str) -> dict:
    result = dlx("evaluate", *words, "--json")
    assert (result.code, result.err) == (0, "")
    return json.loads(result.out)


def test_the_figures_are_those_of_training_with_intervals_around_them(dlx, digits):
    found = evaluated(dlx, "digits", "--no-baselines")
    record = json.loads(dlx("runs", "show", "digits", "--json").out)
    assert found["metrics"]["test/accuracy"] == pytest.approx(record["metrics"]["test/accuracy"], abs=1e-9)
    assert found["metrics"]["test/f1"] == pytest.approx(record["metrics"]["test/f1"], abs=1e-6)
    assert found["metrics"]["test/log_loss"] == pytest.approx(record["metrics"]["test/loss"], rel=1e-5)
    low, high = found["intervals"]["test/accuracy"]
    assert low < found["metrics"]["test/accuracy"] < high
    assert sum(map(sum, found["confusion"]["counts"])) == found["examples"] == 270


def test_other_parts_of_its_own_data_are_judged_too(dlx, digits):
    validation = evaluated(dlx, "digits", "--split", "validation", "--no-baselines", "--bootstrap", "0")
    record = json.loads(dlx("runs", "show", "digits", "--json").out)
    assert validation["metrics"]["validation/accuracy"] == pytest.approx(record["metrics"]["validation/accuracy"], abs=1e-9)
    assert validation["intervals"] == {}
    assert validation["warnings"] == []
    whole = evaluated(dlx, "digits", "--split", "all", "--no-baselines", "--bootstrap", "0")
    assert whole["examples"] == 1797
    assert "of the 1,797 examples were trained on" in whole["warnings"][0]


def test_people_read_metrics_classes_mistakes_and_simple_models(dlx, people):
    result = dlx("evaluate", "people")
    assert result.code == 0
    for words in (
        "60 examples",
        "95 % interval",
        "balanced_accuracy",
        "precision",
        "calibration:",
        "logistic regression",
        "age=",
    ):
        assert words in result.out


def test_the_simple_models_are_fitted_once(dlx, people, monkeypatch):
    first = evaluated(dlx, "people")["baselines"]
    assert first["logistic regression"]["accuracy"] > 0.9
    evaluated(dlx, "people", "--no-baselines")
    monkeypatch.setattr("dlx.evaluation.evaluate.baselines", lambda *_: pytest.fail("they were fitted again"))
    assert evaluated(dlx, "people")["baselines"] == first


@pytest.mark.parametrize("content", ["[]", "{", "3"])
def test_damaged_figures_of_an_earlier_evaluation_are_written_anew(dlx, people, content):
    figures = run_folder("people") / "evaluations" / "test.json"
    evaluated(dlx, "people", "--no-baselines")
    figures.write_text(content)
    evaluated(dlx, "people", "--no-baselines")
    assert json.loads(figures.read_text())["examples"] == 60


def test_slices_are_the_examples_with_a_value(dlx, people):
    whole = evaluated(dlx, "people", "--slice", "city", "--no-baselines")
    sizes = {each["value"]: each["examples"] for each in whole["slices"]}
    assert sizes.keys() == {"Oslo", "Bergen"}
    assert sum(sizes.values()) == 60
    weighted = sum(each["examples"] * each["metrics"]["accuracy"] for each in whole["slices"]) / 60
    assert weighted == pytest.approx(whole["metrics"]["test/accuracy"])


def test_a_column_to_slice_by_that_there_is_not_is_a_wrong_option(dlx, people):
    result = dlx("evaluate", "people", "--slice", "town")
    assert (result.code, "there is no column 'town'" in result.err) == (2, True)


def test_a_handful_of_examples_has_no_intervals(dlx, people):
    people.head(1).to_csv("one.csv", index=False)
    assert evaluated(dlx, "people", "--data", "one.csv", "--no-baselines")["intervals"] == {}
    assert "one.csv, 1 example\n" in dlx("evaluate", "people", "--data", "one.csv", "--no-baselines").out


def test_columns_are_weighed_by_shuffling_them(dlx, people):
    found = evaluated(dlx, "people", "--explain", "--no-baselines")
    assert found["importance"][0]["column"] == "age"
    assert found["importance"][0]["mean"] > 0.1
    assert abs(found["importance"][1]["mean"]) < 0.1


def test_new_data_is_judged_whole_and_nothing_of_it_is_kept(dlx, people, tmp_path):
    people.head(50).to_csv("other.csv", index=False)
    found = evaluated(dlx, "people", "--data", "other.csv", "--split", "all", "--no-baselines")
    assert (found["examples"], found["data"], found["split"]) == (50, "other.csv", "all")
    assert not [*Path("results/runs").glob("*/evaluations/all*")]
    predicted = dlx("predict", "people", "--data", "other.csv")
    guesses = [line.split(",")[1].strip('"') for line in predicted.out.splitlines()[1:]]
    assert found["metrics"]["all/accuracy"] == pytest.approx(sk.accuracy_score(people.kind.head(50), guesses))


def test_drifted_data_is_a_warning(dlx, people):
    people.assign(age=people.age * 12).to_csv("months.csv", index=False)
    found = evaluated(dlx, "people", "--data", "months.csv", "--no-baselines")
    assert any("age" in warning for warning in found["warnings"])
    assert evaluated(dlx, "people", "--no-baselines")["warnings"] == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda table: table.drop(columns="age"), "age"),
        (lambda table: table.drop(columns="kind"), "kind"),
        (lambda table: table.assign(kind="ancient"), "ancient"),
        (lambda table: table.head(0), "no rows"),
    ],
    ids=["a column is missing", "the target is missing", "an unknown class", "no rows"],
)
def test_data_that_does_not_fit_is_told_exactly(dlx, people, change, told):
    change(people).to_csv("other.csv", index=False)
    result = dlx("evaluate", "people", "--data", "other.csv")
    assert result.code == 65
    assert result.err.count("\n") == 1
    assert told in result.err
    assert "other.csv" in result.err


def test_data_that_has_changed_since_is_refused(dlx, people, tiny):
    people.to_csv("own.csv", index=False)
    assert dlx("train", "--data", "own.csv", "--target", "kind", *tiny[1:], "--name", "own", "-q").code == 0
    people.assign(age=people.age + 1).to_csv("own.csv", index=False)
    result = dlx("evaluate", "own")
    assert (result.code, "not the data that run" in result.err) == (65, True)


def test_an_unknown_run_is_told_with_the_nearest_names(dlx, digits):
    result = dlx("evaluate", "digitz")
    assert (result.code, "did you mean digits?" in result.err) == (2, True)


def test_a_run_without_a_checkpoint_cannot_be_judged(dlx, digits):
    shutil.rmtree(digits / "checkpoints")
    result = dlx("evaluate", "digits")
    assert (result.code, "has no checkpoint" in result.err, result.err.count("\n")) == (66, True, 1)
    shutil.rmtree(digits)
    result = dlx("evaluate", "digits")
    assert (result.code, "has no folder" in result.err, result.err.count("\n")) == (66, True, 1)


def test_a_checkpoint_that_was_tampered_with_is_refused(dlx, digits):
    for file in (digits / "checkpoints").glob("*.safetensors"):
        content = bytearray(file.read_bytes())
        content[-5] ^= 1
        file.write_bytes(content)
    result = dlx("evaluate", "digits")
    assert (result.code, "checksum" in result.err, result.err.count("\n")) == (65, True, 1)


def test_an_older_checkpoint_is_not_taken_in_silence(dlx, digits):
    newest = max((digits / "checkpoints").glob("*.safetensors"))
    shutil.copy(newest, newest.with_name("step-00000020.safetensors"))
    newest.write_bytes(newest.read_bytes()[:-100])
    result = dlx("evaluate", "digits")
    assert (result.code, "remove that file" in result.err) == (65, True)


def test_a_part_that_is_not_there_names_those_that_are(dlx):
    assert dlx("train", "digits-mlp", "train.duration=20 steps", "data.test=0", "--name", "d", "-q").code == 0
    result = dlx("evaluate", "d", "--split", "test")
    assert (result.code, "it has validation, train" in result.err) == (2, True)
    assert json.loads(dlx("evaluate", "d", "--json", "--no-baselines").out)["split"] == "validation"


def test_a_read_only_store_shows_all_the_same(dlx, digits, monkeypatch):
    from dlx.errors import CannotWriteError

    def refuse(*_: object) -> None:
        raise CannotWriteError("results/runs/x: cannot be written: Read-only file system")

    monkeypatch.setattr("dlx.evaluation.evaluate.write_predictions", refuse)
    result = dlx("evaluate", "digits", "--no-baselines")
    assert (
        result.code,
        "accuracy" in result.out,
        "note: not kept for the next time: results/runs/x: cannot be written" in result.err,
    ) == (0, True, True)
