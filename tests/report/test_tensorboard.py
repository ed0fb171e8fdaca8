"""Runs as TensorBoard has them: read back with its own readers. Without that package (`pip install tensorboard`) all is skipped."""

import io
import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dlx.cli.app import main
from dlx.errors import BusyError, CannotWriteError, MissingInputError, Status
from dlx.evaluation.results import Evaluation, Example, Measure, Reliability, Residuals, Scores
from dlx.events import Evaluated, Event, Finished, Notice, Started
from dlx.report import tensorboard
from dlx.report.tensorboard import recorded, write_evaluation, write_run
from dlx.store import (
    Ending,
    NewRun,
    RunUpdate,
    Store,
    claim_run,
    curves,
    find_run,
    finish_runs,
    open_store,
    record,
    rewind_run,
    start_run,
)

pytest.importorskip("tensorboardX", reason="dlx[tensorboard] is not installed")
pytest.importorskip("tensorboard", reason="TensorBoard itself, whose readers these tests use, is not installed")

from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams import list_session_groups
from tensorboard.plugins.hparams.api_pb2 import ListSessionGroupsRequest
from tensorboard.plugins.hparams.api_pb2 import Status as SessionStatus
from tensorboard.plugins.hparams.backend_context import Context

CONFIG: dict[str, Any] = {
    "model": {"kind": "mlp", "hidden": [64, 32]},
    "optimizer": {"lr": 0.001, "nesterov": True, "clip_norm": None},
    "train": {"batch_size": 64},
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path}/results/dlx.db") as store:
        yield store


def begin(store: Store, config: dict[str, Any] = CONFIG) -> str:
    return start_run(store, NewRun(config, {"device": "cpu"}, 100, 10, "validation/accuracy", "maximize", command="dlx train"))


