"""Reading a gradient from losses on a ladder of steps: functions whose derivatives are known."""

from collections.abc import Callable

import numpy as np
import pytest

from dlx.diagnose.differences import LADDER, Slopes, read, rounding, tolerance

EPSILON = 2.0**-52
STEPS = np.asarray(LADDER)
Function = Callable[[np.ndarray], np.ndarray]


def slopes_of(function: Function, x: float, derivative: float) -> Slopes:
    """What is measured of a function of one number at x, along one direction, beside a gradient that may be wrong."""
    along = np.array([1.0, -0.7])  # two directions, of which the second goes backward
    plus, minus = (np.stack([function(x + sign * scale * STEPS) for scale in along]) for sign in (1, -1))
    return Slopes(derivative * along, float(function(np.array(x))), plus, minus, np.zeros(2))


def reading(function: Function, x: float, derivative: float, *, epsilon: float = EPSILON, beside: float = 1.0):
    slopes = slopes_of(function, x, derivative)
    return read(slopes, rounding([slopes], epsilon), epsilon, beside)


SMOOTH = {
    "exp": (np.exp, 0.3, np.exp(0.3)),
    "a line": (lambda x: 3 * x + 1, 0.5, 3.0),
    "sin, fast": (lambda x: np.sin(40 * x), 0.1, 40 * np.cos(4.0)),
    "tiny": (lambda x: 1 + 1e-6 * np.sin(x), 0.5, 1e-6 * np.cos(0.5)),
    "huge": (lambda x: 1e8 * np.tanh(x), 0.2, 1e8 / np.cosh(0.2) ** 2),
    "a kink near by": (lambda x: np.exp(2 * x) + np.abs(x - 1e-4), 0.0, 1.0),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_the_right_derivative_is_right_and_its_error_is_shown(name):
    function, x, derivative = SMOOTH[name]
    found = reading(function, x, derivative, beside=abs(derivative))
    assert found.verdict == "right"
    assert found.error <= tolerance(EPSILON)


@pytest.mark.parametrize("factor", [-1, 0.5, 2, 1.001, 1 - 1e-5])
def test_a_wrong_factor_is_wrong_and_named(factor):
    found = reading(np.exp, 0.3, factor * np.exp(0.3))
    assert found.verdict == "wrong"
    assert found.why.startswith("it is off by" if abs(factor - 1) < 0.005 else f"it is {factor:.4g} times what it should be")


def test_the_taylor_remainder_falls_with_the_square_of_the_step_only_for_the_right_derivative():
    assert reading(np.exp, 0.3, np.exp(0.3)).order == pytest.approx(2, abs=0.02)
    assert reading(np.exp, 0.3, 1.1 * np.exp(0.3)).order == pytest.approx(1, abs=0.02)
    assert reading(lambda x: 3 * x, 0.5, 3.0).order is None  # nothing remains of a line


def test_a_derivative_that_was_cut_off_is_said_to_be():
    assert "detached" in reading(np.exp, 0.3, 0.0).why


def test_a_derivative_of_something_rounded_is_said_to_be():
    found = reading(lambda x: np.round(x) + 1, 0.3, 1.0)
    assert found.verdict == "wrong"
    assert "rounded" in found.why


@pytest.mark.parametrize("slope", [-1.0, 0.3, 1.0])
def test_at_a_kink_no_slope_between_is_called_wrong(slope):
    assert reading(lambda x: np.abs(x) + np.sin(x), 0.0, 1.0 + slope).verdict == "kink"


def test_the_middle_of_a_kink_is_what_differences_say():
    assert reading(lambda x: np.abs(x) + np.sin(x), 0.0, 1.0).verdict == "right"


def test_at_a_kink_a_slope_far_beyond_both_sides_is_wrong():
    assert reading(lambda x: np.abs(x) + np.sin(x), 0.0, 1000.0).verdict == "wrong"


def test_a_kink_does_not_excuse_what_is_wrong_beside_it():
    assert reading(lambda x: np.abs(x - 0.01) + np.sin(x), 0.0, 0.5).verdict == "wrong"


def test_what_the_loss_does_not_depend_on_is_zero():
    assert reading(lambda x: 0 * x + 2.5, 0.1, 0.0).verdict == "zero"
    assert reading(lambda x: 0 * x + 2.5, 0.1, 1e-17).verdict == "zero"


def test_a_loss_that_jumps_everywhere_decides_nothing():
    def rough(x: np.ndarray) -> np.ndarray:
        return 2 + np.sin(1e9 * x)

    found = reading(rough, 0.1, 1.0)
    assert found.verdict == "undecidable"
    assert found.why


def test_a_gradient_that_is_not_finite_is_wrong_where_the_loss_is():
    assert reading(np.exp, 0.3, float("nan")).verdict == "wrong"


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "right"), (0.5, "wrong"), (1.02, "wrong")])
def test_losses_in_float32_are_judged_by_their_own_rounding(factor, verdict):
    def single(x: np.ndarray) -> np.ndarray:
        return np.exp(x.astype(np.float32)).astype(np.float64)

    derivative = factor * float(np.exp(np.float32(0.3)))
    assert reading(single, float(np.float32(0.3)), derivative, epsilon=2.0**-23).verdict == verdict


def test_a_single_wrong_coordinate_among_many_is_seen():
    rng = np.random.default_rng(0)
    x = rng.normal(size=100)
    along = np.eye(100)

    def values(sign: int) -> np.ndarray:  # sum of exp, a coordinate at a time
        return np.exp(x).sum() + np.exp(x)[:, None] * (np.exp(sign * STEPS) - 1)

    gradient = np.exp(x) * np.where(np.arange(100) == 7, 1.01, 1.0)
    slopes = Slopes(along @ gradient, float(np.exp(x).sum()), values(1), values(-1), np.zeros(100))
    assert read(slopes, rounding([slopes], EPSILON), EPSILON, 1.0).verdict == "wrong"


def test_a_direction_in_which_the_loss_jumps_does_not_hide_a_wrong_one():
    smooth, jumps = slopes_of(np.exp, 0.3, -np.exp(0.3)), slopes_of(lambda x: np.where(x > 0.3, 9.0, 1.0), 0.3, 0.0)
    parts = zip(vars(smooth).values(), vars(jumps).values(), strict=True)
    both = Slopes(*(a if isinstance(a, float) else np.concatenate([a, b]) for a, b in parts))
    assert read(jumps, 1e-15, EPSILON, 1.0).verdict != "wrong"
    assert read(both, 1e-15, EPSILON, 1.0).verdict == "wrong"


def test_what_rounding_moves_by_as_much_is_undecidable():
    slopes = slopes_of(np.exp, 0.3, 1.5 * np.exp(0.3))
    rounded = Slopes(slopes.analytic, slopes.center, slopes.plus, slopes.minus, np.full(2, 0.2))
    found = read(rounded, 1e-15, 2.0**-23, 1.0)
    assert found.verdict == "undecidable"
    assert "rounding of the gradient" in found.why


def test_tolerances_follow_from_the_precision():
    assert [f"{tolerance(e):.0e}" for e in (2.0**-52, 2.0**-23, 2.0**-7)] == ["5e-07", "2e-03", "1e-01"]
