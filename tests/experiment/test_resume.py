"""A run that was stopped or killed and resumed equals the one that was not, bit for bit."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from dlx.config import load_experiment, parse_override
from dlx.errors import BusyError, ConfigError, DataError, MissingInputError, Status
from dlx.events import Finished, Measured, Notice, Started
from dlx.experiment.run import resume, resume_or_start, start
from dlx.store import curves, find_run, list_runs, open_store

SLOW_ENOUGH = [
    "train.duration=3000 steps",
    "train.evaluate_every=50 steps",
    "train.checkpoint_every=7 steps",
    "model.hidden=[8]",
]
TINY = ["train.duration=40 steps", "train.evaluate_every=10 steps", "train.checkpoint_every=6 steps", "model.hidden=[8]"]


def config(*overrides: str):
    return load_experiment("digits-mlp", [parse_override(text) for text in (*TINY, *overrides)])


def weights(store, run: str) -> dict[str, np.ndarray]:
    """Every array of a run's newest checkpoint: parameters, statistics, optimizer, best weights."""
    return load_file(max((store.run_folder(run) / "checkpoints").glob("step-*.safetensors")))


def assert_equal_runs(store, left: str, right: str) -> None:
    one, two = weights(store, left), weights(store, right)
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)
    assert curves(store, left) == curves(store, right), "and so do the stored metrics"
    summary_one, summary_two = find_run(store, left).metrics, find_run(store, right).metrics
    assert summary_one == summary_two


@pytest.fixture
def store(tmp_path):
    """The store that commands use when they run in this test's folder."""
    with open_store(str(tmp_path / "results" / "dlx.db")) as opened:
        yield opened


def run_to_end(events) -> Finished:
    *_, last = events
    assert isinstance(last, Finished)
    return last


@pytest.mark.parametrize("stop_after", [0, 1, 3])
def test_closing_the_events_early_and_resuming(store, stop_after):
    """A reader that leaves in the middle of an interval leaves a resumable run."""
    whole = run_to_end(start(config(), store))
    events = start(config(), store)
    measured = [next(e for e in events if isinstance(e, Measured)) for _ in range(stop_after + 1)]
    events.close()
    stopped = find_run(store, "latest")
    assert stopped.status is Status.INTERRUPTED
    assert stopped.step == measured[-1].step
    resumed = run_to_end(resume(stopped, store))
    assert resumed.status is Status.COMPLETED
    assert_equal_runs(store, whole.run, resumed.run)
    assert len(find_run(store, resumed.run).segments) == 2


def test_a_completed_run_is_only_reported(store):
    done = run_to_end(start(config(), store))
    again = list(resume(find_run(store, done.run), store))
    assert len(again) == 1
    assert again[0].status is Status.COMPLETED
    assert again[0].message == "trained 40 steps (earlier: there is nothing left to do)"
    assert again[0].metrics == find_run(store, done.run).metrics


def test_auto_starts_then_continues_then_reports(store):
    events = resume_or_start(config(), store, name="nightly")
    next(e for e in events if isinstance(e, Measured))
    events.close()
    second = list(resume_or_start(config(), store, name="nightly"))
    assert next(e for e in second if isinstance(e, Started)).run == find_run(store, "nightly").id
    assert second[-1].status is Status.COMPLETED
    third = list(resume_or_start(config(), store, name="nightly"))
    assert [type(e) for e in third] == [Finished]
    assert len(list_runs(store)) == 1


def test_auto_refuses_another_config_under_the_same_name(store):
    run_to_end(resume_or_start(config(), store, name="nightly"))
    with pytest.raises(ConfigError, match=r"optimizer\.lr was 0\.003, now 0\.5"):
        list(resume_or_start(config("optimizer.lr=0.5"), store, name="nightly"))


def test_data_that_has_changed_is_refused(store, tmp_path):
    path = tmp_path / "rows.npz"
    generator = np.random.Generator(np.random.Philox(1))
    np.savez(path, x=generator.normal(size=(200, 3)), y=generator.integers(0, 2, 200))
    npz = config("data={kind: npz, path: rows.npz}", "train.batch_size=16")
    events = start(npz, store)
    next(e for e in events if isinstance(e, Measured))
    events.close()
    np.savez(path, x=generator.normal(size=(200, 3)), y=generator.integers(0, 2, 200))
    with pytest.raises(DataError, match="was started on other data"):
        list(resume(find_run(store, "latest"), store))


def test_other_versions_are_told(store, monkeypatch):
    events = start(config(), store)
    next(e for e in events if isinstance(e, Measured))
    events.close()
    run = find_run(store, "latest")
    from dataclasses import replace

    older = replace(run, environment={**run.environment, "packages": {**run.environment["packages"], "jax": "0.1"}})
    notices = [e.text for e in resume(older, store) if isinstance(e, Notice)]
    assert any("jax 0.1 ->" in text for text in notices)


