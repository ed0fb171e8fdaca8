"""A network that is trained already, made once."""

from pathlib import Path

import pytest

from dlx.config import load_experiment, parse_override
from dlx.experiment import run
from dlx.store import open_store


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoints of a net of digits that has learned all it can."""
    words = ("model.hidden=[16]", "model.dropout=0", "train.duration=60 epochs", "optimizer.lr=1e-2")
    config = load_experiment("digits-mlp", [parse_override(word) for word in words])
    with open_store(str(tmp_path_factory.mktemp("trained") / "dlx.db")) as store:
        *_, finished = run.start(config, store)
    return finished.path / "checkpoints"
