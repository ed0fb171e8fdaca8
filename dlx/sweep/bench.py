"""What cohorts share: data sets, and programs by structure and number of lanes."""

import re
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import jax

from dlx import engine
from dlx.config import Experiment
from dlx.data import Dataset
from dlx.engine import Plan
from dlx.experiment.assemble import (
    Assembly,
    assemble,
    fingerprint,
    load_data,
    monitored,
    plan_for,
    resolve,
    with_absolute_paths,
)
from dlx.places import cache_folder
from dlx.sweep.paces import Paces
from dlx.tasks import target_kind

LANES_PER_CORE, LANES_PER_ACCELERATOR = 16, 256
"""Of a dense program. Two cores are busy from 8 lanes on, whatever the network; with 32 a cohort's own costs are small beside
its steps; from 64 on it is slower. How many keep an accelerator busy depends on the network: see `KNEE`."""
MOST_PER_ACCELERATOR = 4096
KNEE = 1.8
"""Twice as many lanes take twice as long where a device is busy. Where a step takes less than this times as long, they pay."""
WORTH_PER_CORE, WORTH_PER_ACCELERATOR = 4, 64
"""Lanes below which a dense program leaves the device half idle, so that it pays to wait for more."""
MOST_MAPPED = 8
"""Lanes of a convolutional program on a CPU, which take turns."""
MOST_PROGRAMS = 16
"""Kept at a time. Each holds some hundred memory maps, of which Linux allows a process 65,530, and its data on the device."""


T = TypeVar("T")


def filled_up(items: Sequence[T], lanes: int) -> list[T]:
    """One for each lane: the last again for those that nobody needs."""
    return [*items, *[items[-1]] * (lanes - len(items))]


def _paces_file() -> Path:
    """Where the paces of this kind of device are."""
    kind = re.sub(r"[^\w.-]+", "-", f"{engine.describe_device()} jax {jax.__version__}")
    return cache_folder("paces") / f"{kind}.json"


