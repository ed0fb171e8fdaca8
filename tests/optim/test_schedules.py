"""Each schedule point by point against its formula, and against Optax where Optax has it."""

import jax
import numpy as np
import optax
import pytest

from dlx.config.duration import Duration
from dlx.config.schedule import Constant, Cosine, Exponential, Step, WarmupCosine
from dlx.optim import build_schedule

TOTAL, PER_EPOCH, PEAK = 200, 10, 0.3
STEPS = np.arange(TOTAL)


def rates(config, peak=PEAK):
    schedule = build_schedule(config, peak, TOTAL, PER_EPOCH)
    return np.asarray(jax.vmap(schedule)(STEPS), np.float64)


def test_constant():
    np.testing.assert_allclose(rates(Constant()), PEAK, rtol=1e-6)


@pytest.mark.parametrize("final", [0.0, 0.1])
def test_cosine(final):
    formula = PEAK * (final + (1 - final) * (1 + np.cos(np.pi * STEPS / TOTAL)) / 2)
    np.testing.assert_allclose(rates(Cosine(final=final)), formula, rtol=1e-5, atol=1e-8)
    theirs = [float(optax.cosine_decay_schedule(PEAK, TOTAL, final)(t)) for t in STEPS[::20]]
    np.testing.assert_allclose(rates(Cosine(final=final))[::20], theirs, rtol=1e-5)


def test_warmup_cosine_rises_to_the_peak_and_falls_to_the_end():
    found = rates(WarmupCosine(warmup=0.1, final=0.01))
    np.testing.assert_allclose(found[:20], PEAK * (STEPS[:20] + 1) / 21, rtol=1e-5)
    np.testing.assert_allclose(found[20], PEAK, rtol=1e-6)
    fall = (STEPS[20:] - 20) / 180
    np.testing.assert_allclose(found[20:], PEAK * (0.01 + 0.99 * (1 + np.cos(np.pi * fall)) / 2), rtol=1e-4)
    assert np.argmax(found) == 20


@pytest.mark.parametrize("warmup", [0.0, 1.0])
def test_warmup_may_be_nothing_or_everything(warmup):
    found = rates(WarmupCosine(warmup=warmup))
    assert np.isfinite(found).all()
    assert (np.diff(found) > 0).all() if warmup else (np.diff(found) < 0).all()


def test_step():
    found = rates(Step(every=Duration(5, "epochs"), factor=0.1))
    np.testing.assert_allclose(found, PEAK * 0.1 ** (STEPS // 50), rtol=1e-5)


def test_exponential():
    found = rates(Exponential(every=Duration(25, "steps"), factor=0.5))
    np.testing.assert_allclose(found, PEAK * 0.5 ** (STEPS / 25), rtol=1e-5)


def test_beyond_the_end_the_last_value_stays():
    schedule = build_schedule(Cosine(final=0.2), PEAK, TOTAL, PER_EPOCH)
    assert schedule(TOTAL + 500) == schedule(TOTAL) == pytest.approx(0.2 * PEAK)


def test_traced_numbers_give_the_same_rates():
    """Lanes: peak, warm-up and final value are arguments of one program."""

    def rate(peak, warmup, step):
        return build_schedule(WarmupCosine.model_construct(warmup=warmup, final=0.0), peak, TOTAL, PER_EPOCH)(step)

    for warmup in (0.1, 0.5):
        np.testing.assert_allclose(jax.jit(rate)(PEAK, warmup, 70), rates(WarmupCosine(warmup=warmup))[70], rtol=1e-6)
