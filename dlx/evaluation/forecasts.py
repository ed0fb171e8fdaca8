"""What a series' own past says of its next values: the forecasts that a network's have to be seen beside.

- `persistence`: every next value is the last one;
- `a season ago`: the value of the same hour yesterday, or the same month last year (the seasonal naive forecast);
- `linear AR(w)`: a linear map of the target's last w values to the next, by least squares on all training windows.

All is in the data's own units. Windows are (n, w, features), the target's past being the first feature.
"""

import numpy as np

from dlx.data import Part

_BLOCK = 50_000  # windows whose products are added up at once


def forecasts(train: Part, judged: Part, season: int) -> dict[str, np.ndarray]:
    """By name the forecasts (n, horizon) float64 for the judged windows: those of `naive_forecasts`, and the linear one."""
    past, weights = judged.inputs[..., 0].astype(np.float64), autoregression(train)
    return naive_forecasts(judged, season) | {f"linear AR({past.shape[1]})": past @ weights[:-1] + weights[-1]}


def naive_forecasts(judged: Part, season: int) -> dict[str, np.ndarray]:
    """Those that nothing is fitted for. A season that is longer than the window gives none."""
    past, horizon = judged.inputs[..., 0].astype(np.float64), judged.targets.shape[1]  # (n, w)
    found = {"persistence": np.repeat(past[:, -1:], horizon, axis=1)}
    if 1 < season <= past.shape[1]:
        found["a season ago"] = past[:, season_ago(past.shape[1], horizon, season)]
    return found


def season_ago(window: int, horizon: int, season: int) -> np.ndarray:
    """Where in a window the values (horizon,) are that are whole seasons before each of the next ones, as few as can be."""
    ahead = np.arange(horizon)
    return window + ahead - season * (ahead // season + 1)


def autoregression(train: Part) -> np.ndarray:
    """The weights (w + 1, horizon) float64 of a linear forecast of the next values from the last w, and a constant: least squares."""
    past = train.inputs[..., 0]
    # About their mean, because sums of squares of large numbers lose what is small in them.
    center = float(past.mean(dtype=np.float64))
    size = past.shape[1] + 1
    gram, moment = np.zeros((size, size)), np.zeros((size, train.targets.shape[1]))
    for start in range(0, len(past), _BLOCK):
        block = past[start : start + _BLOCK].astype(np.float64) - center
        x = np.column_stack([block, np.ones(len(block))])
        gram += x.T @ x
        moment += x.T @ (train.targets[start : start + _BLOCK].astype(np.float64) - center)
    weights = np.linalg.lstsq(gram, moment, rcond=None)[0]
    weights[-1] += center * (1 - weights[:-1].sum(axis=0))
    return weights
