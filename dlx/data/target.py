"""What is to be predicted: from a column of anything to classes, labels or numbers, and the names for the way back."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from dlx.data.dataset import TargetKind
from dlx.errors import DataError

TABLE_CLASSES = 20
"""A table's whole-number column with more distinct values than this is taken for a quantity."""
ARRAY_CLASSES = 1000
"""The same for the whole-number `y` of an array file, where labels are the rule and quantities are stored as floats."""


@dataclass(frozen=True)
class Targets:
    """`values` is (n,) int32 classes, (n, labels) float32 of 0 and 1, (n, numbers) float64, (n, length) int32 tokens, or (n, 0) float32;
    `finish` makes `Part`'s.
    """

    values: np.ndarray
    kind: TargetKind
    classes: tuple[str, ...]
    """Sorted, by value if all are numbers; the label names for `labels`; empty for numbers."""
    names: tuple[str, ...]
    """The names of the target columns."""
    report: tuple[str, ...]
    vocabulary: int = 0
    """How many different tokens there are."""

    @property
    def outputs(self) -> int:
        """How many classes, labels or numbers; the vocabulary of tokens."""
        match self.kind:
            case "class":
                return len(self.classes)
            case "tokens":
                return self.vocabulary
            case "labels" | "number" | "none":
                return self.values.shape[1]


def encode_targets(
    raw: np.ndarray, names: tuple[str, ...], kind: TargetKind | None, where: str, *, most_classes: int
) -> Targets:
    """Encode `raw` (n,) or (n, columns), of any type and without missing values, as `kind`, or infer the kind.

    `where` begins the messages. Raises `DataError` when `raw` cannot be that kind, or holds a single class or value.
    """
    if raw.ndim > 2 or not raw.size:
        raise DataError(f"{where}: the target has shape {raw.shape}: it must be (examples,) or (examples, outputs)")
    if raw.dtype == object and (missing := sum(item is None or item != item for item in raw.ravel().tolist())):
        raise DataError(f"{where}: the target has {missing:,} missing values: take those rows out")
    raw = _plain(raw[:, 0] if raw.ndim == 2 and raw.shape[1] == 1 and kind != "labels" else raw)
    inferred = _infer(raw, most_classes)
    asked = kind or inferred
    names = names if raw.ndim == 1 or len(names) == raw.shape[1] else tuple(f"{names[0]}{i}" for i in range(raw.shape[1]))
    if asked == "number":
        targets = _numbers(raw, names, where)
    elif asked == "labels":
        targets = _labels(raw, names, where)
    else:
        targets = _classes(raw, names, where)
    return targets if kind else _with_report(targets, len(raw))


def _plain(raw: np.ndarray) -> np.ndarray:
    """The narrowest honest type: objects become bools, numbers or text; text that is all numbers is sorted as such later."""
    if raw.dtype.kind in "biuf":
        return raw
    items = raw.ravel().tolist()
    if all(isinstance(item, bool) for item in items):
        return raw.astype(bool)
    if all(isinstance(item, int | float) for item in items):
        return np.array(items).reshape(raw.shape)
    if all(isinstance(item, int | float | Decimal) for item in items):
        return raw.astype(np.float64)
    return np.array([str(item) for item in items]).reshape(raw.shape)


def _infer(raw: np.ndarray, most_classes: int) -> TargetKind:
    if raw.ndim == 2:
        if not _is_binary(raw):
            return "number"
        return "class" if (raw.sum(axis=1) == 1).all() else "labels"  # exactly one 1 in every row: one-hot classes
    if raw.dtype.kind in "bU" or _is_binary(raw):
        return "class"
    if raw.dtype.kind == "f":
        return "number"
    distinct = len(np.unique(raw))
    return "class" if distinct <= 2 or (distinct <= most_classes and distinct * 10 <= len(raw)) else "number"


def _is_binary(raw: np.ndarray) -> bool:
    return raw.dtype.kind in "biuf" and bool(np.isin(raw, (0, 1)).all())


