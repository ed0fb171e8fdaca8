"""What cohorts share: data sets, and programs by structure and number of lanes."""

from collections.abc import Iterator, Sequence
from typing import Any

from dlx import engine
from dlx.config import Experiment
from dlx.data import Dataset
from dlx.engine import Plan
from dlx.experiment.assemble import (
    Assembly,
    assemble,
    fingerprint,
    load_data,
    plan_for,
    resolve,
    with_absolute_paths,
)
from dlx.tasks import target_kind

MOST_LANES = 32
"""Of a dense program. On two cores 16, 32 and 64 lanes of digits-mlp train 128 trials in the same time, 128 take longer."""
MOST_MAPPED = 8
"""Of a convolutional program on a CPU, whose lanes take turns."""
MOST_PROGRAMS = 16
"""Kept at a time. Each holds some hundred memory maps, of which Linux allows a process 65,530, and its data on the device."""


class Bench:
    """Keeps what is loaded and compiled, so that a second cohort of the same structure costs nothing but its steps."""

    def __init__(self) -> None:
        self._datasets: dict[Any, Dataset] = {}
        self._fingerprints: dict[int, str] = {}
        self._assemblies: dict[tuple[Any, int], Assembly] = {}  # in order of use, the last used last
        self._mapped: dict[Any, bool] = {}
        self.programs = 0
        """How many programs were made."""

    def resolve(self, config: Experiment) -> Experiment:
        """The config as its run will keep it. Loads its data, once for all configs with the same."""
        return resolve(config, self.dataset(config))

    def dataset(self, config: Experiment) -> Dataset:
        """The config's data."""
        config = with_absolute_paths(config)
        key = (engine.structure(config.data), target_kind(config.task) if config.task else None)
        if key not in self._datasets:
            self._datasets[key] = load_data(config)
            inferred = resolve(config, self._datasets[key]).task
            if config.task is None and inferred is not None:
                self._datasets[key[0], target_kind(inferred)] = self._datasets[key]
        return self._datasets[key]

    def fingerprint(self, config: Experiment) -> str:
        """The digest of the config's data."""
        dataset = self.dataset(config)
        if id(dataset) not in self._fingerprints:
            self._fingerprints[id(dataset)] = fingerprint(dataset)
        return self._fingerprints[id(dataset)]

    def groups(self, configs: Sequence[Experiment]) -> list[list[int]]:
        """The positions of configs of equal structure, in order of the first of each."""
        found: dict[Any, list[int]] = {}
        for position, config in enumerate(configs):
            found.setdefault(engine.structure(config), []).append(position)
        return list(found.values())

    def split(self, group: Sequence[int], config: Experiment) -> Iterator[Sequence[int]]:
        """A group's cohorts, none larger than its program can have lanes."""
        mapped, rest = self._is_mapped(config), group
        while rest:
            # Lanes that take turns cost time each: none may be idle. Of the others a few idle ones cost less than a program.
            size = min(MOST_MAPPED, 1 << (len(rest).bit_length() - 1)) if mapped else min(MOST_LANES, len(rest))
            yield rest[:size]
            rest = rest[size:]

    def assembly(self, configs: Sequence[Experiment]) -> tuple[bool, Assembly]:
        """A cohort of these configs, filled up with copies of the last, and whether its program was there.

        Lanes are a power of two. A program that is there is used with up to three quarters of its lanes idle.
        """
        structure, count = engine.structure(configs[0]), len(configs)
        mapped = self._is_mapped(configs[0])
        there = [k for s, k in self._assemblies if s == structure and count <= k <= (count if mapped else 4 * count)]
        lanes = min(there, default=1 << (count - 1).bit_length())
        filled = [*configs, *[configs[-1]] * (lanes - count)]
        made = self._assemblies.pop((structure, lanes), None)
        if made is None:
            while len(self._assemblies) >= MOST_PROGRAMS:
                del self._assemblies[next(iter(self._assemblies))]
            self.programs += 1
        ready = assemble(filled, self.dataset(configs[0])) if made is None else made.with_configs(filled)
        self._assemblies[structure, lanes] = ready
        return made is not None, ready

    def plan(self, config: Experiment) -> Plan:
        """Steps and monitor of one config's run. Raises `ConfigError` when it does not fit its data."""
        return plan_for(config, self.dataset(config))[1]

    def _is_mapped(self, config: Experiment) -> bool:
        """Whether lanes of this structure take turns."""
        key = engine.structure(config)
        if key not in self._mapped:
            dataset = self.dataset(config)
            task, plan = plan_for(config, dataset)
            placement = engine.choose_placement(MOST_LANES, lambda: engine.convolves(task, config, dataset, plan.batch_size))
            self._mapped[key] = placement.within == "map"
        return self._mapped[key]
