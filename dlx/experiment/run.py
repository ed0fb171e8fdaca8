"""Training a config from the start, or continuing a run: iterators of events that keep the store up to date."""

import json
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

from dlx import engine
from dlx.config import Experiment
from dlx.config.load import differences, to_yaml, validate_stored
from dlx.data import Dataset
from dlx.engine import Progress
from dlx.errors import BusyError, ConfigError, DataError, Status
from dlx.events import DataLoaded, Decision, Event, Finished, Notice, Started
from dlx.experiment.assemble import Assembly, assemble, fingerprint, load_data, resolve, with_absolute_paths
from dlx.experiment.clock import Stopwatch
from dlx.experiment.environment import capture, command_line, git_state, sources
from dlx.experiment.interrupts import Interrupts
from dlx.experiment.session import Heartbeat, Manner, Session, checkpoint_folder, closing_on_error
from dlx.experiment.start_from import begin as begin_from
from dlx.experiment.start_from import check_origin, origin_of, origin_recorded
from dlx.store import NewRun, RunRecord, Store, claim_run, find_named, rewind_run, start_run

RANGE_TEST = "range_test"
"""What marks, in a run's environment, that it is the record of a range test, in which nothing was trained to be kept."""

Tune = Callable[[Experiment], Generator[Event, None, tuple[Experiment, Mapping[str, Any]]]]
"""Finds an experiment's rate: the experiment under it, and what is to be remembered of how it was found."""


def start(
    config: Experiment,
    store: Store,
    *,
    name: str | None = None,
    max_seconds: float | None = None,
    unless_named: bool = False,
    tune: Tune | None = None,
    start_from: RunRecord | None = None,
) -> Iterator[Event]:
    """Trains a config as a new run, under the rate that `tune` finds. Ends with `Finished`, or with a `DlxError` that the record
    holds too. It begins with those weights of `start_from` that agree with its own in name and shape.

    With `unless_named` a run of that name that another process has just started is a `BusyError`.
    """
    watch, deadline = _begin(max_seconds)
    found: Mapping[str, Any] = {}
    if tune is not None:  # nothing is stored yet, so nothing has to be saved when a signal comes
        config, found = yield from tune(config)
        watch.lap("lr-find")
    with Interrupts() as interrupts, Heartbeat(store):
        dataset = load_data(config)
        watch.lap("data")
        yield loaded(dataset)
        assembly = assemble([resolve(config, dataset)], dataset)
        plan = assembly.plan
        origin = None if start_from is None else origin_of(start_from)
        notes = () if origin is None else check_origin(origin, assembly.cohort, assembly.config, dataset.preprocessing)
        commit, changes = git_state()
        environment: dict[str, Any] = {
            **capture(),
            "git": commit,
            "data": fingerprint(dataset),
            "sources": sources(assembly.config),
            **({"lr_find": found} if found else {}),
            **({"start_from": origin.record} if origin else {}),
        }
        run_id = start_run(
            store,
            NewRun(
                config=assembly.config.model_dump(mode="json"),
                environment=environment,
                steps_total=plan.total_steps,
                steps_per_epoch=plan.steps_per_epoch,
                monitor=plan.monitor,
                direction="maximize" if plan.maximize else "minimize",
                name=name,
                command=command_line(),
                device=environment["device"],
            ),
            unless_named=unless_named,
        )
        folder = store.run_folder(run_id)
        session = Session(store, [run_id], assembly, watch, interrupts, deadline, _alone(run_id))

        def begin() -> Generator[Event, Decision | None, Progress]:
            engine.write_atomically(folder / "config.yaml", to_yaml(assembly.config).encode())
            engine.write_atomically(folder / "preprocessing.json", json.dumps(dataset.preprocessing, indent=1).encode())
            if changes:
                engine.write_atomically(folder / "changes.diff", changes.encode())
            yield _started(assembly, session, name, 0, resumed=False)
            return (yield from begin_from(assembly.cohort, origin, notes))

        yield from session.run(begin())


def resume(run: RunRecord, store: Store, *, max_seconds: float | None = None) -> Iterator[Event]:
    """Continues a run exactly where its last checkpoint left it; a run that is complete is only reported.

    Raises `BusyError` when a live process trains it, `DataError` when its data or its checkpoint has changed.
    """
    if RANGE_TEST in run.environment:
        name = f" ({run.name})" if run.name else ""
        raise ConfigError(
            f"run {run.id}{name} is a range test of `dlx lr-find`: there is nothing to train on; name another run"
        )
    if run.status is Status.RUNNING:
        raise BusyError(f"run {run.id} is being trained by another process right now; wait for it or stop it")
    if not run.status.resumable:
        yield Finished(
            run.id, run.status, f"{run.message} (earlier: there is nothing left to do)", run.step, run.metrics, run.path
        )
        return
    watch, deadline = _begin(max_seconds)
    with Interrupts() as interrupts, Heartbeat(store):
        config = validate_stored(run.config, f"run {run.id}")
        environment = capture()
        # Claimed before anything is read: from here on no other process can take, finish or remove the run.
        claim_run(store, run.id, environment["device"])
        with closing_on_error(store, run):
            dataset = load_data(config)
            watch.lap("data")
            yield loaded(dataset)
            if run.environment.get("data") != fingerprint(dataset):
                raise DataError(
                    f"run {run.id} was started on other data than {dataset.name} holds now: bring that data back, or start anew"
                )
            yield from _differences(run, environment, sources(config))
            assembly = assemble([config], dataset)
        session = Session(store, [run.id], assembly, watch, interrupts, deadline, _alone(run.id))
        yield from session.run(_continue(run, session))


