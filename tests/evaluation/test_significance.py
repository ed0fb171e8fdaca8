"""The statistics keep what they promise: measured under null hypotheses, against known variances and published values."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest, t, ttest_ind

from dlx.evaluation.significance import Estimate, Figure, differ, holm, mcnemar, seed_spread

RESAMPLES = 200


def weights(rng: np.random.Generator, examples: int, resamples: int = RESAMPLES) -> np.ndarray:
    """(resamples, examples) how often each example is in each resample, as shares."""
    return rng.multinomial(examples, np.full(examples, 1 / examples), size=resamples) / examples


def figures(scores: np.ndarray, drawn: np.ndarray) -> list[Figure]:
    """Of scores (candidates, seeds, examples), whose mean is the metric."""
    return [Figure(each.mean(axis=1), each @ drawn.T, each.shape[1]) for each in scores]


def judged(pair: list[Figure]) -> Estimate:
    first, second = pair
    return differ(first, second)


# ------------------------------------------------------------------------------------------------ the luck of the examples


def test_the_paired_bootstrap_keeps_its_level() -> None:
    """Squared errors with heavy tails, which the two networks have in common for the most part."""
    rng = np.random.default_rng(1)
    errors = 0
    for _ in range(400):
        noise = rng.standard_t(5, size=(2, 1, 200)) + rng.standard_normal(200)
        drawn = weights(rng, 200)
        pair = [Figure(np.sqrt(s.mean(axis=1)), np.sqrt(s @ drawn.T), 200) for s in noise**2]
        errors += judged(pair).p < 0.05
    assert 0.025 < errors / 400 < 0.08


def test_a_real_difference_is_found_and_its_interval_holds_it() -> None:
    """Shifted by three tenths of a standard deviation: 80 examples find it about as often as the t test for pairs should."""
    rng = np.random.default_rng(2)
    found = covered = 0
    for _ in range(300):
        score = rng.standard_normal((2, 1, 80)) / np.sqrt(2) + rng.standard_normal(80)
        score[1] += 0.3
        estimate = judged(figures(score, weights(rng, 80)))
        found += estimate.p < 0.05
        covered += estimate.low <= -0.3 <= estimate.high
    power = 1 - t.cdf(t.ppf(0.975, 79) - 0.3 * np.sqrt(80), 79)  # the shift is 0.3 of the difference's deviation, 1
    assert abs(found / 300 - power) < 0.07
    assert 0.92 < covered / 300 < 0.98


def test_equal_figures_do_not_differ() -> None:
    score = np.random.default_rng(3).standard_normal((1, 1, 50)).repeat(2, axis=0)
    estimate = judged(figures(score, weights(np.random.default_rng(3), 50)))
    assert (estimate.value, estimate.low, estimate.high, estimate.p) == (0, 0, 0, 1)


def test_p_and_interval_agree() -> None:
    rng = np.random.default_rng(4)
    for shift in np.linspace(0, 0.6, 30):
        score = rng.standard_normal((2, 1, 60))
        score[1] += shift
        estimate = judged(figures(score, weights(rng, 60)))
        assert (estimate.p < 0.05) == (not estimate.low <= 0 <= estimate.high)


# --------------------------------------------------------------------------------------------------- the luck of the seeds


@pytest.mark.parametrize(
    ("seeds", "of_seed", "of_example", "of_both"),
    [(2, 0.2, 0, 1), (3, 0.2, 0, 1), (3, 1, 0, 1), (3, 0.02, 1, 0.5), (5, 0.1, 0.5, 1), (10, 0.2, 0, 1)],
)
def test_seeds_and_examples_together_keep_the_level(seeds: int, of_seed: float, of_example: float, of_both: float) -> None:
    """Two equal configurations: what differs is luck of the seed, of the examples, and of which examples suit which seed."""
    rng = np.random.default_rng(5)
    errors, plain = 0, 0
    for _ in range(300):
        score = of_seed * rng.standard_normal((2, seeds, 1)) + of_example * rng.standard_normal((2, 1, 100))
        score = score + of_both * rng.standard_normal((2, seeds, 100))
        pair = figures(score, weights(rng, 100))
        errors += judged(pair).p < 0.05
        plain += _one_seed_after_the_other(pair).p < 0.05
    assert errors / 300 < 0.08
    if of_seed == 1:
        assert plain / 300 > 0.3, "without the spread over seeds such a difference is taken for real"


def _one_seed_after_the_other(pair: list[Figure]) -> Estimate:
    """What would be said if the examples were the only luck."""
    first, second = (
        Figure(np.array([figure.mean]), figure.resampled.mean(axis=0, keepdims=True), figure.examples) for figure in pair
    )
    return differ(first, second)


def test_the_interval_has_the_known_width() -> None:
    """Against the variance of the design, sigma_s^2 / S + sigma_e^2 / n + sigma_i^2 / nS for each of the two, in the mean."""
    rng = np.random.default_rng(6)
    seeds, examples, of_seed, of_example, of_both = 20, 100, 0.3, 0.5, 1.0
    variances = []
    for _ in range(100):
        score = of_seed * rng.standard_normal((2, seeds, 1)) + of_example * rng.standard_normal((2, 1, examples))
        score = score + of_both * rng.standard_normal((2, seeds, examples))
        estimate = judged(figures(score, weights(rng, examples)))
        variances.append(((estimate.high - estimate.low) / 2) ** 2)
    known = 2 * (of_seed**2 / seeds + of_example**2 / examples + of_both**2 / (examples * seeds))
    # The t quantile of about 2 (S - 1) + ... degrees of freedom lies between 1.96 and 2.02.
    assert 1.96**2 * 0.93 < np.mean(variances) / known < 2.02**2 * 1.07


def test_many_examples_leave_welchs_test_over_seeds() -> None:
    rng = np.random.default_rng(7)
    score = rng.standard_normal((2, 4, 1)) * np.array([1, 3])[:, None, None] + 1e-6 * rng.standard_normal((2, 4, 300))
    estimate = judged(figures(score, weights(rng, 300)))
    welch = ttest_ind(score[0].mean(axis=1), score[1].mean(axis=1), equal_var=False)
    assert estimate.p == pytest.approx(welch.pvalue, rel=1e-4)
    assert estimate.low == pytest.approx(welch.confidence_interval().low, rel=1e-4)


def test_the_spread_of_others_stands_in_for_a_single_seed() -> None:
    rng = np.random.default_rng(8)
    errors = alone = 0
    for _ in range(300):
        drawn = weights(rng, 100)
        one, five = (
            figures((rng.standard_normal((seeds, 1)) + 0.5 * rng.standard_normal((seeds, 100)))[None], drawn)[0]
            for seeds in (1, 5)
        )
        errors += differ(one, five, seed_spread([one, five])).p < 0.05
        alone += differ(one, five).p < 0.05
    assert errors / 300 < 0.09
    assert alone / 300 > 0.09


def test_one_seed_each_has_no_spread() -> None:
    one = Figure(np.array([0.5]), np.array([np.linspace(0, 1, 1001)]), 10)
    assert seed_spread([one, one]) is None


# ---------------------------------------------------------------------------------------------------------- McNemar's test


@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 7), (3, 12), (40, 71), (900, 1015), (12, 3)])
def test_mcnemar_is_the_binomial_test_less_half_of_what_was_seen(first: int, second: int) -> None:
    exact = binomtest(first, first + second, 0.5).pvalue
    assert mcnemar(first, second, 5000).p == pytest.approx(exact - binom.pmf(first, first + second, 0.5), rel=1e-9)


def test_mcnemar_on_published_counts() -> None:
    """Fagerland et al. 2013, table 2: airway hyper-responsiveness before and after transplantation; mid-p 0.039."""
    assert mcnemar(1, 7, 21).p == pytest.approx(0.0391, abs=5e-5)


@pytest.mark.parametrize("count", [0, 1, 30])
def test_as_many_on_either_side_is_no_difference(count: int) -> None:
    estimate = mcnemar(count, count, 100)
    assert (estimate.value, estimate.p) == (0, 1)
    assert estimate.low < 0 < estimate.high, "no example that only one has right is no proof of equality"


@pytest.mark.parametrize(("share", "least"), [(0.05, 0.005), (0.3, 0.02)])
def test_mcnemar_keeps_its_level(share: float, least: float) -> None:
    """200 examples, of which so many are such that one network at most has them right, either with the same probability."""
    rng = np.random.default_rng(9)
    estimates = []
    for _ in range(1000):
        discordant = rng.binomial(200, share)
        first = rng.binomial(discordant, 0.5)
        estimates.append(mcnemar(int(first), int(discordant - first), 200))
    assert least < np.mean([each.p < 0.05 for each in estimates]) < 0.065
    assert np.mean([each.low <= 0 <= each.high for each in estimates]) > 0.935


def test_mcnemar_finds_a_difference() -> None:
    rng = np.random.default_rng(10)
    found = []
    for _ in range(300):
        first, second, _ = rng.multinomial(500, (0.02, 0.06, 0.92))
        found.append(mcnemar(int(first), int(second), 500).p < 0.05)
    assert np.mean(found) > 0.8


# ------------------------------------------------------------------------------------------------------------- corrections


def test_holm_by_hand() -> None:
    # 0.01 * 4, then 0.02 * 3, 0.03 * 2 (not below the one before), 0.5 * 1; in the order in which they came.
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.4, 0.9]) == pytest.approx([0.8, 0.9])
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_the_best_of_many_equal_ones_is_not_taken_for_better() -> None:
    """Its p values against the others, corrected for all pairs as `compare` does; for the others alone it errs too often."""
    rng = np.random.default_rng(11)
    errors = naive = 0
    for _ in range(300):
        candidates = sorted(figures(rng.standard_normal((6, 1, 60)), weights(rng, 60)), key=lambda figure: -figure.mean)
        pairs = [(i, j) for i in range(6) for j in range(i + 1, 6)]
        found = [differ(candidates[i], candidates[j]).p for i, j in pairs]
        errors += min(holm(found)[:5]) < 0.05
        naive += min(holm(found[:5])) < 0.05
    assert errors / 300 < 0.07
    assert naive / 300 > 0.07
