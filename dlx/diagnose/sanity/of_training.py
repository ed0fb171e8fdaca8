"""Checks that train: can the network learn, from its inputs, at its rate, from nothing but the training part, and twice the same?"""

from dataclasses import replace
from typing import Any

import jax
import numpy as np

from dlx.config.schedule import Ramp
from dlx.diagnose.lr_find import find
from dlx.diagnose.range_curve import RangeTest, Skips
from dlx.diagnose.range_test import BY_THEMSELVES
from dlx.diagnose.sanity.finding import Finding
from dlx.diagnose.sanity.one_batch import alone, of_a_constant, one_batch, unhindered
from dlx.diagnose.sanity.shuffled import by_chance, shuffled
from dlx.diagnose.sanity.subject import TRAIN, Subject
from dlx.diagnose.sanity.trial import (
    SECONDS,
    SOON,
    affordable,
    drained,
    learn,
    on,
    scored,
    side_by_side,
    until,
    without_dropout,
)
from dlx.diagnose.sanity.untrained import Untrained
from dlx.engine import Program
from dlx.experiment.assemble import assemble

BATCH = 16
"""Examples to be learned by heart."""
FACTORS = (1.0, 3.0, 0.3, 10.0, 0.1, 30.0, 0.01, 100.0)
"""Of `optimizer.lr`: rates that are tried, the most likely ones first."""
USUAL = (1e-3, 1e-2, 1e-4, 1e-1, 3e-3, 3e-2, 3e-1, 1.0)
"""Rates that are tried where those do not lead far: then it may be `optimizer.lr` and not the network."""
ENOUGH = 50
"""Steps without which a network need not have learned anything by heart."""
FITTED, UNFITTED = 0.05, 0.5
"""Parts of the loss that may be left, and that may not."""
CLEAR, RISEN = 0.01, 0.1
"""A loss has clearly moved when it did by this part under every seed, and has risen in earnest by that part."""
ALIKE, LOOKED = 1e-5, 0.05
"""Without its inputs a network's loss stays the same, but for rounding, or becomes worse by this part."""
DRAWN = (0.1, 0.3, 1.0)
"""Deviations of the random weights under which a network is deaf that looks at no input."""
SMALLEST = 1e-9
"""Losses below it are the same."""
LUCK = 0.15
"""Where luck reaches further above chance, a small leak is not seen."""
REPEATING = 0.05
"""Where this part of the inputs that occur more than once has different targets, it is no copying."""
FIRST = 2
"""Steps that are taken twice."""
RATES, FEWEST_RATES = 96, 24
"""Steps of a range test: as many as take little time, but at least the last."""
SLOW, FAST = 30.0, 5.0
"""A rate so many times below or above the recommended one is worth a look."""