def test_a_run_that_another_process_trains_is_busy(store):
    events = start(config(), store)
    next(e for e in events if isinstance(e, Measured))
    with pytest.raises(BusyError, match="being trained by another process"):
        list(resume(find_run(store, "latest"), store))
    events.close()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "dlx", "train", "digits-mlp", *SLOW_ENOUGH, *arguments]


def wait_for_steps(process: subprocess.Popen, folder: Path, seconds: float = 60) -> None:
    """Until the process has written a checkpoint."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        if list(folder.glob("results/runs/*/checkpoints/step-*")):
            return
        time.sleep(0.01)


@pytest.mark.slow
def test_kill_9_at_a_random_moment_and_resume_equals_the_uninterrupted_run(tmp_path, store):
    """Three kills at random moments of one run, each followed by `--resume auto`; then the same run without."""
    moments = random.Random(20261120)
    for _ in range(3):
        with subprocess.Popen(command("--name", "killed", "--resume", "auto", "-q"), stderr=subprocess.PIPE) as process:
            wait_for_steps(process, tmp_path)
            time.sleep(moments.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
        assert find_run(store, "killed").status is Status.LOST
    subprocess.run(command("--name", "killed", "--resume", "auto", "-q"), check=True)
    subprocess.run(command("--name", "whole", "-q"), check=True)
    killed, whole = find_run(store, "killed"), find_run(store, "whole")
    assert killed.status is whole.status is Status.COMPLETED
    assert_equal_runs(store, killed.id, whole.id)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_leaves_with_75(tmp_path, store, number):
    arguments = command("--json", "train.duration=100000000 steps", "train.evaluate_every=1000 steps")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for_steps(process, tmp_path)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    last = json.loads(out)
    assert last["status"] == "interrupted"
    assert f"dlx train --resume {last['run']}" in last["message"]
    assert find_run(store, last["run"]).step == last["steps"] > 0
    assert f"step-{last['steps']:08d}.safetensors" in {
        p.name for p in (store.run_folder(last["run"]) / "checkpoints").iterdir()
    }


@pytest.mark.slow
def test_a_second_signal_leaves_at_once(tmp_path, store):
    """Even while the first one waits: here the process is stopped in its loop, and both signals come together."""
    with subprocess.Popen(command("train.duration=100000000 steps"), stderr=subprocess.PIPE) as process:
        wait_for_steps(process, tmp_path)
        for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
            process.send_signal(number)
        assert process.wait(timeout=30) in (130, 143)
    assert find_run(store, "latest").status is Status.LOST


def test_a_run_without_checkpoints_begins_again_and_says_so(store):
    events = start(config("train.checkpoint_every=1 hours"), store)
    while not (isinstance(event := next(events), Measured) and event.step == 20):
        pass
    next(events)
    events.close()
    run = find_run(store, "latest")
    assert run.step == 20
    seen = list(resume(run, store))
    assert "holds no checkpoint: the run begins again at step 0, it had come to step 20" in next(
        e.text for e in seen if isinstance(e, Notice)
    )
    assert seen[-1].status is Status.COMPLETED


def test_code_that_has_changed_is_told(store, tmp_path):
    net = tmp_path / "net.py"
    net.write_text(
        "from flax import nnx\nclass Net(nnx.Module):\n"
        "    def __init__(self, i, o, *, rngs): self.out = nnx.Linear(64, o, rngs=rngs)\n"
        "    def __call__(self, x): return self.out(x.reshape(len(x), -1))\n"
    )
    events = start(config("model={kind: python, target: 'net.py:Net'}"), store)
    next(e for e in events if isinstance(e, Measured))
    events.close()
    net.write_text(net.read_text() + "# another line\n")
    notices = [e.text for e in resume(find_run(store, "latest"), store) if isinstance(e, Notice)]
    assert any("net.py has changed since the run was started" in text for text in notices)


def test_a_run_that_cannot_be_set_up_again_is_given_back(store, tmp_path):
    path = tmp_path / "rows.npz"
    generator = np.random.Generator(np.random.Philox(1))
    np.savez(path, x=generator.normal(size=(200, 3)), y=generator.integers(0, 2, 200))
    events = start(config("data={kind: npz, path: rows.npz}", "train.batch_size=16"), store)
    next(e for e in events if isinstance(e, Measured))
    events.close()
    path.unlink()
    with pytest.raises(MissingInputError):
        list(resume(find_run(store, "latest"), store))
    run = find_run(store, "latest")
    assert run.status is Status.INTERRUPTED
    assert "could not be resumed" in run.message
