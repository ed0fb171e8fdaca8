"""Records and evaluations as they might be, with names that would break a page that forgot to escape."""

from pathlib import Path
from typing import Any

import numpy as np

from dlx.errors import Status
from dlx.evaluation.results import Evaluation, Example, Importance, Measure, Reliability, Residuals, Scores, Slice
from dlx.store import RunRecord, Segment, SweepRecord, Training, TrialRecord

HOSTILE = (
    "<script>alert(1)</script>",
    '"onload="alert(2)',
    "]]><!--",
    "</style></title></svg>",
    "&lt;b&gt; 'quoted' $x_1$ \\alpha$",
    "数字 \u202e \x00\x1b[31m \udc80",
    "<img src=x onerror=alert(3)>",
    "javascript:alert(4)",
)
CONFIG: dict[str, Any] = {
    "task": {"kind": "classify", "label_smoothing": 0.0},
    "data": {"kind": "csv", "path": "/home/ada/secret/rows.csv", "target": ["y"], "seed": 0},
    "model": {"kind": "mlp", "hidden": [128, 64], "dropout": 0.1},
    "optimizer": {"kind": "adamw", "lr": 0.003, "clip_norm": None},
    "train": {"duration": "3 epochs", "batch_size": 64},
}


def run_record(**changed: Any) -> RunRecord:
    """A run that was completed, or with these fields another one."""
    import json

    config = changed.pop("config", CONFIG)
    fields: dict[str, Any] = {
        "id": "a1b2c3d4",
        "name": "first",
        "status": Status.COMPLETED,
        "message": "trained 60 steps",
        "created": 1.7e9,
        "finished": 1.7e9 + 83,
        "heartbeat": 1.7e9 + 83,
        "step": 60,
        "epoch": 3,
        "steps_total": 60,
        "steps_per_epoch": 20,
        "lanes": 1,
        "lane": 0,
        "monitor": "validation/accuracy",
        "direction": "maximize",
        "host": "secret-host",
        "pid": 1,
        "metrics": {
            "train/accuracy": 0.99,
            "validation/accuracy": 0.9,
            "test/accuracy": 0.91,
            "test/loss": 0.3,
            "best/step": 40.0,
            "parameters": 1234.0,
        },
        "seconds_text": '{"train": 70.5, "compile": 1.5}',
        "runs_folder": Path("/home/ada/results/runs"),
        "config_text": json.dumps(config),
        "command": "dlx train --data /home/ada/secret/rows.csv --target y",
        "environment": {
            "device": "cpu (2 cores)",
            "python": "3.12.1",
            "folder": "/home/ada/work",
            "host": "secret-host",
            "packages": {"dlx": "0.1.0", "jax": "0.12.0"},
            "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": True},
            "sources": {"/home/ada/work/net.py": "f" * 64},
            "data": "7659fdeb",
        },
        "segments": (Segment(1.7e9, 1.7e9 + 83, 0, 60, "secret-host", 1, "cpu (2 cores)", Status.COMPLETED),),
    }
    return RunRecord(**(fields | changed))


def curves(evaluations: int = 3, every: int = 20) -> dict[str, list[tuple[int, float]]]:
    """Loss and accuracy of training and validation, and the learning rate."""
    steps = [every * (at + 1) for at in range(evaluations)]
    falling = [(step, 1.5 * 0.9 ** (step / every)) for step in steps]
    return {
        "train/loss": falling,
        "validation/loss": [(step, value + 0.1) for step, value in falling],
        "train/accuracy": [(step, 1 - value / 2) for step, value in falling],
        "validation/accuracy": [(step, 0.95 - value / 2) for step, value in falling],
        "train/learning_rate": [(step, 0.003 * (1 - step / steps[-1])) for step in steps],
    }


def measure(value: float, width: float = 0.02) -> Measure:
    """A metric with an interval."""
    return Measure(value, value - width, value + width)


def evaluation(**changed: Any) -> Evaluation:
    """Of eight classes with pictures, or with these fields another one."""
    rng = np.random.default_rng(0)
    classes = changed.get("classes", HOSTILE)
    size = len(classes)
    confusion = (np.eye(size) * 90 + rng.poisson(1.5, (size, size))).astype(np.int64)
    count = rng.integers(0, 300, 15)
    edges = np.linspace(0, 1, 16)
    right = np.where(count > 0, edges[1:] - 0.05 * rng.random(15), np.nan)
    worst = tuple(
        Example(
            row=at * 17,
            loss=9.0 - at / 2,
            truth=classes[at % size],
            predicted=classes[(at + 1) % size],
            confidence=0.99,
            picture=rng.integers(0, 256, (28, 28, 1)).astype(np.uint8),
            saliency={
                name: rng.random((28, 28)).astype(np.float32) for name in ("gradient", "smoothgrad", "integrated gradients")
            },
        )
        for at in range(12)
    )
    fields: dict[str, Any] = {
        "run": "a1b2c3d4",
        "name": "first",
        "data": "rows.csv",
        "split": "test",
        "examples": int(confusion.sum()),
        "target": "class",
        "classes": classes,
        "step": 40,
        "device": "cpu (2 cores)",
        "scores": Scores(
            overall={
                "accuracy": measure(0.9123),
                "log_loss": measure(0.31),
                "ece": measure(0.0213),
                "roc_auc": Measure(float("nan")),
            },
            each={name: [measure(0.8 + 0.01 * at) for at in range(size)] for name in ("precision", "recall", "f1")},
            confusion=confusion,
            reliability=Reliability(edges, np.where(count > 0, (edges[1:] + edges[:-1]) / 2, np.nan), right, count),
        ),
        "headline": "accuracy",
        "maximize": True,
        "resamples": 1000,
        "baselines": {"majority": {"accuracy": 0.125, "log_loss": 2.08}, "boosted trees": {"accuracy": 0.89, "log_loss": 0.4}},
        "slices": (),
        "worst": worst,
        "importance": (),
        "warnings": (),
        "seconds": {"predict": 0.2},
    }
    return Evaluation(**(fields | changed))


