"""From arrays to a `Dataset`: checks, division, scaling. Every source but the tables ends here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dlx.config.data import DataCommon, Pictures
from dlx.data.captions import captioned
from dlx.data.dataset import Dataset, Part, TargetKind
from dlx.data.finish import finish, strata
from dlx.data.scaling import fixed_scaling, measure, scaling_from
from dlx.data.split import divide
from dlx.data.target import ARRAY_CLASSES, Targets, encode_targets
from dlx.errors import ConfigError, DataError

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Arrays:
    """What a source found: `(inputs, targets)` to learn from and, where the source has them, of its own other parts.

    The targets may be anything `encode_targets` takes. Where `classes` is given they are (n,) codes into it.
    """

    name: str
    train: Pair
    validation: Pair | None = None
    test: Pair | None = None
    classes: tuple[str, ...] = ()
    pixel_range: float = 255.0
    """The highest value a pixel can have: the divisor where `data.standardize` is false."""
    names: Mapping[str, np.ndarray] = field(default_factory=dict)
    """By part, the path of each image, where there are such."""
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    report: tuple[str, ...] = ()


def from_arrays(arrays: Arrays, config: DataCommon, kind: TargetKind | None) -> Dataset:
    """Check, divide and scale. Raises `DataError` for what cannot be learned from, `ConfigError` for a wrong `kind`."""
    present = {
        name: pair
        for name, pair in (("train", arrays.train), ("validation", arrays.validation), ("test", arrays.test))
        if pair is not None
    }
    notes: list[str] = []
    inputs = {name: check_inputs(x, f"{arrays.name}: {name} inputs", notes) for name, (x, _) in present.items()}
    _same_lengths_and_shapes(arrays.name, inputs, {name: y for name, (_, y) in present.items()})
    raw = np.concatenate([y for _, y in present.values()])
    captions = config.captions if isinstance(config, Pictures) else ()
    preprocessing = arrays.preprocessing
    if kind == "tokens" and arrays.classes:
        targets, added = captioned(raw, arrays.classes, captions, arrays.name)
        preprocessing = {**preprocessing, **added}
    elif captions:
        raise ConfigError("data.captions are texts to be written: set task.kind=seq2seq, or leave them out")
    else:
        targets = _targets(arrays, raw, kind)
    ends = np.cumsum([len(x) for x in inputs.values()])[:-1]
    parts = {
        name: Part(inputs[name], values, names=arrays.names.get(name))
        for name, values in zip(present, np.split(targets.values, ends), strict=True)
    }
    pool = parts["train"]
    labels = strata(targets)
    division = divide(
        config,
        len(pool),
        None if labels is None else labels[: len(pool)],
        own_validation="validation" in parts,
        own_test="test" in parts,
    )
    train = pool.take(division.train)
    validation = parts["validation"] if "validation" in parts else pool.take(division.validation)
    test = parts["test"] if "test" in parts else pool.take(division.test)
    moments = measure(train.inputs)
    scaling = scaling_from(moments) if config.standardize else fixed_scaling(train.inputs, arrays.pixel_range)
    report = (*arrays.report, *dict.fromkeys(notes), *targets.report)
    return finish(arrays.name, targets, (train, validation, test), scaling, moments, preprocessing, report)


def check_inputs(x: np.ndarray, where: str, notes: list[str]) -> np.ndarray:
    """`x` (n, ...) as uint8 images (n, height, width, channels) or as float32. What was changed is added to `notes`.

    Raises `DataError`, beginning with `where`, when there are no examples, no numbers, or NaN or infinite ones.
    """
    rows = shape_inputs(x, where, notes)
    if len(bad := unusable_rows(rows)):
        count = rows.size - np.count_nonzero(np.isfinite(rows))
        raise DataError(
            f"{where} have {count:,} values that are NaN or infinite, in {len(bad):,} rows, the first in row {bad[0]:,}: "
            "fill them in or take the rows out"
        )
    return rows


def shape_inputs(x: np.ndarray, where: str, notes: list[str]) -> np.ndarray:
    """As `check_inputs`, but values may be NaN or infinite."""
    if x.dtype.kind not in "biuf":
        raise DataError(f"{where} are of type {x.dtype}: they must be numbers")
    if x.ndim < 2 or not x.size:
        raise DataError(
            f"{where} have shape {x.shape}: they must be (examples, features) or (examples, height, width, channels)"
        )
    if x.dtype == np.uint8 and x.ndim == 3:
        notes.append(f"inputs {x.shape[1:]} of bytes are taken for grey images")
        return x[..., None]
    if x.ndim == 4 and x.shape[1] in (1, 3) and x.shape[3] > 4:
        notes.append(f"images {x.shape[1:]} are taken for channels first and were turned to channels last")
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    if x.ndim == 3:
        notes.append(
            f"inputs {x.shape[1:]} are taken for {x.shape[1]} steps of {x.shape[2]} features; "
            "grey images are uint8, or have a channel axis"
        )
    if x.dtype == np.uint8 and x.ndim == 4:
        return x
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
        return x.astype(np.float32, copy=False)


def unusable_rows(inputs: np.ndarray) -> np.ndarray:
    """The numbers of the rows of `inputs` (n, ...) with values that are NaN or infinite."""
    if inputs.dtype == np.uint8 or (finite := np.isfinite(inputs)).all():
        return np.arange(0)
    return np.flatnonzero(~finite.reshape(len(inputs), -1).all(axis=1))


def _same_lengths_and_shapes(name: str, inputs: dict[str, np.ndarray], targets: dict[str, np.ndarray]) -> None:
    shape = inputs["train"].shape[1:]
    for part, x in inputs.items():
        y = targets[part]
        if not y.ndim or len(x) != len(y):
            raise DataError(f"{name}: {part} has {len(x):,} inputs but {len(y) if y.ndim else 1:,} targets")
        if x.shape[1:] != shape or x.dtype != inputs["train"].dtype:
            raise DataError(
                f"{name}: {part} inputs are {x.shape[1:]} {x.dtype} and train inputs {shape} {inputs['train'].dtype}: "
                "they must agree"
            )
        if y.shape[1:] != targets["train"].shape[1:]:
            raise DataError(
                f"{name}: {part} targets are {y.shape[1:]} and train targets {targets['train'].shape[1:]}: they must agree"
            )


def _targets(arrays: Arrays, raw: np.ndarray, kind: TargetKind | None) -> Targets:
    if not arrays.classes:
        return encode_targets(raw, ("y",), kind, arrays.name, most_classes=ARRAY_CLASSES)
    if kind not in (None, "class"):
        raise ConfigError(f"task: {arrays.name} has classes ({', '.join(arrays.classes[:3])}, ...): set task.kind=classify")
    return Targets(raw.astype(np.int32), "class", arrays.classes, ("class",), ())
