"""The examples that a network is most wrong about, in words and pictures: wrong labels, rare cases, and what it has not learned."""

from collections import Counter
from hashlib import blake2b
from typing import Any

import numpy as np
from scipy.special import log_expit, log_softmax

from dlx.data import Part, Spec
from dlx.data.text_tokenizer import Tokenizer
from dlx.evaluation.results import Example

MOST = 12
DIM = 128
"""Bytes that never reach this are no photographs but counts of another range, such as 0..16, and are stretched for the eye."""


def worst(
    part: Part, outputs: np.ndarray, spec: Spec, *, most: int = MOST, tokenizer: Tokenizer | None = None
) -> tuple[Example, ...]:
    """At most so many examples, the highest loss first; of equal losses the first row first.

    `outputs` (n, k) are logits, or numbers in the data's own units; `tokenizer` is what texts were read with. Equal inputs are shown
    once. No more than half of them are mistakes about one class, unless the mistakes about others, and then whatever is least sure,
    leave places over.
    """
    if not len(part):
        return ()
    outputs = outputs.astype(np.float64)
    losses = np.nan_to_num(_errors(part.targets, outputs, spec).mean(1), nan=np.inf)
    rows = sorted(_chosen(part, outputs, spec, losses, most), key=lambda row: (-losses[row], row))
    stretch = _stretch(part.inputs) if len(spec.input_shape) == 3 else None
    return tuple(
        Example(
            row=int(row),
            loss=float(losses[row]),
            truth=_words(part.targets[row], spec),
            predicted=_words(_prediction(outputs[row], spec), spec),
            confidence=_confidence(outputs[row], spec),
            picture=None if stretch is None else _picture(part.inputs[row], stretch),
            columns=_columns(part, row, spec, tokenizer),
            file_row=None if part.rows is None else int(part.rows.index[row]),
        )
        for row in rows
    )


def wrong_output(part: Part, outputs: np.ndarray, spec: Spec) -> np.ndarray:
    """(n,) the output to explain of each example: the predicted class; the label, or the number, that it is most wrong about."""
    if spec.supervision == "class":
        return np.argmax(outputs, axis=1)
    return _errors(part.targets, outputs.astype(np.float64), spec).argmax(1)


def _errors(targets: np.ndarray, outputs: np.ndarray, spec: Spec) -> np.ndarray:
    """What the mean over the columns of (n, k or 1) is each example's loss: cross-entropy, or squared standard deviations."""
    match spec.supervision:
        case "class":
            return -np.take_along_axis(log_softmax(outputs, axis=1), targets[:, None], axis=1)
        case "labels":
            return -log_expit(np.where(targets > 0, outputs, -outputs))
        case "number":
            return np.square((outputs - targets) / np.asarray(spec.target_std))


def _chosen(part: Part, outputs: np.ndarray, spec: Spec, losses: np.ndarray, most: int) -> list[int]:
    """The rows to show, in no particular order."""
    order = np.argsort(-losses, kind="stable")
    chosen: list[int] = []
    seen: set[bytes] = set()
    of_class: Counter[int] = Counter()

    def take(row: int) -> None:
        content = blake2b(part.inputs[row].tobytes(), digest_size=16).digest()
        if content not in seen:
            seen.add(content)
            chosen.append(row)
            of_class[int(part.targets[row]) if spec.supervision == "class" else len(chosen)] += 1

    if spec.supervision == "class":
        for row in order[(outputs.argmax(1) != part.targets)[order]].tolist():
            if len(chosen) < most and of_class[int(part.targets[row])] < (most + 1) // 2:
                take(row)
    for row in order.tolist():
        if len(chosen) == most:
            break
        take(row)
    return chosen


def _prediction(output: np.ndarray, spec: Spec) -> np.ndarray:
    """What is said of one example (k,), as targets are written."""
    match spec.supervision:
        case "class":
            return np.asarray(np.argmax(output))
        case "labels":
            return output > 0
        case "number":
            return output


def _words(target: np.ndarray, spec: Spec) -> str:
    match spec.supervision:
        case "class":
            return spec.classes[int(target)]
        case "labels":
            return ", ".join(name for name, there in zip(spec.classes, target, strict=True) if there) or "no label"
        case "number" if len(target) == 1:
            return _number(float(target[0]))
        case "number":
            return ", ".join(f"{name} {_number(float(value))}" for name, value in zip(spec.target_names, target, strict=True))


def _number(value: float) -> str:
    """A number of a table for people: six digits, thousands apart."""
    return f"{value:,.0f}" if 1e5 <= abs(value) < 1e15 else f"{value:,.6g}"


def _confidence(output: np.ndarray, spec: Spec) -> float | None:
    """The probability of the predicted class, or of all labels together being as predicted."""
    match spec.supervision:
        case "class":
            return float(np.exp(log_softmax(output).max()))
        case "labels":
            return float(np.exp(log_expit(np.abs(output)).sum()))
        case "number":
            return None


def _stretch(inputs: np.ndarray) -> tuple[float, float]:
    """What is shown as black, and the factor to 255."""
    if inputs.dtype == np.uint8:
        high = int(inputs.max())
        return 0.0, 255 / high if 0 < high < DIM else 1.0
    low, high = float(inputs.min()), float(inputs.max())
    return low, 255 / (high - low) if high > low else 0.0


def _picture(image: np.ndarray, stretch: tuple[float, float]) -> np.ndarray:
    """(height, width, channels) uint8 of 1, 3 or 4 channels; of other numbers of channels the mean."""
    if image.shape[-1] not in (1, 3, 4):
        image = image.mean(-1, keepdims=True)
    low, factor = stretch
    return np.clip(np.round((image.astype(np.float32) - low) * factor), 0, 255).astype(np.uint8)


def _columns(part: Part, row: int, spec: Spec, tokenizer: Tokenizer | None) -> dict[str, str] | None:
    """The row as it was read, but for its targets; or the text as the network sees it; or the file that an image was read from."""
    if tokenizer is not None:
        return {"text": tokenizer.decode(part.inputs[row])}
    if part.names is not None:
        return {"file": str(part.names[row])}
    if part.rows is None:
        return None
    names = [name for name in part.rows.columns if name not in spec.target_names]
    return {str(name): _cell(part.rows[name].iloc[row]) for name in names}


def _cell(value: Any) -> str:
    import pandas as pd

    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "missing"
    return f"{value:.10g}" if isinstance(value, float) else str(value)
