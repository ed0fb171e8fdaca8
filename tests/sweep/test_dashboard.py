"""The real optuna-dashboard on a store that `dlx sweep` wrote: it lists the sweep and shows every trial, with no adapter."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dlx.config.sweep import load_sweep, with_options
from dlx.store import SweepRecord, find_sweep, open_store
from dlx.sweep.drive import sweep_runs

WORDS = ["model.hidden=[4]", "data.limit=200", "train.duration=3 epochs", "optimizer.lr=tag(log, interval(1e-4, 1e-1))"]
SERVE = "import sys; from optuna_dashboard._cli import main; sys.argv[0] = 'optuna-dashboard'; main()"


@pytest.fixture
def swept(tmp_path: Path) -> SweepRecord:
    """Six trials, of which a pruner stopped some."""
    described, document, overrides = load_sweep("digits-mlp", [*WORDS, "model.activation=relu,tanh"])
    chosen = with_options(described, {"trials": 6, "sampler": "random", "pruner": "successive_halving"})
    with open_store(str(tmp_path / "results" / "dlx.db")) as store:
        last = list(sweep_runs(chosen, document, overrides, store, name="nightly"))[-1]
        return find_sweep(store, last.sweep)


@pytest.fixture
def dashboard(swept: SweepRecord) -> Iterator[Callable[[str], Any]]:
    """`dashboard(path)` is what it answers there, as JSON."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = [sys.executable, "-c", SERVE, "sqlite:///results/dlx.db", "--port", str(port), "--host", "127.0.0.1"]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:

        def ask(path: str) -> Any:
            deadline = time.monotonic() + 60
            while True:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{path}", timeout=30) as answer:
                        return json.load(answer)
                except urllib.error.HTTPError:
                    raise
                except OSError:  # it is not up yet
                    assert time.monotonic() < deadline, "the dashboard did not start"
                    assert server.poll() is None, "the dashboard ended"
                    time.sleep(0.1)

        yield ask
        server.kill()


@pytest.mark.slow
def test_the_dashboard_shows_the_sweep_and_all_of_its_trials(dashboard: Callable[[str], Any], swept: SweepRecord) -> None:
    (study,) = dashboard("studies")["study_summaries"]
    assert study["study_name"] == f"nightly ({swept.id})"
    assert study["directions"] == ["maximize"]
    shown = dashboard(f"studies/{study['study_id']}?after=0")["trials"]
    assert [trial["number"] for trial in shown] == list(range(6))
    assert {trial["state"] for trial in shown} == {"Complete", "Pruned"}
    for theirs, ours in zip(shown, swept.trials, strict=True):
        assert theirs["state"].lower()[:6] == str(ours.status)[:6]
        params = {each["name"]: each["param_external_value"] for each in theirs["params"]}
        assert params == {key: str(value) for key, value in ours.params.items()}
        assert theirs.get("values") == (None if ours.value is None else [ours.value])
        assert {each["step"] for each in theirs["intermediate_values"]} == set(ours.curve)
