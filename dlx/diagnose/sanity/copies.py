"""Checks for what leaked between the parts of the data: the same examples twice, or statistics of all parts together."""

import math

import numpy as np

from dlx.data import Dataset, Part, some_rows
from dlx.data.scaling import fit_scaling
from dlx.diagnose.sanity.alike import digests
from dlx.diagnose.sanity.checked import Problem, finding_of
from dlx.diagnose.sanity.finding import Finding
from dlx.diagnose.sanity.of_data import MOST_VALUES, every_part
from dlx.diagnose.sanity.subject import Subject

LEAK_SHARE, LEAK_ROWS, DISTINCT = 0.01, 5, 0.99
"""Copies are a leak from this share and this number of rows on, unless the training rows repeat each other anyway."""
LEAK_REPEATED = 20
"""Where they do, from this number on, if all have the targets of their originals."""
NEAR = 0.01
"""A row is a near copy below this part of the distance at which rows usually have their nearest neighbour."""
ALIKE = (
    "look for examples that are nearly the same, such as several pictures of one thing or several rows of one person, "
    "and keep those of one in one part"
)
MOST_COLUMNS, PROJECTED, COMPARED = 256, 64, 2048
"""Rows with more columns are compared by so many random projections; and so many held-out rows are compared."""
BLOCK = 4_000_000
"""Values that are standardized at once."""
EXACT_MEAN, EXACT_STD, FURTHER = 1e-4, 1e-3, 10.0
"""How exactly all parts together are standardized, and how much further the training part alone must be from it."""


def duplicates(subject: Subject) -> Finding:
    """Are examples of the validation and test parts also in the training part?"""
    whole = subject.whole
    parts = {name: part for name, part in every_part(subject).items() if name != "train"}
    if not parts:
        return Finding("skip", "does not apply: nothing is held out")
    rows = digests(whole.train.inputs)
    known, pairs = set(rows), set(_pairs(rows, whole.train))
    distinct = len(known) / len(whole.train)
    problems: list[Problem] = []
    numbers: dict[str, float | int] = {"distinct": distinct}
    for name, part in parts.items():
        held_out = digests(part.inputs)
        count = sum(digest in known for digest in held_out)
        same = sum(pair in pairs for pair in _pairs(held_out, part))
        near = _near_copies(subject, part)
        numbers |= {f"{name}_copies": count, f"{name}_same_target": same, f"{name}_near_copies": near}
        if count:
            enough = count >= LEAK_ROWS if distinct >= DISTINCT else count >= LEAK_REPEATED and same == count
            leak = enough and count >= LEAK_SHARE * len(part)
            said = _said(name, len(part), count, same)
            cure = ": take them out, or the scores will be too good"
            problems.append(("fail", said + cure) if leak else ("warn", said if distinct < DISTINCT else said + cure))
        if near:
            said = f"{near:,} {name} {'example is' if near == 1 else 'examples are'} nearly equal to one of {len(subject.small.train):,} training examples"
            problems.append(("warn", f"{said}: {ALIKE}"))
    if problems and distinct < DISTINCT:
        problems.append(("warn", f"only {distinct:.1%} of the training examples are distinct: look why rows repeat"))
    compared = " and ".join(f"{len(part):,} {name}" for name, part in parts.items())
    return finding_of(problems, f"none of {compared} examples is also a training example", numbers)


def statistics(subject: Subject) -> Finding:
    """Was something computed from the validation and test parts, too? Inputs that are scaled exactly only with them tell."""
    whole = subject.whole
    if whole.spec.tokens:
        return Finding("skip", "the inputs are tokens: nothing scales them")
    problems: list[Problem] = []
    if subject.config.data.standardize and (wrong := _foreign_scaling(whole)):
        problems.append(
            ("fail", f"{wrong} features are not standardized by the training part: this is a mistake in dlx, report it")
        )
    parts = every_part(subject)
    values = sum(part.inputs.size for part in parts.values())
    if whole.train.inputs.dtype == np.uint8 or len(parts) == 1 or values > MOST_VALUES:
        if len(parts) == 1 and not problems:
            return Finding("skip", "does not apply: nothing is held out")
        if values > MOST_VALUES and whole.train.inputs.dtype != np.uint8 and not problems:
            return Finding("skip", f"not looked at: more than {MOST_VALUES:,} values")
        fine = f"the inputs come as they are measured; dlx standardizes by the {len(whole.train):,} training examples alone"
        return finding_of(problems, fine)
    features = len(whole.scaling.mean)
    train, together = (
        np.concatenate([part.inputs.reshape(-1, features) for part in chosen]).astype(np.float64)
        for chosen in ([whole.train], parts.values())
    )
    # An official test part that was scaled with the rest leaks into the score; a validation part only into the choice.
    verdict = "fail" if "test" in parts else "warn"
    others = " and ".join(name for name in parts if name != "train")
    standard, ranged = _standardized_together(train, together), _ranged_together(train, together)
    cure = "standardize by the training part alone, or leave it to dlx (data.standardize=true)"
    if standard:
        problems.append((verdict, f"{standard} of {features} features are standardized together with {others}: {cure}"))
    if ranged:
        problems.append(("warn", f"{ranged} of {features} features are scaled to 0..1 together with {others}: {cure}"))
    numbers = {"standardized_together": standard, "ranged_together": ranged}
    return finding_of(problems, f"no feature is scaled by what is in {others}", numbers)


