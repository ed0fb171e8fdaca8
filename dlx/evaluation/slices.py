"""Scores on parts of a table: how good is the network for women, for the old, for what is missing?

`--slice sex` takes each value of a column, `--slice age:10` ten intervals with about as many rows each (of text: the ten most
frequent values), `--slice 'sex*race'` each pair. Columns that the network does not use can be sliced by, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from dlx.data import Part, Spec
from dlx.data.columns import Category, Column, Date, Number, as_numbers, as_text, as_times
from dlx.data.encoder import TableEncoder, nearest
from dlx.errors import UsageError
from dlx.evaluation.metrics import headline, measure, score
from dlx.evaluation.results import Slice

MOST_VALUES, INTERVALS = 20, 5
"""Values of a column that get a slice each, and the intervals of a column with more numbers than that."""
MOST_SLICES = 100
FEWEST = 10
"""Examples of a slice, and of all others, without which it is not judged."""
DRAWS, FEWEST_RESAMPLES = 50_000_000, 200
"""What the resamples of all slices of one column draw together, at most, unless that makes them too few."""
LOTS, BLOCK, HITS = 10_000, 500, 20
"""Random slices that are drawn, at most, and at a time, until so many are as bad as the one that is judged."""
DISTINCT = 400
"""Losses that are told apart in it: half of them the highest ones, each alone, half means of what is left."""
LEVEL = 0.05
"""The probability of calling a slice worse by chance, whichever of all that are asked for."""
MOST_NAMED = 10
OTHERS, MISSING = "other values", "missing"


@dataclass(frozen=True)
class Cut:
    """The rows of a table, divided by one column or by several."""

    column: str
    """As it was asked for, without the count."""
    names: tuple[str, ...]
    codes: np.ndarray
    """(n,) the place of each row's value in `names`; each place occurs."""


