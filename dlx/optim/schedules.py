"""The learning rate and the momentum of every step, as functions of the step count and of (possibly traced) numbers."""

import math
from collections.abc import Callable
from itertools import accumulate
from typing import assert_never

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dlx.config import schedule as kinds
from dlx.config.schedule import OneCycle, ScheduleConfig
from dlx.errors import ConfigError

Schedule = Callable[[ArrayLike], jax.Array]


def build_schedule(config: ScheduleConfig, peak: jax.Array | float, total_steps: int, steps_per_epoch: int) -> Schedule:
    """The rate at step t = 0, 1, ..., total_steps - 1; beyond the end it stays at its last value.

    `peak` and the config's `Lane` fields may be tracers: one compiled program serves every rate.
    """

    def schedule(step: ArrayLike) -> jax.Array:
        t, warmup, length = _phases(config, step, total_steps)
        factor = _factor(config, jnp.maximum(t - warmup, 0.0), length, total_steps, steps_per_epoch)
        # The ramp is (t + 1) / (w + 1): the first step already moves, and step w is the first of the schedule itself.
        return jnp.asarray(peak, jnp.float32) * jnp.where(t < warmup, (t + 1) / (warmup + 1), 1.0) * factor

    return schedule


def build_momentum(config: ScheduleConfig, total_steps: int) -> Schedule | None:
    """The momentum at step t, where the schedule moves it: highest where the rate is lowest. None where it does not."""
    if not (isinstance(config, OneCycle) and config.cycle_momentum):
        return None

    def momentum(step: ArrayLike) -> jax.Array:
        t, warmup, length = _phases(config, step, total_steps)
        low, high = config.low_momentum, config.high_momentum
        corners = (high, low, high, high) if config.three_phase else (high, low, high)
        return _cycle(config, jnp.maximum(t - warmup, 0.0), length, corners)

    return momentum


def check_schedule(config: ScheduleConfig, total_steps: int, steps_per_epoch: int) -> None:
    """Raises `ConfigError` for a phase that would end after the training does."""
    match config:
        case kinds.Multistep():
            lengths = [(f"milestones {each}", each.steps(steps_per_epoch)) for each in config.milestones]
        case kinds.Sgdr():
            lengths = [(f"period {config.period}", config.period.steps(steps_per_epoch))]
        case kinds.Triangular():
            lengths = [(f"half_cycle {config.half_cycle}, twice", 2 * config.half_cycle.steps(steps_per_epoch))]
        case _:
            return
    for what, steps in lengths:
        if steps > total_steps:
            raise ConfigError(
                f"schedule.{what}: that is {steps} steps, and the training has {total_steps}: make it shorter, "
                "or train.duration longer"
            )


