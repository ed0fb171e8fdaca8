"""Each schedule point by point against its formula, and against Optax where Optax has it."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from pydantic import TypeAdapter, ValidationError

from dlx.config.duration import Duration
from dlx.config.optimizer import Adagrad, AdamW, Sgd
from dlx.config.schedule import (
    Constant,
    Cosine,
    Exponential,
    InverseSqrt,
    Linear,
    Multistep,
    OneCycle,
    Polynomial,
    Ramp,
    ScheduleConfig,
    Sgdr,
    Step,
    Triangular,
    WarmupCosine,
    WarmupStableDecay,
)
from dlx.errors import ConfigError
from dlx.optim import build_momentum, build_optimizer, build_schedule, check_schedule

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


def test_linear_and_polynomial():
    np.testing.assert_allclose(rates(Linear()), PEAK * (1 - STEPS / TOTAL), rtol=1e-5)
    np.testing.assert_allclose(rates(Linear(final=0.5)), PEAK * (1 - 0.5 * STEPS / TOTAL), rtol=1e-5)
    formula = PEAK * (0.1 + 0.9 * (1 - STEPS / TOTAL) ** 3)
    np.testing.assert_allclose(rates(Polynomial(power=3, final=0.1)), formula, rtol=1e-5)
    theirs = [float(optax.polynomial_schedule(PEAK, 0.1 * PEAK, 3, TOTAL)(t)) for t in STEPS[::20]]
    np.testing.assert_allclose(rates(Polynomial(power=3, final=0.1))[::20], theirs, rtol=1e-5)


def test_multistep():
    found = rates(Multistep(milestones=(Duration(50, "steps"), Duration(12, "epochs")), factor=0.5))
    np.testing.assert_allclose(found, PEAK * np.where(STEPS < 50, 1, np.where(STEPS < 120, 0.5, 0.25)), rtol=1e-6)


def test_inverse_sqrt_with_a_warmup_as_long_as_its_timescale_is_the_transformers():
    """Vaswani et al. 2017, equation 3, whose step numbers begin at 1, scaled so that its peak is ours."""
    n, w = STEPS + 1, 41
    formula = PEAK * np.sqrt(w) * np.minimum(n**-0.5, n * w**-1.5)
    found = rates(InverseSqrt(timescale=Duration(w, "steps"), warmup=(w - 1) / TOTAL))
    np.testing.assert_allclose(found, formula, rtol=1e-5)


def test_ramp_is_an_even_ladder_with_both_ends():
    np.testing.assert_allclose(rates(Ramp(to=1e4)), PEAK * np.geomspace(1, 1e4, TOTAL), rtol=1e-4)
    np.testing.assert_allclose(rates(Ramp(to=5, shape="linear")), PEAK * np.linspace(1, 5, TOTAL), rtol=1e-5)


def test_warmup_stable_decay():
    found = rates(WarmupStableDecay(warmup=0.1, decay=0.25, final=0.1))
    np.testing.assert_allclose(found[20:150], PEAK, rtol=1e-6)
    np.testing.assert_allclose(found[:20], PEAK * (STEPS[:20] + 1) / 21, rtol=1e-5)
    np.testing.assert_allclose(found[150:], PEAK * (1 - 0.9 * (STEPS[150:] - 150) / 50), rtol=1e-4)


EVERY = [
    Constant,
    Linear,
    Polynomial,
    Cosine,
    Step,
    lambda **more: Multistep(milestones=(Duration(3, "epochs"),), **more),
    Exponential,
    InverseSqrt,
    Sgdr,
    Triangular,
    OneCycle,
    WarmupStableDecay,
]


@pytest.mark.parametrize("make", EVERY)
def test_every_schedule_can_have_a_warmup_and_takes_traced_numbers(make):
    """The ramp ends where the schedule begins, and one program serves every peak and every length of the warm-up."""
    traced = jax.jit(
        lambda peak, warmup: jax.vmap(build_schedule(make().model_copy(update={"warmup": warmup}), peak, TOTAL, 10))(STEPS)
    )
    for warmup in (0.0, 0.2, 1.0):
        found = np.asarray(traced(PEAK, warmup), np.float64)
        np.testing.assert_allclose(found, rates(make().model_copy(update={"warmup": warmup})), rtol=1e-5, atol=1e-9)
        assert ((found >= 0) & (found <= PEAK * (1 + 1e-6))).all()
        w = round(warmup * TOTAL)
        first = rates(make().model_copy(update={"warmup": warmup}))[min(w, TOTAL - 1)] if w < TOTAL else None
        if first is not None:
            np.testing.assert_allclose(found[:w], first * (STEPS[:w] + 1) / (w + 1), rtol=1e-5)


TORCH = json.loads((Path(__file__).parent / "pytorch_schedules.json").read_text())
HALF = {"half_cycle": Duration(7, "steps")}


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("cosine", Cosine(final=0.1)),
        ("sgdr", Sgdr(period=Duration(20, "steps"), final=0.1)),
        ("sgdr_mult", Sgdr(period=Duration(8, "steps"), multiplier=2)),
        ("triangular", Triangular(**HALF)),
        ("triangular2", Triangular(kind="triangular2", **HALF)),
        ("exp_range", Triangular(kind="exp_range", gamma=0.97, **HALF)),
        ("onecycle", OneCycle()),
        ("onecycle_linear", OneCycle(anneal="linear", rise=0.4, div=10)),
        ("onecycle_three_phase", OneCycle(three_phase=True, final_div=100)),
    ],
)
def test_as_pytorch_has_it(name, config):
    total = len(TORCH[name]["rates"])
    steps = np.arange(total)
    ours = np.asarray(jax.vmap(build_schedule(config, TORCH["peak"], total, 10))(steps), np.float64)
    np.testing.assert_allclose(ours, TORCH[name]["rates"], rtol=2e-5, atol=1e-7)
    momentum = build_momentum(config, total)
    assert (momentum is not None) == name.startswith("onecycle")
    if momentum is not None:
        np.testing.assert_allclose(np.asarray(jax.vmap(momentum)(steps)), TORCH[name]["momenta"], rtol=1e-5)


def test_sgdr_restarts_in_whole_steps_at_any_length():
    """The restarts of T_mult = 3 from 7: 7, 28, 91, 280, 847. A step before each the rate is at its lowest."""
    schedule = build_schedule(Sgdr(period=Duration(7, "steps"), multiplier=3), PEAK, 1000, 10)
    found = np.asarray(jax.vmap(schedule)(np.arange(1000)))
    assert (np.flatnonzero(np.diff(found) > 0) + 1).tolist() == [7, 28, 91, 280, 847]
    np.testing.assert_allclose(found[[0, 7, 28, 91, 280, 847]], PEAK, rtol=1e-6)


@pytest.mark.parametrize("optimizer", [Sgd(lr=0.1, momentum=0.5), AdamW(lr=0.1)])
def test_a_cycled_momentum_is_the_one_of_each_step(optimizer):
    """Against the same rule built anew in every step with that step's momentum."""
    config, key = OneCycle(), "b1" if optimizer.kind == "adamw" else "momentum"
    rate, momentum = build_schedule(config, 0.1, 20, 5), build_momentum(config, 20)
    ours = build_optimizer(optimizer, rate, momentum)
    params = {"kernel": jnp.asarray([1.0, -2.0, 3.0])}
    state, theirs = ours.init(params), build_optimizer(optimizer, rate).init(params)
    for step in range(20):
        gradient = jax.tree.map(lambda p, step=step: jnp.sin(p + step), params)
        updates, state = ours.update(gradient, state, params)
        fixed = build_optimizer(optimizer.model_copy(update={key: momentum(step)}), rate)
        expected, theirs = fixed.update(gradient, theirs, params)
        np.testing.assert_allclose(updates["kernel"], expected["kernel"], rtol=1e-6)
        params = optax.apply_updates(params, updates)


