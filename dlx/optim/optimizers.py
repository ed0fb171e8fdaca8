"""Optax chains, built inside the traced function from (possibly traced) numbers.

Building inside the trace is what lets every learning rate, momentum and decay share one program. It also avoids
`optax.inject_hyperparams`, which takes the weight-decay mask for a schedule and silently drops the decay.
"""

from collections.abc import Callable
from typing import Any, assert_never

import jax
import jax.numpy as jnp
import optax

from dlx.config import optimizer as kinds
from dlx.config.optimizer import OptimizerConfig
from dlx.config.schedule import ScheduleFree
from dlx.optim.regularization import is_weight
from dlx.optim.schedules import Schedule


def build_optimizer(
    config: OptimizerConfig, rate: Schedule, momentum: Schedule | None = None, free: ScheduleFree | None = None
) -> optax.GradientTransformationExtraArgs:
    """Clipping by value, clipping by norm, then the rule itself.

    A schedule of the `momentum` takes the place of the config's, or of its `b1`, in rules that have one. With `free` the rule has
    none, and becomes schedule-free.
    Its `update` takes `value=`, `grad=` and `value_fn=` beside the gradient, for the rules that look at the loss.
    """
    links: list[optax.GradientTransformation] = []
    if config.clip_value is not None:
        links.append(optax.clip(config.clip_value))
    if config.clip_norm is not None:
        links.append(optax.clip_by_global_norm(config.clip_norm))
    key = _momentum_key(config)
    if free is not None:
        rule = _rule(without_momentum(config), rate)
        # Optax counts these steps from 1.
        free_rule = optax.contrib.schedule_free(rule, lambda count: rate(count - 1), b1=free.b1)
        return optax.with_extra_args_support(optax.chain(*links, free_rule))
    if momentum is None or key is None:
        return optax.with_extra_args_support(optax.chain(*links, _rule(config, rate)))
    moving = _moving(lambda value: _rule(config.model_copy(update={key: value}), rate), momentum)
    return optax.with_extra_args_support(optax.chain(*links, moving))


def _momentum_key(config: OptimizerConfig) -> str | None:
    """What the rule calls its momentum, if it has one."""
    return next((name for name in ("momentum", "b1") if name in type(config).model_fields), None)


def without_momentum(config: OptimizerConfig) -> OptimizerConfig:
    """The rule as schedule-free learning has it."""
    key = _momentum_key(config)
    return config if key is None else config.model_copy(update={key: 0.0})


def _moving(
    rule: Callable[[jax.Array], optax.GradientTransformation], schedule: Schedule
) -> optax.GradientTransformationExtraArgs:
    """A rule one of whose numbers is another in every step."""

    def init(params: Any) -> Any:
        return jnp.zeros((), jnp.int32), rule(schedule(0)).init(params)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        count, inner = state
        updates, inner = optax.with_extra_args_support(rule(schedule(count))).update(updates, inner, params, **extra)
        return updates, (count + 1, inner)

    return optax.GradientTransformationExtraArgs(init, update)


