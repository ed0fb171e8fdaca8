"""The last step of every source: the three parts, described, become a `Dataset`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from dlx.data.dataset import Dataset, Part, Scaling, Spec
from dlx.data.order import SHUFFLED, Order
from dlx.data.scaling import Moments
from dlx.data.split import rarest_label
from dlx.data.target import Targets
from dlx.errors import DataError

_ROUNDED = 1e-3
"""Standard deviations of the training targets by which float32 may change one of them."""


def strata(targets: Targets) -> np.ndarray | None:
    """The classes (n,) by which a split of these targets is stratified, or None for numbers."""
    match targets.kind:
        case "class":
            return targets.values
        case "labels":
            return rarest_label(targets.values)
        case "number" | "tokens" | "none":
            return None


def finish(
    name: str,
    targets: Targets,
    parts: tuple[Part, Part, Part],
    scaling: Scaling,
    moments: Moments,
    preprocessing: Mapping[str, Any],
    report: tuple[str, ...],
    *,
    tokens: int = 0,
    order: Order = SHUFFLED,
) -> Dataset:
    """The `Dataset` of train, validation and test. `targets` gives the kind and the names; its values are not used.
    `moments` are those of the training inputs: what new data is compared with. `tokens` is how many different ones the inputs are
    made of, if they are tokens.

    Raises `DataError` for numbers whose differences float32 cannot hold.
    """
    if targets.kind == "number":
        _require_precision(name, targets, parts[0].targets)
    train, validation, test = (_single(part) for part in parts)
    spec = _spec(targets, train, tokens)
    common = {
        "input_shape": list(spec.input_shape),
        "input_dtype": train.inputs.dtype.name,
        "target": spec.target,
        "classes": list(spec.classes),
        "class_counts": list(spec.class_counts),
        "examples": spec.examples,
        "outputs": spec.outputs,
        "tokens": spec.tokens,
        "target_length": spec.target_length,
        "target_names": list(spec.target_names),
        "target_mean": list(spec.target_mean),
        "target_std": list(spec.target_std),
        "mean": scaling.mean.tolist(),
        "inverse_std": scaling.inverse_std.tolist(),
        "input_mean": moments.mean.tolist(),
        "input_std": moments.std.tolist(),
    }
    absent = [c for c, n in zip(spec.classes, spec.class_counts, strict=True) if not n] if spec.classes else []
    if absent:
        report = (*report, f"no training example has {', '.join(absent[:10])}")
    return Dataset(name, spec, train, validation, test, scaling, {**preprocessing, **common}, report, order)


def _single(part: Part) -> Part:
    """The part with float32 in place of float64 targets."""
    return replace(part, targets=part.targets.astype(np.float32)) if part.targets.dtype == np.float64 else part


def _require_precision(name: str, targets: Targets, values: np.ndarray) -> None:
    """`values` are the training targets (n, numbers) in float64."""
    changes = np.abs(values.astype(np.float32) - values).max(axis=0)
    for column, change, spread, mean in zip(targets.names, changes, values.std(axis=0), values.mean(axis=0), strict=True):
        if change > _ROUNDED * spread > 0:
            raise DataError(
                f"{name}: the values of the target {column!r} are too large for their spread in float32: "
                f"subtract a constant, such as their mean {mean:.10g}, from the column"
            )


def _spec(targets: Targets, train: Part, tokens: int) -> Spec:
    values = train.targets
    counts: tuple[int, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    match targets.kind:
        case "class":
            counts = tuple(np.bincount(values, minlength=targets.outputs).tolist())
        case "labels":
            counts = tuple(int(count) for count in values.sum(axis=0))
        case "number":
            spread = values.std(axis=0, dtype=np.float64)
            mean = tuple(values.mean(axis=0, dtype=np.float64).tolist())
            std = tuple(np.where(spread > 0, spread, 1.0).tolist())
        case "tokens" | "none":
            pass
    return Spec(
        input_shape=train.inputs.shape[1:],
        target=targets.kind,
        outputs=targets.outputs,
        classes=targets.classes,
        class_counts=counts,
        target_names=targets.names,
        target_mean=mean,
        target_std=std,
        examples=len(train),
        tokens=tokens,
        target_length=values.shape[1] if targets.kind == "tokens" else 0,
    )
