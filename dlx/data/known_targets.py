"""The targets of new data, by the classes, labels or numbers that a network learned."""

from collections import Counter

import numpy as np

from dlx.data.dataset import Spec
from dlx.errors import DataError, first_of

_SHOWN = 8


def class_codes(spec: Spec, names: np.ndarray) -> tuple[np.ndarray, str]:
    """(n,) int32 codes of the class names (n,) of text, and what is wrong: the names that are of no class, with counts."""
    unique, places = np.unique(names, return_inverse=True)
    codes = {name: code for code, name in enumerate(spec.classes)}
    found = np.array([codes.get(str(name), -1) for name in unique], np.int32)[places.reshape(-1)]
    if (found >= 0).all():
        return found, ""
    counts = Counter(names[found < 0].tolist()).most_common()
    shown = first_of([f"{name!r} ({count:,} row{'s' if count > 1 else ''})" for name, count in counts], _SHOWN)
    known = ", ".join(spec.classes[:_SHOWN]) + (", ..." if len(spec.classes) > _SHOWN else "")
    return found, f"the target has classes that the network does not know: {shown} (it knows {known})"


def values_for(spec: Spec, values: np.ndarray) -> tuple[np.ndarray, str]:
    """Numbers (n, columns) as the targets of `spec`, and what is wrong with them.

    Classes (n,) int32 of columns with one 1 in each row, labels (n, labels) float32 of 0 and 1, or numbers float32.
    """
    if values.shape[1] != len(spec.target_names) and values.shape[1] != spec.outputs:
        return values, f"the target has {values.shape[1]:,} columns and not {spec.outputs:,}"
    if spec.target == "number":
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
            numbers = values.astype(np.float32)
        bad = int((~np.isfinite(numbers)).any(axis=1).sum())
        return numbers, f"the target is not finite in {bad:,} rows" if bad else ""
    if not np.isin(values, (0, 1)).all():
        return values, f"the target {', '.join(spec.target_names[:_SHOWN])} has values other than 0 and 1"
    if spec.target == "labels":
        return values.astype(np.float32), ""
    single = values.sum(axis=1) == 1
    wrong = "" if single.all() else f"{int((~single).sum()):,} rows have not exactly one 1 among the target columns"
    return values.argmax(axis=1).astype(np.int32), wrong


def array_targets(spec: Spec, y: np.ndarray, where: str) -> np.ndarray:
    """The targets of `spec` of `y` (n,) or (n, columns). Raises `DataError`, beginning with `where`, when they are others."""
    flat = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 and spec.target == "class" else y
    if y.dtype.kind not in "biufUS" or y.ndim > 2:
        raise DataError(f"{where} has shape {y.shape} and type {y.dtype}: it must be (examples,) or (examples, outputs)")
    if spec.target == "class" and flat.ndim == 1:
        names = class_names(flat)
        numbers = flat.dtype.kind in "iu"
        if numbers and not set(names.tolist()) & set(spec.classes) and flat.min() >= 0 and flat.max() < spec.outputs:
            return flat.astype(np.int32)  # the classes have names, and these are their numbers
        targets, said = class_codes(spec, names)
    elif y.dtype.kind in "US":
        targets, said = y, "the target is text and not numbers"
    else:
        targets, said = values_for(spec, y.reshape(len(y), -1))
    if said:
        raise DataError(f"{where} differs from the training data: {said}")
    return targets


def class_names(values: np.ndarray) -> np.ndarray:
    """(n,) text as classes are called: whole floats as whole numbers."""
    if values.dtype.kind == "f" and (values == np.round(values)).all() and (np.abs(values) < 2**53).all():
        values = values.astype(np.int64)
    return values.astype(str)
