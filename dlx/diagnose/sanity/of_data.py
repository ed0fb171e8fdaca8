"""Checks of the examples and their targets: nothing is trained, and no network is built."""

import math
from collections.abc import Sequence
from itertools import chain
from types import MappingProxyType

import numpy as np

from dlx.config.task import Classify, Multilabel, Regress
from dlx.data import Part, Spec, some_rows
from dlx.diagnose.sanity.checked import Problem, finding_of
from dlx.diagnose.sanity.finding import Finding
from dlx.diagnose.sanity.subject import Subject
from dlx.experiment.assemble import plan_for

RARE, RATIO = 10, 20.0
"""Training examples of a class, and how many times the largest class may outnumber the smallest."""
FAR = 10.0
"""Standard deviations from the mean that make a target an outlier."""
CENTRE, NARROW, WIDE, ABSURD = 1.0, 0.1, 10.0, 1000.0
"""What mean and standard deviation of a standardized feature may be, and what no network survives."""
MOST_VALUES = 20_000_000
"""Of inputs with more values than this only some rows are looked at."""
FEW_AN_EPOCH, FEW_STEPS, FEW_TO_NORMALIZE = 5, 100, 8
"""Steps of an epoch, steps in all, and examples in a batch whose mean and variance batch normalization takes."""
MOST_NAMED = 5
"""Features, of more the worst."""
SEVERAL = MappingProxyType({"class": "classes", "label": "labels"})
KINDS = MappingProxyType({"class": "classify", "label": "multilabel"})
SEPARATORS = ",|;"
"""What people write between the labels of one cell."""


def labels(subject: Subject) -> Finding:
    """Has every class (or label) its training examples, and are they balanced? Of numbers: do they vary, without outliers?"""
    whole, task = subject.whole, subject.config.task
    train, outputs = whole.train.targets, whole.spec.outputs
    held_out = np.concatenate([whole.validation.targets, whole.test.targets])
    if whole.spec.target == "number":
        return _numbers(train.astype(np.float64), whole.spec, robust=isinstance(task, Regress) and task.loss != "mse")
    weighted = isinstance(task, Classify | Multilabel) and task.class_weights != "none"
    if whole.spec.target == "labels":
        counts, held = train.sum(0).astype(int), held_out.sum(0).astype(int)
        return _balance("label", whole.spec.classes, counts, held, len(train) - counts, weighted=weighted)
    counts, held = (np.bincount(targets, minlength=outputs) for targets in (train, held_out))
    if (counts > 0).sum() == 1:
        only = whole.spec.classes[int(np.argmax(counts))]
        said = f"all {len(train):,} training examples are of class {only}: there is nothing to learn"
        return Finding("fail", said, {"counts": counts.tolist(), "ratio": 1.0})
    return _balance("class", whole.spec.classes, counts, held, np.full(outputs, np.max(counts)), weighted=weighted)


