"""Metrics of numbers, in the data's own units. Residual = prediction - truth; several numbers: of each, and their plain mean.

- `rmse` = sqrt(mean residual^2); `mae` = mean |residual|; `median_absolute_error`; `max_error` = max |residual| (no interval: a
  resample cannot exceed it);
- `r2` = 1 - sum residual^2 / sum (truth - its mean)^2; `explained_variance` = 1 - variance of the residual / variance of the truth.
  Where all truths are equal both are 0, as in training: as good as the mean;
- `bias` = mean residual.
"""

import numpy as np

from dlx.evaluation.metrics.ranking import Median, median
from dlx.evaluation.metrics.weighted import Sums, Term
from dlx.evaluation.results import Reliability, Residuals

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
POINTS = 2000
"""Of a picture."""


class Numbers:
    """Predictions (n, numbers) beside the truth (n, numbers)."""

    def __init__(self, predicted: np.ndarray, actual: np.ndarray) -> None:
        self.examples = len(predicted)
        self.predicted, self.actual = predicted, actual
        truth = actual.astype(np.float64)
        self.residual = predicted.astype(np.float64) - truth
        # Moments about a point near the mean do not cancel. Where all are equal they are 0, without rounding.
        truth, residual = (np.where(np.ptp(x, 0) > 0, x - x.mean(0), 0.0) for x in (truth, self.residual))
        self.terms: dict[str, Term] = {
            "squared": np.square(self.residual),
            "absolute": np.abs(self.residual),
            "residual": self.residual,
            "residual_first": residual,
            "residual_second": np.square(residual),
            "first": truth,
            "second": np.square(truth),
        }

    @property
    def ordered(self) -> dict[str, list[Median]]:
        """The absolute residuals of each number, for their median."""
        return {"median": [median(column) for column in np.abs(self.residual).T]}

    def metrics(self, sums: Sums) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Overall (b,) and of each number (b, numbers)."""
        n = sums["examples"][:, None]
        spread = _spread(sums["first"], sums["second"], n)
        each = {
            "rmse": np.sqrt(sums["squared"] / n),
            "mae": sums["absolute"] / n,
            "r2": _explained(sums["squared"], spread),
            "explained_variance": _explained(_spread(sums["residual_first"], sums["residual_second"], n), spread),
            "bias": sums["residual"] / n,
        }
        if "median" in sums:
            each["median_absolute_error"] = sums["median"][..., 0]
        return {name: values.mean(-1) for name, values in each.items()}, each

    def whole(self) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """The greatest error."""
        each = np.abs(self.residual).max(0)
        return {"max_error": float(each.mean())}, {"max_error": each}

    def pictures(self, seed: int) -> tuple[np.ndarray | None, Reliability | None, Residuals]:
        """The residuals: their quantiles, and the points of a picture."""
        rows = np.arange(self.examples)
        if self.examples > POINTS:
            rows = np.sort(np.random.Generator(np.random.PCG64(seed)).choice(self.examples, POINTS, replace=False))
        quantiles = np.quantile(self.residual, QUANTILES, axis=0)
        by_name = {str(q): tuple(values) for q, values in zip(QUANTILES, np.atleast_2d(quantiles).tolist(), strict=True)}
        return None, None, Residuals(by_name, self.predicted[rows], self.actual[rows])


def _spread(first: np.ndarray, second: np.ndarray, n: np.ndarray) -> np.ndarray:
    """The sum of squares about the mean; what is only rounding is 0."""
    spread = second - np.square(first) / n
    return np.where(spread > 1e-12 * second, spread, 0.0)


def _explained(left: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """1 - left / spread; 0 where there is no spread."""
    return np.where(spread > 0, 1 - left / np.where(spread > 0, spread, 1.0), 0.0)