def _continue(run: RunRecord, session: Session) -> Generator[Event, Decision | None, Progress]:
    """The progress that the run's newest checkpoint holds, or a fresh one where it has none."""
    cohort, folder = session.assembly.cohort, checkpoint_folder(session.folders[0])
    if engine.newest_step(folder) is not None:
        progress = yield from cohort.restore([folder])
    else:
        if run.step:
            yield Notice(f"{folder} holds no checkpoint: the run begins again at step 0, it had come to step {run.step}")
        progress = yield from begin_from(cohort, origin_recorded(run, session.store))
    rewind_run(session.store, run.id, progress.step)
    yield _started(session.assembly, session, run.name, progress.step, resumed=True)
    return progress


def resume_or_start(
    config: Experiment,
    store: Store,
    *,
    name: str,
    max_seconds: float | None = None,
    tune: Tune | None = None,
    start_from: RunRecord | None = None,
) -> Iterator[Event]:
    """What cron wants: continues the newest run of a name if it is unfinished, reports it if complete, else starts it.

    A run that is there keeps the rate that was found for it: `tune` is for a new one.
    Raises `ConfigError` when the run of that name was started with another config.
    """
    run = find_named(store, name)
    if run is None:
        yield from start(config, store, name=name, max_seconds=max_seconds, unless_named=True, tune=tune, start_from=start_from)
        return
    stored = validate_stored(run.config, f"run {run.id}")
    if RANGE_TEST in run.environment:
        raise ConfigError(f"run {run.id} ({name}) is a range test of `dlx lr-find`: choose another --name to train under")
    found = {f"{key} was" for key in run.environment.get("lr_find", {}).get("set", {})} if tune is not None else set()
    changes = [each for each in _changes(config, stored) if not each.startswith(tuple(found))]
    begun = run.environment.get("start_from", {}).get("run")
    if start_from is not None and begun != start_from.id:
        how = "fresh weights" if begun is None else f"weights of run {begun}"
        raise ConfigError(f"run {run.id} ({name}) began with {how}: leave out --start-from, or choose another --name")
    if changes:
        raise ConfigError(
            f"run {run.id} ({name}) was started with another config: {'; '.join(changes)}; choose another --name to train this one"
        )
    yield from resume(run, store, max_seconds=max_seconds)


def _alone(run_id: str) -> Manner:
    return Manner(again=f"dlx train --resume {run_id}")


def _begin(max_seconds: float | None) -> tuple[Stopwatch, float | None]:
    engine.configure()
    return Stopwatch(), None if max_seconds is None else time.monotonic() + max_seconds


def loaded(dataset: Dataset) -> DataLoaded:
    """What was loaded, as it is told."""
    return DataLoaded(dataset.name, len(dataset.train), len(dataset.validation), len(dataset.test), dataset.report)


def _started(assembly: Assembly, session: Session, name: str | None, step: int, *, resumed: bool) -> Started:
    plan = assembly.plan
    return Started(
        run=session.runs[0],
        name=name,
        path=session.folders[0],
        step=step,
        total_steps=plan.total_steps,
        steps_per_epoch=plan.steps_per_epoch,
        batch_size=plan.batch_size,
        parameters=assembly.program.parameters(),
        monitor=plan.monitor,
        device=engine.describe_device(),
        resumed=resumed,
    )


def _differences(run: RunRecord, environment: dict[str, Any], sources_now: dict[str, str]) -> Iterator[Notice]:
    """Says where this machine or the user's own code is not that of the start: bits may then differ."""
    for file, digest in run.environment.get("sources", {}).items():
        if sources_now.get(file) != digest:
            yield Notice(f"{file} has changed since the run was started: it goes on with the new code, so not bit for bit")
    was, now = run.environment, environment
    pairs = [("device", was.get("device"), now["device"]), ("python", was.get("python"), now["python"])]
    packages_was, packages_now = was.get("packages", {}), now["packages"]
    pairs += [(name, packages_was.get(name), packages_now[name]) for name in ("jax", "jaxlib", "flax", "optax", "numpy")]
    changed = [f"{name} {old} -> {new}" for name, old, new in pairs if old != new]
    if changed:
        yield Notice(f"not the same machine or versions ({', '.join(changed)}): the run goes on, but not bit for bit")


def _changes(config: Experiment, stored: Experiment) -> list[str]:
    """The fields in which a config, once resolved, would differ from a stored one: `key was a, now b`."""
    task = config.task or stored.task
    now = with_absolute_paths(config.model_copy(update={"task": task}))
    return differences(stored.model_dump(mode="json"), now.model_dump(mode="json"))
