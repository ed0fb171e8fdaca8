"""The curve of a range test is read as its rules say: on curves whose answers are known, and whatever unit the loss has."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlx.diagnose.suggest import end_of, knee, ladder, read, slide, smooth, steepest, valley
from dlx.errors import UsageError

RATES = ladder(1e-7, 10, 161)  # a twentieth of a decade each


def descent(
    middle: float = 1e-3, *, width: float = 0.3, start: float = 2.3, end: float = 0.5, breaks: float = 0.3
) -> np.ndarray:
    """A loss that stands, falls around `middle` as a logistic function of log10 of the rate, and explodes beyond `breaks`."""
    x = np.log10(RATES)
    fall = (start - end) / (1 + np.exp(-(x - math.log10(middle)) / width))
    return start - fall + 5 * np.maximum(x - math.log10(breaks), 0) ** 2


class TestLadder:
    def test_even_from_the_first_step_to_the_last(self) -> None:
        exponential, linear = ladder(1e-6, 1, 100), ladder(0.1, 0.5, 5, linear=True)
        np.testing.assert_allclose(np.diff(np.log(exponential)), np.log(1e6) / 99, rtol=1e-9)
        assert (exponential[0], exponential[-1]) == (1e-6, 1)
        np.testing.assert_allclose(linear, [0.1, 0.2, 0.3, 0.4, 0.5])


class TestSmooth:
    @given(st.floats(-1e6, 1e6), st.floats(0, 0.999))
    def test_a_constant_loss_is_its_own_average_from_the_first_step_on(self, loss: float, beta: float) -> None:
        np.testing.assert_array_equal(smooth([loss] * 50, beta), loss)

    def test_it_is_the_weighted_mean_of_all_so_far(self) -> None:
        losses, beta = np.random.default_rng(0).normal(size=30), 0.9
        for t in range(30):
            weights = beta ** np.arange(t, -1, -1)
            assert smooth(losses, beta)[t] == pytest.approx(np.average(losses[: t + 1], weights=weights))

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_what_is_not_finite_ends_it(self, bad: float) -> None:
        found = smooth([1.0, 2.0, bad, 1.0], 0.5)
        assert np.isfinite(found).tolist() == [True, True, False, False]
        assert end_of(found, 4) == 2


class TestEnd:
    def test_the_first_above_a_multiple_of_the_best(self) -> None:
        assert end_of([2, 1, 3.9, 4.1, 1], 4) == 3
        assert end_of([2, 1, 3], 4) == 3
        assert end_of([math.inf], 4) == 0


class TestRules:
    def test_the_steepest_slope_is_against_the_logarithm(self) -> None:
        """Against the rate itself the slope of this curve is steepest at its very beginning."""
        losses = descent(1e-2)
        assert steepest(RATES, losses, int(np.argmin(losses))) == pytest.approx(1e-2, rel=0.1)
        assert RATES[np.argmin(np.gradient(losses, RATES))] < 4e-3

    def test_the_valley_is_half_way_through_the_middle_third_of_the_longest_fall(self) -> None:
        up, down = np.arange(10.0), np.arange(20.0, -11.0, -1.0)  # the fall has 31 points, from number 10 on
        losses = np.concatenate([up, down, up - 10])
        assert valley(np.arange(51.0), losses) == 24

    def test_a_rise_here_and_there_does_not_end_the_valley(self) -> None:
        losses = np.arange(60.0, 0, -1)
        losses[::6] += 4
        assert 25 <= valley(np.arange(60.0), losses) <= 35

    def test_the_knee_is_where_a_bent_line_bends(self) -> None:
        losses = np.interp(np.log10(RATES), [-7, -4, -1, 1], [2.0, 2.0, 0.5, 0.5])
        assert knee(RATES, losses, 0, int(np.argmin(losses))) == pytest.approx(1e-4, rel=0.1)

    def test_the_slide_stops_where_the_explosion_no_longer_shows(self) -> None:
        assert 1e-3 < slide(RATES, descent(1e-3)) < 0.3


class TestRead:
    def test_all_rules_lie_in_the_falling_region(self) -> None:
        found = read(RATES, descent(1e-3))
        rules = {each.rule: each.rate for each in found.suggestions}
        assert list(rules) == ["descent", "minimum/10", "valley", "steepest", "slide", "knee"]
        assert found.recommended == pytest.approx(math.sqrt(rules["descent"] * rules["minimum/10"]))
        assert rules["descent"] == pytest.approx(10 ** (-3 + 0.3 * math.log(0.7 / 0.3)), rel=0.15)  # of the logistic function
        assert all(1e-5 < each.rate < 0.3 for each in found.suggestions)
        assert found.base < 1e-3 < found.peak < 0.3
        assert found.base < found.recommended < RATES[np.argmin(descent(1e-3))]

    @settings(max_examples=30)
    @given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
    def test_neither_the_unit_of_the_loss_nor_that_of_the_rate_matters(self, unit: float, factor: float) -> None:
        plain, other = read(RATES, descent()), read(RATES * factor, descent() * unit)
        for ours, theirs in zip(plain.suggestions, other.suggestions, strict=True):
            assert theirs.rate == pytest.approx(ours.rate * factor, rel=1e-6)
        assert other.recommended == pytest.approx(plain.recommended * factor, rel=1e-6)
        assert other.confidence == plain.confidence

    def test_what_cannot_be_read_says_so(self) -> None:
        at_once = read(RATES, np.linspace(0.3, 3.0, 161))  # the lowest loss is the first
        assert at_once.why.startswith("no falling region: from 1e-07 on the smoothed loss falls by 0, to 0.3, no more")
        rising = read(RATES, 0.1 + np.maximum(np.log10(RATES) + 3, 0) ** 2)
        flat = read(RATES, np.full(161, 0.7))
        noise = read(RATES, 1 + 0.1 * np.random.default_rng(0).normal(size=161), noise=0.1)
        for found in (rising, flat, noise):
            assert (found.suggestions, found.recommended, found.base, found.peak) == ((), None, None, None)
            assert found.why.startswith("no falling region: ")
        assert "trained already" in rising.why
        assert "less than 4 times its noise (0.1)" in noise.why

    def test_points_can_be_skipped(self) -> None:
        losses = descent(1e-2)
        losses[:20] = 50 - 2 * np.arange(20)  # a steep fall that is none of the rate's
        fallen, skipped = (
            {each.rule: each.rate for each in found.suggestions}
            for found in (read(RATES, losses), read(RATES, losses, skip_start=20))
        )
        assert fallen["steepest"] < 1e-5
        assert skipped["steepest"] == pytest.approx(1e-2, rel=0.15)
        with pytest.raises(UsageError, match="leave 9 points of the curve"):
            read(RATES, losses, skip_start=100, skip_end=52)

    def test_an_explosion_to_infinity_is_left_out(self) -> None:
        losses = descent(1e-3)
        losses[150:] = np.inf
        assert read(RATES, losses).recommended == pytest.approx(read(RATES[:150], losses[:150]).recommended)
