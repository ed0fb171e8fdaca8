"""What a sweep would do: a dry run of its first batch. Compiles, and trains nothing."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from dlx import engine
from dlx.config import Experiment, Override
from dlx.config.load import Document
from dlx.config.space import apply
from dlx.config.sweep import Sweep
from dlx.errors import ConfigError, DataError, MissingInputError
from dlx.events import PlannedGroup, SweepPlanned
from dlx.sweep.bench import Bench
from dlx.sweep.propose import Proposer
from dlx.sweep.rungs import rungs
from dlx.sweep.setup import batch_size, goals_of, planned, prepared, total_trials


def plan_sweep(sweep: Sweep, document: Document, overrides: Sequence[Override], max_seconds: float | None) -> SweepPlanned:
    """Proposes a first batch and compiles its programs. Raises what `sweep_runs` raises before its first trial."""
    engine.configure()
    sweep, overrides, base = prepared(sweep, document, overrides)
    bench = Bench()
    base = bench.resolve(base)
    plan = planned(sweep, bench, base)
    tree = base.model_dump(mode="json")
    total = total_trials(sweep, tree, timed=max_seconds is not None)
    proposer = Proposer(
        sweep.search,
        sweep.sampler,
        tree,
        goals_of(sweep, plan, bench.scores(base)),
        sweep.enqueue,
        sweep.group,
    )
    size = batch_size(sweep, proposer, bench, base)
    groups: dict[Any, list[tuple[Experiment, Mapping[str, Any]]]] = {}
    failures = []
    for number, proposal in enumerate(proposer.ask((), size if total is None else min(size, total))):
        try:
            config = bench.ready(apply(document, overrides, proposal.params))
        except (ConfigError, DataError, MissingInputError) as error:
            failures.append(f"trial {number}: {error}")
            continue
        groups.setdefault(engine.structure(config), []).append((config, proposer.structure(proposal.params)))
    return SweepPlanned(
        total,
        min(size, total or size),
        plan.monitor,
        plan.maximize,
        engine.describe_device(),
        {key: dimension.model_dump(mode="json") for key, dimension in sweep.search.items()},
        sweep.sampler.model_dump(mode="json"),
        sweep.pruner.model_dump(mode="json"),
        rungs(sweep.pruner, plan.evaluations),
        plan.evaluations,
        tuple(_group(bench, [config for config, _ in group], group[0][1], sweep.seeds) for group in groups.values()),
        tuple(failures),
    )


def _group(bench: Bench, configs: Sequence[Experiment], values: Mapping[str, Any], seeds: int) -> PlannedGroup:
    lanes = [config for config in configs for _ in range(seeds)]
    began = time.perf_counter()
    _, assembly = bench.assembly(lanes[: bench.size(len(lanes), lanes[0], full=False)])
    needed = assembly.program.memory_bytes()
    return PlannedGroup(
        len(configs),
        assembly.cohort.lanes,
        assembly.program.parameters(),
        assembly.plan.total_steps,
        needed,
        time.perf_counter() - began,
        values,
    )
