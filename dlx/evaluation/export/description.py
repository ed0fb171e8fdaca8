"""What a program must know to use an exported network: what goes in, what comes out, what the classes are called."""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from dlx import strict_json
from dlx.experiment.restore import Trained
from dlx.version import __version__

FORMAT: Final = "dlx-export-1"
_FILES: Final = ("path", "test_path")
"""Fields of an experiment's data that name a file on the disk of whoever trained it; of one's own code it is `target`."""


def describe(trained: Trained) -> dict[str, Any]:
    """Fit for JSON: inputs, outputs, names, the experiment, and the preprocessing of raw data. Holds no folder of this machine.

    Its texts are such as UTF-8 can write: a file's name may hold bytes that are no letters.
    """
    tree = {
        "format": FORMAT,
        "dlx": __version__,
        "run": trained.run.id,
        "name": trained.run.name,
        "step": trained.step,
        "weights": trained.digest,
        "task": task_kind(trained),
        "inputs": _inputs(trained),
        "outputs": _outputs(trained),
        "metrics": _measured(trained.run.metrics),
        "experiment": portable(trained.config.model_dump(mode="json")),
        "preprocessing": dict(trained.preprocessing),
    }
    found: dict[str, Any] = json.loads(strict_json.dumps(tree).encode("utf-8", "replace"))
    return found


def as_json(tree: Mapping[str, Any]) -> bytes:
    """A file of it, for people too."""
    return (json.dumps(tree, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def task_kind(trained: Trained) -> str:
    """`classify`, `multilabel`, `regress`."""
    assert trained.config.task is not None  # a stored config is resolved
    return trained.config.task.kind


def portable(experiment: Mapping[str, Any]) -> dict[str, Any]:
    """The experiment with the names of files in place of their paths: those are somebody's folders."""
    tree = {**experiment}
    for section in ("data", "model"):
        files = (*_FILES, "target") if tree[section]["kind"] == "python" else _FILES
        named = {key: value for key, value in tree[section].items() if key in files and value is not None}
        tree[section] = {**tree[section], **{key: value.rpartition("/")[2] for key, value in named.items()}}
    return tree


def _measured(metrics: Mapping[str, float]) -> dict[str, float]:
    """The scores on the test part that are numbers."""
    return {name: value for name, value in sorted(metrics.items()) if name.startswith("test/") and math.isfinite(value)}


def _inputs(trained: Trained) -> dict[str, Any]:
    preparation = trained.preparation
    meaning = {
        "images": f"{preparation.color or ''} pixels from 0 to {preparation.pixel_range}, channels last".strip(),
        "table": "rows as the encoder in `preprocessing` makes them of columns (docs/export.md of dlx says how), not standardized",
        "arrays": "as in the training data, not standardized",
        "text": "tokens as the tokenizer in `preprocessing` makes them of text (docs/text.md of dlx says how), 0 where a text has ended",
    }[preparation.kind]
    shape = ["batch", *preparation.spec.input_shape]
    return {"shape": shape, "dtype": preparation.dtype.name, "meaning": meaning, "columns": list(preparation.columns)}


def _outputs(trained: Trained) -> dict[str, Any]:
    spec = trained.preparation.spec
    names, meaning = {
        "class": (spec.classes, "logits: their softmax is the probability of each class"),
        "labels": (spec.classes, "logits: the sigmoid of each is the probability of its label"),
        "number": (spec.target_names, "numbers in the units of the training data"),
    }[spec.supervision]
    return {"shape": ["batch", spec.outputs], "dtype": "float32", "meaning": meaning, "names": list(names)}