def test_a_rule_without_momentum_stays_as_it_is():
    params = {"kernel": jnp.ones(2)}
    with_it, without = (build_optimizer(Adagrad(), lambda _: 0.1, m).init(params) for m in (lambda _: jnp.float32(0.5), None))
    assert jax.tree.structure(with_it) == jax.tree.structure(without)


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        ({"kind": "onecycle", "three_phase": True, "rise": 0.6}, "at most 0.5"),
        ({"kind": "warmup-stable-decay", "warmup": 0.6, "decay": 0.5}, "more than all steps"),
        ({"kind": "multistep", "milestones": []}, "at least 1 item"),
        ({"kind": "sgdr", "multiplier": 0}, "greater than or equal to 1"),
    ],
)
def test_phases_that_do_not_fit_together(tree, sentence):
    with pytest.raises(ValidationError, match=sentence):
        TypeAdapter(ScheduleConfig).validate_python(tree)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (
            Multistep(milestones=(Duration(3, "epochs"), Duration(30, "epochs"))),
            "schedule.milestones 30 epochs: that is 300 steps",
        ),
        (Sgdr(period=Duration(201, "steps")), "schedule.period 201 steps: that is 201 steps, and the training has 200"),
        (Triangular(half_cycle=Duration(11, "epochs")), "schedule.half_cycle 11 epochs, twice: that is 220 steps"),
    ],
)
def test_phases_longer_than_the_training(config, sentence):
    with pytest.raises(ConfigError, match=sentence):
        check_schedule(config, TOTAL, PER_EPOCH)
    check_schedule(config, 1000, PER_EPOCH)