def _rule(config: OptimizerConfig, rate: Schedule) -> optax.GradientTransformation:
    match config:
        case kinds.Sgd():
            return optax.chain(
                optax.trace(decay=config.momentum, nesterov=config.nesterov),
                optax.add_decayed_weights(config.weight_decay, is_weight),
                optax.scale_by_learning_rate(rate),
            )
        case kinds.SignSgd():
            return optax.sign_sgd(rate)
        case kinds.Signum():
            return optax.signum(rate, beta=config.beta)
        case kinds.Adagrad():
            return optax.adagrad(rate, config.initial_accumulator_value, config.eps)
        case kinds.Adadelta():
            return optax.adadelta(rate, config.rho, config.eps, config.weight_decay, is_weight)
        case kinds.Rmsprop():
            return optax.rmsprop(
                rate, config.decay, config.eps, centered=config.centered, momentum=config.momentum, nesterov=config.nesterov
            )
        case kinds.Rprop():
            return optax.rprop(config.lr, config.eta_minus, config.eta_plus)
        case kinds.Adam():
            return _adam(config, rate)
        case kinds.AdamW():
            return _adamw(config, rate)
        case kinds.Adabelief():
            return optax.adabelief(rate, config.b1, config.b2, config.eps)
        case kinds.Yogi():
            return optax.yogi(rate, config.b1, config.b2, config.eps)
        case kinds.Adafactor():
            return optax.adafactor(rate, min_dim_size_to_factor=config.min_dim_size_to_factor, decay_rate=config.decay_rate)
        case kinds.Adan():
            return optax.adan(
                rate, config.b1, config.b2, config.b3, config.eps, weight_decay=config.weight_decay, mask=is_weight
            )
        case kinds.Lamb():
            return optax.lamb(rate, config.b1, config.b2, config.eps, weight_decay=config.weight_decay, mask=is_weight)
        case kinds.Lars():
            return optax.lars(
                rate,
                config.weight_decay,
                is_weight,
                trust_coefficient=config.trust_coefficient,
                trust_ratio_mask=is_weight,
                momentum=config.momentum,
                nesterov=config.nesterov,
            )
        case kinds.Lion():
            return optax.lion(rate, config.b1, config.b2, weight_decay=config.weight_decay, mask=is_weight)
        case kinds.Novograd():
            return optax.novograd(rate, config.b1, config.b2, config.eps)
        case kinds.Sm3():
            # `optax.sm3` itself takes no schedule.
            return optax.chain(optax.scale_by_sm3(config.momentum), optax.scale_by_learning_rate(rate))
        case kinds.Fromage():
            return optax.fromage(rate, config.min_norm)
        case kinds.PolyakSgd():
            return optax.polyak_sgd(config.lr, scaling=lambda step: rate(step) / config.lr, f_min=config.f_min)
        case kinds.OptimisticGradientDescent():
            return optax.optimistic_gradient_descent(rate, config.alpha, config.beta)
        case kinds.OptimisticAdam():
            return optax.optimistic_adam_v2(
                rate, alpha=config.alpha, beta=config.beta, b1=config.b1, b2=config.b2, eps=config.eps
            )
        case kinds.Muon():
            # Optax's own decay of what Muon leaves to Adam has no mask, so the decay is a link of its own here. The rate
            # of -1 undoes the sign that `scale_by_learning_rate` brings at the end.
            return optax.chain(
                optax.contrib.muon(-1.0, beta=config.beta, nesterov=config.nesterov),
                optax.add_decayed_weights(config.weight_decay, is_weight),
                optax.scale_by_learning_rate(rate),
            )
        case kinds.Lbfgs():
            return optax.lbfgs(config.lr, memory_size=config.memory_size)
    assert_never(config)


def _adam(config: kinds.Adam, rate: Schedule) -> optax.GradientTransformation:
    b1, b2, eps = config.b1, config.b2, config.eps
    match config.kind:
        case "adam":
            return optax.adam(rate, b1, b2, eps)
        case "nadam":
            return optax.nadam(rate, b1, b2, eps)
        case "amsgrad":
            return optax.amsgrad(rate, b1, b2, eps)
        case "radam":
            return optax.radam(rate, b1, b2, eps)
        case "adamax":
            return optax.adamax(rate, b1, b2, eps)
    assert_never(config.kind)


def _adamw(config: kinds.AdamW, rate: Schedule) -> optax.GradientTransformation:
    b1, b2, eps, decay = config.b1, config.b2, config.eps, config.weight_decay
    match config.kind:
        case "adamw":
            return optax.adamw(rate, b1, b2, eps, weight_decay=decay, mask=is_weight)
        case "nadamw":
            return optax.nadamw(rate, b1, b2, eps, weight_decay=decay, mask=is_weight)
        case "adamaxw":
            return optax.adamaxw(rate, b1, b2, eps, weight_decay=decay, mask=is_weight)
    assert_never(config.kind)