def table_evaluation(**changed: Any) -> Evaluation:
    """Of numbers, from a table: residuals, rows, slices, columns that matter."""
    rng = np.random.default_rng(1)
    actual = rng.normal(200, 40, (2000, 2))
    predicted = actual + rng.normal(0, 12, (2000, 2))
    keys = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
    quantiles = {f"{key}": np.quantile(predicted - actual, key, axis=0).tolist() for key in keys}
    overall = {"rmse": measure(12.1, 0.4), "mae": measure(9.5, 0.3), "r2": measure(0.91)}
    rows = {HOSTILE[0]: HOSTILE[6], "age": "61", "occupation": "Exec-managerial " * 20}
    fields: dict[str, Any] = {
        "target": "number",
        "classes": ("price", HOSTILE[3]),
        "examples": 2000,
        "scores": Scores(overall, {"rmse": [measure(12.0), measure(12.2)]}, residuals=Residuals(quantiles, predicted, actual)),
        "headline": "rmse",
        "maximize": False,
        "baselines": {"mean": {"rmse": 40.2, "mae": 31.0, "r2": 0.0}},
        "slices": tuple(Slice(HOSTILE[0], value, 500, overall) for value in (*HOSTILE[:3], "[17, 22)", "missing")),
        "worst": tuple(Example(at, 3.0, "201.5", "120.1", None, columns=rows, file_row=at) for at in range(5)),
        "importance": tuple(Importance(name, 3.0 / (at + 1), 0.2) for at, name in enumerate((*HOSTILE, "age"))),
        "warnings": ("age: mean 61.2, 38.6 in training (1.7 standard deviations away)", f"{HOSTILE[0]} has no example"),
    }
    return evaluation(**(fields | changed))


def sweep_record(trials: int = 20, **changed: Any) -> SweepRecord:
    """A sweep of two objectives with trials of every end."""
    rng = np.random.default_rng(2)
    made = []
    for number in range(trials):
        status = (Status.COMPLETED, Status.COMPLETED, Status.PRUNED, Status.FAILED, Status.DIVERGED)[number % 5]
        params = {
            "optimizer.lr": float(10 ** rng.uniform(-4, -1)),
            "model.hidden": [int(rng.choice([64, 128]))],
            HOSTILE[0]: HOSTILE[number % 8],
        }
        score = float(rng.uniform(0.7, 0.98))
        done = status is Status.COMPLETED
        message = "" if done else f"trial said {HOSTILE[0]} at /home/ada/work/net.py"
        curve = {at: score * (at + 1) / 4 for at in range(4)}
        training = Training(0, None, 0, status, (score, score * 1000) if done else None, curve, message)
        made.append(TrialRecord(number, params, (training,)))
    dimension = {"when": {}, "type": "float", "low": 1e-4, "high": 0.1, "log": True, "step": None}
    choices = {"when": {}, "type": "categorical", "choices": [[64], [128]]}
    fields: dict[str, Any] = {
        "id": "5eeb0001",
        "name": HOSTILE[1],
        "status": Status.COMPLETED,
        "message": f"{trials} of {trials} trials",
        "created": 1.7e9,
        "finished": 1.7e9 + 400,
        "trials_total": trials,
        "monitor": "validation/accuracy",
        "direction": "maximize",
        "seconds": {"train": 300.0},
        "config": {
            "experiment": CONFIG,
            "search": {"optimizer.lr": dimension, "model.hidden": choices, HOSTILE[0]: choices | {"choices": list(HOSTILE)}},
            "sampler": {"kind": "tpe", "seed": 0},
            "pruner": {"kind": "median"},
            "objective": {"metric": "validation/accuracy", "direction": "maximize"},
            "more": [{"metric": "parameters", "direction": "minimize"}],
            "data": "7659fdeb",
        },
        "command": "dlx sweep /home/ada/work/sweep.yaml",
        "trials": tuple(made),
        "workers": (),
    }
    return SweepRecord(**(fields | changed))