def slices(
    part: Part, outputs: np.ndarray, spec: Spec, asked: Sequence[str], *, resamples: int, encoder: TableEncoder | None = None
) -> tuple[Slice, ...]:
    """The metrics of each slice that was asked for, with intervals from so many resamples. `outputs` (n, k) as in `measure`.

    Of many examples fewer resamples are drawn, never below 200. With `encoder` columns are understood as the network does: text may be numbers or dates. Raises `UsageError` for data that is no
    table, for a column it does not have, and for a slice that cannot be.
    """
    resamples = min(resamples, max(FEWEST_RESAMPLES, DRAWS // max(1, len(part))))
    return tuple(
        Slice(
            cut.column,
            name,
            int(np.sum(rows := cut.codes == code)),
            measure(spec.supervision, outputs[rows], part.targets[rows], resamples=resamples).overall,
        )
        for cut in _cuts(part, asked, encoder)
        for code, name in enumerate(cut.names)
    )


def weak_slices(
    part: Part, outputs: np.ndarray, spec: Spec, asked: Sequence[str], *, encoder: TableEncoder | None = None
) -> tuple[str, ...]:
    """A sentence for each slice that scores worse than all other examples by more than chance, the surest first; at most 10.

    Fisher's exact test of right and wrong classes; else a permutation test of what each example adds to the headline metric, which
    holds its level however far the worst of them lie out. One-sided, at 5 % for all slices together (Holm 1979). Slices of fewer than
    10 examples are not judged. Raises what `slices` raises.
    """
    metric, _ = headline(spec.supervision)
    losses = _losses(spec, outputs, part.targets)
    judged: list[tuple[float, str, np.ndarray]] = []
    for cut in _cuts(part, asked, encoder):
        for code, name in enumerate(cut.names):
            rows = cut.codes == code
            if min(rows.sum(), (~rows).sum()) >= FEWEST:
                judged.append((_chance(losses, rows), f"{cut.column} {name}", rows))
    judged.sort(key=lambda each: each[0])
    found: list[str] = []
    corrected = 0.0
    for place, (chance, name, rows) in enumerate(judged):
        corrected = max(corrected, chance * (len(judged) - place))
        if corrected >= LEVEL or len(found) == MOST_NAMED:
            break
        within, others = (score(spec.supervision, outputs[i], part.targets[i], metric) for i in (rows, ~rows))
        p = f"p = {corrected:.2g}" if corrected >= 1e-4 else "p < 0.0001"
        of = f", corrected for {len(judged)} slices" if len(judged) > 1 else ""
        found.append(
            f"{name}: {metric} {_figure(within)} on {rows.sum():,} examples, {_figure(others)} on all others ({p}{of})"
        )
    return tuple(found)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.3g}"


def _losses(spec: Spec, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(n,) what each example adds to how bad the headline metric is: whether it is wrong; of -f1 and rmse the derivative."""
    match spec.supervision:
        case "class":
            return (outputs.argmax(1) != targets).astype(np.float64)
        case "labels":
            guess = outputs > 0
            right, all_ = 2.0 * (guess * targets).sum(1), guess.sum(1) + targets.sum(1)
            return right.sum() / max(all_.sum(), 1) * all_ - right
        case "number":
            squares = np.square(outputs.astype(np.float64) - targets)
            return (squares / np.maximum(squares.mean(0), np.finfo(float).tiny)).mean(1)


def _chance(losses: np.ndarray, rows: np.ndarray) -> float:
    """The probability that a random slice as large as `rows` (n,) bool has such a sum of losses (n,), or a higher one."""
    from scipy.stats import hypergeom

    if np.isin(losses, (0, 1)).all():
        return float(hypergeom.sf(losses[rows].sum() - 1, len(rows), losses.sum(), rows.sum()))
    order = np.argsort(-losses, kind="stable")
    alone = min(len(losses), DISTINCT // 2)
    groups = [*order[:alone, None], *(group for group in np.array_split(order[alone:], DISTINCT - alone) if len(group))]
    means, sizes = np.array([losses[group].mean() for group in groups]), np.array([len(group) for group in groups])
    observed = float(np.array([np.count_nonzero(rows[group]) for group in groups]) @ means)
    least = observed - 1e-9 * float(np.abs(losses).sum())  # what is equal but for rounding counts
    generator = np.random.Generator(np.random.PCG64(0))
    drawn = hits = 0
    while drawn < LOTS and hits < HITS:
        counts = generator.multivariate_hypergeometric(sizes, int(rows.sum()), BLOCK, method="marginals")
        drawn, hits = drawn + BLOCK, hits + int(np.count_nonzero(counts @ means >= least))
    return (hits + 1) / (drawn + 1)


# ------------------------------------------------------------------------------------------------------------ cuts


def _cuts(part: Part, asked: Sequence[str], encoder: TableEncoder | None) -> list[Cut]:
    if not asked:
        return []
    if part.rows is None:
        raise UsageError(f"--slice {asked[0]}: the data has no columns: only tables can be sliced")
    kinds: dict[str, Column] = {} if encoder is None else {column.name: column for column in encoder.columns}
    return [_cut(text, part.rows, kinds) for text in dict.fromkeys(asked)]


def _cut(text: str, frame: pd.DataFrame, kinds: dict[str, Column]) -> Cut:
    pieces = [text] if _named(text, frame) else text.split("*")
    single = [_column(piece.strip(), text, frame, kinds) for piece in pieces]
    if len(single) == 1:
        return single[0]
    code = np.zeros(len(frame), np.int64)
    for cut in single:
        code = code * len(cut.names) + cut.codes
    present, codes = np.unique(code, return_inverse=True)
    if len(present) > MOST_SLICES:
        raise UsageError(
            f"--slice {text} makes {len(present):,} slices, and {MOST_SLICES} are allowed: give counts, as in "
            f"{'*'.join(f'{cut.column}:4' for cut in single)}"
        )
    names = []
    for value in present.tolist():
        words = []
        for cut in reversed(single):
            value, place = divmod(value, len(cut.names))
            words.append(cut.names[place])
        names.append(", ".join(reversed(words)))
    return Cut("*".join(cut.column for cut in single), tuple(names), codes)


def _named(text: str, frame: pd.DataFrame) -> bool:
    """Whether this is a column, or a column and a count."""
    return text in frame.columns or text.rpartition(":")[0] in frame.columns


def _column(text: str, asked: str, frame: pd.DataFrame, kinds: dict[str, Column]) -> Cut:
    """One column, `name` or `name:count`."""
    name, colon, count = (text, "", "") if text in frame.columns else text.rpartition(":")
    if not colon:
        name = text
    if name not in frame.columns:
        raise UsageError(f"--slice {asked}: there is no column {name!r}{nearest(name, frame.columns)}")
    if colon and not (count.strip().isdecimal() and 2 <= int(count) <= MOST_SLICES):
        raise UsageError(f"--slice {asked}: after the colon stands how many slices to make, from 2 to {MOST_SLICES}")
    wanted = int(count) if colon else None
    column, kind = frame[name].infer_objects(), kinds.get(name)
    if isinstance(kind, Date) or pd.api.types.is_datetime64_any_dtype(column):
        return _of_dates(name, as_times(column, kind.format if isinstance(kind, Date) else None), wanted or INTERVALS)
    if isinstance(kind, Number) or (pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)):
        values = as_numbers(column)
        values = np.where(np.isfinite(values), values, np.nan)
        if pd.Series(values).nunique() <= (wanted or MOST_VALUES):
            return _of_values(name, pd.Series(values), wanted or MOST_VALUES, in_order=True)
        if wanted or not isinstance(kind, Category):
            return _of_numbers(name, values, wanted or INTERVALS)
    return _of_values(name, column, wanted or MOST_VALUES, in_order=False)


def _of_values(name: str, column: pd.Series, most: int, *, in_order: bool) -> Cut:
    """The most frequent values, the others together, the missing. `in_order` sorts numbers by value, else by frequency."""
    missing = column.isna().to_numpy()
    text = as_text(column).to_numpy(object)
    counts = pd.Series(text[~missing]).value_counts()
    order = sorted(counts.index, key=lambda word: (-counts[word], word))
    shown = order[:most]
    if in_order:
        shown.sort(key=float)
    places = {word: place for place, word in enumerate(shown)}
    codes = np.array([places.get(word, len(shown)) for word in text], np.int64)
    return _cleaned(name, [*shown, OTHERS], np.where(missing, -1, codes))


def _of_numbers(name: str, values: np.ndarray, intervals: int) -> Cut:
    known = np.isfinite(values)
    found = _intervals(values[known], intervals)
    edges = found.edges.tolist()
    if all(edge == round(edge) and abs(edge) < 1e15 for edge in edges):
        words = [f"{edge:.0f}" for edge in edges]
    else:
        digits = next(n for n in (6, 9, 17) if n == 17 or len({f"{edge:.{n}g}" for edge in edges}) == len({*edges}))
        words = [f"{edge:.{digits}g}" for edge in edges]
    return _between(name, words, known, found)


def _of_dates(name: str, times: pd.Series, intervals: int) -> Cut:
    known = times.notna().to_numpy()
    own = times[known].dt.tz_localize(None).to_numpy("datetime64[us]")
    found = _intervals(own.astype(np.int64), intervals)
    stamps = found.edges.astype("datetime64[us]")
    days = stamps.astype("datetime64[D]")
    unit = "D" if (days == stamps).all() or len(np.unique(days)) == len(np.unique(stamps)) else "s"
    words = [word.replace("T", " ") for word in np.datetime_as_string(stamps, unit).tolist()]
    return _between(name, words, known, found)


@dataclass(frozen=True)
class Intervals:
    """Sorted values, divided."""

    edges: np.ndarray
    """(intervals + 1,) of which each but the last belongs to the interval that it begins."""
    alone: np.ndarray
    """(intervals,) bool: whether all values of the interval are equal."""
    codes: np.ndarray
    """(n,) the interval of each value."""


def _between(name: str, words: list[str], known: np.ndarray, found: Intervals) -> Cut:
    """Intervals named by their ends, which are values that occur (`words`); the last one has its end, `[40, 90]`."""
    names = []
    for place, (low, high) in enumerate(pairwise(words)):
        last = place == len(found.alone) - 1
        names.append(low if found.alone[place] else f"[{low}, {high}{']' if last else ')'}")
    codes = np.full(len(known), -1, np.int64)
    codes[known] = found.codes
    return _cleaned(name, names, codes)


def _intervals(values: np.ndarray, most: int) -> Intervals:
    """At most so many intervals with about as many values in each.

    Equal values are never divided: each interval is filled until the next distinct value would take it farther from its share
    of what is left. So a column that is mostly 0 has an interval for 0.
    """
    if not len(values):
        return Intervals(values, np.zeros(0, bool), np.zeros(0, np.int64))
    distinct, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    starts, filled, left = [0], 0, len(values)
    for index, count in enumerate(counts.tolist()):
        share = left / max(1, most - len(starts) + 1)
        if filled and len(starts) < most and abs(filled + count - share) > abs(filled - share):
            starts.append(index)
            left, filled = left - filled, 0
        filled += count
    return Intervals(
        np.append(distinct[starts], distinct[-1:]),
        np.diff([*starts, len(distinct)]) == 1,
        np.searchsorted(starts, place.reshape(-1), side="right") - 1,
    )


def _cleaned(name: str, names: list[str], codes: np.ndarray) -> Cut:
    """The cut of those names that occur; the code -1 is a missing value."""
    codes = np.where(codes < 0, len(names), codes)
    present, codes = np.unique(codes, return_inverse=True)
    return Cut(name, tuple([*names, MISSING][place] for place in present.tolist()), codes.reshape(-1))
