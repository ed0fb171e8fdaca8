"""What cohorts share: data sets, and programs by structure and number of lanes."""

from collections.abc import Iterator, Sequence
from typing import Any

from dlx import engine
from dlx.config import Experiment
from dlx.data import Dataset
from dlx.engine import Plan
from dlx.experiment.assemble import Assembly, assemble, load_data, plan_for, resolve

MOST_LANES = 64
"""Of a dense program. More lanes win nothing on a CPU, and a cohort's results come at its end."""
MOST_MAPPED = 8
"""Of a convolutional program on a CPU, whose lanes take turns."""


class Bench:
    """Keeps what is loaded and compiled, so that a second cohort of the same structure costs nothing but its steps."""

    def __init__(self) -> None:
        self._datasets: dict[Any, Dataset] = {}
        self._assemblies: dict[tuple[Any, int], Assembly] = {}
        self._lanes: dict[Any, int] = {}

    @property
    def programs(self) -> int:
        """How many programs there are."""
        return len(self._assemblies)

    def resolve(self, config: Experiment) -> Experiment:
        """The config as its run will keep it. Loads its data, once for all configs with the same."""
        return resolve(config, self.dataset(config))

    def dataset(self, config: Experiment) -> Dataset:
        """The config's data."""
        engine.register_configs()
        key = (engine.structure(config.data), str(config.task))
        if key not in self._datasets:
            self._datasets[key] = load_data(config)
        return self._datasets[key]

    def groups(self, configs: Sequence[Experiment]) -> list[list[int]]:
        """The positions of configs of equal structure, in order of the first of each."""
        found: dict[Any, list[int]] = {}
        for position, config in enumerate(configs):
            found.setdefault(engine.structure(config), []).append(position)
        return list(found.values())

    def split(self, group: Sequence[int], config: Experiment) -> Iterator[Sequence[int]]:
        """A group's cohorts: lane counts are powers of two, and no more than a quarter of the lanes idle."""
        most, rest = self._most_lanes(config), group
        while rest:
            full = 1 << (len(rest) - 1).bit_length()
            size = min(most, full if len(rest) >= 0.75 * full else full // 2)
            yield rest[:size]
            rest = rest[size:]

    def assembly(self, configs: Sequence[Experiment]) -> tuple[bool, Assembly]:
        """A cohort of these configs, filled up to a power of two with copies of the last, and whether its program was there."""
        lanes = 1 << (len(configs) - 1).bit_length()
        filled = [*configs, *[configs[-1]] * (lanes - len(configs))]
        key = (engine.structure(configs[0]), lanes)
        if key in self._assemblies:
            return True, self._assemblies[key].with_configs(filled)
        self._assemblies[key] = assemble(filled, self.dataset(configs[0]))
        return False, self._assemblies[key]

    def plan(self, config: Experiment) -> Plan:
        """Steps and monitor of one config's run. Raises `ConfigError` when it does not fit its data."""
        return plan_for(config, self.dataset(config))[1]

    def _most_lanes(self, config: Experiment) -> int:
        key = engine.structure(config)
        if key not in self._lanes:
            dataset = self.dataset(config)
            task, plan = plan_for(config, dataset)
            placement = engine.choose_placement(MOST_LANES, lambda: engine.convolves(task, config, dataset, plan.batch_size))
            self._lanes[key] = MOST_MAPPED if placement.within == "map" else MOST_LANES
        return self._lanes[key]
