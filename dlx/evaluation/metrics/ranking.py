"""Metrics of an order: ROC-AUC, average precision, medians, and how the labels of an example are ranked.

Ties are handled as in scikit-learn: items of one score are one step of a curve.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Curves:
    """The items of one class in descending order of score, for the areas under its curves.

    With P and N the weights of positives and negatives, and groups g of equal scores,

    - ROC-AUC = sum over g of P_g (N below g + N_g / 2) / (P N): the chance that a positive is ranked above a negative;
      NaN without a positive or without a negative;
    - average precision = sum over g of P_g / P * (P at or above g) / (P + N at or above g); NaN without a positive.
    """

    rows: np.ndarray
    """(items,) the example of each."""
    positives: np.ndarray
    """(positives,) their places in the order."""
    last: np.ndarray
    """(groups,) of each group with a positive, the last of them: an index of `positives`."""
    starts: np.ndarray
    """(groups,) the place at which each begins."""
    ends: np.ndarray
    """(groups,) the place after its last item."""

    def statistics(self, drawn: np.ndarray) -> np.ndarray:
        """(b, 2): ROC-AUC and average precision, from the items' counts (b, items)."""
        if not len(self.positives):
            return np.full((len(drawn), 2), np.nan)
        seen = _running(drawn)  # (b, items + 1), at each place what is before it
        right = _running(drawn[:, self.positives])
        if len(self.last) < len(self.positives):
            right = right[:, np.concatenate([[0], self.last + 1])]
        above, upto = right[:, :-1], right[:, 1:].astype(np.float64)  # (b, groups) positives above the group, and with it
        gain = upto - above
        until = seen[:, self.ends]
        negatives = (until - upto) + (seen[:, self.starts] - above)  # twice those above, if half of the group's own are
        positive = upto[:, -1]
        negative = seen[:, -1] - positive
        with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 is NaN: not defined
            # Counts are whole numbers, and so this sum is exact.
            roc = np.einsum("bg,bg->b", gain, 2 * negative[:, None] - negatives) / (2 * positive * negative)
            precision = np.einsum("bg,bg->b", gain, upto / np.maximum(until, 1)) / positive
        return np.stack([roc, precision], 1)


def curves(scores: np.ndarray, positive: np.ndarray, rows: np.ndarray | None = None) -> Curves:
    """Of items with scores (items,), positive or not (items,), and the example of each, by default the item itself."""
    order = np.argsort(-scores)
    positives = np.flatnonzero(positive[order])
    descending = scores[order]
    edges = descending[1:] != descending[:-1]
    # Half the memory: with a thousand classes, or all labels in one, this is the most there is.
    items = (order if rows is None else rows[order]).astype(np.int32)
    del order, descending
    bounds = np.concatenate([[0], np.flatnonzero(edges) + 1, [len(items)]])  # (all groups + 1,)
    group = np.searchsorted(bounds, positives, side="right") - 1  # (positives,)
    last = np.flatnonzero(np.append(group[1:] != group[:-1], True)) if len(group) else group
    places = (positives, last, bounds[group[last]], bounds[group[last] + 1])
    return Curves(items, *(each.astype(np.int32) for each in places))


@dataclass(frozen=True)
class Median:
    """The items in ascending order of value. Between two middle items it is their mean."""

    rows: np.ndarray
    values: np.ndarray
    """(items,) ascending."""

    def statistics(self, drawn: np.ndarray) -> np.ndarray:
        """(b, 1) from the items' counts (b, items)."""
        seen = _running(drawn)[:, 1:]
        total = seen[:, -1:]
        lower, upper = ((seen <= place).sum(1) for place in ((total - 1) // 2, total // 2))
        return (self.values[lower] + self.values[upper])[:, None] / 2


def median(values: np.ndarray) -> Median:
    """Of values (items,), one of each example."""
    order = np.argsort(values)
    return Median(order, values[order])


def _running(drawn: np.ndarray) -> np.ndarray:
    """The running sums (b, items + 1) int32, from 0."""
    sums = np.empty((drawn.shape[0], drawn.shape[1] + 1), np.int32)
    sums[:, 0] = 0
    np.cumsum(drawn, axis=1, dtype=np.int32, out=sums[:, 1:])
    return sums


def label_rankings(scores: np.ndarray, positive: np.ndarray) -> dict[str, np.ndarray]:
    """How the labels of each example are ranked, by metric one value of each example (n,), from (n, labels) both.

    - `label_ranking_average_precision`: the mean over true labels of (true labels scored as high) / (labels scored as high);
      1 for an example with no true label, or with all;
    - `coverage_error`: how far down the ranking one has to go for all true labels; 0 without one;
    - `label_ranking_loss`: the share of pairs of a true and a false label that are not in order (ties are not); 0 without one.
    """
    labels = scores.shape[1]
    order = np.argsort(-scores, axis=1)
    descending = np.take_along_axis(scores, order, 1)
    true = np.take_along_axis(positive, order, 1)
    # The place after the last label of equal score: the least end at or behind each place.
    ends = np.where(np.diff(descending, axis=1, append=-np.inf) != 0, np.arange(1, labels + 1), labels)
    rank = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]  # (n, labels)
    hits = np.take_along_axis(true.cumsum(1), rank - 1, 1)
    trues = true.sum(1)
    falses = labels - trues
    precision = np.where(true, hits / rank, 0.0).sum(1)
    wrong = np.where(true, rank - hits, 0).sum(1)
    return {
        "label_ranking_average_precision": np.where((trues == 0) | (falses == 0), 1.0, precision / np.maximum(trues, 1)),
        "coverage_error": np.where(true, rank, 0).max(1).astype(np.float64),
        "label_ranking_loss": wrong / np.maximum(trues * falses, 1),
    }