def measure(store: Store, run: str, *steps: int, shift: float = 0.0) -> None:
    updates = [(step, {"train/loss": shift + 1 / step, "validation/loss": shift + 2 / step}) for step in steps]
    record(store, [RunUpdate(run, step, step // 10, metrics) for step, metrics in updates])


def end(store: Store, run: str, status: Status = Status.COMPLETED, **metrics: float) -> None:
    finish_runs(
        store, [Ending(run, status, "", find_run(store, run).step, 1, {k.replace("_", "/"): v for k, v in metrics.items()})]
    )


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def points(found: EventAccumulator, name: str) -> dict[int, float]:
    """By step the value; no step is there twice."""
    events = found.Scalars(name)
    by_step = {event.step: event.value for event in events}
    assert len(by_step) == len(events)
    return by_step


def text(found: EventAccumulator, name: str) -> str:
    return found.Tensors(f"{name}/text_summary")[-1].tensor_proto.string_val[0].decode()


def started(store: Store, run: str, step: int = 0) -> Started:
    return Started(run, None, find_run(store, run).path, step, 100, 10, 64, 1000, "validation/accuracy", "cpu", step > 0)


def evaluated(step: int) -> Evaluated:
    return Evaluated(step, step / 10, "validation", ({"validation/loss": 2 / step},), (True,), (True,))


def finished(store: Store, run: str) -> Finished:
    found = find_run(store, run)
    return Finished(run, found.status, "", found.step, found.metrics, found.path)


def stretch(store: Store, run: str, *steps: int, shift: float = 0.0) -> Iterator[Event]:
    """The stream of a run that measures at these steps, the store always a little behind, as it is in training."""
    yield started(store, run, steps[0] - 10)
    for step in steps:
        yield evaluated(step)
        measure(store, run, step, shift=shift)


def last_stretch(store: Store, run: str, *steps: int, shift: float = 0.0) -> Iterator[Event]:
    yield from stretch(store, run, *steps, shift=shift)
    end(store, run, test_accuracy=0.5, best_step=float(steps[-1]))
    yield finished(store, run)


def test_a_runs_curves_are_those_of_the_store(store):
    run = begin(store)
    measure(store, run, *range(10, 101, 10))
    record(store, [RunUpdate(run, 100, 10, {"train/accuracy": math.nan})])
    end(store, run)
    folder = write_run(store, find_run(store, run))
    assert folder == find_run(store, run).path / "tensorboard"
    found = read(folder)
    for name, values in curves(store, run).items():
        assert points(found, name) == pytest.approx(dict(values), rel=1e-6, nan_ok=True), name
    assert set(found.Tags()["scalars"]) == {"train/loss", "validation/loss", "train/accuracy"}


def test_the_figures_at_the_best_weights_stand_beside_the_curves(store):
    """HParams shows a name's last value: what has a curve is at the best weights under another name."""
    run = begin(store)
    measure(store, run, 10, 20, 30)
    end(store, run, validation_loss=0.1, test_accuracy=0.75, best_step=20.0)
    found = read(write_run(store, find_run(store, run)))
    assert points(found, "best/validation/loss") == {20: pytest.approx(0.1)}
    assert points(found, "test/accuracy") == {20: 0.75}
    assert points(found, "validation/loss")[30] == pytest.approx(2 / 30)


def test_what_the_best_weights_were_not_scored_on_is_not_taken_for_theirs(store):
    """The trials of a sweep are not scored on their training data: the record then holds the latest value."""
    run = begin(store)
    measure(store, run, 10, 20)
    end(store, run, validation_loss=2 / 20, best_step=10.0)
    found = read(write_run(store, find_run(store, run)))
    assert {name for name in found.Tags()["scalars"] if name.startswith("best/")} == {"best/step", "best/validation/loss"}


def test_an_interrupted_run_has_no_figures_of_best_weights(store):
    """What its record holds of them is from a stretch before, or is the latest value."""
    run = begin(store)
    measure(store, run, 10)
    end(store, run, Status.INTERRUPTED, test_accuracy=0.75, best_step=10.0)
    assert "test/accuracy" not in read(write_run(store, find_run(store, run))).Tags()["scalars"]


def test_train_and_validation_share_a_chart(store):
    run = begin(store)
    measure(store, run, 10)
    end(store, run)
    found = read(write_run(store, find_run(store, run)))
    layout = Layout.FromString(found.Tensors("custom_scalars__config__")[-1].tensor_proto.string_val[0])
    (chart,) = layout.category[0].chart
    assert (chart.title, list(chart.multiline.tag)) == ("loss", ["^[^/]+/loss$"])


def test_config_and_command_are_there_to_read(store):
    run = begin(store)
    end(store, run)
    found = find_run(store, run)
    written = read(write_run(store, found))
    assert "dlx train" in text(written, "run")
    assert json.loads(text(written, "config")) == CONFIG, "the store's own, while there is no config.yaml"
    (found.path / "config.yaml").write_text("model: {kind: mlp}\n")
    assert text(read(write_run(store, found)), "config") == "    model: {kind: mlp}", "Markdown shows four spaces as code"


def test_points_are_at_about_their_time(store):
    run = begin(store)
    measure(store, run, 50, 100)
    end(store, run)
    (segment,) = find_run(store, run).segments
    half, whole = read(write_run(store, find_run(store, run))).Scalars("train/loss")
    assert whole.wall_time == pytest.approx(segment.ended, abs=1e-3)
    assert half.wall_time == pytest.approx((segment.started + segment.ended) / 2, abs=1e-3)


def test_each_evaluation_brings_what_the_store_has_by_then(store):
    run = begin(store)
    folder = find_run(store, run).path / "tensorboard"
    events = recorded(stretch(store, run, 10, 20, 30), store)
    next(event for event in events if event == evaluated(20))
    assert list(points(read(folder), "train/loss")) == [10]
    next(event for event in events if event == evaluated(30))
    assert list(points(read(folder), "train/loss")) == [10, 20]


def test_the_stream_is_the_same_with_events_as_without(store):
    run = begin(store)
    plain = list(stretch(store, run, 10, 20))
    assert list(recorded(stretch(store, run, 10, 20), store)) == plain


def test_a_resumed_run_is_one_run_without_doubled_points(store):
    """The second stretch repeats steps that the first had not saved; a TensorBoard was open all the time."""
    run = begin(store)
    folder = find_run(store, run).path / "tensorboard"
    list(recorded(stretch(store, run, 10, 20, 30, 40), store))
    watching = read(folder)
    end(store, run, Status.INTERRUPTED)
    claim_run(store, run, "cpu")
    rewind_run(store, run, 20)
    list(recorded(last_stretch(store, run, 30, 40, 50, shift=5.0), store))
    watching.Reload()
    for found in (watching, read(folder)):
        assert points(found, "train/loss") == pytest.approx(dict(curves(store, run)["train/loss"]))
        assert list(points(found, "train/loss")) == [10, 20, 30, 40, 50]
        assert points(found, "test/accuracy") == {50: 0.5}


def test_a_stretch_that_was_not_recorded_is_there_after_the_next(store):
    run = begin(store)
    list(stretch(store, run, 10, 20))
    end(store, run, Status.INTERRUPTED)
    claim_run(store, run, "cpu")
    list(recorded(last_stretch(store, run, 30, 40), store))
    assert list(points(read(find_run(store, run).path / "tensorboard"), "train/loss")) == [10, 20, 30, 40]


def test_what_was_complete_before_is_written_by_the_command_that_finds_it_so(store):
    """`dlx train --resume RUN --tensorboard` of a run that was trained without."""
    run = begin(store)
    measure(store, run, 10, 20)
    end(store, run)
    list(recorded(iter([finished(store, run)]), store))
    assert list(points(read(find_run(store, run).path / "tensorboard"), "train/loss")) == [10, 20]


def test_old_files_do_not_pile_up(store):
    """One stays beside the newest: a TensorBoard that is open goes on from it."""
    run = begin(store)
    end(store, run)
    for _ in range(5):
        folder = write_run(store, find_run(store, run))
    assert len(list(folder.iterdir())) == 2


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from dlx.store import NewRun, RunUpdate, open_store, record, start_run
from dlx.report.tensorboard import RunFile
from dlx.store import find_run
with open_store(sys.argv[2]) as store:
    run = start_run(store, NewRun({}, {}, 100, 10, "validation/loss", "minimize"))
    folder = find_run(store, run).path / "tensorboard"
    folder.mkdir()
    file = RunFile(store, find_run(store, run), folder)
    for step in range(1, 31):
        record(store, [RunUpdate(run, step, 0, {"train/loss": 1 / step})])
        file.update()
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_all_that_it_had_evaluated(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(Path(__file__).parents[2]), f"sqlite:///{tmp_path}/dlx.db"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list(points(read(Path(done.stdout.strip())), "train/loss")) == list(range(1, 31))


def session_groups(folder: Path) -> list[Any]:
    """What the HParams page of a real TensorBoard on that folder lists."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    context = Context(TBContext(data_provider=MultiplexerDataProvider(multiplexer, str(folder))))
    wanted = ListSessionGroupsRequest(
        start_index=0, slice_size=100, allowed_statuses=SessionStatus.values(), include_metrics=True
    )
    experiment = context.experiment_from_metadata(
        RequestContext(), "", True, context.hparams_metadata(RequestContext(), ""), []
    )
    for metric in experiment.metric_infos:
        wanted.col_params.add().metric.CopyFrom(metric.name)
    answer = list_session_groups.Handler(RequestContext(), context, "", wanted).run()
    return list(answer.session_groups)


def test_hparams_shows_every_field_and_every_metric_of_every_run(store):
    """Also those that the first run does not have, and metrics that came last: of lists of them TensorBoard takes the first only."""
    first, second = begin(store), begin(store, {**CONFIG, "optimizer": {"lr": 0.1, "momentum": 0.9}})
    measure(store, first, 10, 20)
    end(store, first, test_accuracy=0.75, best_step=20.0)
    measure(store, second, 10)
    end(store, second, Status.DIVERGED, test_rmse=3.0, best_step=10.0)
    for run in (first, second):
        write_run(store, find_run(store, run))
    groups = {group.name.partition("/")[0]: group for group in session_groups(store.runs_folder)}
    assert groups.keys() == {first, second}
    fields = {key: value.WhichOneof("kind") for key, value in groups[first].hparams.items()}
    assert fields == {
        "model.kind": "string_value",
        "model.hidden": "string_value",
        "optimizer.lr": "number_value",
        "optimizer.nesterov": "bool_value",
        "train.batch_size": "number_value",
    }
    assert groups[first].hparams["model.hidden"].string_value == "[64, 32]"
    assert groups[second].hparams["optimizer.momentum"].number_value == 0.9
    metrics = [{each.name.tag: each.value for each in groups[run].metric_values} for run in (first, second)]
    assert metrics[0] == pytest.approx(
        {
            "train/loss": 1 / 20,
            "validation/loss": 2 / 20,
            "best/validation/loss": 2 / 20,
            "test/accuracy": 0.75,
            "best/step": 20.0,
        }
    )
    assert metrics[1]["test/rmse"] == 3.0
    status = [groups[run].sessions[0].status for run in (first, second)]
    assert status == [SessionStatus.Value("STATUS_SUCCESS"), SessionStatus.Value("STATUS_UNKNOWN")]


def test_a_file_name_that_is_no_text_is_written_all_the_same(store):
    run = begin(store, {"data": {"path": "caf\udce9.csv"}})
    end(store, run)
    found = read(write_run(store, find_run(store, run)))
    assert "_hparams_/session_start_info" in found.PluginTagToContent("hparams")


def test_a_run_goes_on_when_its_events_cannot_be_written(store):
    run = begin(store)
    (find_run(store, run).path / "tensorboard").write_text("in the way")
    plain = list(stretch(store, run, 10, 20))
    notice, *rest = recorded(stretch(store, run, 10, 20), store)
    assert rest == plain
    assert isinstance(notice, Notice)
    assert "tensorboard" in notice.text
    assert "goes on without" in notice.text


def test_a_full_disk_is_told_once(store, monkeypatch):
    from tensorboardX.record_writer import RecordWriter

    run = begin(store)
    told = []
    with monkeypatch.context() as disk:
        for event in recorded(stretch(store, run, 10, 20, 30, 40), store):
            if event == evaluated(10):
                disk.setattr(RecordWriter, "flush", full)
            if event == evaluated(30):
                disk.undo()  # there is room again, but points are missing: nothing more is written
            if isinstance(event, Notice):
                told.append(event.text)
    assert told == ["TensorBoard's events cannot be written ([Errno 28] No space left on device): the run goes on without them"]


def full(_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_folder_that_cannot_be_made_is_named(store, tmp_path):
    run = begin(store)
    end(store, run)
    (tmp_path / "file").touch()
    with pytest.raises(CannotWriteError, match="file"):
        write_run(store, find_run(store, run), tmp_path / "file" / "events")


def test_events_of_a_run_in_training_are_not_taken_from_it(store):
    run = begin(store)
    with pytest.raises(BusyError, match="being trained right now"):
        write_run(store, find_run(store, run))
    assert read(write_run(store, find_run(store, run), store.folder / "copy")).Tags()["scalars"] == []


def test_without_the_package_one_sentence_says_so_before_anything_is_trained(store, monkeypatch):
    monkeypatch.setattr(tensorboard, "find_spec", lambda _: None)

    def never() -> Iterator[Event]:
        raise AssertionError
        yield

    with pytest.raises(MissingInputError, match=r"pip install 'dlx\[tensorboard\]'"):
        recorded(never(), store)


@pytest.fixture
def dlx(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["dlx", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0)

    return run


def test_dlx_train_writes_what_it_stores(dlx):
    tiny = ("digits-mlp", "train.duration=40 steps", "train.evaluate_every=20 steps", "model.hidden=[8]")
    assert dlx("train", *tiny, "-q", "--tensorboard") == 0
    with open_store() as store:
        run = find_run(store, "latest")
        stored = curves(store, run.id)
    found = read(run.path / "tensorboard")
    assert len(stored) >= 5
    for name, values in stored.items():
        assert points(found, name) == pytest.approx(dict(values), rel=1e-6), name
    assert list(points(found, "train/learning_rate")) == [20, 40]
    assert points(found, "test/accuracy") == {run.metrics["best/step"]: pytest.approx(run.metrics["test/accuracy"])}
    assert text(found, "config").splitlines()[0].startswith("    task:")
    (only,) = session_groups(run.path)
    assert only.hparams["optimizer.kind"].string_value == "adamw"
    assert {"test/accuracy", "best/validation/accuracy"} <= {each.name.tag for each in only.metric_values}


def test_stored_runs_are_written_afterwards_each_into_a_folder_of_its_own(dlx, tmp_path):
    with open_store() as store:
        runs = [begin(store) for _ in range(3)]
        for run in runs[:2]:
            measure(store, run, 10, 20)
            end(store, run)
    assert dlx("runs", "export", "--format", "tensorboard", "--status", "completed", "--out", "events") == 0
    assert {folder.name for folder in (tmp_path / "events").iterdir()} == set(runs[:2])
    assert list(points(read(tmp_path / "events" / runs[0]), "train/loss")) == [10, 20]
    assert dlx("runs", "export", "--format", "tensorboard", "--status", "completed") == 0
    assert list(points(read(tmp_path / "results" / "runs" / runs[1] / "tensorboard"), "train/loss")) == [10, 20]
    assert dlx("runs", "export", "--format", "tensorboard") == 75, "the third is in training, and may be writing its own"
    assert dlx("runs", "export", "--format", "tensorboard", "--curves") == 2


def test_a_run_is_complete_whatever_becomes_of_its_pictures(dlx, capsys, monkeypatch):
    def fails(*_: Any) -> None:
        raise CannotWriteError("events: cannot be written: No space left on device")

    monkeypatch.setattr(tensorboard, "write_evaluation", fails)
    tiny = ("digits-mlp", "train.duration=20 steps", "model.hidden=[8]")
    assert dlx("train", *tiny, "-q", "--tensorboard", "--json") == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["status"] == "completed"
    assert "note: TensorBoard has no pictures of the scores: events: cannot be written" in told.err


def test_without_the_package_no_run_is_begun(dlx, monkeypatch, capsys):
    monkeypatch.setattr(tensorboard, "find_spec", lambda _: None)
    assert dlx("train", "digits-mlp", "--tensorboard") == 66
    assert "pip install 'dlx[tensorboard]'" in capsys.readouterr().err
    assert not list(Path("results").glob("runs/*"))


HOSTILE = ("plain", "$x_1", "<b>\udc80數", "very long " * 20)


def evaluation(classes: Sequence[str] = HOSTILE, worst: tuple[Example, ...] = (), **scores: Any) -> Evaluation:
    return Evaluation(
        run="abc",
        name=None,
        data="digits",
        split="test",
        examples=100,
        target="class",
        classes=tuple(classes),
        step=70,
        device="cpu",
        scores=Scores({"accuracy": Measure(0.75)}, {}, **scores),
        headline="accuracy",
        maximize=True,
        resamples=0,
        baselines={},
        slices=(),
        worst=worst,
        importance=(),
        warnings=(),
        seconds={},
    )


def reliability() -> Reliability:
    count = np.array([0, 10, 30, 60])
    right = np.array([np.nan, 0.3, 0.6, 0.9])
    return Reliability(np.linspace(0, 1, 5), right, right, count)


def example(row: int, channels: int) -> Example:
    picture = np.full((28, 28, channels), 200, np.uint8)
    return Example(row, 3.2, HOSTILE[2], HOSTILE[3], 0.99, picture)


def pictures(folder: Path) -> dict[str, tuple[int, np.ndarray]]:
    """By tag the step and the pixels; there is one of each."""
    found = read(folder)
    read_back = {}
    for tag in found.Tags()["images"]:
        (event,) = found.Images(tag)
        image = Image.open(io.BytesIO(event.encoded_image_string))
        assert image.size == (event.width, event.height)
        read_back[tag] = (event.step, np.asarray(image))
    return read_back


@pytest.mark.parametrize("channels", [1, 3])
def test_the_pictures_of_an_evaluation_can_be_looked_at(tmp_path, channels):
    confusion = np.diag([25, 25, 25, 0]) + np.eye(4, k=1, dtype=int)
    judged = evaluation(confusion=confusion, reliability=reliability(), worst=tuple(example(row, channels) for row in range(7)))
    write_evaluation(tmp_path / "tensorboard", judged)
    found = pictures(tmp_path / "tensorboard")
    assert found.keys() == {"test/confusion_matrix", "test/reliability", "test/worst_examples"}
    for step, image in found.values():
        assert step == 70
        assert image.shape[-1] == 3
        assert len(np.unique(image.reshape(-1, 3), axis=0)) > 10, "something is drawn"


def test_a_second_evaluation_takes_the_place_of_the_first(tmp_path):
    write_evaluation(tmp_path, evaluation(confusion=np.eye(4, dtype=int)))
    before = pictures(tmp_path)["test/confusion_matrix"][1]
    write_evaluation(tmp_path, evaluation(confusion=np.ones((4, 4), int)))
    after = pictures(tmp_path)["test/confusion_matrix"][1]
    assert after.shape == before.shape
    assert (after != before).any()


def test_pictures_and_curves_of_a_run_stand_together(store):
    run = begin(store)
    measure(store, run, 10, 20)
    end(store, run)
    folder = write_run(store, find_run(store, run))
    write_evaluation(folder, evaluation(confusion=np.eye(4, dtype=int)))
    assert list(points(read(folder), "train/loss")) == [10, 20]
    assert pictures(folder).keys() == {"test/confusion_matrix"}


def test_a_thousand_classes_are_still_one_picture(tmp_path):
    write_evaluation(tmp_path, evaluation([f"class {n}" for n in range(1000)], confusion=np.eye(1000, dtype=int)))
    _, image = pictures(tmp_path)["test/confusion_matrix"]
    assert max(image.shape) <= 1200


def test_an_evaluation_of_numbers_shows_its_residuals(tmp_path):
    actual = np.linspace(0, 9, 50).reshape(25, 2)
    residuals = Residuals({q: [0.0, 0.1] for q in ("0.05", "0.5", "0.95")}, actual + 0.1, actual)
    write_evaluation(tmp_path, evaluation(("price", "$x_1"), residuals=residuals))
    assert pictures(tmp_path).keys() == {"test/residuals"}


def test_worst_rows_of_a_table_are_no_pictures(tmp_path):
    write_evaluation(tmp_path, evaluation(worst=(Example(3, 2.0, "a", "b", 0.9, columns={"age": "31"}),)))
    assert pictures(tmp_path) == {}
