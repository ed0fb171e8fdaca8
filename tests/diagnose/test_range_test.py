"""The range test on real digits: even ladder, seeds as lanes, honest ends, and nothing of the config is changed."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from dlx.config import Experiment, load_experiment, parse_override
from dlx.diagnose.lr_find import find, tuned
from dlx.diagnose.range_curve import RangeCurve, RangeFound, RangeTest, Skips, standard_error
from dlx.diagnose.suggest import smooth
from dlx.errors import ConfigError, UsageError
from dlx.events import Evaluated, Notice
from dlx.experiment.assemble import assemble, load_data, resolve


def config(*words: str) -> Experiment:
    return load_experiment("digits-mlp", [parse_override(word) for word in ("model.hidden=[16]", "model.dropout=0", *words)])


def drained(events: Any) -> tuple[list[Any], Any]:
    seen = []
    while True:
        try:
            seen.append(next(events))
        except StopIteration as end:
            return seen, end.value


def found(variants: dict[str, Experiment] | Experiment, **settings: Any) -> RangeFound:
    variants = variants if isinstance(variants, dict) else {"": variants}
    return drained(find(variants, RangeTest(**settings), Skips()))[1]


def curve(chosen: Experiment, **settings: Any) -> RangeCurve:
    return found(chosen, **settings).findings[0].curve


def test_digits_fall_and_explode_and_the_recommended_rate_lies_between() -> None:
    sgd = config("optimizer.kind=sgd", "optimizer.momentum=0.9", "model.normalization=none")
    finding = found(sgd, seeds=3, highest=100.0).findings[0]
    assert finding.curve.losses.shape == (3, 100)
    np.testing.assert_allclose(finding.curve.rates[[0, -1]], [1e-7, 100])
    assert np.isinf(finding.curve.median[-1])
    assert 1e-3 < finding.changes["optimizer.lr"] < 1
    assert finding.reading.base < finding.reading.peak


@pytest.mark.optimized
def test_a_seed_alone_is_the_same_as_among_others_and_twice_is_the_same() -> None:
    alone, again, among = (curve(config(), seeds=seeds, rates=20) for seeds in (1, 1, 2))
    np.testing.assert_array_equal(alone.losses, again.losses)
    np.testing.assert_allclose(among.losses[0], alone.losses[0], rtol=1e-4)
    assert not np.allclose(among.losses[0], among.losses[1])


def test_the_first_loss_is_that_of_fresh_weights_and_the_validation_loss_is_one_of_all_its_rows() -> None:
    for validation in (False, True):
        still = curve(config("model.normalization=none"), rates=12, lowest=1e-9, highest=1e-8, validation=validation)
        assert still.losses[0] == pytest.approx(still.losses[0][0], rel=0.5)  # at such rates nothing is learned
        assert (np.ptp(still.losses) < 1e-2) == validation  # and without mini-batches nothing is noise


def test_variants_of_one_structure_share_a_program_and_each_has_its_own_curve() -> None:
    variants = {f"wd={decay}": config(f"optimizer.weight_decay={decay}") for decay in (0.0, 300.0)}
    variants["batch=32"] = config("train.batch_size=32")
    events, result = drained(find(variants, RangeTest(rates=12, seeds=2, lowest=1e-4, highest=0.1), Skips()))
    assert [finding.label for finding in result.findings] == list(variants)
    assert sum(type(event).__name__ == "Compiled" and event.program == "train" for event in events) == 2
    alone = curve(variants["wd=300.0"], rates=12, seeds=2, lowest=1e-4, highest=0.1)
    np.testing.assert_allclose(result.findings[1].curve.losses, alone.losses, rtol=1e-3)
    assert not np.allclose(result.findings[0].curve.losses[:, 5:], alone.losses[:, 5:], rtol=1e-3)


def test_lanes_that_do_not_fit_together_are_tested_one_half_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    together = curve(config("optimizer.kind=sgd"), rates=12, seeds=2)
    fits = iter([0.0, 1e18, 1e18])  # of both lanes, of each alone
    monkeypatch.setattr("dlx.engine.memory_limit", lambda: next(fits))
    apart = curve(config("optimizer.kind=sgd"), rates=12, seeds=2)
    np.testing.assert_allclose(apart.losses, together.losses, rtol=1e-3)


def test_in_constant_mode_every_rate_is_a_training_of_its_own() -> None:
    """The loss after k steps at a rate is that of a plain training at that rate."""
    # Adam divides small gradients by their own size: the last bits, which lanes may differ in, would show.
    measured = curve(config("optimizer.kind=sgd"), rates=10, steps=8, lowest=1e-4, highest=1.0, validation=True)
    for index in (0, 6):
        rate = measured.rates[index]
        words = (
            "optimizer.kind=sgd",
            f"optimizer.lr={rate}",
            "train.duration=8 steps",
            "train.evaluate_every=8 steps",
            "schedule={kind: constant}",
        )
        plain = config(*words)
        dataset = load_data(plain)
        cohort = assemble([resolve(plain, dataset)], dataset).cohort
        _, progress = drained(cohort.start())
        events, _ = drained(cohort.train(progress))
        losses = [event.metrics[0]["validation/loss"] for event in events if isinstance(event, Evaluated)]
        assert measured.losses[0, index] == pytest.approx(losses[-1], rel=1e-3)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_on_a_quadratic_divergence_is_flagged_within_one_ladder_step_of_the_largest_stable_rate(
    tmp_path: Path, momentum: float
) -> None:
    """Full-batch descent on mean((x . w - y) ** 2) of a linear network is stable below 2 (1 + momentum) / lambda, the largest
    eigenvalue of its Hessian 2 X'X / n. Each rate has its own 300 steps, so that a rate just above it shows.
    """
    generator = np.random.default_rng(0)
    x = (generator.normal(size=(64, 3)) * [3.0, 1.0, 0.5]).astype(np.float32)
    y = (x @ [1.0, -2.0, 0.5]).astype(np.float32)
    np.savez(tmp_path / "q.npz", x=x, y=y)
    quadratic = load_experiment(
        {
            "data": {"kind": "npz", "path": str(tmp_path / "q.npz"), "validation": 0, "test": 0, "standardize": False},
            "task": {"kind": "regress"},
            "model": {"kind": "linear"},
            "optimizer": {"kind": "sgd", "momentum": momentum, "weight_decay": 0.0},
            "train": {"batch_size": "full"},
        }
    )
    dataset = load_data(quadratic)
    design = np.concatenate([dataset.train.inputs.astype(np.float64), np.ones((len(dataset.train), 1))], 1)  # with the bias
    largest = 2 * (1 + momentum) / np.linalg.eigvalsh(2 * design.T @ design / len(design)).max()
    measured = curve(quadratic, rates=60, steps=300, lowest=largest / 10, highest=largest * 10)
    best = int(np.argmin(measured.median))
    flagged = measured.rates[best + np.argmax(measured.median[best:] > 0.1 * np.mean(y**2))]
    factor = measured.rates[1] / measured.rates[0]
    assert largest / factor <= flagged <= largest * factor * (1 + 1e-9)


def test_the_standard_error_is_that_of_repeated_smoothing() -> None:
    """Of losses that only scatter, with a part that all seeds share: measured over many tests."""
    generator = np.random.default_rng(0)
    shared, own = generator.normal(size=(400, 1, 100)), generator.normal(size=(400, 4, 100))
    tests = shared + 0.5 * own
    last = [np.mean([smooth(seed, 0.9)[-1] for seed in losses]) for losses in tests]
    estimates = [standard_error(losses, 0.9) for losses in tests]
    assert np.mean(estimates) == pytest.approx(np.std(last), rel=0.1)


def test_a_trained_network_has_no_falling_region(trained: Path) -> None:
    result = drained(find({"": config()}, RangeTest(seeds=2), Skips(), trained))[1]
    assert not result.falls
    assert "no falling region: " in result.findings[0].reading.why
    assert result.findings[0].changes == {}


def test_a_test_begins_with_the_weights_that_it_is_given(trained: Path) -> None:
    fresh, later = curve(config(), rates=10), drained(find({"": config()}, RangeTest(rates=10), Skips(), trained))[1]
    assert later.findings[0].curve.losses[0, 0] < 0.1 * fresh.losses[0, 0]


@pytest.mark.optimized
def test_the_model_before_is_the_model_after_bit_for_bit(trained: Path) -> None:
    """State is a value: a test changes neither a training around it nor the weights that it begins with."""

    def weights() -> list[np.ndarray]:
        chosen = config("train.duration=10 steps")
        dataset = load_data(chosen)
        cohort = assemble([resolve(chosen, dataset)], dataset).cohort
        _, progress = drained(cohort.start())
        _, progress = drained(cohort.train(progress))
        return [np.asarray(leaf) for leaf in jax.tree.leaves(progress.lanes)]

    files = {path: path.read_bytes() for path in trained.iterdir()}
    before = weights()
    drained(find({"": config()}, RangeTest(rates=10), Skips(), trained))
    for mine, same in zip(before, weights(), strict=True):
        np.testing.assert_array_equal(mine, same)
    assert {path: path.read_bytes() for path in trained.iterdir()} == files


def test_auto_takes_what_the_test_recommends_and_without_a_falling_region_keeps_the_rate_and_says_so() -> None:
    events, (changed, remembered) = drained(tuned(config()))
    assert changed.optimizer.lr == remembered["set"]["optimizer.lr"] == pytest.approx(remembered["recommended"], rel=1e-2)
    assert "optimizer.lr=auto: optimizer.lr=" in events[-1].text
    hopeless = config("optimizer.kind=sgd", "optimizer.lr=0.123", "task.label_smoothing=0", "optimizer.clip_norm=1e-12")
    events, (changed, remembered) = drained(tuned(hopeless))
    assert changed == hopeless
    assert remembered["set"] == {}
    (notice,) = (event for event in events if isinstance(event, Notice))
    assert "no falling region" in notice.text
    assert "the rate stays at 0.123: no falling region: " in notice.text


def test_a_triangular_schedule_gets_both_its_bounds() -> None:
    finding = found(config("schedule.kind=triangular"), seeds=2).findings[0]
    reading = finding.reading
    assert finding.changes["optimizer.lr"] == pytest.approx(reading.peak, rel=1e-2)
    assert finding.changes["schedule.base"] * finding.changes["optimizer.lr"] == pytest.approx(reading.base, rel=1e-2)


@pytest.mark.parametrize(
    ("settings", "words", "error", "sentence"),
    [
        ({"lowest": 1.0, "highest": 0.1}, (), UsageError, "the first must be above 0, and below the second"),
        ({"rates": 9}, (), UsageError, "--steps 9: fewer than 10 rates say nothing"),
        ({"rates": 9, "steps": 5}, (), UsageError, "--rates 9: fewer than 10 rates say nothing"),
        ({"beta": 1.0}, (), UsageError, "at least 0 and below 1"),
        ({"stop": 1.0}, (), UsageError, "above 1"),
        ({"validation": True}, ("data.validation=0",), ConfigError, "--validation needs a validation part"),
        ({}, ("optimizer.kind=rprop", "schedule={kind: constant}"), ConfigError, "there is no rate to find"),
    ],
)
def test_what_cannot_be_tried_is_a_sentence(settings: Any, words: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        curve(config(*words), **settings)