class Bench:
    """Keeps what is loaded and compiled, so that a second cohort of the same structure costs nothing but its steps."""

    def __init__(self) -> None:
        # On a CPU the number of lanes is fixed, and a pace good for this process alone.
        grows = self.ceiling < engine.devices(LANES_PER_CORE, MOST_PER_ACCELERATOR)
        self._paces = Paces(_paces_file() if grows else None)
        self._datasets: dict[Any, Dataset] = {}
        self._fingerprints: dict[int, str] = {}
        self._assemblies: dict[tuple[Any, int], Assembly] = {}  # in order of use, the last used last
        self._mapped: dict[Any, bool] = {}
        self._most: dict[Any, int] = {}
        self._compile_seconds: dict[Any, float] = {}
        self._ahead = ThreadPoolExecutor(1, "dlx-compile")
        self._coming: dict[tuple[Any, int], Future[Assembly]] = {}
        self.programs = 0
        """How many programs were made."""

    @property
    def ceiling(self) -> int:
        """The lanes of a dense program on this machine, as long as nothing is known of it."""
        return engine.devices(LANES_PER_CORE, LANES_PER_ACCELERATOR)

    def resolve(self, config: Experiment) -> Experiment:
        """The config as its run will keep it. Loads its data, once for all configs with the same."""
        return resolve(config, self.dataset(config))

    def ready(self, config: Experiment) -> Experiment:
        """The config as its run will keep it, with its network built once: raises whatever is wrong with either."""
        resolved = self.resolve(config)
        self.plan(resolved)
        self._is_mapped(resolved)
        return resolved

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

    def width(self, config: Experiment) -> int:
        """How many lanes of this structure it takes to be worth a program of their own. One, where lanes take turns."""
        return 1 if self._is_mapped(config) else engine.devices(WORTH_PER_CORE, WORTH_PER_ACCELERATOR)

    def size(self, count: int, config: Experiment, *, full: bool) -> int:
        """How many of `count` waiting lanes to train at once; with `full` as many as leave no lane of a program idle."""
        mapped, most = self._is_mapped(config), self.most_lanes(config)
        # Lanes that take turns cost time each: none may be idle. Of the others a few idle ones cost less than a program.
        return min(most, 1 << (count.bit_length() - 1)) if mapped or full else min(most, count)

    def narrow(self, config: Experiment, lanes: int, fitting: int) -> None:
        """Remembers that the device has no room for so many lanes of this structure, and how many to try next."""
        self._most[engine.structure(config)] = fitting
        self._assemblies.pop((engine.structure(config), lanes), None)

    def assembly(self, configs: Sequence[Experiment], *, exact: bool = False) -> tuple[bool, Assembly]:
        """A cohort of these configs, filled up with copies of the last, and whether an earlier one used its program.

        Lanes are a power of two. A program that is there is used with up to three quarters of its lanes idle, unless the
        number is to be `exact`.
        """
        key = self._key(configs, exact=exact)
        filled = filled_up(configs, key[1])
        known = key in self._assemblies
        made = self._coming.pop(key).result() if key in self._coming else self._assemblies.pop(key, None)
        if made is None:
            self.programs += 1
        ready = assemble(filled, self.dataset(configs[0])) if made is None else made.with_configs(filled)
        while len(self._assemblies) >= MOST_PROGRAMS:
            del self._assemblies[next(iter(self._assemblies))]
        self._assemblies[key] = ready
        return known, ready

    def ahead(self, configs: Sequence[Experiment]) -> None:
        """Begins to compile the program of a cohort to come, in a thread, while another one trains."""
        key = self._key(configs, exact=False)
        if key not in self._assemblies and key not in self._coming:
            filled = filled_up(configs, key[1])
            self.programs += 1
            self._coming[key] = self._ahead.submit(self._compiled, filled, self.dataset(configs[0]))

    def close(self) -> None:
        """Drops what is still to be compiled."""
        self._ahead.shutdown(cancel_futures=True)

    def _key(self, configs: Sequence[Experiment], *, exact: bool) -> tuple[Any, int]:
        """The program of a cohort of these configs: its structure and its number of lanes."""
        structure, count = engine.structure(configs[0]), len(configs)
        lanes = engine.lanes_for(count)
        most = lanes if exact or self._is_mapped(configs[0]) else 4 * count
        there = (k for s, k in (*self._assemblies, *self._coming) if s == structure and lanes <= k <= most)
        return structure, min(there, default=lanes)

    def took(self, config: Experiment, seconds: float) -> None:
        """Remembers what it took to make a program of this structure."""
        self._compile_seconds[engine.structure(config)] = seconds

    def paced(self, config: Experiment, lanes: int, seconds: float) -> None:
        """Remembers what a step of so many lanes takes, evaluations included."""
        self._paces.add(engine.structure(config), lanes, seconds)

    def alone(self, config: Experiment, count: int, steps_left: int) -> bool:
        """Whether `count` lanes that go on should have a program without idle lanes, and not the next larger one that is there."""
        structure = engine.structure(config)
        wider = min((k for s, k in self._assemblies if s == structure and k > engine.lanes_for(count)), default=0)
        pace = self._paces.of(structure).get(wider)
        return pace is None or self.pays(config, wider, count, steps_left * pace)

    def pays(self, config: Experiment, lanes: int, going: int, seconds_left: float) -> bool:
        """Whether the lanes that go on of a cohort of `lanes`, with so much work before them, should have a smaller program."""
        structure, smaller = engine.structure(config), engine.lanes_for(going)
        if smaller >= lanes:
            return False
        cost = 0.0 if (structure, smaller) in self._assemblies else self._compile_seconds.get(structure, 0.0)
        return seconds_left * (1 - smaller / lanes) > cost

    def plan(self, config: Experiment) -> Plan:
        """Steps and monitor of one config's run. Raises `ConfigError` when it does not fit its data."""
        return plan_for(config, self.dataset(config))[1]

    def scores(self, config: Experiment) -> dict[str, bool]:
        """The metrics that a run can be judged by, and whether more of each is better."""
        dataset = self.dataset(config)
        return monitored(config, dataset, plan_for(config, dataset)[0])

    def _compiled(self, configs: Sequence[Experiment], dataset: Dataset) -> Assembly:
        """A cohort whose functions are all compiled."""
        began = time.perf_counter()
        assembly = assemble(configs, dataset)
        for _ in assembly.cohort.prepare():
            pass
        self.took(configs[0], time.perf_counter() - began)
        return assembly

    def _knee(self, config: Experiment) -> int:
        """How many lanes of this structure keep the device busy: twice as many as long as that paid, by the cohorts so far."""
        paces, lanes = self._paces.of(engine.structure(config)), self.ceiling
        most = engine.devices(LANES_PER_CORE, MOST_PER_ACCELERATOR)
        while 2 * lanes <= most and lanes in paces and paces.get(2 * lanes, 0.0) < KNEE * paces[lanes]:
            lanes *= 2
        return lanes

    def _is_mapped(self, config: Experiment) -> bool:
        """Whether lanes of this structure take turns."""
        key = engine.structure(config)
        if key not in self._mapped:
            dataset = self.dataset(config)
            task, plan = plan_for(config, dataset)
            placement = engine.choose_placement(self.ceiling, lambda: engine.convolves(task, config, dataset, plan.batch_size))
            self._mapped[key] = placement.within == "map"
        return self._mapped[key]

    def most_lanes(self, config: Experiment) -> int:
        """The most lanes of this structure that train at once."""
        most = MOST_MAPPED if self._is_mapped(config) else self._knee(config)
        return max(1, min(most, self._most.get(engine.structure(config), most)))
