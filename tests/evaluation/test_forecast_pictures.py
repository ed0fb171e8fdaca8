"""Pictures of forecasts show what was said and what came, in the data's own units."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from dlx.config.series_data import Series
from dlx.data import Part
from dlx.evaluation.gallery.forecast import MOST, pictures
from dlx.evaluation.gallery.pictures import Lines
from dlx.experiment.restore import Trained

WINDOW = 6


@dataclass
class Forecaster:
    """As much of a `Trained` as is looked at: it says that every next value is the last one, plus a half."""

    preprocessing: dict[str, Any]
    horizon: int = 1
    config: Any = None

    def forward(self, inputs: np.ndarray) -> np.ndarray:
        return np.repeat(inputs[:, -1, :1] + 0.5, self.horizon, axis=1)


def drawn(horizon: int, count: int = 300, **preprocessing: Any) -> tuple[Any, Part]:
    values = np.arange(count + WINDOW + horizon, dtype=np.float32)
    rows = np.arange(count)[:, None]
    part = Part(values[rows + np.arange(WINDOW)][..., None], values[rows + WINDOW + np.arange(horizon)])
    tree = {"series": {"features": ["load"], "season": 3}} | preprocessing
    return pictures(cast("Trained", Forecaster(tree, horizon)), part), part


def test_one_row_ahead_the_last_rows_are_shown() -> None:
    (picture,), part = drawn(1)
    assert isinstance(picture, Lines)
    assert len(picture.x) == MOST
    np.testing.assert_array_equal(picture.series["what came"], part.targets[-MOST:, 0])
    np.testing.assert_array_equal(picture.series["forecast"], part.inputs[-MOST:, -1, 0] + 0.5)
    assert "RMSE 0.5" in picture.caption
    assert picture.y_name == "load"


def test_windows_that_are_rows_apart_are_drawn_so() -> None:
    _, part = drawn(1)
    trained = Forecaster({"series": {"features": ["load"], "season": 3}})
    trained.config = SimpleNamespace(data=Series(path="x.csv", time="t", target="load", stride=4))
    (picture,) = pictures(cast("Trained", trained), part.take(np.arange(0, 300, 4)))
    assert isinstance(picture, Lines)
    assert picture.x.tolist() == list(range(0, 300, 4))
    assert picture.caption.startswith("75 rows at the end, 4 apart, each predicted from the 6 rows before it")
    # Of a new file every window is judged that has a truth.
    for windows in (part, part.take(np.delete(np.arange(300), [5, 290]))):
        (picture,) = pictures(cast("Trained", trained), windows)
        assert isinstance(picture, Lines)
        assert picture.x.tolist() == list(range(MOST))


def test_several_rows_ahead_windows_are_shown_and_the_error_by_distance() -> None:
    found, part = drawn(2)
    *windows, errors = found
    assert [len(window.x) for window in windows] == [WINDOW + 2] * 3
    assert windows[0].x.tolist() == [-5, -4, -3, -2, -1, 0, 1, 2]
    np.testing.assert_array_equal(windows[-1].series["what came"][-2:], part.targets[-1])
    assert np.isnan(windows[0].series["forecast"]).sum() == WINDOW
    assert errors.series["network"] == pytest.approx([0.5, 1.5])
    assert errors.series["persistence"] == pytest.approx([1, 2])
    assert errors.series["a season ago"] == pytest.approx([3, 3])


def test_data_that_is_no_series_has_none() -> None:
    assert drawn(1, series=None)[0] == ()
