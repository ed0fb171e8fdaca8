"""How many trials train together, and what is compiled for them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Timer, get_ident
from typing import Any

import numpy as np
import pytest

from dlx import engine
from dlx.config import Experiment, load_experiment, parse_override
from dlx.errors import RunFailedError
from dlx.sweep import bench as bench_module
from dlx.sweep.bench import LANES_PER_ACCELERATOR, LANES_PER_CORE, MOST_MAPPED, WORTH_PER_ACCELERATOR, WORTH_PER_CORE, Bench

CONVNET = "model={kind: convnet, channels: [2], dense: []}"
FAILING = """
from math import prod
from pathlib import Path
from flax import nnx

class Net(nnx.Module):
    def __init__(self, in_features, out_features, *, rngs):
        self.layer = nnx.Linear(prod(in_features), out_features, rngs=rngs)
        if Path("broken").exists() and Path("broken").read_text() == "build":
            raise ZeroDivisionError("build")

    def __call__(self, x, train):
        if train and Path("broken").exists():
            raise ZeroDivisionError("train")
        return self.layer(x.reshape(len(x), -1))
"""


@pytest.fixture(autouse=True)
def configured() -> None:
    """What one test compiles the others find in the cache."""
    engine.configure()


def most_lanes() -> int:
    return engine.devices(LANES_PER_CORE, LANES_PER_ACCELERATOR)


def trials(bench: Bench, count: int, *overrides: str) -> list[Experiment]:
    words = ("model.hidden=[4]", "data.limit=200", *overrides)
    return [
        bench.resolve(load_experiment("digits-mlp", [parse_override(w) for w in (*words, f"optimizer.lr={i + 1}e-3")]))
        for i in range(count)
    ]


def lanes(bench: Bench, configs: list[Experiment], *, exact: bool = False) -> tuple[bool, int]:
    """Whether the program was there, and how many lanes it has."""
    there, assembly = bench.assembly(configs, exact=exact)
    return there, assembly.cohort.lanes


class TestSize:
    def test_dense_trials_fill_one_program_as_far_as_they_go(self) -> None:
        bench = Bench()
        (config,) = trials(bench, 1)
        most = most_lanes()
        assert [bench.size(count, config, full=False) for count in (1, 3, 11, most, most + 3)] == [1, 3, 11, most, most]

    def test_with_full_no_lane_of_a_dense_program_is_idle(self) -> None:
        bench = Bench()
        (config,) = trials(bench, 1)
        most = most_lanes()
        assert [bench.size(count, config, full=True) for count in (1, 2, 3, 7, 11, most + 3)] == [1, 2, 2, 4, 8, most]

    @pytest.mark.parametrize("full", [False, True])
    def test_no_lane_of_a_convolutional_cohort_is_idle(self, full: bool) -> None:
        bench = Bench()
        (config,) = trials(bench, 1, CONVNET)
        counts = (1, 3, 7, MOST_MAPPED, MOST_MAPPED + 7, 1000)
        assert [bench.size(count, config, full=full) for count in counts] == [1, 2, 4, *[MOST_MAPPED] * 3]

    def test_what_the_device_has_no_room_for_is_remembered_for_that_structure(self) -> None:
        bench = Bench()
        config, other = trials(bench, 1)[0], trials(bench, 1, "model.hidden=[8]")[0]
        most = most_lanes()
        bench.narrow(config, most, most // 2)
        assert bench.size(1000, config, full=False) == most // 2
        bench.narrow(config, 4, 2)
        assert [bench.size(count, config, full=False) for count in (1, 2, 5)] == [1, 2, 2]
        bench.narrow(config, 1, 1)
        assert bench.size(5, config, full=False) == 1  # one at least
        assert bench.size(1000, other, full=False) == most

    def test_a_program_that_found_no_room_is_forgotten(self) -> None:
        bench = Bench()
        configs = trials(bench, 4)
        assert lanes(bench, configs) == (False, 4)
        bench.narrow(configs[0], 4, 2)
        assert lanes(bench, configs[:2]) == (False, 2)  # and not in the one with four lanes


class TestKnee:
    @pytest.fixture
    def accelerator(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(engine, "devices", lambda _core, accelerator: accelerator)
        monkeypatch.setenv("DLX_CACHE", str(tmp_path / "cache"))

    @pytest.mark.usefixtures("accelerator")
    def test_lanes_double_as_long_as_that_paid_and_the_next_sweep_knows(self) -> None:
        bench = Bench()
        config, other = trials(bench, 1)[0], trials(bench, 1, "model.hidden=[8]")[0]
        found = [bench.most_lanes(config)]
        for lanes, seconds in ((256, 1.0), (512, 1.7), (1024, 3.1), (2048, 0.1)):
            bench.paced(config, lanes, seconds)
            found.append(bench.most_lanes(config))
        assert found == [256, 512, 1024, 512, 512]
        assert (Bench().most_lanes(config), bench.most_lanes(other)) == (512, 256)

    @pytest.mark.usefixtures("accelerator")
    def test_the_best_of_several_measurements_counts(self) -> None:
        bench = Bench()
        (config,) = trials(bench, 1)
        for lanes, seconds in ((256, 1.0), (512, 1.9), (512, 1.7), (512, 2.5)):
            bench.paced(config, lanes, seconds)
        assert bench.most_lanes(config) == 1024

    @pytest.mark.usefixtures("accelerator")
    @pytest.mark.parametrize("content", [b"", b"[1]", b'{"a": {"x": 1}}', b"\xff"])
    def test_a_damaged_memory_is_none(self, content: bytes) -> None:
        bench = Bench()
        (config,) = trials(bench, 1)
        bench.paced(config, 256, 1.0)
        (file,) = (Path("cache") / "paces").glob("*.json")
        file.write_bytes(content)
        assert Bench().most_lanes(config) == 256

    def test_a_cpu_has_a_fixed_number(self) -> None:
        bench = Bench()
        (config,) = trials(bench, 1)
        bench.paced(config, most_lanes(), 1.0)
        assert bench.most_lanes(config) == most_lanes()


class TestWidth:
    def test_it_takes_some_dense_lanes_to_be_worth_a_program(self) -> None:
        bench = Bench()
        assert bench.width(trials(bench, 1)[0]) == engine.devices(WORTH_PER_CORE, WORTH_PER_ACCELERATOR) <= most_lanes()

    def test_one_lane_that_takes_turns_is_worth_one(self) -> None:
        bench = Bench()
        assert bench.width(trials(bench, 1, CONVNET)[0]) == 1


class TestAssembly:
    def test_a_program_is_used_again_while_a_quarter_of_its_lanes_has_work(self) -> None:
        bench = Bench()
        configs = trials(bench, 7)
        made = [lanes(bench, configs[:n]) for n in (7, 2, 1, 1)]
        assert made == [(False, 8), (True, 8), (False, 1), (True, 1)]
        assert bench.programs == 2

    def test_the_smallest_that_will_do_is_used(self) -> None:
        bench = Bench()
        configs = trials(bench, 8)
        assert [lanes(bench, configs[:n]) for n in (8, 1, 2, 3)] == [(False, 8), (False, 1), (True, 8), (True, 8)]
        assert lanes(bench, configs[:2], exact=True) == (False, 2)
        assert lanes(bench, configs[:2]) == (True, 2)

    def test_exactly_as_many_lanes_as_it_takes(self) -> None:
        bench = Bench()
        configs = trials(bench, 8)
        made = [lanes(bench, configs[:n], exact=True) for n in (8, 4, 3, 2, 8)]
        assert made == [(False, 8), (False, 4), (True, 4), (False, 2), (True, 8)]

    def test_a_convolutional_program_is_never_used_with_idle_lanes(self) -> None:
        bench = Bench()
        configs = trials(bench, 4, CONVNET)
        assert [lanes(bench, configs[:n]) for n in (4, 2, 4)] == [(False, 4), (False, 2), (True, 4)]

    def test_the_lanes_are_the_configs_and_copies_of_the_last(self) -> None:
        bench = Bench()
        configs = trials(bench, 3)
        rates = []
        for some in (configs, configs[1:]):
            _, assembly = bench.assembly(some)
            assert assembly.config == some[0]
            rates.append(np.asarray(assembly.program.configs.optimizer.lr).tolist())
        assert rates == [pytest.approx([1e-3, 2e-3, 3e-3, 3e-3]), pytest.approx([2e-3, 3e-3, 3e-3, 3e-3])]

    def test_structures_do_not_mix(self) -> None:
        bench = Bench()
        small, large = trials(bench, 2), trials(bench, 2, "model.hidden=[8]")
        assert [lanes(bench, configs)[0] for configs in (small, large, small, large)] == [False, False, True, True]

    def test_the_program_that_was_not_used_for_longest_makes_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("dlx.sweep.bench.MOST_PROGRAMS", 2)
        bench = Bench()
        a, b, c = (trials(bench, 1, f"model.hidden=[{n}]") for n in (4, 5, 6))
        assert [lanes(bench, configs)[0] for configs in (a, b, a, c, a, b)] == [False, False, True, False, True, False]


@pytest.mark.parametrize("ahead", [False, True])
def test_values_that_change_on_the_way_change_in_a_program_that_is_used_again_too(ahead: bool) -> None:
    bench = Bench()
    configs = trials(bench, 1, "replay=[{at: 2, values: {optimizer.lr: 0.5}}]")
    if ahead:
        bench.ahead(configs)
    for _ in range(2):
        _, assembly = bench.assembly(configs)
        assert [at for at, _ in assembly.cohort.changes] == [2]
    bench.close()


class TestAhead:
    @pytest.fixture
    def made(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """The threads that made a program, in order."""
        threads: list[int] = []
        make = bench_module.assemble

        def counted(*arguments: Any) -> Any:
            threads.append(get_ident())
            return make(*arguments)

        monkeypatch.setattr(bench_module, "assemble", counted)
        return threads

    @staticmethod
    def held_back(monkeypatch: pytest.MonkeyPatch, go: Event) -> list[tuple[int, ...]]:
        """Holds compilation ahead back until `go`; gives what was compiled since, by its hidden layers."""
        compiled: list[tuple[int, ...]] = []
        compile_: Callable[..., Any] = Bench._compiled

        def slow(bench: Bench, configs: Sequence[Experiment], dataset: Any) -> Any:
            assert go.wait(60)
            assembly = compile_(bench, configs, dataset)
            compiled.append(vars(configs[0].model)["hidden"])
            return assembly

        monkeypatch.setattr(Bench, "_compiled", slow)
        return compiled

    def test_the_next_of_that_key_compiles_nothing(self, made: list[int]) -> None:
        bench = Bench()
        configs = trials(bench, 4)
        bench.ahead(configs)
        bench.ahead(configs[:3])  # the same program, which is on its way
        known, assembly = bench.assembly(configs)
        assert (known, assembly.cohort.lanes, bench.programs) == (False, 4, 1)
        assert list(assembly.cohort.prepare()) == []
        assert len(made) == 1
        assert made[0] != get_ident()  # in a thread
        bench.ahead(configs)  # it is there
        assert lanes(bench, configs) == (True, 4)
        assert (bench.programs, len(made)) == (1, 1)
        bench.close()

    def test_who_needs_it_waits_for_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bench, go = Bench(), Event()
        compiled = self.held_back(monkeypatch, go)
        configs = trials(bench, 2)
        bench.ahead(configs)
        assert (compiled, bench.programs) == ([], 1)  # and goes on at once
        Timer(0.1, go.set).start()
        assert lanes(bench, configs) == (False, 2)
        assert (compiled, bench.programs) == ([(4,)], 1)
        bench.close()

    def test_the_lanes_are_those_that_are_asked_for_in_the_end(self) -> None:
        bench = Bench()
        configs = trials(bench, 4)
        bench.ahead(configs)
        known, assembly = bench.assembly(configs[1:3])
        assert (known, assembly.config) == (False, configs[1])
        rates = np.asarray(assembly.program.configs.optimizer.lr).tolist()
        assert rates == pytest.approx([2e-3, 3e-3, 3e-3, 3e-3])
        assert bench.programs == 1
        bench.close()

    def test_another_structure_does_not_wait(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bench, go = Bench(), Event()
        compiled = self.held_back(monkeypatch, go)
        bench.ahead(trials(bench, 2))
        assert lanes(bench, trials(bench, 2, "model.hidden=[8]")) == (False, 2)
        assert lanes(bench, trials(bench, 4)) == (False, 4)
        assert (compiled, bench.programs) == ([], 3)
        go.set()
        bench.close()

    @pytest.mark.parametrize("place", ["train", "build"])
    def test_a_network_that_fails_is_told_to_who_needs_it(self, place: str) -> None:
        bench = Bench()
        Path("net.py").write_text(FAILING)
        configs = trials(bench, 2, "model={kind: python, target: 'net.py:Net'}")
        bench.width(configs[0])  # as the sweep does for every trial
        Path("broken").write_text(place)
        bench.ahead(configs)
        with pytest.raises(RunFailedError, match=rf"ZeroDivisionError: {place}"):
            bench.assembly(configs)
        assert bench.programs == 1
        Path("broken").unlink()
        assert lanes(bench, configs) == (False, 2)  # and nothing of it is kept
        bench.close()

    def test_closing_waits_for_what_is_under_way_and_drops_the_rest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bench, go = Bench(), Event()
        compiled = self.held_back(monkeypatch, go)
        bench.ahead(trials(bench, 1))
        bench.ahead(trials(bench, 1, "model.hidden=[8]"))
        Timer(0.5, go.set).start()
        bench.close()
        assert compiled == [(4,)]
        bench.close()

    def test_closing_what_compiled_nothing_ahead(self) -> None:
        Bench().close()


class TestPays:
    @pytest.fixture
    def bench(self) -> Bench:
        return Bench()

    def test_a_smaller_program_must_save_more_than_it_costs(self, bench: Bench) -> None:
        (config,) = trials(bench, 1)
        bench.took(config, 10)
        # Of eight lanes two go on: a program of two saves three quarters of the time.
        assert bench.pays(config, 8, 2, seconds_left=13.4)
        assert not bench.pays(config, 8, 2, seconds_left=13.2)
        assert [bench.pays(config, 8, going, seconds_left=21) for going in (1, 2, 3, 4, 5, 8)] == [True] * 4 + [False] * 2

    def test_one_that_is_there_costs_nothing(self, bench: Bench) -> None:
        configs = trials(bench, 2)
        bench.took(configs[0], 1000)
        assert not bench.pays(configs[0], 8, 2, seconds_left=1)
        bench.assembly(configs)
        assert bench.pays(configs[0], 8, 2, seconds_left=1)
        assert not bench.pays(configs[0], 8, 4, seconds_left=1)

    def test_it_never_pays_without_a_smaller_one_or_without_work(self, bench: Bench) -> None:
        configs = trials(bench, 2)
        bench.assembly(configs)
        assert not bench.pays(configs[0], 2, 2, seconds_left=1e9)
        assert not bench.pays(configs[0], 4, 3, seconds_left=1e9)
        assert not bench.pays(configs[0], 8, 2, seconds_left=0)

    def test_each_structure_has_its_price(self, bench: Bench) -> None:
        config, other = trials(bench, 1)[0], trials(bench, 1, "model.hidden=[8]")[0]
        bench.took(config, 1000)
        assert (bench.pays(config, 8, 2, 10), bench.pays(other, 8, 2, 10)) == (False, True)


def test_data_is_loaded_once_for_all_that_have_the_same() -> None:
    bench = Bench()
    one, two = trials(bench, 2)
    (other,) = trials(bench, 1, "data.limit=100")
    assert bench.dataset(one) is bench.dataset(two)
    assert bench.dataset(one) is not bench.dataset(other)
    assert bench.fingerprint(one) == bench.fingerprint(two) != bench.fingerprint(other)


def test_a_run_can_be_judged_by_the_scores_of_its_task() -> None:
    bench = Bench()
    scores = bench.scores(trials(bench, 1)[0])
    assert (scores["validation/accuracy"], scores["validation/loss"]) == (True, False)
    assert all(name.startswith("validation/") for name in scores)
    assert all(name.startswith("train/") for name in bench.scores(trials(bench, 1, "data.validation=0")[0]))
