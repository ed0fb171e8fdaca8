"""Pictures of forecasts: what was said beside what came, and, of forecasts further ahead, how the error grows."""

import numpy as np

from dlx.config.series_data import Series
from dlx.data import Part
from dlx.evaluation.forecasts import naive_forecasts
from dlx.evaluation.gallery.pictures import Lines, Picture
from dlx.experiment.restore import Trained

MOST = 200
"""Rows of a picture: enough for a week of hours, few enough to be seen."""
JUDGED = 2000
"""Windows that the error by distance is measured on, the last ones."""
EXAMPLES = 3
"""Windows that are drawn with their past, where a forecast reaches further than one row."""


def pictures(trained: Trained, part: Part) -> tuple[Picture, ...]:
    """The last windows of a part of a series: forecast, truth and, beside them, simple forecasts. None for other data."""
    tree = trained.preprocessing.get("series")
    if tree is None or not len(part):
        return ()
    few = part.take(np.arange(max(0, len(part) - JUDGED), len(part)))
    said = trained.forward(few.inputs)
    target = str(tree["features"][0])
    if few.targets.shape[1] == 1:
        return (_one_ahead(few, said, target, _rows_apart(trained, few)),)
    season = int(tree["season"])
    return (*_windows(few, said, target, season), _by_distance(few, said, target, season))


def _rows_apart(trained: Trained, part: Part) -> int:
    """Rows from one window to the next: 1 where one ends with what the one before it predicts, as in any new file.

    Most do: windows without a truth were left out.
    """
    if len(part) > 1 and np.mean(part.inputs[1:, -1, 0] == part.targets[:-1, 0]) > 0.5:
        return 1
    data = trained.config.data
    return data.stride if isinstance(data, Series) else 1


def _one_ahead(part: Part, said: np.ndarray, target: str, apart: int) -> Lines:
    shown = slice(max(0, len(part) - MOST), None)
    truth, forecast = part.targets[shown, 0], said[shown, 0]
    rmse = float(np.sqrt(np.mean(np.square(forecast - truth, dtype=np.float64))))
    shown_rows = f"The last {len(truth):,} rows" if apart == 1 else f"{len(truth):,} rows at the end, {apart} apart"
    return Lines(
        f"Forecasts of {target}",
        f"{shown_rows}, each predicted from the {part.inputs.shape[1]} rows before it: RMSE {rmse:.4g}.",
        apart * np.arange(len(truth)),
        {"what came": truth, "forecast": forecast},
        "row",
        target,
    )


def _windows(part: Part, said: np.ndarray, target: str, season: int) -> list[Lines]:
    """Some windows with their past, a season or three times what is predicted, evenly spread over the part."""
    window, horizon = part.inputs.shape[1], said.shape[1]
    past = min(window, max(season, 3 * horizon))
    x = np.arange(-past, horizon) + 1
    found = []
    for place, row in enumerate(np.linspace(0, len(part) - 1, min(EXAMPLES, len(part))).astype(int).tolist(), 1):
        came = np.concatenate([part.inputs[row, window - past :, 0], part.targets[row]])
        forecast = np.concatenate([np.full(past, np.nan, np.float32), said[row]])
        found.append(
            Lines(
                f"Forecast {place} of {target}",
                f"The last {past} of {window} rows that were looked at, up to 0; {horizon} are predicted at once.",
                x,
                {"what came": came, "forecast": forecast},
                "rows ahead",
                target,
            )
        )
    return found


def _by_distance(part: Part, said: np.ndarray, target: str, season: int) -> Lines:
    """The root mean square error of each distance, beside those of simple forecasts."""
    errors = {
        name: np.sqrt(np.mean(np.square(numbers - part.targets, dtype=np.float64), axis=0))
        for name, numbers in {"network": said, **naive_forecasts(part, season)}.items()
    }
    return Lines(
        f"Error of {target} by distance",
        f"Root mean square error over {len(part):,} windows.",
        np.arange(1, said.shape[1] + 1),
        errors,
        "rows ahead",
        "RMSE",
    )