def _numbers(raw: np.ndarray, names: tuple[str, ...], where: str) -> Targets:
    if raw.dtype.kind == "U":
        raise DataError(
            f"{where}: the target {names[0]!r} is text ({str(raw.flat[0])!r}), not a number: use task.kind=classify"
        )
    values = raw.reshape(len(raw), -1).astype(np.float64)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
        finite = np.isfinite(values.astype(np.float32))
    if bad := int((~finite).any(axis=1).sum()):
        raise DataError(
            f"{where}: the target has NaN or infinite values in {bad:,} of {len(values):,} rows: take those rows out"
        )
    if constant := [name for name, column in zip(names, values.T, strict=True) if (column == column[0]).all()]:
        raise DataError(f"{where}: the target {constant[0]!r} has the same value in every row: there is nothing to learn")
    return Targets(values, "number", (), names, ())


def _labels(raw: np.ndarray, names: tuple[str, ...], where: str) -> Targets:
    if not _is_binary(raw):
        raise DataError(
            f"{where}: labels must be 0 or 1 and the target {', '.join(names[:5])} has other values: use task.kind=classify"
        )
    values = raw.reshape(len(raw), -1).astype(np.float32)
    if not values.any():
        raise DataError(f"{where}: no row has any label: there is nothing to learn")
    return Targets(values, "labels", names, names, ())


def _classes(raw: np.ndarray, names: tuple[str, ...], where: str) -> Targets:
    if raw.ndim == 2:
        if not _is_binary(raw) or not (raw.sum(axis=1) == 1).all():
            raise DataError(
                f"{where}: {raw.shape[1]} target columns are classes only if each row has one 1 and else 0: "
                "use one column, or task.kind=multilabel"
            )
        return Targets(raw.argmax(axis=1).astype(np.int32), "class", names, names, ())
    if raw.dtype.kind == "f":
        if not np.isfinite(raw).all() or (raw != np.round(raw)).any():
            raise DataError(f"{where}: the target {names[0]!r} has fractions, such as {_fraction(raw)}: use task.kind=regress")
        if (np.abs(raw) < 2**53).all():
            raw = raw.astype(np.int64)
    values, codes = np.unique(raw, return_inverse=True)
    if len(values) == 1:
        raise DataError(f"{where}: the target {names[0]!r} is {str(values[0])!r} in every row: two classes or more are needed")
    if len(values) > TABLE_CLASSES and len(values) * 2 > len(raw):
        raise DataError(
            f"{where}: the target {names[0]!r} has {len(values):,} different values in {len(raw):,} rows: "
            "that names the rows rather than classes"
        )
    order = sorted(range(len(values)), key=lambda code: _number_first(str(values[code])))
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order))
    return Targets(place[codes.reshape(-1)], "class", tuple(str(values[code]) for code in order), names, ())


def _fraction(raw: np.ndarray) -> Any:
    return raw[~(raw == np.round(raw))][0]


def _number_first(text: str) -> tuple[int, float, str]:
    """Sorts numbers by value, before all other text by letters: 2 comes before 10."""
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text


def _with_report(targets: Targets, examples: int) -> Targets:
    """Add the sentence that says what was inferred."""
    shown = ", ".join(targets.classes[:10]) + (", ..." if len(targets.classes) > 10 else "")
    column = ", ".join(targets.names[:5]) + (", ..." if len(targets.names) > 5 else "")
    match targets.kind:
        case "class":
            largest = max(np.bincount(targets.values).tolist())
            said = f"the target {column} is taken for {targets.outputs} classes ({shown}); "
            said += f"the largest has {largest / examples:.1%} of {examples:,} rows"
        case "labels":
            said = (
                f"the target is taken for {targets.outputs} labels ({shown}), {targets.values.sum(axis=1).mean():.2f} per row"
            )
        case "number":
            limits = zip(targets.names, targets.values.min(axis=0), targets.values.max(axis=0), strict=True)
            ranges = [f"{name} from {low:,.6g} to {high:,.6g}" for name, low, high in limits]
            more = ", ..." if len(ranges) > 5 else ""
            what = "a number" if len(ranges) == 1 else f"{len(ranges)} numbers"
            said = f"the target is taken for {what}: {', '.join(ranges[:5])}{more}"
    return Targets(targets.values, targets.kind, targets.classes, targets.names, (said,))
