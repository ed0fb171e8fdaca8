"""New data through a trained network, a chunk at a time: however long the data is, memory stays the same."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from dlx.config.series_data import Series
from dlx.data import Chunk, OnBad, Spec, stream
from dlx.data.incoming import find_format
from dlx.data.text_tokenizer import Tokenizer
from dlx.errors import UsageError
from dlx.evaluation.examined import require_answers
from dlx.evaluation.metrics import probabilities
from dlx.evaluation.results import Predicted
from dlx.experiment.restore import Trained
from dlx.tasks.seq2seq import SequenceToSequence


def predict(trained: Trained, source: str, *, on_bad: OnBad) -> Iterator[Predicted]:
    """Predictions for new data, a table at a time, in order. The host reads ahead while the device computes.

    Raises what `dlx.data.stream` raises, and `UsageError` for a task that has no answer for each example, and for bad rows of a series
    that are to be left out.
    """
    if on_bad == "skip" and isinstance(trained.config.data, Series):
        raise UsageError(
            "--on-bad skip: a series is read whole, as each of its rows is looked at with those before it: leave it out, and correct the row"
        )
    answers, waiting = _reading(trained), deque[Chunk]()
    # Writing takes long: what a call of the device gives is told at once.
    rows = trained.forward.size if isinstance(trained.task, SequenceToSequence) else None
    chunks = stream(trained.preparation, source, trained.config.data, rows_per_chunk=rows, on_bad=on_bad)
    place = "line" if find_format(source) == "csv" else "row"

    def inputs() -> Iterator[np.ndarray]:
        for chunk in chunks:
            waiting.append(chunk)
            yield chunk.inputs

    for outputs in trained.forward.stream(inputs()):
        chunk = waiting.popleft()
        where = {place: pa.array(chunk.rows)} if chunk.names is None else {"file": pa.array(chunk.names)}
        table = pa.table({**where, **answers(outputs)})
        yield Predicted(table, chunk.bad, chunk.unseen, chunk.fitted, chunk.unknown, chunk.notes)


def _reading(trained: Trained) -> Callable[[np.ndarray], dict[str, pa.Array]]:
    """What turns outputs into columns. Raises `UsageError` for a task that has no answer for each example."""
    target = trained.preparation.target_tokenizer
    if isinstance(trained.task, SequenceToSequence) and target is not None:
        return partial(_texts, target)
    require_answers(trained)
    return partial(columns, trained.preparation.spec)


def _texts(target: Tokenizer, tokens: np.ndarray) -> dict[str, pa.Array]:
    """Tokens (n, t) as text, in the column `prediction`."""
    return {"prediction": pa.array([target.decode(row) for row in tokens], pa.string())}


def columns(spec: Spec, outputs: np.ndarray) -> dict[str, pa.Array]:
    """Outputs (n, k) as columns for people and programs: what is predicted, and how probable it is.

    Classes: `prediction` (a name) and `probability NAME` of each. Labels: `prediction NAME` (0 or 1) and `probability NAME` of each.
    Numbers: `prediction`, or of several `prediction NAME`.
    """
    chances = probabilities(spec.supervision, outputs).astype(np.float32)
    match spec.supervision:
        case "class":
            best = pa.DictionaryArray.from_arrays(pa.array(outputs.argmax(1).astype(np.int32)), pa.array(spec.classes))
            return {"prediction": best, **_named("probability", spec.classes, chances)}
        case "labels":
            guesses = (outputs > 0).astype(np.int8)
            return {**_named("prediction", spec.classes, guesses), **_named("probability", spec.classes, chances)}
        case "number":
            one = outputs.shape[1] == 1
            return {"prediction": pa.array(outputs[:, 0])} if one else _named("prediction", spec.target_names, outputs)


def _named(what: str, names: Sequence[str], values: np.ndarray) -> dict[str, pa.Array]:
    return {f"{what} {name}": pa.array(column) for name, column in zip(names, np.ascontiguousarray(values.T), strict=True)}
