"""What a store promises, on SQLite and on PostgreSQL alike."""

import math
import re
from collections.abc import Callable

import pytest
from sqlalchemy import text

from dlx.errors import BusyError, CannotWriteError, Status, UsageError
from dlx.store import (
    Ending,
    NewRun,
    RunUpdate,
    Store,
    claim_run,
    curves,
    delete_run,
    find_named,
    find_run,
    finish_runs,
    heartbeat,
    list_runs,
    open_store,
    record,
    rename_run,
    rewind_run,
    start_run,
)

MakeRun = Callable[..., NewRun]


def elsewhere(store: Store, run_id: str, seconds_ago: float) -> None:
    """Makes the run look held by a process on another machine, whose last sign of life is that old."""
    with store.write() as connection:
        connection.execute(
            text("UPDATE dlx_runs SET host = 'node7', process_space = 'node7', heartbeat = heartbeat - :ago WHERE id = :id"),
            {"ago": seconds_ago, "id": run_id},
        )


class TestStoreContract:
    def test_a_new_run_is_running_and_has_a_folder(self, any_store: Store, new_run: MakeRun) -> None:
        run_id = start_run(any_store, new_run(lanes=8, lane=3))
        run = find_run(any_store, run_id)
        assert re.fullmatch("[0-9a-f]{8}", run_id)
        assert (run.status, run.step, run.epoch, run.finished, run.metrics) == (Status.RUNNING, 0, 0, None, {})
        assert (run.lanes, run.lane, run.monitor, run.direction) == (8, 3, "validation/accuracy", "maximize")
        assert (run.config, run.environment, run.command) == (new_run().config, new_run().environment, "dlx train")
        assert run.path == any_store.run_folder(run_id)
        assert run.path.is_dir()
        assert [(s.from_step, s.to_step, s.device, s.outcome) for s in run.segments] == [(0, None, "cpu", None)]

    def test_metrics_are_curves_and_latest_values(self, any_store: Store, new_run: MakeRun) -> None:
        run_id = start_run(any_store, new_run())
        record(any_store, [RunUpdate(run_id, 10, 1, {"train/loss": 0.5, "validation/loss": 0.6})])
        record(any_store, [RunUpdate(run_id, 20, 2, {"train/loss": 0.4})])
        run = find_run(any_store, run_id)
        assert curves(any_store, run_id) == {"train/loss": [(10, 0.5), (20, 0.4)], "validation/loss": [(10, 0.6)]}
        assert curves(any_store, run_id, ["train/loss"], after=10) == {"train/loss": [(20, 0.4)]}
        assert (run.metrics, run.step, run.epoch) == ({"train/loss": 0.4, "validation/loss": 0.6}, 20, 2)

    def test_one_call_records_many_runs_and_many_steps(self, any_store: Store, new_run: MakeRun) -> None:
        lanes = [start_run(any_store, new_run(lanes=4, lane=lane)) for lane in range(4)]
        record(
            any_store,
            [RunUpdate(run_id, step, 0, {"loss/x": step + lane}) for lane, run_id in enumerate(lanes) for step in (1, 2)],
        )
        assert [curves(any_store, run_id)["loss/x"] for run_id in lanes] == [
            [(1, 1 + lane), (2, 2 + lane)] for lane in range(4)
        ]
        assert {run.step for run in list_runs(any_store)} == {2}

    def test_recording_a_step_again_replaces_it(self, any_store: Store, new_run: MakeRun) -> None:
        run_id = start_run(any_store, new_run())
        for value in (1.0, 2.0):
            record(any_store, [RunUpdate(run_id, 5, 0, {"train/loss": value})])
        assert curves(any_store, run_id) == {"train/loss": [(5, 2.0)]}

    def test_an_update_without_metrics_moves_the_step(self, any_store: Store, new_run: MakeRun) -> None:
        run_id = start_run(any_store, new_run())
        record(any_store, [RunUpdate(run_id, 7, 0)])
        record(any_store, [])
        assert find_run(any_store, run_id).step == 7

    def test_numbers_that_are_not_finite_survive(self, any_store: Store, new_run: MakeRun) -> None:
        run_id = start_run(any_store, new_run(config={"optimizer": {"clip": math.inf}}))
        record(any_store, [RunUpdate(run_id, 1, 0, {"a/nan": math.nan, "a/up": math.inf, "a/down": -math.inf})])
        record(any_store, [RunUpdate(run_id, 2, 0, {"a/tiny": 5e-324, "a/third": 1 / 3})])
        run, values = find_run(any_store, run_id), {name: points[0][1] for name, points in curves(any_store, run_id).items()}
        for kept in (run.metrics, values):
            assert math.isnan(kept["a/nan"])
            assert (kept["a/up"], kept["a/down"], kept["a/tiny"], kept["a/third"]) == (math.inf, -math.inf, 5e-324, 1 / 3)
        assert float(run.config["optimizer"]["clip"]) == math.inf

    def test_big_steps_fit(self, any_store: Store, new_run: MakeRun) -> None:
        run_id = start_run(any_store, new_run(steps_total=10**12))
        record(any_store, [RunUpdate(run_id, 10**12, 0, {"train/loss": 1.0})])
        assert curves(any_store, run_id) == {"train/loss": [(10**12, 1.0)]}

    def test_a_finished_run_keeps_its_outcome_and_summary(self, any_store: Store, new_run: MakeRun) -> None:
        run_id = start_run(any_store, new_run())
        record(any_store, [RunUpdate(run_id, 100, 10, {"train/loss": 0.1, "validation/accuracy": 0.90})])
        best = {"test/accuracy": 0.97, "validation/accuracy": 0.95}
        finish_runs(any_store, [Ending(run_id, Status.COMPLETED, "early stop", 100, 10, best, {"train": 1.5})])
        run = find_run(any_store, run_id)
        assert (run.status, run.message, run.seconds) == (Status.COMPLETED, "early stop", {"train": 1.5})
        assert run.metrics == {"train/loss": 0.1, "test/accuracy": 0.97, "validation/accuracy": 0.95}
        assert curves(any_store, run_id)["validation/accuracy"] == [(100, 0.90)]  # the curve says what was measured there
        assert run.finished is not None
        assert [(s.to_step, s.outcome) for s in run.segments] == [(100, Status.COMPLETED)]

    def test_a_rewind_takes_back_what_will_be_measured_again(self, any_store: Store, new_run: MakeRun) -> None:
        run_id = start_run(any_store, new_run())
        for step in (10, 20, 30):
            record(any_store, [RunUpdate(run_id, step, step // 10, {"train/loss": 1 / step})])
        finish_runs(any_store, [Ending(run_id, Status.INTERRUPTED, "SIGTERM", 30, 3, {}, {"train": 2.0})])
        claim_run(any_store, run_id, "gpu")
        run = find_run(any_store, run_id)
        assert (run.status, run.message, run.finished, run.step, run.epoch) == (Status.RUNNING, "", None, 30, 3)
        assert (run.metrics, len(curves(any_store, run_id)["train/loss"])) == ({"train/loss": 1 / 30}, 3)
        assert [(s.from_step, s.to_step) for s in run.segments] == [(0, 30), (30, None)]
        rewind_run(any_store, run_id, 20)
        run = find_run(any_store, run_id)
        assert (run.status, run.step, run.epoch) == (Status.RUNNING, 20, 2)
        assert curves(any_store, run_id) == {"train/loss": [(10, 1 / 10), (20, 1 / 20)]}
        assert run.metrics == {"train/loss": 1 / 20}
        finish_runs(any_store, [Ending(run_id, Status.COMPLETED, "", 100, 10, {}, {"train": 3.0})])
        run = find_run(any_store, run_id)
        assert run.seconds == {"train": 5.0}  # time spent is added up
        assert [(s.from_step, s.to_step, s.device, s.outcome) for s in run.segments] == [
            (0, 30, "cpu", Status.INTERRUPTED),
            (20, 100, "gpu", Status.COMPLETED),
        ]

    def test_a_run_that_lives_cannot_be_claimed_or_deleted(self, any_store: Store, new_run: MakeRun) -> None:
        run_id = start_run(any_store, new_run())
        with pytest.raises(BusyError, match="holds it"):
            claim_run(any_store, run_id, "cpu")
        with pytest.raises(BusyError, match="holds it"):
            delete_run(any_store, run_id)

    @pytest.mark.parametrize(("seconds_ago", "status"), [(60, Status.RUNNING), (130, Status.LOST)])
    def test_a_run_elsewhere_lives_by_its_heartbeat(
        self, any_store: Store, new_run: MakeRun, seconds_ago: float, status: Status
    ) -> None:
        run_id = start_run(any_store, new_run())
        elsewhere(any_store, run_id, seconds_ago)
        assert find_run(any_store, run_id).status == status
        assert [run.id for run in list_runs(any_store, status=status)] == [run_id]
        assert list_runs(any_store, status=Status.LOST if status is Status.RUNNING else Status.RUNNING) == []

    def test_a_process_whose_run_was_taken_must_stop(self, any_store: Store, new_run: MakeRun) -> None:
        run_id = start_run(any_store, new_run())
        elsewhere(any_store, run_id, 0)
        with pytest.raises(BusyError, match=f"run {run_id} was resumed by process .* on node7"):
            record(any_store, [RunUpdate(run_id, 1, 0, {"train/loss": 1.0})])
        with pytest.raises(BusyError):
            finish_runs(any_store, [Ending(run_id, Status.COMPLETED, "", 1, 0, {}, {})])
        with pytest.raises(BusyError):
            rewind_run(any_store, run_id, 0)
        before = find_run(any_store, run_id).heartbeat
        heartbeat(any_store)
        assert find_run(any_store, run_id).heartbeat == before
        assert curves(any_store, run_id) == {}

    @pytest.mark.parametrize("ended", [Status.COMPLETED, Status.INTERRUPTED, Status.FAILED])
    def test_a_run_that_another_process_took_and_ended_stays_as_it_is(
        self, any_store: Store, new_run: MakeRun, ended: Status
    ) -> None:
        run_id = start_run(any_store, new_run())
        finish_runs(any_store, [Ending(run_id, ended, "by the other", 100, 10, {"test/accuracy": 0.9}, {"train": 1.0})])
        elsewhere(any_store, run_id, 1000)
        before = find_run(any_store, run_id)
        with pytest.raises(BusyError, match="this process has lost it"):
            finish_runs(any_store, [Ending(run_id, Status.FAILED, "late", 1, 0, {"test/accuracy": 0.1}, {"train": 5.0})])
        assert find_run(any_store, run_id) == before

    @pytest.mark.parametrize("ended", [Status.COMPLETED, Status.DIVERGED, Status.PRUNED])
    def test_a_run_that_has_ended_for_good_cannot_be_claimed(self, any_store: Store, new_run: MakeRun, ended: Status) -> None:
        run_id = start_run(any_store, new_run())
        finish_runs(any_store, [Ending(run_id, ended, "", 70, 7, {}, {})])
        before = find_run(any_store, run_id)
        with pytest.raises(UsageError, match=f"run {run_id} is {ended} at step 70"):
            claim_run(any_store, run_id, "cpu")
        assert find_run(any_store, run_id) == before

    def test_a_lost_run_can_be_claimed_and_its_segment_ends_with_its_last_word(
        self, any_store: Store, new_run: MakeRun
    ) -> None:
        run_id = start_run(any_store, new_run())
        record(any_store, [RunUpdate(run_id, 40, 4, {"train/loss": 1.0})])
        elsewhere(any_store, run_id, 1000)
        lost = find_run(any_store, run_id)
        assert "is gone since step 40" in lost.message
        claim_run(any_store, run_id, "cpu")
        rewind_run(any_store, run_id, 30)
        first, second = find_run(any_store, run_id).segments
        assert (first.outcome, first.to_step, first.ended) == (Status.LOST, 40, lost.heartbeat)
        assert (second.from_step, second.outcome) == (30, None)
        record(any_store, [RunUpdate(run_id, 31, 3)])  # it is this process's now

    def test_anybody_may_close_the_run_of_a_dead_process(self, any_store: Store, new_run: MakeRun) -> None:
        run_id = start_run(any_store, new_run())
        elsewhere(any_store, run_id, 1000)
        finish_runs(any_store, [Ending(run_id, Status.LOST, "reaped", 0, 0, {}, {})])
        assert (find_run(any_store, run_id).status, find_run(any_store, run_id).message) == (Status.LOST, "reaped")

    def test_a_heartbeat_is_a_sign_of_life_of_all_that_this_process_holds(self, any_store: Store, new_run: MakeRun) -> None:
        first, second, ended, foreign = (start_run(any_store, new_run()) for _ in range(4))
        finish_runs(any_store, [Ending(ended, Status.COMPLETED, "", 100, 10)])
        elsewhere(any_store, foreign, 60)
        before = {run.id: run.heartbeat for run in list_runs(any_store)}
        heartbeat(any_store)
        later = {run.id for run in list_runs(any_store) if run.heartbeat > before[run.id]}
        assert later == {first, second}

    def test_delete_takes_everything_of_that_run_only(self, any_store: Store, new_run: MakeRun) -> None:
        gone, kept = (start_run(any_store, new_run(name=name)) for name in ("gone", "kept"))
        record(any_store, [RunUpdate(run_id, 1, 0, {"train/loss": 1.0}) for run_id in (gone, kept)])
        (any_store.run_folder(gone) / "config.yaml").write_text("task: {}")
        finish_runs(any_store, [Ending(gone, Status.FAILED, "", 1, 0, {}, {})])
        delete_run(any_store, gone)
        assert [run.id for run in list_runs(any_store)] == [kept]
        assert not any_store.run_folder(gone).exists()
        assert any_store.run_folder(kept).is_dir()
        with any_store.read() as connection:
            for table in ("dlx_metrics", "dlx_segments"):
                assert connection.execute(text(f"SELECT DISTINCT run_id FROM {table}")).scalars().all() == [kept]

    @pytest.mark.parametrize(
        "name", ["'; DROP TABLE dlx_runs; --", "<script>alert(1)</script>", "Größe 100 % _ \\ 実験", "x" * 200]
    )
    def test_a_name_is_data(self, any_store: Store, new_run: MakeRun, name: str) -> None:
        run_id = start_run(any_store, new_run(name=name))
        assert find_run(any_store, name).id == run_id
        assert [run.name for run in list_runs(any_store, name=name)] == [name]

    @pytest.mark.parametrize("name", ["", "  ", "two\nlines", "bell\a", "\u202ereversed", "\ud800", "x" * 201, "latest"])
    def test_a_name_that_cannot_be_shown_is_refused(self, any_store: Store, new_run: MakeRun, name: str) -> None:
        with pytest.raises(UsageError, match="name"):
            start_run(any_store, new_run(name=name))
        assert list_runs(any_store) == []

    def test_names_are_not_identities(self, any_store: Store, new_run: MakeRun) -> None:
        older, newer = start_run(any_store, new_run(name="twin")), start_run(any_store, new_run(name="twin"))
        assert find_run(any_store, "twin").id == newer
        assert find_run(any_store, older).name == "twin"
        rename_run(any_store, newer, "other")
        named = find_named(any_store, "twin")
        assert named is not None
        assert named.id == older
        rename_run(any_store, older, None)
        assert find_named(any_store, "twin") is None

    def test_a_name_can_be_asked_for_once(self, any_store: Store, new_run: MakeRun) -> None:
        first = start_run(any_store, new_run(name="nightly"), unless_named=True)
        with pytest.raises(BusyError, match=f"run {first} of that name was just started .* run the command again"):
            start_run(any_store, new_run(name="nightly"), unless_named=True)
        start_run(any_store, new_run(name="Nightly"), unless_named=True)
        for _ in range(2):  # no name is nobody's name
            start_run(any_store, new_run(name=None), unless_named=True)
        assert len(list_runs(any_store)) == len(list(any_store.runs_folder.iterdir())) == 4

    def test_messages_and_metric_names_may_hold_anything(self, any_store: Store, new_run: MakeRun) -> None:
        run_id = start_run(any_store, new_run(command="dlx train \udcff"))
        record(any_store, [RunUpdate(run_id, 1, 0, {"'\"; <b>": 1.0})])
        finish_runs(any_store, [Ending(run_id, Status.FAILED, "NUL \0 and half a pair \ud800", 1, 0, {}, {})])
        run = find_run(any_store, run_id)
        assert (run.message, run.command) == ("NUL \ufffd and half a pair ?", "dlx train ?")
        assert curves(any_store, run_id) == {"'\"; <b>": [(1, 1.0)]}

    @pytest.mark.parametrize(
        "act",
        [
            delete_run,
            lambda s, r: rename_run(s, r, "x"),
            lambda s, r: claim_run(s, r, "cpu"),
            lambda s, r: rewind_run(s, r, 0),
        ],
    )
    def test_an_unknown_run_is_a_usage_error(self, any_store: Store, act: Callable[[Store, str], None]) -> None:
        with pytest.raises(UsageError, match="has no run deadbeef"):
            act(any_store, "deadbeef")

    def test_a_transaction_that_fails_leaves_nothing(self, any_store: Store, new_run: MakeRun) -> None:
        run_id = start_run(any_store, new_run())
        with pytest.raises(UsageError):
            record(any_store, [RunUpdate(run_id, 1, 0, {"train/loss": 1.0}), RunUpdate("deadbeef", 1, 0, {"train/loss": 1.0})])
        assert curves(any_store, run_id) == {}

    def test_what_was_stored_is_there_when_opened_again(self, any_url: str, new_run: MakeRun) -> None:
        with open_store(any_url) as store:
            run_id = start_run(store, new_run())
            record(store, [RunUpdate(run_id, 1, 0, {"train/loss": 0.25})])
        with open_store(any_url, create=False) as store:
            assert curves(store, run_id) == {"train/loss": [(1, 0.25)]}

    def test_no_folder_no_run(self, any_store: Store, new_run: MakeRun) -> None:
        any_store.folder.mkdir(exist_ok=True)
        (any_store.folder / "runs").write_text("a file where the folder should be")
        with pytest.raises(CannotWriteError, match="runs"):
            start_run(any_store, new_run())
        assert list_runs(any_store) == []
