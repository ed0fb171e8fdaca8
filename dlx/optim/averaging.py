"""Averages of weights along the way: what a lane carries for them, and which weights they say are to be judged."""

import math
from typing import Any, NamedTuple, assert_never

import jax
import jax.numpy as jnp
import optax

from dlx.config import averaging as kinds
from dlx.config.averaging import AveragingConfig
from dlx.config.schedule import ScheduleFree
from dlx.errors import ConfigError
from dlx.optim.schedules import Schedule

EXACT = 1 - 1e-6
"""So that a share of steps which is a whole number stays it: 0.6 * 100 is 60.000004 in float32."""


class Average(NamedTuple):
    """Averaged weights; for EMA the running statistics too, which are () otherwise; steps taken; weights in the average."""

    params: Any
    rest: Any
    taken: jax.Array
    count: jax.Array


def start_average(config: AveragingConfig, params: Any, rest: Any) -> Average | tuple[()]:
    """Of the first weights; () where nothing is averaged."""
    zero = jnp.zeros((), jnp.int32)
    match config:
        case kinds.NoAveraging():
            return ()
        case kinds.Ema():
            return Average(_copy(params), _copy(rest), zero, zero)
        case kinds.Swa() | kinds.Lookahead():
            return Average(_copy(params), (), zero, zero)
    assert_never(config)


def advance_average(
    config: AveragingConfig, average: Any, params: Any, rest: Any, total_steps: int, steps_per_epoch: int
) -> tuple[Any, Any]:
    """The average, and the weights to go on with, after a step that has led to these weights."""
    if isinstance(config, kinds.NoAveraging):
        return average, params
    taken = average.taken + 1
    match config:
        case kinds.Ema():
            keep = jnp.minimum((1 + average.taken) / (10 + average.taken), jnp.asarray(config.decay, jnp.float32))
            moved = jax.tree.map(
                lambda a, b: (a + (1 - keep) * (b - a)).astype(a.dtype), (average.params, average.rest), (params, rest)
            )
            return Average(*moved, taken, average.count + 1), params
        case kinds.Swa():
            since = taken - first_averaged(config, total_steps)
            every = config.every.steps(steps_per_epoch)
            joins = ((since > 0) & (since % every == 0)) | ((taken == total_steps) & (average.count == 0))
            share = joins / (average.count + 1)
            mean = jax.tree.map(lambda a, b: a + share * (b - a), average.params, params)
            return Average(mean, (), taken, average.count + joins), params
        case kinds.Lookahead():
            meets = taken % config.every == 0
            slow = jax.tree.map(
                lambda a, b: jnp.where(meets, a + jnp.asarray(config.slow_step, a.dtype) * (b - a), a), average.params, params
            )
            fast = jax.tree.map(lambda a, b: jnp.where(meets, a, b), slow, params)
            return Average(slow, (), taken, average.count + meets), fast
    assert_never(config)


def averaged(average: Any, opt: Any, params: Any, rest: Any) -> tuple[Any, Any]:
    """The weights to be judged, and their running statistics: those of the average, or of the optimizer's own (schedule-free)."""
    if isinstance(average, Average):
        there = (average.count > 0) if average.rest == () else True
        params = jax.tree.map(lambda a, b: jnp.where(there, a, b), average.params, params)
        return params, (rest if average.rest == () else average.rest)
    for state in jax.tree.leaves(opt, is_leaf=_is_schedule_free):
        if _is_schedule_free(state):
            return optax.contrib.schedule_free_eval_params(state, params), rest
    return params, rest


def averages(averaging: AveragingConfig, schedule: Any) -> bool:
    """Whether other weights than the raw ones are judged."""
    return averaging.kind != "none" or isinstance(schedule, ScheduleFree)


def needs_statistics(averaging: AveragingConfig, schedule: Any) -> bool:
    """Whether running statistics have to be measured for the averaged weights, because nobody has averaged them."""
    return isinstance(averaging, kinds.Swa | kinds.Lookahead) or isinstance(schedule, ScheduleFree)


def check_averaging(config: AveragingConfig, total_steps: int, steps_per_epoch: int) -> None:
    """Raises `ConfigError` for a cycle of SWA that would not end before the training does."""
    if isinstance(config, kinds.Swa):
        every, left = config.every.steps(steps_per_epoch), total_steps - math.ceil(config.start * total_steps * EXACT)
        if every > left:
            raise ConfigError(
                f"averaging.every {config.every}: that is {every} steps, and after averaging.start={config.start:g} the training has "
                f"{left}: make it shorter, begin sooner, or make train.duration longer"
            )


def first_averaged(config: kinds.Swa, total_steps: int) -> jax.Array:
    """The number of steps after which SWA begins."""
    return jnp.ceil(jnp.asarray(config.start, jnp.float32) * total_steps * EXACT).astype(jnp.int32)


def averaging_rate(
    config: AveragingConfig, schedule: Schedule, peak: jax.Array | float, total_steps: int, steps_per_epoch: int
) -> Schedule:
    """The schedule, with the rate of SWA from where that begins: in each cycle from `rate` straight to `lowest` (section 3.2)."""
    if not isinstance(config, kinds.Swa) or config.rate is None:
        return schedule
    every = config.every.steps(steps_per_epoch)
    high = jnp.asarray(config.rate, jnp.float32)
    low = high if config.lowest is None else jnp.asarray(config.lowest, jnp.float32)

    def rate(step: Any) -> jax.Array:
        since = jnp.minimum(jnp.asarray(step, jnp.int32), total_steps - 1) - first_averaged(config, total_steps)
        place = (since % every + 1) / every
        cyclical = jnp.asarray(peak, jnp.float32) * ((1 - place) * high + place * low)
        return jnp.where(since >= 0, cyclical, schedule(step))

    return rate


def _is_schedule_free(state: Any) -> bool:
    return isinstance(state, optax.contrib.ScheduleFreeState)


def _copy(tree: Any) -> Any:
    """Buffers of its own: those of the weights are donated."""
    return jax.tree.map(jnp.copy, tree)