def _pairs(rows: list[bytes], part: Part) -> list[tuple[bytes, bytes]]:
    """The digests of a part's inputs, each with its target."""
    return [(digest, target.tobytes()) for digest, target in zip(rows, part.targets, strict=True)]


def _said(name: str, examples: int, count: int, same: int) -> str:
    return (
        f"{count:,} of {examples:,} {name} examples ({count / examples:.2%}) are also training examples, "
        f"{same:,} with the same target"
    )


def _near_copies(subject: Subject, part: Part) -> int:
    """How many of some rows lie next to one of the small training part, without being equal to one."""
    few = part.take(some_rows(len(part), COMPARED))
    train, held = (_columns(rows, subject.whole) for rows in (subject.small.train, few))
    # |a - b|^2 = |a|^2 + |b|^2 - 2 a b, in float64: what rounding leaves of zero is a hundred-millionth of the rows' length.
    squares = (held**2).sum(1)[:, None] + (train**2).sum(1) - 2 * held @ train.T  # (held, train)
    distances = np.sqrt(np.maximum(squares.min(1), 0))
    apart = distances[distances > 1e-6 * np.sqrt((train**2).sum(1).max())]  # copies are counted by themselves
    return int((apart < NEAR * np.median(apart)).sum()) if len(apart) else 0


def _columns(part: Part, whole: Dataset) -> np.ndarray:
    """Standardized inputs (n, columns) in float64, or a random projection of them."""
    columns = math.prod(part.inputs.shape[1:])
    block = max(1, BLOCK // columns)  # rows at a time: as floats, large images would need much memory
    chance = np.random.Generator(np.random.Philox(key=0))
    onto = (
        chance.standard_normal((columns, PROJECTED), np.float32)
        if columns > MOST_COLUMNS
        else np.eye(columns, dtype=np.float32)
    )
    found = np.zeros((len(part), onto.shape[1]))
    for start in range(0, len(part), block):
        rows = slice(start, start + block)
        found[rows] = whole.scaling.apply(part.inputs[rows]).reshape(-1, columns) @ onto
    return found


def _foreign_scaling(whole: Dataset) -> int:
    """How many features dlx would scale by other numbers than the training part's own. A feature may be left as it is."""
    own, used = fit_scaling(whole.train.inputs), whole.scaling
    same = np.isclose(own.mean, used.mean, rtol=1e-5, atol=1e-6) & np.isclose(own.inverse_std, used.inverse_std, rtol=1e-4)
    untouched = (used.mean == 0) & (used.inverse_std == 1)
    return int((~same & ~untouched).sum())


def _standardized_together(train: np.ndarray, together: np.ndarray) -> int:
    """How many features of (n, features) have mean 0 and deviation 1 exactly, but not over the training part. 0 if not most."""
    varies = np.array(
        [len(np.unique(column[:1000])) > 2 for column in together.T]
    )  # +1 and -1 in equal number are standardized too
    if not varies.any():
        return 0
    off, alone = (np.abs(x.mean(0)) + _off_one(x) for x in (together, train))
    exact = (np.abs(together.mean(0)) < EXACT_MEAN) & (_off_one(together) < EXACT_STD)
    found = varies & exact & (alone > FURTHER * off)
    return int(found.sum()) if found.sum() >= varies.sum() / 2 else 0


def _off_one(x: np.ndarray) -> np.ndarray:
    """How far the deviations of (n, features) are from 1, as NumPy takes them or as pandas does (over n - 1)."""
    return np.minimum(*(np.abs(x.std(0, ddof=ddof) - 1) for ddof in (0, 1)))


def _ranged_together(train: np.ndarray, together: np.ndarray) -> int:
    """How many of (n, features) reach from 0 to 1 exactly, but not over the training part. 0 unless nearly all reach."""
    low, high = together.min(0), together.max(0)
    varies = np.array([len(np.unique(column[:1000])) > 2 for column in together.T])
    exact = varies & (np.abs(low) < 1e-6) & (np.abs(high - 1) < 1e-6)
    if not exact.any() or exact.sum() < 0.9 * varies.sum():
        return 0
    short = exact & ((train.min(0) > 1e-4) | (train.max(0) < 1 - 1e-4))
    return int(short.sum()) if short.sum() > 1 else 0