def standardized(subject: Subject) -> Finding:
    """Does every feature (or channel) reach the network with a mean near 0 and a standard deviation near 1?"""
    if subject.whole.spec.tokens:
        return Finding("skip", "the inputs are tokens, which have no mean")
    whole = subject.whole.train
    part = whole.take(some_rows(len(whole), max(1, MOST_VALUES // math.prod(subject.whole.spec.input_shape))))
    scaling = subject.whole.scaling
    values = scaling.apply(part.inputs).reshape(-1, len(scaling.mean))
    with np.errstate(all="ignore"):  # what is infinite is told below
        mean, std = values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64)
        distance = np.maximum(np.abs(mean), std)
    constant = std == 0
    flags = ((part.inputs.reshape(values.shape) == 0) | (part.inputs.reshape(values.shape) == 1)).all(0)  # are left as they are
    broken = ~np.isfinite(mean) | ~np.isfinite(std) | (distance > ABSURD)
    off = ~constant & ~flags & ((np.abs(mean) > CENTRE) | (std < NARROW) | (std > WIDE))
    what = "channel" if len(subject.whole.spec.input_shape) == 3 else "feature"
    problems: list[Problem] = []
    cure = "look at their raw values" if subject.config.data.standardize else "set data.standardize=true"
    if broken.any() or off.any():
        chosen = broken | off
        # In numbers of decades, so that too narrow counts like too wide; what is no number comes first.
        with np.errstate(all="ignore"):
            badness = np.nan_to_num(np.abs(np.log10(std)) + np.abs(mean), nan=np.inf, posinf=np.inf)
        worst = sorted(np.flatnonzero(chosen).tolist(), key=lambda i: (not broken[i], -badness[i]))
        shown = ", ".join(f"{what} {i} (mean {mean[i]:.3g}, std {std[i]:.3g})" for i in worst[:MOST_NAMED])
        shown += ", ..." if len(worst) > MOST_NAMED else ""
        said = f"{chosen.sum()} of {len(mean)} {what}s reach the network far from mean 0 and std 1: {shown}; {cure}"
        problems.append(("fail" if broken.any() else "warn", said))
    if constant.any():
        first = ", ".join(map(str, np.flatnonzero(constant)[:5]))
        said = f"{constant.sum()} of {len(mean)} {what}s never vary ({first}{', ...' if constant.sum() > 5 else ''})"
        problems.append(("warn", f"{said}: drop them, the network learns nothing from them"))
    features = f"{len(mean)} {what}s" if len(mean) > 1 else f"1 {what}"
    fine = f"{features}: means within {np.max(np.abs(mean)):.1g} of 0, deviations from {np.min(std):.2g} to {np.max(std):.2g}"
    return finding_of(
        problems, fine, {"mean": mean[:1000].tolist(), "std": std[:1000].tolist(), "constant": int(constant.sum())}
    )


def exclusive_labels(subject: Subject) -> Finding:
    """Are labels that exclude each other trained as classes, and labels that do not as labels?"""
    spec = subject.whole.spec
    if spec.target == "number":
        return Finding("skip", "does not apply: numbers are neither classes nor labels")
    if spec.target == "labels":
        each = subject.whole.train.targets.sum(1)
        mean = float(each.mean())
        if (each == 1).all():
            said = "every training example has exactly one label: use one column of classes, and task.kind=classify"
            return Finding("fail", said, {"labels_per_example": mean})
        said = f"the examples have {mean:.2f} labels each, from {each.min():.0f} to {each.max():.0f}"
        return Finding("pass", said, {"labels_per_example": mean})
    lists = lists_among(spec.classes)
    if lists:
        said = (
            f"{len(lists)} of {len(spec.classes)} classes look like several labels at once, such as {lists[0]!r}: "
            "with a column of 0 and 1 for each label use task.kind=multilabel"
        )
        return Finding("warn", said, {"lists": list(lists)})
    return Finding("pass", f"{len(spec.classes)} classes, none of them made of others", {"lists": []})


def lists_among(classes: tuple[str, ...]) -> tuple[str, ...]:
    """The class names that are lists of labels: `a,b` where `a` and `b` are also classes, or parts of other lists."""
    for separator in SEPARATORS:
        parts = {name: [part.strip() for part in name.split(separator)] for name in classes}
        seen = list(chain.from_iterable(set(each) for each in parts.values()))
        found = [n for n, each in parts.items() if len(each) > 1 and all(part and seen.count(part) > 1 for part in each)]
        if found:
            return tuple(found)
    return ()


def batch_size(subject: Subject) -> Finding:
    """Are there enough steps, and enough examples in each?"""
    config, examples = subject.config, len(subject.whole.train)
    _, plan = plan_for(config, subject.whole)
    batch, an_epoch, total = plan.batch_size, plan.steps_per_epoch, plan.total_steps
    full = config.train.batch_size == "full"
    problems: list[Problem] = []
    if not full and 2 * batch > examples:
        said = f"a batch of {batch:,} is more than half of the {examples:,} training examples"
        problems.append(("warn", f"{said}: lower train.batch_size, or set it to full"))
    elif not full and an_epoch < FEW_AN_EPOCH:
        problems.append(("warn", f"an epoch has only {an_epoch} steps of {batch:,} examples: lower train.batch_size"))
    if total < FEW_STEPS:
        problems.append(("warn", f"the whole training has only {total} steps: raise train.duration, or lower train.batch_size"))
    if batch < FEW_TO_NORMALIZE and vars(config.model).get("normalization") == "batch":
        said = f"batch normalization takes its mean from {batch} examples"
        problems.append(("warn", f"{said}: raise train.batch_size to {FEW_TO_NORMALIZE}, or set model.normalization=layer"))
    fine = f"{total:,} steps of {batch:,} examples, {an_epoch:,} an epoch"
    return finding_of(problems, fine, {"batch_size": batch, "steps_per_epoch": an_epoch, "total_steps": total})


def every_part(subject: Subject) -> dict[str, Part]:
    """The parts of the whole data that have rows, by name."""
    whole = subject.whole
    parts = {"train": whole.train, "validation": whole.validation, "test": whole.test}
    return {name: part for name, part in parts.items() if len(part)}


def _numbers(targets: np.ndarray, spec: Spec, *, robust: bool) -> Finding:
    """Targets (n, numbers) in their own units. A robust loss does not mind outliers."""
    mean, std = targets.mean(0), targets.std(0)
    if len(flat := np.flatnonzero(targets.max(0) == targets.min(0))):
        name = spec.target_names[flat[0]]
        said = f"the target {name} is {targets[0, flat[0]]:g} in every training example: there is nothing to learn"
        return Finding("fail", said, {"mean": mean.tolist(), "std": std.tolist()})
    farthest = np.abs(targets - mean) / std  # (n, numbers)
    outliers = int((farthest > FAR).any(1).sum())
    numbers = {"mean": mean.tolist(), "std": std.tolist(), "farthest": float(farthest.max()), "outliers": outliers}
    if outliers and not robust:
        said = (
            f"{outliers:,} of {len(targets):,} training targets are more than {FAR:g} standard deviations from the mean, "
            f"the farthest {farthest.max():.3g}: look at them, or set task.kind=regress task.loss=huber"
        )
        return Finding("warn", said, numbers)
    return Finding("pass", f"the targets vary, the farthest {farthest.max():.2g} standard deviations from their mean", numbers)


def _balance(
    what: str, names: Sequence[str], counts: np.ndarray, held: np.ndarray, against: np.ndarray, *, weighted: bool
) -> Finding:
    """Of each class or label (outputs,): training examples, those held out, and how many the former are weighed against."""
    problems: list[Problem] = []
    if len(lost := np.flatnonzero((counts == 0) & (held > 0))):
        said = f"{_named(what, names, lost)} never in the training part, but {held[lost].sum():,} times where it is scored"
        problems.append(("fail", f"{said}: give the training part examples of it, or leave them out"))
    if len(absent := np.flatnonzero((counts == 0) & (held == 0))):
        problems.append(("warn", f"{_named(what, names, absent)} without any example: leave the output out"))
    if len(always := np.flatnonzero(against == 0)):
        problems.append(("warn", f"{_named(what, names, always)} on every training example: leave the output out"))
    both = (counts > 0) & (against > 0)
    fewer = np.minimum(counts, against)
    ratio = float(np.max(against[both] / counts[both], initial=1))
    cure = f"set task.kind={KINDS[what]} task.class_weights=balanced"
    if len(rare := np.flatnonzero(both & (fewer < RARE))):
        few = _rare(what, names, rare, counts, against)
        problems.append(("warn", f"{few}: collect more{'' if weighted else f', or {cure}'}"))
    elif ratio > RATIO and not weighted:
        least = int(np.flatnonzero(both)[(against[both] / counts[both]).argmax()])
        few = f"class {names[least]} has {ratio:.3g} times fewer training examples than the largest"
        problems.append(("warn", f"{few if what == 'class' else _set(names[least], counts[least], against[least])}: {cure}"))
    fine = f"{len(names)} {SEVERAL[what]} with {counts.min():,} to {counts.max():,} training examples each"
    return finding_of(problems, fine, {"counts": counts.tolist(), "ratio": ratio})


def _rare(what: str, names: Sequence[str], rare: np.ndarray, counts: np.ndarray, against: np.ndarray) -> str:
    """Says which classes or labels have too few training examples; labels may be missing from too few as well."""
    least = int(np.minimum(counts, against)[rare].min())
    if len(rare) > 1:
        few = "have" if what == "class" else "are set in, or missing from,"
        named = _named(what, names, rare).removesuffix(" are")
        return f"{named} {few} fewer than {RARE} training examples each, the rarest {least}"
    only = rare[0]
    if what == "class":
        return f"class {names[only]} has {counts[only]} of {counts.sum():,} training examples"
    return _set(names[only], counts[only], against[only])


def _set(label: str, count: int, without: int) -> str:
    """`label y13 is set in 1 of 71 training examples`."""
    seen = f"{count:,}" if count <= without else f"all but {without:,}"
    return f"label {label} is set in {seen} of {count + without:,} training examples"


def _named(what: str, names: Sequence[str], chosen: np.ndarray) -> str:
    """`class cat is`, `5 classes (cat, dog, owl, ...) are`."""
    shown = ", ".join(names[i] for i in chosen[:3]) + (", ..." if len(chosen) > 3 else "")
    return f"{what} {shown} is" if len(chosen) == 1 else f"{len(chosen)} {SEVERAL[what]} ({shown}) are"