def _phases(config: ScheduleConfig, step: ArrayLike, total: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The step, no later than the end; how many steps the warm-up takes; and how many it leaves."""
    t = jnp.minimum(jnp.asarray(step, jnp.float32), float(total))
    warmup = jnp.asarray(config.warmup, jnp.float32) * total
    return t, warmup, jnp.maximum(total - warmup, 1.0)


def _factor(config: ScheduleConfig, t: jax.Array, length: jax.Array, total: int, steps_per_epoch: int) -> jax.Array:
    """What the peak is multiplied by, `t` steps after the warm-up, which leaves `length` steps of the `total`."""
    match config:
        case kinds.Constant() | kinds.ReduceOnPlateau() | kinds.ScheduleFree():
            return jnp.ones_like(t)
        case kinds.Linear():
            return _between(1.0, config.final, t / length)
        case kinds.Polynomial():
            left = jnp.maximum(1 - t / length, 0.0)
            return config.final + (1 - jnp.asarray(config.final, jnp.float32)) * left ** jnp.asarray(config.power, jnp.float32)
        case kinds.Cosine() | kinds.WarmupCosine():
            return _half_cosine(t / length, config.final)
        case kinds.Step():
            return jnp.asarray(config.factor, jnp.float32) ** jnp.floor(t / config.every.steps(steps_per_epoch))
        case kinds.Multistep():
            passed = sum((t >= each.steps(steps_per_epoch)).astype(jnp.float32) for each in config.milestones)
            return jnp.asarray(config.factor, jnp.float32) ** passed
        case kinds.Exponential():
            return jnp.asarray(config.factor, jnp.float32) ** (t / config.every.steps(steps_per_epoch))
        case kinds.InverseSqrt():
            scale = config.timescale.steps(steps_per_epoch)
            return jnp.sqrt(scale / (scale + t))
        case kinds.Sgdr():
            return _half_cosine(_since_restart(config, t, total, steps_per_epoch), config.final)
        case kinds.Triangular():
            return _triangle(config, t, config.half_cycle.steps(steps_per_epoch))
        case kinds.OneCycle():
            first = 1 / jnp.asarray(config.div, jnp.float32)
            last = first / jnp.asarray(config.final_div, jnp.float32)
            return _cycle(config, t, length, (first, 1.0, first, last) if config.three_phase else (first, 1.0, last))
        case kinds.WarmupStableDecay():
            fall = jnp.asarray(config.decay, jnp.float32) * total
            return _between(1.0, config.final, jnp.clip((t - (length - fall)) / jnp.maximum(fall, 1.0), 0.0, 1.0))
        case kinds.Ramp():
            place = t / jnp.maximum(length - 1, 1.0)
            last = jnp.asarray(config.to, jnp.float32)
            return last**place if config.shape == "exponential" else _between(1.0, last, place)
    assert_never(config)


def _between(start: ArrayLike, end: ArrayLike, place: ArrayLike) -> jax.Array:
    """From `start` at place 0 to `end` at place 1."""
    first = jnp.asarray(start, jnp.float32)
    return first + (jnp.asarray(end, jnp.float32) - first) * place


def _half_cosine(progress: jax.Array, final: jax.Array | float) -> jax.Array:
    return final + (1 - jnp.asarray(final, jnp.float32)) * 0.5 * (1 + jnp.cos(jnp.pi * progress))


def _since_restart(config: kinds.Sgdr, t: jax.Array, total: int, steps_per_epoch: int) -> jax.Array:
    """T_cur / T_i. The restarts are whole numbers, known before anything runs: no logarithm has to find them."""
    first, times = config.period.steps(steps_per_epoch), config.multiplier
    count = total // first + 1 if times == 1 else int(math.log(total / first + 1, times)) + 2
    lengths = [first * times**i for i in range(count)]
    starts = jnp.asarray([0, *accumulate(lengths)][:-1], jnp.float32)
    cycle = jnp.searchsorted(starts, t, side="right") - 1
    return (t - starts[cycle]) / jnp.asarray(lengths, jnp.float32)[cycle]


def _triangle(config: kinds.Triangular, t: jax.Array, half_cycle: int) -> jax.Array:
    """Smith 2015, section 3.2."""
    cycle = jnp.floor(1 + t / (2 * half_cycle))
    height = jnp.maximum(1 - jnp.abs(t / half_cycle - 2 * cycle + 1), 0.0)
    match config.kind:
        case "triangular2":
            height = height / 2 ** (cycle - 1)
        case "exp_range":
            height = height * jnp.asarray(config.gamma, jnp.float32) ** t
    return _between(config.base, 1.0, height)


def _cycle(config: OneCycle, t: jax.Array, length: jax.Array, corners: tuple[ArrayLike, ...]) -> jax.Array:
    """From corner to corner, the last of which is reached in the last step, number `length` - 1."""
    rise = jnp.asarray(config.rise, jnp.float32) * length - 1
    ends = [rise, 2 * rise, length - 1] if config.three_phase else [rise, length - 1]
    value, start = jnp.asarray(corners[0], jnp.float32), jnp.zeros_like(t)
    for before, after, end in zip(corners[:-1], corners[1:], ends, strict=True):
        place = jnp.clip((t - start) / jnp.maximum(end - start, 1e-6), 0.0, 1.0)
        value = jnp.where(
            t >= start,
            _between(before, after, (1 - jnp.cos(jnp.pi * place)) / 2 if config.anneal == "cosine" else place),
            value,
        )
        start = end
    return value