def overfits_one_batch(subject: Subject) -> Finding:
    """Whether the network can learn a few training examples by heart, at any of several rates, when nothing holds it back."""
    config = unhindered(subject.config)
    batch = one_batch(subject.small, BATCH)
    configs = [config.with_values({"optimizer.lr": config.optimizer.lr * factor}) for factor in FACTORS]
    # Where dlx knows the dropout it is off. A user's own stays on in training, so that the loss in evaluation mode counts too.
    own = config.model.kind == "python"
    assembly = side_by_side(configs, alone(subject.small, batch, held_out=own))
    capacity = assembly.program.parameters() // subject.small.spec.outputs
    if 2 <= capacity // 2 < len(batch):  # as linear regression on few columns: no network with so few numbers could
        batch = one_batch(subject.small, capacity // 2)
        assembly = side_by_side(configs, alone(subject.small, batch, held_out=own))
    reference = of_a_constant(config, batch.targets, subject.small)
    found = learn(assembly.cohort, FITTED / 5, reference)
    if not np.isfinite(found.start):
        return _no_number()
    if found.share > UNFITTED:
        configs = [config.with_values({"optimizer.lr": rate}) for rate in USUAL[: assembly.cohort.lanes]]
        found = min(found, learn(assembly.with_configs(configs).cohort, FITTED / 5, reference), key=lambda each: each.share)
    numbers = {
        "examples": len(batch),
        "steps": found.steps,
        "first_loss": found.start,
        "lowest_loss": _number(found.lowest),
        "share": _number(found.share),
        "lr": found.rate,
    }
    names = "its first" if reference is None else "the best guess's"
    left = f"{100 * found.share:.3g} % of {names} loss is left" if np.isfinite(found.share) else "the loss becomes no number"
    tried = f"after {found.steps} steps at the best of several rates ({found.rate:.2g}) {left}"
    if found.share < FITTED:
        return Finding("pass", f"{len(batch)} examples are learned by heart: {tried}", numbers)
    if found.steps < ENOUGH and np.isfinite(found.share):
        return Finding("skip", f"nothing can be said: there was time for {found.steps} steps only", numbers)
    if found.share <= UNFITTED:
        said = f"{len(batch)} examples are learned in part: {tried}; look at the network's size, its activations and clipping"
        return Finding("warn", said, numbers)
    said = f"the network cannot fit even {len(batch)} examples: {tried}; see the checks above, and `dlx gradcheck`"
    return Finding("fail", said, numbers)


def loss_falls(subject: Subject) -> Finding:
    """Whether the first steps at the experiment's own rate lower the loss of fixed training examples, under every seed."""
    rehearsal, rate = subject.rehearsal, subject.config.optimizer.lr
    before, after = rehearsal.before, rehearsal.soon
    numbers = {"steps": SOON, "before": _numbers(before), "after": _numbers(after), "lr": rate}
    if not np.isfinite(before).all():
        return _no_number()
    lost = int((~np.isfinite(after)).sum())
    if lost:
        said = f"within {SOON} steps the loss is no number under {lost} of {len(after)} seeds"
        return Finding("fail", f"{said}: lower optimizer.lr, which is {rate:g}; `dlx lr-find` finds a rate", numbers)
    rise = (after - before) / np.maximum(before, SMALLEST)
    numbers |= {"change": _numbers(rise)}
    seen = f"{SOON} steps at optimizer.lr={rate:g} take the loss from {before.mean():.4g} to {after.mean():.4g} ({len(rise)} seeds)"
    if rise.max() < 0 and rise.mean() < -CLEAR:
        return Finding("pass", seen, numbers)
    if rise.min() > CLEAR and rise.mean() > RISEN:
        return Finding("fail", f"the loss rises: {seen}; lower optimizer.lr, `dlx lr-find` finds a rate", numbers)
    said = f"the loss does not fall clearly: {seen}; `dlx lr-find` finds a rate at which it does"
    return Finding("warn", said, numbers)


def uses_its_input(subject: Subject) -> Finding:
    """Whether a network that has trained for a moment does worse when each input is replaced by the mean of all."""
    rehearsal = subject.rehearsal
    real, blank = rehearsal.late, rehearsal.blank
    numbers = {"steps": rehearsal.steps, "loss": _numbers(real), "blank_loss": _numbers(blank)}
    sound = np.isfinite(real)
    if not sound.any():
        said = (
            f"nothing can be said: the loss is no number after {rehearsal.steps} steps; lower optimizer.lr, see `dlx lr-find`"
        )
        return Finding("skip", said, numbers)
    worse = (blank[sound] - real[sound]) / np.maximum(real[sound], SMALLEST)
    seen = (
        f"after {rehearsal.steps} steps the loss of training examples is {real[sound].mean():.4g}, "
        f"and {blank[sound].mean():.4g} with the mean in place of each input"
    )
    fallen = (rehearsal.before[sound] - real[sound]) / np.maximum(rehearsal.before[sound], SMALLEST)
    alike = np.abs(worse).max() < ALIKE
    if alike and _deaf(subject.untrained):
        said = f"the network does not look at its input: {seen}; follow the input through its code"
        return Finding("fail", said, numbers)
    if worse.min() > LOOKED and np.isfinite(real).all():
        return Finding("pass", seen, numbers)
    if alike or not sound.all() or fallen.min() < CLEAR:
        said = f"nothing is learned in {rehearsal.steps} steps, so nothing can be said: {seen}; `dlx lr-find` finds a rate"
        return Finding("skip", said, numbers)
    return Finding("warn", f"the inputs help little or nothing: {seen}; do they say anything about the target?", numbers)


def shuffled_labels(subject: Subject) -> Finding:
    """Whether the validation part scores no better than chance when the labels are shuffled: only copies could be known."""
    if not len(subject.small.validation):
        return Finding("skip", "does not apply: nothing is held out for validation")
    rehearsal = subject.rehearsal
    data = rehearsal.assembly.dataset
    made = shuffled(subject.small, len(data.train), len(data.validation), subject.config.data.seed)
    tried = zip(rehearsal.configs, FACTORS, strict=False)
    rates = [without_dropout(config).with_values({"optimizer.lr": config.optimizer.lr * factor}) for config, factor in tried]
    steps = affordable(rehearsal.seconds)
    cohort = on(rehearsal.assembly, rates, replace(made.dataset, test=data.test))
    metric, chance, bound = by_chance(subject.config, made.dataset.validation.targets, made.different)
    numbers: dict[str, Any] = {"metric": metric, "chance": chance, "bound": bound, "copies": made.copies, "steps": steps}
    lanes = [(lane[f"train/{metric}"], lane[f"validation/{metric}"]) for lane in scored(until(cohort, steps)) if lane]
    if not lanes:
        said = f"nothing can be said: the loss is no number after {steps} steps; lower optimizer.lr, see `dlx lr-find`"
        return Finding("skip", said, numbers)
    learned, score = max(lanes, key=lambda lane: lane[0])  # under the rate at which most is learned by heart
    numbers |= {"train": learned, "validation": score, "examples": made.different}
    if bound >= 1:
        return Finding("skip", f"nothing can be said: only {made.different} different inputs are in validation", numbers)
    if max(learned, score) <= bound:
        said = (
            f"nothing can be said: in {steps} steps no more than chance is learned of shuffled targets ({metric} {learned:.3g})"
        )
        return Finding("skip", said, numbers)
    seen = (
        f"after {steps} steps on shuffled targets {metric} is {learned:.3g} in training and {score:.3g} on {made.different} "
        "validation examples"
    )
    if score <= bound:
        few = "; few examples: only a large leak would show" if bound - chance > LUCK else ""
        return Finding("pass", f"{seen}: no better than chance ({chance:.3g}, by luck up to {bound:.3g}){few}", numbers)
    among = f"of {len(subject.small.validation)} validation examples {made.copies} are among {len(subject.small.train)} training examples"
    above = f"{seen}, above what luck allows ({bound:.3g}): {among}"
    if made.conflicts > REPEATING:
        said = f"inputs repeat, with different targets: {above}; if they are copies, and not alike by nature, remove them"
        return Finding("warn", said, numbers)
    said = f"validation holds copies of training examples: {above}; remove the copies, or split by group"
    return Finding("fail", said, numbers)


def deterministic(subject: Subject) -> Finding:
    """Whether the same steps from the same seed end in the same bits, when the network's Python is run anew for the second time."""
    rehearsal = subject.rehearsal
    first = _after(rehearsal.assembly.program, FIRST)
    jax.clear_caches()  # what the user's own `jit` has traced would not be run again
    second = _after(assemble(rehearsal.configs, rehearsal.assembly.dataset).program, FIRST)
    if differs := next((path for path, leaf in first.items() if leaf.tobytes() != second[path].tobytes()), None):
        mine, other = (run[differs].astype(np.float64) for run in (first, second))
        sound = np.isfinite(mine) & np.isfinite(other)
        far = float(np.max(np.abs(mine[sound] - other[sound]), initial=0.0))
        said = (
            f"two runs from one seed differ: first in {differs}, after {FIRST} steps by up to {far:.3g}; look for NumPy's or "
            "Python's own random numbers, clocks and counters in the model, and draw from rngs instead"
        )
        return Finding("fail", said, {"leaf": differs, "difference": far, "steps": FIRST})
    size = sum(leaf.nbytes for leaf in first.values())
    said = f"two runs of {FIRST} steps from one seed, the second traced anew, agree in all {size:,} bytes of their states"
    return Finding("pass", said, {"steps": FIRST, "bytes": size})


def learning_rate(subject: Subject) -> Finding:
    """Whether the experiment's highest rate is near the one that a range test on a part of the data recommends."""
    config = subject.config
    if config.optimizer.kind in BY_THEMSELVES:
        return Finding(
            "skip", f"does not apply: optimizer {config.optimizer.kind} chooses its own steps: there is no rate to look at"
        )
    rate = config.optimizer.lr * (max(1.0, config.schedule.to) if isinstance(config.schedule, Ramp) else 1.0)
    rates = int(np.clip(SECONDS / subject.rehearsal.seconds, FEWEST_RATES, RATES))
    test = RangeTest(
        lowest=min(1e-6, max(rate, 1e-5) / 100),
        highest=max(10.0, min(10 * rate, 1e20)),
        rates=rates,
        seeds=2,
        beta=1 - 9.6 / rates,
    )
    batch = config.train.batch_size
    limit = min(max(TRAIN, batch) if isinstance(batch, int) else TRAIN, config.data.limit or len(subject.whole.train))
    data = config.data.model_copy(update={"limit": limit})
    finding = drained(find({"": config.model_copy(update={"data": data})}, test, Skips())).findings[0]
    reading, median = finding.reading, finding.curve.median
    numbers: dict[str, Any] = {"lr": rate, "rates": rates, "confidence": reading.confidence}
    if reading.recommended is None:
        tested = f"a range test of {rates} steps, from {test.lowest:.2g} to {test.highest:.2g}, says nothing of optimizer.lr={rate:g}"
        said = f"{tested}: the loss has no falling region; see the checks above"
        return Finding("warn", said, numbers | {"why": reading.why})
    good = finding.changes["optimizer.lr"]
    over = np.flatnonzero(~np.isfinite(median[int(np.argmin(median)) :]))
    explodes = float(finding.curve.rates[int(np.argmin(median)) + over[0]]) if len(over) else None
    numbers |= {"recommended": good, "explodes": explodes}
    side = "below" if rate < good else "above"
    numbers |= {"factor": rate / good}
    seen = f"optimizer.lr={rate:g} is {max(rate / good, good / rate):.2g} times {side} what a range test of {rates} steps recommends ({good:g})"
    if explodes is not None and rate >= explodes:
        said = f"{seen}; from {explodes:.2g} on the loss explodes: set optimizer.lr={good:g}, or see `dlx lr-find`"
        return Finding("fail", said, numbers)
    common = f"up to {SLOW:g} times below and {FAST:g} above are common"
    if good / SLOW <= rate <= good * FAST:
        return Finding("pass", f"{seen}; {common}", numbers)
    word = "low" if rate < good else "high"
    return Finding("warn", f"the rate looks {word}: {seen}; {common}: compare the two, or see `dlx lr-find`", numbers)


def _deaf(net: Untrained) -> bool:
    """Whether under any weights an example may be put in another's place and every output stays the same, bit by bit."""
    inputs, rest = np.asarray(net.sample[0][0].inputs), net.learner.rest
    if (inputs == inputs[0]).all():
        return False
    chance = np.random.Generator(np.random.Philox(key=0))
    for scale in DRAWN:
        params = jax.tree.map(
            lambda weight, scale=scale: (scale * chance.standard_normal(np.shape(weight))).astype(np.float32),
            net.learner.params,
        )
        mine, others = (net.run(params, rest, x, train=False).outputs for x in (inputs, np.roll(inputs, 1, axis=0)))
        if not np.array_equal(mine, others):  # nor are they where they are no numbers
            return False
    return True


def _after(program: Program, steps: int) -> dict[str, np.ndarray]:
    """Every array of fresh lanes after so many steps, on the same batches each time, by its path."""
    rows = np.arange(steps * program.shapes.batch).reshape(steps, -1) % program.feed.sizes["train"]
    lanes, _, _ = program.train(program.init(), program.feed.rows("train", rows), 0)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(lanes)}


def _no_number() -> Finding:
    said = "the loss is no number before the first step: look for missing or huge values in the data, and at what the network does to them"
    return Finding("fail", said, {"before": None})


def _number(value: float) -> float | None:
    """Fit for JSON."""
    return float(value) if np.isfinite(value) else None


def _numbers(values: np.ndarray) -> list[float | None]:
    return [_number(value) for value in values]
