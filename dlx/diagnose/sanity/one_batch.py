"""A few training examples to be learned by heart, and the experiment without whatever would keep a network from that."""

from dataclasses import replace

import numpy as np

from dlx.config import Experiment
from dlx.config.task import Classify, Multilabel, Regress
from dlx.data import Dataset
from dlx.data.dataset import Part
from dlx.diagnose.sanity.alike import groups_of
from dlx.diagnose.sanity.trial import sized, under, without_dropout

STEPS, EVERY = 300, 10
"""At most so many, and how often it is seen whether the examples are learned."""


def one_batch(dataset: Dataset, most: int) -> Part:
    """At most so many training examples of different inputs: in turn of each class, or evenly of the range of the numbers."""
    part = dataset.train
    different = np.unique(groups_of(part.inputs), return_index=True)[1]
    different.sort()
    targets = part.targets[different].reshape(len(different), -1)
    if dataset.spec.target == "number":
        few = min(most, len(different))
        order = np.argsort(targets[:, 0], kind="stable")[(2 * np.arange(few) + 1) * len(different) // (2 * few)]
    else:
        kinds = np.unique(targets, axis=0, return_inverse=True)[1].ravel()
        place = np.zeros(len(kinds), int)  # of each example among those of its kind
        for kind in np.unique(kinds):
            place[kinds == kind] = np.arange((kinds == kind).sum())
        order = np.lexsort((kinds, place))[:most]
    return part.take(different[np.sort(order)])


def alone(dataset: Dataset, part: Part, *, held_out: bool) -> Dataset:
    """A data set of these examples; as its validation part too, if their loss is to be measured in evaluation mode."""
    nothing = part.take(np.arange(0))
    return replace(dataset, train=part, validation=part if held_out else nothing, test=nothing)


def unhindered(config: Experiment) -> Experiment:
    """The experiment on one full batch without whatever keeps a network from learning it by heart."""
    calm = without_dropout(config)
    held = {"optimizer.weight_decay": calm.optimizer, "task.label_smoothing": calm.task}
    calm = calm.with_values({key: 0.0 for key, section in held.items() if key.partition(".")[2] in vars(section)})
    sections = {
        "data": calm.data.model_copy(update={"augment": ()}),
        "optimizer": calm.optimizer.model_copy(update={"l1": None, "l2": None}),
    }
    return under(sized(calm.model_copy(update=sections), "full"), STEPS, every=EVERY)


def of_a_constant(config: Experiment, targets: np.ndarray, dataset: Dataset) -> float | None:
    """The loss of the best guess that knows no input: a constant for numbers (n, outputs), the frequencies of classes or labels.

    None where that guess is right already, and under a rule whose loss tells nothing of guesses.
    """
    match config.task:
        case Regress(loss=kind, huber_delta=delta):
            values = (targets - np.asarray(dataset.spec.target_mean)) / np.asarray(dataset.spec.target_std)
            away = np.abs(values - (values.mean(0) if kind == "mse" else np.median(values, 0)))
            match kind:
                case "mse":
                    return float(np.mean(away**2))
                case "mae":
                    return float(np.mean(away))
                case "huber":
                    return float(np.mean(np.where(away < delta, away**2 / 2, delta * (away - delta / 2))))
        case Classify() | None:
            return _entropy(np.bincount(targets) / len(targets)) or None
        case Multilabel():
            shares = targets.mean(0)  # (labels,)
            return float(np.mean([_entropy(np.array([share, 1 - share])) for share in shares])) or None
        case _:
            return None


def _entropy(shares: np.ndarray) -> float:
    """Of shares that sum to 1, in nats."""
    some = shares[shares > 0]
    return float(-(some * np.log(some)).sum())
