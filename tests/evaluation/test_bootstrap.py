"""Intervals are those of a plain bootstrap, hold the truth about as often as they say, and come out the same each time."""

import numpy as np
import pytest

from dlx.evaluation import bootstrap, metrics


def drawn(examples: int, resamples: int, seed: int = 0) -> np.ndarray:
    return np.concatenate(list(bootstrap.counts(examples, resamples, seed)))


def classes(n: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(k, size=n)
    return (rng.normal(size=(n, k)) + 1.5 * np.eye(k)[targets]).astype(np.float32).round(1), targets


def labels(n: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = (rng.random((n, k)) < 0.3).astype(np.float32)
    return (rng.normal(size=(n, k)) + targets - 0.5).astype(np.float32).round(1), targets


def numbers(n: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.normal(size=(n, k)).astype(np.float32)
    return (targets + rng.normal(0.2, 0.5, size=(n, k))).astype(np.float32), targets


class TestCounts:
    def test_each_resample_draws_as_many_as_there_are(self) -> None:
        weights = drawn(300, 2000)
        assert weights.shape == (2000, 300)
        assert (weights.sum(1) == 300).all()
        # Multinomial: each count has a mean of 1 and a variance of 1 - 1/n.
        assert weights.mean(0) == pytest.approx(1, abs=0.12)
        assert weights.var() == pytest.approx(1 - 1 / 300, rel=0.01)
        assert np.corrcoef(weights[:, 0], weights[:, 1])[0, 1] == pytest.approx(-1 / 299, abs=0.08)

    def test_the_seed_decides_and_the_first_are_the_same_however_many_follow(self) -> None:
        np.testing.assert_array_equal(drawn(50, 20), drawn(50, 100)[:20])
        assert (drawn(50, 20, seed=1) != drawn(50, 20, seed=2)).any()

    def test_blocks_do_not_change_what_is_drawn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = drawn(101, 30)
        monkeypatch.setattr(bootstrap, "BLOCK_BYTES", 700)
        assert len(list(bootstrap.counts(101, 30, 0))) == 5
        np.testing.assert_array_equal(drawn(101, 30), whole)

    def test_fewer_are_afforded_of_many_examples(self) -> None:
        assert [bootstrap.affordable(n, 1000) for n in (1, 200_000, 1_000_000, 10_000_000)] == [1000, 1000, 200, 100]
        assert bootstrap.affordable(10_000_000, 20) == 20


class TestInterval:
    def test_it_is_the_middle_95_percent(self) -> None:
        values = np.random.default_rng(0).normal(size=(501, 2, 3))
        low, high = bootstrap.interval(values)
        np.testing.assert_allclose(low, np.quantile(values, 0.025, axis=0))
        np.testing.assert_allclose(high, np.quantile(values, 0.975, axis=0))

    def test_resamples_without_a_value_are_left_out(self) -> None:
        values = np.arange(8.0).reshape(4, 2)
        values[1, 0] = np.nan
        low, high = bootstrap.interval(np.column_stack([values, np.full(4, np.nan)]))
        np.testing.assert_allclose(low, [np.quantile([0, 4, 6], 0.025), np.quantile([1, 3, 5, 7], 0.025), np.nan])
        np.testing.assert_allclose(high, [np.quantile([0, 4, 6], 0.975), np.quantile([1, 3, 5, 7], 0.975), np.nan])


@pytest.mark.parametrize(
    ("target", "case"),
    [
        ("class", classes(90, 7)),
        ("class", classes(40, 2)),
        ("class", classes(12, 4)),  # resamples without some of the classes
        ("labels", labels(60, 4)),
        ("labels", labels(9, 3)),
        ("number", numbers(60, 2)),
        ("number", numbers(3, 1)),  # resamples of one example only
    ],
)
def test_each_resample_is_the_metric_of_the_examples_it_drew(target: str, case: tuple[np.ndarray, np.ndarray]) -> None:
    outputs, targets = case
    weights = drawn(len(targets), 10, seed=5)
    copies = [np.repeat(np.arange(len(targets)), row) for row in weights]
    plain = [metrics.overall(target, outputs[rows], targets[rows]) for rows in copies]
    names = set(plain[0]) - {"max_error"}
    assert len(names) >= 6
    for name in names:
        [found] = metrics.paired(target, [outputs], targets, name, resamples=10, seed=5)
        np.testing.assert_allclose(found, [one[name] for one in plain], rtol=1e-9, atol=1e-12, err_msg=name)


def test_rounding_is_no_spread_to_explain() -> None:
    targets = np.full((7, 1), 0.1)
    targets[0] = 0.7
    outputs = targets + np.linspace(-0.3, 0.3, 7)[:, None]
    of_equal_truths = drawn(7, 300)[:, 0] == 0
    assert 50 < of_equal_truths.sum() < 250
    for name in ("r2", "explained_variance"):
        [found] = metrics.paired("number", [outputs], targets, name, resamples=300, seed=0)
        assert (found[of_equal_truths] == 0).all()
        assert (found[~of_equal_truths] != 0).all()


@pytest.mark.parametrize(("target", "case"), [("class", classes(80, 3)), ("labels", labels(50, 3)), ("number", numbers(70, 2))])
def test_intervals_are_those_of_a_plain_bootstrap(target: str, case: tuple[np.ndarray, np.ndarray]) -> None:
    outputs, targets = case
    scores = metrics.measure(target, outputs, targets, resamples=40, seed=3)
    copies = [np.repeat(np.arange(len(targets)), row) for row in drawn(len(targets), 40, seed=3)]
    plain = [metrics.measure(target, outputs[rows], targets[rows], resamples=0) for rows in copies]
    for name, found in scores.overall.items():
        if name not in ("max_error", "ece"):
            expected = np.nanquantile([one.overall[name].value for one in plain], [0.025, 0.975])
            np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-9, err_msg=name)
    for name in set(scores.each) - {"support", "max_error"}:
        for place, found in enumerate(scores.each[name]):
            expected = np.nanquantile([one.each[name][place].value for one in plain], [0.025, 0.975])
            np.testing.assert_allclose([found.low, found.high], expected, rtol=1e-9, err_msg=name)


def test_blocks_do_not_change_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    case = labels(300, 4)
    whole = metrics.measure("labels", *case, resamples=60)
    monkeypatch.setattr(bootstrap, "BLOCK_BYTES", 300 * 25)
    monkeypatch.setattr("dlx.evaluation.metrics.weighted.BLOCK", 1000)
    pieces = metrics.measure("labels", *case, resamples=60)
    for name, found in whole.overall.items():
        assert (pieces.overall[name].low, pieces.overall[name].high) == pytest.approx((found.low, found.high), rel=1e-12)


def test_an_interval_holds_the_true_accuracy_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    truth, held = 0.8, 0
    for seed in range(200):
        right = rng.random(150) < truth
        outputs = np.stack([right, ~right], 1).astype(np.float32)
        [found] = metrics.paired("class", [outputs], np.zeros(150, int), "accuracy", resamples=300, seed=seed)
        low, high = bootstrap.interval(found)
        held += low <= truth <= high
    assert 0.90 <= held / 200 <= 0.99


def test_an_interval_of_the_area_under_the_curve_is_that_of_its_known_deviation() -> None:
    rng = np.random.default_rng(0)
    targets = np.arange(2000) % 2
    outputs = np.stack([np.zeros(2000), rng.normal(size=2000) + targets], 1).astype(np.float32)
    found = metrics.measure("class", outputs, targets, resamples=400).overall["roc_auc"]
    a, n = found.value, 1000
    # Hanley and McNeil 1982
    variance = (a * (1 - a) + (n - 1) * (a / (2 - a) - a**2) + (n - 1) * (2 * a**2 / (1 + a) - a**2)) / n**2
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(variance), rel=0.15)


def test_an_interval_of_the_calibration_error_holds_the_truth_although_noise_adds_to_it() -> None:
    held = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        logits = rng.normal(scale=1.5, size=(2000, 3))
        guess = logits + rng.gumbel(size=logits.shape)  # its largest is a class drawn with the softmax of the logits
        found = metrics.measure("class", 1.6 * logits, guess.argmax(1), resamples=100, seed=seed).overall["ece"]
        assert found.low is not None
        assert found.high is not None
        assert 0 <= found.low <= found.value <= found.high
        held += found.low <= 0.0949 <= found.high  # of two million examples
    assert held >= 34
    # Now the network is calibrated: its error is 0, and every resample is far above.
    found = metrics.measure("class", logits, guess.argmax(1), resamples=100).overall["ece"]
    low, _ = bootstrap.interval(metrics.paired("class", [logits], guess.argmax(1), "ece", resamples=100, seed=0)[0])
    assert found.low is not None
    assert found.low < 0.002 < 0.01 < low


def test_the_same_seed_has_the_same_intervals() -> None:
    case = classes(100, 3)
    first, again, other = (metrics.measure("class", *case, resamples=50, seed=seed) for seed in (0, 0, 1))
    assert first.overall == again.overall
    assert first.each == again.each
    assert first.overall != other.overall


def test_paired_values_are_of_the_same_resamples() -> None:
    outputs, targets = classes(200, 3)
    better = outputs + 2 * np.eye(3, dtype=np.float32)[targets]
    found = metrics.paired("class", [outputs, better, outputs], targets, "accuracy", resamples=100, seed=0)
    assert found.shape == (3, 100)
    np.testing.assert_array_equal(found[0], found[2])
    assert (found[1] > found[0]).all()
    measured = metrics.measure("class", outputs, targets, resamples=100, seed=0).overall["accuracy"]
    assert (measured.low, measured.high) == tuple(bootstrap.interval(found[0]))


def test_without_resamples_there_is_no_interval() -> None:
    scores = metrics.measure("class", *classes(50, 3), resamples=0)
    assert all(each.low is each.high is None for each in scores.overall.values())
    assert all(each.low is each.high is None for several in scores.each.values() for each in several)


def test_what_has_no_interval_has_none_and_nothing_is_undefined_in_it() -> None:
    outputs, targets = classes(50, 3)
    targets[targets == 2] = 1
    scores = metrics.measure("class", outputs, targets, resamples=30)
    assert all(each.low is None for each in scores.each["support"])
    assert np.isnan(scores.each["roc_auc"][2].value)
    assert scores.each["roc_auc"][2].low is None
    assert scores.each["recall"][1].low is not None
    assert metrics.measure("number", *numbers(20, 1), resamples=30).overall["max_error"].low is None


def test_what_needs_an_order_has_no_interval_where_it_would_take_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    case = classes(100, 4)
    full = metrics.measure("class", *case, resamples=300)
    monkeypatch.setattr(metrics, "ORDERED", 100 * 4 * 150)  # resamples of four orders
    fewer = metrics.measure("class", *case, resamples=300)
    assert fewer.overall["accuracy"] == full.overall["accuracy"]
    first = metrics.paired("class", [case[0]], case[1], "roc_auc_macro", resamples=150, seed=0)[0]
    assert (fewer.overall["roc_auc_macro"].low, fewer.overall["roc_auc_macro"].high) == tuple(bootstrap.interval(first))
    monkeypatch.setattr(metrics, "ORDERED", 100 * 4 * 99)
    none = metrics.measure("class", *case, resamples=300)
    assert none.overall["roc_auc_macro"].low is None
    assert none.overall["roc_auc_macro"].value == full.overall["roc_auc_macro"].value
    assert none.overall["accuracy"] == full.overall["accuracy"]
