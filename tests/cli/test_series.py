"""A forecast from end to end: train on a CSV file, judge it beside simple forecasts, predict the future, find a rate, search."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

EXPERIMENT = """
data:      {kind: series, path: load.csv, time: time, target: load, window: 12, horizon: 2, validation: 0.2, test: 0.2}
model:     {kind: rnn, cell: gru, hidden: 4, layers: 2, skip: 12, dropout: 0.1}
optimizer: {kind: adam, lr: 1.0e-2}
train:     {duration: 60 steps, batch_size: 32}
"""


@pytest.fixture
def file() -> str:
    """An experiment; its data are a wave of 24 hours."""
    hours = np.arange(400)
    load = 50 + 10 * np.sin(2 * np.pi * hours / 24) + 0.1 * np.random.default_rng(0).standard_normal(400)
    times = pd.date_range("2024-01-01", periods=400, freq="h").astype(str)
    pd.DataFrame({"time": times, "load": load}).to_csv("load.csv", index=False)
    Path("load.yaml").write_text(EXPERIMENT)
    return "load.yaml"


def test_a_forecast_from_training_to_the_future(dlx, file):
    done = dlx("train", file, "-q", "--name", "load")
    assert done.code == 0, done.err
    judged = dlx("evaluate", "load", "--json")
    assert judged.code == 0, judged.err
    found = json.loads(judged.out)
    assert {"persistence", "linear AR(12)", "the mean"} <= set(found["baselines"])
    assert "a season ago" not in found["baselines"], "a day does not fit into the window"
    assert found["baselines"]["linear AR(12)"]["rmse"] < found["baselines"]["persistence"]["rmse"]
    said = dlx("predict", "load", "--data", "load.csv", "-q")
    assert said.code == 0, said.err
    rows = pd.read_csv(io.StringIO(said.out))
    assert list(rows.columns) == ["line", "prediction load +1", "prediction load +2"]
    assert rows.line.tolist() == list(range(13, 402))
    assert dlx("predict", "load", "--data", "-").code == 65, "a series is sorted, which takes a file"
    pd.read_csv("load.csv").iloc[::-1].to_csv("turned.csv", index=False)
    turned = dlx("predict", "load", "--data", "turned.csv")
    assert "the rows were not in the order of their times and were sorted" in turned.err
    assert pd.read_csv(io.StringIO(turned.out)).line.tolist() == list(range(390, 1, -1))


def test_a_range_test_and_a_search(dlx, file):
    found = dlx("lr-find", file, "-q")
    assert found.code == 0, found.err
    search = ("optimizer.lr=tag(log, interval(1e-3, 1e-1))", "model.dropout=interval(0, 0.3)")
    swept = dlx("sweep", file, *search, "-q", "--trials", "2")
    assert swept.code == 0, swept.err


def test_a_class_is_not_forecast(dlx, file):
    refused = dlx("train", file, "task.kind=classify", "-q")
    assert refused.code == 78
    assert "task.kind=regress" in refused.err
