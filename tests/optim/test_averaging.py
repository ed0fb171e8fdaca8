"""Averages of weights, step by step against their formulas in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlx.config.averaging import Ema, Lookahead, NoAveraging, Swa
from dlx.config.duration import Duration
from dlx.config.optimizer import Sgd
from dlx.config.schedule import Constant, ScheduleFree
from dlx.errors import ConfigError
from dlx.optim import (
    advance_average,
    averaged,
    averaging_rate,
    build_optimizer,
    build_schedule,
    check_averaging,
    start_average,
)
from dlx.optim.averaging import first_averaged

TOTAL, PER_EPOCH = 40, 4
WALK = np.random.default_rng(0).normal(size=(TOTAL + 1, 3)).cumsum(0)
"""Weights at the start and after each step."""


def walked(config, carried=0.0):
    """What is judged after each step of a walk, which a part of the weights before each step is added to."""
    params, statistic = jnp.asarray(WALK[0]), jnp.zeros(1)
    average, found = start_average(config, {"w": params}, {"s": statistic}), []
    for step in range(TOTAL):
        new, statistic = carried * params + WALK[step + 1].astype(np.float32), jnp.full(1, float(step))
        average, tree = advance_average(config, average, {"w": new}, {"s": statistic}, TOTAL, PER_EPOCH)
        params = tree["w"]
        judged, rest = averaged(average, (), {"w": params}, {"s": statistic})
        found.append((np.asarray(params), np.asarray(judged["w"]), float(rest["s"][0])))
    return found


def test_without_averaging_the_weights_are_judged():
    assert start_average(NoAveraging(), {"w": jnp.zeros(3)}, ()) == ()
    for step, (raw, judged, _) in enumerate(walked(NoAveraging())):
        np.testing.assert_allclose(raw, WALK[step + 1], rtol=1e-6)
        np.testing.assert_array_equal(judged, raw)


def test_an_exponential_average_forgets_the_first_weights_and_averages_statistics_too():
    expected, statistic = WALK[0], 0.0
    for step, (raw, judged, rest) in enumerate(walked(Ema(decay=0.8))):
        keep = min((1 + step) / (10 + step), 0.8)
        expected = keep * expected + (1 - keep) * WALK[step + 1]
        statistic = keep * statistic + (1 - keep) * step
        np.testing.assert_allclose(judged, expected, rtol=1e-5)
        np.testing.assert_allclose(rest, statistic, rtol=1e-5)
        np.testing.assert_allclose(raw, WALK[step + 1], rtol=1e-6)


@pytest.mark.parametrize("start", [0.5, 0.45])
def test_swa_is_the_mean_of_the_weights_at_the_ends_of_cycles(start):
    first = int(np.ceil(start * TOTAL))
    for step, (_, judged, _) in enumerate(walked(Swa(start=start, every=Duration(3, "steps")))):
        joined = WALK[np.arange(first + 3, step + 2, 3)]
        np.testing.assert_allclose(judged, joined.mean(0) if len(joined) else WALK[step + 1], rtol=1e-5)


def test_swa_whose_first_cycle_never_ends_has_the_last_weights():
    *_, (_, judged, _) = walked(Swa(start=0.5, every=Duration(30, "steps")))
    np.testing.assert_allclose(judged, WALK[-1], rtol=1e-6)


def test_a_cycle_that_is_longer_than_what_is_left_is_refused():
    check_averaging(Swa(start=0.5, every=Duration(20, "steps")), TOTAL, PER_EPOCH)
    with pytest.raises(
        ConfigError, match=r"averaging.every 6 epochs: that is 24 steps, and after averaging.start=0.5 the training"
    ):
        check_averaging(Swa(start=0.5, every=Duration(6, "epochs")), TOTAL, PER_EPOCH)


def test_lookahead_sets_the_fast_weights_back_to_the_slow_ones_after_every_k_steps():
    fast, slow = WALK[0], WALK[0]
    found = walked(Lookahead(every=4, slow_step=0.3), carried=0.5)
    for step, (raw, judged, _) in enumerate(found):
        fast = 0.5 * fast + WALK[step + 1]
        if (step + 1) % 4 == 0:
            slow = slow + 0.3 * (fast - slow)
            fast = slow
        np.testing.assert_allclose(raw, fast, rtol=1e-5)
        np.testing.assert_allclose(judged, slow if step >= 3 else fast, rtol=1e-5)


@pytest.mark.parametrize("total", [25, 45, 90, 100, 1000, 55_000])
def test_swa_begins_after_the_very_step_that_its_share_says(total):
    for start in (0.2, 0.4, 0.6, 0.8):
        assert first_averaged(Swa(start=start), total) == round(start * total)


@pytest.mark.parametrize("lowest", [None, 0.01])
def test_the_rate_of_swa_is_cyclical_from_its_start_on(lowest):
    """Izmailov et al. 2018, section 3.2: alpha(i) = (1 - t(i)) * alpha_1 + t(i) * alpha_2 with t(i) = (mod(i - 1, c) + 1) / c."""
    peak, config = 0.5, Swa(start=0.5, every=Duration(5, "steps"), rate=0.2, lowest=lowest)
    before = build_schedule(Constant(), peak, TOTAL, PER_EPOCH)
    rate = jax.vmap(averaging_rate(config, before, peak, TOTAL, PER_EPOCH))(jnp.arange(TOTAL))
    i = np.arange(1, TOTAL // 2 + 1)
    t = ((i - 1) % 5 + 1) / 5
    cycles = (1 - t) * 0.2 * peak + t * (0.2 if lowest is None else lowest) * peak
    np.testing.assert_allclose(rate, [*[peak] * (TOTAL // 2), *cycles], rtol=1e-6)


def test_swa_may_leave_the_rate_to_the_schedule():
    schedule = build_schedule(Constant(), 0.5, TOTAL, PER_EPOCH)
    assert averaging_rate(Swa(rate=None), schedule, 0.5, TOTAL, PER_EPOCH) is schedule


def test_schedule_free_descent_on_a_quadratic_is_that_of_the_paper():
    """Defazio et al. 2024, equations 4 to 6: y = (1 - b) z + b x; z -= lr * grad(y); x moves to z by 1 / (t + 1)."""
    b, lr, curvature = 0.9, 0.2, np.array([1.0, 3.0])
    schedule = build_schedule(ScheduleFree(b1=b), lr, TOTAL, PER_EPOCH)
    rule = build_optimizer(Sgd(lr=lr, momentum=0.9), schedule, None, ScheduleFree(b1=b))
    params = jnp.asarray([1.0, -2.0])
    state = rule.init(params)
    x = z = np.array([1.0, -2.0])
    for step in range(TOTAL):
        y = (1 - b) * z + b * x
        np.testing.assert_allclose(params, y, rtol=1e-4, atol=1e-6)
        z = z - lr * curvature * y
        x = x + (z - x) / (step + 1)
        updates, state = rule.update(curvature * params, state, params)
        params = optax.apply_updates(params, updates)
        judged, _ = averaged((), state, params, ())
        np.testing.assert_allclose(judged, x, rtol=1e-4, atol=1e-6)
