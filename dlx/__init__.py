"""dlx: an experiment runner for deep learning. `dlx.train` is `dlx train`; JAX is imported when it is called.

>>> import dlx
>>> run = dlx.train("digits-mlp", overrides={"optimizer.lr": 3e-4})    # doctest: +SKIP
>>> run.metrics["test/accuracy"]                                         # doctest: +SKIP
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlx.version import __version__ as __version__

if TYPE_CHECKING:
    from dlx.store import RunRecord


def train(
    source: str | Path | Mapping[str, Any] | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    name: str | None = None,
    store: str | None = None,
    max_seconds: float | None = None,
) -> "RunRecord":
    """Trains a recipe (a name), a YAML file (a path) or a mapping, and returns its record.

    `overrides` maps dotted keys to values. `store` is a SQLite file or a URL (default: `DLX_STORE`, else
    `results/dlx.db`). Raises `dlx.errors.DlxError`; a run that diverges is no error: look at `status` of the record.
    """
    from dlx.config import Override, load_experiment
    from dlx.events import Finished
    from dlx.experiment.run import start
    from dlx.store import find_run, open_store

    changes = [Override(tuple(key.split(".")), value) for key, value in (overrides or {}).items()]
    config = load_experiment(source, changes)
    with open_store(store) as opened:
        run = ""
        for event in start(config, opened, name=name, max_seconds=max_seconds):
            if isinstance(event, Finished):
                run = event.run
        return find_run(opened, run)
